//! `modelway crd`: the definition of `InferenceEndpoint` for a cluster.

use std::io::{self, Write};

use serde_json::Value;

use super::yaml;
use crate::platform::kubernetes::crd;

/// Fields that people look for first.
const LEADERS: [&str; 5] = ["apiVersion", "kind", "name", "type", "description"];

/// Prints the definition as YAML; fails only when standard output does.
pub(super) fn run() -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text().as_bytes())?;
    Ok(out.flush()?)
}

/// The definition as it is checked in.
fn text() -> String {
    let mut definition = serde_json::to_value(crd()).expect("a definition is JSON");
    whole(&mut definition);
    format!("# Printed by `modelway crd`.\n{}", yaml::text_led_by(&definition, &LEADERS))
}

/// Bounds are floating-point numbers in the type; people write `100`, not `100.0`.
fn whole(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(whole),
        Value::Object(fields) => fields.values_mut().for_each(whole),
        Value::Number(number) => {
            // No bound is near the limits of an i64.
            let digits = number.to_string();
            if let Some(Ok(integer)) = digits.strip_suffix(".0").map(str::parse::<i64>) {
                *value = integer.into();
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `UPDATE_EXPECT=1 cargo test the_checked_in_definition` writes it anew.
    #[test]
    fn the_checked_in_definition_is_the_printed_one() {
        expect_test::expect_file!["../../deploy/crds/inferenceendpoints.yaml"].assert_eq(&text());
    }
}
