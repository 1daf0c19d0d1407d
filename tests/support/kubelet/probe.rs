//! Readiness, asked as a kubelet asks: a real connection, under the probe's own limits.

use std::{net::Ipv4Addr, time::Duration};

use k8s_openapi::{
    api::core::v1::{Container, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// How much of an answer is read: its status is in the first line.
const HEAD_MAX: usize = 64;

/// When and how a container is asked.
#[derive(Debug, Clone)]
pub(super) struct Readiness {
    pub(super) first: Duration,
    pub(super) period: Duration,
    pub(super) successes: u32,
    pub(super) failures: u32,
    limit: Duration,
    question: Question,
}

#[derive(Debug, Clone)]
enum Question {
    /// Path and port.
    Http(String, u16),
    Tcp(u16),
    /// A kind of probe that is not played here; nobody is ready by it.
    Unknown,
}

impl Readiness {
    /// The readiness probe of a container, if it has one; defaults as in Kubernetes.
    pub(super) fn of(container: &Container) -> Option<Self> {
        let probe = container.readiness_probe.as_ref()?;
        let seconds = |value: Option<i32>, default: u32| {
            let value = value.and_then(|value| u32::try_from(value).ok()).unwrap_or(default);
            Duration::from_secs(u64::from(value))
        };
        let count = |value: Option<i32>, default: u32| {
            value.and_then(|value| u32::try_from(value).ok()).unwrap_or(default)
        };
        Some(Self {
            first: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10),
            successes: count(probe.success_threshold, 1),
            failures: count(probe.failure_threshold, 3),
            limit: seconds(probe.timeout_seconds, 1),
            question: question(probe, container),
        })
    }

    /// Asks once.
    pub(super) async fn ask(self, address: Ipv4Addr) -> bool {
        let answer = async {
            match self.question {
                Question::Http(path, port) => http(address, port, &path).await,
                Question::Tcp(port) => Some(TcpStream::connect((address, port)).await.is_ok()),
                Question::Unknown => None,
            }
        };
        tokio::time::timeout(self.limit, answer).await.ok().flatten().unwrap_or(false)
    }
}

fn question(probe: &Probe, container: &Container) -> Question {
    if let Some(get) = &probe.http_get {
        let path = get.path.clone().unwrap_or_else(|| "/".to_owned());
        return port(&get.port, container).map_or(Question::Unknown, |p| Question::Http(path, p));
    }
    let tcp = probe.tcp_socket.as_ref();
    tcp.and_then(|tcp| port(&tcp.port, container)).map_or(Question::Unknown, Question::Tcp)
}

fn port(port: &IntOrString, container: &Container) -> Option<u16> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let mut ports = container.ports.iter().flatten();
            ports.find(|port| port.name.as_ref() == Some(name))?.container_port
        }
    };
    u16::try_from(number).ok()
}

/// Whether the status is from 200 to 399.
async fn http(address: Ipv4Addr, port: u16, path: &str) -> Option<bool> {
    let mut stream = TcpStream::connect((address, port)).await.ok()?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}:{port}\r\nUser-Agent: kube-probe/1.34\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut head = Vec::new();
    (&mut stream).take(HEAD_MAX as u64).read_to_end(&mut head).await.ok()?;
    let head = String::from_utf8_lossy(&head);
    let status: u16 = head.split(' ').nth(1)?.parse().ok()?;
    Some((200..400).contains(&status))
}
