//! Every reason in a table, and what holds for every report.

use proptest::prelude::*;

use super::{
    super::{
        judge::MESSAGE_BYTES_MAX,
        reason::{Holds, Reason},
    },
    *,
};
use crate::platform::kubernetes::report::{
    Routers, Secret, SecretState, TroubleKind, Verdict,
    samples::{any_report, but, but_blue, good, key, named, scale, target, trouble},
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).expect("a time")
}

fn composed(report: &Report) -> EndpointStatus {
    compose(report, &EndpointStatus::default(), at(0))
}

fn of(status: &EndpointStatus, aspect: Aspect) -> &Condition {
    let mut all = status.conditions.iter().filter(|c| c.type_ == aspect.as_str());
    let found = all.next().expect("every status has every condition");
    assert_eq!(all.next(), None, "twice");
    found
}

/// What is changed, the condition looked at, what it says, and a part of its message.
type Case = (Report, Aspect, Holds, Reason, &'static str);

fn secret(state: SecretState) -> Report {
    but(|report| report.in_force.as_mut().expect("in force").secret = named(state))
}

fn refused(verdict: Verdict) -> Report {
    but(|report| {
        report.verdict = verdict;
        report.in_force = None;
    })
}

/// A refused edit of an endpoint that works.
fn edited_badly() -> Report {
    but(|report| {
        report.generation = 8;
        report.verdict = Verdict::Invalid(vec!["spec.versions: must not be empty".into()]);
    })
}

fn no_replica(kind: TroubleKind, word: &str) -> Report {
    but_blue(|blue| {
        blue.ready = 0;
        blue.troubles = vec![trouble(kind, word)];
    })
}

#[rustfmt::skip]
fn cases() -> Vec<Case> {
    use {Aspect as A, Holds::{False, True, Unknown}, Reason as R};
    let taken = || Verdict::NameTaken { by: key("other") };
    let target = || Verdict::TargetTaken { target: target("blue"), by: key("other") };
    let host = || Verdict::HostTaken { host: "a.example".into(), by: key("other") };
    let invalid = || Verdict::Invalid(vec!["spec.x: is odd".into(), "spec.y: is even".into()]);
    vec![
        (good(), A::Accepted, True, R::Accepted, "generation 7 is valid: 2 versions, default blue"),
        (refused(invalid()), A::Accepted, False, R::Invalid, "generation 7 has 2 problems: spec.x: is odd; spec.y: is even"),
        (edited_badly(), A::Accepted, False, R::Invalid, "generation 8 has 1 problem: spec.versions: must not be empty; the last good spec, of generation 7, stays in force"),
        (refused(taken()), A::Accepted, False, R::NameTaken, "models/other has the name fraud"),
        (refused(host()), A::Accepted, False, R::HostTaken, "models/other has the host a.example"),
        (refused(target()), A::Accepted, False, R::TargetTaken, "models/other has Deployment fraud-blue"),

        (good(), A::ResolvedRefs, True, R::ResolvedRefs, "2 of 2 targets found; Secret fraud-keys has its keys"),
        (secret(SecretState::Made), A::ResolvedRefs, True, R::ResolvedRefs, "was made and has 2 keys"),
        (but(|r| r.in_force.as_mut().unwrap().secret = Secret::NotNeeded), A::ResolvedRefs, True, R::ResolvedRefs, "no Secret is needed"),
        (but_blue(|blue| blue.found = false), A::ResolvedRefs, False, R::TargetNotFound, "1 of 2 targets found; Deployment fraud-blue of version blue does not exist in namespace models"),
        (secret(SecretState::Missing), A::ResolvedRefs, False, R::SecretNotFound, "Secret models/fraud-keys does not exist"),
        (secret(SecretState::Lacks("primaryKey")), A::ResolvedRefs, False, R::SecretInvalid, "lacks the field primaryKey"),
        (secret(SecretState::Unusable("primaryKey is empty".into())), A::ResolvedRefs, False, R::SecretInvalid, "primaryKey is empty"),
        (secret(SecretState::Forbidden { verb: "get" }), A::ResolvedRefs, False, R::SecretForbidden, "lacks the verb get on secrets"),
        (refused(taken()), A::ResolvedRefs, Unknown, R::NotAccepted, "generation 7 was not accepted"),

        (good(), A::Programmed, True, R::Programmed, "3 of 3 routers serve generation 7"),
        (but(|r| r.routers = Routers { serving: 1, known: 3 }), A::Programmed, False, R::RoutersPending, "1 of 3 routers serve generation 7"),
        (but(|r| r.routers = Routers::default()), A::Programmed, False, R::RoutersPending, "0 of 0 routers"),
        (refused(invalid()), A::Programmed, False, R::NotAccepted, "no earlier one is in force"),
        (edited_badly(), A::Programmed, False, R::NotAccepted, "the last good spec, of generation 7, stays in force; 3 of 3 routers serve generation 7"),

        (good(), A::Autoscaling, True, R::Stable, "blue: 3 of 3 replicas ready, between 1 and 10; green: 1 of 1"),
        (but_blue(|b| { b.desired = 5; b.starting = 2; }), A::Autoscaling, True, R::ScalingUp, "3 of 5 replicas ready, 2 starting"),
        (but_blue(|b| b.desired = 5), A::Autoscaling, True, R::ScalingUp, "3 of 5 replicas ready, 0 starting"),
        (but_blue(|b| { b.ready = 2; b.desired = 2; b.draining = 1; }), A::Autoscaling, True, R::ScalingDown, "2 of 2 replicas ready, 1 draining"),
        (but_blue(|b| b.scaling.wanted = Some(11)), A::Autoscaling, False, R::AtMaxReplicas, "wants more than maxReplicas, 10, allows"),
        (but_blue(|b| b.scaling.wanted = Some(10)), A::Autoscaling, True, R::Stable, "3 of 3"),
        (but_blue(|b| b.scaling.hpa = Some("keda".into())), A::Autoscaling, False, R::HpaConflict, "HorizontalPodAutoscaler keda scales Deployment fraud-blue"),
        (but_blue(|b| b.scaling.write_failed = Some("it conflicts".into())), A::Autoscaling, False, R::WriteFailed, "could not be scaled: it conflicts"),
        (but_blue(|b| b.troubles = vec![trouble(TroubleKind::Unschedulable, "Unschedulable")]), A::Autoscaling, False, R::PodsPending, "2 pods without a node (Unschedulable, first fraud-7x: because); 3 of 3"),
        (but_blue(|b| b.troubles = vec![trouble(TroubleKind::CrashLoop, "CrashLoopBackOff")]), A::Autoscaling, False, R::PodsFailing, "2 pods crashing again and again (CrashLoopBackOff"),
        (but_blue(|b| b.troubles = vec![trouble(TroubleKind::ImagePull, "ErrImagePull")]), A::Autoscaling, False, R::PodsFailing, "2 pods without their image (ErrImagePull"),
        (but_blue(|b| b.troubles = vec![trouble(TroubleKind::Config, "CreateContainerConfigError")]), A::Autoscaling, False, R::PodsFailing, "2 pods that cannot be made"),
        (but_blue(|b| { b.desired = 4; b.troubles = vec![trouble(TroubleKind::Failed, "Evicted")]; }), A::Autoscaling, False, R::PodsFailing, "2 pods failed (Evicted"),
        (but_blue(|b| b.troubles = vec![trouble(TroubleKind::Failed, "Evicted")]), A::Autoscaling, True, R::Stable, "3 of 3"),
        (but_blue(|b| b.scaling.held = true), A::Autoscaling, False, R::NotLeading, "no router leads"),
        (but_blue(|b| b.found = false), A::Autoscaling, False, R::TargetNotFound, "Deployment fraud-blue does not exist"),
        (but(|r| r.in_force.as_mut().unwrap().versions.iter_mut().for_each(|v| v.scaling.enabled = false)), A::Autoscaling, False, R::Disabled, "blue: autoscale.enabled is false; 3 of 3"),
        (but_blue(|b| { b.scaling.enabled = false; b.scaling.hpa = Some("keda".into()); }), A::Autoscaling, True, R::Stable, "green"),
        (refused(invalid()), A::Autoscaling, Unknown, R::NotAccepted, "not accepted"),

        (good(), A::Ready, True, R::Ready, "4/4 replicas ready, blue=80% green=20%"),
        (but_blue(|b| b.scaling.wanted = Some(11)), A::Ready, True, R::Ready, "; but blue: the load wants more"),
        (refused(invalid()), A::Ready, False, R::Invalid, "has 2 problems"),
        (edited_badly(), A::Ready, False, R::Invalid, "stays in force"),
        (refused(taken()), A::Ready, False, R::NameTaken, "has the name"),
        (refused(host()), A::Ready, False, R::HostTaken, "has the host"),
        (refused(target()), A::Ready, False, R::TargetTaken, "cannot scale it"),
        (but_blue(|b| b.found = false), A::Ready, False, R::TargetNotFound, "does not exist"),
        (secret(SecretState::Missing), A::Ready, False, R::SecretNotFound, "every request gets 401"),
        (secret(SecretState::Lacks("primaryKey")), A::Ready, False, R::SecretInvalid, "primaryKey"),
        (secret(SecretState::Forbidden { verb: "get" }), A::Ready, False, R::SecretForbidden, "get"),
        (but(|r| r.routers.serving = 2), A::Ready, False, R::RoutersPending, "2 of 3"),
        (no_replica(TroubleKind::Unschedulable, "Unschedulable"), A::Ready, False, R::PodsPending, "blue takes 80 % and has 0 ready replicas: 2 pods without a node"),
        (no_replica(TroubleKind::CrashLoop, "CrashLoopBackOff"), A::Ready, False, R::PodsFailing, "crashing"),
        (but_blue(|b| { b.ready = 0; b.starting = 3; }), A::Ready, False, R::ReplicasStarting, "3 starting of 3 desired"),
        (but_blue(|b| { b.ready = 0; b.desired = 0; }), A::Ready, False, R::NoReadyReplicas, "Deployment fraud-blue asks for 0"),
        (but_blue(|b| { b.ready = 0; b.desired = 0; b.scaling.min = 0; }), A::Ready, True, R::Ready, "1/1 replicas ready"),
        (but_blue(|b| { b.ready = 0; b.effective_percentile = 0; }), A::Ready, True, R::Ready, "1/4 replicas ready, green=20%"),
    ]
}

#[test]
fn each_state_has_its_condition() {
    for (report, aspect, holds, reason, part) in cases() {
        let status = composed(&report);
        let condition = of(&status, aspect);
        let said = (condition.status.as_str(), condition.reason.as_str());
        assert_eq!(said, (holds.as_str(), reason.as_str()), "{aspect:?}: {}", condition.message);
        assert!(condition.message.contains(part), "{aspect:?}: {}", condition.message);
    }
}

#[test]
fn every_reason_of_every_condition_is_in_the_table() {
    let cases = cases();
    for reason in Reason::ALL {
        for (aspect, holds) in reason.uses() {
            let shown = cases.iter().any(|(_, a, h, r, _)| (a, h, r) == (aspect, holds, &reason));
            assert!(shown, "no case of {aspect:?} {holds:?} {reason:?}");
        }
    }
}

#[test]
fn a_long_refusal_does_not_push_the_numbers_out() {
    let status = composed(&but_blue(|b| b.scaling.write_failed = Some("no ".repeat(999).into())));
    let message = &of(&status, Aspect::Autoscaling).message;
    assert!(message.contains("…; 3 of 3 replicas ready; green: "), "{message}");
}

#[test]
fn the_most_important_reason_of_all_versions_is_the_one_that_is_shown() {
    let report = but(|report| {
        let versions = &mut report.in_force.as_mut().unwrap().versions;
        versions[0].scaling.wanted = Some(99);
        versions[1].scaling.hpa = Some("keda".into());
    });
    let status = composed(&report);
    let condition = of(&status, Aspect::Autoscaling);
    assert_eq!(condition.reason, "HpaConflict");
    assert!(condition.message.starts_with("green: "), "{}", condition.message);
    assert!(condition.message.contains("; blue: the load wants more"), "{}", condition.message);
}

#[test]
fn the_columns_show_what_is_in_force() {
    let report = but_blue(|blue| {
        blue.desired = 4;
        blue.last_scale = Some(scale(2, 4));
    });
    let status = composed(&report);
    assert_eq!(status.observed_generation, 7);
    assert_eq!(status.default_version.as_deref(), Some("blue"));
    assert_eq!(status.effective_traffic.as_deref(), Some("blue=80% green=20%"));
    assert_eq!(status.replicas.as_deref(), Some("4/5"));
    assert_eq!(status.scoring_uri.as_deref(), Some("/api/v1/endpoint/fraud/score"));
    let blue = &status.versions[0];
    let shown = (blue.desired_replicas, blue.ready_replicas, blue.effective_percentile);
    assert_eq!(shown, (4, 3, 80));
    let last = blue.last_scale.as_ref().expect("a scale");
    assert_eq!((last.from, last.to), (2, 4));
    assert_eq!(status.versions[1].last_scale, None);
}

#[test]
fn where_nothing_is_in_force_nothing_is_shown() {
    let status = composed(&refused(Verdict::Invalid(Vec::new())));
    assert_eq!(status.default_version, None);
    assert_eq!(status.effective_traffic, None);
    assert_eq!(status.replicas, None);
    assert_eq!(status.scoring_uri, None);
    assert_eq!(status.versions, []);
}

#[test]
fn the_time_of_a_condition_moves_only_with_its_status() {
    let first = composed(&good());
    let starting = but_blue(|blue| blue.starting = 1);
    let second = compose(&starting, &first, at(10));
    assert_eq!(of(&second, Aspect::Autoscaling).reason, "ScalingUp");
    assert_eq!(of(&second, Aspect::Autoscaling).last_transition_time, Time(at(0)));
    let third = compose(&secret(SecretState::Missing), &second, at(20));
    assert_eq!(of(&third, Aspect::ResolvedRefs).last_transition_time, Time(at(20)));
    assert_eq!(of(&third, Aspect::Ready).last_transition_time, Time(at(20)));
    assert_eq!(of(&third, Aspect::Accepted).last_transition_time, Time(at(0)));
}

#[test]
fn a_router_that_starts_keeps_the_last_scale_and_an_older_one_never_comes_back() {
    let scaled = |by: Scale| but_blue(|blue| blue.last_scale = Some(by));
    let before = composed(&scaled(scale(2, 4)));
    let kept = compose(&good(), &before, at(1));
    assert_eq!(kept.versions, before.versions);
    let older = scaled(Scale { time: at(-999_999_999), ..scale(7, 8) });
    assert_eq!(compose(&older, &before, at(1)).versions, before.versions);
    let newer = compose(&scaled(scale(4, 5)), &before, at(1));
    assert_eq!(newer.versions[0].last_scale.as_ref().map(|last| last.to), Some(5));
}

#[test]
fn conditions_of_others_stay() {
    let mut before = composed(&good());
    let other = Condition { type_: "Billed".to_owned(), ..before.conditions[0].clone() };
    before.conditions.insert(0, other.clone());
    let after = compose(&edited_badly(), &before, at(1));
    assert_eq!(after.conditions.len(), Aspect::ALL.len() + 1);
    assert!(after.conditions.contains(&other));
}

proptest! {
    #[test]
    fn whatever_is_reported_every_condition_says_why(report in any_report()) {
        let status = composed(&report);
        prop_assert_eq!(status.conditions.len(), Aspect::ALL.len());
        for (condition, aspect) in status.conditions.iter().zip(Aspect::ALL) {
            prop_assert_eq!(&condition.type_, aspect.as_str());
            prop_assert!(!condition.message.is_empty());
            prop_assert!(condition.message.len() <= MESSAGE_BYTES_MAX);
            prop_assert!(condition.message.chars().any(|c| c.is_ascii_digit()), "{}", condition.message);
            prop_assert_eq!(condition.observed_generation, Some(report.generation));
            let reason = Reason::ALL.into_iter().find(|r| r.as_str() == condition.reason);
            prop_assert!(reason.is_some(), "{}", &condition.reason);
        }
    }

    #[test]
    fn ready_needs_all_that_is_needed(report in any_report()) {
        let status = composed(&report);
        if of(&status, Aspect::Ready).status == "True" {
            for aspect in [Aspect::Accepted, Aspect::ResolvedRefs, Aspect::Programmed] {
                prop_assert_eq!(&of(&status, aspect).status, "True");
            }
            let live: Vec<_> =
                report.versions().iter().filter(|v| v.effective_percentile > 0).collect();
            prop_assert!(!live.is_empty());
            prop_assert!(live.iter().all(|version| version.can_answer()));
        }
    }

    #[test]
    fn what_is_composed_again_from_itself_stays(report in any_report(), later in 0_i64..1000) {
        // The API server takes no two versions of one name.
        let mut report = report;
        if let Some(in_force) = &mut report.in_force {
            in_force.versions.truncate(1);
        }
        let status = composed(&report);
        prop_assert_eq!(&compose(&report, &status, at(later)), &status);
        let back: EndpointStatus =
            serde_json::from_value(serde_json::json!(&status)).expect("our own status");
        prop_assert_eq!(compose(&report, &back, at(later)), back);
    }
}
