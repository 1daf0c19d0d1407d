//! The flags of `modelway model`.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use bytesize::ByteSize;
use clap::{Args, ValueEnum};

use super::Latency;

/// Flags of the stand-in model server. Without any but `--port` it answers at once and always.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    modelway model --port 5001 --latency 20ms\n  \
    modelway model --port 5001 --latency lognormal:20ms,100ms --concurrency 1 --fail 5%\n  \
    curl -d '{\"data\": [1, 2]}' 'http://127.0.0.1:5001/score?latency=2s'")]
pub struct ModelArgs {
    /// Port to listen on; 0 picks a free one and prints it [default with `--address`: 5001].
    #[arg(long, required_unless_present = "address")]
    pub port: Option<u16>,
    /// Address to listen on [default: 127.0.0.1].
    #[arg(long)]
    pub address: Option<IpAddr>,
    /// Name of the model, shown in its answers.
    #[arg(long, default_value = "model")]
    pub name: String,
    /// Name of this replica, shown in its answers and in the ledger [default: the model's name].
    #[arg(long, env = "MODELWAY_REPLICA")]
    pub replica: Option<String>,
    /// Time that one request takes: `20ms`, or `lognormal:MEDIAN,P99`.
    #[arg(long, default_value = "0ms", value_name = "TIME|lognormal:MEDIAN,P99")]
    pub latency: Latency,
    /// Requests it works on at once; see `--concurrency-mode`. 0 means any number.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub concurrency: usize,
    /// What happens to requests beyond `--concurrency`.
    #[arg(long, value_enum, default_value_t = ConcurrencyMode::Enforce)]
    pub concurrency_mode: ConcurrencyMode,
    /// Share of requests answered with `--fail-status`: `5%` or `0.05`.
    #[arg(long, default_value = "0%", value_parser = parse_share, value_name = "SHARE")]
    pub fail: f64,
    /// Status of a failed request.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u16).range(200..=599))]
    pub fail_status: u16,
    /// Do not listen before this time has passed.
    #[arg(long, default_value = "0s", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub start_delay: Duration,
    /// Listen at once, but answer health checks with 503 before this time has passed.
    #[arg(long, default_value = "0s", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub health_delay: Duration,
    /// End suddenly, with exit code 1, at the start of execution N or after a time.
    #[arg(long, value_name = "N|TIME")]
    pub exit_after: Option<ExitAfter>,
    /// Close the connection after each answer, as `azmlinfsrv` does.
    #[arg(long)]
    pub close: bool,
    /// Close HTTP/1 connections that were idle for this long.
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    pub keep_alive: Option<Duration>,
    /// Go on working when the client leaves, as most model servers do.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1,
        default_missing_value = "true", value_name = "BOOL")]
    pub ignore_disconnect: bool,
    /// Size of the answer, for example `200` or `10MiB`; unset means a small JSON object.
    #[arg(long, value_name = "SIZE")]
    pub body_bytes: Option<ByteSize>,
    /// Seed of latency and failures; unset means a different run each time.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Append one line per start and end of an execution to this file.
    #[arg(long, value_name = "FILE")]
    pub ledger: Option<PathBuf>,
    /// Threads; 1 means a single-threaded runtime.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: u16,
}

impl ModelArgs {
    /// Where to listen. Replicas listen on 5001 unless told otherwise (contract §2).
    pub fn socket_address(&self) -> SocketAddr {
        let address = self.address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        SocketAddr::new(address, self.port.unwrap_or(5001))
    }

    /// The name of the replica.
    pub fn replica_name(&self) -> &str {
        self.replica.as_deref().unwrap_or(&self.name)
    }
}

/// What happens to requests beyond the concurrency of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ConcurrencyMode {
    /// They wait inside, like those of a single-threaded server.
    Enforce,
    /// They are worked on; only the record shows that they were too many.
    Record,
}

/// When the server ends suddenly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitAfter {
    /// As this execution starts, before it is answered; counted from 1.
    Executions(u64),
    /// After this time of listening.
    Time(Duration),
}

impl FromStr for ExitAfter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(count) = text.parse::<u64>() {
            return if count == 0 {
                Err("must be at least 1 execution".to_owned())
            } else {
                Ok(Self::Executions(count))
            };
        }
        humantime::parse_duration(text)
            .map(Self::Time)
            .map_err(|error| format!("neither a number of executions nor a time: {error}"))
    }
}

/// A share in 0.0..=1.0 from `5%` or `0.05`.
fn parse_share(text: &str) -> Result<f64, String> {
    let (number, divisor) = match text.strip_suffix('%') {
        Some(percent) => (percent, 100.0),
        None => (text, 1.0),
    };
    let share = number.trim().parse::<f64>().map_err(|error| error.to_string())? / divisor;
    if (0.0..=1.0).contains(&share) {
        Ok(share)
    } else {
        Err(format!("{text} is not between 0% and 100%"))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        model: ModelArgs,
    }

    fn parse(line: &str) -> Result<ModelArgs, clap::Error> {
        Line::try_parse_from(line.split(' ')).map(|line| line.model)
    }

    #[test]
    fn a_share_is_a_percentage_or_a_ratio_between_none_and_all() {
        assert_eq!(parse_share("5%"), Ok(0.05));
        assert_eq!(parse_share("0.25"), Ok(0.25));
        assert_eq!(parse_share("100%"), Ok(1.0));
        for bad in ["101%", "-1%", "1.5", "x", "", "%", "NaN"] {
            assert!(parse_share(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn exit_after_takes_a_count_or_a_time() {
        assert_eq!("3".parse(), Ok(ExitAfter::Executions(3)));
        assert_eq!("3s".parse(), Ok(ExitAfter::Time(Duration::from_secs(3))));
        assert!("0".parse::<ExitAfter>().is_err());
        assert!("soon".parse::<ExitAfter>().is_err());
    }

    #[test]
    fn clients_that_leave_are_ignored_unless_told_otherwise() {
        assert!(parse("model --port 0").unwrap().ignore_disconnect);
        assert!(parse("model --port 0 --ignore-disconnect").unwrap().ignore_disconnect);
        assert!(!parse("model --port 0 --ignore-disconnect=false").unwrap().ignore_disconnect);
    }

    #[test]
    fn a_port_or_an_address_is_required() {
        assert!(parse("model").is_err());
        let address = |line| parse(line).unwrap().socket_address().to_string();
        assert_eq!(address("model --port 7"), "127.0.0.1:7");
        assert_eq!(address("model --address 0.0.0.0"), "0.0.0.0:5001");
    }
}
