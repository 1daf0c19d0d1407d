//! What a run showed: as JSON, and as text for a person.

use std::{
    fmt::{self, Write as _},
    time::Duration,
};

use bytesize::ByteSize;
use hdrhistogram::Histogram;
use serde::Serialize;

use super::{Shares, Tally};

/// The result of a run. Field names of its JSON form do not change within an `apiVersion`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Form of this object.
    pub api_version: &'static str,
    /// Length of the run, in seconds.
    pub seconds: f64,
    /// Requests begun.
    pub sent: u64,
    /// Whole answers of any status.
    pub answered: u64,
    /// Requests in flight when the run was interrupted.
    pub unfinished: u64,
    /// Requests that were due (open loop) and not sent, because too many were in flight.
    pub missed: u64,
    /// Whole answers per second.
    pub rps: f64,
    /// Share of requests without an answer below 400, missed ones included; none without requests.
    pub error_rate: Option<f64>,
    /// Bytes of request bodies.
    pub request_bytes: u64,
    /// Bytes of answers' bodies.
    pub response_bytes: u64,
    /// From the due time (open loop) or the call to the last byte; answers and timeouts.
    pub latency: Option<Latencies>,
    /// From the call to the last byte.
    pub service_time: Option<Latencies>,
    /// `Server-Timing`: waiting for a slot.
    pub queue_time: Option<Latencies>,
    /// `Server-Timing`: the replica.
    pub replica_time: Option<Latencies>,
    /// `Server-Timing`: the router itself.
    pub router_time: Option<Latencies>,
    /// Answers by status, source and error code.
    pub statuses: Vec<StatusLine>,
    /// Requests without a whole answer, by kind.
    pub transport_errors: Vec<(String, u64)>,
    /// Answers by version.
    pub versions: Vec<VersionLine>,
    /// Largest difference between seen and expected share, in percentage points.
    pub split_deviation_points: Option<f64>,
    /// Conditions of `--fail-if` that were true.
    pub failed_checks: Vec<String>,
}

/// Percentiles, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names say it")]
pub struct Latencies {
    pub mean_ms: f64,
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p95_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
}

/// Answers of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StatusLine {
    /// The status.
    pub status: u16,
    /// `x-modelway-source`: who made the answer.
    pub source: Option<String>,
    /// The error code in the body.
    pub code: Option<String>,
    /// How many.
    pub count: u64,
}

/// Answers of one version.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionLine {
    /// Its name.
    pub version: String,
    /// How many.
    pub count: u64,
    /// Their share of all answers that named a version, in percent.
    pub percent: f64,
    /// The share it should get, in percent.
    pub expected_percent: Option<f64>,
}

impl Report {
    /// Sums up a run that took `time`.
    pub fn of(tally: &Tally, time: Duration, expected: Option<&Shares>) -> Self {
        let versions = versions(tally, expected);
        let deviation = versions
            .iter()
            .filter_map(|line| Some((line.percent - line.expected_percent?).abs()))
            .reduce(f64::max);
        let seen = !tally.versions.is_empty();
        let ended = tally.ended();
        let errors = ended - tally.answered + tally.failed_answers + tally.missed;
        Self {
            api_version: "bench.modelway.dev/v1",
            seconds: time.as_secs_f64(),
            sent: tally.sent,
            answered: tally.answered,
            unfinished: tally.sent - ended,
            missed: tally.missed,
            rps: float(tally.answered) / time.as_secs_f64().max(1e-9),
            error_rate: ratio(errors, ended + tally.missed),
            request_bytes: tally.request_bytes,
            response_bytes: tally.response_bytes,
            latency: Latencies::of(&tally.latency),
            service_time: Latencies::of(&tally.service),
            queue_time: Latencies::of(&tally.queue),
            replica_time: Latencies::of(&tally.replica),
            router_time: Latencies::of(&tally.router),
            statuses: statuses(tally),
            transport_errors: tally
                .transport
                .iter()
                .map(|(kind, count)| (kind.to_string(), *count))
                .collect(),
            versions,
            split_deviation_points: deviation.filter(|_| seen),
            failed_checks: Vec::new(),
        }
    }
}

fn statuses(tally: &Tally) -> Vec<StatusLine> {
    let line = |(key, count): (&super::tally::StatusKey, &u64)| StatusLine {
        status: key.status,
        source: key.source.clone(),
        code: key.code.clone(),
        count: *count,
    };
    tally.statuses.iter().map(line).collect()
}

