//! Resident memory while many large uploads go to replicas that read slowly: a body that is
//! buffered anywhere in the router is seen here.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};

use super::{
    Verdict,
    arguments::Arguments,
    machine,
    proxies::{KEY, Kind, PATH, Proxy},
    stub::{self, Pace},
    wire,
};

/// Uploads at once.
const UPLOADS: usize = 64;
/// How much the router may grow, over being idle.
const GROWTH_MIB_MAX: f64 = 64.0;
/// Bytes of one upload. Over HTTP/2 fewer, because what memory it takes it takes at once.
const HTTP1_BYTES: usize = 100_000_000;
const HTTP2_BYTES: usize = 20_000_000;
/// A replica takes 64 KiB and then rests for this long: some 250 MB/s over all of them.
const PAUSE: Duration = Duration::from_millis(16);
/// Longer than that takes on a slow machine.
const LIMIT: Duration = Duration::from_secs(180);
/// How long a warm-up and the calm before a measurement take.
const CALM: Duration = Duration::from_millis(500);

/// Measures over HTTP/1 and HTTP/2.
pub(crate) async fn measure(arguments: &Arguments, core: usize) -> Vec<Verdict> {
    let replicas = stub::start(1, Pace::Slow(PAUSE)).await;
    let router = arguments.others.first().cloned().unwrap_or_else(Arguments::router);
    let mut verdicts = Vec::new();
    for (protocol, bytes) in [("HTTP/1.1", HTTP1_BYTES), ("HTTP/2", HTTP2_BYTES)] {
        let proxy = Proxy::start(&Kind::Router(router.clone()), core, &replicas).await;
        tokio::time::sleep(CALM).await;
        let (idle_kib, _) = machine::memory_kib(proxy.pid());
        let uploads: Vec<JoinHandle<bool>> = if bytes == HTTP1_BYTES {
            let send = |_| tokio::task::spawn_local(http1(proxy.address, bytes));
            (0..UPLOADS).map(send).collect()
        } else {
            http2(proxy.address, bytes).await
        };
        let all = async {
            let mut succeeded = 0;
            for upload in uploads {
                succeeded += usize::from(upload.await.unwrap_or(false));
            }
            succeeded
        };
        let succeeded = tokio::time::timeout(LIMIT, all).await.unwrap_or(0);
        let (_, peak_kib) = machine::memory_kib(proxy.pid());
        let mib = |kib: u64| f64::from(u32::try_from(kib).unwrap_or(u32::MAX)) / 1024.0;
        let growth = mib(peak_kib.saturating_sub(idle_kib));
        let what = format!(
            "memory of {UPLOADS} uploads of {} MB over {protocol}: {growth:.1} MiB above the \
             {:.1} MiB of an idle router, at most {GROWTH_MIB_MAX}; {succeeded} succeeded",
            bytes / 1_000_000,
            mib(idle_kib),
        );
        let holds = Some(growth <= GROWTH_MIB_MAX && succeeded == UPLOADS);
        verdicts.push(Verdict { what, holds });
    }
    verdicts
}

async fn http1(address: SocketAddr, bytes: usize) -> bool {
    let Ok(mut stream) = TcpStream::connect(address).await else { return false };
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {KEY}\r\n\
         content-length: {bytes}\r\n\r\n"
    );
    let piece = vec![b'x'; 64 * 1024];
    let mut sent = stream.write_all(head.as_bytes()).await;
    let mut left = bytes;
    while left > 0 && sent.is_ok() {
        let piece = piece.get(..left.min(piece.len())).unwrap_or_default();
        left -= piece.len();
        sent = stream.write_all(piece).await;
    }
    let mut answer = Vec::with_capacity(4096);
    let read = stream.read_buf(&mut answer).await;
    read.is_ok() && wire::head(&answer).is_some_and(|head| head.is_ok)
}

/// All uploads as streams of one connection.
async fn http2(address: SocketAddr, bytes: usize) -> Vec<JoinHandle<bool>> {
    let stream = TcpStream::connect(address).await.expect("the router accepts");
    let (sender, connection) = h2::client::handshake(stream).await.expect("the router speaks h2");
    tokio::task::spawn_local(async move { drop(connection.await) });
    let upload = |_| tokio::task::spawn_local(http2_stream(sender.clone(), bytes));
    (0..UPLOADS).map(upload).collect()
}

async fn http2_stream(sender: h2::client::SendRequest<Bytes>, bytes: usize) -> bool {
    let request = http::Request::post(format!("http://127.0.0.1{PATH}"))
        .header("authorization", format!("Bearer {KEY}"))
        .header("content-length", bytes)
        .body(());
    let Ok(mut sender) = sender.ready().await else { return false };
    let Ok((answer, mut body)) = sender.send_request(request.expect("a valid request"), false)
    else {
        return false;
    };
    let piece = Bytes::from(vec![b'x'; 64 * 1024]);
    let mut left = bytes;
    while left > 0 {
        body.reserve_capacity(left.min(piece.len()));
        let Some(Ok(room)) = std::future::poll_fn(|cx| body.poll_capacity(cx)).await else {
            return false;
        };
        let piece = piece.slice(..room.min(left).min(piece.len()));
        left -= piece.len();
        if body.send_data(piece, left == 0).is_err() {
            return false;
        }
    }
    answer.await.is_ok_and(|answer| answer.status() == http::StatusCode::OK)
}
