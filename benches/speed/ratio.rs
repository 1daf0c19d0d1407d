//! CPU time per request, router beside nginx, in interleaved rounds.
//!
//! How: CPU time and not requests per second, because it says the same on a busy machine and does
//! not depend on who is saturated; nginx in the same rounds, because machines differ by more than
//! proxies do; medians, and a measurement that others disturbed is taken again, because caches are
//! shared even where cores are not.

use std::{
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use super::{
    Verdict,
    arguments::Arguments,
    load::{Load, Seen, request},
    machine,
    proxies::{KEY, Kind, PATH, Proxy},
    stub::{self, Pace},
};

/// The CPU time per request that is aimed at, in that of nginx. Missing it is said, loudly.
const RATIO_GOAL: f64 = 1.35;
/// What fails the run. On a shared machine the same binary was seen between 1.1 and 2.2, so a
/// tighter bound would fail by chance; this one catches a change that doubles the work.
const RATIO_MAX: f64 = 2.5;
/// Replicas behind each proxy.
const REPLICAS: usize = 4;
/// Load before the measurement begins.
const WARM_UP: Duration = Duration::from_millis(700);
/// Share of the proxy's core that others may use during a measurement.
const FOREIGN_SHARE_MAX: f64 = 0.06;
/// How many measurements of one run are taken again because they were disturbed: for each round
/// one. Of each, the least disturbed counts.
const RETRIES_PER_ROUND: usize = 1;

#[derive(Debug)]
struct Sample {
    cpu_us: f64,
    rate: f64,
    seen: Seen,
    foreign_share: f64,
}

/// Measures, prints a table, and judges.
pub(crate) async fn measure(
    arguments: &Arguments,
    nginx: Option<PathBuf>,
    cores: (usize, usize),
) -> Verdict {
    let replicas = stub::start(REPLICAS, Pace::Fast).await;
    let mut kinds: Vec<Kind> = nginx.into_iter().map(Kind::Nginx).collect();
    let compares = !kinds.is_empty();
    let routers = [Arguments::router()].into_iter().chain(arguments.others.iter().cloned());
    kinds.extend(routers.map(Kind::Router));
    let mut columns: Vec<Vec<Sample>> = kinds.iter().map(|_| Vec::new()).collect();
    let mut retries = arguments.rounds * RETRIES_PER_ROUND;
    for _ in 0..arguments.rounds {
        for (kind, column) in kinds.iter().zip(&mut columns) {
            column.push(undisturbed(kind, arguments, cores.0, &replicas, &mut retries).await);
        }
    }
    println!(
        "{} connections, POST of 200 bytes, one core, {} rounds: medians",
        arguments.connections, arguments.rounds
    );
    println!("  CPU µs/request (min – max)   requests/s   p50 ms   p99 ms   foreign   proxy");
    let medians: Vec<f64> =
        kinds.iter().zip(&columns).map(|(kind, column)| tell(kind, column)).collect();
    judge(&medians, compares, &columns)
}

fn judge(medians: &[f64], compares: bool, columns: &[Vec<Sample>]) -> Verdict {
    let failed: u64 = columns.iter().flatten().map(|sample| sample.seen.failed).sum();
    if failed > 0 {
        return Verdict { what: format!("{failed} requests failed"), holds: Some(false) };
    }
    let (true, [nginx, own, ..]) = (compares, medians) else {
        let what = "CPU time per request against nginx: there is no nginx (scripts/tool nginx)";
        return Verdict { what: what.to_owned(), holds: None };
    };
    let ratio = own / nginx;
    let what = format!(
        "CPU time per request: {own:.2} µs, nginx {nginx:.2} µs, {ratio:.2} × nginx; goal \
         {RATIO_GOAL} × {}, at most {RATIO_MAX} ×",
        if ratio <= RATIO_GOAL { "met" } else { "MISSED" }
    );
    Verdict { what, holds: Some(ratio <= RATIO_MAX) }
}

async fn undisturbed(
    kind: &Kind,
    arguments: &Arguments,
    core: usize,
    replicas: &[SocketAddr],
    retries: &mut usize,
) -> Sample {
    let mut best = sample(kind, arguments, core, replicas).await;
    while best.foreign_share > FOREIGN_SHARE_MAX && *retries > 0 {
        *retries -= 1;
        let again = sample(kind, arguments, core, replicas).await;
        if again.foreign_share < best.foreign_share {
            best = again;
        }
    }
    best
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
async fn sample(
    kind: &Kind,
    arguments: &Arguments,
    core: usize,
    replicas: &[SocketAddr],
) -> Sample {
    let proxy = Proxy::start(kind, core, replicas).await;
    let load = Load::start(proxy.address, arguments.connections, &request(PATH, KEY));
    tokio::time::sleep(WARM_UP).await;
    let _warm_up = load.take();
    let (cpu, busy, begun) = (machine::cpu_of(proxy.pid()), machine::busy(core), Instant::now());
    tokio::time::sleep(arguments.window).await;
    let cpu = machine::cpu_of(proxy.pid()).saturating_sub(cpu);
    let busy = machine::busy(core).saturating_sub(busy);
    let took = begun.elapsed();
    let seen = load.take();
    Sample {
        cpu_us: cpu.as_secs_f64() * 1e6 / seen.requests.max(1) as f64,
        rate: seen.requests as f64 / took.as_secs_f64(),
        foreign_share: busy.saturating_sub(cpu).as_secs_f64() / took.as_secs_f64(),
        seen,
    }
}

/// Prints a line of the table; the median of CPU µs per request.
fn tell(kind: &Kind, column: &[Sample]) -> f64 {
    let cpu = sorted(column.iter().map(|sample| sample.cpu_us));
    let (min, max) = (cpu.first().unwrap_or(&0.0), cpu.last().unwrap_or(&0.0));
    let of = |value: fn(&Sample) -> f64| median(&sorted(column.iter().map(value)));
    let name = match kind {
        Kind::Nginx(_) => "nginx, without buffering".to_owned(),
        Kind::Router(path) => path.display().to_string(),
    };
    println!(
        "  {:>14.2} ({min:.2} – {max:.2}) {:>12.0} {:>8.2} {:>8.2} {:>8.1} %   {name}",
        median(&cpu),
        of(|sample| sample.rate),
        of(|sample| sample.seen.p50.as_secs_f64() * 1e3),
        of(|sample| sample.seen.p99.as_secs_f64() * 1e3),
        of(|sample| sample.foreign_share * 100.0),
    );
    median(&cpu)
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values
}

fn median(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}
