//! From texts to endpoints: documents, Secrets, endpoints, in this order.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use super::{
    EndpointSpec, Policy, Problem,
    decode::{Decoded, decode, unknown_word},
    endpoint::{self, Claims},
    object,
    path::{FieldPath, Segment},
    problem::{Report, quoted},
    scope::Scope,
    secrets::Secrets,
    tree::{self, Node},
    types,
};

/// The largest file, in bytes. A thousand endpoints with six versions each fit.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;
/// The kinds of documents that a file may hold.
const KINDS: [&str; 2] = [types::KIND, "Secret"];
const SECRET_API_VERSION: &str = "v1";

/// What good files hold.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The endpoints in the order of the files.
    pub endpoints: Vec<EndpointSpec>,
    /// What is allowed but may surprise.
    pub warnings: Vec<Problem>,
}

/// Which of the two kinds a document is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Endpoint,
    Secret,
}

struct Document<'a> {
    file: &'a Path,
    kind: Kind,
    root: Node,
}

/// The endpoint of an object from the API server, or all problems of it (at most
/// [`super::PROBLEMS_MAX`]), each with its path and without a line. The rules are those of files.
///
/// That no other object has the same name or one of its hosts is for the caller to see: the names
/// are in the result's `endpoint.name` and `endpoint.hosts`, in the form in which they compare.
pub fn load_object(
    namespace: &str,
    name: &str,
    spec: &serde_json::Value,
    policy: Policy,
) -> Result<EndpointSpec, Vec<Problem>> {
    let shown = PathBuf::from(format!("{namespace}/{name}"));
    let mut report = Report::default();
    let endpoint = match object::endpoint(namespace, name, spec) {
        Ok(root) => {
            let document = Document { file: &shown, kind: Kind::Endpoint, root };
            let secrets = Secrets::new(false);
            let mut claims = Claims::default();
            with_raw(&document, policy, &mut report, |scope, raw| {
                endpoint::check(scope, raw, &secrets, &mut claims)
            })
            .flatten()
        }
        Err(message) => {
            report.file(&shown, message);
            None
        }
    };
    match endpoint {
        Some(endpoint) if report.problems.is_empty() => Ok(endpoint),
        _ => Err(report.into_problems(&[&shown])),
    }
}

/// Reads the files and [`load`]s their texts. A file that cannot be read is a problem like others,
/// and the others are still checked.
pub fn load_files(files: &[PathBuf], policy: Policy) -> Result<Loaded, Vec<Problem>> {
    let mut report = Report::default();
    let mut sources = Vec::new();
    for file in files {
        match read(file) {
            Ok(text) => sources.push((file.clone(), text)),
            Err(message) => report.file(file, message),
        }
    }
    if files.is_empty() {
        report.file(Path::new("(no file)"), "no file is given; name at least one");
    }
    let names: Vec<_> = files.iter().map(PathBuf::as_path).collect();
    load_into(&sources, &names, policy, report)
}

/// The endpoints of all texts, or all problems (at most [`super::PROBLEMS_MAX`]) in the order of
/// the files and lines. Paths are for messages and for relative working directories only; nothing
/// is read from disk.
pub fn load(sources: &[(PathBuf, String)], policy: Policy) -> Result<Loaded, Vec<Problem>> {
    let names: Vec<_> = sources.iter().map(|(file, _)| file.as_path()).collect();
    load_into(sources, &names, policy, Report::default())
}

fn load_into(
    sources: &[(PathBuf, String)],
    names: &[&Path],
    policy: Policy,
    mut report: Report,
) -> Result<Loaded, Vec<Problem>> {
    let mut documents = Vec::new();
    for (file, text) in sources {
        documents.extend(parse(file, text, &mut report));
    }
    check_presence(sources, &documents, &mut report);
    let endpoints = check(&documents, policy, &mut report);
    if report.problems.is_empty() {
        Ok(Loaded { endpoints, warnings: report.into_warnings(names) })
    } else {
        Err(report.into_problems(names))
    }
}