/// Versions that were seen, and those that were expected and were not.
fn versions(tally: &Tally, expected: Option<&Shares>) -> Vec<VersionLine> {
    let all = tally.versions.values().sum();
    let mut names: Vec<&str> = tally.versions.keys().map(String::as_str).collect();
    names.extend(expected.iter().flat_map(|shares| shares.versions()));
    names.sort_unstable();
    names.dedup();
    let line = |name: &str| {
        let count = tally.versions.get(name).copied().unwrap_or_default();
        VersionLine {
            version: name.to_owned(),
            count,
            percent: ratio(count, all).unwrap_or_default() * 100.0,
            expected_percent: expected.map(|shares| shares.of(name)),
        }
    };
    names.into_iter().map(line).collect()
}

impl Latencies {
    fn of(times_us: &Histogram<u64>) -> Option<Self> {
        let at = |quantile| float(times_us.value_at_quantile(quantile)) / 1e3;
        (!times_us.is_empty()).then(|| Self {
            mean_ms: times_us.mean() / 1e3,
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p95_ms: at(0.95),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: float(times_us.max()) / 1e3,
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts and microseconds are far below 2^53")]
fn float(number: u64) -> f64 {
    number as f64
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| float(part) / float(whole))
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{} answers in {:.1} s: {:.1} per second, {} sent, {} received",
            self.answered,
            self.seconds,
            self.rps,
            ByteSize(self.request_bytes),
            ByteSize(self.response_bytes),
        )?;
        let errors = self
            .error_rate
            .map_or_else(String::new, |rate| format!("errors {:.3} %", rate * 100.0));
        writeln!(
            out,
            "{} requests, {} missed, {} unfinished, {errors}",
            self.sent, self.missed, self.unfinished
        )?;
        self.write_times(out)?;
        self.write_statuses(out)?;
        self.write_versions(out)?;
        for check in &self.failed_checks {
            writeln!(out, "\nFAILED: {check}")?;
        }
        Ok(())
    }
}

impl Report {
    fn write_times(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = [
            ("latency", &self.latency),
            ("service", &self.service_time),
            ("queue", &self.queue_time),
            ("replica", &self.replica_time),
            ("router", &self.router_time),
        ];
        if rows.iter().all(|(_, times)| times.is_none()) {
            return writeln!(out);
        }
        let [mean, p50, p90, p95] = ["mean", "p50", "p90", "p95"];
        let [p99, p999, max] = ["p99", "p99.9", "max"];
        writeln!(
            out,
            "\n{:<10}{mean:>10}{p50:>10}{p90:>10}{p95:>10}{p99:>10}{p999:>10}{max:>10}",
            "ms"
        )?;
        for (name, times) in rows {
            let Some(times) = times else { continue };
            write!(out, "{name:<10}")?;
            let Latencies { mean_ms, p50_ms, p90_ms, p95_ms, p99_ms, p999_ms, max_ms } = times;
            for time_ms in [mean_ms, p50_ms, p90_ms, p95_ms, p99_ms, p999_ms, max_ms] {
                write!(out, "{time_ms:>10.3}")?;
            }
            writeln!(out)?;
        }
        Ok(())
    }

    fn write_statuses(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.statuses.is_empty() {
            writeln!(out, "\n{:<8}{:<8}{:<32}{:>10}", "status", "by", "code", "count")?;
        }
        for StatusLine { status, source, code, count } in &self.statuses {
            let source = source.as_deref().unwrap_or("-");
            let code = code.as_deref().unwrap_or("-");
            writeln!(out, "{status:<8}{source:<8}{code:<32}{count:>10}")?;
        }
        for (kind, count) in &self.transport_errors {
            writeln!(out, "{kind:<48}{count:>10}")?;
        }
        Ok(())
    }

    fn write_versions(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.versions.is_empty() {
            writeln!(out, "\n{:<34}{:>10}{:>9}{:>10}", "version", "count", "seen", "expected")?;
        }
        for line in &self.versions {
            let mut expected = "-".to_owned();
            if let Some(percent) = line.expected_percent {
                expected.clear();
                write!(expected, "{percent:.1} %")?;
            }
            let seen = format!("{:.2} %", line.percent);
            writeln!(out, "{:<34}{:>10}{seen:>9}{expected:>10}", line.version, line.count)?;
        }
        if let Some(points) = self.split_deviation_points {
            writeln!(out, "largest difference {points:.2} points")?;
        }
        Ok(())
    }
}
