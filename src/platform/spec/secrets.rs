//! Keys from Secret documents. No value of a Secret appears in a message, a path or a `Debug`.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

use crate::domain::KeyDigest;

use super::{
    grammar,
    limits::KEY_LENGTH_MAX,
    path::FieldPath,
    problem::quoted,
    scope::{Place, Scope},
    tree::Node,
    types,
};

/// The namespace of objects that name none.
pub(super) const DEFAULT_NAMESPACE: &str = "default";
const PRIMARY: &str = "primaryKey";
const SECONDARY: &str = "secondaryKey";

/// The Secrets of all files.
pub(super) struct Secrets {
    by_name: BTreeMap<(String, String), Stored>,
    /// Whether a Secret that is not here may stand in a part of the files that cannot be read.
    is_incomplete: bool,
}

struct Stored {
    place: Place,
    /// Primary, then secondary.
    keys: Vec<KeyDigest>,
    /// What is missing for use by an endpoint; a Secret for other uses needs no `primaryKey`.
    has_primary: bool,
}

impl Secrets {
    /// None yet. `is_incomplete`: parts of the files could not be read.
    pub(super) fn new(is_incomplete: bool) -> Self {
        Self { by_name: BTreeMap::new(), is_incomplete }
    }

    /// Takes a Secret and checks its keys.
    pub(super) fn add(&mut self, scope: &mut Scope<'_>, raw: &types::Secret) {
        let name_path = FieldPath::keys(&["metadata", "name"]);
        if scope.is_broken(&name_path) {
            self.is_incomplete = true;
            return;
        }
        let name = (namespace(&raw.metadata).to_owned(), raw.metadata.name.clone());
        if let Some(first) = self.by_name.get(&name) {
            let message = format!(
                "Secret {} is defined twice, first at {}; remove one",
                quoted(&name.1),
                first.place
            );
            scope.problem(&name_path, message);
            return;
        }
        let primary = key(scope, raw, PRIMARY);
        let secondary = key(scope, raw, SECONDARY);
        if primary.is_some() && primary == secondary {
            let message = "is the same as `primaryKey`; renewing one would not disable the other";
            scope.warn(&FieldPath::keys(&[field_of(raw, SECONDARY), SECONDARY]), message);
        }
        // A key that is there but wrong was reported; it is not missing as well.
        let has_primary = is_given(scope, raw, PRIMARY);
        let keys = primary.into_iter().chain(secondary).collect();
        let place = scope.place(&name_path);
        self.by_name.insert(name, Stored { place, keys, has_primary });
    }

    /// The keys of the Secret that an endpoint names at `path`. Empty when a cluster holds it.
    pub(super) fn keys(
        &self,
        scope: &mut Scope<'_>,
        path: &FieldPath,
        endpoint: &types::InferenceEndpoint,
        reference: &types::SecretRef,
        in_cluster: bool,
    ) -> Vec<KeyDigest> {
        let namespace = namespace(&endpoint.metadata);
        let name = (namespace.to_owned(), reference.name.clone());
        match self.by_name.get(&name) {
            Some(stored) => {
                if !stored.has_primary {
                    let message = format!(
                        "the Secret {}, at {}, has no `{PRIMARY}`; add it to `data` or `stringData`",
                        quoted(&reference.name),
                        stored.place
                    );
                    scope.problem(path, message);
                }
                stored.keys.clone()
            }
            None => {
                if in_cluster {
                    check_name(scope, path, &reference.name);
                } else if !self.is_incomplete {
                    let message = format!(
                        "there is no Secret {} in namespace {} in the given files; add it, or \
                         remove `secretRef` and keys are generated",
                        quoted(&reference.name),
                        quoted(namespace)
                    );
                    scope.problem(path, message);
                }
                Vec::new()
            }
        }
    }
}

fn check_name(scope: &mut Scope<'_>, path: &FieldPath, name: &str) {
    if !grammar::is_object_name(name) {
        let message = format!(
            "{} is not a name of a Secret: a-z, 0-9, `-` and `.`, at most 253 characters",
            quoted(name)
        );
        scope.problem(path, message);
    }
}

fn namespace(metadata: &types::Metadata) -> &str {
    metadata.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE)
}

/// `stringData` wins over `data`, as in Kubernetes.
fn field_of(raw: &types::Secret, key: &str) -> &'static str {
    if raw.string_data.contains_key(key) { "stringData" } else { "data" }
}

fn is_given(scope: &Scope<'_>, raw: &types::Secret, key: &str) -> bool {
    let is_broken = |field| scope.is_broken(&FieldPath::keys(&[field, key]));
    raw.string_data.contains_key(key)
        || raw.data.contains_key(key)
        || is_broken("data")
        || is_broken("stringData")
}

/// The same for a Secret that is a tree yet.
pub(super) fn field_of_node(secret: &Node, key: &str) -> &'static str {
    let is_plain = secret.get("stringData").is_some_and(|field| field.get(key).is_some());
    if is_plain { "stringData" } else { "data" }
}

/// The digest of a key of the Secret, if it has it and it is good.
fn key(scope: &mut Scope<'_>, raw: &types::Secret, key: &str) -> Option<KeyDigest> {
    let field = field_of(raw, key);
    let path = FieldPath::keys(&[field, key]);
    let bytes = match (raw.string_data.get(key), raw.data.get(key)) {
        (Some(text), _) => text.0.clone().into_bytes(),
        (None, Some(text)) => {
            return match key_digest(text.0.as_str()) {
                Ok(digest) => Some(digest),
                Err(message) => {
                    scope.problem(&path, message);
                    None
                }
            };
        }
        (None, None) => return None,
    };
    if let Err(message) = check_key(&bytes) {
        scope.problem(&path, message);
        return None;
    }
    Some(KeyDigest(Sha256::digest(&bytes).into()))
}

/// The digest of a key as it stands in the `data` of a Secret, or what is wrong with it.
pub fn key_digest(data: &str) -> Result<KeyDigest, String> {
    // Kubernetes accepts line breaks within base64 too.
    let text: String = data.chars().filter(|c| !"\r\n".contains(*c)).collect();
    let bytes = STANDARD
        .decode(text)
        .map_err(|_| "is not base64; encode it, or write it plainly in `stringData`".to_owned())?;
    check_key(&bytes)?;
    Ok(KeyDigest(Sha256::digest(&bytes).into()))
}

/// What can stand in an `Authorization` or `api-key` header, without a doubt about where it ends.
fn check_key(bytes: &[u8]) -> Result<(), String> {
    if bytes.is_empty() {
        return Err("is empty; an empty key would let everybody in".to_owned());
    }
    if bytes.len() > KEY_LENGTH_MAX {
        return Err(format!("has {} bytes; at most {KEY_LENGTH_MAX} are allowed", bytes.len()));
    }
    if bytes.ends_with(b"\n") {
        return Err("ends with a line break; encode it with `printf %s` or `echo -n`".to_owned());
    }
    if !bytes.iter().all(u8::is_ascii_graphic) {
        return Err("must be printable ASCII without spaces".to_owned());
    }
    Ok(())
}
