//! What a token costs on the data path: remembered, and verified anew.
#![expect(clippy::print_stdout, reason = "a measurement speaks to people")]

use std::{
    collections::BTreeMap,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use modelway::{
    auth::{KeySet, Order, SigningKey, Tokens, issue},
    domain::{Name, TokenPolicy},
    tokens::{Issuers, Keys, OwnKeys},
};

const TOKENS: u32 = 1000;
const ROUNDS: u32 = 100;
/// The most that a remembered token may cost (issue 5, §2).
const REMEMBERED_MAX: Duration = Duration::from_micros(5);

#[derive(Debug)]
struct Own(Arc<Keys>);

impl OwnKeys for Own {
    fn issuer(&self) -> &'static str {
        "modelway"
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.0)
    }
}

fn main() -> ExitCode {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
    let key = SigningKey::from_der(&pair.serialize_der()).expect("a key for Ed25519");
    let own = Arc::new(Own(Keys::new(KeySet::of([&key]))));
    let issuers = Issuers::new(Some(own), SystemTime::now);
    let policy = Arc::new(TokenPolicy { lifetime: Duration::from_secs(3600), issuers: Vec::new() });
    let endpoint = Name::new("demo").expect("a name");
    let tokens: BTreeMap<u32, String> = (0..TOKENS)
        .map(|n| {
            // As long as the tokens of large issuers are.
            let id = format!("{n:0>1000}");
            let order = Order {
                issuer: "modelway",
                endpoint: &endpoint,
                subject: "bench",
                lifetime: Duration::from_secs(3600),
                id: &id,
            };
            (n, issue(&key, &order, SystemTime::now()).access_token)
        })
        .collect();
    let round = || {
        let begun = Instant::now();
        for token in tokens.values() {
            issuers.check(&endpoint, &policy, token).expect("the token is good");
        }
        begun.elapsed() / TOKENS
    };
    let verified = round();
    let mut rounds: Vec<Duration> = (0..ROUNDS).map(|_| round()).collect();
    rounds.sort_unstable();
    let remembered = rounds.get(rounds.len() / 2).copied().unwrap_or_default();
    let bytes = tokens.values().map(String::len).max().unwrap_or_default();
    println!("a token of {bytes} bytes: verified {verified:?}, remembered {remembered:?}");
    if remembered > REMEMBERED_MAX {
        println!("a remembered token costs more than {REMEMBERED_MAX:?}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
