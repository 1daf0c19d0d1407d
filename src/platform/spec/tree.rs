//! YAML text as a tree in which every value knows its place.
//!
//! Built from the parser's events and not by a ready loader, because loaders forget duplicate keys
//! and copy aliases without a bound.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::{
    path::{FieldPath, Segment},
    problem::{Mark, PROBLEMS_MAX},
    scalar,
};

/// The most documents in one file: far more endpoints than one router serves.
pub(super) const DOCUMENTS_MAX: usize = 1000;
/// The deepest nesting: an endpoint has six levels; the rest is room for `status`. Low enough that
/// recursion over a tree cannot exhaust a stack.
pub(super) const DEPTH_MAX: usize = 32;
/// The most that one file may hold once aliases are written out, in bytes of text plus
/// [`NODE_WEIGHT`] per value: bounds memory and time whatever aliases multiply to.
const WEIGHT_MAX: usize = 4 * 1024 * 1024;
/// What a value weighs beside its text.
const NODE_WEIGHT: usize = 16;

/// A value and its place. No `Debug`: it may hold a Secret.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) mark: Mark,
    pub(super) value: Value,
}

/// What a node holds.
#[derive(Clone)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// Stands for a value that is missing or was reported as wrong, so that the rest of the
    /// document can still be read: becomes whatever is asked for.
    Placeholder,
}

/// One key of a mapping with its value.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) mark: Mark,
    pub(super) node: Node,
}

/// Something that is wrong with the text before any meaning is looked for.
pub(super) struct TextFault {
    pub(super) mark: Mark,
    pub(super) path: FieldPath,
    pub(super) message: String,
}

/// The documents of a text up to its first fatal fault, and all faults.
pub(super) struct Parsed {
    pub(super) documents: Vec<Node>,
    pub(super) faults: Vec<TextFault>,
}

/// Reads all documents of a text. Time and memory are bounded by the length of the text and
/// [`WEIGHT_MAX`].
pub(super) fn parse(text: &str) -> Parsed {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text.trim_start_matches('\u{feff}')) {
        let step = match event {
            Ok((event, span)) => builder.event(event, mark_of(&span.start)),
            // The parser's own words: they name what it expected, never a value of the text.
            Err(e) => Err((mark_of(e.marker()), format!("invalid YAML: {}", e.info()))),
        };
        if let Err((mark, message)) = step {
            // After such a fault the path would be a guess; line and column are sure.
            let path = FieldPath::default();
            builder.faults.push(TextFault { mark, path, message });
            break;
        }
    }
    Parsed { documents: builder.documents, faults: builder.faults }
}

impl Node {
    /// The value of a key, if this is a mapping that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// As a plain value, without places. A placeholder, which only repaired trees have, is null.
    pub(super) fn into_json(self) -> serde_json::Value {
        match self.value {
            Value::Null | Value::Placeholder => serde_json::Value::Null,
            Value::Bool(value) => value.into(),
            Value::Integer(value) => value.into(),
            Value::Float(value) => value.into(),
            Value::Text(text) => text.into(),
            Value::List(items) => items.into_iter().map(Self::into_json).collect(),
            Value::Map(entries) => entries
                .into_iter()
                .map(|entry| (entry.key, entry.node.into_json()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }

    /// The text, if this is one.
    pub(super) fn text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value { Some(text) } else { None }
    }

    /// The place of the field: of its value, or of the nearest parent that exists.
    pub(super) fn mark_at(&self, path: &FieldPath) -> Mark {
        let mut node = self;
        for segment in path.segments() {
            match node.child(segment) {
                Some(child) => node = child,
                None => break,
            }
        }
        node.mark
    }

    /// The value at a path.
    pub(super) fn at_mut(&mut self, path: &FieldPath) -> Option<&mut Self> {
        path.segments().iter().try_fold(self, |node, segment| match (&mut node.value, segment) {
            (Value::Map(entries), Segment::Key(key)) => {
                entries.iter_mut().find(|e| *e.key == **key).map(|e| &mut e.node)
            }
            (Value::List(items), Segment::Index(index)) => items.get_mut(*index),
            _ => None,
        })
    }

    /// The entry of a key, if this is a mapping that has it.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    fn child(&self, segment: &Segment) -> Option<&Self> {
        match (&self.value, segment) {
            (_, Segment::Key(key)) => self.get(key),
            (Value::List(items), Segment::Index(index)) => items.get(*index),
            _ => None,
        }
    }

    /// Weight and depth of this node with everything in it.
    fn measure(&self) -> (usize, usize) {
        let add = |(weight, depth): (usize, usize), (w, d): (usize, usize)| {
            (weight + w, depth.max(d + 1))
        };
        match &self.value {
            Value::Text(text) => (NODE_WEIGHT + text.len(), 0),
            Value::List(items) => items.iter().map(Self::measure).fold((NODE_WEIGHT, 1), add),
            Value::Map(entries) => entries
                .iter()
                .map(|entry| {
                    let (weight, depth) = entry.node.measure();
                    (weight + entry.key.len(), depth)
                })
                .fold((NODE_WEIGHT, 1), add),
            _ => (NODE_WEIGHT, 0),
        }
    }
}

/// A list or mapping that has begun and not ended.
struct Frame {
    node: Node,
    anchor: usize,
    /// The places of the keys so far; duplicates are looked up here, as a scan of the entries would
    /// take quadratic time.
    keys: HashMap<String, Mark>,
    /// A key whose value is still to come.
    pending: Option<(String, Mark)>,
    /// Whether that key was there before, so that its value is dropped.
    is_duplicate: bool,
}

/// Why reading ends here.
type Stop = (Mark, String);

#[derive(Default)]
struct Builder {
    documents: Vec<Node>,
    faults: Vec<TextFault>,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Node>,
    weight: usize,
}

impl Builder {
    fn event(&mut self, event: Event<'_>, mark: Mark) -> Result<(), Stop> {
        match event {
            Event::DocumentStart(_) if self.documents.len() >= DOCUMENTS_MAX => {
                Err((mark, format!("more than {DOCUMENTS_MAX} documents; split the file")))
            }
            Event::SequenceStart(anchor, tag) => {
                self.open(Value::List(Vec::new()), anchor, tag.as_deref(), mark)
            }
            Event::MappingStart(anchor, tag) => {
                self.open(Value::Map(Vec::new()), anchor, tag.as_deref(), mark)
            }
            Event::SequenceEnd | Event::MappingEnd => match self.stack.pop() {
                Some(frame) => self.insert(frame.node, frame.anchor),
                None => Ok(()),
            },
            Event::Scalar(text, style, anchor, tag) => {
                self.scalar(text.into_owned(), style, anchor, tag.as_deref(), mark)
            }
            Event::Alias(anchor) => self.alias(anchor, mark),
            _ => Ok(()),
        }
    }

