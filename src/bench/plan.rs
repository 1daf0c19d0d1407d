//! What is sent, how fast, and for how long: the checked form of the flags.

use std::{fs, time::Duration};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT},
    uri::Scheme,
};

use super::BenchArgs;

/// How long a run with `--requests` alone may take.
const COUNTED_DURATION_MAX: Duration = Duration::from_secs(600);
/// How long a run without `--duration` and `--requests` takes.
const DURATION_DEFAULT: Duration = Duration::from_secs(10);
/// The largest `--body-bytes`: 1 GiB, ten times the largest request of the contract.
const BODY_BYTES_MAX: u64 = 1 << 30;

/// A run: every request is the same.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where requests go, an absolute `http://` address.
    pub url: Uri,
    /// Their method.
    pub method: Method,
    /// Their headers.
    pub headers: HeaderMap,
    /// Their body.
    pub body: Bytes,
    /// How fast they are sent.
    pub load: Load,
    /// No request is begun after this time.
    pub duration: Duration,
    /// No more requests than this are begun.
    pub requests: Option<u64>,
    /// A request is given up after this time.
    pub timeout: Duration,
    /// HTTP/2 with prior knowledge, else HTTP/1.1.
    pub http2: bool,
}

/// How fast requests are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Load {
    /// Each connection has one request at a time, the next one after its answer.
    Closed {
        /// Connections.
        connections: u16,
    },
    /// A fixed schedule, whatever the answers do.
    Open {
        /// Requests per second, above 0.
        rate: f64,
        /// Requests beyond this many in flight are missed.
        in_flight_max: usize,
        /// HTTP/2 connections that requests take in turn. HTTP/1 opens one per request in flight.
        connections: u16,
    },
}

impl Plan {
    /// A plain run against `url`: closed loop, one connection, 10 s, no body, 30 s timeout.
    pub fn new(url: Uri) -> Self {
        Self {
            url,
            method: Method::GET,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            load: Load::Closed { connections: 1 },
            duration: DURATION_DEFAULT,
            requests: None,
            timeout: Duration::from_secs(30),
            http2: false,
        }
    }

    /// Checks the flags and reads the payload.
    pub fn from_args(args: &BenchArgs) -> anyhow::Result<Self> {
        ensure!(
            args.url.scheme() == Some(&Scheme::HTTP) && args.url.host().is_some(),
            "{} is not an http:// address; others are not supported",
            args.url
        );
        let body = body(args)?;
        let default_method = if body.is_empty() { Method::GET } else { Method::POST };
        let load = match args.rate {
            Some(rate) => Load::Open {
                rate,
                in_flight_max: usize::try_from(args.in_flight_max).unwrap_or(usize::MAX),
                connections: args.connections,
            },
            None => Load::Closed { connections: args.connections },
        };
        let duration_default =
            if args.requests.is_some() { COUNTED_DURATION_MAX } else { DURATION_DEFAULT };
        Ok(Self {
            headers: headers(args, !body.is_empty())?,
            url: args.url.clone(),
            method: args.method.clone().unwrap_or(default_method),
            body,
            load,
            duration: args.duration.unwrap_or(duration_default),
            requests: args.requests,
            timeout: args.timeout,
            http2: args.http2,
        })
    }
}

fn body(args: &BenchArgs) -> anyhow::Result<Bytes> {
    if let Some(path) = &args.payload {
        let read = fs::read(path);
        return Ok(read.with_context(|| format!("cannot read {}", path.display()))?.into());
    }
    if let Some(size) = args.body_bytes {
        ensure!(size.0 <= BODY_BYTES_MAX, "--body-bytes may be at most {BODY_BYTES_MAX}");
        let size = usize::try_from(size.0).context("--body-bytes is too large")?;
        return Ok(vec![b'x'; size].into());
    }
    Ok(args.body.clone().unwrap_or_default().into())
}

fn headers(args: &BenchArgs, has_body: bool) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    let agent = concat!("modelway-bench/", env!("CARGO_PKG_VERSION"));
    headers.insert(USER_AGENT, HeaderValue::from_static(agent));
    if has_body {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    if let Some(key) = &args.key {
        let mut value = HeaderValue::try_from(format!("Bearer {key}"))
            .context("--key holds characters that no header may hold")?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    if let Some(version) = &args.pin {
        let value = HeaderValue::try_from(version).context("--pin is not the name of a version")?;
        headers.insert("azureml-model-deployment", value);
    }
    // The first of a name replaces our own; further ones are meant as further values.
    let mut given = HeaderMap::new();
    for (name, value) in &args.headers {
        given.append(name.clone(), value.clone());
    }
    headers.extend(given);
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        bench: BenchArgs,
    }

    fn plan(flags: &[&str]) -> anyhow::Result<Plan> {
        let line = ["bench", "http://127.0.0.1:1/score"].iter().chain(flags);
        Plan::from_args(&Line::try_parse_from(line)?.bench)
    }

    #[test]
    fn a_body_makes_it_a_post() {
        assert_eq!(plan(&[]).unwrap().method, Method::GET);
        assert_eq!(plan(&["--body", "{}"]).unwrap().method, Method::POST);
        assert_eq!(plan(&["--body", "{}", "--method", "PUT"]).unwrap().method, Method::PUT);
        assert_eq!(plan(&["--body-bytes", "2KiB"]).unwrap().body.len(), 2048);
    }

    #[test]
    fn the_payload_is_what_the_file_holds() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "[1]").unwrap();
        let path = file.path().to_str().unwrap();
        assert_eq!(plan(&["--payload", path]).unwrap().body, "[1]");
        assert!(plan(&["--payload", "/nonexistent"]).is_err());
        assert!(plan(&["--payload", path, "--body", "x"]).is_err());
    }

    #[test]
    fn key_pin_and_own_headers_are_sent() {
        let plan = plan(&["--key", "k1", "--pin", "green", "-H", "user-agent: me", "-H", "a: 1"]);
        let headers = plan.unwrap().headers;
        assert_eq!(headers[AUTHORIZATION], "Bearer k1");
        assert_eq!(headers["azureml-model-deployment"], "green");
        assert_eq!(headers[USER_AGENT], "me");
        assert_eq!(headers["a"], "1");
    }

    #[test]
    fn every_run_has_an_end() {
        assert_eq!(plan(&[]).unwrap().duration, DURATION_DEFAULT);
        assert_eq!(plan(&["-n", "5"]).unwrap().duration, COUNTED_DURATION_MAX);
        let both = plan(&["-n", "5", "-d", "2s"]).unwrap();
        assert_eq!((both.duration, both.requests), (Duration::from_secs(2), Some(5)));
    }

    #[test]
    fn a_rate_makes_it_an_open_loop() {
        assert_eq!(plan(&["-c", "3"]).unwrap().load, Load::Closed { connections: 3 });
        let open = plan(&["-q", "50", "--in-flight-max", "7"]).unwrap().load;
        assert_eq!(open, Load::Open { rate: 50.0, in_flight_max: 7, connections: 16 });
    }

    #[test]
    fn only_plain_http_is_spoken() {
        let line = Line::try_parse_from(["bench", "https://localhost/score"]).unwrap();
        assert!(Plan::from_args(&line.bench).is_err());
    }
}
