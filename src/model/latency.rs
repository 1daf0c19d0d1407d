//! How long one execution takes: a fixed time, or one drawn from a log-normal distribution.

use std::{f64::consts::TAU, fmt, str::FromStr, time::Duration};

use rand::{Rng, RngExt as _};

/// The longest time one execution may take. The contract's longest `requestTimeout` is 300 s; twice
/// that is enough to test what lies beyond.
pub(super) const LATENCY_MAX: Duration = Duration::from_secs(600);

/// The 99th percentile of the standard normal distribution.
const Z_99: f64 = 2.326_347_874_040_841;

/// The distribution of the time that one execution takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Latency {
    /// Always the same.
    Fixed(Duration),
    /// Half of the executions take at most `median`, 99 % at most `p99`, a few much longer.
    LogNormal {
        /// The 50th percentile.
        median: Duration,
        /// The 99th percentile, at least the median.
        p99: Duration,
    },
}

impl Latency {
    /// Draws the time of one execution, at most 600 s.
    pub fn draw(&self, dice: &mut impl Rng) -> Duration {
        match *self {
            Self::Fixed(time) => time,
            Self::LogNormal { median, p99 } => {
                let sigma = (p99.as_secs_f64() / median.as_secs_f64()).ln() / Z_99;
                let factor = (sigma * standard_normal(dice)).exp();
                let seconds = (median.as_secs_f64() * factor).min(LATENCY_MAX.as_secs_f64());
                Duration::try_from_secs_f64(seconds).unwrap_or(LATENCY_MAX)
            }
        }
    }
}

/// Box and Muller's method: one draw of the normal distribution from two uniform ones.
fn standard_normal(dice: &mut impl Rng) -> f64 {
    // 1 - [0, 1) is never 0, whose logarithm does not exist.
    let radius = (-2.0 * (1.0 - dice.random::<f64>()).ln()).sqrt();
    radius * (TAU * dice.random::<f64>()).cos()
}

impl fmt::Display for Latency {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = humantime::format_duration;
        match *self {
            Self::Fixed(time) => write!(out, "{}", show(time)),
            Self::LogNormal { median, p99 } => {
                write!(out, "lognormal:{},{}", show(median), show(p99))
            }
        }
    }
}

impl FromStr for Latency {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix("lognormal:") else {
            return time(text).map(Self::Fixed);
        };
        let (median, p99) =
            rest.split_once(',').ok_or("write lognormal:MEDIAN,P99, as in lognormal:20ms,100ms")?;
        let (median, p99) = (time(median)?, time(p99)?);
        if median.is_zero() || p99 < median {
            return Err("the median must be above 0 and at most the p99".to_owned());
        }
        Ok(Self::LogNormal { median, p99 })
    }
}

fn time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if time > LATENCY_MAX {
        return Err(format!("{text} is longer than the limit of {} s", LATENCY_MAX.as_secs()));
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{SeedableRng as _, rngs::StdRng};

    use super::*;

    #[test]
    fn a_lognormal_latency_has_its_median_and_its_p99() {
        let latency: Latency = "lognormal:20ms,100ms".parse().unwrap();
        let mut dice = StdRng::seed_from_u64(7);
        let mut draws: Vec<_> = (0..20_000).map(|_| latency.draw(&mut dice)).collect();
        draws.sort_unstable();
        let near = |time: Duration, wanted_ms: f64, slack: f64| {
            let ratio = time.as_secs_f64() * 1000.0 / wanted_ms;
            assert!((1.0 - slack..1.0 + slack).contains(&ratio), "{time:?} for {wanted_ms} ms");
        };
        near(draws[10_000], 20.0, 0.03);
        near(draws[19_800], 100.0, 0.08);
    }

    #[test]
    fn a_fixed_latency_is_always_itself() {
        let latency: Latency = "20ms".parse().unwrap();
        assert_eq!(latency.draw(&mut StdRng::seed_from_u64(1)), Duration::from_millis(20));
    }

    #[test]
    fn latencies_that_make_no_sense_are_refused() {
        for bad in ["", "20", "lognormal:20ms", "lognormal:0ms,1ms", "lognormal:9ms,3ms", "601s"] {
            assert!(bad.parse::<Latency>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_latency_reads_back_as_it_was_written(median_ms in 1_u64..10_000, more_ms in 0_u64..10_000) {
            let latency = Latency::LogNormal {
                median: Duration::from_millis(median_ms),
                p99: Duration::from_millis(median_ms + more_ms),
            };
            // humantime puts blanks between its parts, which the parser takes as well.
            prop_assert_eq!(latency.to_string().parse::<Latency>(), Ok(latency));
        }

        #[test]
        fn no_draw_is_longer_than_the_limit(seed: u64) {
            let latency = Latency::LogNormal { median: Duration::from_millis(1), p99: LATENCY_MAX };
            prop_assert!(latency.draw(&mut StdRng::seed_from_u64(seed)) <= LATENCY_MAX);
        }
    }
}
