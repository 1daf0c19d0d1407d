//! Keys for endpoints whose files give none.

use std::collections::BTreeMap;

use crate::{
    auth,
    domain::Name,
    platform::{self, spec::EndpointSpec},
};

/// Generated keys by endpoint. They outlive edits of the files and end with the process.
#[derive(Debug, Default)]
pub(super) struct Keyring(BTreeMap<Name, [auth::Key; 2]>);

impl Keyring {
    /// Gives the endpoint its keys where it needs some and its file has none; returns the primary
    /// one when it was made just now, to be shown once.
    pub(super) fn complete(&mut self, spec: &mut EndpointSpec) -> Option<String> {
        let endpoint = &mut spec.endpoint;
        if !spec.takes_keys || !endpoint.auth.keys.is_empty() {
            return None;
        }
        let fresh = !self.0.contains_key(&endpoint.name);
        let keys = self.0.entry(endpoint.name.clone()).or_insert_with(|| [generate(), generate()]);
        endpoint.auth.keys = keys.iter().map(auth::Key::digest).collect();
        fresh.then(|| keys.first().map(auth::Key::reveal)).flatten()
    }
}

fn generate() -> auth::Key {
    auth::Key::new(platform::new_key())
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

    use super::*;

    #[test]
    fn generated_keys_are_256_bits_and_never_shown_by_debug() {
        let key = generate();
        assert_eq!(URL_SAFE_NO_PAD.decode(key.reveal()).unwrap().len(), 32);
        assert_ne!(key.reveal(), generate().reveal());
        assert!(!format!("{key:?}").contains(&key.reveal()));
    }
}
