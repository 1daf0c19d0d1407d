//! The rules of an endpoint (contract §3, §5, §7, §12).

use std::{collections::BTreeMap, sync::Arc};

use crate::domain::{self, AuthMode, AuthPolicy, ErrorProfile, Name, StickyBy, VERSIONS_MAX};

use super::{
    Targets,
    checked::EndpointSpec,
    grammar, limits,
    path::FieldPath,
    problem::quoted,
    scope::{Place, Scope},
    secrets::Secrets,
    target::Addresses,
    tokens, types, version,
};

/// What endpoints share, so that two of them cannot both have it.
#[derive(Default)]
pub(super) struct Claims {
    names: BTreeMap<String, Place>,
    hosts: BTreeMap<String, (String, Place)>,
    pub(super) addresses: Addresses,
}

/// Checks an endpoint against every rule. `None` when it is not even nameable; any problem is in
/// the report, and what is returned beside problems is not to be used.
pub(super) fn check(
    scope: &mut Scope<'_>,
    raw: &types::InferenceEndpoint,
    secrets: &Secrets,
    claims: &mut Claims,
) -> Option<EndpointSpec> {
    let spec = FieldPath::keys(&["spec"]);
    let name = name(scope, &FieldPath::keys(&["metadata", "name"]), &raw.metadata.name);
    if name.is_some() {
        claim_name(scope, &raw.metadata.name, claims);
    }
    let hosts = hosts(scope, &spec.key("hosts"), &raw.metadata.name, &raw.spec.hosts, claims);
    let in_cluster = scope.policy.targets == Targets::Cluster
        || raw.spec.versions.iter().any(|v| v.target_ref.kind.is_cluster());
    let auth = auth(scope, &spec.key("auth"), raw, secrets, in_cluster);
    let max_payload_bytes = max_payload(scope, &spec, &raw.spec.limits);
    let sticky_by =
        raw.spec.sticky_by.as_ref().and_then(|raw| sticky_by(scope, &spec.key("stickyBy"), raw));
    let forward_credentials = forward_credentials(scope, &spec, &raw.spec);
    let checked = version::check_all(scope, &spec.key("versions"), raw, claims)?;
    let (versions, targets) = checked.versions.into_iter().unzip();
    Some(EndpointSpec {
        endpoint: domain::Endpoint {
            name: name?,
            auth,
            forward_credentials,
            max_payload_bytes,
            sticky_by,
            error_profile: match raw.spec.error_profile {
                types::ErrorProfile::Kubernetes => ErrorProfile::Kubernetes,
                types::ErrorProfile::Managed => ErrorProfile::Managed,
            },
            hosts,
            server_timing: raw.spec.server_timing,
            versions,
            default_version: checked.default_version,
        },
        takes_keys: takes_keys(&raw.spec.auth),
        secret: raw.spec.auth.secret_ref.as_ref().map(|secret| secret.name.clone()),
        versions: targets,
    })
}

/// A name, or a problem.
pub(super) fn name(scope: &mut Scope<'_>, path: &FieldPath, text: &str) -> Option<Name> {
    match Name::new(text) {
        Ok(name) => Some(name),
        Err(e) => {
            scope.problem(path, e.to_string());
            None
        }
    }
}

/// Endpoint names are one space per router, whatever the namespace (contract §2).
fn claim_name(scope: &mut Scope<'_>, name: &str, claims: &mut Claims) {
    let path = FieldPath::keys(&["metadata", "name"]);
    if let Some(first) = claims.names.get(name) {
        let message = format!(
            "endpoint `{name}` is defined twice, first at {first}; names are unique per router, \
             also across namespaces: rename or remove one"
        );
        scope.problem(&path, message);
    } else {
        claims.names.insert(name.to_owned(), scope.place(&path));
    }
}

fn hosts(
    scope: &mut Scope<'_>,
    path: &FieldPath,
    endpoint: &str,
    raw: &[String],
    claims: &mut Claims,
) -> Vec<Box<str>> {
    if raw.len() > limits::HOSTS_MAX {
        let max = limits::HOSTS_MAX;
        scope.problem(path, format!("{} hosts are given; at most {max} are allowed", raw.len()));
    }
    let mut hosts = Vec::new();
    for (i, text) in raw.iter().enumerate().take(limits::HOSTS_MAX) {
        let path = path.index(i);
        match grammar::host(text) {
            Err(message) => scope.problem(&path, message),
            Ok(host) => {
                if let Some((owner, first)) = claims.hosts.get(&host) {
                    let message = format!(
                        "host `{host}` belongs to endpoint {} already, at {first}; a host reaches \
                         one endpoint: remove one of the two",
                        quoted(owner)
                    );
                    scope.problem(&path, message);
                } else if !scope.is_broken(&path) {
                    let owner = (endpoint.to_owned(), scope.place(&path));
                    claims.hosts.insert(host.clone(), owner);
                }
                hosts.push(host.into());
            }
        }
    }
    hosts
}

