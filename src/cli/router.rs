//! `modelway dev` and `modelway serve`: flags and environment, made into a [`RouterConfig`].
#![expect(clippy::print_stdout, reason = "what a person at the terminal should read")]

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use clap::Args;

use super::{bounds::BoundsArgs, cluster::ClusterArgs, operator::ADMIN_TOKEN, tls::TlsArgs};
use crate::{
    app,
    config::{
        ADMIN_PORT, AdminToken, DATA_PORT, DEV_DRAIN_TIMEOUT, RouterConfig, RouterFile,
        SERVE_DRAIN_DELAY, TOKEN_ISSUER, TOKEN_ISSUER_BYTES_MAX, WORKERS_MAX,
    },
    domain::ClearText,
    platform::{
        local::Output,
        spec::{self, DurationText},
    },
    proxy, ring,
    telemetry::{self, LogFormat},
    tokens::Roots,
};

/// What `dev` and `serve` have in common.
#[derive(Debug, Clone, Args)]
pub(super) struct RouterArgs {
    /// File with InferenceEndpoint documents; may be given several times
    #[arg(short, long, value_name = "FILE", env = "MODELWAY_FILE", value_delimiter = ',')]
    file: Vec<PathBuf>,
    /// File with these settings in YAML, camelCase; variables and flags are stronger
    #[arg(long, value_name = "FILE", env = "MODELWAY_CONFIG")]
    config: Option<PathBuf>,
    /// Address for clients [default: 127.0.0.1 in dev, 0.0.0.0 in serve]
    #[arg(long, env = "MODELWAY_ADDRESS")]
    address: Option<IpAddr>,
    /// Port for clients; 0 finds a free one [default: 8080]
    #[arg(long, env = "MODELWAY_PORT")]
    port: Option<u16>,
    /// Port for health, metrics and the admin API; 0 finds a free one [default: 9001]
    #[arg(long, env = "MODELWAY_ADMIN_PORT")]
    admin_port: Option<u16>,
    /// Address of the admin port [default: 127.0.0.1 in dev, the address in serve]
    #[arg(long, env = "MODELWAY_ADMIN_ADDRESS")]
    admin_address: Option<IpAddr>,
    /// File with the token for what the admin port shows and changes of secrets; read again when it
    /// changes [default: MODELWAY_ADMIN_TOKEN, else none]
    #[arg(long, value_name = "FILE", env = "MODELWAY_ADMIN_TOKEN_FILE")]
    admin_token_file: Option<PathBuf>,
    /// File with the keys that tokens are signed with; made, readable by its owner only, when it is not
    /// there [default: keys end with the process, and their tokens with them]
    #[arg(long, value_name = "FILE", env = "MODELWAY_SIGNING_KEYS")]
    signing_keys: Option<PathBuf>,
    /// How often a new such key is made [default: 30d]
    #[arg(long, env = "MODELWAY_SIGNING_ROTATION", value_parser = humantime::parse_duration)]
    signing_rotation: Option<Duration>,
    /// The issuer that the router's own tokens name [default: modelway]
    #[arg(long, value_name = "NAME", env = "MODELWAY_TOKEN_ISSUER")]
    token_issuer: Option<String>,
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
    /// Form of logs: auto (text on a terminal, JSON otherwise), json or text [default: auto]
    #[arg(long, env = "MODELWAY_LOG_FORMAT")]
    log_format: Option<LogFormat>,
    /// Output of replica processes: prefixed, off, or a folder for one file each [default:
    /// prefixed]
    #[arg(long, env = "MODELWAY_REPLICA_OUTPUT")]
    replica_output: Option<String>,
    /// A reused connection that closes within this time did not start the request; 0s: never
    /// assume that
    #[arg(long, env = "MODELWAY_REUSE_RETRY_LIMIT", value_parser = humantime::parse_duration)]
    reuse_retry_limit: Option<Duration>,
    #[command(flatten, next_help_heading = "HTTPS")]
    tls: TlsArgs,
    /// PEM file with the certificates that vouch for outside issuers of tokens, in place of the
    /// system's
    #[arg(long, value_name = "FILE", env = "MODELWAY_ISSUER_CA")]
    issuer_ca: Option<PathBuf>,
    #[command(flatten, next_help_heading = "Bounds")]
    bounds: BoundsArgs,
}

