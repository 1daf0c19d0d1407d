//! Three routers with clocks of different speed, and an API server whose answers are late or lost.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use proptest::prelude::*;
use tokio::time::Instant;

use super::super::candidate::{Candidate, Claim};

/// Clock speeds in percent, the fastest 35 % faster than the slowest; 10 s against 7 s bear 42 %.
const SPEEDS: [u32; 3] = [85, 100, 115];

/// One thing that happens: so much time passes, then this router does its next step, whose message
/// gets through or not.
#[derive(Debug, Clone, Copy)]
struct Event {
    after: Duration,
    who: usize,
    fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Through,
    /// The message is lost.
    Lost,
    /// The router gave up on it, and it arrives all the same, later.
    Late,
    /// The process is killed and starts again under another name.
    Killed,
    /// The router gives the lease back.
    Released,
}

/// Where a router is in its round.
#[derive(Debug)]
enum At {
    Idle,
    Looking,
    Looked(Option<Lease>),
    Writing(Instant, Claim),
    Written(Instant, Option<Lease>),
}

struct World {
    origin: Instant,
    passed: Duration,
    lease: Option<Lease>,
    version: u64,
    routers: Vec<(Candidate, At)>,
    late: Vec<Claim>,
    lives: u32,
    last_epoch: Option<u64>,
}

impl World {
    fn new() -> Self {
        let routers = (0..3).map(|n| (Candidate::new(&format!("r{n}")), At::Idle)).collect();
        Self {
            origin: Instant::now(),
            passed: Duration::ZERO,
            lease: None,
            version: 0,
            routers,
            late: Vec::new(),
            lives: 3,
            last_epoch: None,
        }
    }

    /// The router's clock.
    fn clock(&self, who: usize) -> Instant {
        self.origin + self.passed * SPEEDS[who] / 100
    }

    /// The API server takes a write, or refuses it.
    fn take(&mut self, claim: &Claim) -> Option<Lease> {
        let (mut metadata, spec): (ObjectMeta, LeaseSpec) = match (claim, &self.lease) {
            (Claim::Create(spec), None) => (ObjectMeta::default(), spec.clone()),
            (Claim::Replace(new), Some(old)) => {
                if new.metadata.resource_version != old.metadata.resource_version {
                    return None;
                }
                (new.metadata.clone(), new.spec.clone()?)
            }
            _ => return None,
        };
        self.version += 1;
        metadata.resource_version = Some(self.version.to_string());
        self.lease = Some(Lease { metadata, spec: Some(spec) });
        self.lease.clone()
    }

    fn happen(&mut self, event: Event) {
        self.passed += event.after;
        let Event { who, fate, .. } = event;
        let now = self.clock(who);
        if event.after.as_millis().is_multiple_of(5)
            && let Some(claim) = self.late.pop()
        {
            self.take(&claim);
        }
        let at = std::mem::replace(&mut self.routers[who].1, At::Idle);
        let wall = Timestamp::UNIX_EPOCH;
        self.routers[who].1 = match (at, fate) {
            (_, Fate::Killed) => {
                self.lives += 1;
                self.routers[who].0 = Candidate::new(&format!("r{}", self.lives));
                At::Idle
            }
            (At::Idle, Fate::Released) => {
                if let Some(lease) = self.routers[who].0.release(wall) {
                    self.take(&Claim::Replace(lease));
                }
                self.routers[who].0.doubt();
                At::Idle
            }
            (At::Idle, _) => {
                let candidate = &mut self.routers[who].0;
                candidate.lapse(now);
                if candidate.must_look() {
                    At::Looking
                } else if let Some(claim) = candidate.claim(now, wall) {
                    At::Writing(now, claim)
                } else {
                    candidate.doubt();
                    At::Idle
                }
            }
            (At::Looking, Fate::Through) => At::Looked(self.lease.clone()),
            (At::Looked(lease), Fate::Through) => {
                self.routers[who].0.looked(now, lease);
                At::Idle
            }
            (At::Writing(asked, claim), Fate::Through) => At::Written(asked, self.take(&claim)),
            (At::Written(asked, Some(lease)), Fate::Through) => {
                self.routers[who].0.wrote(asked, now, lease);
                At::Idle
            }
            (at, fate) => {
                if let (At::Writing(_, claim), Fate::Late) = (at, fate) {
                    self.late.push(claim);
                }
                self.routers[who].0.doubt();
                At::Idle
            }
        };
    }

    /// Who has a valid term, with its epoch.
    fn leaders(&self) -> Vec<(usize, u64)> {
        let routers = self.routers.iter().enumerate();
        let terms = routers.filter_map(|(who, (candidate, _))| {
            let term = candidate.term().filter(|term| term.is_valid_at(self.clock(who)))?;
            Some((who, term.epoch()))
        });
        terms.collect()
    }
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let fate = prop_oneof![
        24 => Just(Fate::Through),
        2 => Just(Fate::Lost),
        2 => Just(Fate::Late),
        1 => Just(Fate::Killed),
        1 => Just(Fate::Released),
    ];
    // Mostly the pace of a real election, and now and then a pause as long as a term or a lease.
    let after = prop_oneof![
        12 => 0..400_u64,
        3 => 400..3000_u64,
        1 => 3000..12_000_u64,
    ];
    let event = (after, 0..3_usize, fate).prop_map(|(after, who, fate)| Event {
        after: Duration::from_millis(after),
        who,
        fate,
    });
    prop::collection::vec(event, 1..400)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn never_do_two_lead_and_epochs_only_rise(events in events()) {
        let mut world = World::new();
        for event in events {
            let before = world.leaders();
            world.happen(event);
            let leaders = world.leaders();
            prop_assert!(leaders.len() <= 1, "{leaders:?} lead");
            if let Some(&(who, epoch)) = leaders.first() {
                let is_new = !before.iter().any(|(old, _)| *old == who);
                let risen = world.last_epoch.is_none_or(|last| epoch > last);
                prop_assert!(!is_new || risen, "epoch {epoch} after {:?}", world.last_epoch);
                world.last_epoch = world.last_epoch.max(Some(epoch));
            }
        }
    }
}

/// The model is no proof if nobody ever leads in it.
#[test]
fn somebody_leads_in_the_model() {
    let mut world = World::new();
    for _ in 0..8 {
        for who in 0..3 {
            world.happen(Event { after: Duration::from_millis(100), who, fate: Fate::Through });
        }
    }
    assert_eq!(world.leaders().len(), 1);
}
