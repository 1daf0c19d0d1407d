//! The rules by example: what is good, what is bad and where, and that no input is a burden.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;
use crate::domain::{AuthMode, KeyDigest, OnDisconnect, StickyBy, VersionKind};

mod bad;
mod documents;
mod good;
mod hostile;
mod object;
mod rewrite;

/// A good head of an endpoint, lines 1 to 3.
const HEAD: &str = "\
apiVersion: modelway.dev/v1alpha1
kind: InferenceEndpoint
metadata: {name: demo}
";

/// Loads texts as files `0.yaml`, `1.yaml`…
fn load_texts(texts: &[&str], policy: Policy) -> Result<Loaded, Vec<Problem>> {
    let name = |i: usize| PathBuf::from(format!("{i}.yaml"));
    let sources: Vec<_> =
        texts.iter().enumerate().map(|(i, text)| (name(i), (*text).to_owned())).collect();
    load(&sources, policy)
}

/// The problems of texts as people see them.
fn problems(texts: &[&str]) -> Vec<String> {
    let problems = load_texts(texts, Policy::FILES).expect_err("the text is bad");
    problems.iter().map(ToString::to_string).collect()
}

/// What a good text holds.
fn good(text: &str) -> Loaded {
    load_texts(&[text], Policy::FILES).unwrap_or_else(|problems| panic!("{problems:#?}"))
}
