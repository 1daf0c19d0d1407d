//! Probes against real sockets.

use std::{
    convert::Infallible,
    io::{Read, Write},
    net::TcpListener,
};

use http::{HeaderMap, HeaderName, HeaderValue, Response};
use hyper::{server::conn::http2 as server, service::service_fn};

use super::*;
use crate::lifecycle::Lifecycle;

fn probe(kind: ProbeKind) -> Probe {
    Probe { kind, period: Duration::from_secs(1), timeout: Duration::from_millis(300) }
}

fn at(address: SocketAddr) -> Place {
    Place { http: address, grpc: address }
}

/// Answers each connection with these bytes after the head of the request.
fn scripted(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = [0; 1024];
            let length = stream.read(&mut head).unwrap();
            let head = String::from_utf8_lossy(&head[..length]).to_lowercase();
            assert!(head.starts_with("get /health http/1.1\r\n"), "{head}");
            assert!(head.contains(&format!("\r\nhost: {address}\r\n")), "{head}");
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    address
}

/// A gRPC health service that answers this message and status.
async fn health_service(
    life: &Lifecycle,
    message: &'static [u8],
    status: &'static str,
) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    life.spawn("health service", async move {
        let (stream, _) = listener.accept().await.unwrap();
        let answer = service_fn(move |request: Request<hyper::body::Incoming>| async move {
            assert_eq!(request.uri().path(), GRPC_HEALTH_PATH);
            let asked = request.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(asked, GRPC_EMPTY_MESSAGE);
            let trailers = HeaderMap::from_iter([(
                HeaderName::from_static("grpc-status"),
                HeaderValue::from_static(status),
            )]);
            let body = Full::<Bytes>::from(message)
                .with_trailers(async move { Some(Ok::<_, Infallible>(trailers)) });
            Ok::<_, Infallible>(Response::new(body))
        });
        let io = TokioIo::new(stream);
        server::Builder::new(TokioExecutor::new()).serve_connection(io, answer).await.ok();
    });
    address
}

async fn found(address: SocketAddr, kind: ProbeKind) -> Result<(), Found> {
    ask(at(address), &probe(kind)).await.map_err(|failure| failure.found)
}

fn health() -> ProbeKind {
    ProbeKind::Http("/health".to_owned())
}

#[tokio::test]
async fn http_passes_on_any_2xx_and_on_nothing_else() {
    let ok = scripted("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(found(ok, health()).await, Ok(()));
    let no_content = scripted("HTTP/1.0 204 No Content\r\n\r\n");
    assert_eq!(found(no_content, health()).await, Ok(()));
    for wrong in ["HTTP/1.1 302 Found\r\n\r\n", "HTTP/1.1 503 Busy\r\n\r\n", "hello\r\n\r\n", ""] {
        assert_eq!(found(scripted(wrong), health()).await, Err(Found::Wrong), "{wrong}");
    }
}

#[tokio::test]
async fn a_replica_that_says_nothing_is_silent_and_tcp_is_enough_for_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    assert_eq!(found(address, health()).await, Err(Found::Silent));
    assert_eq!(found(address, ProbeKind::Grpc).await, Err(Found::Silent));
    assert_eq!(found(address, ProbeKind::Tcp).await, Ok(()));
    assert_eq!(found(address, ProbeKind::None).await, Ok(()));
}

#[tokio::test]
async fn a_port_without_listener_is_refused_whatever_is_asked() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    for kind in [health(), ProbeKind::Tcp, ProbeKind::Grpc, ProbeKind::None] {
        assert_eq!(found(address, kind).await, Err(Found::Refused));
    }
}

#[tokio::test]
async fn grpc_passes_only_when_serving() {
    let life = Lifecycle::new();
    let serving = health_service(&life, &[0, 0, 0, 0, 2, 8, 1], "0").await;
    assert_eq!(found(serving, ProbeKind::Grpc).await, Ok(()));
    let not_serving = health_service(&life, &[0, 0, 0, 0, 2, 8, 2], "0").await;
    assert_eq!(found(not_serving, ProbeKind::Grpc).await, Err(Found::Wrong));
    let unimplemented = health_service(&life, &[], "12").await;
    assert_eq!(found(unimplemented, ProbeKind::Grpc).await, Err(Found::Wrong));
    let plain_http = scripted_anything("HTTP/1.1 200 OK\r\n\r\n");
    assert_eq!(found(plain_http, ProbeKind::Grpc).await, Err(Found::Wrong));
}

fn scripted_anything(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).ok();
    });
    address
}
