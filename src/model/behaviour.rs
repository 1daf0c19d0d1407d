//! How the server was told to behave, and what one request asks for differently.

use std::{sync::Arc, time::Duration};

use http::{StatusCode, request::Parts};
use parking_lot::Mutex;
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use tokio::sync::Semaphore;

use super::{ConcurrencyMode, Latency, ModelArgs, latency::LATENCY_MAX};

/// The largest answer that a request may ask for, in bytes: 1 GiB, ten times the largest request.
const BODY_BYTES_MAX: u64 = 1 << 30;
/// The most events of one stream.
const CHUNKS_MAX: u32 = 1_000_000;

/// The settings of one server.
#[derive(Debug)]
pub(super) struct Behaviour {
    pub(super) name: String,
    pub(super) replica: String,
    /// The requests that may be worked on at once; `None` for any number.
    pub(super) gate: Option<Arc<Semaphore>>,
    pub(super) close: bool,
    pub(super) ignore_disconnect: bool,
    latency: Latency,
    fail: f64,
    fail_status: StatusCode,
    body_bytes: Option<u64>,
    dice: Mutex<SmallRng>,
}

/// What is done for one request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    pub(super) latency: Duration,
    pub(super) status: StatusCode,
    pub(super) body_bytes: Option<u64>,
}

impl Behaviour {
    pub(super) fn new(args: &ModelArgs) -> Self {
        let enforced = args.concurrency > 0 && args.concurrency_mode == ConcurrencyMode::Enforce;
        let slots = args.concurrency.min(Semaphore::MAX_PERMITS);
        Self {
            name: args.name.clone(),
            replica: args.replica_name().to_owned(),
            gate: enforced.then(|| Arc::new(Semaphore::new(slots))),
            close: args.close,
            ignore_disconnect: args.ignore_disconnect,
            latency: args.latency,
            fail: args.fail,
            fail_status: StatusCode::from_u16(args.fail_status)
                .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            body_bytes: args.body_bytes.map(|size| size.0),
            dice: Mutex::new(SmallRng::seed_from_u64(args.seed.unwrap_or_else(rand::random))),
        }
    }

    /// The behaviour for one request: the flags, unless its query (`latency`, `status`,
    /// `bodyBytes`) or its headers (`x-model-latency`, …) ask for something else.
    pub(super) fn wish(&self, parts: &Parts) -> Result<Wish, String> {
        let (latency, failed) = {
            let mut dice = self.dice.lock();
            (self.latency.draw(&mut *dice), self.fail > 0.0 && dice.random_bool(self.fail))
        };
        let mut wish = Wish {
            latency,
            status: if failed { self.fail_status } else { StatusCode::OK },
            body_bytes: self.body_bytes,
        };
        if let Some(text) = asked(parts, "x-model-latency", "latency") {
            wish.latency = time(text)?;
        }
        if let Some(text) = asked(parts, "x-model-status", "status") {
            wish.status = status(text)?;
        }
        if let Some(text) = asked(parts, "x-model-body-bytes", "bodyBytes") {
            wish.body_bytes = Some(number(text, BODY_BYTES_MAX)?);
        }
        Ok(wish)
    }
}

/// How many events a stream has, and the time between them: `?chunks=50&interval=10ms`.
pub(super) fn pace(parts: &Parts) -> Result<(u32, Duration), String> {
    let chunks = match asked(parts, "x-model-chunks", "chunks") {
        Some(text) => u32::try_from(number(text, u64::from(CHUNKS_MAX))?).unwrap_or(CHUNKS_MAX),
        None => 50,
    };
    let interval = match asked(parts, "x-model-interval", "interval") {
        Some(text) => time(text)?,
        None => Duration::from_millis(10),
    };
    Ok((chunks, interval))
}

/// The value of the header, else of the query parameter. No value here needs percent-encoding.
fn asked<'a>(parts: &'a Parts, header: &str, parameter: &str) -> Option<&'a str> {
    let from_header = parts.headers.get(header).and_then(|value| value.to_str().ok());
    from_header.or_else(|| {
        let pairs = parts.uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(name, _)| *name == parameter).map(|(_, value)| value).next()
    })
}

fn time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text)
        .map_err(|error| format!("cannot read the time {text:?}: {error}"))?;
    if time > LATENCY_MAX {
        return Err(format!("{text} is longer than the limit of {} s", LATENCY_MAX.as_secs()));
    }
    Ok(time)
}

fn status(text: &str) -> Result<StatusCode, String> {
    // 1xx would not be an answer, and hyper refuses to send one as such.
    let code = text.parse::<StatusCode>().ok().filter(|code| code.as_u16() >= 200);
    code.ok_or_else(|| format!("{text:?} is not a status between 200 and 999"))
}

fn number(text: &str, most: u64) -> Result<u64, String> {
    let number = text.parse::<u64>().ok().filter(|number| *number <= most);
    number.ok_or_else(|| format!("{text:?} is not a number between 0 and {most}"))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(target: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_header_wins_over_the_query() {
        let parts = parts("/score?latency=1s&status=503", &[("x-model-latency", "2s")]);
        assert_eq!(asked(&parts, "x-model-latency", "latency"), Some("2s"));
        assert_eq!(asked(&parts, "x-model-status", "status"), Some("503"));
        assert_eq!(asked(&parts, "x-model-chunks", "chunks"), None);
    }

    #[test]
    fn a_stream_has_fifty_events_unless_asked_otherwise() {
        assert_eq!(pace(&parts("/stream", &[])), Ok((50, Duration::from_millis(10))));
        let asked = parts("/stream?chunks=3&interval=0s", &[]);
        assert_eq!(pace(&asked), Ok((3, Duration::ZERO)));
        assert!(pace(&parts("/stream?chunks=1000001", &[])).is_err());
        assert!(pace(&parts("/stream?interval=1h", &[])).is_err());
    }

    #[test]
    fn no_request_gets_a_status_that_is_no_answer() {
        assert_eq!(status("503"), Ok(StatusCode::SERVICE_UNAVAILABLE));
        for bad in ["101", "1000", "ok", ""] {
            assert!(status(bad).is_err(), "{bad}");
        }
    }
}
