//! What serde reports when a tree does not fit a type, kept as data and in our own words.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use super::{decode::unknown_word, path::Segment};

/// Why a tree does not fit a type, and where.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) kind: FaultKind,
    /// From the leaf to the root: each level adds its own step as the error travels up.
    pub(super) steps: Vec<Segment>,
}

/// Why a tree does not fit a type.
#[derive(Debug)]
pub(super) enum FaultKind {
    /// A field that the type does not have.
    UnknownField { field: String, known: &'static [&'static str] },
    /// A field that the type needs.
    Missing(&'static str),
    /// A value of the wrong type or without meaning.
    Wrong(String),
}

impl Fault {
    /// A value of the wrong type or without meaning.
    pub(super) fn wrong(message: impl Into<String>) -> Self {
        FaultKind::Wrong(message.into()).into()
    }

    /// The same fault, one level up.
    pub(super) fn within(mut self, step: Segment) -> Self {
        self.steps.push(step);
        self
    }
}

impl From<FaultKind> for Fault {
    fn from(kind: FaultKind) -> Self {
        Self { kind, steps: Vec::new() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.kind, f)
    }
}

impl std::error::Error for Fault {}

/// Values are never repeated here: they may be Secrets.
impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::wrong(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = expected.to_string();
        let hint = match (expected.as_str(), &found) {
            (_, Unexpected::Unit | Unexpected::Option) => "; give a value or remove the field",
            (
                "a string",
                Unexpected::Bool(_)
                | Unexpected::Signed(_)
                | Unexpected::Unsigned(_)
                | Unexpected::Float(_),
            ) => "; write it in quotes",
            _ => "",
        };
        Self::wrong(format!("must be {}, not {}{hint}", in_words(&expected), kind_of(&found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        Self::wrong(unknown_word(variant, known))
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        FaultKind::UnknownField { field: field.to_owned(), known }.into()
    }

    fn missing_field(field: &'static str) -> Self {
        FaultKind::Missing(field).into()
    }
}

/// What serde expects, in the words of people who write YAML.
fn in_words(expected: &str) -> &str {
    match expected {
        "i64" => "an integer",
        "a boolean" => "`true` or `false`",
        "a sequence" => "a list",
        "a map" => "a mapping",
        _ if expected.starts_with("struct ") => "a mapping",
        _ => expected,
    }
}

fn kind_of(found: &Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Signed(_) | Unexpected::Unsigned(_) => "an integer",
        Unexpected::Float(_) => "a number with a fraction or beyond 64 bits",
        Unexpected::Str(_) | Unexpected::Char(_) => "a text",
        Unexpected::Seq => "a list",
        Unexpected::Map => "a mapping",
        Unexpected::Unit | Unexpected::Option => "empty",
        _ => "something else",
    }
}
