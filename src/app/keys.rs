//! Keys for endpoints whose files give none.

use std::collections::BTreeMap;

use crate::{
    auth,
    domain::{ClearKeys, ClearText, KeySlot, Name},
    platform::{self, spec::EndpointSpec},
};

/// Generated keys by endpoint. They outlive edits of the files and end with the process. They are the
/// one place where a router holds keys in clear text: there is nowhere else to show them from.
#[derive(Debug, Default)]
pub(super) struct Keyring(BTreeMap<Name, ClearKeys>);

impl Keyring {
    /// Gives the endpoint its keys where it needs some and its file has none; returns the primary
    /// one when it was made just now, to be shown once.
    pub(super) fn complete(&mut self, spec: &mut EndpointSpec) -> Option<String> {
        let endpoint = &mut spec.endpoint;
        if !spec.takes_keys || !endpoint.auth.keys.is_empty() {
            return None;
        }
        let fresh = !self.0.contains_key(&endpoint.name);
        let keys = self
            .0
            .entry(endpoint.name.clone())
            .or_insert_with(|| ClearKeys { primary: generate(), secondary: Some(generate()) });
        let both = [Some(&keys.primary), keys.secondary.as_ref()].into_iter().flatten();
        endpoint.auth.keys = both.map(|key| auth::digest(key.reveal().as_bytes())).collect();
        fresh.then(|| keys.primary.reveal().to_owned())
    }

    /// The generated keys of an endpoint.
    pub(super) fn of(&self, endpoint: &Name) -> Option<&ClearKeys> {
        self.0.get(endpoint)
    }

    /// Another key in the place of one of them.
    pub(super) fn regenerate(&mut self, endpoint: &Name, slot: KeySlot) -> Option<&ClearKeys> {
        let keys = self.0.get_mut(endpoint)?;
        match slot {
            KeySlot::Primary => keys.primary = generate(),
            KeySlot::Secondary => keys.secondary = Some(generate()),
        }
        Some(keys)
    }
}

fn generate() -> ClearText {
    ClearText::new(platform::new_key())
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
        assert!(!format!("{key:?}").contains(key.reveal()));
    }
}
