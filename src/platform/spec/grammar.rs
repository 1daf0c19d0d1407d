//! The grammar of texts in an endpoint: hosts, addresses, paths, header and cookie names.
//! Each function says what is wrong in words that can follow the text itself.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{checked::Address, problem::quoted};

/// The longest host name, and name of an object of Kubernetes (RFC 1035 §2.3.4).
pub(super) const HOST_LENGTH_MAX: usize = 253;
/// The longest text for a host: no address in brackets is longer than a name.
pub(super) const HOST_TEXT_LENGTH_MAX: usize = HOST_LENGTH_MAX;
/// The longest label of a host name (RFC 1035 §2.3.4).
const LABEL_LENGTH_MAX: usize = 63;
/// The longest path on a replica: no model server has longer ones, and it leaves the query most of
/// a request target (16 KiB, contract §12).
pub(super) const PATH_LENGTH_MAX: usize = 1024;
/// The longest name of a header or cookie; servers refuse longer ones anyway.
pub(super) const TOKEN_LENGTH_MAX: usize = 256;

/// [`host`] as far as a pattern can say it: what ends like a number, and the inside of brackets, is
/// left to the function.
pub(super) const HOST_PATTERN: &str = concat!(
    r"^(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z_]([-0-9A-Za-z_]{0,61}[0-9A-Za-z_])?",
    r"(\.[0-9A-Za-z_]([-0-9A-Za-z_]{0,61}[0-9A-Za-z_])?)*)$"
);
/// [`path`] as far as a pattern can say it: segments and the meaning of escapes are left to rules.
pub(super) const PATH_PATTERN: &str = r"^/([-!$&'()*+,./0-9:;=@A-Z\[\]_a-z~]|%[0-9A-Fa-f]{2})*$";
/// [`is_token`].
pub(super) const TOKEN_PATTERN: &str = "^[-!#$%&'*+.^_`|~0-9A-Za-z]+$";
/// A URI of an issuer in a cluster, as far as a pattern can say it: https, no user, no fragment.
pub(super) const HTTPS_PATTERN: &str = r"^https://[-!$&'()*+,.0-9:;=A-Z\[\]_a-z~%]+([/?][!$-~]*)?$";
/// The longest of [`ALGORITHM_PATTERN`].
pub(super) const ALGORITHM_LENGTH_MAX: usize = 5;
/// The names of [`crate::domain::Algorithm`].
pub(super) const ALGORITHM_PATTERN: &str = "^(EdDSA|ES256|ES384|[PR]S(256|384|512))$";
/// [`is_object_name`]; that a name which ends like a number is an address is left to the function.
pub(super) const OBJECT_NAME_PATTERN: &str =
    r"^[0-9a-z]([-0-9a-z]*[0-9a-z])?(\.[0-9a-z]([-0-9a-z]*[0-9a-z])?)*$";

/// A host name or IPv4 address without port, or an IPv6 address in brackets, in lower case.
pub(super) fn host(text: &str) -> Result<String, String> {
    let lower = text.to_ascii_lowercase();
    if text.is_empty() {
        return Err("is empty; write a host name or remove the item".to_owned());
    }
    if text.contains("://") || text.contains('/') {
        return Err(format!("{} must be a host only, without scheme and path", quoted(text)));
    }
    if let Some(inner) = lower.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return match inner.parse::<Ipv6Addr>() {
            Ok(_) => Ok(lower),
            Err(_) => Err(format!("{} is not an IPv6 address in brackets", quoted(text))),
        };
    }
    if let Some((_, port)) = text.rsplit_once(':')
        && port.bytes().all(|b| b.is_ascii_digit())
    {
        return Err(format!("{} must not name a port; remove `:{port}`", quoted(text)));
    }
    if is_host_name(&lower) { Ok(lower) } else { Err(not_a_host(text)) }
}