/// What only `serve` has.
#[derive(Debug, Clone, Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    router: RouterArgs,
    #[command(flatten, next_help_heading = "Kubernetes")]
    cluster: ClusterArgs,
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
    address: IpAddr,
    admin_address: Option<IpAddr>,
    drain_delay: Duration,
    drain_timeout: Option<Duration>,
    access_log: bool,
    needs_files: bool,
    admin_open: bool,
}

/// Runs `modelway dev`.
pub(super) fn dev(args: RouterArgs) -> anyhow::Result<()> {
    let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
    run(
        args,
        ClusterArgs::default(),
        &Defaults {
            address: localhost,
            admin_address: Some(localhost),
            drain_delay: Duration::ZERO,
            drain_timeout: Some(DEV_DRAIN_TIMEOUT),
            access_log: false,
            needs_files: false,
            admin_open: true,
        },
    )
}

/// Runs `modelway serve`.
pub(super) fn serve(args: ServeArgs) -> anyhow::Result<()> {
    run(
        args.router,
        args.cluster,
        &Defaults {
            address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            admin_address: None,
            drain_delay: SERVE_DRAIN_DELAY,
            drain_timeout: None,
            access_log: true,
            needs_files: true,
            admin_open: false,
        },
    )
}

fn run(args: RouterArgs, cluster: ClusterArgs, defaults: &Defaults) -> anyhow::Result<()> {
    let file = match &args.config {
        Some(path) => read_file(path)?,
        None => RouterFile::default(),
    };
    let log_format = log_format(&args, &file)?;
    telemetry::init(log_format, None)?;
    let config = config(args, cluster, file, log_format, defaults)?;
    // A current-thread runtime on the main thread: replica processes are tied by the kernel to the
    // thread that starts them, which must live as long as the router.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(app::run(config, Arc::new(|line: &str| println!("{line}"))))
}

fn read_file(path: &Path) -> anyhow::Result<RouterFile> {
    spec::load_document(path).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("the configuration is not usable\n{}", lines.join("\n"))
    })
}

fn log_format(args: &RouterArgs, file: &RouterFile) -> anyhow::Result<LogFormat> {
    match (&args.log_format, &file.log_format) {
        (Some(format), _) => Ok(*format),
        (None, Some(text)) => text.parse().context("logFormat"),
        (None, None) => Ok(LogFormat::Auto),
    }
}

