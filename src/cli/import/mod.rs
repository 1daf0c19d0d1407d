//! `modelway import`: the files of another product become endpoints.
//!
//! Promises: what is printed passes `modelway validate`; every field of the input that is not in it,
//! and everything that was decided on the way, is said on standard error.
//!
//! How: `fields` takes fields out of a document and knows which are left, `azureml` knows what they
//! mean, `join` puts an endpoint and its deployments together.

mod azureml;
mod fields;
mod join;

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::Subcommand;
use serde_json::Value;

use super::yaml;
use crate::platform::spec::{Policy, load, load_values};
use fields::Notes;

/// What can be imported.
#[derive(Debug, Subcommand)]
pub(super) enum ImportArgs {
    /// Endpoints and deployments of Azure Machine Learning (CLI v2)
    #[command(after_help = "Example: modelway import azureml endpoint.yml blue.yml > fraud.yaml")]
    Azureml {
        /// The files; an endpoint and its deployments are joined
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

/// Fields that people look for first.
const LEADERS: [&str; 7] =
    ["apiVersion", "kind", "metadata", "name", "isDefault", "trafficPercentile", "targetRef"];

/// Imports the files. Returns whether anything usable came out; fails only when standard output or
/// standard error does.
pub(super) fn run(args: &ImportArgs) -> anyhow::Result<bool> {
    let ImportArgs::Azureml { files } = args;
    let (page, notes) = imported(files);
    let mut err = io::stderr().lock();
    for note in notes {
        writeln!(err, "{note}")?;
    }
    let mut out = io::stdout().lock();
    out.write_all(page.as_bytes())?;
    out.flush()?;
    Ok(!page.is_empty())
}

/// The endpoints as documents, and what there is to say.
fn imported(files: &[PathBuf]) -> (String, Vec<String>) {
    let mut notes = Notes::default();
    let mut parts = azureml::Parts::default();
    for file in files {
        match load_values(file) {
            Ok(documents) => {
                let count = documents.len();
                if count == 0 {
                    notes.say(&file.display().to_string(), "", "holds no document");
                }
                for (i, document) in documents.into_iter().enumerate() {
                    parts.take(&place(file, i, count), document, &mut notes);
                }
            }
            Err(problems) => problems.iter().for_each(|problem| notes.line(problem.to_string())),
        }
    }
    let pages = join::endpoints(parts, &mut notes);
    let good = pages.iter().filter_map(|endpoint| checked(endpoint, &mut notes));
    let page = good.collect::<Vec<_>>().join("---\n");
    if page.is_empty() {
        notes.line("nothing usable came out".to_owned());
    }
    (page, notes.lines)
}

/// How a document is called in notes.
fn place(file: &Path, index: usize, count: usize) -> String {
    match count {
        1 => file.display().to_string(),
        _ => format!("{} (document {})", file.display(), index + 1),
    }
}

/// The endpoint as text, if it keeps the rules.
fn checked(endpoint: &Value, notes: &mut Notes) -> Option<String> {
    let name = endpoint.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let page = yaml::text_led_by(endpoint, &LEADERS);
    let said = match load(&[(PathBuf::from(name), page.clone())], Policy::ANY) {
        Ok(loaded) => loaded.warnings,
        Err(problems) => {
            for problem in &problems {
                notes.say(&format!("endpoint {name}"), &problem.path, &problem.message);
            }
            notes.line(format!("endpoint {name}: left out, because of the problems above"));
            return None;
        }
    };
    for warning in said {
        notes.say(&format!("endpoint {name}"), &warning.path, &warning.message);
    }
    Some(page)
}

#[cfg(test)]
mod tests;
