//! One document of any type from one file, with the same care for problems as endpoints get.

use std::path::Path;

use serde::de::DeserializeOwned;

use super::{
    Problem,
    decode::{Decoded, decode},
    load::read,
    problem::Report,
    tree,
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

fn parse<T: DeserializeOwned + Default>(file: &Path, text: &str, report: &mut Report) -> Option<T> {
    let parsed = tree::parse(text);
    for fault in parsed.faults {
        report.problem(Problem {
            file: file.to_owned(),
            mark: Some(fault.mark),
            path: fault.path.to_string(),
            message: fault.message,
        });
    }
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