/// Flags and variables (clap has put flags first), then the file, then the defaults.
fn config(
    args: RouterArgs,
    cluster: ClusterArgs,
    file: RouterFile,
    log_format: LogFormat,
    defaults: &Defaults,
) -> anyhow::Result<RouterConfig> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let workers = args.workers.or(file.workers).unwrap_or(cores);
    if !(1..=WORKERS_MAX).contains(&workers) {
        anyhow::bail!("workers must be 1 to {WORKERS_MAX}, not {workers}");
    }
    let kubernetes = cluster.settings(&file, app::router_name())?;
    let address = args.address.or(file.address).unwrap_or(defaults.address);
    let https = args.tls.settings(&file, address)?;
    let memory_limit = args.bounds.memory_limit(&file)?;
    let mut proxy = proxy::Settings::default();
    args.bounds.apply(&file, &mut proxy)?;
    let files = if args.file.is_empty() { file.files } else { args.file };
    if files.is_empty() && defaults.needs_files && kubernetes.is_none() {
        anyhow::bail!(
            "serve needs endpoints: give a file with -f, or --kubernetes (modelway dev has a demo)"
        );
    }
    if !files.is_empty() && kubernetes.is_some() {
        anyhow::bail!(
            "endpoints come from files or from a cluster: use -f or --kubernetes, not both"
        );
    }
    let signing_keys = signing_file(args.signing_keys.or(file.signing_keys), kubernetes.is_some())?;
    let duration = |text: Option<DurationText>| text.map(|DurationText(duration)| duration);
    let ring = ring_settings(
        args.token_issuer.or(file.token_issuer),
        args.signing_rotation.or(duration(file.signing_rotation)),
    )?;
    proxy.reuse_retry_limit = args
        .reuse_retry_limit
        .or(duration(file.reuse_retry_limit))
        .unwrap_or(proxy.reuse_retry_limit);
    let admin_address =
        args.admin_address.or(file.admin_address).or(defaults.admin_address).unwrap_or(address);
    let admin_token = admin_token(args.admin_token_file.or(file.admin_token_file))?;
    let access_log = args.access_log.map(|switch| switch == Switch::On).or(file.access_log);
    let output = args.replica_output.or(file.replica_output);
    Ok(RouterConfig {
        files,
        kubernetes,
        https,
        data: SocketAddr::new(address, args.port.or(file.port).unwrap_or(DATA_PORT)),
        admin: SocketAddr::new(
            admin_address,
            args.admin_port.or(file.admin_port).unwrap_or(ADMIN_PORT),
        ),
        admin_token,
        admin_open: defaults.admin_open,
        ring,
        signing_keys,
        workers,
        issuer_roots: args.issuer_ca.or(file.issuer_ca).map_or(Roots::System, Roots::File),
        proxy,
        memory_limit,
        drain_delay: args
            .drain_delay
            .or(duration(file.drain_delay))
            .unwrap_or(defaults.drain_delay),
        drain_timeout: args
            .drain_timeout
            .or(duration(file.drain_timeout))
            .or(defaults.drain_timeout),
        access_log: access_log.unwrap_or(defaults.access_log).then_some(log_format),
        replica_output: replica_output(output.as_deref().unwrap_or("prefixed"))?,
    })
}

fn signing_file(file: Option<PathBuf>, in_cluster: bool) -> anyhow::Result<Option<PathBuf>> {
    if file.is_some() && in_cluster {
        anyhow::bail!(
            "signing keys of a router in a cluster are in a Secret: name it with --signing-secret, \
             not a file"
        );
    }
    Ok(file)
}

fn ring_settings(
    issuer: Option<String>,
    rotate_every: Option<Duration>,
) -> anyhow::Result<ring::Settings> {
    let issuer = issuer.unwrap_or_else(|| TOKEN_ISSUER.to_owned());
    let is_word = issuer.bytes().all(|byte| byte.is_ascii_graphic());
    if issuer.is_empty() || issuer.len() > TOKEN_ISSUER_BYTES_MAX || !is_word {
        anyhow::bail!(
            "token-issuer is 1 to {TOKEN_ISSUER_BYTES_MAX} bytes of printable ASCII without spaces"
        );
    }
    let rotate_every = rotate_every.unwrap_or(ring::ROTATE_EVERY);
    if !ring::ROTATE_BOUNDS.contains(&rotate_every) {
        anyhow::bail!(
            "signing-rotation is {} to {}, not {}",
            humantime::format_duration(*ring::ROTATE_BOUNDS.start()),
            humantime::format_duration(*ring::ROTATE_BOUNDS.end()),
            humantime::format_duration(rotate_every)
        );
    }
    Ok(ring::Settings { issuer, rotate_every })
}

