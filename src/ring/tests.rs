//! The schedule under every clock, and the ring over a vault of several routers.

use std::{
    collections::BTreeSet,
    os::unix::fs::PermissionsExt as _,
    sync::atomic::{AtomicU64, Ordering},
};

use futures_util::future::BoxFuture;
use proptest::prelude::*;

use super::*;
use crate::auth::{LEEWAY, MAX_OWN_LIFETIME, Peek, own_issuer, verify};

const DAY: u64 = 24 * 3600;

/// One router of the model: what its clock shows more than the true time, and how long news takes.
#[derive(Debug, Clone, Copy)]
struct Router {
    skew: i64,
    delay: u64,
}

fn router() -> impl Strategy<Value = Router> {
    let skew = i64::try_from(SKEW.as_secs()).unwrap();
    (-skew..=skew, 0..=SEEN_WITHIN.as_secs()).prop_map(|(skew, delay)| Router { skew, delay })
}

impl Router {
    fn clock(self, now: u64) -> u64 {
        now.checked_add_signed(self.skew).unwrap()
    }
}

/// The list of keys by the true time at which it was written.
type History = Vec<(u64, Vec<u64>)>;

/// What a router has heard of by then.
fn heard(history: &History, router: Router, now: u64) -> &[u64] {
    let known = history.iter().rev().find(|(written, _)| written + router.delay <= now);
    known.map_or(&[], |(_, made)| made)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A year of rotations, the lead changing hands at random: whatever signs is accepted by all, from
    /// the moment of signing until the last token of it has expired.
    #[test]
    fn every_router_accepts_what_any_router_signs_for_as_long_as_a_token_lives(
        routers in prop::collection::vec(router(), 1..4),
        rotate_days in 1_u64..60,
        leaders in prop::collection::vec(any::<prop::sample::Index>(), 1..8),
        step in 301_u64..7200,
    ) {
        let start = 1_800_000_000;
        let rotate = Duration::from_secs(rotate_days * DAY);
        let mut history: History = Vec::new();
        let mut list: Vec<u64> = Vec::new();
        // For each key: when it was signed with last, by true time.
        let mut last_signed: Vec<(u64, u64)> = Vec::new();
        let mut now = start;
        let mut turn = 0;
        while now < start + 100 * DAY {
            let leader = routers[leaders[turn % leaders.len()].index(routers.len())];
            turn += 1;
            let clock = leader.clock(now);
            let gone = spent(&list, clock);
            let mut next = list[gone..].to_vec();
            next.extend(due(&next, clock, rotate));
            if next != list {
                for spent in &list[..gone] {
                    let last = last_signed.iter().find(|(key, _)| key == spent).map(|(_, at)| *at);
                    let ends = last.unwrap_or(0) + MAX_OWN_LIFETIME.as_secs() + LEEWAY.as_secs();
                    prop_assert!(ends <= now, "a key went {} s too early", ends - now);
                }
                list = next;
                history.push((now, list.clone()));
            }
            prop_assert!(list.len() <= KEYS_MAX);
            for signing in &routers {
                let known = heard(&history, *signing, now);
                let had_for = now - history.first().map_or(now, |(written, _)| written + signing.delay)
                    .min(now);
                // The first key may sign after 10 s, which says nothing about slow news: a fresh
                // installation is looked at by itself below.
                if now < start + SIGN_AFTER.as_secs() + 2 * SKEW.as_secs() {
                    continue;
                }
                let index = signer(known, signing.clock(now), Duration::from_secs(had_for));
                let key = known[index.expect("there is always one")];
                for other in &routers {
                    prop_assert!(
                        heard(&history, *other, now).contains(&key),
                        "signed {} s after it was made", now - key
                    );
                }
                last_signed.retain(|(known, _)| *known != key);
                last_signed.push((key, now));
            }
            now += step;
        }
        prop_assert!(history.len() > 1, "keys were rotated");
    }
}

#[test]
fn a_key_signs_at_its_age_and_not_a_second_before() {
    let (old, new) = (1_000_000, 2_000_000);
    let at = |now| signer(&[old, new], now, Duration::ZERO);
    assert_eq!(at(new + SIGN_AFTER.as_secs() - 1), Some(0));
    assert_eq!(at(new + SIGN_AFTER.as_secs()), Some(1));
    // The only one there is, by this router's own clock.
    let only = |had_for| signer(&[old], old, had_for);
    assert_eq!(only(SIGN_FIRST_AFTER.checked_sub(Duration::from_millis(1)).unwrap()), None);
    assert_eq!(only(SIGN_FIRST_AFTER), Some(0));
    assert_eq!(signer(&[], 0, Duration::MAX), None);
}

