//! Conditions on a report, such as `p99>15ms`, and whether they hold.

use std::{cmp::Ordering, fmt, str::FromStr};

use super::Report;

/// A number of the report that can be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Latency: median.
    P50,
    /// Latency: 90th percentile.
    P90,
    /// Latency: 95th percentile.
    P95,
    /// Latency: 99th percentile.
    P99,
    /// Latency: 99.9th percentile.
    P999,
    /// Latency: longest.
    Max,
    /// Latency: mean.
    Mean,
    /// Share of requests without an answer below 400; missed ones included.
    ErrorRate,
    /// Answers per second.
    Rps,
    /// Largest difference between seen and expected share of a version, in percentage points.
    Split,
}

/// A condition on a report: metric, comparison, limit (milliseconds, a ratio, or a number).
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    metric: Metric,
    comparison: Comparison,
    limit: f64,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Greater,
    AtLeast,
    Less,
    AtMost,
}

/// Why a condition cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCheck {
    /// There is no comparison in it.
    #[error("no comparison in {0:?}; write one of > >= < <=, as in p99>15ms")]
    Comparison(String),
    /// The metric is not known.
    #[error("unknown metric {0:?}; known are p50 p90 p95 p99 p999 max mean error_rate rps split")]
    Metric(String),
    /// The limit does not fit the metric.
    #[error("cannot read the limit {text:?}; {metric} is compared with {wanted}")]
    Limit {
        /// What was written.
        text: String,
        /// The metric as written.
        metric: String,
        /// An example of what fits.
        wanted: &'static str,
    },
}

impl Check {
    /// Whether the condition is true of the report; the check has failed then. A number that the
    /// report does not have (no answer at all, no expected split) fails too: nothing was shown.
    pub fn is_true_of(&self, report: &Report) -> bool {
        let Some(value) = self.metric.of(report) else {
            return true;
        };
        let ordering = value.partial_cmp(&self.limit);
        match self.comparison {
            Comparison::Greater => ordering == Some(Ordering::Greater),
            Comparison::AtLeast => ordering.is_some_and(Ordering::is_ge),
            Comparison::Less => ordering == Some(Ordering::Less),
            Comparison::AtMost => ordering.is_some_and(Ordering::is_le),
        }
    }
}

impl Metric {
    fn of(self, report: &Report) -> Option<f64> {
        let latency = report.latency.as_ref();
        match self {
            Self::P50 => latency.map(|latency| latency.p50_ms),
            Self::P90 => latency.map(|latency| latency.p90_ms),
            Self::P95 => latency.map(|latency| latency.p95_ms),
            Self::P99 => latency.map(|latency| latency.p99_ms),
            Self::P999 => latency.map(|latency| latency.p999_ms),
            Self::Max => latency.map(|latency| latency.max_ms),
            Self::Mean => latency.map(|latency| latency.mean_ms),
            Self::ErrorRate => report.error_rate,
            Self::Rps => Some(report.rps),
            Self::Split => report.split_deviation_points,
        }
    }

    fn limit(self, text: &str) -> Result<f64, &'static str> {
        let number = |text: &str| text.trim().parse::<f64>().ok().filter(|it| it.is_finite());
        match self {
            Self::ErrorRate => match text.strip_suffix('%') {
                Some(percent) => number(percent).map(|percent| percent / 100.0),
                None => number(text),
            }
            .ok_or("a share, such as 0.1% or 0.001"),
            Self::Rps => number(text).ok_or("a number, such as 500"),
            Self::Split => number(text).ok_or("percentage points, such as 1.5"),
            _ => milliseconds(text).ok_or("a time, such as 15ms, 0.5s or 800us"),
        }
    }
}

/// Milliseconds from a decimal number with a unit, which `humantime` does not take.
fn milliseconds(text: &str) -> Option<f64> {
    // Longer units first: `ms` ends in `s` as well.
    let units = [("ms", 1.0), ("us", 1e-3), ("µs", 1e-3), ("ns", 1e-6), ("s", 1e3), ("m", 6e4)];
    let (number, factor) =
        units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)))?;
    let number = number.trim().parse::<f64>().ok().filter(|number| number.is_finite())?;
    (number >= 0.0).then_some(number * factor)
}

