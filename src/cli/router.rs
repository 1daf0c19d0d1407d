//! `modelway dev` and `modelway serve`: flags and environment, made into a [`RouterConfig`].
#![expect(clippy::print_stdout, reason = "what a person at the terminal should read")]

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use clap::Args;

use crate::{
    app,
    config::{
        ADMIN_PORT, DATA_PORT, DEV_DRAIN_TIMEOUT, RouterConfig, SERVE_DRAIN_DELAY, WORKERS_MAX,
    },
    platform::local::Output,
    proxy,
    telemetry::{self, LogFormat},
};

/// What `dev` and `serve` have in common.
#[derive(Debug, Clone, Args)]
pub(super) struct RouterArgs {
    /// File with InferenceEndpoint documents; may be given several times
    #[arg(short, long, value_name = "FILE", env = "MODELWAY_FILE", value_delimiter = ',')]
    file: Vec<PathBuf>,
    /// Port for clients; 0 finds a free one
    #[arg(long, env = "MODELWAY_PORT", default_value_t = DATA_PORT)]
    port: u16,
    /// Port for health, metrics and the admin API; 0 finds a free one
    #[arg(long, env = "MODELWAY_ADMIN_PORT", default_value_t = ADMIN_PORT)]
    admin_port: u16,
    /// Address of the admin port [default: 127.0.0.1 in dev, the address in serve]
    #[arg(long, env = "MODELWAY_ADMIN_ADDRESS")]
    admin_address: Option<IpAddr>,
    /// Data-plane threads [default: one for each core]
    #[arg(long, env = "MODELWAY_WORKERS")]
    workers: Option<usize>,
    /// How long accepting goes on after SIGTERM [default: 0 in dev, 5s in serve]
    #[arg(long, env = "MODELWAY_DRAIN_DELAY", value_parser = humantime::parse_duration)]
    drain_delay: Option<Duration>,
    /// How long requests may take to finish after that [default: 30s in dev, in serve the longest
    /// requestTimeout and 15s]
    #[arg(long, env = "MODELWAY_DRAIN_TIMEOUT", value_parser = humantime::parse_duration)]
    drain_timeout: Option<Duration>,
    /// One line per request on standard output [default: off in dev, on in serve]
    #[arg(long, env = "MODELWAY_ACCESS_LOG", value_enum)]
    access_log: Option<Switch>,
    /// Form of logs: auto (text on a terminal, JSON otherwise), json or text
    #[arg(long, env = "MODELWAY_LOG_FORMAT", default_value_t = LogFormat::Auto)]
    log_format: LogFormat,
    /// Output of replica processes: prefixed, off, or a folder for one file each
    #[arg(long, env = "MODELWAY_REPLICA_OUTPUT", default_value = "prefixed")]
    replica_output: String,
    /// The most client connections at once, below half of the file limit in any case
    #[arg(long, env = "MODELWAY_CONNECTIONS_MAX")]
    connections_max: Option<usize>,
    /// A reused connection that closes within this time did not start the request; 0s: never
    /// assume that
    #[arg(long, env = "MODELWAY_REUSE_RETRY_LIMIT", value_parser = humantime::parse_duration)]
    reuse_retry_limit: Option<Duration>,
}

/// `modelway dev`.
#[derive(Debug, Clone, Args)]
pub(super) struct DevArgs {
    /// Address for clients
    #[arg(long, env = "MODELWAY_ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,
    #[command(flatten)]
    router: RouterArgs,
}

/// `modelway serve`.
#[derive(Debug, Clone, Args)]
pub(super) struct ServeArgs {
    /// Address for clients
    #[arg(long, env = "MODELWAY_ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    address: IpAddr,
    #[command(flatten)]
    router: RouterArgs,
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Switch {
    /// Written
    On,
    /// Not written
    Off,
}

/// What `dev` and `serve` do differently where nothing is said.
struct Defaults {
    admin_address: IpAddr,
    drain_delay: Duration,
    drain_timeout: Option<Duration>,
    access_log: Switch,
}

/// Runs `modelway dev`.
pub(super) fn dev(args: DevArgs) -> anyhow::Result<()> {
    let defaults = Defaults {
        admin_address: Ipv4Addr::LOCALHOST.into(),
        drain_delay: Duration::ZERO,
        drain_timeout: Some(DEV_DRAIN_TIMEOUT),
        access_log: Switch::Off,
    };
    run(args.router, args.address, &defaults)
}

/// Runs `modelway serve`.
pub(super) fn serve(args: ServeArgs) -> anyhow::Result<()> {
    if args.router.file.is_empty() {
        anyhow::bail!("serve needs endpoints: give a file with -f (modelway dev has a demo)");
    }
    let defaults = Defaults {
        admin_address: args.address,
        drain_delay: SERVE_DRAIN_DELAY,
        drain_timeout: None,
        access_log: Switch::On,
    };
    run(args.router, args.address, &defaults)
}

fn run(args: RouterArgs, address: IpAddr, defaults: &Defaults) -> anyhow::Result<()> {
    telemetry::init(args.log_format, None)?;
    let config = config(args, address, defaults)?;
    // A current-thread runtime on the main thread: replica processes are tied by the kernel to the
    // thread that starts them, which must live as long as the router.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(app::run(config, Arc::new(|line: &str| println!("{line}"))))
}

fn config(args: RouterArgs, address: IpAddr, defaults: &Defaults) -> anyhow::Result<RouterConfig> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let workers = args.workers.unwrap_or(cores);
    if !(1..=WORKERS_MAX).contains(&workers) {
        anyhow::bail!("--workers must be 1 to {WORKERS_MAX}, not {workers}");
    }
    let mut proxy = proxy::Settings::default();
    proxy.connections_max = args.connections_max.unwrap_or(proxy.connections_max);
    proxy.reuse_retry_limit = args.reuse_retry_limit.unwrap_or(proxy.reuse_retry_limit);
    let access_log = args.access_log.unwrap_or(defaults.access_log) == Switch::On;
    Ok(RouterConfig {
        files: args.file,
        data: SocketAddr::new(address, args.port),
        admin: SocketAddr::new(
            args.admin_address.unwrap_or(defaults.admin_address),
            args.admin_port,
        ),
        workers,
        proxy,
        drain_delay: args.drain_delay.unwrap_or(defaults.drain_delay),
        drain_timeout: args.drain_timeout.or(defaults.drain_timeout),
        access_log: access_log.then_some(args.log_format),
        replica_output: replica_output(&args.replica_output)?,
    })
}

fn replica_output(text: &str) -> anyhow::Result<Output> {
    match text {
        "prefixed" => Ok(Output::Prefixed),
        "off" => Ok(Output::Discard),
        folder => {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot make the folder {folder} for replica output"))?;
            Ok(Output::Files(folder.into()))
        }
    }
}
