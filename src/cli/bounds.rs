//! Flags that bound what clients can take: connections, time, memory, tries.

use std::{num::NonZeroU32, time::Duration};

use anyhow::Context;
use clap::Args;

use crate::{
    config::RouterFile,
    lifecycle::MemoryLimit,
    platform::spec::{DurationText, shown},
    proxy::Settings,
};

/// No client is fast enough for less.
const LIMIT_MIN: Duration = Duration::from_millis(100);
/// More is no bound any more.
const LIMIT_MAX: Duration = Duration::from_secs(3600);
/// More streams of one connection than this hold more memory than a connection should.
const STREAMS_MAX: u32 = 1000;

/// What `dev` and `serve` let clients take.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct BoundsArgs {
    /// The most client connections at once, below half of the file limit in any case
    #[arg(long, env = "MODELWAY_CONNECTIONS_MAX")]
    connections_max: Option<usize>,
    /// The most client connections of one IPv4 address or one IPv6 /64 [default: 97 % of all]
    #[arg(long, value_name = "N", env = "MODELWAY_CONNECTIONS_PER_ADDRESS")]
    connections_per_address: Option<usize>,
    /// Requests of one client connection, which is then asked to connect anew [default: 100000]
    #[arg(long, value_name = "N", env = "MODELWAY_REQUESTS_PER_CONNECTION")]
    requests_per_connection: Option<NonZeroU32>,
    /// Concurrent streams of one HTTP/2 connection [default: 100]
    #[arg(long, value_name = "N", env = "MODELWAY_STREAMS_MAX")]
    streams_max: Option<u32>,
    /// A connection that says nothing is closed after this [default: 5s]
    #[arg(long, env = "MODELWAY_SILENCE_LIMIT", value_parser = humantime::parse_duration)]
    silence_limit: Option<Duration>,
    /// A request head must be complete this long after its first byte [default: 10s]
    #[arg(long, env = "MODELWAY_HEAD_LIMIT", value_parser = humantime::parse_duration)]
    head_limit: Option<Duration>,
    /// A request body may pause for this long [default: 10s]
    #[arg(long, env = "MODELWAY_BODY_STALL_LIMIT", value_parser = humantime::parse_duration)]
    body_stall_limit: Option<Duration>,
    /// A client may leave its answer unread for this long [default: 30s]
    #[arg(long, env = "MODELWAY_WRITE_STALL_LIMIT", value_parser = humantime::parse_duration)]
    write_stall_limit: Option<Duration>,
    /// A kept connection without a request is closed after this [default: 1m]
    #[arg(long, env = "MODELWAY_IDLE_LIMIT", value_parser = humantime::parse_duration)]
    idle_limit: Option<Duration>,
    /// Wrong credentials of one address that are looked at closely at once [default: 1000]
    #[arg(long, value_name = "N", env = "MODELWAY_FAILED_CREDENTIALS_BURST")]
    failed_credentials_burst: Option<NonZeroU32>,
    /// Further ones in each second [default: 20]
    #[arg(long, value_name = "N", env = "MODELWAY_FAILED_CREDENTIALS_RATE")]
    failed_credentials_rate: Option<NonZeroU32>,
    /// How much memory the router may use: cgroup (its limit), a size like 512MiB (for the
    /// resident memory), or off [default: cgroup]
    #[arg(long, value_name = "LIMIT", env = "MODELWAY_MEMORY_LIMIT")]
    memory_limit: Option<MemoryLimit>,
}

impl BoundsArgs {
    /// Flags and variables, then the file, then what `settings` holds already.
    pub(super) fn apply(self, file: &RouterFile, settings: &mut Settings) -> anyhow::Result<()> {
        let s = settings;
        set(&mut s.connections_max, self.connections_max.or(file.connections_max));
        s.connections_per_address_max =
            self.connections_per_address.or(file.connections_per_address);
        anyhow::ensure!(
            s.connections_max > 0 && s.connections_per_address_max != Some(0),
            "connectionsMax and connectionsPerAddress must be at least 1"
        );
        let requests = self.requests_per_connection.or(file.requests_per_connection);
        set(&mut s.requests_per_connection_max, requests.map(NonZeroU32::get));
        set(&mut s.streams_max, self.streams_max.or(file.streams_max));
        anyhow::ensure!(
            (1..=STREAMS_MAX).contains(&s.streams_max),
            "streamsMax must be 1 to {STREAMS_MAX}, not {}",
            s.streams_max
        );
        let times = [
            ("silenceLimit", &mut s.silence_limit, self.silence_limit, file.silence_limit),
            ("headLimit", &mut s.head_limit, self.head_limit, file.head_limit),
            (
                "bodyStallLimit",
                &mut s.body_stall_limit,
                self.body_stall_limit,
                file.body_stall_limit,
            ),
            (
                "writeStallLimit",
                &mut s.write_stall_limit,
                self.write_stall_limit,
                file.write_stall_limit,
            ),
            ("idleLimit", &mut s.idle_limit, self.idle_limit, file.idle_limit),
        ];
        for (name, limit, flag, field) in times {
            set(limit, flag.or(field.map(|DurationText(duration)| duration)));
            anyhow::ensure!(
                (LIMIT_MIN..=LIMIT_MAX).contains(limit),
                "{name} must be {} to {}, not {}",
                shown(LIMIT_MIN),
                shown(LIMIT_MAX),
                shown(*limit)
            );
        }
        let tries = &mut s.failed_credentials;
        set(&mut tries.burst, self.failed_credentials_burst.or(file.failed_credentials_burst));
        set(&mut tries.per_second, self.failed_credentials_rate.or(file.failed_credentials_rate));
        Ok(())
    }

