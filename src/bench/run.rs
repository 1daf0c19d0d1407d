//! The command: flags in, report out, exit code.

use std::{
    future::{Future, pending},
    io::{IsTerminal as _, Write as _},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{MissedTickBehavior, interval};

use super::{BenchArgs, OutputFormat, Plan, Report, Shares, Tally, Target, drive};

/// Time between two pictures of the progress bar.
const PROGRESS_PERIOD: Duration = Duration::from_millis(200);

/// `modelway bench` on a runtime of its own, with as many threads as `--threads` says.
pub fn run_blocking(args: BenchArgs) -> anyhow::Result<ExitCode> {
    runtime(args.threads).context("cannot start the runtime")?.block_on(run(args))
}

/// One thread needs no scheduler that steals work, and is faster without.
pub(super) fn runtime(threads: u16) -> std::io::Result<Runtime> {
    if threads <= 1 {
        return Builder::new_current_thread().enable_all().build();
    }
    Builder::new_multi_thread().worker_threads(usize::from(threads)).enable_all().build()
}

/// `modelway bench`: exit code 1 when a condition of `--fail-if` is true or nothing was answered at
/// all, else 0. Ctrl-C ends the run early and prints what there is.
#[expect(clippy::print_stderr, reason = "a hint for a person, beside the report")]
pub async fn run(args: BenchArgs) -> anyhow::Result<ExitCode> {
    let interrupted = async {
        if tokio::signal::ctrl_c().await.is_err() {
            pending::<()>().await;
        }
    };
    let report = measure(&args, interrupted).await?;
    let text = match args.output {
        OutputFormat::Text => report.to_string(),
        OutputFormat::Json => {
            serde_json::to_string(&report).context("cannot write the report")? + "\n"
        }
    };
    std::io::stdout().write_all(text.as_bytes()).context("cannot print the report")?;
    if report.answered == 0 && report.sent > 0 && report.unfinished == 0 {
        anyhow::bail!("no request was answered; is there a server at {}?", args.url);
    }
    if report.statuses.iter().all(|line| line.status == 401) && report.answered > 0 {
        eprintln!("every request was refused for its key: give one with --key or MODELWAY_KEY");
    }
    Ok(if report.failed_checks.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the plan of the flags until its end or `stop`.
pub(super) async fn measure(
    args: &BenchArgs,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<Report> {
    let plan = Arc::new(Plan::from_args(args)?);
    let shares = match (&args.expect_split, &args.admin) {
        (Some(shares), _) => Some(shares.clone()),
        (None, Some(admin)) => Some(Shares::read(admin, &plan.url).await?),
        (None, None) => None,
    };
    let target = Target::new(Arc::clone(&plan));
    let tally = Arc::new(Mutex::new(Tally::default()));
    let shown = !args.no_progress && std::io::stderr().is_terminal();
    let time = tokio::select! {
        time = drive(&target, &tally, stop) => time.context("cannot keep a schedule")?,
        () = show_progress(&plan, &tally, shown) => Duration::ZERO,
    };
    let mut report = Report::of(&tally.lock(), time, shares.as_ref());
    let failed = args.fail_if.iter().filter(|check| check.is_true_of(&report));
    report.failed_checks = failed.map(ToString::to_string).collect();
    Ok(report)
}

/// Draws until it is dropped.
async fn show_progress(plan: &Plan, tally: &Mutex<Tally>, shown: bool) {
    if !shown {
        return pending().await;
    }
    let duration_ms = u64::try_from(plan.duration.as_millis()).unwrap_or(u64::MAX);
    let bar = ProgressBar::new(plan.requests.unwrap_or(duration_ms));
    let style = ProgressStyle::with_template("{bar:40} {percent:>3} % {msg}")
        .expect("the template is a constant, and valid");
    bar.set_style(style);
    let bar = Cleared(bar);
    let start = Instant::now();
    let mut ticks = interval(PROGRESS_PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let ended = tally.lock().ended();
        let elapsed_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        bar.0.set_position(if plan.requests.is_some() { ended } else { elapsed_ms });
        bar.0.set_message(format!("{ended} done in {} s", elapsed_ms / 1000));
    }
}

/// Takes the bar away when the run ends, so that the report starts on a clean line.
struct Cleared(ProgressBar);

impl Drop for Cleared {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
