//! Documents of any type from one file, with the same care for problems as endpoints get.

use std::path::Path;

use serde::de::DeserializeOwned;

use super::{
    Problem,
    decode::{Decoded, decode},
    load::read,
    problem::Report,
    tree::{self, Node, TextFault},
};

/// The one document of a file, or all its problems. An empty file is an empty mapping.
pub fn load_document<T: DeserializeOwned + Default>(file: &Path) -> Result<T, Vec<Problem>> {
    let mut report = Report::default();
    let value = read(file).map_err(|message| report.file(file, message));
    let value = value.ok().and_then(|text| parse(file, &text, &mut report));
    match value {
        Some(value) if report.problems.is_empty() => Ok(value),
        _ => Err(report.into_problems(&[file])),
    }
}

/// All documents of a file as plain values, empty ones left out: for files whose fields are not
/// ours.
pub fn load_values(file: &Path) -> Result<Vec<serde_json::Value>, Vec<Problem>> {
    let mut report = Report::default();
    let text = read(file).map_err(|message| report.file(file, message)).unwrap_or_default();
    let parsed = tree::parse(&text);
    faults(file, parsed.faults, &mut report);
    if report.problems.is_empty() {
        let values = parsed.documents.into_iter().map(Node::into_json);
        Ok(values.filter(|value| !value.is_null()).collect())
    } else {
        Err(report.into_problems(&[file]))
    }
}

fn faults(file: &Path, faults: Vec<TextFault>, report: &mut Report) {
    for fault in faults {
        report.problem(Problem {
            file: file.to_owned(),
            mark: Some(fault.mark),
            path: fault.path.to_string(),
            message: fault.message,
        });
    }
}

fn parse<T: DeserializeOwned + Default>(file: &Path, text: &str, report: &mut Report) -> Option<T> {
    let parsed = tree::parse(text);
    faults(file, parsed.faults, report);
    let mut documents = parsed.documents.into_iter();
    let Some(root) = documents.next() else { return Some(T::default()) };
    if let Some(second) = documents.next() {
        report.problem(Problem {
            file: file.to_owned(),
            mark: Some(second.mark),
            path: String::new(),
            message: "this is a second document; one is read from this file".to_owned(),
        });
    }
    let Decoded { value, findings, .. } = decode::<T>(&root);
    for finding in findings {
        report.problem(Problem {
            file: file.to_owned(),
            mark: Some(finding.mark),
            path: finding.path.to_string(),
            message: finding.message,
        });
    }
    value
}