/// The token itself is no flag: everybody on the machine can read command lines.
fn admin_token(file: Option<PathBuf>) -> anyhow::Result<Option<AdminToken>> {
    let text = std::env::var(ADMIN_TOKEN).ok().filter(|text| !text.is_empty());
    match (file, text) {
        (Some(_), Some(_)) => {
            anyhow::bail!("give the admin token with --admin-token-file or {ADMIN_TOKEN}, not both")
        }
        (Some(file), None) => Ok(Some(AdminToken::File(file))),
        (None, text) => Ok(text.map(|text| AdminToken::Text(ClearText::new(text)))),
    }
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

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    const PAGE: &str = include_str!("../../docs/configuration.md");

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        serve: ServeArgs,
    }

    fn made(flags: &[&str], file: RouterFile) -> RouterConfig {
        let line = Line::parse_from(["test"].iter().chain(flags));
        let defaults = Defaults {
            address: Ipv4Addr::LOCALHOST.into(),
            admin_address: None,
            drain_delay: Duration::ZERO,
            drain_timeout: None,
            access_log: false,
            needs_files: false,
            admin_open: true,
        };
        config(line.serve.router, line.serve.cluster, file, LogFormat::Json, &defaults).unwrap()
    }

    #[test]
    fn flags_are_stronger_than_the_file_and_the_file_than_the_defaults() {
        let file = RouterFile { port: Some(81), admin_port: Some(82), ..RouterFile::default() };
        let config = made(&["--port", "80"], file);
        assert_eq!((config.data.port(), config.admin.port()), (80, 82));
        let config = made(&[], RouterFile::default());
        assert_eq!((config.data.port(), config.admin.port()), (DATA_PORT, ADMIN_PORT));
    }

    #[test]
    fn a_file_is_read_and_its_problems_have_a_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("router.yaml");
        std::fs::write(&path, "port: 81\ndrainDelay: 3s\naccessLog: true\n").unwrap();
        let config = made(&[], read_file(&path).unwrap());
        assert_eq!(config.data.port(), 81);
        assert_eq!(config.drain_delay, Duration::from_secs(3));
        assert!(config.access_log.is_some());
        std::fs::write(&path, "prot: 81\nworkers: many\n").unwrap();
        let problems = format!("{:#}", read_file(&path).unwrap_err());
        assert!(problems.contains("router.yaml:1:1"), "{problems}");
        assert!(problems.contains("did you mean `port`"), "{problems}");
        assert!(problems.contains("router.yaml:2:"), "{problems}");
    }

    #[test]
    fn every_flag_variable_and_field_is_on_the_page() {
        let command = Line::command();
        let flags = command.get_arguments().flat_map(|argument| {
            let flag = format!("`--{}", argument.get_long().expect("every flag has a name"));
            let variable = argument.get_env().expect("every flag has a variable");
            [flag, format!("| `{}` |", variable.to_string_lossy())]
        });
        let unknown = serde_json::from_str::<RouterFile>(r#"{"no such field": 0}"#).unwrap_err();
        let unknown = unknown.to_string();
        // What serde says it expected instead.
        let fields = unknown.split('`').skip(3).step_by(2).map(|field| format!("| `{field}"));
        let words: Vec<String> = flags.chain(fields).collect();
        assert!(words.len() > 30, "{words:?}");
        for word in words {
            assert!(PAGE.contains(&word), "docs/configuration.md lacks {word}");
        }
    }

    #[test]
    fn the_file_and_the_bounds_on_the_page_are_good() {
        let file = PAGE.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("router.yaml");
        std::fs::write(&path, file.expect("the page shows a file")).unwrap();
        let config = made(&[], read_file(&path).unwrap());
        assert_eq!((config.files.len(), config.drain_delay.as_secs()), (2, 10));
        for bound in [
            format!("at most {} % of the file limit", crate::config::CLIENT_FILES_PERCENT),
            format!("1 to {WORKERS_MAX}"),
            format!("`dev`: 0s. `serve`: {}s", SERVE_DRAIN_DELAY.as_secs()),
            format!("`dev`: {}s. `serve`: the longest", DEV_DRAIN_TIMEOUT.as_secs()),
            format!("`requestTimeout` and {}s", crate::config::DRAIN_MARGIN.as_secs()),
            format!("| `port` | {DATA_PORT} |"),
            format!("| `adminPort` | {ADMIN_PORT} |"),
        ] {
            assert!(PAGE.contains(&bound), "docs/configuration.md lacks `{bound}`");
        }
    }
}
