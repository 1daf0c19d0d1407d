//! Issuers by script and by a stopped clock: rotation, absence, floods of unknown keys.

use std::{
    cell::Cell,
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, timeout};

use super::{
    ASK_PAUSE, CACHED_TOKENS_MAX, Fetch, FetchFault, Fetched, ISSUERS_MAX, Issuers, KEYS_WAIT,
    Keys, OwnKeys, SourceId,
    cache::{Cache, Mark, Origin, Verdict},
};
use crate::{
    auth::{KeySet, Order, SigningKey, TokenFault, Tokens, issue, jwks},
    domain::{
        Algorithm, AuthMode, AuthPolicy, Catalog, Endpoint, ErrorProfile, Issuer, Name, TokenPolicy,
    },
    lifecycle::{Lifecycle, Phase},
    telemetry::Metrics,
};

const ISSUER: &str = "https://login.example";
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

thread_local! {
    /// How far the clock on the wall of this thread has been put forward.
    static AHEAD: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

fn wall() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000) + AHEAD.get()
}

fn signing_key() -> SigningKey {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    SigningKey::from_der(&pair.serialize_der()).unwrap()
}

fn demo() -> Name {
    Name::new("demo").unwrap()
}

/// A token of [`ISSUER`] for the endpoint `demo`.
fn token(key: &SigningKey, lifetime: Duration) -> String {
    token_of(ISSUER, key, lifetime)
}

fn token_of(issuer: &str, key: &SigningKey, lifetime: Duration) -> String {
    let endpoint = demo();
    let order = Order { issuer, endpoint: &endpoint, subject: "somebody", lifetime, id: "1" };
    issue(key, &order, wall()).access_token
}

fn rules(issuer: &str) -> Issuer {
    Issuer {
        issuer: issuer.to_owned(),
        audiences: vec!["modelway:demo".to_owned()],
        jwks_uri: None,
        algorithms: vec![Algorithm::EdDSA],
        max_lifetime: 24 * HOUR,
        required_claims: BTreeMap::new(),
        required_scopes: Vec::new(),
    }
}

fn policy(issuers: &[&str]) -> Arc<TokenPolicy> {
    let issuers = issuers.iter().map(|issuer| rules(issuer)).collect();
    Arc::new(TokenPolicy { lifetime: HOUR, issuers })
}

fn catalog(policies: &[Arc<TokenPolicy>]) -> Catalog {
    let endpoint = |(at, policy): (usize, &Arc<TokenPolicy>)| {
        let name = Name::new(&format!("demo-{at}")).unwrap();
        let endpoint = Endpoint {
            name: name.clone(),
            auth: AuthPolicy {
                mode: AuthMode::Token,
                keys: Vec::new(),
                token: Some(Arc::clone(policy)),
            },
            forward_credentials: false,
            max_payload_bytes: 1,
            sticky_by: None,
            error_profile: ErrorProfile::Kubernetes,
            hosts: Vec::new(),
            server_timing: false,
            versions: Vec::new(),
            default_version: 0,
        };
        (name, Arc::new(endpoint))
    };
    let endpoints = policies.iter().enumerate().map(endpoint).collect();
    Catalog { revision: 1, endpoints }
}

/// An issuer that answers as it is told, after a while.
struct Script {
    answer: Mutex<Result<String, FetchFault>>,
    takes: Mutex<Duration>,
    fetches: AtomicUsize,
}

impl Script {
    fn publishing(keys: &[&SigningKey]) -> Arc<Self> {
        let script = Self {
            answer: Mutex::new(Ok(String::new())),
            takes: Mutex::new(Duration::from_millis(100)),
            fetches: AtomicUsize::new(0),
        };
        script.publish(keys);
        Arc::new(script)
    }

    fn publish(&self, keys: &[&SigningKey]) {
        *self.answer.lock() = Ok(jwks(keys.iter().copied()).to_string());
    }

    fn fail(&self) {
        *self.answer.lock() = Err(FetchFault::Timeout);
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::Relaxed)
    }
}

impl Fetch for Script {
    fn fetch(&self, _: &SourceId) -> BoxFuture<'static, Result<Fetched, FetchFault>> {
        self.fetches.fetch_add(1, Ordering::Relaxed);
        let (answer, takes) = (self.answer.lock().clone(), *self.takes.lock());
        Box::pin(async move {
            sleep(takes).await;
            answer.map(|text| Fetched { body: Bytes::from(text), max_age: None })
        })
    }
}

