//! Durations and sizes as people write them.

use std::{borrow::Cow, fmt, time::Duration};

use bytesize::ByteSize;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};

use super::problem::quoted;
use crate::domain::MAX_PAYLOAD_BYTES;

/// What the schema of a cluster accepts as a duration: what Go, which evaluates its rules, and this
/// module read alike.
pub const DURATION_PATTERN: &str = "^(0|([0-9]{1,7}(ms|s|m|h))+)$";
/// The longest duration of a schema: `167h59m59s999ms` is as exact as any bound.
const DURATION_LENGTH_MAX: usize = 16;
const SIZE_PATTERN: &str = r"^[0-9]+(\.[0-9]+)? ?([kKmMgGtTpP][iI]?)?[bB]?$";
/// The longest size of a schema; 100MiB in bytes has 9 digits.
const SIZE_LENGTH_MAX: usize = 24;

/// A duration written as `500ms`, `60s`, `12h` or a sum `1m30s`. An integer is refused, as nobody
/// can know its unit, except 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DurationText(pub Duration);

/// A size written as `100MiB`, `500kB`, or as an integer of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeText(pub u64);

impl<'de> Deserialize<'de> for DurationText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DurationVisitor)
    }
}

impl<'de> Deserialize<'de> for SizeText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SizeVisitor)
    }
}

/// The way it is written in a file, without the days that a cluster's schema does not read.
impl Serialize for DurationText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const HOUR: u64 = 3600;
        let hours = self.0.as_secs() / HOUR;
        let rest = self.0.saturating_sub(Duration::from_secs(hours * HOUR));
        serializer.serialize_str(&match (hours, rest) {
            (0, rest) => shown(rest),
            (hours, Duration::ZERO) => format!("{hours}h"),
            (hours, rest) => format!("{hours}h{}", shown(rest)),
        })
    }
}

/// A number of bytes.
impl Serialize for SizeText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

/// The bounds differ by field, so they are not part of it.
impl JsonSchema for DurationText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "DurationText".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": DURATION_LENGTH_MAX,
            "pattern": DURATION_PATTERN,
        })
    }
}

/// An integer or a text; the bounds of a text are a rule.
impl JsonSchema for SizeText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "SizeText".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "minimum": 1,
            "maximum": MAX_PAYLOAD_BYTES,
            "maxLength": SIZE_LENGTH_MAX,
            "pattern": SIZE_PATTERN,
        })
    }
}

struct DurationVisitor;

impl Visitor<'_> for DurationVisitor {
    type Value = DurationText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration like `500ms`, `60s` or `1m30s`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<DurationText, E> {
        if text.bytes().all(|b| b.is_ascii_digit()) && text.bytes().any(|b| b != b'0') {
            return Err(no_unit(text));
        }
        match humantime::parse_duration(text) {
            Ok(duration) => Ok(DurationText(duration)),
            Err(_) => Err(E::custom(format!(
                "{} is not a duration; write it like `500ms`, `60s`, `12h` or `1m30s`",
                quoted(text)
            ))),
        }
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<DurationText, E> {
        match number {
            0 => Ok(DurationText(Duration::ZERO)),
            _ => Err(no_unit(&number.to_string())),
        }
    }
}

fn no_unit<E: de::Error>(number: &str) -> E {
    let number = quoted(number);
    let digits = number.trim_matches('`');
    E::custom(format!("{number} has no unit; write `{digits}ms` or `{digits}s`"))
}

struct SizeVisitor;

impl Visitor<'_> for SizeVisitor {
    type Value = SizeText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size like `100MiB` or a number of bytes")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<SizeText, E> {
        match text.trim().parse::<ByteSize>() {
            Ok(size) => Ok(SizeText(size.as_u64())),
            Err(_) => Err(E::custom(format!(
                "{} is not a size; write it like `100MiB` or as a number of bytes",
                quoted(text)
            ))),
        }
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<SizeText, E> {
        u64::try_from(number)
            .map(SizeText)
            .map_err(|_| E::custom(format!("{number} is not a size; it cannot be negative")))
    }
}

/// A duration as messages show it: the way it is written in a file.
pub fn shown(duration: Duration) -> String {
    humantime::format_duration(duration).to_string().replace(' ', "")
}
