//! The flags of `modelway bench`.

use std::{path::PathBuf, time::Duration};

use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use http::{HeaderName, HeaderValue, Method, Uri};

use super::{Check, Shares};

/// Flags of the load generator.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    modelway bench http://127.0.0.1:8080/api/v1/service/demo/score --key KEY --body '{}'\n  \
    modelway bench URL -q 500 -d 30s --payload request.json --fail-if 'p99>15ms'\n  \
    modelway bench URL -n 10000 --expect-split blue=80,green=20 -o json")]
pub struct BenchArgs {
    /// Where requests go; `http://` only.
    #[arg(value_name = "URL")]
    pub url: Uri,
    /// Connections, each with one request at a time (closed loop); with `--rate` and `--http2`, the
    /// connections that requests are spread over.
    #[arg(short, long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pub connections: u16,
    /// Requests per second on a fixed schedule (open loop).
    #[arg(short = 'q', long, value_name = "R", value_parser = parse_rate)]
    pub rate: Option<f64>,
    /// Open loop: requests that may be in flight; beyond it they are missed, and counted.
    #[arg(long, default_value_t = 1024, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub in_flight_max: u32,
    /// How long to send [default: 10s, or 10min with `--requests`].
    #[arg(short, long, value_parser = humantime::parse_duration, value_name = "TIME")]
    pub duration: Option<Duration>,
    /// How many requests to send at most.
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub requests: Option<u64>,
    /// Body from a file.
    #[arg(long, value_name = "FILE", group = "content")]
    pub payload: Option<PathBuf>,
    /// Body as text.
    #[arg(long, value_name = "TEXT", group = "content")]
    pub body: Option<String>,
    /// Body of this size, for example `10MiB`.
    #[arg(long, value_name = "SIZE", group = "content")]
    pub body_bytes: Option<ByteSize>,
    /// Method [default: POST with a body, else GET].
    #[arg(long, value_name = "METHOD")]
    pub method: Option<Method>,
    /// Header `name: value`; may be repeated.
    #[arg(short = 'H', long = "header", value_name = "HEADER", value_parser = parse_header)]
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Key or token, sent as `Authorization: Bearer`.
    #[arg(long, env = "MODELWAY_KEY", hide_env_values = true, value_name = "KEY")]
    pub key: Option<String>,
    /// Version to pin (`azureml-model-deployment`).
    #[arg(long, value_name = "VERSION")]
    pub pin: Option<String>,
    /// Time after which a request is given up.
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub timeout: Duration,
    /// HTTP/2 with prior knowledge.
    #[arg(long)]
    pub http2: bool,
    /// Shares that versions should get: `blue=80,green=20`.
    #[arg(long, value_name = "SHARES", conflicts_with = "admin")]
    pub expect_split: Option<Shares>,
    /// Admin address of the router, to read the configured shares from.
    #[arg(long, value_name = "URL")]
    pub admin: Option<Uri>,
    /// Form of the report on stdout.
    #[arg(short, long, value_enum, default_value_t = OutputFormat::Text)]
    pub output: OutputFormat,
    /// Exit with code 1 when this is true, as in `p99>15ms` or `error_rate>0.1%`; may be repeated.
    #[arg(long, value_name = "CHECK")]
    pub fail_if: Vec<Check>,
    /// No progress bar; there is none anyway when stderr is not a terminal.
    #[arg(long)]
    pub no_progress: bool,
    /// Threads; 1 means a single-threaded runtime.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: u16,
}

/// Form of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For a person.
    Text,
    /// One JSON object.
    Json,
}

/// More would not be a schedule any more: a million requests per second.
const RATE_MAX: f64 = 1_000_000.0;

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().map_err(|error| error.to_string())?;
    if rate > 0.0 && rate <= RATE_MAX {
        Ok(rate)
    } else {
        Err(format!("must be above 0 and at most {RATE_MAX} per second"))
    }
}

fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("write it as `name: value`")?;
    let name = name.trim().parse::<HeaderName>().map_err(|error| error.to_string())?;
    let value = value.trim().parse::<HeaderValue>().map_err(|error| error.to_string())?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_above_zero_and_finite() {
        assert_eq!(parse_rate("0.5"), Ok(0.5));
        for bad in ["0", "-1", "NaN", "inf", "1e9", "x"] {
            assert!(parse_rate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_header_value_may_hold_colons() {
        let (name, value) = parse_header("X-Time: 10:30").unwrap();
        assert_eq!((name.as_str(), value.to_str().unwrap()), ("x-time", "10:30"));
        assert!(parse_header("no colon").is_err());
        assert!(parse_header("bad name: x").is_err());
    }
}
