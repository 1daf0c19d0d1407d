//! What is said when something changes, and what is not said again.

use jiff::Timestamp;
use proptest::prelude::*;

use super::{
    super::{
        report::{
            Report, SecretState, TroubleKind, Verdict,
            samples::{any_report, but, but_blue, good, key, named, scale, target, trouble},
        },
        status::{EndpointStatus, compose},
    },
    Before, changes,
    changes::{Event, NOTE_BYTES_MAX},
    kind::EventKind,
};

fn between(before: &Report, now: &Report) -> Vec<Event> {
    changes(Before::Report(before), now)
}

/// What a router says that starts and finds the status that an earlier one wrote.
fn after_a_start(written: &Report, now: &Report) -> Vec<Event> {
    changes(Before::Status(&status(written)), now)
}

fn status(report: &Report) -> EndpointStatus {
    compose(report, &EndpointStatus::default(), Timestamp::UNIX_EPOCH)
}

fn kinds(events: &[Event]) -> Vec<EventKind> {
    events.iter().map(|event| event.kind).collect()
}

fn secret(state: SecretState) -> Report {
    but(|report| report.in_force.as_mut().unwrap().secret = named(state))
}

fn refused(generation: i64, verdict: Verdict) -> Report {
    but(|report| {
        report.generation = generation;
        report.verdict = verdict;
    })
}

fn troubled(kind: TroubleKind, word: &str) -> Report {
    but_blue(|blue| {
        blue.desired = 9;
        blue.troubles = vec![trouble(kind, word)];
    })
}

/// From the good report to this one, this is said, with this action and this in its note.
#[rustfmt::skip]
fn cases() -> Vec<(Report, EventKind, &'static str, &'static str)> {
    use EventKind as K;
    let invalid = Verdict::Invalid(vec!["spec.x: is odd".into(), "spec.y: is even".into()]);
    let taken = Verdict::NameTaken { by: key("other") };
    let target = Verdict::TargetTaken { target: target("blue"), by: key("other") };
    let host = Verdict::HostTaken { host: "a.example".into(), by: key("other") };
    vec![
        (but_blue(|b| b.last_scale = Some(scale(2, 4))), K::ScaledUp, "Scale-blue-2-4", "blue: 2 → 4 replicas: 5 busy + 3 queued"),
        (but_blue(|b| b.last_scale = Some(scale(4, 2))), K::ScaledDown, "Scale-blue-4-2", "blue: 4 → 2 replicas: 5 busy"),
        (but(|r| r.in_force.as_mut().unwrap().default_version = "green".parse().unwrap()), K::DefaultChanged, "Route-blue-green", "blue → green"),
        (refused(8, invalid), K::InvalidEndpoint, "Check-generation-8", "generation 8 is refused, 2 problems: spec.x: is odd; spec.y: is even"),
        (refused(8, taken), K::NameTaken, "Check-name", "models/other has the name fraud"),
        (refused(8, host), K::HostTaken, "Check-host", "models/other has the host a.example"),
        (refused(8, target), K::TargetTaken, "Check-target", "models/other has Deployment fraud-blue"),
        (but_blue(|b| b.found = false), K::TargetNotFound, "Resolve-blue", "Deployment fraud-blue does not exist"),
        (secret(SecretState::Lacks("primaryKey")), K::SecretInvalid, "Resolve-secret", "Secret fraud-keys lacks the field primaryKey"),
        (secret(SecretState::Unusable("primaryKey is empty".into())), K::SecretInvalid, "Resolve-secret", "primaryKey is empty"),
        (secret(SecretState::Forbidden { verb: "get" }), K::SecretInvalid, "Resolve-secret", "lacks the verb get"),
        (but_blue(|b| b.scaling.hpa = Some("keda".into())), K::HpaConflict, "Autoscale-blue", "HorizontalPodAutoscaler keda scales Deployment fraud-blue"),
        (but_blue(|b| b.scaling.wanted = Some(14)), K::AtMaxReplicas, "Autoscale-blue", "wants 14 replicas, maxReplicas allows 10"),
        (troubled(TroubleKind::Unschedulable, "Unschedulable"), K::PodsUnschedulable, "Watch-blue-Unschedulable", "2 pods without a node"),
        (troubled(TroubleKind::CrashLoop, "CrashLoopBackOff"), K::PodsFailing, "Watch-blue-CrashLoopBackOff", "2 pods crashing"),
        (troubled(TroubleKind::ImagePull, "ErrImagePull"), K::PodsFailing, "Watch-blue-ErrImagePull", "without their image"),
        (troubled(TroubleKind::Config, "CreateContainerConfigError"), K::PodsFailing, "Watch-blue-CreateContainerConfigError", "cannot be made"),
        (troubled(TroubleKind::Failed, "Evicted"), K::PodsFailing, "Watch-blue-Evicted", "failed (Evicted"),
    ]
}

