//! What differs between two catalogs.

use std::{collections::BTreeMap, sync::Arc};

use super::{Catalog, Endpoint, Name};

/// One endpoint that is not as it was.
#[derive(Debug, Clone)]
pub struct Change {
    /// As it was; `None` for a new one.
    pub before: Option<Arc<Endpoint>>,
    /// As it is; `None` for one that is gone.
    pub now: Option<Arc<Endpoint>>,
}

impl Change {
    /// The name of the endpoint.
    pub fn name(&self) -> Option<&Name> {
        self.now.as_ref().or(self.before.as_ref()).map(|endpoint| &endpoint.name)
    }
}

impl Catalog {
    /// The endpoints that are not the same ones, by pointer, as in `before`; in the order of their
    /// names. Costs one comparison for each endpoint: everybody who follows the catalog begins with
    /// it, so that one change among a thousand endpoints costs as much as that one.
    pub fn changes_since(&self, before: &BTreeMap<Name, Arc<Endpoint>>) -> Vec<Change> {
        let (mut changes, mut old, mut new) =
            (Vec::new(), before.iter().peekable(), self.endpoints.iter().peekable());
        loop {
            let (take_old, take_new) = match (old.peek(), new.peek()) {
                (None, None) => return changes,
                (Some(_), None) => (true, false),
                (None, Some(_)) => (false, true),
                (Some((old, _)), Some((new, _))) => (old <= new, new <= old),
            };
            let before = if take_old { old.next() } else { None }.map(|(_, endpoint)| endpoint);
            let now = if take_new { new.next() } else { None }.map(|(_, endpoint)| endpoint);
            let same =
                matches!((before, now), (Some(before), Some(now)) if Arc::ptr_eq(before, now));
            if !same {
                changes.push(Change { before: before.cloned(), now: now.cloned() });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{AuthPolicy, ErrorProfile};

    fn endpoint(number: u8) -> Arc<Endpoint> {
        Arc::new(Endpoint {
            name: Name::new(&format!("e-{number}")).unwrap(),
            auth: AuthPolicy::open(),
            forward_credentials: false,
            max_payload_bytes: 1,
            sticky_by: None,
            error_profile: ErrorProfile::Kubernetes,
            hosts: Vec::new(),
            server_timing: false,
            versions: Vec::new(),
            default_version: 0,
        })
    }

    fn catalog(endpoints: impl IntoIterator<Item = Arc<Endpoint>>) -> Catalog {
        let endpoints = endpoints.into_iter().map(|one| (one.name.clone(), one)).collect();
        Catalog { revision: 1, endpoints }
    }

    proptest! {
        #[test]
        fn each_endpoint_that_is_new_other_or_gone_is_one_change_and_the_same_ones_are_none(
            numbers in prop::collection::btree_map(0..30_u8, 0..4_u8, 0..30),
        ) {
            // 0 stays, 1 is edited, 2 is new, 3 goes.
            let old: BTreeMap<u8, _> =
                numbers.iter().filter(|one| *one.1 != 2).map(|one| (*one.0, endpoint(*one.0))).collect();
            let before = catalog(old.values().cloned());
            let now = catalog(numbers.iter().filter(|one| *one.1 != 3).map(|(number, fate)| {
                old.get(number).filter(|_| *fate == 0).cloned().unwrap_or_else(|| endpoint(*number))
            }));
            let seen: Vec<_> = now
                .changes_since(&before.endpoints)
                .into_iter()
                .map(|change| {
                    let name = change.name().unwrap().clone();
                    let same = |one: Option<Arc<Endpoint>>, of: &Catalog| match (&one, of.endpoints.get(&name)) {
                        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
                        (one, other) => one.is_none() && other.is_none(),
                    };
                    let right = same(change.before.clone(), &before) && same(change.now.clone(), &now);
                    (name, right)
                })
                .collect();
            let mut expected: Vec<_> = numbers
                .iter()
                .filter(|one| *one.1 != 0)
                .map(|one| (Name::new(&format!("e-{}", one.0)).unwrap(), true))
                .collect();
            expected.sort();
            prop_assert_eq!(seen, expected);
        }
    }
}