impl FromStr for Metric {
    type Err = InvalidCheck;

    fn from_str(text: &str) -> Result<Self, InvalidCheck> {
        Ok(match text {
            "p50" => Self::P50,
            "p90" => Self::P90,
            "p95" => Self::P95,
            "p99" => Self::P99,
            "p999" => Self::P999,
            "max" => Self::Max,
            "mean" => Self::Mean,
            "error_rate" => Self::ErrorRate,
            "rps" => Self::Rps,
            "split" => Self::Split,
            _ => return Err(InvalidCheck::Metric(text.to_owned())),
        })
    }
}

impl FromStr for Check {
    type Err = InvalidCheck;

    fn from_str(text: &str) -> Result<Self, InvalidCheck> {
        // `>=` before `>`, else the `=` would be taken for the limit.
        let comparisons = [
            (">=", Comparison::AtLeast),
            ("<=", Comparison::AtMost),
            (">", Comparison::Greater),
            ("<", Comparison::Less),
        ];
        let (name, comparison, limit) = comparisons
            .iter()
            .find_map(|(sign, comparison)| {
                let (name, limit) = text.split_once(sign)?;
                Some((name.trim(), *comparison, limit.trim()))
            })
            .ok_or_else(|| InvalidCheck::Comparison(text.to_owned()))?;
        let metric: Metric = name.parse()?;
        let limit = metric.limit(limit).map_err(|wanted| InvalidCheck::Limit {
            text: limit.to_owned(),
            metric: name.to_owned(),
            wanted,
        })?;
        Ok(Self { metric, comparison, limit, text: text.to_owned() })
    }
}

impl fmt::Display for Check {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bench::Tally;

    fn limit(text: &str) -> f64 {
        text.parse::<Check>().unwrap().limit
    }

    #[test]
    fn limits_are_read_in_their_units() {
        let cases = [
            ("p99>15ms", 15.0),
            ("p50 <= 0.5s", 500.0),
            ("p999>=800us", 0.8),
            ("max<2m", 120_000.0),
            ("mean<1000ns", 0.001),
            ("error_rate>0.1%", 0.001),
            ("error_rate>=0.05", 0.05),
            ("rps<500", 500.0),
            ("split>1.5", 1.5),
        ];
        for (text, wanted) in cases {
            assert!((limit(text) - wanted).abs() < 1e-9, "{text}: {}", limit(text));
        }
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        let kind = |text: &str| text.parse::<Check>().unwrap_err();
        assert_eq!(kind("p99"), InvalidCheck::Comparison("p99".to_owned()));
        assert_eq!(kind("p98>1ms"), InvalidCheck::Metric("p98".to_owned()));
        assert_eq!(kind("p99=>1ms"), InvalidCheck::Metric("p99=".to_owned()));
        for bad in ["p99>15", "p99>", "p99>fast", "p99>-1ms", "rps<5ms", "error_rate>x"] {
            assert!(matches!(kind(bad), InvalidCheck::Limit { .. }), "{bad}");
        }
    }

    #[test]
    fn each_comparison_draws_its_line_exactly() {
        let mut report = Report::of(&Tally::default(), std::time::Duration::from_secs(1), None);
        report.rps = 500.0;
        let truths = |signs: &[&str], limit: &str| -> Vec<bool> {
            let check = |sign| format!("rps{sign}{limit}").parse::<Check>().unwrap();
            signs.iter().map(|sign| check(sign).is_true_of(&report)).collect()
        };
        let signs = [">", ">=", "<", "<="];
        assert_eq!(truths(&signs, "499"), [true, true, false, false]);
        assert_eq!(truths(&signs, "500"), [false, true, false, true]);
        assert_eq!(truths(&signs, "501"), [false, false, true, true]);
    }

    #[test]
    fn a_run_without_answers_passes_no_check_of_latency() {
        let report = Report::of(&Tally::default(), std::time::Duration::from_secs(1), None);
        assert!("p99>15ms".parse::<Check>().unwrap().is_true_of(&report));
        assert!("error_rate>5%".parse::<Check>().unwrap().is_true_of(&report));
        assert!("split>1".parse::<Check>().unwrap().is_true_of(&report));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,20}") {
            let _parsed = text.parse::<Check>();
        }
    }
}
