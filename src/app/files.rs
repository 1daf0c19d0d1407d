//! The endpoint files of a router: the first load, and every edit after it.

use std::path::{Path, PathBuf};

use super::{keys::Keyring, start::Say};
use crate::{
    domain::{ClearKeys, ClearText, CredentialError, KeySlot, Name},
    platform::{
        local::Seen,
        new_key,
        spec::{self, EndpointSpec, Policy, Problem, Target},
    },
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
    /// How the files were before they were read first.
    seen: Seen,
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
        let seen = Seen::now(&paths);
        Self { paths, keyring: Keyring::default(), binary, seen }
    }

    pub(super) fn seen_first(&self) -> Seen {
        self.seen.clone()
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

    /// The keys of an endpoint: those of its file, else those that were generated.
    pub(super) fn keys(&self, endpoint: &Name) -> Result<ClearKeys, CredentialError> {
        if !self.paths.is_empty()
            && let Some(keys) = spec::keys_in_files(&self.paths, endpoint)?
        {
            return Ok(keys);
        }
        self.keyring.of(endpoint).cloned().ok_or_else(|| none(endpoint))
    }

    /// A new key in the place of an old one, there where the old one is. It comes into force with the
    /// next [`Files::load`].
    pub(super) fn regenerate(
        &mut self,
        endpoint: &Name,
        slot: KeySlot,
    ) -> Result<ClearKeys, CredentialError> {
        if !self.paths.is_empty() && spec::keys_in_files(&self.paths, endpoint)?.is_some() {
            let new = ClearText::new(new_key());
            return spec::replace_key(&self.paths, endpoint, slot, &new, Policy::FILES);
        }
        self.keyring.regenerate(endpoint, slot).cloned().ok_or_else(|| none(endpoint))
    }
}

fn none(endpoint: &Name) -> CredentialError {
    CredentialError::Unsuitable(format!("endpoint {endpoint} has no keys"))
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