/// Issuers of one policy under a script.
struct World {
    issuers: Arc<Issuers>,
    policy: Arc<TokenPolicy>,
    lifecycle: Lifecycle,
    metrics: Arc<Metrics>,
}

impl World {
    fn start(script: &Arc<Script>, own: Option<Arc<dyn OwnKeys>>) -> Self {
        let policy = policy(&[ISSUER]);
        let (lifecycle, metrics) = (Lifecycle::new(), Metrics::new());
        let issuers = Issuers::new(own, wall);
        issuers.publish(&catalog(&[Arc::clone(&policy)]));
        let keep = Arc::clone(&issuers).keep(
            lifecycle.clone(),
            Arc::clone(script) as _,
            Arc::clone(&metrics),
        );
        lifecycle.spawn("issuers", keep);
        Self { issuers, policy, lifecycle, metrics }
    }

    fn check(&self, token: &str) -> Result<(), TokenFault> {
        self.issuers.check(&demo(), &self.policy, token)
    }

    /// As a request does: asks, and once more when keys have come. With how long it waited.
    async fn ask(&self, token: &str) -> (Result<(), TokenFault>, Duration) {
        let begun = Instant::now();
        let mut answer = self.check(token);
        if answer.is_err_and(TokenFault::wants_keys)
            && let Some(keys) = self.issuers.coming(&self.policy, token)
        {
            keys.await;
            answer = self.check(token);
        }
        (answer, begun.elapsed())
    }

