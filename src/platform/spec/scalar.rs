//! What an unquoted word of YAML means: the core schema of YAML 1.2, where `yes` and `on` are words.

use saphyr_parser::{ScalarStyle, Tag};

use super::tree::Value;

/// The tag is not repeated: an unquoted key of a Secret that starts with `!` reads as one.
const TAG_REFUSED: &str = "tags (`!…`) are not supported; remove it, or quote the text";

/// The value of a scalar. `Err` says why its tag does not fit.
pub(super) fn resolve(
    text: String,
    style: ScalarStyle,
    tag: Option<&Tag>,
) -> Result<Value, String> {
    let Some(tag) = tag else {
        let plain = style == ScalarStyle::Plain;
        return Ok(if plain { resolve_plain(text) } else { Value::Text(text) });
    };
    if !tag.is_yaml_core_schema() {
        return Err(TAG_REFUSED.to_owned());
    }
    if tag.suffix == "str" {
        return Ok(Value::Text(text));
    }
    let value = resolve_plain(text);
    let fits = match tag.suffix.as_str() {
        "null" => matches!(value, Value::Null),
        "bool" => matches!(value, Value::Bool(_)),
        "int" => matches!(value, Value::Integer(_)),
        "float" => matches!(value, Value::Float(_) | Value::Integer(_)),
        _ => return Err(TAG_REFUSED.to_owned()),
    };
    if fits { Ok(value) } else { Err(format!("the value does not fit its tag `!!{}`", tag.suffix)) }
}

/// Whether a list or mapping may carry this tag.
pub(super) fn check_collection_tag(tag: Option<&Tag>) -> Result<(), String> {
    match tag {
        Some(tag) if !(tag.is_yaml_core_schema() && ["map", "seq"].contains(&&*tag.suffix)) => {
            Err(TAG_REFUSED.to_owned())
        }
        _ => Ok(()),
    }
}

fn resolve_plain(text: String) -> Value {
    match text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    if let Some(integer) = integer(&text) {
        return Value::Integer(integer);
    }
    float(&text).map_or(Value::Text(text), Value::Float)
}

fn integer(text: &str) -> Option<i64> {
    if let Some(digits) = text.strip_prefix("0x") {
        return i64::from_str_radix(digits, 16).ok();
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return i64::from_str_radix(digits, 8).ok();
    }
    text.parse().ok()
}

fn float(text: &str) -> Option<f64> {
    let unsigned = text.trim_start_matches(['+', '-']);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN") {
        return Some(f64::NAN);
    }
    // Without this test `inf` and `nan`, which Rust reads as numbers, would not be words.
    let looks_like_one = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    looks_like_one.then(|| text.parse().ok()).flatten()
}