#[test]
fn each_change_is_said_once() {
    for (now, kind, action, part) in cases() {
        let events = between(&good(), &now);
        assert_eq!(kinds(&events), [kind], "{events:?}");
        assert_eq!(events[0].action, action);
        assert!(events[0].note.contains(part), "{}", events[0].note);
        assert_eq!((&events[0].key, &events[0].uid), (&now.key, &now.uid));
        assert_eq!(between(&now, &now), [], "{kind:?} is said again");
    }
}

#[test]
fn every_kind_is_said_somewhere() {
    let conflict = but_blue(|blue| blue.scaling.hpa = Some("keda".into()));
    let gone = between(&conflict, &good());
    assert_eq!(kinds(&gone), [EventKind::HpaGone]);
    assert!(gone[0].note.contains("keda is gone"), "{}", gone[0].note);
    let mut said: Vec<_> = cases().into_iter().map(|(_, kind, ..)| kind).collect();
    said.push(EventKind::HpaGone);
    for kind in EventKind::ALL {
        assert!(said.contains(&kind), "{kind:?}");
    }
}

#[test]
fn a_router_that_starts_says_nothing_that_the_status_says_already() {
    for (now, kind, ..) in cases() {
        // What a router has scaled itself, no earlier one has said.
        if !matches!(kind, EventKind::ScaledUp | EventKind::ScaledDown) {
            assert_eq!(after_a_start(&now, &now), [], "{kind:?}");
        }
    }
}

#[test]
fn a_router_that_starts_says_what_has_changed_meanwhile() {
    for (now, kind, ..) in cases() {
        assert_eq!(kinds(&after_a_start(&good(), &now)), [kind]);
    }
}

#[test]
fn a_new_object_is_told_what_is_wrong_with_it() {
    for (now, kind, ..) in cases() {
        let events = changes(Before::Status(&EndpointStatus::default()), &now);
        // There was no other default before.
        let said = if kind == EventKind::DefaultChanged { vec![] } else { vec![kind] };
        assert_eq!(kinds(&events), said);
    }
    assert_eq!(changes(Before::Status(&EndpointStatus::default()), &good()), []);
}

#[test]
fn a_refused_edit_is_said_for_each_generation() {
    let invalid = |generation| refused(generation, Verdict::Invalid(vec!["spec: no".into()]));
    assert_eq!(between(&invalid(8), &invalid(8)), []);
    assert_eq!(kinds(&between(&invalid(8), &invalid(9))), [EventKind::InvalidEndpoint]);
    assert_eq!(kinds(&after_a_start(&invalid(8), &invalid(9))), [EventKind::InvalidEndpoint]);
}

#[test]
fn a_name_stays_taken_silently_until_another_takes_it() {
    let by = |name| refused(8, Verdict::NameTaken { by: key(name) });
    assert_eq!(between(&by("other"), &by("other")), []);
    assert_eq!(kinds(&between(&by("other"), &by("third"))), [EventKind::NameTaken]);
}

#[test]
fn more_pods_in_the_same_trouble_are_no_news_and_another_trouble_is() {
    let first = troubled(TroubleKind::CrashLoop, "CrashLoopBackOff");
    let mut more = first.clone();
    let blue = &mut more.in_force.as_mut().unwrap().versions[0];
    blue.troubles[0].count = 7;
    assert_eq!(between(&first, &more), []);
    let blue = &mut more.in_force.as_mut().unwrap().versions[0];
    blue.troubles.insert(0, trouble(TroubleKind::Unschedulable, "Unschedulable"));
    assert_eq!(kinds(&between(&first, &more)), [EventKind::PodsUnschedulable]);
}

#[test]
fn an_hpa_is_no_conflict_where_the_router_does_not_scale() {
    let now = but_blue(|blue| {
        blue.scaling.enabled = false;
        blue.scaling.hpa = Some("keda".into());
    });
    assert_eq!(between(&good(), &now), []);
}

#[test]
fn what_a_more_important_reason_may_have_hidden_is_not_said_at_a_start() {
    let both = but_blue(|blue| {
        blue.scaling.hpa = Some("keda".into());
        blue.troubles = vec![trouble(TroubleKind::CrashLoop, "CrashLoopBackOff")];
    });
    assert_eq!(after_a_start(&both, &both), []);
}

proptest! {
    #[test]
    fn notes_and_actions_are_within_the_limits_of_the_api_server(
        before in any_report(), now in any_report(),
    ) {
        let mut events = between(&before, &now);
        events.extend(after_a_start(&before, &now));
        for event in events {
            prop_assert!(event.note.len() <= NOTE_BYTES_MAX && !event.note.is_empty());
            prop_assert!(event.action.len() <= 128, "{}", event.action);
        }
    }

    #[test]
    fn nothing_happens_where_nothing_changes(report in any_report()) {
        // Versions of one name are told apart by nobody; the API server refuses them.
        let mut report = report;
        if let Some(in_force) = &mut report.in_force {
            in_force.versions.truncate(1);
        }
        prop_assert_eq!(between(&report, &report), []);
    }
}
