//! The threads of the data plane.

use std::{io, rc::Rc, sync::Arc, thread::JoinHandle, time::Duration};

use tokio::runtime::{Builder, LocalOptions};

use super::{
    listener::{Door, Listeners, accept},
    routes::Proxy,
    tls::Tls,
    upload::{Upload, UploadState},
};
use crate::{lifecycle::Phase, upstream::Pool};

/// How long finished connections get to flush and close when the process stops.
const FAREWELL: Duration = Duration::from_millis(800);

/// One thread of the data plane.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) pool: Pool<Upload>,
    /// The certificates, where HTTPS is served.
    pub(super) tls: Option<Arc<Tls>>,
}

/// HTTPS: where it is served, and with what.
#[derive(Debug)]
pub struct Secure {
    /// As many sockets as for plain HTTP.
    pub listeners: Listeners,
    /// The certificates.
    pub tls: Arc<Tls>,
}

/// The running threads of the data plane.
#[derive(Debug)]
pub struct Workers(Vec<JoinHandle<()>>);

impl Workers {
    /// Starts one thread for each listener.
    pub fn start(
        proxy: &Arc<Proxy>,
        listeners: Listeners,
        secure: Option<Secure>,
    ) -> io::Result<Self> {
        let (secure, tls) = secure.map(|secure| (secure.listeners, secure.tls)).unzip();
        let mut secure = secure.map(Listeners::into_inner).unwrap_or_default().into_iter();
        let threads = listeners
            .into_inner()
            .into_iter()
            .enumerate()
            .map(|(number, listener)| {
                let proxy = Arc::clone(proxy);
                let tls = tls.clone();
                let sockets = Sockets { plain: listener, secure: secure.next() };
                std::thread::Builder::new().name(format!("data-{number}")).spawn(move || {
                    if let Err(error) = run(proxy, tls, sockets) {
                        tracing::error!(%error, "a data-plane thread could not start");
                    }
                })
            })
            .collect::<io::Result<Vec<_>>>()?;
        Ok(Self(threads))
    }

    /// Waits for the threads, which end when the process stops.
    pub fn join(self) {
        for thread in self.0 {
            if thread.join().is_err() {
                tracing::error!("a data-plane thread panicked");
            }
        }
    }
}

/// The listening sockets of one thread.
struct Sockets {
    plain: std::net::TcpListener,
    secure: Option<std::net::TcpListener>,
}

fn run(proxy: Arc<Proxy>, tls: Option<Arc<Tls>>, sockets: Sockets) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(async move {
        let worker = Rc::new(Worker { pool: Pool::new(proxy.settings.pool), proxy, tls });
        let sweep = tokio::task::spawn_local(worker.pool.clone().sweep());
        let plain = tokio::net::TcpListener::from_std(sockets.plain)?;
        let secure = sockets.secure.map(tokio::net::TcpListener::from_std).transpose()?;
        let secured = async {
            if let Some(secure) = secure {
                accept(Rc::clone(&worker), secure, Door::Secure).await;
            }
        };
        tokio::join!(accept(Rc::clone(&worker), plain, Door::Plain), secured);
        farewell(&worker).await;
        sweep.abort();
        Ok(())
    })
}

/// Waits for the last request, or for the order to stop, and then for its bytes to leave. A request
/// that begins meanwhile, on a connection accepted before, is waited for like the others.
async fn farewell(worker: &Worker) {
    let lifecycle = &worker.proxy.lifecycle;
    let connections = || worker.proxy.connections.load(std::sync::atomic::Ordering::Acquire);
    loop {
        tokio::select! {
            () = lifecycle.idle() => {}
            () = lifecycle.reached(Phase::Stopped) => {}
        }
        let stopped = lifecycle.phase() == Phase::Stopped;
        let gone = async {
            while connections() > 0 && (stopped || lifecycle.requests() == 0) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        drop(tokio::time::timeout(FAREWELL, gone).await);
        if stopped || lifecycle.requests() == 0 {
            return;
        }
    }
}

impl Worker {
    /// A request of this thread has panicked, and was caught.
    pub(crate) fn count_panic(&self) {
        self.proxy.metrics.request_panics.inc();
    }

    /// Reads and drops what is left of a refused upload, bounded, so that its sender gets to read
    /// the answer: a socket closed with unread bytes resets, and the reset destroys the answer.
    pub(crate) fn linger(&self, upload: Rc<UploadState>) {
        let settings = &self.proxy.settings;
        let (limit, bytes_max) = (settings.linger_limit, settings.linger_bytes_max);
        tokio::task::spawn_local(async move {
            drop(tokio::time::timeout(limit, upload.discard(bytes_max)).await);
        });
    }
}