#[test]
fn a_key_is_made_when_the_newest_is_old_and_goes_when_its_tokens_are_gone() {
    let rotate = Duration::from_secs(30 * DAY);
    assert_eq!(due(&[], 7, rotate), Some(7));
    assert_eq!(due(&[100], 100 + 30 * DAY - 1, rotate), None);
    assert_eq!(due(&[100], 100 + 30 * DAY, rotate), Some(100 + 30 * DAY));
    // A clock that was set back makes no key that is older than the others.
    assert_eq!(due(&[1000], 10, rotate), None);
    let full: Vec<u64> = (0..KEYS_MAX as u64).collect();
    assert_eq!(due(&full, 1000 * DAY, rotate), None, "the list has a bound");
    let keep = KEEP_AFTER.as_secs();
    assert_eq!(spent(&[0, 1000, 5000], 1000 + keep - 1), 0);
    assert_eq!(spent(&[0, 1000, 5000], 1000 + keep), 1);
    assert_eq!(spent(&[0, 1000, 5000], 5000 + keep), 2);
    assert_eq!(spent(&[0], u64::MAX), 0, "the last key stays");
    // Even at the fastest rotation the keys that are needed fit.
    let fastest = ROTATE_BOUNDS.start().as_secs();
    assert!(keep.div_ceil(fastest) + 2 <= KEYS_MAX as u64);
}

/// A vault as a Secret is one: every router sees it, one leads, and a write over what is not there any
/// more is refused.
#[derive(Debug, Clone)]
struct Shared {
    held: watch::Sender<Option<Held>>,
    leads: watch::Receiver<bool>,
    _lead: Arc<watch::Sender<bool>>,
}

impl Shared {
    fn new() -> Self {
        let (lead, leads) = watch::channel(true);
        let held = watch::Sender::new(Some(Held::default()));
        Self { held, leads, _lead: Arc::new(lead) }
    }

    /// The same vault for a router that does not lead.
    fn follower(&self) -> Self {
        let (lead, leads) = watch::channel(false);
        Self { held: self.held.clone(), leads, _lead: Arc::new(lead) }
    }

    fn put(&self, text: Option<&str>) {
        let text = text.map(ClearText::new);
        let revision = format!("by hand {:?}", Instant::now()).into();
        self.held.send_replace(Some(Held { text, revision }));
    }
}

impl Vault for Shared {
    fn held(&self) -> watch::Receiver<Option<Held>> {
        self.held.subscribe()
    }

    fn leads(&self) -> watch::Receiver<bool> {
        self.leads.clone()
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn write(&self, text: ClearText, over: Held) -> BoxFuture<'static, Result<(), VaultError>> {
        let mut result = Err(VaultError::Changed);
        self.held.send_if_modified(|held| {
            let is_same = held.as_ref().is_some_and(|held| held.revision == over.revision);
            if is_same {
                static REVISION: AtomicU64 = AtomicU64::new(1);
                let revision = REVISION.fetch_add(1, Ordering::Relaxed).to_string().into();
                *held = Some(Held { text: Some(text), revision });
                result = Ok(());
            }
            is_same
        });
        Box::pin(std::future::ready(result))
    }
}

fn settings() -> Settings {
    Settings { issuer: "modelway".to_owned(), rotate_every: ROTATE_EVERY }
}

fn name() -> Name {
    "demo".parse().unwrap()
}

async fn ring(lifecycle: &Lifecycle, vault: impl Vault + 'static) -> Arc<Ring> {
    Ring::start(lifecycle, settings(), Arc::new(vault), SystemTime::now).await
}

fn accepts(ring: &Ring, token: &str) -> bool {
    let rules = own_issuer("modelway", &name());
    verify(&Peek::read(token).unwrap(), &ring.keys(), &rules, SystemTime::now()).is_ok()
}

fn token(ring: &Ring) -> Result<String, NotNow> {
    let issued = ring.issue(&name(), "tester", Duration::from_secs(3600), "1");
    issued.map(|issued| issued.access_token)
}

fn kid(token: &str) -> String {
    Peek::read(token).unwrap().kid().unwrap().to_owned()
}

/// On a stopped clock: until the tasks have nothing to do but wait.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// The document in the vault with the ages of its keys changed.
fn aged(vault: &Shared, ages: &[u64]) -> String {
    let held = vault.held.borrow().clone().unwrap().text.unwrap();
    let mut document: Value = serde_json::from_str(held.reveal()).unwrap();
    let keys = document["keys"].as_array_mut().unwrap();
    assert_eq!(keys.len(), ages.len());
    for (key, age) in keys.iter_mut().zip(ages) {
        let made = jiff::Timestamp::now() - Duration::from_secs(*age);
        key["made"] = Value::String(made.to_string());
    }
    document.to_string()
}

