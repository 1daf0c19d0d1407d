//! The fields of a document, taken out one by one, so that what nobody took can be named.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

/// What there is to say of the input, in the order in which it was noticed.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) lines: Vec<String>,
}

impl Notes {
    /// `place: path: message`; an empty path is left out.
    pub(super) fn say(&mut self, place: &str, path: &str, message: &str) {
        let path = if path.is_empty() { String::new() } else { format!("{path}: ") };
        self.line(format!("{place}: {path}{message}"));
    }

    pub(super) fn line(&mut self, line: String) {
        self.lines.push(line);
    }
}

/// A mapping somewhere in a document.
#[derive(Debug)]
pub(super) struct Fields {
    place: String,
    /// Where it stands in the document; empty at the root.
    path: String,
    left: Map<String, Value>,
}

impl Fields {
    /// A whole document; `None` when it is no mapping.
    pub(super) fn document(place: &str, document: Value) -> Option<Self> {
        let Value::Object(fields) = document else { return None };
        Some(Self { place: place.to_owned(), path: String::new(), left: fields })
    }

    pub(super) fn has(&self, field: &str) -> bool {
        self.left.contains_key(field)
    }

    pub(super) fn is_mapping(&self, field: &str) -> bool {
        self.left.get(field).is_some_and(Value::is_object)
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.left.keys().cloned().collect()
    }

    /// Something to say of a field.
    pub(super) fn say(&self, notes: &mut Notes, field: &str, message: &str) {
        notes.say(&self.place, &self.path_of(field), message);
    }

    pub(super) fn take(&mut self, field: &str) -> Option<Value> {
        self.left.remove(field).filter(|value| !value.is_null())
    }

    pub(super) fn text(&mut self, notes: &mut Notes, field: &str) -> Option<String> {
        match self.take(field)? {
            Value::String(text) => Some(text),
            other => {
                self.say(notes, field, &format!("must be a text, not {other}; left out"));
                None
            }
        }
    }

    /// An integer, moved to the nearest bound with a note when it is beyond.
    pub(super) fn integer(
        &mut self,
        notes: &mut Notes,
        field: &str,
        bounds: &RangeInclusive<i64>,
    ) -> Option<i64> {
        let value = self.take(field)?;
        let Some(integer) = value.as_i64() else {
            self.say(notes, field, &format!("must be an integer, not {value}; left out"));
            return None;
        };
        let (low, high) = (*bounds.start(), *bounds.end());
        let nearest = integer.clamp(low, high);
        if nearest != integer {
            let message =
                format!("{integer} is not within {low} to {high}; {nearest} is written instead");
            self.say(notes, field, &message);
        }
        Some(nearest)
    }

    /// A mapping below; an empty one when it is not there.
    pub(super) fn below(&mut self, notes: &mut Notes, field: &str) -> Self {
        let left = match self.take(field) {
            Some(Value::Object(fields)) => fields,
            Some(other) => {
                self.say(notes, field, &format!("must be a mapping, not {other}; left out"));
                Map::new()
            }
            None => Map::new(),
        };
        Self { place: self.place.clone(), path: self.path_of(field), left }
    }

    /// What is left, with its names.
    pub(super) fn into_rest(self) -> Map<String, Value> {
        self.left
    }

    /// Says of every field that is left why it is not in the output: these have no counterpart, and
    /// others are not known at all.
    pub(super) fn finish(self, notes: &mut Notes, elsewhere: &[(&str, &str)]) {
        for field in self.left.keys() {
            match elsewhere.iter().find(|(known, _)| known == field) {
                Some((_, "")) => {}
                Some((_, why)) => self.say(notes, field, why),
                None => self.say(notes, field, "unknown field; left out"),
            }
        }
    }

    fn path_of(&self, field: &str) -> String {
        if self.path.is_empty() { field.to_owned() } else { format!("{}.{field}", self.path) }
    }
}