    fn scalar(
        &mut self,
        text: String,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        mark: Mark,
    ) -> Result<(), Stop> {
        self.weigh(NODE_WEIGHT + text.len(), mark)?;
        if self.expects_key() {
            return self.key(text, mark);
        }
        let value = scalar::resolve(text, style, tag).map_err(|message| (mark, message))?;
        self.insert(Node { mark, value }, anchor)
    }

    fn open(
        &mut self,
        value: Value,
        anchor: usize,
        tag: Option<&Tag>,
        mark: Mark,
    ) -> Result<(), Stop> {
        if self.expects_key() {
            return Err((mark, "a key must be a plain text, not a list or a mapping".to_owned()));
        }
        if self.stack.len() >= DEPTH_MAX {
            return Err((mark, too_deep()));
        }
        scalar::check_collection_tag(tag).map_err(|message| (mark, message))?;
        self.weigh(NODE_WEIGHT, mark)?;
        self.stack.push(Frame {
            node: Node { mark, value },
            anchor,
            keys: HashMap::new(),
            pending: None,
            is_duplicate: false,
        });
        Ok(())
    }

    fn alias(&mut self, anchor: usize, mark: Mark) -> Result<(), Stop> {
        if self.expects_key() {
            return Err((mark, "a key must be a plain text, not an alias".to_owned()));
        }
        let Some(node) = self.anchors.get(&anchor) else {
            return Err((mark, "the alias names no complete value of this document".to_owned()));
        };
        let (weight, depth) = node.measure();
        if self.stack.len() + depth > DEPTH_MAX {
            return Err((mark, too_deep()));
        }
        let node = Node { mark, value: node.value.clone() };
        self.weigh(weight, mark)?;
        self.insert(node, 0)
    }

    /// Takes a key of the innermost mapping. Of two equal keys the first counts.
    fn key(&mut self, key: String, mark: Mark) -> Result<(), Stop> {
        let path = self.path().key(&key);
        let Some(frame) = self.stack.last_mut() else { return Ok(()) };
        frame.is_duplicate = false;
        if let Some(first) = frame.keys.get(&key) {
            let message = format!("is given twice, first at {first}; remove one of the two");
            self.faults.push(TextFault { mark, path, message });
            frame.is_duplicate = true;
        } else {
            frame.keys.insert(key.clone(), mark);
        }
        frame.pending = Some((key, mark));
        if self.faults.len() > PROBLEMS_MAX {
            return Err((mark, "too many keys are given twice".to_owned()));
        }
        Ok(())
    }

    /// Puts a complete value where it belongs.
    fn insert(&mut self, node: Node, anchor: usize) -> Result<(), Stop> {
        if anchor > 0 {
            self.weigh(node.measure().0, node.mark)?;
            self.anchors.insert(anchor, node.clone());
        }
        let Some(frame) = self.stack.last_mut() else {
            self.anchors.clear();
            self.documents.push(node);
            return Ok(());
        };
        match &mut frame.node.value {
            Value::List(items) => items.push(node),
            Value::Map(entries) => {
                if let Some((key, mark)) = frame.pending.take()
                    && !frame.is_duplicate
                {
                    entries.push(Entry { key, mark, node });
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn weigh(&mut self, weight: usize, mark: Mark) -> Result<(), Stop> {
        self.weight += weight;
        if self.weight > WEIGHT_MAX {
            return Err((mark, "the file holds too much, aliases included; split it".to_owned()));
        }
        Ok(())
    }

    fn expects_key(&self) -> bool {
        self.stack.last().is_some_and(|frame| {
            matches!(frame.node.value, Value::Map(_)) && frame.pending.is_none()
        })
    }

    /// Where the next event stands.
    fn path(&self) -> FieldPath {
        self.stack.iter().fold(FieldPath::default(), |path, frame| {
            match (&frame.node.value, &frame.pending) {
                (Value::List(items), _) => path.index(items.len()),
                (_, Some((key, _))) => path.key(key),
                _ => path,
            }
        })
    }
}

fn too_deep() -> String {
    format!("nested deeper than {DEPTH_MAX} levels; no field of an endpoint is that deep")
}

/// The parser counts lines from 1 and columns from 0.
pub(super) fn mark_of(marker: &Marker) -> Mark {
    Mark { line: marker.line(), column: marker.col() + 1 }
}
