//! From a report to the reason and the sentence of each condition.

use super::{
    super::report::{InForce, Report, Secret, SecretState, Verdict, cut, listed},
    reason::{Aspect, Holds, Reason},
    version,
};

/// The most bytes of a message. The API server takes 32 768; a thousand are about what a person
/// reads, and what fits in a terminal.
pub(super) const MESSAGE_BYTES_MAX: usize = 1024;
/// What is left for the problems of a spec besides the sentence about the last good one.
const PROBLEMS_BYTES_MAX: usize = 880;

/// What is said of one aspect of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Judgement {
    pub(super) aspect: Aspect,
    pub(super) holds: Holds,
    pub(super) reason: Reason,
    /// Never empty.
    pub(super) message: String,
}

/// One judgement for each aspect, in their order.
pub(super) fn judge(report: &Report) -> [Judgement; Aspect::ALL.len()] {
    let accepted = accepted(report);
    let resolved = resolved(report);
    let programmed = programmed(report);
    let autoscaling = autoscaling(report);
    let ready = ready(report, [&accepted, &resolved, &programmed], &autoscaling);
    [accepted, resolved, programmed, autoscaling, ready]
}

fn judgement(aspect: Aspect, reason: Reason, message: String) -> Judgement {
    let holds = reason.holds(aspect).unwrap_or(Holds::False);
    Judgement { aspect, holds, reason, message: cut(message, MESSAGE_BYTES_MAX) }
}

/// `1 replica`, `2 replicas`.
pub(super) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

fn accepted(report: &Report) -> Judgement {
    let generation = report.generation;
    let kept = kept(report).map(|kept| format!("; {kept}")).unwrap_or_default();
    let (reason, message) = match &report.verdict {
        Verdict::Accepted => {
            let versions = count(report.versions().len(), "version");
            let default = report.in_force.as_ref().map(|in_force| &in_force.default_version);
            let default = default.map(|name| format!(", default {name}")).unwrap_or_default();
            (Reason::Accepted, format!("generation {generation} is valid: {versions}{default}"))
        }
        Verdict::Invalid(problems) => {
            let found = count(problems.len(), "problem");
            let list = listed(problems.iter().map(|text| &**text), PROBLEMS_BYTES_MAX);
            (Reason::Invalid, format!("generation {generation} has {found}: {list}{kept}"))
        }
        Verdict::NameTaken { by } => {
            let name = &report.key.name;
            let message = format!(
                "generation {generation} is refused: the older endpoint {by} has the name {name}, and \
                 names are one space over all namespaces; choose another name, or delete {by}{kept}"
            );
            (Reason::NameTaken, message)
        }
        Verdict::HostTaken { host, by } => {
            let message = format!(
                "generation {generation} is refused: the older endpoint {by} has the host {host}; take \
                 it out of spec.hosts of one of the two{kept}"
            );
            (Reason::HostTaken, message)
        }
        Verdict::TargetTaken { target, by } => {
            let message = format!(
                "generation {generation} is refused: the older endpoint {by} has {target}, and 2 \
                 endpoints cannot scale it; name another targetRef{kept}"
            );
            (Reason::TargetTaken, message)
        }
    };
    judgement(Aspect::Accepted, reason, message)
}

/// The sentence about the last good spec, where it is in force in the place of a refused one.
fn kept(report: &Report) -> Option<String> {
    let in_force = report.in_force.as_ref().filter(|_| report.verdict != Verdict::Accepted)?;
    Some(format!("the last good spec, of generation {}, stays in force", in_force.generation))
}

/// What is said where nothing is in force: not looked at.
fn not_accepted(aspect: Aspect, report: &Report) -> Judgement {
    let message = format!(
        "generation {} was not accepted, and no earlier one is in force",
        report.generation
    );
    judgement(aspect, Reason::NotAccepted, message)
}

fn resolved(report: &Report) -> Judgement {
    let aspect = Aspect::ResolvedRefs;
    let Some(in_force) = &report.in_force else { return not_accepted(aspect, report) };
    let namespace = &report.key.namespace;
    let missing = in_force.versions.iter().filter(|version| !version.found);
    let mut faults: Vec<(Reason, String)> = missing
        .map(|version| {
            let message = format!(
                "{} of version {} does not exist in namespace {namespace}: create it, or correct \
                 targetRef",
                version.target, version.name
            );
            (Reason::TargetNotFound, message)
        })
        .collect();
    faults.extend(secret_fault(in_force, namespace));
    let total = in_force.versions.len();
    let found = in_force.versions.iter().filter(|version| version.found).count();
    let found = format!("{found} of {} found", count(total, "target"));
    let Some((reason, _)) = faults.first() else {
        let secret = match &in_force.secret {
            Secret::NotNeeded => "no Secret is needed".to_owned(),
            Secret::Named { name, state: SecretState::Made } => {
                format!("Secret {name} was made and has 2 keys")
            }
            Secret::Named { name, .. } => format!("Secret {name} has its keys"),
        };
        return judgement(aspect, Reason::ResolvedRefs, format!("{found}; {secret}"));
    };
    let reason = *reason;
    faults.insert(0, (reason, found));
    let message = listed(faults.iter().map(|(_, text)| text.as_str()), MESSAGE_BYTES_MAX);
    judgement(aspect, reason, message)
}