    /// Which limit of memory counts.
    pub(super) fn memory_limit(&self, file: &RouterFile) -> anyhow::Result<MemoryLimit> {
        match (self.memory_limit, &file.memory_limit) {
            (Some(limit), _) => Ok(limit),
            (None, Some(text)) => text.parse().context("memoryLimit"),
            (None, None) => Ok(MemoryLimit::default()),
        }
    }
}

fn set<T>(setting: &mut T, said: Option<T>) {
    if let Some(said) = said {
        *setting = said;
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        bounds: BoundsArgs,
    }

    fn made(flags: &[&str], file: &RouterFile) -> anyhow::Result<(Settings, MemoryLimit)> {
        let bounds = Line::try_parse_from(["test"].iter().chain(flags))?.bounds;
        let memory = bounds.memory_limit(file)?;
        let mut settings = Settings::default();
        bounds.apply(file, &mut settings)?;
        Ok((settings, memory))
    }

    #[test]
    fn flags_are_stronger_than_the_file_and_the_file_than_the_defaults() {
        let file = RouterFile {
            streams_max: Some(7),
            head_limit: Some(DurationText(Duration::from_secs(3))),
            memory_limit: Some("off".to_owned()),
            ..RouterFile::default()
        };
        let flags = ["--streams-max", "8", "--memory-limit", "512MiB"];
        let (settings, memory) = made(&flags, &file).unwrap();
        assert_eq!((settings.streams_max, settings.head_limit.as_secs()), (8, 3));
        assert_eq!(memory, MemoryLimit::Bytes(512 << 20));
        assert_eq!(made(&[], &file).unwrap().1, MemoryLimit::Off);
        assert_eq!(made(&[], &RouterFile::default()).unwrap().1, MemoryLimit::Cgroup);
    }

    #[test]
    fn the_bounds_on_the_page_are_those_in_force() {
        const PAGE: &str = include_str!("../../docs/configuration.md");
        for text in [
            format!("Limits of time are {} to {}", shown(LIMIT_MIN), shown(LIMIT_MAX)),
            format!("streams of one HTTP/2 connection at once, 1 to {STREAMS_MAX}"),
            format!("at least {} MiB", crate::lifecycle::MEMORY_LIMIT_MIN >> 20),
        ] {
            assert!(PAGE.contains(&text), "docs/configuration.md lacks `{text}`");
        }
    }

    #[test]
    fn a_bound_out_of_bounds_is_an_error_that_names_it() {
        let table: &[(&[&str], &str)] = &[
            (&["--connections-max", "0"], "must be at least 1"),
            (&["--connections-per-address", "0"], "must be at least 1"),
            (&["--requests-per-connection", "0"], "--requests-per-connection"),
            (&["--streams-max", "0"], "streamsMax must be 1 to 1000, not 0"),
            (&["--streams-max", "1001"], "streamsMax must be 1 to 1000, not 1001"),
            (&["--head-limit", "99ms"], "headLimit must be 100ms to 1h, not 99ms"),
            (&["--idle-limit", "61m"], "idleLimit must be 100ms to 1h, not 1h1m"),
            (&["--failed-credentials-rate", "0"], "--failed-credentials-rate"),
            (&["--memory-limit", "1MiB"], "below the least of 48.0 MiB"),
            (&["--memory-limit", "much"], "is not cgroup, off or a size"),
        ];
        for (flags, expected) in table {
            let error = format!("{:#}", made(flags, &RouterFile::default()).unwrap_err());
            assert!(error.contains(expected), "{flags:?}: {error}");
        }
        let file = RouterFile { memory_limit: Some("3".to_owned()), ..RouterFile::default() };
        let error = format!("{:#}", made(&[], &file).unwrap_err());
        assert!(error.starts_with("memoryLimit: "), "{error}");
    }
}
