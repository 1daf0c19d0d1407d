//! The task that asks the API server for the lease, renews it and gives it back.

use std::{fmt, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api,
    api::{ObjectMeta, PostParams},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use uuid::Uuid;

use super::{
    super::client::{ApiServer, CallError, FIELD_MANAGER, within},
    FORBIDDEN_PAUSE, LEASE_CALL_LIMIT, Leadership, LeaseSettings, RENEW_AGAIN, RETRY, Standing,
    candidate::{Candidate, Claim},
};
use crate::lifecycle::{Lifecycle, Phase};

/// Claims in one round: the second is for the case that what was known of the lease was old.
const ROUND_CLAIMS: usize = 2;
/// How many calls giving the lease back may take. A renewal that was under way when the router began to
/// drain may be accepted before the first of them and make it stale, and once more before the third:
/// write, look, write, look, write.
const RELEASE_CALLS: usize = 5;

/// Starts the election on the current runtime. It goes on until [`Phase::Draining`], then gives the
/// lease back.
pub(in crate::platform::kubernetes) fn elect(
    lifecycle: &Lifecycle,
    server: &ApiServer,
    settings: LeaseSettings,
) -> Leadership {
    let (standing, seen) = watch::channel(Standing::default());
    let me = format!("{}_{}", settings.identity, Uuid::new_v4().simple());
    let election = Election {
        leases: Api::namespaced(server.client().clone(), &settings.namespace),
        candidate: Candidate::new(&me),
        trouble: None,
        refusals: 0,
        settings,
        standing,
    };
    lifecycle.spawn("leader election", election.run(lifecycle.clone()));
    Leadership::new(seen)
}

struct Election {
    leases: Api<Lease>,
    settings: LeaseSettings,
    candidate: Candidate,
    /// How the last round failed.
    trouble: Option<Box<str>>,
    /// Rounds in a row that the API server refused.
    refusals: u32,
    standing: watch::Sender<Standing>,
}

/// A call that came to nothing.
struct Failure {
    verb: &'static str,
    error: CallError,
}

impl Election {
    async fn run(mut self, lifecycle: Lifecycle) {
        loop {
            let round = tokio::select! {
                biased;
                () = lifecycle.reached(Phase::Draining) => break,
                round = self.round() => round,
            };
            let pause = self.note(round);
            tokio::select! {
                biased;
                () = lifecycle.reached(Phase::Draining) => break,
                () = sleep(pause) => {}
            }
            self.publish();
        }
        self.release().await;
    }

    /// Looks at the lease if need be, and claims or renews it if it may.
    async fn round(&mut self) -> Result<(), Failure> {
        for _ in 0..ROUND_CLAIMS {
            if self.candidate.must_look() {
                let lease = self.call("get", self.leases.get_opt(&self.settings.name)).await?;
                self.candidate.looked(Instant::now(), lease);
            }
            let asked = Instant::now();
            let Some(claim) = self.candidate.claim(asked, Timestamp::now()) else {
                // Another's: by the next round it may have been renewed or given back.
                self.candidate.doubt();
                break;
            };
            match self.write(claim).await {
                Ok(lease) => {
                    self.candidate.wrote(asked, Instant::now(), lease);
                    break;
                }
                Err(failure) => {
                    self.candidate.doubt();
                    // Deleted, or changed by another: look again, at once.
                    if !matches!(failure.error.code(), Some(404 | 409)) {
                        return Err(failure);
                    }
                }
            }
        }
        Ok(())
    }

    async fn write(&self, claim: Claim) -> Result<Lease, Failure> {
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), dry_run: false };
        match claim {
            Claim::Create(spec) => {
                let metadata = ObjectMeta {
                    name: Some(self.settings.name.as_ref().to_owned()),
                    ..ObjectMeta::default()
                };
                let lease = Lease { metadata, spec: Some(spec) };
                self.call("create", self.leases.create(&params, &lease)).await
            }
            Claim::Replace(lease) => {
                let replace = self.leases.replace(&self.settings.name, &params, &lease);
                self.call("update", replace).await
            }
        }
    }

    /// A call that ends with the term at the latest, so that its end is said in time.
    async fn call<T>(
        &self,
        verb: &'static str,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Failure> {
        let ends = self.candidate.term().and_then(|term| term.ends());
        let left = ends.map(|ends| ends.saturating_duration_since(Instant::now()));
        let limit = left.map_or(LEASE_CALL_LIMIT, |left| left.min(LEASE_CALL_LIMIT));
        within(limit, call).await.map_err(|error| Failure { verb, error })
    }

    /// Says how the round went, and how long to wait for the next.
    fn note(&mut self, round: Result<(), Failure>) -> Duration {
        self.trouble = round.as_ref().err().map(|failure| self.explain(failure).into());
        self.publish();
        let Err(failure) = round else {
            self.refusals = 0;
            return self.candidate.pause(Instant::now(), rand::random());
        };
        let dice = 0.5 + rand::random::<f64>() / 2.0;
        if failure.error.code() == Some(403) {
            self.refusals = self.refusals.saturating_add(1);
            let doubled =
                RETRY.saturating_mul(1_u32.checked_shl(self.refusals).unwrap_or(u32::MAX));
            return doubled.min(FORBIDDEN_PAUSE).mul_f64(dice);
        }
        self.refusals = 0;
        let ends = self.candidate.term().and_then(|term| term.ends());
        let left = ends.map(|ends| ends.saturating_duration_since(Instant::now()));
        left.map_or(RETRY, |left| left.min(RENEW_AGAIN)).mul_f64(dice)
    }

    fn explain(&self, failure: &Failure) -> String {
        let Failure { verb, error } = failure;
        match error.code() {
            Some(403) => format!(
                "this router cannot lead: needs {verb} on leases.coordination.k8s.io in namespace \
                 {}; grant it with a Role ({error})",
                self.settings.namespace
            ),
            _ => format!("lease {}: {verb} failed: {error}", self.settings),
        }
    }

    /// Tells others where we stand, and the log what is new.
    fn publish(&mut self) {
        if self.candidate.lapse(Instant::now()) {
            tracing::warn!(lease = %self.settings, "the lease was not renewed in time");
        }
        let now = Standing {
            term: self.candidate.term().cloned(),
            holder: self.candidate.holder().map(Into::into),
            trouble: self.trouble.clone(),
        };
        self.standing.send_if_modified(|before| {
            if !before.is_same_term(&now) {
                match &now.term {
                    Some(term) => {
                        tracing::info!(lease = %self.settings, epoch = term.epoch(), "leading");
                    }
                    None => tracing::info!(lease = %self.settings, "no longer leading"),
                }
            } else if before.holder == now.holder && before.trouble == now.trouble {
                return false;
            }
            if let Some(trouble) = now.trouble.as_ref().filter(|_| before.trouble != now.trouble) {
                tracing::warn!("{trouble}");
            }
            *before = now;
            true
        });
    }

    /// Gives the lease back, if it is ours; again when what was known of it was old.
    async fn release(&mut self) {
        for _ in 0..RELEASE_CALLS {
            let given_back = self.candidate.release(Timestamp::now());
            self.publish();
            if given_back.is_none() && !(self.candidate.must_look() && self.candidate.is_holder()) {
                return;
            }
            let result = match given_back {
                Some(lease) => self.write(Claim::Replace(lease)).await.map(Some),
                None => self.call("get", self.leases.get_opt(&self.settings.name)).await,
            };
            match result {
                Ok(lease) => self.candidate.looked(Instant::now(), lease),
                Err(failure) => {
                    tracing::warn!("not given back: {}", self.explain(&failure));
                    self.candidate.doubt();
                }
            }
        }
    }
}

impl fmt::Debug for Election {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Election").field("candidate", &self.candidate).finish_non_exhaustive()
    }
}
