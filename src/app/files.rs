//! The endpoint files of a router: the first load, and every edit after it.

use std::path::{Path, PathBuf};

use super::{keys::Keyring, start::Say};
use crate::{
    domain::Name,
    platform::spec::{self, EndpointSpec, Policy, Problem, Target},
};

/// What `dev` serves without a file.
const DEMO: &str = include_str!("../../deploy/examples/demo.yaml");
/// The word that stands for the router's own binary in a command.
const OWN_BINARY: &str = "modelway";

/// The files and what was made for them.
#[derive(Debug)]
pub(super) struct Files {
    paths: Vec<PathBuf>,
    keyring: Keyring,
    binary: PathBuf,
}

/// Endpoints ready for the platform.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) endpoints: Vec<EndpointSpec>,
    /// Keys made just now, to be shown once.
    pub(super) new_keys: Vec<(Name, String)>,
    pub(super) warnings: Vec<Problem>,
}

impl Files {
    pub(super) fn new(paths: Vec<PathBuf>, binary: PathBuf) -> Self {
        Self { paths, keyring: Keyring::default(), binary }
    }

    pub(super) fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Reads everything anew. Good as a whole or not at all.
    pub(super) fn load(&mut self) -> Result<Ready, Vec<Problem>> {
        let loaded = if self.paths.is_empty() {
            spec::load(&[(PathBuf::from("demo.yaml"), DEMO.to_owned())], Policy::FILES)?
        } else {
            spec::load_files(&self.paths, Policy::FILES)?
        };
        let mut endpoints = loaded.endpoints;
        let mut new_keys = Vec::new();
        for spec in &mut endpoints {
            if let Some(key) = self.keyring.complete(spec) {
                new_keys.push((spec.endpoint.name.clone(), key));
            }
            for version in &mut spec.versions {
                use_own_binary(&mut version.target, &self.binary);
            }
        }
        Ok(Ready { endpoints, new_keys, warnings: loaded.warnings })
    }
}

/// A command that begins with `modelway` means this very binary, which need not be on the path.
fn use_own_binary(target: &mut Target, binary: &Path) {
    if let Target::Process(process) = target
        && let Some(program) = process.command.first_mut()
        && program == OWN_BINARY
    {
        *program = binary.to_string_lossy().into_owned();
    }
}

/// Every problem on a line of its own, for a person.
pub(super) fn tell(say: &Say, problems: &[Problem]) {
    for problem in problems {
        say(&problem.to_string());
    }
}
