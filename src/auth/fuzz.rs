//! Fuzz target: the grammar of `Authorization` and `api-key` against its rules read literally.

use http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};

pub use super::token::fuzz::token;
use super::{API_KEY, Caller, NoTokens, Refusal, authorize, digest};
use crate::domain::{AuthPolicy, Name};

/// The valid keys.
const KEYS: [&str; 2] = ["first", "second"];

/// The first byte chooses the policy; then each line is a field: `A` for `Authorization`, `K` for
/// `api-key`, anything else for a field without meaning, and its value. The oracle is
/// [`by_the_rules`].
pub fn authorization(data: &[u8]) {
    let Some((choice, text)) = data.split_first() else { return };
    let is_open = choice % 2 == 1;
    let policy = if is_open {
        AuthPolicy::open()
    } else {
        AuthPolicy::of_keys(KEYS.iter().map(|key| digest(key.as_bytes())).collect())
    };
    let mut headers = HeaderMap::new();
    for line in text.split(|b| *b == b'\n') {
        let Some((name, value)) = line.split_first() else { continue };
        let name = match name {
            b'A' => AUTHORIZATION,
            b'K' => API_KEY,
            _ => HeaderName::from_static("x-other"),
        };
        // What cannot be a value never gets past the parser of the connection.
        let Ok(value) = HeaderValue::from_bytes(value) else { continue };
        headers.append(name, value);
    }
    let endpoint: Name = "demo".parse().expect("a name");
    let verdict = authorize(&endpoint, &policy, &headers, &NoTokens);
    assert_eq!(verdict, by_the_rules(is_open, &headers), "{headers:?}");
}

/// Contract §7 and §12, sentence by sentence.
fn by_the_rules(is_open: bool, headers: &HeaderMap) -> Result<Caller, Refusal> {
    let all = |name| headers.get_all(name).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>();
    let (authorization, api_key) = (all(AUTHORIZATION), all(API_KEY));
    // Two fields where one is allowed: 400, whatever they say.
    if authorization.len() > 1 || api_key.len() > 1 {
        return Err(Refusal::Twice);
    }
    // Mode None asks for nothing.
    if is_open {
        return Ok(Caller::Anonymous);
    }
    // `Authorization` counts before `api-key`.
    let key = match (authorization.first(), api_key.first()) {
        (Some(value), _) => {
            let text = std::str::from_utf8(value).map_err(|_| Refusal::Malformed)?;
            let (scheme, rest) = text.split_once(' ').ok_or(Refusal::Malformed)?;
            // 1*SP behind the scheme (RFC 9110 §11.4), then one word of visible ASCII.
            let word = rest.trim_start_matches(' ');
            let is_word = !word.is_empty() && word.chars().all(|c| ('!'..='~').contains(&c));
            if !scheme.eq_ignore_ascii_case("bearer") || !is_word {
                return Err(Refusal::Malformed);
            }
            word.as_bytes()
        }
        (None, Some(value)) => value,
        (None, None) => return Err(Refusal::Missing),
    };
    if KEYS.iter().any(|known| known.as_bytes() == key) {
        Ok(Caller::Key)
    } else {
        Err(Refusal::Wrong)
    }
}
