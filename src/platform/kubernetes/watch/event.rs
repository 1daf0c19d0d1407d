//! One line of a watch, and one object of a LIST, also when they are not quite as they should be.

use std::sync::Arc;

use kube::core::Status;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    super::objects::{Object, ObjectKey},
    fault::{Fault, place},
};

/// What a line of a watch says.
#[derive(Debug)]
pub(super) enum Event<T> {
    Changed(T),
    Gone(T),
    /// All is as it was, up to this version.
    Bookmark(String),
    /// The API server gives the watch up.
    Error(Status),
    /// An object that cannot be read.
    Unread(Unread),
}

/// What can be said of an object that cannot be read.
#[derive(Debug)]
pub(super) struct Unread {
    pub(super) key: ObjectKey,
    pub(super) resource_version: String,
    pub(super) why: String,
}

#[derive(Deserialize)]
#[serde(tag = "type", content = "object", rename_all = "UPPERCASE")]
enum Line<T> {
    Added(T),
    Modified(T),
    Deleted(T),
    Bookmark(Bare),
    Error(Status),
}

#[derive(Deserialize)]
struct Bare {
    metadata: BareMeta,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct BareMeta {
    name: String,
    namespace: String,
    resource_version: String,
}

/// The metadata of a list.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ListMeta {
    pub(super) resource_version: String,
    /// Not empty when this is only a page of the list.
    pub(super) r#continue: String,
}

/// Reads a line of a watch. An error means that the line is none.
pub(super) fn read_line<T: Object>(line: &[u8]) -> Result<Event<T>, Fault> {
    match serde_json::from_slice::<Line<T>>(line) {
        Ok(Line::Added(object) | Line::Modified(object)) => Ok(Event::Changed(object)),
        Ok(Line::Deleted(object)) => Ok(Event::Gone(object)),
        Ok(Line::Bookmark(bare)) => Ok(Event::Bookmark(bare.metadata.resource_version)),
        Ok(Line::Error(status)) => Ok(Event::Error(status)),
        Err(error) => read_odd_line(line, &error),
    }
}

/// Reads an object of a LIST; what is known of it if it cannot be read.
pub(super) fn read_object<T: Object>(object: &[u8]) -> Result<T, Unread> {
    serde_json::from_slice(object).map_err(|error| {
        let bare = serde_json::from_slice::<Bare>(object);
        unread(bare.map(|bare| bare.metadata).unwrap_or_default(), &error)
    })
}

/// Reads the metadata of a list.
pub(super) fn read_list_meta(metadata: &[u8]) -> Result<ListMeta, Fault> {
    serde_json::from_slice(metadata)
        .map_err(|error| Fault::Garbled(format!("the list's metadata: {}", place(&error))))
}

fn read_odd_line<T: Object>(line: &[u8], why: &serde_json::Error) -> Result<Event<T>, Fault> {
    let odd: Line<Value> = serde_json::from_slice(line)
        .map_err(|error| Fault::Garbled(format!("a line of the watch: {}", place(&error))))?;
    let (is_gone, object) = match odd {
        Line::Deleted(object) => (true, object),
        Line::Added(object) | Line::Modified(object) => (false, object),
        Line::Bookmark(_) | Line::Error(_) => {
            return Err(Fault::Garbled(format!("a line of the watch: {}", place(why))));
        }
    };
    let metadata = object.get("metadata").cloned().unwrap_or_default();
    // That it is gone is what matters; the rest of it may be odd.
    if is_gone && let Some(object) = from_value(serde_json::json!({ "metadata": &metadata })) {
        return Ok(Event::Gone(object));
    }
    Ok(Event::Unread(unread(from_value(metadata).unwrap_or_default(), why)))
}

fn from_value<T: DeserializeOwned>(value: Value) -> Option<T> {
    serde_json::from_value(value).ok()
}

fn unread(metadata: BareMeta, why: &serde_json::Error) -> Unread {
    let key =
        ObjectKey { namespace: Arc::from(metadata.namespace), name: Arc::from(metadata.name) };
    Unread { key, resource_version: metadata.resource_version, why: place(why) }
}
