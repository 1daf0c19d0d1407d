//! Fuzz target: the grammar of paths against the most forgiving server that could be a replica.

use super::{Rest, check_path, route};
use crate::domain::Name;

/// A byte of a path with one level of percent-encoding removed, and whether it was encoded.
type Decoded = Vec<(u8, bool)>;

/// Two oracles. The paths that pass are exactly those that the sentences of contract §2 and §12
/// allow, read literally; and what passes names the same endpoint and the same place on the replica
/// whether a server decodes it, resolves dots, merges slashes, turns backslashes or cuts
/// parameters, or does nothing of that.
pub fn path(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let passes = check_path(text).is_ok();
    let decoded = decode(text.as_bytes());
    assert_eq!(passes, is_allowed(text, decoded.as_deref()), "{text:?}");
    let Some(decoded) = decoded.filter(|_| passes) else { return };
    let decoded: Vec<u8> = decoded.into_iter().map(|(byte, _)| byte).collect();
    assert_eq!(resolve(&decoded), decoded, "a server could resolve {text:?} to another path");
    let without = without_parameters(&decoded);
    assert_eq!(resolve(&without), without, "a server that cuts parameters could resolve {text:?}");
    same_endpoint(text, &decoded);
}

/// Routing on the bytes as they are forwarded and on the bytes as a server decodes them.
fn same_endpoint(text: &str, decoded: &[u8]) {
    let Some(forwarded) = route(text) else { return };
    if Name::new(forwarded.endpoint).is_err() {
        // No endpoint has such a name: 404, and nothing is forwarded.
        return;
    }
    let Ok(decoded) = std::str::from_utf8(decoded) else { return };
    let again = route(decoded).expect("what routes encoded routes decoded");
    assert_eq!(forwarded.endpoint, again.endpoint, "{text:?}");
    match (forwarded.rest, again.rest) {
        (Rest::Score, rest) => assert_eq!(rest, Rest::Score, "{text:?}"),
        (Rest::Path(raw), Rest::Path(plain)) => {
            let raw = decode(raw.as_bytes()).expect("it was decoded before");
            let raw: Vec<u8> = raw.into_iter().map(|(byte, _)| byte).collect();
            assert_eq!(raw, plain.as_bytes(), "{text:?}");
        }
        // The replica decodes `/s%63ore` itself; it reaches the same handler there.
        (Rest::Path(_), Rest::Score) => {}
    }
}

/// `None` where a `%` is not followed by two hexadecimal digits.
fn decode(bytes: &[u8]) -> Option<Decoded> {
    let mut decoded = Vec::new();
    let mut rest = bytes.iter();
    while let Some(&byte) = rest.next() {
        if byte == b'%' {
            let high = char::from(*rest.next()?).to_digit(16)?;
            let low = char::from(*rest.next()?).to_digit(16)?;
            decoded.push((u8::try_from(high * 16 + low).expect("two digits"), true));
        } else {
            decoded.push((byte, false));
        }
    }
    Some(decoded)
}

fn is_allowed(text: &str, decoded: Option<&[(u8, bool)]>) -> bool {
    let Some(decoded) = decoded else { return false };
    let plain: Vec<u8> = decoded.iter().map(|(byte, _)| *byte).collect();
    let has_dots = plain.split(|b| *b == b'/').any(|segment| {
        let name = segment.split(|b| *b == b';').next().unwrap_or_default();
        name == b"." || name == b".."
    });
    text.starts_with('/')
        && !text.contains("//")
        && !decoded.contains(&(b'/', true))
        && !plain.contains(&b'\\')
        && !plain.contains(&0)
        && !has_dots
}

/// As forgiving servers do: backslashes become slashes, slashes are merged, dot segments resolved
/// (RFC 3986 §5.2.4).
fn resolve(path: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    let segments: Vec<&[u8]> = path.split(|b| *b == b'/' || *b == b'\\').skip(1).collect();
    let ends_open = segments.last().is_some_and(|s| [&b""[..], b".", b".."].contains(s));
    for segment in segments {
        match segment {
            b"" | b"." => {}
            b".." => drop(kept.pop()),
            other => kept.push(other),
        }
    }
    let mut resolved = Vec::new();
    for segment in &kept {
        resolved.push(b'/');
        resolved.extend_from_slice(segment);
    }
    if ends_open {
        resolved.push(b'/');
    }
    resolved
}

/// As servlet containers do: each segment ends at its first `;`. A segment of parameters only is
/// left alone, because what is cut there leaves `//`, which such servers keep as it is.
fn without_parameters(path: &[u8]) -> Vec<u8> {
    let segments = path.split(|b| *b == b'/').map(|segment| {
        let name = segment.split(|b| *b == b';').next().unwrap_or_default();
        if name.is_empty() { segment } else { name }
    });
    segments.collect::<Vec<_>>().join(&b'/')
}