fn auth(
    scope: &mut Scope<'_>,
    path: &FieldPath,
    raw: &types::InferenceEndpoint,
    secrets: &Secrets,
    in_cluster: bool,
) -> AuthPolicy {
    let auth = &raw.spec.auth;
    let mode = match auth.mode {
        types::AuthMode::Key => AuthMode::Key,
        types::AuthMode::Token => AuthMode::Token,
        types::AuthMode::None => AuthMode::None,
    };
    let token = auth.token.clone().unwrap_or_default();
    let token = tokens::check(scope, &path.key("token"), &token, in_cluster);
    if auth.token.is_some() && mode != AuthMode::Token {
        scope.warn(&path.key("token"), "has no effect unless `auth.mode` is `Token`");
    }
    if auth.keys && mode != AuthMode::Token {
        scope.warn(&path.key("keys"), "has no effect unless `auth.mode` is `Token`");
    }
    let secret = path.key("secretRef");
    let keys = match &auth.secret_ref {
        Some(reference) => secrets.keys(scope, &secret.key("name"), raw, reference, in_cluster),
        None => Vec::new(),
    };
    let takes_keys = takes_keys(auth);
    if !takes_keys && auth.secret_ref.is_some() {
        let message = match mode {
            AuthMode::Token => {
                "has no effect: `auth.mode: Token` takes keys only with `keys: true`"
            }
            _ => "has no effect: with `auth.mode: None` nobody is asked for a key",
        };
        scope.warn(&secret, message);
    }
    let keys = if takes_keys { keys } else { Vec::new() };
    AuthPolicy { mode, keys, token: (mode == AuthMode::Token).then(|| Arc::new(token)) }
}

/// Whether a key lets a caller in.
fn takes_keys(auth: &types::Auth) -> bool {
    match auth.mode {
        types::AuthMode::Key => true,
        types::AuthMode::Token => auth.keys,
        types::AuthMode::None => false,
    }
}

fn max_payload(scope: &mut Scope<'_>, spec: &FieldPath, raw: &types::Limits) -> u64 {
    let limit = scope.policy.max_payload_bytes;
    let Some(size) = raw.max_payload else { return limit };
    let path = spec.key("limits").key("maxPayload");
    if size.0 == 0 {
        scope.problem(&path, "0 would refuse every request with a body; use at least 1");
    } else if size.0 > limit {
        let message = format!("{} bytes are above the router's limit of {limit} bytes", size.0);
        scope.problem(&path, message);
    }
    size.0.min(limit)
}

fn sticky_by(scope: &mut Scope<'_>, path: &FieldPath, raw: &types::StickyBy) -> Option<StickyBy> {
    let (field, name) = match (&raw.header, &raw.cookie) {
        (Some(header), None) => ("header", header),
        (None, Some(cookie)) => ("cookie", cookie),
        (header, _) => {
            let given = if header.is_some() { "both are given" } else { "none is given" };
            let both = [path.key("header"), path.key("cookie")];
            let message = format!("needs exactly one of `header` and `cookie`; {given}");
            scope.problem_among(path, &both, message);
            return None;
        }
    };
    if !grammar::is_token(name) {
        let message = format!("{} is not a valid name of a {field} (RFC 9110)", quoted(name));
        scope.problem(&path.key(field), message);
        return None;
    }
    Some(match field {
        "header" => StickyBy::Header(name.to_ascii_lowercase().into()),
        _ => StickyBy::Cookie(name.as_str().into()),
    })
}

/// Accepted in both places, because people look for it in both.
fn forward_credentials(scope: &mut Scope<'_>, spec: &FieldPath, raw: &types::Spec) -> bool {
    if let (Some(at_spec), Some(at_auth)) = (raw.forward_credentials, raw.auth.forward_credentials)
        && at_spec != at_auth
    {
        let message = format!(
            "is {at_spec} here and {at_auth} at `spec.auth.forwardCredentials`; remove one of the \
             two"
        );
        scope.problem(&spec.key("forwardCredentials"), message);
    }
    raw.forward_credentials.or(raw.auth.forward_credentials).unwrap_or(false)
}

/// The count of versions is a rule of the endpoint.
pub(super) fn check_count(scope: &mut Scope<'_>, path: &FieldPath, count: usize) {
    if count == 0 {
        scope.problem(path, format!("holds no version; an endpoint has 1 to {VERSIONS_MAX}"));
    } else if count > VERSIONS_MAX {
        let message = format!("{count} versions are given; an endpoint has 1 to {VERSIONS_MAX}");
        scope.problem(path, message);
    }
}
