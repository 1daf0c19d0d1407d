//! One issuer whose keys are kept: what is known of them, and whether they are being fetched.

use std::{future::Future, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout},
};

use super::{
    check::Keys,
    fetch::{FetchFault, Fetched},
    rhythm::{self, ASK_PAUSE, KEYS_WAIT},
};
use crate::{
    auth::KeySet,
    domain::{Issuer, IssuerStatus},
    telemetry::FetchOutcome,
};

/// The most requests that wait for the keys of one issuer; further ones are answered at once.
const WAITING_MAX: usize = 1024;

/// Whose keys, and where they are.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId {
    /// The issuer.
    pub issuer: String,
    /// Where its keys are; `None`: where its OpenID configuration says.
    pub jwks_uri: Option<String>,
}

impl SourceId {
    /// Where the keys of this issuer are found.
    pub fn of(issuer: &Issuer) -> Self {
        Self { issuer: issuer.issuer.clone(), jwks_uri: issuer.jwks_uri.clone() }
    }
}

/// The keys of one issuer.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) id: SourceId,
    /// The last good keys.
    keys: ArcSwapOption<Keys>,
    state: Mutex<State>,
    /// Somebody asks for keys out of turn.
    pub(super) asked: Notify,
    /// Changes with the end of every fetch.
    ended: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    fetching: bool,
    /// When somebody last asked out of turn.
    asked: Option<Instant>,
    /// When the keys were last fetched.
    fetched: Option<Instant>,
    /// Digest of the last good answer: the same answer leaves the keys, and what is cached, alone.
    answer: Option<[u8; 32]>,
    failures: u32,
    fault: Option<FetchFault>,
}

impl Source {
    pub(super) fn new(id: SourceId) -> Arc<Self> {
        Arc::new(Self {
            id,
            keys: ArcSwapOption::empty(),
            // Its task begins with a fetch, and who asks before that waits for it.
            state: Mutex::new(State { fetching: true, ..State::default() }),
            asked: Notify::new(),
            ended: watch::Sender::new(()),
        })
    }

    /// The keys in force; `None`: there never were any.
    pub(super) fn keys(&self) -> Option<Arc<Keys>> {
        self.keys.load_full()
    }

    /// Which set of keys is in force.
    pub(super) fn keys_id(&self) -> Option<u64> {
        self.keys.load().as_ref().map(|keys| keys.id())
    }

    /// Resolves when a fetch that runs, or begins because of this, has ended, and after
    /// [`KEYS_WAIT`] in any case. `None`: none may begin now.
    pub(super) fn ask(&self) -> Option<impl Future<Output = ()> + Send + use<>> {
        let mut state = self.state.lock();
        let now = Instant::now();
        if !state.fetching {
            if state.asked.is_some_and(|at| now.duration_since(at) < ASK_PAUSE) {
                return None;
            }
            state.asked = Some(now);
            // From here on everybody waits for the same fetch.
            state.fetching = true;
            self.asked.notify_one();
        }
        if self.ended.receiver_count() >= WAITING_MAX {
            return None;
        }
        let mut ended = self.ended.subscribe();
        Some(async move { drop(timeout(KEYS_WAIT, ended.changed()).await) })
    }

    /// A fetch begins.
    pub(super) fn begin(&self) {
        self.state.lock().fetching = true;
    }

    /// A fetch has ended; how long to rest, and how it is counted. `dice` is 0 to 1.
    pub(super) fn end(
        &self,
        result: Result<Fetched, FetchFault>,
        dice: f64,
    ) -> (Duration, FetchOutcome) {
        let mut state = self.state.lock();
        state.fetching = false;
        let result = result.and_then(|fetched| self.take(&mut state, &fetched));
        let told = match result {
            Ok(max_age) => {
                if state.fault.take().is_some() {
                    tracing::info!(issuer = %self.id.issuer, "the issuer's keys can be fetched again");
                }
                state.failures = 0;
                state.fetched = Some(Instant::now());
                (rhythm::rest(max_age, dice), FetchOutcome::Ok)
            }
            Err(fault) => {
                if state.fault.as_ref() != Some(&fault) {
                    let known = self.keys.load().as_ref().map_or(0, |keys| keys.set().len());
                    tracing::warn!(
                        issuer = %self.id.issuer, %fault, known,
                        "the issuer's keys cannot be fetched; those that are known stay in force"
                    );
                }
                let outcome = fault.outcome();
                state.failures = state.failures.saturating_add(1);
                state.fault = Some(fault);
                (rhythm::pause(state.failures, dice), outcome)
            }
        };
        self.ended.send_replace(());
        told
    }

    /// Puts the keys of an answer in force, unless they are in force already.
    fn take(&self, state: &mut State, fetched: &Fetched) -> Result<Option<Duration>, FetchFault> {
        let answer: [u8; 32] = Sha256::digest(&fetched.body).into();
        if state.answer != Some(answer) {
            let set = KeySet::parse(&fetched.body).map_err(FetchFault::KeySet)?;
            self.note_change(&set);
            self.keys.store(Some(Keys::new(set)));
            state.answer = Some(answer);
        }
        Ok(fetched.max_age)
    }

    /// What is shown of it.
    pub(super) fn status(&self) -> IssuerStatus {
        let state = self.state.lock();
        IssuerStatus {
            issuer: self.id.issuer.clone(),
            jwks_uri: self.id.jwks_uri.clone(),
            keys: self.keys.load().as_ref().map_or(0, |keys| keys.set().len()),
            age: state.fetched.map(|at| at.elapsed()),
            fault: state.fault.as_ref().map(ToString::to_string),
        }
    }

    fn note_change(&self, set: &KeySet) {
        let (issuer, keys) = (&self.id.issuer, set.len());
        if set.is_empty() {
            tracing::warn!(%issuer, "the issuer publishes no key that can be used");
        } else {
            tracing::info!(%issuer, keys, "the issuer's keys are new");
        }
        for (index, fault) in set.left_out() {
            tracing::debug!(%issuer, index, %fault, "a key of the issuer is left out");
        }
    }
}