    async fn end(self) {
        self.lifecycle.enter(Phase::Stopped);
        let ended = timeout(MINUTE, self.lifecycle.finish_tasks(2 * MINUTE)).await;
        assert!(ended.is_ok(), "the task ends with the process");
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_request_waits_for_the_first_keys() {
    let key = signing_key();
    let script = Script::publishing(&[&key]);
    let world = World::start(&script, None);
    let good = token(&key, HOUR);
    assert_eq!(world.check(&good), Err(TokenFault::KeysUnavailable));
    let (answer, waited) = world.ask(&good).await;
    assert_eq!(answer, Ok(()));
    assert!(waited <= Duration::from_millis(200), "{waited:?}");
    assert_eq!(script.fetches(), 1);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn without_keys_nobody_is_let_in_and_nobody_waits_for_long() {
    let key = signing_key();
    let script = Script::publishing(&[]);
    script.fail();
    *script.takes.lock() = Duration::from_secs(5);
    let world = World::start(&script, None);
    for _ in 0..20 {
        let (answer, waited) = world.ask(&token(&key, HOUR)).await;
        assert_eq!(answer, Err(TokenFault::KeysUnavailable));
        assert!(waited <= KEYS_WAIT + Duration::from_millis(10), "{waited:?}");
        sleep(Duration::from_secs(1)).await;
    }
    let [status] = world.issuers.statuses().try_into().unwrap();
    assert_eq!((status.keys, status.age), (0, None));
    assert!(status.fault.unwrap().contains("no complete answer within 5 s"));
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_is_away_for_an_hour_stops_no_known_key() {
    let (key, next) = (signing_key(), signing_key());
    let script = Script::publishing(&[&key]);
    let world = World::start(&script, None);
    let good = token(&key, 2 * HOUR);
    assert_eq!(world.ask(&good).await.0, Ok(()));
    script.fail();
    let before = script.fetches();
    for minute in 0..60 {
        sleep(MINUTE).await;
        AHEAD.set(AHEAD.get() + MINUTE);
        // One that was verified before, and one that was not.
        assert_eq!(world.ask(&good).await.0, Ok(()), "minute {minute}");
        assert_eq!(world.ask(&token(&key, HOUR)).await.0, Ok(()), "minute {minute}");
    }
    let asked = script.fetches() - before;
    assert!((40..=90).contains(&asked), "{asked} fetches in an hour");
    let [status] = world.issuers.statuses().try_into().unwrap();
    assert_eq!(status.keys, 1);
    assert!(status.age.unwrap() >= 59 * MINUTE, "{:?}", status.age);
    script.publish(&[&key, &next]);
    sleep(2 * MINUTE).await;
    assert_eq!(world.check(&token(&next, HOUR)), Ok(()));
    assert_eq!(world.issuers.statuses()[0].fault, None);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_unknown_keys_cause_a_fetch_in_thirty_seconds_at_most() {
    let key = signing_key();
    let script = Script::publishing(&[&key]);
    let world = World::start(&script, None);
    let good = token(&key, HOUR);
    assert_eq!(world.ask(&good).await.0, Ok(()));
    let strangers: Vec<_> = (0..100).map(|_| token(&signing_key(), HOUR)).collect();
    let (begun, before) = (Instant::now(), script.fetches());
    let mut waited_in_all = Duration::ZERO;
    for _ in 0..100 {
        for stranger in &strangers {
            let (answer, waited) = world.ask(stranger).await;
            assert_eq!(answer, Err(TokenFault::UnknownKey));
            waited_in_all += waited;
        }
        assert_eq!(world.check(&good), Ok(()));
        sleep(Duration::from_secs(2)).await;
    }
    let took = begun.elapsed();
    let allowed = took.as_secs() / ASK_PAUSE.as_secs() + 2;
    let asked = script.fetches() - before;
    println!("10000 unknown keys in {took:?}: {asked} fetches, {waited_in_all:?} waited in all");
    assert!(asked >= 2 && asked as u64 <= allowed, "{asked} fetches in {took:?}");
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn requests_at_one_moment_wait_for_one_fetch() {
    let (key, next) = (signing_key(), signing_key());
    let script = Script::publishing(&[&key]);
    let world = World::start(&script, None);
    assert_eq!(world.ask(&token(&key, HOUR)).await.0, Ok(()));
    script.publish(&[&key, &next]);
    let tokens: Vec<_> = (1..=50).map(|n| token(&next, HOUR + n * MINUTE)).collect();
    let asks = tokens.iter().map(|token| world.ask(token));
    for (answer, waited) in futures_util::future::join_all(asks).await {
        assert_eq!(answer, Ok(()));
        assert!(waited <= Duration::from_millis(200), "{waited:?}");
    }
    assert_eq!(script.fetches(), 2);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_taken_away_ends_its_remembered_tokens() {
    let (key, next) = (signing_key(), signing_key());
    let script = Script::publishing(&[&key]);
    let world = World::start(&script, None);
    let (old, new) = (token(&key, 2 * HOUR), token(&next, 2 * HOUR));
    assert_eq!(world.ask(&old).await.0, Ok(()));
    assert!(world.issuers.remembers(&demo(), &world.policy, &old));
    // The same keys again leave what is remembered alone.
    sleep(20 * MINUTE).await;
    assert!(script.fetches() >= 2);
    assert!(world.issuers.remembers(&demo(), &world.policy, &old));
    script.publish(&[&next]);
    assert_eq!(world.ask(&new).await.0, Ok(()));
    assert!(!world.issuers.remembers(&demo(), &world.policy, &old));
    assert_eq!(world.check(&old), Err(TokenFault::UnknownKey));
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_remembered_holds_for_its_endpoint_and_policy_and_until_it_expires() {
    let key = signing_key();
    let script = Script::publishing(&[&key]);
    let world = World::start(&script, None);
    let good = token(&key, HOUR);
    assert_eq!(world.ask(&good).await.0, Ok(()));
    let other = Name::new("other").unwrap();
    assert!(!world.issuers.remembers(&other, &world.policy, &good));
    assert!(!world.issuers.remembers(&demo(), &policy(&[ISSUER]), &good));
    let strict = TokenPolicy {
        issuers: vec![Issuer { audiences: vec!["another".to_owned()], ..rules(ISSUER) }],
        ..TokenPolicy::clone(&world.policy)
    };
    let refused = world.issuers.check(&demo(), &Arc::new(strict), &good);
    assert_eq!(refused, Err(TokenFault::Audience));
    AHEAD.set(HOUR + Duration::from_secs(59));
    assert_eq!(world.check(&good), Ok(()));
    AHEAD.set(HOUR + Duration::from_secs(61));
    assert_eq!(world.check(&good), Err(TokenFault::Expired));
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn issuers_come_and_go_with_the_catalog() {
    let key = signing_key();
    let script = Script::publishing(&[&key]);
    let world = World::start(&script, None);
    assert_eq!(world.ask(&token(&key, HOUR)).await.0, Ok(()));
    let text = |world: &World| {
        world.metrics.set_issuers(&world.issuers.statuses());
        world.metrics.encode()
    };
    assert!(text(&world).contains(&format!("modelway_issuer_keys{{issuer=\"{ISSUER}\"}} 1")));
    let other = "https://other.example";
    let (two, before) = (policy(&[ISSUER, other]), script.fetches());
    world.issuers.publish(&catalog(&[Arc::clone(&world.policy), Arc::clone(&two)]));
    sleep(Duration::from_secs(1)).await;
    // Two endpoints with the same issuer share its keys, which are not fetched again.
    assert_eq!(script.fetches() - before, 1);
    assert_eq!(world.issuers.statuses().len(), 2);
    let from_other = token_of(other, &key, HOUR);
    assert_eq!(world.issuers.check(&demo(), &two, &from_other), Ok(()));
    assert_eq!(world.check(&from_other), Err(TokenFault::Issuer));
    world.issuers.publish(&catalog(&[policy(&[other])]));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.check(&token(&key, 2 * HOUR)), Err(TokenFault::KeysUnavailable));
    let text = text(&world);
    assert!(text.contains(other) && !text.contains(ISSUER), "{text}");
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn there_is_a_limit_to_issuers_and_those_that_are_there_stay() {
    let key = signing_key();
    let script = Script::publishing(&[&key]);
    let world = World::start(&script, None);
    assert_eq!(world.ask(&token(&key, HOUR)).await.0, Ok(()));
    let names: Vec<_> = (0..300).map(|n| format!("https://a{n}.example")).collect();
    let mut policies: Vec<_> = names
        .chunks(8)
        .map(|some| policy(&some.iter().map(String::as_str).collect::<Vec<_>>()))
        .collect();
    policies.push(Arc::clone(&world.policy));
    world.issuers.publish(&catalog(&policies));
    sleep(Duration::from_secs(10)).await;
    assert_eq!(world.issuers.statuses().len(), ISSUERS_MAX);
    assert_eq!(world.check(&token(&key, HOUR)), Ok(()));
    world.end().await;
}

#[derive(Debug)]
struct Ring(Mutex<Arc<Keys>>);

impl OwnKeys for Ring {
    fn issuer(&self) -> &'static str {
        "modelway"
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.0.lock())
    }
}

#[tokio::test(start_paused = true)]
async fn our_own_tokens_are_good_everywhere_and_as_long_as_their_key_is() {
    let (key, own, next) = (signing_key(), signing_key(), signing_key());
    let script = Script::publishing(&[&key]);
    let ring = Arc::new(Ring(Mutex::new(Keys::new(KeySet::of([&own])))));
    let world = World::start(&script, Some(Arc::clone(&ring) as _));
    let good = token_of("modelway", &own, HOUR);
    assert_eq!(world.check(&good), Ok(()));
    assert!(world.issuers.remembers(&demo(), &world.policy, &good));
    let other = Name::new("other").unwrap();
    let elsewhere = world.issuers.check(&other, &world.policy, &good);
    assert_eq!(elsewhere, Err(TokenFault::Audience));
    // The outside issuer's key makes no token of ours, and ours none of his.
    assert!(world.check(&token_of("modelway", &key, HOUR)).is_err());
    assert!(world.ask(&token(&own, HOUR)).await.0.is_err());
    *ring.0.lock() = Keys::new(KeySet::of([&own, &next]));
    assert_eq!(world.check(&good), Ok(()));
    *ring.0.lock() = Keys::new(KeySet::of([&next]));
    assert_eq!(world.check(&good), Err(TokenFault::UnknownKey));
    assert!(world.issuers.coming(&world.policy, &good).is_none());
    world.end().await;
}

#[test]
fn what_is_remembered_is_bounded_and_the_oldest_goes_first() {
    let cache = Cache::new();
    let policy = policy(&[]);
    let verdict = || Verdict {
        endpoint: demo(),
        policy: Arc::clone(&policy),
        accepted_until: wall() + HOUR,
        origin: Origin::Own,
        keys: 7,
    };
    let marks: Vec<_> =
        (0..2 * CACHED_TOKENS_MAX).map(|n| Mark::of(&n.to_string(), &policy)).collect();
    for mark in &marks {
        cache.put(*mark, verdict());
    }
    let known = |mark: &Mark| cache.has(mark, &demo(), &policy, wall(), |_| Some(7));
    assert!(cache.len() <= CACHED_TOKENS_MAX, "{}", cache.len());
    assert!(marks.iter().rev().take(CACHED_TOKENS_MAX / 2).all(known));
    assert!(!marks.iter().take(CACHED_TOKENS_MAX / 2).any(known));
    let last = marks.last().unwrap();
    assert!(!cache.has(last, &demo(), &policy, wall(), |_| Some(8)));
    assert!(!known(last), "what does not hold is forgotten");
}
