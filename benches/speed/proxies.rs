//! The proxies as processes: this router, and nginx.

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tokio::net::TcpStream;

use super::{load, machine, wire};

/// The key of the endpoint.
pub(crate) const KEY: &str = "a-key-of-the-length-that-keys-have-0123456";
/// Where requests go; nginx does not care.
pub(crate) const PATH: &str = "/api/v1/service/speed/score";
/// How long a proxy may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(20);

/// What is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// This router, from the binary at this path.
    Router(PathBuf),
    /// The nginx at this path, as far as it can be configured to do the same: without buffering.
    Nginx(PathBuf),
}

/// A running proxy; dropping it kills it.
#[derive(Debug)]
pub(crate) struct Proxy {
    child: Child,
    /// Where clients come in.
    pub(crate) address: SocketAddr,
    /// Its files.
    _folder: tempfile::TempDir,
}

impl Proxy {
    /// Starts a proxy on one core and waits until it answers.
    pub(crate) async fn start(kind: &Kind, core: usize, replicas: &[SocketAddr]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (child, address) = match kind {
            Kind::Router(binary) => router(binary, core, replicas, folder.path()),
            Kind::Nginx(binary) => nginx(binary, core, replicas, folder.path()),
        };
        let proxy = Self { child, address, _folder: folder };
        let begun = Instant::now();
        while !answers(address).await {
            assert!(begun.elapsed() < START_LIMIT, "{kind:?} does not answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        proxy
    }

    pub(crate) fn pid(&self) -> u32 {
        // taskset becomes the program that it starts.
        self.child.id()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

async fn answers(address: SocketAddr) -> bool {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let Ok(mut stream) = TcpStream::connect(address).await else { return false };
    let mut answer = vec![0; 4096];
    let written = stream.write_all(load::request(PATH, KEY).as_bytes()).await.is_ok();
    let read = stream.read(&mut answer).await.unwrap_or(0);
    let head = answer.get(..read).and_then(wire::head);
    written && head.is_some_and(|head| head.is_ok)
}

fn start(command: &mut Command) -> Child {
    command.stdin(Stdio::null()).stderr(Stdio::inherit()).spawn().expect("the proxy starts")
}

fn router(
    binary: &Path,
    core: usize,
    replicas: &[SocketAddr],
    folder: &Path,
) -> (Child, SocketAddr) {
    let addresses: Vec<String> = replicas.iter().map(|address| format!("\"{address}\"")).collect();
    let file = folder.join("endpoints.yaml");
    let endpoint = format!(
        "apiVersion: modelway.dev/v1alpha1\nkind: InferenceEndpoint\nmetadata: {{name: speed}}\n\
         spec:\n  auth: {{secretRef: {{name: keys}}}}\n  versions:\n    - name: blue\n      \
         targetRef: {{kind: Addresses, addresses: [{}]}}\n      \
         maxConcurrentRequestsPerReplica: 1000\n---\napiVersion: v1\nkind: Secret\n\
         metadata: {{name: keys}}\nstringData: {{primaryKey: {KEY}}}\n",
        addresses.join(", ")
    );
    std::fs::write(&file, endpoint).expect("a file in the temporary folder");
    let mut command = machine::on_core(core, &binary.to_string_lossy());
    command.args(["dev", "--port", "0", "--admin-port", "0", "--workers", "1", "-f"]).arg(file);
    let mut child = start(command.stdout(Stdio::piped()));
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
        let address = line.trim().strip_prefix("scoring ")?.trim().strip_prefix("http://")?;
        address.split('/').next()?.parse().ok()
    });
    // What else it prints must not fill the pipe.
    std::thread::spawn(move || lines.for_each(drop));
    (child, address.expect("the router prints where it listens"))
}

fn nginx(
    binary: &Path,
    core: usize,
    replicas: &[SocketAddr],
    folder: &Path,
) -> (Child, SocketAddr) {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = free.expect("a free port");
    let shown = folder.display();
    let mut servers = String::new();
    for replica in replicas {
        // Writing to a String cannot fail.
        let _written = write!(servers, "server {replica}; ");
    }
    // One process that is its own worker. Without the limits on requests per connection it would
    // reconnect now and then, which the router has no need to do.
    let settings = format!(
        "daemon off; master_process off; pid {shown}/pid; error_log {shown}/error.log;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n  access_log off; keepalive_requests 1000000000;\n\
         client_body_temp_path {shown}/1; proxy_temp_path {shown}/2; fastcgi_temp_path {shown}/3;\n\
         uwsgi_temp_path {shown}/4; scgi_temp_path {shown}/5;\n\
         upstream replicas {{ {servers} keepalive 1024; keepalive_requests 1000000000; }}\n\
         server {{\n    listen {address} backlog=4096;\n    location / {{\n\
         proxy_pass http://replicas; proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
         proxy_set_header X-Forwarded-For $remote_addr;\n\
         proxy_buffering off; proxy_request_buffering off;\n    }}\n  }}\n}}\n"
    );
    let file = folder.join("nginx.conf");
    std::fs::write(&file, settings).expect("a file in the temporary folder");
    let mut command = machine::on_core(core, &binary.to_string_lossy());
    // The first error is one about the log file that it was built with.
    command.arg("-e").arg(folder.join("error.log")).arg("-c").arg(&file).arg("-p").arg(folder);
    (start(command.stdout(Stdio::null())), address)
}
