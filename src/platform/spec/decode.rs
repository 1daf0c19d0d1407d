//! From a tree to a raw type, with every structural problem and not only the first.
//!
//! serde stops at its first error. So the error is noted, the tree is repaired there — an unknown
//! or wrong field is removed, a missing one gets a placeholder — and the type is read again.

use serde::de::DeserializeOwned;

use super::{
    fault::{Fault, FaultKind},
    path::{FieldPath, Segment},
    problem::{Mark, closest, listed, quoted},
    tree::{Entry, Node, Value},
};

/// How often one document is repaired. More than a document has fields; a hostile one with more
/// unknown fields than that is told to fix the first ones first.
const REPAIRS_MAX: usize = 300;

/// A document as far as it could be read.
pub(super) struct Decoded<T> {
    /// The value; where the document was wrong it holds defaults and placeholders. `None` when it
    /// is wrong beyond that.
    pub(super) value: Option<T>,
    /// The problems.
    pub(super) findings: Vec<Finding>,
    /// The fields whose values are not what the author meant: rules are silent about them.
    pub(super) broken: Vec<FieldPath>,
}

/// A structural problem.
pub(super) struct Finding {
    pub(super) mark: Mark,
    pub(super) path: FieldPath,
    pub(super) message: String,
}

/// Reads a document as `T`.
pub(super) fn decode<T: DeserializeOwned>(root: &Node) -> Decoded<T> {
    let mut repair = Repair { root: root.clone(), findings: Vec::new(), broken: Vec::new() };
    for _ in 0..REPAIRS_MAX {
        match T::deserialize(&repair.root) {
            Ok(value) => {
                let Repair { findings, broken, .. } = repair;
                return Decoded { value: Some(value), findings, broken };
            }
            Err(fault) => {
                if !repair.apply(fault) {
                    break;
                }
            }
        }
    }
    Decoded { value: None, findings: repair.findings, broken: repair.broken }
}

struct Repair {
    root: Node,
    findings: Vec<Finding>,
    broken: Vec<FieldPath>,
}

impl Repair {
    /// Notes the fault and repairs the tree. `false`: it cannot be repaired.
    fn apply(&mut self, fault: Fault) -> bool {
        let path = FieldPath::from_leaf(fault.steps);
        match fault.kind {
            FaultKind::UnknownField { field, known } => self.unknown(&path, &field, known),
            FaultKind::Missing(field) => self.missing(&path, field),
            FaultKind::Wrong(message) => self.wrong(path, message),
        }
    }

    fn unknown(&mut self, parent: &FieldPath, field: &str, known: &[&str]) -> bool {
        let Some(Node { value: Value::Map(entries), .. }) = self.root.at_mut(parent) else {
            return false;
        };
        let Some(index) = entries.iter().position(|entry| entry.key == field) else {
            return false;
        };
        let Entry { mark, .. } = entries.remove(index);
        let meant = closest(field, known);
        let message = match meant {
            _ if field == "<<" => "merge keys are not supported; write the fields out".to_owned(),
            Some(meant) => format!("unknown field; did you mean `{meant}`?"),
            None if known.is_empty() => "unknown field; nothing belongs here, remove it".to_owned(),
            None => format!("unknown field; known here: {}", listed(known)),
        };
        // The field that was meant is broken too: its default is not what the author wanted.
        self.broken.extend(meant.map(|meant| parent.key(meant)));
        self.findings.push(Finding { mark, path: parent.key(field), message });
        true
    }

    fn missing(&mut self, parent: &FieldPath, field: &'static str) -> bool {
        let path = parent.key(field);
        let mark = self.root.mark_at(parent);
        let Some(node) = self.root.at_mut(parent) else { return false };
        if matches!(node.value, Value::Null | Value::Placeholder) {
            node.value = Value::Map(Vec::new());
        }
        let Value::Map(entries) = &mut node.value else { return false };
        let placeholder = Node { mark, value: Value::Placeholder };
        entries.push(Entry { key: field.to_owned(), mark, node: placeholder });
        if !self.is_broken(&path) {
            let message = "is required; add it".to_owned();
            self.findings.push(Finding { mark, path: path.clone(), message });
            self.broken.push(path);
        }
        true
    }

    fn wrong(&mut self, path: FieldPath, message: String) -> bool {
        let mark = self.root.mark_at(&path);
        let is_placeholder =
            self.root.at_mut(&path).is_none_or(|node| matches!(node.value, Value::Placeholder));
        let split = path.split_last().map(|(parent, last)| (parent, last.clone()));
        let repaired = match split {
            _ if is_placeholder => return false,
            None => false,
            // A list keeps its length, so that later indexes are those of the file.
            Some((_, Segment::Index(_))) => {
                self.root.at_mut(&path).map(|node| node.value = Value::Placeholder).is_some()
            }
            Some((parent, Segment::Key(key))) => match self.root.at_mut(&parent) {
                Some(Node { value: Value::Map(entries), .. }) => {
                    entries.retain(|entry| *entry.key != *key);
                    true
                }
                _ => false,
            },
        };
        self.findings.push(Finding { mark, path: path.clone(), message });
        self.broken.push(path);
        repaired
    }

    fn is_broken(&self, path: &FieldPath) -> bool {
        self.broken.iter().any(|broken| path.starts_with(broken))
    }
}

/// What a message says of a word that is not one of the known ones.
pub(super) fn unknown_word(word: &str, known: &[&str]) -> String {
    match closest(word, known) {
        Some(meant) => format!("{} is not known; did you mean `{meant}`?", quoted(word)),
        None => format!("{} is not known; use one of {}", quoted(word), listed(known)),
    }
}
