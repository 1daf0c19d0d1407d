//! What became of one request.

use http::{HeaderMap, HeaderValue, StatusCode};

/// What became of one request.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// A whole answer came, of any status.
    Answered(Answered),
    /// No whole answer came.
    Failed(TransportError),
}

/// A whole answer.
#[derive(Debug, Clone, Default)]
pub struct Answered {
    /// Its status.
    pub status: StatusCode,
    /// `x-modelway-source`: `router` or `model`.
    pub source: Option<HeaderValue>,
    /// `x-modelway-version`.
    pub version: Option<HeaderValue>,
    /// `error.code` of a problem document, or its `error` where that is a string.
    pub code: Option<String>,
    /// `Server-Timing`.
    pub timing: ServerTiming,
    /// Bytes of the body.
    pub bytes: u64,
}

/// Why no whole answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum TransportError {
    /// No connection.
    #[error("connect failed")]
    Connect,
    /// `--timeout` passed.
    #[error("timeout")]
    Timeout,
    /// The connection closed before the head of the answer.
    #[error("closed before the answer")]
    Closed,
    /// The connection was reset.
    #[error("connection reset")]
    Reset,
    /// The answer began and ended early.
    #[error("answer cut off")]
    Truncated,
    /// What came was not HTTP.
    #[error("invalid answer")]
    Invalid,
    /// Anything else, such as a refused or reset HTTP/2 stream.
    #[error("other")]
    Other,
}

impl TransportError {
    /// Finds the kind in an error of the client and its causes. `body` says whether the head of the
    /// answer had arrived.
    pub(super) fn classify(error: &(dyn std::error::Error + 'static), body: bool) -> Self {
        let mut next = Some(error);
        let mut kind = if body { Self::Truncated } else { Self::Other };
        while let Some(error) = next {
            if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>()
                && error.is_connect()
            {
                return Self::Connect;
            }
            if let Some(error) = error.downcast_ref::<hyper::Error>() {
                if error.is_parse() {
                    return Self::Invalid;
                }
                if !body && (error.is_incomplete_message() || error.is_closed()) {
                    kind = Self::Closed;
                }
            }
            if let Some(error) = error.downcast_ref::<std::io::Error>()
                && matches!(
                    error.kind(),
                    std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe
                )
            {
                kind = Self::Reset;
            }
            next = error.source();
        }
        kind
    }
}

/// Milliseconds from the `Server-Timing` header of the router (contract §6).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ServerTiming {
    /// Waiting for a slot.
    pub queue_ms: Option<f64>,
    /// The replica's share.
    pub replica_ms: Option<f64>,
    /// What the router itself added: total without queue and replica.
    pub router_ms: Option<f64>,
}

impl ServerTiming {
    /// Reads the header; what is missing or malformed stays `None`.
    pub fn read(headers: &HeaderMap) -> Self {
        let mut timing = Self::default();
        let mut total = None;
        let values = headers.get_all("server-timing").iter();
        let metrics = values.filter_map(|value| value.to_str().ok()).flat_map(|it| it.split(','));
        for metric in metrics {
            let mut fields = metric.split(';').map(str::trim);
            let name = fields.next().unwrap_or_default();
            let duration = fields.find_map(|field| field.strip_prefix("dur=")?.parse::<f64>().ok());
            let duration = duration.filter(|ms| ms.is_finite() && *ms >= 0.0);
            match name {
                "queue" => timing.queue_ms = duration,
                "replica" => timing.replica_ms = duration,
                "router" => timing.router_ms = duration,
                "total" => total = duration,
                _ => {}
            }
        }
        let rest = total.map(|total| {
            total - timing.queue_ms.unwrap_or_default() - timing.replica_ms.unwrap_or_default()
        });
        // Rounded parts may add up to a little more than the total.
        timing.router_ms = timing.router_ms.or(rest.map(|rest| rest.max(0.0)));
        timing
    }
}

/// The error code in the first bytes of an answer's body.
pub(super) fn error_code(body: &[u8]) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let error = body.get("error")?;
    let code = error.get("code").unwrap_or(error).as_str()?;
    Some(code.chars().take(CODE_CHARS_MAX).collect())
}

/// Longer codes are cut; those of the router are short words.
const CODE_CHARS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &'static str) -> ServerTiming {
        let mut headers = HeaderMap::new();
        headers.insert("server-timing", HeaderValue::from_static(value));
        ServerTiming::read(&headers)
    }

    #[test]
    fn router_time_is_what_queue_and_replica_do_not_explain() {
        let timing = read("auth;dur=0.1, queue;dur=3.5, replica;dur=20, total;dur=24");
        assert_eq!(timing.queue_ms, Some(3.5));
        assert_eq!(timing.replica_ms, Some(20.0));
        assert_eq!(timing.router_ms, Some(0.5));
        assert_eq!(read("queue;dur=2, replica;dur=2, total;dur=3.9").router_ms, Some(0.0));
        assert_eq!(read("total;dur=9, router;dur=0.3").router_ms, Some(0.3));
    }

    #[test]
    fn foreign_or_broken_timings_say_nothing() {
        assert_eq!(read("cdn;desc=\"x\", db;dur=3"), ServerTiming::default());
        assert_eq!(read("queue;dur=fast, replica;dur=-1, total"), ServerTiming::default());
    }

    #[test]
    fn the_code_is_found_in_both_forms_of_error() {
        assert_eq!(error_code(br#"{"error": {"code": "Overloaded"}}"#).unwrap(), "Overloaded");
        assert_eq!(error_code(br#"{"error": "no replicas"}"#).unwrap(), "no replicas");
        assert_eq!(error_code(b"<html>"), None);
        assert_eq!(error_code(br#"{"error": 3}"#), None);
    }
}
