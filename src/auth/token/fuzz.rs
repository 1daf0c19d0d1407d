//! Fuzz target: the check of tokens against its rules, read plainly with `serde_json`.

use std::{
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

use super::{KeySet, MAX_KID_BYTES, Peek, SigningKey, TokenFault, Verified, verify};
use crate::domain::{Algorithm, Issuer};

const NOW: u64 = 1_800_000_000;
const LONGEST: u64 = 24 * 3600;
const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "api://demo";
/// PKCS#8 of an Ed25519 key, without its 32 bytes.
const PREFIX: [u8; 16] = [48, 46, 2, 1, 0, 48, 5, 6, 3, 43, 101, 112, 4, 34, 4, 32];
/// A date that no token has any more: the year 10000.
const TOO_LATE: f64 = 253_402_300_800.0;

struct World {
    key: SigningKey,
    keys: KeySet,
    rules: Issuer,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let key = SigningKey::from_der(&[PREFIX.as_slice(), &[7; 32]].concat()).expect("a key");
        let keys = KeySet::of([&key]);
        let rules = Issuer {
            issuer: ISSUER.to_owned(),
            audiences: vec![AUDIENCE.to_owned()],
            jwks_uri: None,
            algorithms: vec![Algorithm::EdDSA],
            max_lifetime: Duration::from_secs(LONGEST),
            required_claims: [("tid".to_owned(), "t".to_owned())].into(),
            required_scopes: vec!["score".to_owned()],
        };
        World { key, keys, rules }
    })
}

fn judge(token: &str) -> Result<Verified, TokenFault> {
    let World { keys, rules, .. } = world();
    verify(&Peek::read(token)?, keys, rules, SystemTime::UNIX_EPOCH + Duration::from_secs(NOW))
}

/// The first byte chooses what the rest is: the text of a token, which cannot be good as nobody has
/// signed it; or a header, a line feed, and claims, which are signed with a known key. Those are
/// accepted only where [`is_good`], and exactly there once nothing in them is said twice.
pub fn token(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else { return };
    if choice % 2 == 0 {
        let verdict = judge(&String::from_utf8_lossy(data));
        assert!(verdict.is_err(), "accepted without a signature");
        return;
    }
    let Some(end) = data.iter().position(|byte| *byte == b'\n') else { return };
    let (header, claims) =
        (data.get(..end).unwrap_or_default(), data.get(end + 1..).unwrap_or_default());
    let verdict = judge(&signed(header, claims));
    let read = |text| serde_json::from_slice::<Value>(text);
    let (Ok(header), Ok(claims)) = (read(header), read(claims)) else {
        assert!(verdict.is_err(), "accepted, and no JSON");
        return;
    };
    let is_good = is_good(&header, &claims) == Some(());
    assert!(verdict.is_err() || is_good, "accepted: {header} {claims}");
    let once = judge(&signed(header.to_string().as_bytes(), claims.to_string().as_bytes()));
    assert_eq!(once.is_ok(), is_good, "{once:?}: {header} {claims}");
}

fn signed(header: &[u8], claims: &[u8]) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(world().key.sign(&message));
    format!("{message}.{signature}")
}

/// Contract §7 and the rules of [`world`], sentence by sentence; `None`: refused.
fn is_good(header: &Value, claims: &Value) -> Option<()> {
    let (header, claims) = (header.as_object()?, claims.as_object()?);
    let must = |holds: bool| holds.then_some(());
    must(["crit", "b64", "cty", "zip"].iter().all(|name| !header.contains_key(*name)))?;
    must(header.get("alg")?.as_str()? == "EdDSA")?;
    if let Some(kind) = header.get("typ") {
        let kind = kind.as_str()?.to_ascii_lowercase();
        must(["jwt", "at+jwt", "application/jwt", "application/at+jwt"].contains(&kind.as_str()))?;
    }
    if let Some(kid) = header.get("kid") {
        let kid = kid.as_str()?;
        must(kid.len() <= MAX_KID_BYTES && kid == world().key.kid())?;
    }
    must(claims.get("iss")?.as_str()? == ISSUER)?;
    must(words(claims.get("aud")?, false)?.contains(&AUDIENCE))?;
    let date = |name: &str| match claims.get(name) {
        None => Some(None),
        Some(Value::Number(number)) => {
            let seconds = number.as_f64()?;
            // A moment before the end of the year 9999, without its fraction.
            must((0.0..TOO_LATE).contains(&seconds) && seconds <= TOO_LATE - 1.0)?;
            Some(Some(seconds.trunc()))
        }
        Some(_) => None,
    };
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let (now, longest) = (NOW as f64, LONGEST as f64);
    let (expires, from, issued) = (date("exp")??, date("nbf")?, date("iat")?);
    must(now < expires + 60.0)?;
    must(from.is_none_or(|from| now + 60.0 >= from))?;
    must(issued.is_none_or(|at| now + 60.0 >= at && (0.0..=longest).contains(&(expires - at))))?;
    must(issued.is_some() || expires <= now + longest + 60.0)?;
    must(claims.get("sub").is_none_or(Value::is_string))?;
    must(claims.get("tid")?.as_str()? == "t")?;
    let mut scopes = Vec::new();
    if let Some(scope) = claims.get("scope") {
        scopes.extend(scope.as_str()?.split(' '));
    }
    if let Some(scope) = claims.get("scp") {
        scopes.extend(words(scope, true)?);
    }
    must(scopes.contains(&"score"))
}

/// A string, whole or its words, or an array of strings.
fn words(value: &Value, is_split: bool) -> Option<Vec<&str>> {
    match value {
        Value::String(text) if is_split => Some(text.split(' ').collect()),
        Value::String(text) => Some(vec![text]),
        Value::Array(list) => list.iter().map(Value::as_str).collect(),
        _ => None,
    }
}
