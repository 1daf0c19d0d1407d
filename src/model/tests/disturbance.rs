//! Connections that close, clients that leave, and the end of the server.

use std::time::Duration;

use http::StatusCode;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use super::{Ended, Server, read_to_end, read_until};

const SCORE: &[u8] = b"GET /score HTTP/1.1\r\nhost: m\r\n\r\n";
const SLOW_SCORE: &[u8] = b"GET /score?latency=300ms HTTP/1.1\r\nhost: m\r\n\r\n";

#[tokio::test]
async fn close_ends_the_connection_after_each_answer() {
    let server = Server::start(&["--close"]).await;
    let mut stream = server.raw(SCORE).await;
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next_request() {
    let server = Server::start(&[]).await;
    let mut stream = server.raw(SCORE).await;
    read_until(&mut stream, "}").await;
    stream.write_all(SCORE).await.unwrap();
    read_until(&mut stream, "}").await;
    assert_eq!(server.stats().executions, 2);
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_keep_alive_and_not_before() {
    let server = Server::start(&["--keep-alive", "300ms"]).await;
    // Work is longer than keep-alive here: only idle time may count.
    let mut stream = server.raw(b"GET /score?latency=500ms HTTP/1.1\r\nhost: m\r\n\r\n").await;
    read_until(&mut stream, "}").await;
    let idle = Instant::now();
    assert_eq!(read_to_end(&mut stream).await, "");
    assert!(idle.elapsed() >= Duration::from_millis(250), "{:?}", idle.elapsed());
}

#[tokio::test]
async fn work_goes_on_when_the_client_leaves() {
    let server = Server::start(&[]).await;
    let stream = server.raw(SLOW_SCORE).await;
    server.until(|stats| stats.executions == 1).await;
    drop(stream);
    sleep(Duration::from_millis(50)).await;
    assert_eq!(server.stats().in_progress, 1);
    assert_eq!(server.until(|stats| stats.in_progress == 0).await.cancelled, 0);
}

#[tokio::test]
async fn work_stops_with_its_client_when_told_so() {
    let server = Server::start(&["--ignore-disconnect=false"]).await;
    let stream = server.raw(b"GET /score?latency=10m HTTP/1.1\r\nhost: m\r\n\r\n").await;
    server.until(|stats| stats.executions == 1).await;
    drop(stream);
    assert_eq!(server.until(|stats| stats.in_progress == 0).await.cancelled, 1);
}

#[tokio::test]
async fn a_truncated_upload_is_never_executed() {
    let server = Server::start(&[]).await;
    let head = b"POST /score HTTP/1.1\r\nhost: m\r\ncontent-length: 100\r\n\r\nten bytes!";
    let stream = server.raw(head).await;
    server.until(|stats| stats.bytes_in == 10).await;
    assert_eq!(server.stats().in_progress, 0);
    drop(stream);
    let stats = server.until(|stats| stats.open == 0).await;
    assert_eq!((stats.aborted, stats.executions), (1, 0));
}

#[tokio::test]
async fn the_last_execution_ends_the_server_without_an_answer() {
    let mut server = Server::start(&["--exit-after", "3"]).await;
    for _ in 0..2 {
        assert_eq!(server.get("/score").await.status, StatusCode::OK);
    }
    assert!(server.send("/score", &[], b"").await.is_err());
    assert_eq!(server.ended().await, Ended::Suddenly);
    assert_eq!(server.stats().executions, 3);
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn the_server_ends_after_its_time_in_the_middle_of_work() {
    let mut server = Server::start(&["--exit-after", "200ms"]).await;
    let mut stream = server.raw(b"GET /score?latency=10m HTTP/1.1\r\nhost: m\r\n\r\n").await;
    assert_eq!(server.ended().await, Ended::Suddenly);
    let mut answer = Vec::new();
    // Either end of file or a reset: the answer never comes.
    let _closed = timeout(super::PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.is_empty());
}

#[tokio::test]
async fn stopping_refuses_new_connections_and_finishes_what_is_in_progress() {
    let mut server = Server::start(&[]).await;
    let mut working = server.raw(SLOW_SCORE).await;
    let mut idle = server.raw(SCORE).await;
    read_until(&mut idle, "}").await;
    let abandoned = server.raw(SLOW_SCORE).await;
    server.until(|stats| stats.executions == 3).await;
    drop(abandoned);
    server.stop();
    assert!(read_to_end(&mut working).await.starts_with("HTTP/1.1 200"));
    assert_eq!(read_to_end(&mut idle).await, "");
    assert_eq!(server.ended().await, Ended::Drained);
    assert_eq!((server.stats().in_progress, server.stats().cancelled), (0, 0));
    assert!(TcpStream::connect(server.address).await.is_err());
}
