//! The server: start, connections, and the two ways in which it ends.

use std::{
    future::{Future, pending},
    io::Write as _,
    pin::pin,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
    signal::unix::{SignalKind, signal},
    sync::Notify,
    time::{Instant, sleep},
};

use super::{
    ConcurrencyMode, ExitAfter, ModelArgs, Truth, behaviour::Behaviour, http::handle,
    ledger::Ledger,
};
use crate::lifecycle::{Lifecycle, Phase};

/// How long work in progress may take to finish once the server is told to stop: the contract's
/// longest `requestTimeout` of 300 s and some.
const DRAIN_MAX: Duration = Duration::from_secs(330);
/// Pause after a failed `accept`, for example when file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
/// Streams that one HTTP/2 connection may open at once.
const STREAMS_MAX: u32 = 10_000;

/// A stand-in model server that is not bound to a socket yet.
#[derive(Debug)]
pub struct Model {
    pub(super) behaviour: Behaviour,
    pub(super) truth: Arc<Truth>,
    pub(super) life: Lifecycle,
    pub(super) last_execution: Option<u64>,
    pub(super) sudden_end: Notify,
    lifetime: Option<Duration>,
    keep_alive: Option<Duration>,
    healthy_at: Instant,
}

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was told to stop, and finished its work.
    Drained,
    /// As `--exit-after` says, in the middle of its work.
    Suddenly,
}

impl Model {
    /// A server that behaves as the flags say; `port`, `address`, `workers` and `start_delay` are
    /// left to the caller. Fails when the ledger cannot be opened.
    pub fn new(args: &ModelArgs) -> anyhow::Result<Arc<Self>> {
        let ledger = match &args.ledger {
            Some(path) => Some(
                Ledger::open(path, args.replica_name())
                    .with_context(|| format!("cannot open the ledger {}", path.display()))?,
            ),
            None => None,
        };
        let recorded = args.concurrency_mode == ConcurrencyMode::Record && args.concurrency > 0;
        let (last_execution, lifetime) = match args.exit_after {
            Some(ExitAfter::Executions(count)) => (Some(count), None),
            Some(ExitAfter::Time(time)) => (None, Some(time)),
            None => (None, None),
        };
        Ok(Arc::new(Self {
            behaviour: Behaviour::new(args),
            truth: Arc::new(Truth::new(ledger, recorded.then_some(args.concurrency))),
            life: Lifecycle::new(),
            last_execution,
            sudden_end: Notify::new(),
            lifetime,
            keep_alive: args.keep_alive,
            healthy_at: Instant::now() + args.health_delay,
        }))
    }

    /// What really happened so far.
    pub fn truth(&self) -> &Truth {
        &self.truth
    }

    pub(super) fn is_healthy(&self) -> bool {
        Instant::now() >= self.healthy_at
    }

    /// Serves until `stop` resolves, then finishes what is in progress (at most 330 s); or until
    /// `--exit-after`, then cuts everything off.
    pub async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        stop: impl Future<Output = ()>,
    ) -> Ended {
        let lifetime = async {
            match self.lifetime {
                Some(time) => sleep(time).await,
                None => pending().await,
            }
        };
        let stopped = async {
            tokio::select! {
                () = self.accept(listener) => {}
                () = stop => {}
            }
            // The listener is closed now.
            self.life.enter(Phase::Closing);
            // Twice: a connection that ends may have left work behind that began meanwhile.
            self.life.finish_tasks(DRAIN_MAX).await;
            self.life.finish_tasks(DRAIN_MAX).await;
        };
        tokio::select! {
            () = stopped => Ended::Drained,
            () = lifetime => self.cut_off().await,
            () = self.sudden_end.notified() => self.cut_off().await,
        }
    }

    async fn cut_off(&self) -> Ended {
        self.life.enter(Phase::Stopped);
        self.life.finish_tasks(Duration::ZERO).await;
        Ended::Suddenly
    }

    async fn accept(self: &Arc<Self>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _client)) => {
                    let model = Arc::clone(self);
                    self.life.spawn("connection", model.connection(stream));
                }
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "could not set TCP_NODELAY");
        }
        let life = self.life.clone();
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            // hyper measures this from the end of the last answer, so it is the idle time too.
            .header_read_timeout(self.keep_alive)
            // A client that has sent everything and only half-closed still gets its answer.
            .half_close(self.behaviour.ignore_disconnect);
        builder.http2().max_concurrent_streams(STREAMS_MAX);
        let service = service_fn(move |request| handle(Arc::clone(&self), request));
        let mut connection =
            pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = life.reached(Phase::Closing) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "connection ended early");
        }
    }
}

/// `modelway model` on a runtime of its own, with as many threads as `--workers` says.
pub fn run_blocking(args: ModelArgs) -> anyhow::Result<ExitCode> {
    runtime(args.workers).context("cannot start the runtime")?.block_on(run(args))
}

/// One thread needs no scheduler that steals work, and is faster without.
pub(super) fn runtime(workers: u16) -> std::io::Result<Runtime> {
    if workers <= 1 {
        return Builder::new_current_thread().enable_all().build();
    }
    Builder::new_multi_thread().worker_threads(usize::from(workers)).enable_all().build()
}

/// `modelway model`: serves until SIGTERM or Ctrl-C, then exit code 0; after a sudden end 1.
pub async fn run(args: ModelArgs) -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch for Ctrl-C")?;
    let mut stop = pin!(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    });
    let listener = tokio::select! {
        listener = listen(&args) => listener?,
        () = stop.as_mut() => return Ok(ExitCode::SUCCESS),
    };
    let address = listener.local_addr().context("cannot tell the address")?;
    let model = Model::new(&args)?;
    // A reader that has gone away is no reason to stop serving.
    let _said = writeln!(std::io::stdout(), "{} listens on http://{address}", args.name);
    Ok(match model.serve(listener, stop).await {
        Ended::Drained => ExitCode::SUCCESS,
        Ended::Suddenly => ExitCode::FAILURE,
    })
}

/// Listens as the flags say, once `--start-delay` has passed.
pub(super) async fn listen(args: &ModelArgs) -> anyhow::Result<TcpListener> {
    sleep(args.start_delay).await;
    let address = args.socket_address();
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address} (choose another with --port; 0 finds a free one)")
    })
}
