//! Reports for tests: one where all is well, and arbitrary ones.

use proptest::{option, prelude::*};

use super::*;

/// Two versions in good order, served by three routers.
pub(in super::super) fn good() -> Report {
    Report {
        key: key("fraud"),
        uid: "uid-1".into(),
        generation: 7,
        verdict: Verdict::Accepted,
        in_force: Some(InForce {
            generation: 7,
            default_version: name("blue"),
            scoring_uri: "/api/v1/endpoint/fraud/score".into(),
            secret: named(SecretState::Found),
            versions: vec![version("blue", 80, 3), version("green", 20, 1)],
        }),
        routers: Routers { serving: 3, known: 3 },
    }
}

/// The same, with something changed.
pub(in super::super) fn but(change: impl FnOnce(&mut Report)) -> Report {
    let mut report = good();
    change(&mut report);
    report
}

/// The same, with something changed about its first version.
pub(in super::super) fn but_blue(change: impl FnOnce(&mut VersionReport)) -> Report {
    but(|report| {
        change(&mut report.in_force.as_mut().expect("in force").versions[0]);
    })
}

pub(in super::super) fn key(name: &str) -> ObjectKey {
    ObjectKey { namespace: "models".into(), name: name.into() }
}

pub(in super::super) fn named(state: SecretState) -> Secret {
    Secret::Named { name: "fraud-keys".into(), state }
}

pub(in super::super) fn scale(from: u32, to: u32) -> Scale {
    let time = Timestamp::from_second(1_700_000_000 + i64::from(to)).expect("a time");
    Scale { time, from, to, reason: "5 busy + 3 queued over 2 × 1 slots = 400 % > 70 %".into() }
}

pub(in super::super) fn trouble(kind: TroubleKind, word: &str) -> Trouble {
    Trouble { kind, count: 2, pod: "fraud-7x".into(), word: word.into(), message: "because".into() }
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

/// The target of the version of this name.
pub(in super::super) fn target(version: &str) -> Target {
    let kind =
        if version == "green" { WorkloadKind::StatefulSet } else { WorkloadKind::Deployment };
    Target { kind, name: format!("fraud-{version}").into() }
}

fn version(text: &str, percent: u8, replicas: u32) -> VersionReport {
    VersionReport {
        name: name(text),
        target: target(text),
        found: true,
        effective_percentile: percent,
        ready: replicas,
        starting: 0,
        draining: 0,
        desired: replicas,
        scaling: Scaling { enabled: true, min: 1, max: 10, ..Scaling::default() },
        last_scale: None,
        troubles: Vec::new(),
    }
}

/// Any report, also ones that make no sense.
pub(in super::super) fn any_report() -> impl Strategy<Value = Report> {
    (any_verdict(), option::of(any_in_force()), 0_u32..5, 0_u32..5, 0_i64..9).prop_map(
        |(verdict, in_force, serving, known, generation)| Report {
            verdict,
            in_force,
            routers: Routers { serving, known },
            generation,
            ..good()
        },
    )
}

fn any_text() -> impl Strategy<Value = Box<str>> {
    let long = (1_usize..3000).prop_map(|length| "ä".repeat(length).into());
    prop_oneof![2 => "\\PC{0,60}".prop_map(Box::from), 1 => long]
}

fn any_verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        Just(Verdict::Accepted),
        prop::collection::vec(any_text(), 0..30).prop_map(Verdict::Invalid),
        Just(Verdict::NameTaken { by: key("other") }),
        Just(Verdict::TargetTaken { target: target("blue"), by: key("other") }),
        any_text().prop_map(|host| Verdict::HostTaken { host, by: key("other") }),
    ]
}

fn any_in_force() -> impl Strategy<Value = InForce> {
    let secret = prop_oneof![
        Just(Secret::NotNeeded),
        Just(named(SecretState::Found)),
        Just(named(SecretState::Made)),
        Just(named(SecretState::Missing)),
        Just(named(SecretState::Lacks("primaryKey"))),
        any_text().prop_map(|what| named(SecretState::Unusable(what))),
        (any::<bool>(), any::<bool>()).prop_map(|(is_emptied, is_over)| {
            named(SecretState::Lost { until: Timestamp::UNIX_EPOCH, is_emptied, is_over })
        }),
        Just(named(SecretState::Forbidden { verb: "get" })),
    ];
    (secret, prop::collection::vec(any_version(), 0..7), 0_i64..9).prop_map(
        |(secret, versions, generation)| InForce {
            generation,
            default_version: name("blue"),
            scoring_uri: "/api/v1/endpoint/fraud/score".into(),
            secret,
            versions,
        },
    )
}

fn any_version() -> impl Strategy<Value = VersionReport> {
    let counts = (0_u8..101, any_count(), any_count(), any_count(), any_count());
    let kinds = prop::sample::subsequence(&TroubleKind::ALL[..], 0..=TroubleKind::ALL.len());
    (any::<bool>(), counts, any_scaling(), kinds, any_text(), option::of((0_u32..9, 0_u32..9)))
        .prop_map(|(found, counts, scaling, kinds, message, scaled)| {
            let (effective_percentile, ready, starting, draining, desired) = counts;
            let troubles = kinds
                .into_iter()
                .map(|kind| Trouble { message: message.clone(), ..trouble(kind, "Word") });
            VersionReport {
                found,
                effective_percentile,
                ready,
                starting,
                draining,
                desired,
                scaling,
                troubles: troubles.collect(),
                last_scale: scaled.map(|(from, to)| scale(from, to)),
                ..version("blue", 0, 0)
            }
        })
}

fn any_count() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 0_u32..5, 1 => any::<u32>()]
}

fn any_scaling() -> impl Strategy<Value = Scaling> {
    let wanted = option::of(any_count());
    (any::<[bool; 3]>(), any_count(), any_count(), wanted, option::of(any_text())).prop_map(
        |([enabled, held, hpa], min, max, wanted, write_failed)| Scaling {
            enabled,
            min,
            max,
            wanted,
            hpa: hpa.then(|| "fraud-hpa".into()),
            write_failed,
            held,
        },
    )
}
