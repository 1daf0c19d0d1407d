//! Keys that stand in files, in clear text, and a new one in the place of an old one.
//!
//! Only the bytes of the one value change. Whether that was so is not believed but checked: the new
//! text is read again, and has to be the old tree with that one value replaced.

use std::{
    fs::{self, Permissions},
    io::Write as _,
    os::unix::fs::{MetadataExt as _, chown},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use saphyr_parser::{Event, Parser, ScalarStyle};

use super::{
    Policy,
    load::{self, load},
    path::FieldPath,
    problem::{Mark, quoted},
    secrets::{DEFAULT_NAMESPACE, field_of_node},
    tree::{self, Node, Value, mark_of},
    types,
};
use crate::domain::{ClearKeys, ClearText, CredentialError, KeySlot, Name};

/// A Secret document of a file.
struct Found {
    /// Index of the file among the texts.
    file: usize,
    /// Index of the document within the file.
    document: usize,
    root: Node,
}

/// The texts of files.
type Sources = Vec<(PathBuf, String)>;

/// Where the text of a scalar begins, and how it is written there.
struct Written {
    mark: Mark,
    style: ScalarStyle,
    is_plain_form: bool,
}

/// The keys of an endpoint as they stand in the files; `None`: its file names no Secret.
pub fn keys_in_files(
    files: &[PathBuf],
    endpoint: &Name,
) -> Result<Option<ClearKeys>, CredentialError> {
    let sources = read(files)?;
    let Some(found) = find(&sources, endpoint)? else { return Ok(None) };
    clear_keys(&found.root).map(Some)
}

/// Writes a new key into the file that holds it. The file is replaced as a whole and keeps its mode
/// and owner. Nothing is written when the files with the new key would not be good (`policy`).
pub fn replace_key(
    files: &[PathBuf],
    endpoint: &Name,
    slot: KeySlot,
    new: &ClearText,
    policy: Policy,
) -> Result<ClearKeys, CredentialError> {
    let sources = read(files)?;
    let found = find(&sources, endpoint)?;
    let found = found.ok_or_else(|| refused("the endpoint names no Secret in the files"))?;
    let (file, old) = sources.get(found.file).ok_or_else(|| refused("the file is gone"))?;
    let text = replaced(old, &found, slot, new).map_err(|why| {
        let file = file.display();
        refused(format!("{} in {file} {why}; change it there by hand", slot.field()))
    })?;
    let mut edited = sources.clone();
    if let Some((_, place)) = edited.get_mut(found.file) {
        place.clone_from(&text);
    }
    if let Err(problems) = load(&edited, policy) {
        let first = problems.first().map(ToString::to_string).unwrap_or_default();
        return Err(refused(format!(
            "the endpoint files have problems, so a new key would not come into force; correct them \
             first: {first}"
        )));
    }
    write(file, old, &text).map_err(|why| {
        refused(format!(
            "{} cannot be written: {why}; change the key there by hand",
            file.display()
        ))
    })?;
    keys_in_files(files, endpoint)?.ok_or_else(|| refused("the Secret is gone"))
}

fn refused(why: impl Into<String>) -> CredentialError {
    CredentialError::Refused(why.into())
}

fn read(files: &[PathBuf]) -> Result<Sources, CredentialError> {
    let read = |file: &PathBuf| match load::read(file) {
        Ok(text) => Ok((file.clone(), text)),
        Err(why) => Err(refused(format!("{} {why}", file.display()))),
    };
    files.iter().map(read).collect()
}

/// The Secret that an endpoint names; `None` when it names none.
fn find(sources: &Sources, endpoint: &Name) -> Result<Option<Found>, CredentialError> {
    let mut found = Vec::new();
    for (file, (_, text)) in sources.iter().enumerate() {
        let documents = tree::parse(text).documents.into_iter().enumerate();
        found.extend(documents.map(|(document, root)| Found { file, document, root }));
    }
    let of_kind = |root: &Node, kind| text_at(root, &["kind"]) == Some(kind);
    let is_endpoint = |found: &&Found| {
        of_kind(&found.root, types::KIND)
            && text_at(&found.root, &["metadata", "name"]) == Some(endpoint.as_str())
    };
    let Some(object) = found.iter().find(is_endpoint) else {
        return Err(CredentialError::UnknownEndpoint(endpoint.to_string()));
    };
    let Some(secret) = text_at(&object.root, &["spec", "auth", "secretRef", "name"]) else {
        return Ok(None);
    };
    let (namespace, secret) = (namespace_of(&object.root).to_owned(), secret.to_owned());
    let is_secret = |found: &Found| {
        of_kind(&found.root, "Secret")
            && text_at(&found.root, &["metadata", "name"]) == Some(&secret)
            && namespace_of(&found.root) == namespace
    };
    let missing =
        || refused(format!("the Secret {} is not in the files any more", quoted(&secret)));
    found.into_iter().find(is_secret).map(Some).ok_or_else(missing)
}

fn namespace_of(root: &Node) -> &str {
    text_at(root, &["metadata", "namespace"]).unwrap_or(DEFAULT_NAMESPACE)
}

fn text_at<'a>(root: &'a Node, keys: &[&str]) -> Option<&'a str> {
    keys.iter().try_fold(root, |node, key| node.get(key))?.text()
}

