//! `modelway validate FILE…`: all problems of the files at once.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use crate::platform::spec::{EndpointSpec, Policy, Target, load_files};

/// Checks the files with the rules of `dev` and `serve`, and prints every problem or one line per
/// endpoint, then the warnings. Returns whether the files are good; fails only when standard
/// output does.
///
/// Objects for a cluster are good here as well: no router says yet where they will be used.
pub fn run(files: &[PathBuf]) -> anyhow::Result<bool> {
    let mut out = io::stdout().lock();
    let is_good = write_report(files, &mut out)?;
    out.flush()?;
    Ok(is_good)
}

fn write_report(files: &[PathBuf], out: &mut impl Write) -> io::Result<bool> {
    match load_files(files, Policy::ANY) {
        Ok(loaded) => {
            for spec in &loaded.endpoints {
                writeln!(out, "{}", summary(spec))?;
            }
            for warning in &loaded.warnings {
                writeln!(out, "warning: {warning}")?;
            }
            Ok(true)
        }
        Err(problems) => {
            for problem in &problems {
                writeln!(out, "{problem}")?;
            }
            Ok(false)
        }
    }
}

/// `endpoint demo is good: blue 80 % (default, process), green 20 % (process)`.
fn summary(spec: &EndpointSpec) -> String {
    let endpoint = &spec.endpoint;
    let versions = endpoint.versions.iter().zip(&spec.versions).enumerate();
    let versions: Vec<_> = versions
        .map(|(i, (version, more))| {
            let target = match &more.target {
                Target::Process(_) => "process".to_owned(),
                Target::Addresses(addresses) => format!("{} addresses", addresses.len()),
                Target::Cluster { kind, name } => format!("{kind} {name}"),
            };
            let default = if i == endpoint.default_version { "default, " } else { "" };
            format!("{} {} % ({default}{target})", version.name, version.traffic_percentile)
        })
        .collect();
    format!("endpoint {} is good: {}", endpoint.name, versions.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(text: &str) -> (bool, String) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("a.yaml");
        std::fs::write(&file, text).expect("written");
        let mut out = Vec::new();
        let is_good = write_report(&[file], &mut out).expect("a Vec takes everything");
        let said = String::from_utf8(out).expect("text");
        (is_good, said.replace(&format!("{}/", folder.path().display()), ""))
    }

    #[test]
    fn good_files_get_a_line_per_endpoint_and_their_warnings() {
        let (is_good, said) = report(
            "{apiVersion: modelway.dev/v1alpha1, kind: InferenceEndpoint, metadata: {name: demo}, \
             spec: {versions: [{name: blue, targetRef: {kind: Addresses, addresses: [a]}}, \
             {name: green, trafficPercentile: 20, targetRef: {kind: Deployment, name: fraud}}]}}",
        );
        assert!(is_good, "{said}");
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(
            lines[0],
            "endpoint demo is good: blue 0 % (default, 1 addresses), green 20 % (Deployment fraud)"
        );
        assert!(lines[1].starts_with("warning: a.yaml:1:"), "{said}");
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn bad_files_get_all_their_problems_and_no_summary() {
        let (is_good, said) = report("kind: Secret\n---\nkind: Sekret\n");
        assert!(!is_good);
        assert_eq!(
            said,
            "a.yaml:1:1: apiVersion: is required; add it\n\
             a.yaml:1:1: metadata: is required; add it\n\
             a.yaml:3:1: apiVersion: is required; add it\n\
             a.yaml:3:1: metadata: is required; add it\n\
             a.yaml:3:7: kind: `Sekret` is not known; did you mean `Secret`?\n"
        );
    }
}
