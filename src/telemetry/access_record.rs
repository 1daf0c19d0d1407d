//! One line of the access log: what a request was, and how it is written.

use std::{
    fmt::Write as _,
    io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::{Serialize, Serializer, ser::SerializeMap as _};

use crate::domain::{AuthMode, Name, Reason};

/// The longest path in a record, in characters; a longer one is cut and ends with `…`.
pub const PATH_CHARS_MAX: usize = 512;
/// The longest user agent in a record, in characters, as in Azure's traffic log.
pub const USER_AGENT_CHARS_MAX: usize = 70;

/// One finished request. Texts are cut with [`bounded`] when the record is made, so that a record
/// in the queue holds little; everything else is formatted by the writer thread.
#[derive(Debug, Clone)]
pub struct AccessRecord {
    /// When the head of the request had arrived.
    pub time: SystemTime,
    /// The endpoint, where one was found.
    pub endpoint: Option<Name>,
    /// The version, where one was chosen.
    pub version: Option<Name>,
    /// The request method.
    pub method: http::Method,
    /// The path, without the query string: it may hold secrets.
    pub path: Box<str>,
    /// The protocol of the client.
    pub protocol: http::Version,
    /// The status sent to the client; 499 when it left before one was.
    pub response_code: u16,
    /// Why the request ended as it did.
    pub reason: Reason,
    /// The status the model sent, where it sent one.
    pub model_status: Option<u16>,
    /// Payload bytes received from the client.
    pub request_bytes: u64,
    /// Payload bytes sent to the client.
    pub response_bytes: u64,
    /// The `user-agent` field.
    pub user_agent: Option<Box<str>>,
    /// The id in `x-request-id`.
    pub request_id: uuid::Uuid,
    /// The id the client sent in `x-ms-client-request-id`, already reduced to safe characters.
    pub client_request_id: Option<Box<str>>,
    /// From the head of the request to the last byte of the answer.
    pub total: Duration,
    /// From the head of the request to the last byte of its body.
    pub request_duration: Option<Duration>,
    /// From the head of the request to the first byte of the model's answer.
    pub response_duration: Option<Duration>,
    /// The wait for a slot.
    pub queue_duration: Duration,
    /// How the caller proved who it is, where an endpoint was found.
    pub auth: Option<AuthMode>,
    /// The replica that had the request, by name.
    pub replica: Option<Arc<str>>,
}

/// The first `chars_max` characters of a text that came from outside; `…` stands for the rest.
pub fn bounded(text: &str, chars_max: usize) -> Box<str> {
    match text.char_indices().nth(chars_max) {
        None => text.into(),
        Some(_) => text.chars().take(chars_max.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// The field names of Azure's `AmlOnlineEndpointTrafficLog`, plus `Time`, `QueueDurationMs` and
/// `Replica`. Fields without a value are null: a line always has the same fields.
impl Serialize for AccessRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(21))?;
        map.serialize_entry("Time", &time_text(self.time))?;
        map.serialize_entry("EndpointName", &self.endpoint.as_ref().map(Name::as_str))?;
        map.serialize_entry("DeploymentName", &self.version.as_ref().map(Name::as_str))?;
        map.serialize_entry("Method", self.method.as_str())?;
        map.serialize_entry("Path", &*self.path)?;
        map.serialize_entry("Protocol", protocol_text(self.protocol))?;
        map.serialize_entry("ResponseCode", &self.response_code)?;
        map.serialize_entry("ResponseCodeReason", self.reason.as_str())?;
        map.serialize_entry("ModelStatusCode", &self.model_status)?;
        map.serialize_entry("ModelStatusReason", &self.model_status.and_then(status_words))?;
        map.serialize_entry("RequestPayloadSize", &self.request_bytes)?;
        map.serialize_entry("ResponsePayloadSize", &self.response_bytes)?;
        map.serialize_entry("UserAgent", &self.user_agent)?;
        map.serialize_entry("XRequestId", &self.request_id.as_hyphenated().to_string())?;
        map.serialize_entry("XMSClientRequestId", &self.client_request_id)?;
        map.serialize_entry("TotalDurationMs", &ms(self.total))?;
        map.serialize_entry("RequestDurationMs", &self.request_duration.map(ms))?;
        map.serialize_entry("ResponseDurationMs", &self.response_duration.map(ms))?;
        map.serialize_entry("QueueDurationMs", &ms(self.queue_duration))?;
        map.serialize_entry("AuthType", &self.auth)?;
        map.serialize_entry("Replica", &self.replica.as_deref())?;
        map.end()
    }
}

impl AccessRecord {
    /// Appends the record as one line of JSON.
    pub(super) fn write_json(&self, line: &mut Vec<u8>) {
        let mut serializer = serde_json::Serializer::with_formatter(&mut *line, Visible);
        // Neither the fields nor a vector in memory can fail.
        drop(self.serialize(&mut serializer));
        line.push(b'\n');
    }

    /// Appends the record as one short line for people.
    pub(super) fn write_text(&self, line: &mut Vec<u8>) {
        let of = |name: &Option<Name>| name.as_ref().map_or("-", Name::as_str).to_owned();
        let text = format!(
            "{} {} {} {} {} {}/{} {} {:.1}ms queue {:.1}ms {}B>{}B {}",
            time_text(self.time),
            self.response_code,
            self.reason.as_str(),
            self.method,
            self.path,
            of(&self.endpoint),
            of(&self.version),
            self.replica.as_deref().unwrap_or("-"),
            ms(self.total),
            ms(self.queue_duration),
            self.request_bytes,
            self.response_bytes,
            self.request_id,
        );
        line.extend_from_slice(visible(&text).as_bytes());
        line.push(b'\n');
    }
}

fn time_text(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map_or_else(|_| String::new(), |time| format!("{time:.3}"))
}

/// Milliseconds with three decimals: a microsecond is the finest thing worth reading.
fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}

