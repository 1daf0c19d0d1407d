//! The one grammar of credentials: what a request presents in `Authorization` or `api-key`
//! (contract §7).

use http::{HeaderMap, HeaderName, header::AUTHORIZATION};

use super::Refusal;

/// The header that is accepted in place of `Authorization` (contract §7).
pub const API_KEY: HeaderName = HeaderName::from_static("api-key");

/// What a request presents. Never printed by `Debug`.
pub(super) enum Credential<'h> {
    /// One word: a key or a token.
    Word(&'h [u8]),
    /// Neither header is there.
    Missing,
    /// `Authorization` is not of the form `Bearer <word>`.
    Malformed,
}

/// The credential of a request. Where both headers are there, `Authorization` counts; a header
/// that is there twice is refused, because it is unclear which one counts.
pub(super) fn credential(headers: &HeaderMap) -> Result<Credential<'_>, Refusal> {
    let mut authorization = headers.get_all(AUTHORIZATION).iter();
    let mut api_key = headers.get_all(API_KEY).iter();
    let bearer = authorization.next();
    let bare = api_key.next();
    if authorization.next().is_some() || api_key.next().is_some() {
        return Err(Refusal::Twice);
    }
    Ok(match (bearer, bare) {
        (Some(value), _) => {
            bearer_value(value.as_bytes()).map_or(Credential::Malformed, Credential::Word)
        }
        (None, Some(value)) => Credential::Word(value.as_bytes()),
        (None, None) => Credential::Missing,
    })
}

/// The value behind `Bearer` and at least one space, and nothing but spaces; the scheme in any case
/// (RFC 9110 §11.1, §11.4). Space at the end of a field is no part of it under HTTP/1, and a fault
/// under HTTP/2 (RFC 9113 §8.2.1).
pub fn bearer_value(field: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = field.split_at_checked(b"Bearer".len())?;
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    if !scheme.eq_ignore_ascii_case(b"Bearer") || spaces == 0 {
        return None;
    }
    let (_, value) = rest.split_at(spaces);
    let one_word = !value.is_empty() && value.iter().all(u8::is_ascii_graphic);
    one_word.then_some(value)
}

/// Whether a credential has the shape of a token: text with two dots (RFC 7515 §7.1).
pub(super) fn as_token(word: &[u8]) -> Option<&str> {
    let dots = memchr::memchr_iter(b'.', word).count();
    if dots == 2 { std::str::from_utf8(word).ok() } else { None }
}
