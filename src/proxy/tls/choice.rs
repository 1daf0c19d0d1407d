//! Which certificate a client gets, by the host it names (SNI).

use std::{collections::HashMap, sync::Arc};

use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::pair::Pair;

/// All pairs in force, by the hosts they are for. Of several for one host, for example one with an
/// RSA and one with an ECDSA key, the first that the client can verify is taken.
#[derive(Debug)]
pub(super) struct Choice {
    exact: HashMap<Box<str>, Vec<Arc<CertifiedKey>>>,
    /// By what stands behind `*.`.
    wildcards: HashMap<Box<str>, Vec<Arc<CertifiedKey>>>,
    first: Option<Arc<CertifiedKey>>,
}

impl Choice {
    /// In the order of the settings; the first pair is for everybody whom no other is for.
    pub(super) fn new<'p>(pairs: impl Iterator<Item = &'p Pair>) -> Self {
        let mut choice = Self { exact: HashMap::new(), wildcards: HashMap::new(), first: None };
        for pair in pairs {
            choice.first.get_or_insert_with(|| Arc::clone(&pair.certified));
            for host in &pair.hosts {
                let (map, host) = match host.strip_prefix("*.") {
                    Some(parent) => (&mut choice.wildcards, parent),
                    None => (&mut choice.exact, &**host),
                };
                map.entry(host.into()).or_default().push(Arc::clone(&pair.certified));
            }
        }
        choice
    }

    /// Every pair for a host, the better ones first: `*.` stands for exactly one label (RFC 9525
    /// §6.3).
    fn candidates(&self, host: &str) -> Option<&Vec<Arc<CertifiedKey>>> {
        let host = host.to_ascii_lowercase();
        self.exact.get(host.as_str()).or_else(|| {
            let (_, parent) = host.split_once('.')?;
            self.wildcards.get(parent)
        })
    }
}

impl ResolvesServerCert for Choice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let candidates = hello.server_name().and_then(|host| self.candidates(host));
        let Some(candidates) = candidates else { return self.first.clone() };
        let verifiable =
            |pair: &&Arc<CertifiedKey>| pair.key.choose_scheme(hello.signature_schemes()).is_some();
        candidates.iter().find(verifiable).or(candidates.first()).cloned()
    }
}