fn secret_fault(in_force: &InForce, namespace: &str) -> Option<(Reason, String)> {
    let Secret::Named { name, state } = &in_force.secret else { return None };
    let secret = format!("Secret {namespace}/{name}");
    Some(match state {
        SecretState::Found | SecretState::Made => return None,
        SecretState::Missing => (
            Reason::SecretNotFound,
            format!("{secret} does not exist and was not made yet: every request gets 401"),
        ),
        SecretState::Lost { until, is_emptied, is_over } => {
            let (reason, what) = if *is_emptied {
                (Reason::SecretInvalid, "has no primaryKey any more")
            } else {
                (Reason::SecretNotFound, "does not exist any more")
            };
            let follows = if *is_over {
                format!("its last keys were valid until {until:.0}: every request gets 401")
            } else {
                format!("its last keys stay valid until {until:.0}, then every request gets 401")
            };
            (reason, format!("{secret} {what}; {follows}"))
        }
        SecretState::Lacks(field) => (
            Reason::SecretInvalid,
            format!("{secret} lacks the field {field}: add it, or delete the Secret to get 2 keys"),
        ),
        SecretState::Unusable(what) => {
            (Reason::SecretInvalid, format!("{secret} cannot be used: {what}"))
        }
        SecretState::Forbidden { verb } => (
            Reason::SecretForbidden,
            format!(
                "{secret} cannot be used: the router's role lacks the verb {verb} on secrets in \
                 namespace {namespace}"
            ),
        ),
    })
}

fn programmed(report: &Report) -> Judgement {
    let aspect = Aspect::Programmed;
    let (serving, known) = (report.routers.serving, report.routers.known);
    let Some(in_force) = &report.in_force else { return not_accepted(aspect, report) };
    let serve = format!("{serving} of {known} routers serve generation {}", in_force.generation);
    if let Some(kept) = kept(report) {
        let message = format!("generation {} was not accepted: {kept}; {serve}", report.generation);
        return judgement(aspect, Reason::NotAccepted, message);
    }
    let is_everywhere = known > 0 && serving >= known;
    let reason = if is_everywhere { Reason::Programmed } else { Reason::RoutersPending };
    judgement(aspect, reason, serve)
}

/// The most important reason of all versions; the sentences of all, those with that reason first.
fn autoscaling(report: &Report) -> Judgement {
    let aspect = Aspect::Autoscaling;
    if report.in_force.is_none() {
        return not_accepted(aspect, report);
    }
    let mut parts: Vec<_> = report.versions().iter().map(version::scaling).collect();
    parts.sort_by_key(|(reason, _)| *reason);
    let Some((reason, _)) = parts.first() else {
        return judgement(aspect, Reason::Disabled, "0 versions are there to be scaled".to_owned());
    };
    let message = listed(parts.iter().map(|(_, text)| text.as_str()), MESSAGE_BYTES_MAX);
    judgement(aspect, *reason, message)
}

fn ready(report: &Report, needed: [&Judgement; 3], autoscaling: &Judgement) -> Judgement {
    let aspect = Aspect::Ready;
    if let Some(fault) = needed.into_iter().find(|judgement| judgement.holds != Holds::True) {
        return judgement(aspect, fault.reason, fault.message.clone());
    }
    let versions = report.versions();
    let live = versions.iter().filter(|version| version.effective_percentile > 0);
    let mut silent: Vec<_> =
        live.filter(|version| !version.can_answer()).map(version::silence).collect();
    silent.sort_by_key(|(reason, _)| *reason);
    if let Some((reason, _)) = silent.first() {
        let message = listed(silent.iter().map(|(_, text)| text.as_str()), MESSAGE_BYTES_MAX);
        return judgement(aspect, *reason, message);
    }
    let Some(traffic) = version::traffic(versions) else {
        return judgement(aspect, Reason::NoReadyReplicas, "0 versions take requests".to_owned());
    };
    let mut message = format!("{} replicas ready, {traffic}", version::replicas(versions));
    if autoscaling.holds != Holds::True && autoscaling.reason != Reason::Disabled {
        message.push_str("; but ");
        message.push_str(&autoscaling.message);
    }
    judgement(aspect, Reason::Ready, message)
}