fn clear_keys(secret: &Node) -> Result<ClearKeys, CredentialError> {
    let key = |slot: KeySlot| -> Result<Option<ClearText>, CredentialError> {
        let field = field_of_node(secret, slot.field());
        let Some(text) = text_at(secret, &[field, slot.field()]) else { return Ok(None) };
        if field == "stringData" {
            return Ok(Some(ClearText::new(text)));
        }
        let packed: String = text.split_ascii_whitespace().collect();
        let bytes = STANDARD.decode(packed).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let bytes = bytes.ok_or_else(|| refused(format!("{} is not base64", slot.field())))?;
        Ok(Some(ClearText::new(bytes)))
    };
    let primary = key(KeySlot::Primary)?;
    let primary = primary.ok_or_else(|| refused("the Secret has no primaryKey any more"))?;
    Ok(ClearKeys { primary, secondary: key(KeySlot::Secondary)? })
}

/// The text with one value replaced, or why that cannot be done safely. Never holds a value.
fn replaced(
    text: &str,
    found: &Found,
    slot: KeySlot,
    new: &ClearText,
) -> Result<String, &'static str> {
    let field = field_of_node(&found.root, slot.field());
    let old = text_at(&found.root, &[field, slot.field()]).ok_or("is not there")?;
    let written = locate(text, found.document, [field, slot.field()])
        .ok_or("is written in a way that is not understood (an alias?)")?;
    if !written.is_plain_form {
        return Err("has a tag or an anchor");
    }
    let old_source = match written.style {
        ScalarStyle::Plain => old.to_owned(),
        ScalarStyle::SingleQuoted => format!("'{}'", old.replace('\'', "''")),
        ScalarStyle::DoubleQuoted => format!("\"{old}\""),
        ScalarStyle::Literal | ScalarStyle::Folded => return Err("is a block of lines"),
    };
    let start = offset(text, written.mark).ok_or("stands in a line that is not understood")?;
    let (before, rest) = text.split_at_checked(start).ok_or("stands beyond the end")?;
    let after = rest.strip_prefix(&old_source).ok_or("is written with escapes or over lines")?;
    let value = match field {
        "stringData" => new.reveal().to_owned(),
        _ => STANDARD.encode(new.reveal()),
    };
    let same_style = match written.style {
        ScalarStyle::Plain => value.clone(),
        ScalarStyle::SingleQuoted => format!("'{value}'"),
        _ => format!("\"{value}\""),
    };
    // A plain word may read as a number; in quotes it never does.
    let candidates = [same_style, format!("\"{value}\"")];
    let mut texts = candidates.iter().map(|source| format!("{before}{source}{after}"));
    texts
        .find(|new_text| {
            differs_only_at(text, new_text, found.document, &[field, slot.field()], &value)
        })
        .ok_or("shares its value with another field (an alias?)")
}