fn check(documents: &[Document<'_>], policy: Policy, report: &mut Report) -> Vec<EndpointSpec> {
    let of_kind = |kind| documents.iter().filter(move |document| document.kind == kind);
    let mut secrets = Secrets::new(!report.problems.is_empty());
    for document in of_kind(Kind::Secret) {
        if report.give_up_when_full() {
            break;
        }
        with_raw(document, policy, report, |scope, raw| secrets.add(scope, raw));
    }
    let mut claims = Claims::default();
    let mut endpoints = Vec::new();
    for document in of_kind(Kind::Endpoint) {
        if report.give_up_when_full() {
            break;
        }
        let checked = with_raw(document, policy, report, |scope, raw| {
            endpoint::check(scope, raw, &secrets, &mut claims)
        });
        endpoints.extend(checked.flatten());
    }
    endpoints
}

/// Decodes a document, notes its structural problems and lets the rules see what could be read.
fn with_raw<T: serde::de::DeserializeOwned, R>(
    document: &Document<'_>,
    policy: Policy,
    report: &mut Report,
    rules: impl FnOnce(&mut Scope<'_>, &T) -> R,
) -> Option<R> {
    let Decoded { value, findings, broken } = decode::<T>(&document.root);
    for finding in findings {
        report.problem(Problem {
            file: document.file.to_owned(),
            mark: finding.mark.known(),
            path: shown_path(document.kind, &finding.path),
            message: finding.message,
        });
    }
    let mut scope = Scope { file: document.file, root: &document.root, policy, broken, report };
    Some(rules(&mut scope, &value?))
}

/// Below the data of a Secret a misplaced value can look like a key, so only known keys are shown.
fn shown_path(kind: Kind, path: &FieldPath) -> String {
    match path.segments() {
        [Segment::Key(field), Segment::Key(key), ..]
            if kind == Kind::Secret
                && ["data", "stringData"].contains(&&**field)
                && !["primaryKey", "secondaryKey"].contains(&&**key) =>
        {
            format!("{field}.…")
        }
        _ => path.to_string(),
    }
}

/// The documents of a text, with its YAML problems noted.
fn parse<'a>(file: &'a Path, text: &str, report: &mut Report) -> Vec<Document<'a>> {
    if text.len() > FILE_BYTES_MAX {
        report.file(file, too_large());
        return Vec::new();
    }
    let parsed = tree::parse(text);
    for fault in parsed.faults {
        report.problem(Problem {
            file: file.to_owned(),
            mark: Some(fault.mark),
            // Without knowing the kind yet, every document may be a Secret.
            path: shown_path(Kind::Secret, &fault.path),
            message: fault.message,
        });
    }
    let documents = parsed.documents.into_iter();
    documents
        .filter(|root| !matches!(root.value, tree::Value::Null))
        .filter_map(|root| kind_of(file, &root, report).map(|kind| Document { file, kind, root }))
        .collect()
}

/// What a document is; a problem when that cannot be said.
fn kind_of(file: &Path, root: &Node, report: &mut Report) -> Option<Kind> {
    let mut problem = |mark, path: &str, message: String| {
        let (file, mark, path) = (file.to_owned(), Some(mark), path.to_owned());
        report.problem(Problem { file, mark, path, message });
    };
    if !matches!(root.value, tree::Value::Map(_)) {
        let message = "a document must be a mapping with `apiVersion` and `kind`";
        problem(root.mark, "", message.to_owned());
        return None;
    }
    let Some(node) = root.get("kind") else {
        problem(root.mark, "kind", format!("is required; use `{}` or `{}`", KINDS[0], KINDS[1]));
        return None;
    };
    let Some(text) = node.text() else {
        problem(node.mark, "kind", format!("must be `{}` or `{}`", KINDS[0], KINDS[1]));
        return None;
    };
    let mut kind = kind_by_name(text);
    if kind.is_none() {
        problem(node.mark, "kind", unknown_word(text, &KINDS));
        kind = super::problem::closest(text, &KINDS).and_then(kind_by_name);
    }
    let expected = match kind? {
        Kind::Endpoint => types::API_VERSION,
        Kind::Secret => SECRET_API_VERSION,
    };
    if let Some(node) = root.get("apiVersion")
        && let Some(text) = node.text()
        && text != expected
    {
        let message = format!("{} is not known for this kind; use `{expected}`", quoted(text));
        problem(node.mark, "apiVersion", message);
    }
    kind
}

fn kind_by_name(text: &str) -> Option<Kind> {
    match text {
        types::KIND => Some(Kind::Endpoint),
        "Secret" => Some(Kind::Secret),
        _ => None,
    }
}

/// An empty file, and files without any endpoint, are bad edits (contract §12). A file of Secrets
/// beside a file of endpoints is fine.
fn check_presence(sources: &[(PathBuf, String)], documents: &[Document<'_>], report: &mut Report) {
    let has_endpoint = documents.iter().any(|document| document.kind == Kind::Endpoint);
    for (file, _) in sources {
        let is_empty = !documents.iter().any(|document| document.file == file);
        // What a file with faults was meant to hold is not known.
        let has_problem = report.problems.iter().any(|problem| problem.file == *file);
        if (is_empty || !has_endpoint) && !has_problem {
            let message =
                "holds no InferenceEndpoint; add one, or remove the file from the command";
            report.file(file, message);
        }
    }
}

pub(super) fn read(file: &Path) -> Result<String, String> {
    let cannot = |e: &std::io::Error| format!("cannot be read: {e}");
    let metadata = std::fs::metadata(file).map_err(|e| cannot(&e))?;
    if metadata.is_dir() {
        return Err("is a folder; name the files in it".to_owned());
    }
    if !metadata.is_file() {
        // Opening a pipe would wait for a writer, and with it everything else on this thread.
        return Err("is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    // One byte more than allowed tells a file of the largest size from a larger one.
    let limit = FILE_BYTES_MAX as u64 + 1;
    File::open(file)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(|e| cannot(&e))?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(too_large());
    }
    String::from_utf8(bytes).map_err(|e| {
        let offset = e.utf8_error().valid_up_to();
        format!("is not UTF-8 text (byte {offset}); save it as UTF-8")
    })
}

fn too_large() -> String {
    format!("is larger than {FILE_BYTES_MAX} bytes; split it")
}
