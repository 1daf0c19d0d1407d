//! The replica behind every proxy: it answers each request with the same 200 bytes of JSON, or
//! reads its body slowly.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::wire::{Head, head};

/// Payload of each answer.
const ANSWER_BYTES: usize = 200;
/// One read of a slow replica.
const SIP_BYTES: usize = 64 * 1024;

/// How a stub reads.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// As fast as it can.
    Fast,
    /// With this pause between two reads of a long body.
    Slow(Duration),
}

/// Starts `count` replicas on this thread; they end with its runtime.
pub(crate) async fn start(count: usize, pace: Pace) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    for _ in 0..count {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        addresses.push(listener.local_addr().expect("it is bound"));
        tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::task::spawn_local(async move {
                    // A proxy that closes its connection is no fault of this side.
                    let _closed = serve(stream, pace).await;
                });
            }
        });
    }
    addresses
}

async fn serve(mut stream: TcpStream, pace: Pace) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let answer = answer();
    let mut buffer = Vec::with_capacity(SIP_BYTES);
    loop {
        let Head { length, body, .. } = loop {
            if let Some(head) = head(&buffer) {
                break head;
            }
            read(&mut stream, &mut buffer).await?;
        };
        let mut left = (length + body).checked_sub(buffer.len())?;
        buffer.clear();
        while left > 0 {
            if let Pace::Slow(pause) = pace {
                tokio::time::sleep(pause).await;
            }
            left = left.checked_sub(read(&mut stream, &mut buffer).await?)?;
            buffer.clear();
        }
        stream.write_all(&answer).await.ok()?;
    }
}

async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<usize> {
    stream.read_buf(buffer).await.ok().filter(|count| *count > 0)
}

fn answer() -> Vec<u8> {
    let wrapping = r#"{"result": ""}"#.len();
    let body = format!(r#"{{"result": "{}"}}"#, "x".repeat(ANSWER_BYTES - wrapping));
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length:";
    format!("{head} {}\r\n\r\n{body}", body.len()).into_bytes()
}