fn protocol_text(version: http::Version) -> &'static str {
    match version {
        http::Version::HTTP_10 => "HTTP/1.0",
        http::Version::HTTP_11 => "HTTP/1.1",
        http::Version::HTTP_2 => "HTTP/2",
        _ => "other",
    }
}

fn status_words(code: u16) -> Option<&'static str> {
    http::StatusCode::from_u16(code).ok()?.canonical_reason()
}

/// Whether a terminal or a log viewer may take the character for a command: control characters
/// (C0, DEL, C1), line separators, and marks that change the direction of writing.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    out
}

/// JSON with every hidden character escaped, not only those below U+0020 as JSON asks for.
struct Visible;

impl serde_json::ser::Formatter for Visible {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        if !fragment.contains(is_hidden) {
            return writer.write_all(fragment.as_bytes());
        }
        let mut escaped = String::with_capacity(fragment.len() + 16);
        for c in fragment.chars() {
            if is_hidden(c) {
                // All hidden characters lie in the basic plane: four digits are enough.
                write!(escaped, "\\u{:04x}", u32::from(c)).map_err(io::Error::other)?;
            } else {
                escaped.push(c);
            }
        }
        writer.write_all(escaped.as_bytes())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::telemetry) fn record() -> AccessRecord {
        AccessRecord {
            time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
            endpoint: Some("demo".parse().unwrap()),
            version: Some("blue".parse().unwrap()),
            method: http::Method::POST,
            path: "/api/v1/endpoint/demo/score".into(),
            protocol: http::Version::HTTP_11,
            response_code: 200,
            reason: Reason::Model,
            model_status: Some(200),
            request_bytes: 200,
            response_bytes: 512,
            user_agent: Some("curl/8.0".into()),
            request_id: uuid::Uuid::from_u128(1),
            client_request_id: None,
            total: Duration::from_micros(12_345),
            request_duration: Some(Duration::from_millis(1)),
            response_duration: Some(Duration::from_millis(11)),
            queue_duration: Duration::ZERO,
            auth: Some(AuthMode::Key),
            replica: Some("demo-blue-1".into()),
        }
    }

    fn json(record: &AccessRecord) -> String {
        let mut line = Vec::new();
        record.write_json(&mut line);
        String::from_utf8(line).unwrap()
    }

    fn text(record: &AccessRecord) -> String {
        let mut line = Vec::new();
        record.write_text(&mut line);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_json_line_has_the_field_names_of_azure() {
        expect_test::expect![[r#"
            {"Time":"2023-11-14T22:13:20.123Z","EndpointName":"demo","DeploymentName":"blue","Method":"POST","Path":"/api/v1/endpoint/demo/score","Protocol":"HTTP/1.1","ResponseCode":200,"ResponseCodeReason":"model","ModelStatusCode":200,"ModelStatusReason":"OK","RequestPayloadSize":200,"ResponsePayloadSize":512,"UserAgent":"curl/8.0","XRequestId":"00000000-0000-0000-0000-000000000001","XMSClientRequestId":null,"TotalDurationMs":12.345,"RequestDurationMs":1.0,"ResponseDurationMs":11.0,"QueueDurationMs":0.0,"AuthType":"Key","Replica":"demo-blue-1"}
        "#]]
        .assert_eq(&json(&record()));
    }

    #[test]
    fn a_text_line_is_short() {
        expect_test::expect![[r"
            2023-11-14T22:13:20.123Z 200 model POST /api/v1/endpoint/demo/score demo/blue demo-blue-1 12.3ms queue 0.0ms 200B>512B 00000000-0000-0000-0000-000000000001
        "]]
        .assert_eq(&text(&record()));
    }

    #[test]
    fn a_request_that_found_nothing_is_written_too() {
        let lost = AccessRecord {
            endpoint: None,
            version: None,
            model_status: None,
            user_agent: None,
            request_duration: None,
            response_duration: None,
            auth: None,
            replica: None,
            ..record()
        };
        let line: serde_json::Value = serde_json::from_str(&json(&lost)).unwrap();
        assert_eq!(line.as_object().unwrap().len(), 21);
        assert!(line["EndpointName"].is_null() && line["AuthType"].is_null());
        assert!(text(&lost).contains(" -/- - "));
    }

    #[test]
    fn a_day_long_stream_keeps_its_duration() {
        let day = AccessRecord { total: Duration::from_micros(86_400_000_001), ..record() };
        let line: serde_json::Value = serde_json::from_str(&json(&day)).unwrap();
        assert_eq!(line["TotalDurationMs"].to_string(), "86400000.001");
    }

    #[test]
    fn texts_are_cut_at_their_bound_and_not_before() {
        assert_eq!(&*bounded(&"ä".repeat(70), 70), "ä".repeat(70));
        let cut = bounded(&"ä".repeat(71), 70);
        assert_eq!(cut.chars().count(), 70);
        assert!(cut.ends_with("ä…"));
    }

    proptest::proptest! {
        #[test]
        fn no_hidden_character_reaches_the_log_and_json_keeps_the_text(agent in ".{0,60}|[\\x00-\\x1f\\x7f-\\u{a0}\\u{2020}-\\u{2030}\"\\\\]{0,20}") {
            let hostile = AccessRecord { user_agent: Some(agent.clone().into()), path: agent.clone().into(), ..record() };
            for line in [json(&hostile), text(&hostile)] {
                let line = line.strip_suffix('\n').unwrap();
                proptest::prop_assert!(!line.contains(is_hidden), "{line:?}");
            }
            let line: serde_json::Value = serde_json::from_str(&json(&hostile)).unwrap();
            proptest::prop_assert_eq!(line["UserAgent"].as_str().unwrap(), agent);
        }
    }
}