/// Whether the documents of the new text are those of the old one, but for this one value.
fn differs_only_at(old: &str, new: &str, document: usize, path: &[&str], value: &str) -> bool {
    let (mut old, new) = (tree::parse(old), tree::parse(new));
    let place = old.documents.get_mut(document);
    let Some(place) = place.and_then(|root| root.at_mut(&FieldPath::keys(path))) else {
        return false;
    };
    place.value = Value::Text(value.to_owned());
    let plain = |documents: Vec<Node>| documents.into_iter().map(Node::into_json).collect();
    let (old, new): (Vec<serde_json::Value>, Vec<_>) = (plain(old.documents), plain(new.documents));
    old == new
}

/// The byte where a line and column of the parser is.
fn offset(text: &str, mark: Mark) -> Option<usize> {
    let lines = text.split_inclusive('\n');
    let start: usize = lines.clone().take(mark.line.checked_sub(1)?).map(str::len).sum();
    let line = lines.clone().nth(mark.line.checked_sub(1)?)?;
    // The parser does not count the mark of the byte order.
    let skipped =
        if mark.line == 1 { line.len() - line.trim_start_matches('\u{feff}').len() } else { 0 };
    let within = line.get(skipped..)?.char_indices().nth(mark.column.checked_sub(1)?)?.0;
    Some(start + skipped + within)
}

/// The scalar at a path of two keys, by the events of the parser.
fn locate(text: &str, document: usize, path: [&str; 2]) -> Option<Written> {
    let mut current: Option<usize> = None;
    // One level for each open list or mapping: the key it stands at, `None` before a key and in lists.
    let mut levels: Vec<Option<String>> = Vec::new();
    let mut is_list: Vec<bool> = Vec::new();
    for event in Parser::new_from_str(text.trim_start_matches('\u{feff}')) {
        let (event, span) = event.ok()?;
        let is_key = is_list.last() == Some(&false) && levels.last() == Some(&None);
        match event {
            Event::DocumentStart(_) => current = Some(current.map_or(0, |number| number + 1)),
            Event::MappingStart(..) | Event::SequenceStart(..) => {
                is_list.push(matches!(event, Event::SequenceStart(..)));
                levels.push(None);
            }
            Event::MappingEnd | Event::SequenceEnd => {
                is_list.pop();
                levels.pop();
                end_value(&mut levels);
            }
            Event::Scalar(key, ..) if is_key => {
                *levels.last_mut()? = Some(key.into_owned());
            }
            Event::Scalar(_, style, anchor, tag) => {
                let here = levels.iter().map(Option::as_deref);
                if current == Some(document) && here.eq(path.map(Some)) {
                    let is_plain_form = anchor == 0 && tag.is_none();
                    return Some(Written { mark: mark_of(&span.start), style, is_plain_form });
                }
                end_value(&mut levels);
            }
            Event::Alias(_) => end_value(&mut levels),
            _ => {}
        }
    }
    None
}

/// The value of the innermost key is complete; the next scalar of its mapping is a key again.
fn end_value(levels: &mut [Option<String>]) {
    if let Some(level) = levels.last_mut() {
        *level = None;
    }
}

/// Puts a new file in the place of the old one, unless that has changed meanwhile.
fn write(file: &Path, old: &str, new: &str) -> Result<(), String> {
    let words = |error: std::io::Error| error.to_string();
    // The file itself, not the link to it.
    let file = fs::canonicalize(file).map_err(words)?;
    let folder = file.parent().ok_or("it has no folder")?;
    let metadata = fs::metadata(&file).map_err(words)?;
    let mut made =
        tempfile::Builder::new().prefix(".modelway-").tempfile_in(folder).map_err(words)?;
    made.write_all(new.as_bytes()).map_err(words)?;
    let own = made.as_file().metadata().map_err(words)?;
    if (own.uid(), own.gid()) != (metadata.uid(), metadata.gid()) {
        chown(made.path(), Some(metadata.uid()), Some(metadata.gid()))
            .map_err(|error| format!("its owner cannot be kept ({error})"))?;
    }
    let mode: Permissions = metadata.permissions();
    made.as_file().set_permissions(mode).map_err(words)?;
    made.as_file().sync_all().map_err(words)?;
    if load::read(&file)? != old {
        return Err("it has just been changed by somebody else".to_owned());
    }
    made.persist(&file).map_err(|error| error.error.to_string())?;
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(words)
}
