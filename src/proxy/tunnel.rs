//! An upgraded connection: bytes both ways until one side ends or both fall silent.

use std::{cell::Cell, io, rc::Rc, sync::Arc, time::Duration};

use http::{Response, response::Parts};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::Instant,
};

use super::{
    guard,
    listener::Counted,
    reply::{Flow, Reply},
};
use crate::telemetry::Open;

/// A tunnel always has its version's idle limit; this bounds it all the same.
const IDLE_MAX: Duration = Duration::from_secs(3600);
/// Buffer of one direction.
const BUFFER_BYTES: usize = 16 * 1024;

/// The answer that switches protocols; the bytes flow once both sides have switched. The slot is
/// held for the life of the tunnel (contract §5).
pub(crate) fn open(
    mut parts: Parts,
    client: Option<OnUpgrade>,
    flow: Box<Flow>,
) -> Response<Reply> {
    let replica = parts.extensions.remove::<OnUpgrade>();
    if let (Some(client), Some(replica)) = (client, replica) {
        guard::spawn(Rc::clone(&flow.worker), run(client, replica, flow));
    }
    Response::from_parts(parts, Reply::whole(bytes::Bytes::new()))
}

async fn run(client: OnUpgrade, replica: OnUpgrade, mut flow: Box<Flow>) {
    let metrics = Arc::clone(&flow.worker.proxy.metrics);
    let _open = Open::count(&metrics.connections.websocket);
    let _counted = Counted::new(&flow.worker);
    let idle = flow.patience.idle.unwrap_or(IDLE_MAX);
    if let (Ok(client), Ok(replica)) = tokio::join!(client, replica) {
        #[cfg(test)]
        guard::fault::pass(guard::fault::Place::Tunnel);
        let (up, down) = relay(TokioIo::new(client), TokioIo::new(replica), idle).await;
        flow.record.request_bytes = up;
        flow.record.response_bytes = down;
    }
    flow.record.done = Some(std::time::Instant::now());
}

/// Moves bytes until the replica ends, either side breaks, or nothing has moved for `idle`; returns
/// how many went to the replica and to the client. A client that has only closed its half still
/// gets what the replica has to say to that.
async fn relay<C, R>(client: C, replica: R, idle: Duration) -> (u64, u64)
where
    C: AsyncRead + AsyncWrite,
    R: AsyncRead + AsyncWrite,
{
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_replica, mut to_replica) = tokio::io::split(replica);
    let last = Rc::new(Cell::new(Instant::now()));
    let (up, down) = (Cell::new(0), Cell::new(0));
    let upward = async {
        if pump(&mut from_client, &mut to_replica, &last, &up).await.is_ok() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = upward => {}
        _ended = pump(&mut from_replica, &mut to_client, &last, &down) => {}
        () = silence(&last, idle) => {}
    }
    (up.get(), down.get())
}

async fn pump(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    last: &Cell<Instant>,
    count: &Cell<u64>,
) -> io::Result<()> {
    let mut buffer = vec![0_u8; BUFFER_BYTES];
    loop {
        let read = from.read(&mut buffer).await?;
        last.set(Instant::now());
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
            return to.shutdown().await;
        };
        to.write_all(bytes).await?;
        to.flush().await?;
        count.set(count.get() + read as u64);
    }
}

async fn silence(last: &Cell<Instant>, limit: Duration) {
    loop {
        let until = last.get() + limit;
        tokio::time::sleep_until(until).await;
        if last.get() + limit <= Instant::now() {
            return;
        }
    }
}
