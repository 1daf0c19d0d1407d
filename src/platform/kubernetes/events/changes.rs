//! What happened between two looks at an object.

use std::sync::Arc;

use super::{
    super::{
        objects::ObjectKey,
        report::{
            InForce, Report, Secret, SecretState, Target, Trouble, Verdict, VersionReport, cut,
            listed,
        },
        status::{EndpointStatus, Reason, reason_of, trouble_words},
    },
    kind::EventKind,
};

/// The most bytes of a note (the API server's own limit, `NoteLengthLimit` in
/// `pkg/apis/core/validation/events.go`).
pub(super) const NOTE_BYTES_MAX: usize = 1024;

/// Something that happened to an InferenceEndpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Event {
    /// What.
    pub(in super::super) kind: EventKind,
    /// The InferenceEndpoint.
    pub(in super::super) key: ObjectKey,
    /// Its uid.
    pub(in super::super) uid: Arc<str>,
    /// What tells it from others of its kind, for example `Scale-blue-2-4`. Events that agree in
    /// it are one series, and of a series the API server keeps the first note only.
    pub(in super::super) action: String,
    /// The workload concerned.
    pub(in super::super) related: Option<Target>,
    /// What happened, in words, with numbers; within the API server's limit.
    pub(in super::super) note: String,
}

/// What was known of an object before.
#[derive(Debug, Clone, Copy)]
pub(in super::super) enum Before<'a> {
    /// This router's own last report of it.
    Report(&'a Report),
    /// Nothing but its status, written by a router before this one; the default for a new object.
    Status(&'a EndpointStatus),
}

/// What happened between the two. What a status before says already is not said again.
pub(in super::super) fn changes(before: Before<'_>, now: &Report) -> Vec<Event> {
    let mut teller = Teller { report: now, events: Vec::new() };
    teller.verdict(before);
    if let Some(in_force) = &now.in_force {
        teller.default(before, in_force);
        teller.secret(before, in_force);
        for version in &in_force.versions {
            teller.version(before, version);
        }
    }
    teller.events
}

struct Teller<'a> {
    report: &'a Report,
    events: Vec<Event>,
}