/// `host`, `host:port`, `[v6]`, `[v6]:port` or a bare IPv6 address.
pub(super) fn address(text: &str, default_port: u16) -> Result<Address, String> {
    if text.contains("://") || text.contains('/') {
        return Err(format!("{} must be `host:port` only, without scheme and path", quoted(text)));
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Ok(Address { host: text.to_ascii_lowercase(), port: default_port });
    }
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let Some((inner, after)) = rest.split_once(']') else {
            return Err(format!("{} lacks the closing bracket", quoted(text)));
        };
        if inner.parse::<Ipv6Addr>().is_err() {
            return Err(format!("{} holds no IPv6 address in its brackets", quoted(text)));
        }
        match (after.is_empty(), after.strip_prefix(':')) {
            (true, _) => (inner, None),
            (_, Some(port)) => (inner, Some(port)),
            _ => return Err(format!("{} must be `[address]:port`", quoted(text))),
        }
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let host = host.to_ascii_lowercase();
    if !is_host_name(&host) && host.parse::<Ipv6Addr>().is_err() {
        return Err(format!("{} is not `host:port`, `host` or `[address]:port`", quoted(text)));
    }
    let port = match port {
        None => default_port,
        // `parse` alone would accept `+80`.
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => port.parse().unwrap_or(0),
        Some(_) => 0,
    };
    if port == 0 {
        return Err(format!("the port of {} must be within 1 to 65535", quoted(text)));
    }
    Ok(Address { host, port })
}

/// A path of a replica: starts with `/` and would pass the router's own check of paths.
pub(super) fn path(text: &str) -> Result<(), String> {
    let shown = quoted(text);
    if !text.starts_with('/') {
        return Err(format!("{shown} must start with `/`"));
    }
    if text.len() > PATH_LENGTH_MAX {
        return Err(format!("is longer than {PATH_LENGTH_MAX} bytes; shorten it"));
    }
    if let Some(bad) = text.chars().find(|c| !c.is_ascii_graphic() || "?#\\\"<>^`{|}".contains(*c))
    {
        return Err(format!(
            "{shown} must be a path without query; the character {} is not allowed in it",
            quoted(&bad.to_string())
        ));
    }
    let lower = text.to_ascii_lowercase();
    let escapes_fit = lower.split('%').skip(1).all(|rest| {
        rest.get(..2).is_some_and(|hex| {
            hex.bytes().all(|b| b.is_ascii_hexdigit()) && !["00", "2e", "2f", "5c"].contains(&hex)
        })
    });
    if !escapes_fit {
        return Err(format!(
            "{shown} holds an incomplete escape or an escaped slash, backslash, dot or NUL"
        ));
    }
    if text.contains("//") || text.split('/').any(|segment| segment == "." || segment == "..") {
        return Err(format!("{shown} must not hold empty, `.` or `..` segments"));
    }
    Ok(())
}

/// A token of RFC 9110 §5.6.2: names of headers and cookies.
pub(super) fn is_token(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.len() <= TOKEN_LENGTH_MAX && text.bytes().all(fits)
}

/// A name of an object of Kubernetes (RFC 1123 subdomain).
pub(super) fn is_object_name(text: &str) -> bool {
    is_host_name(text)
        && !text.bytes().any(|b| b == b'_' || b.is_ascii_uppercase())
        && text.len() <= HOST_LENGTH_MAX
}

/// Underscores are not of the RFC, but compose files and clusters have them in service names.
fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=LABEL_LENGTH_MAX).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // What ends like a number is an IPv4 address or a typing error of one (WHATWG URL, host parser).
    let is_numeric = text
        .rsplit('.')
        .next()
        .is_some_and(|last| !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()));
    if is_numeric {
        return text.parse::<Ipv4Addr>().is_ok();
    }
    text.len() <= HOST_LENGTH_MAX && text.split('.').all(label)
}

fn not_a_host(text: &str) -> String {
    format!(
        "{} is not a host name: labels of letters, digits and `-`, joined with dots, without \
         wildcards",
        quoted(text)
    )
}
