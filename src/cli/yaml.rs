//! Writes JSON values as YAML.
//!
//! Own code, because the emitter of `saphyr`, which reads the endpoint files, leaves a text such
//! as `0o7` without quotes, and it reads back as a number. Here a text stands plain only when no
//! YAML reader can take it for anything else; every other one is quoted as in JSON.

use std::fmt::Write as _;

use serde_json::Value;

/// One YAML document in block style, the fields of each mapping in the order of the alphabet.
pub(super) fn text(value: &Value) -> String {
    text_led_by(value, &[])
}

/// The same with these fields, in this order, before the others of their mapping.
pub(super) fn text_led_by(value: &Value, leaders: &[&str]) -> String {
    let mut page = String::new();
    block(&mut page, value, 0, leaders);
    page
}

/// Writes the value and a line break; the cursor stands where the value may begin.
fn block(page: &mut String, value: &Value, depth: usize, leaders: &[&str]) {
    match value {
        Value::Array(items) if !items.is_empty() => {
            for (at, item) in items.iter().enumerate() {
                // The first one stands where the cursor is.
                if at > 0 {
                    indent(page, depth);
                }
                page.push_str("- ");
                block(page, item, depth + 1, leaders);
            }
        }
        Value::Object(fields) if !fields.is_empty() => {
            let mut fields: Vec<_> = fields.iter().collect();
            let place = |key: &str| leaders.iter().position(|leader| *leader == key);
            fields.sort_by_key(|(key, _)| place(key).unwrap_or(leaders.len()));
            for (at, (key, value)) in fields.into_iter().enumerate() {
                // The first one stands where the cursor is.
                if at > 0 {
                    indent(page, depth);
                }
                page.push_str(&scalar(key));
                page.push(':');
                if is_block(value) {
                    page.push('\n');
                    indent(page, depth + 1);
                } else {
                    page.push(' ');
                }
                block(page, value, depth + 1, leaders);
            }
        }
        Value::String(text) => {
            page.push_str(&scalar(text));
            page.push('\n');
        }
        // Null, booleans, numbers, [] and {} are the same in YAML.
        other => {
            page.push_str(&other.to_string());
            page.push('\n');
        }
    }
}

fn is_block(value: &Value) -> bool {
    match value {
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn indent(page: &mut String, depth: usize) {
    page.extend(std::iter::repeat_n("  ", depth));
}

fn scalar(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { quoted(text) }
}

/// A letter or slash, then letters, digits and marks without a meaning in YAML; no word that YAML
/// 1.1 or 1.2 takes for null, a truth value or a number.
fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 9] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b))
        && !WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// A JSON string is a YAML string, except that YAML wants more characters escaped.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    for c in Value::from(text).to_string().chars() {
        match u32::from(c) {
            code @ (0x7f..=0x9f | 0x2028 | 0x2029 | 0xfeff | 0xfffe | 0xffff) => {
                write!(out, "\\u{code:04x}").expect("writing to a string does not fail");
            }
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use saphyr::{LoadableYamlNode as _, Scalar, Yaml};

    use super::*;

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1.0e9_f64..1.0e9).prop_map(Value::from),
            ".{0,20}".prop_map(Value::from),
            "[-:#?&*!|>'\"%@`{}\\[\\], \n\t~0-9a-z.\u{0}-\u{1f}]{0,8}".prop_map(Value::from),
            "yes|no|on|off|true|null|~|1e3|0x1|0o7|1_000|\\.inf|\\.nan|12:30|=|<<|---|\\.\\.\\."
                .prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 20, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[a-z]{1,8}|.{0,5}", inner, 0..5)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    /// What a YAML reader should make of the value.
    fn node(value: &Value) -> Yaml<'_> {
        match value {
            Value::Null => Yaml::Value(Scalar::Null),
            Value::Bool(bool) => Yaml::Value(Scalar::Boolean(*bool)),
            Value::Number(number) => Yaml::Value(match number.as_i64() {
                Some(integer) => Scalar::Integer(integer),
                None => Scalar::FloatingPoint(number.as_f64().unwrap().into()),
            }),
            Value::String(text) => string(text),
            Value::Array(items) => Yaml::Sequence(items.iter().map(node).collect()),
            Value::Object(fields) => Yaml::Mapping(
                fields.iter().map(|(key, value)| (string(key), node(value))).collect(),
            ),
        }
    }

    fn string(text: &str) -> Yaml<'_> {
        Yaml::Value(Scalar::String(text.into()))
    }

    #[test]
    fn lists_and_maps_are_indented_and_plain_where_that_is_safe() {
        let value = serde_json::json!([{
            "name": "blue", "hosts": [], "wanted": null, "message": "no: \u{1b}",
            "versions": [{"busy": 2, "load": 2.5}, ["a", "b"]],
        }]);
        expect_test::expect![[r#"
            - hosts: []
              message: "no: \u001b"
              name: blue
              versions:
                - busy: 2
                  load: 2.5
                - - a
                  - b
              wanted: null
        "#]]
        .assert_eq(&text(&value));
    }

    #[test]
    fn leaders_come_first_in_their_order_and_the_rest_as_before() {
        let value = serde_json::json!({"b": 1, "name": 2, "a": [{"name": 3, "kind": 4, "b": 5}]});
        let page = text_led_by(&value, &["name", "kind"]);
        assert_eq!(page, "name: 2\na:\n  - name: 3\n    kind: 4\n    b: 5\nb: 1\n");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_as_it_was(value in values()) {
            let page = text(&value);
            let read = Yaml::load_from_str(&page).unwrap();
            prop_assert_eq!(&read, &vec![node(&value)], "{}", page);
        }
    }
}