impl Teller<'_> {
    fn tell(&mut self, kind: EventKind, what: &str, related: Option<&Target>, note: String) {
        self.events.push(Event {
            kind,
            key: self.report.key.clone(),
            uid: Arc::clone(&self.report.uid),
            action: format!("{}-{what}", kind.verb()),
            related: related.cloned(),
            note: cut(note, NOTE_BYTES_MAX),
        });
    }

    /// A refusal is news once for each generation; a name or host that is taken, when it gets taken.
    fn verdict(&mut self, before: Before<'_>) {
        let (report, generation) = (self.report, self.report.generation);
        let known = match before {
            Before::Report(old) => match (&old.verdict, &report.verdict) {
                (Verdict::Invalid(_), Verdict::Invalid(_)) => old.generation == generation,
                (old, new) => old == new,
            },
            Before::Status(status) => {
                let of_this = status.observed_generation == generation;
                let reason = match &report.verdict {
                    Verdict::Accepted => return,
                    Verdict::Invalid(_) => Reason::Invalid,
                    Verdict::NameTaken { .. } => Reason::NameTaken,
                    Verdict::HostTaken { .. } => Reason::HostTaken,
                    Verdict::TargetTaken { .. } => Reason::TargetTaken,
                };
                says(status, "Accepted", reason) && (of_this || reason != Reason::Invalid)
            }
        };
        if known {
            return;
        }
        let name = &report.key.name;
        match &report.verdict {
            Verdict::Accepted => {}
            Verdict::Invalid(problems) => {
                let count = problems.len();
                let list = listed(problems.iter().map(|text| &**text), NOTE_BYTES_MAX - 64);
                let note = format!("generation {generation} is refused, {count} problems: {list}");
                self.tell(
                    EventKind::InvalidEndpoint,
                    &format!("generation-{generation}"),
                    None,
                    note,
                );
            }
            Verdict::NameTaken { by } => {
                let note = format!("the older endpoint {by} has the name {name}");
                self.tell(EventKind::NameTaken, "name", None, note);
            }
            Verdict::HostTaken { host, by } => {
                let note = format!("the older endpoint {by} has the host {host}");
                self.tell(EventKind::HostTaken, "host", None, note);
            }
            Verdict::TargetTaken { target, by } => {
                let note = format!("the older endpoint {by} has {target}");
                self.tell(EventKind::TargetTaken, "target", Some(target), note);
            }
        }
    }

    fn default(&mut self, before: Before<'_>, in_force: &InForce) {
        let new = in_force.default_version.as_str();
        let old = match before {
            Before::Report(old) => old.in_force.as_ref().map(|old| old.default_version.as_str()),
            Before::Status(status) => status.default_version.as_deref(),
        };
        if let Some(old) = old.filter(|old| *old != new) {
            let generation = in_force.generation;
            let note = format!("default version {old} → {new}, with generation {generation}");
            self.tell(EventKind::DefaultChanged, &format!("{old}-{new}"), None, note);
        }
    }

    fn secret(&mut self, before: Before<'_>, in_force: &InForce) {
        let Secret::Named { name, state } = &in_force.secret else { return };
        let (reason, what) = match state {
            // A Secret that is missing is made within moments, or that is forbidden.
            SecretState::Found | SecretState::Made | SecretState::Missing => return,
            SecretState::Lost { until, is_emptied, is_over } => {
                let (reason, what) = if *is_emptied {
                    (Reason::SecretInvalid, "has no primaryKey any more")
                } else {
                    (Reason::SecretNotFound, "does not exist any more")
                };
                let (are, after) = if *is_over { ("were", "") } else { ("stay", ", then none is") };
                (reason, format!("{what}; its last keys {are} valid until {until:.0}{after}"))
            }
            SecretState::Lacks(field) => {
                (Reason::SecretInvalid, format!("lacks the field {field}"))
            }
            SecretState::Unusable(why) => (Reason::SecretInvalid, format!("cannot be used: {why}")),
            SecretState::Forbidden { verb } => (
                Reason::SecretForbidden,
                format!("cannot be used: the router's role lacks the verb {verb} on secrets"),
            ),
        };
        let known = match before {
            Before::Report(old) => {
                old.in_force.as_ref().is_some_and(|old| old.secret == in_force.secret)
            }
            Before::Status(status) => covers(status, "ResolvedRefs", reason),
        };
        if !known {
            self.tell(EventKind::SecretInvalid, "secret", None, format!("Secret {name} {what}"));
        }
    }

    fn version(&mut self, before: Before<'_>, new: &VersionReport) {
        // A version that names another workload is as good as new.
        let old = match before {
            Before::Report(old) => {
                old.versions().iter().find(|old| old.name == new.name && old.target == new.target)
            }
            Before::Status(_) => None,
        };
        let covered = |aspect: &str, reason: Reason| match before {
            Before::Report(_) => false,
            Before::Status(status) => covers(status, aspect, reason),
        };
        if !new.found
            && old.is_none_or(|old| old.found)
            && !covered("ResolvedRefs", Reason::TargetNotFound)
        {
            let note = format!("{}: {} does not exist", new.name, new.target);
            self.tell(EventKind::TargetNotFound, new.name.as_str(), Some(&new.target), note);
        }
        self.scaled(before, old, new);
        self.hpa(old, new, covered("Autoscaling", Reason::HpaConflict));
        if new.is_over_max()
            && !old.is_some_and(VersionReport::is_over_max)
            && !covered("Autoscaling", Reason::AtMaxReplicas)
        {
            let max = new.scaling.max;
            let wanted = new.scaling.wanted.unwrap_or_default();
            let note =
                format!("{}: the load wants {wanted} replicas, maxReplicas allows {max}", new.name);
            self.tell(EventKind::AtMaxReplicas, new.name.as_str(), Some(&new.target), note);
        }
        for trouble in new.troubles_now() {
            let is_known = |old: &VersionReport| old.troubles_now().any(|t| t.kind == trouble.kind);
            if !old.is_some_and(is_known) && !covered("Autoscaling", reason_of(trouble)) {
                self.trouble(new, trouble);
            }
        }
    }

    fn scaled(&mut self, before: Before<'_>, old: Option<&VersionReport>, new: &VersionReport) {
        let Some(scale) = &new.last_scale else { return };
        let known = match before {
            Before::Report(_) => old.is_some_and(|old| old.last_scale.as_ref() == Some(scale)),
            // What this router did before its first report was not said yet.
            Before::Status(_) => false,
        };
        if known || scale.from == scale.to {
            return;
        }
        let up = scale.to > scale.from;
        let kind = if up { EventKind::ScaledUp } else { EventKind::ScaledDown };
        let (name, from, to) = (&new.name, scale.from, scale.to);
        let note = format!("{name}: {from} → {to} replicas: {}", scale.reason);
        self.tell(kind, &format!("{name}-{from}-{to}"), Some(&new.target), note);
    }

    fn hpa(&mut self, old: Option<&VersionReport>, new: &VersionReport, covered: bool) {
        let (name, target) = (&new.name, &new.target);
        let before = old.and_then(|old| old.scaling.hpa.as_ref());
        let now = new.scaling.hpa.as_ref();
        match (before, now) {
            _ if !new.scaling.enabled || covered || before == now => {}
            (_, Some(hpa)) => {
                let note = format!(
                    "{name}: HorizontalPodAutoscaler {hpa} scales {target}, so the router does not"
                );
                self.tell(EventKind::HpaConflict, name.as_str(), Some(target), note);
            }
            (Some(hpa), None) => {
                let note = format!(
                    "{name}: HorizontalPodAutoscaler {hpa} is gone, the router scales {target} again"
                );
                self.tell(EventKind::HpaGone, name.as_str(), Some(target), note);
            }
            (None, None) => {}
        }
    }

    fn trouble(&mut self, version: &VersionReport, trouble: &Trouble) {
        let kind = match reason_of(trouble) {
            Reason::PodsPending => EventKind::PodsUnschedulable,
            _ => EventKind::PodsFailing,
        };
        let note = format!("{}: {}", version.name, trouble_words(trouble));
        let what = format!("{}-{}", version.name, trouble.word);
        self.tell(kind, &what, Some(&version.target), note);
    }
}

fn reason_in<'a>(status: &'a EndpointStatus, aspect: &str) -> Option<&'a str> {
    let condition = status.conditions.iter().find(|condition| condition.type_ == aspect)?;
    Some(&condition.reason)
}

fn says(status: &EndpointStatus, aspect: &str, reason: Reason) -> bool {
    reason_in(status, aspect) == Some(reason.as_str())
}

/// Whether a condition has this reason or a more important one, behind which this one may have
/// been said too. Said once too little is better than again with each start of a router.
fn covers(status: &EndpointStatus, aspect: &str, reason: Reason) -> bool {
    let Some(word) = reason_in(status, aspect) else { return false };
    let said = Reason::ALL.into_iter().find(|known| known.as_str() == word);
    said.is_some_and(|said| said <= reason && said.is_fault())
}