#[tokio::test(start_paused = true)]
async fn two_routers_rotate_without_a_token_that_one_of_them_refuses() {
    let lifecycle = Lifecycle::new();
    let vault = Shared::new();
    let follower = ring(&lifecycle, vault.follower()).await;
    assert!(token(&follower).unwrap_err().0.contains("not read yet"));
    let leader = ring(&lifecycle, vault.clone()).await;
    settle().await;
    // The first key: accepted by both at once, signed with after a while.
    assert_eq!((leader.keys().len(), follower.keys().len()), (1, 1));
    assert!(token(&leader).unwrap_err().0.contains("in 10 s"));
    tokio::time::sleep(SIGN_FIRST_AFTER).await;
    let old = [token(&leader).unwrap(), token(&follower).unwrap()];
    for token in &old {
        assert!(accepts(&leader, token) && accepts(&follower, token));
    }
    // 30 days later: a second key, accepted and not signed with.
    vault.put(Some(&aged(&vault, &[30 * DAY])));
    settle().await;
    assert_eq!((leader.keys().len(), follower.keys().len()), (2, 2));
    for ring in [&leader, &follower] {
        assert_eq!(kid(&token(ring).unwrap()), kid(&old[0]));
    }
    // Five minutes later it signs, and the first one is still accepted.
    vault.put(Some(&aged(&vault, &[30 * DAY + 300, 300])));
    settle().await;
    let new = token(&follower).unwrap();
    assert_ne!(kid(&new), kid(&old[0]));
    assert!(accepts(&leader, &new) && accepts(&leader, &old[0]) && accepts(&follower, &old[1]));
    // When no token of the first one can be valid any more, it goes.
    let keep = KEEP_AFTER.as_secs();
    vault.put(Some(&aged(&vault, &[30 * DAY + keep, keep])));
    settle().await;
    assert_eq!((leader.keys().len(), follower.keys().len()), (1, 1));
    assert!(!accepts(&leader, &old[0]) && accepts(&leader, &new));
    let kids: BTreeSet<_> = leader.jwks()["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["kid"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kids, BTreeSet::from([kid(&new)]));
    assert!(!leader.jwks().to_string().contains(r#""d":"#), "no private half is published");
}

#[tokio::test(start_paused = true)]
async fn a_bad_document_takes_nothing_away_and_a_deleted_one_is_made_anew() {
    let lifecycle = Lifecycle::new();
    let vault = Shared::new();
    let leader = ring(&lifecycle, vault.clone()).await;
    tokio::time::sleep(SIGN_FIRST_AFTER + Duration::from_secs(1)).await;
    let old = token(&leader).unwrap();
    let canary = "canary-5f1c";
    for bad in [
        String::new(),
        canary.to_owned(),
        format!(r#"{{"keys": [{{"made": "2026-01-01T00:00:00Z", "privateKey": "{canary}"}}]}}"#),
        r#"{"keys": []}"#.to_owned(),
        "x".repeat(DOCUMENT_BYTES_MAX + 1),
    ] {
        vault.put(Some(&bad));
        tokio::time::sleep(LOOK_INTERVAL * 2).await;
        assert!(accepts(&leader, &token(&leader).unwrap()) && accepts(&leader, &old));
        let held = vault.held.borrow().clone().unwrap().text.unwrap();
        assert_eq!(held.reveal(), bad, "nobody writes over what is not understood");
        let fault = read(&bad).unwrap_err();
        assert!(!fault.to_string().contains(canary) && !format!("{fault:?}").contains(canary));
    }
    // Deleting it ends all tokens.
    vault.put(None);
    settle().await;
    assert!(!accepts(&leader, &old));
    assert_eq!(leader.keys().len(), 1);
    assert!(!format!("{leader:?}").contains("PRIVATE"));
}

#[tokio::test]
async fn keys_in_a_file_outlive_the_process_and_are_for_their_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("signing.json");
    let first = ring(&Lifecycle::new(), OwnVault::in_file(file.clone()).unwrap()).await;
    let old = token(&first).unwrap();
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let second = ring(&Lifecycle::new(), OwnVault::in_file(file.clone()).unwrap()).await;
    assert!(accepts(&second, &old));
    let in_memory = ring(&Lifecycle::new(), OwnVault::in_memory()).await;
    assert!(!accepts(&in_memory, &old) && token(&in_memory).is_ok());
    // A file that others may read is no place for private keys.
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(OwnVault::in_file(file).unwrap_err().contains("chmod 600"));
}
