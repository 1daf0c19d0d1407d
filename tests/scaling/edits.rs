//! Edits of the endpoint file: a good one counts within a second, a bad one changes nothing.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{
    line::{Line, post},
    router::Router,
    spec::{self, SCORE},
    watch::{await_exactly, metric, pass, until},
};

const REFUSALS: &str = "modelway_configuration_refusals_total";
/// Contract: an edit takes effect within a second.
const EDIT_LIMIT: Duration = Duration::from_secs(1);
/// What a loaded machine adds.
const SLACK: Duration = Duration::from_secs(2);

fn two_versions(folder: &tempfile::TempDir, green_percent: u32) -> String {
    let command = spec::model(&folder.path().join("ledger"), &[]);
    let share = json!({"trafficPercentile": green_percent});
    spec::endpoint(&[
        spec::fixed("blue", &command, 1, &json!({})),
        spec::fixed("green", &command, 1, &share),
    ])
}

#[test]
fn a_good_edit_is_in_force_within_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let router = Router::start(&two_versions(&folder, 0), &[]);
    await_exactly(&router, "blue", 1);
    await_exactly(&router, "green", 1);
    let mut line = Line::connect(router.data);
    assert_eq!(line.ask(SCORE, &[]).version(), "blue");
    for (percent, version) in [(100, "green"), (0, "blue"), (100, "green")] {
        let edited = Instant::now();
        router.edit(&two_versions(&folder, percent));
        until(Duration::from_secs(5), "the edit is in force", || {
            let answer = line.ask(SCORE, &[]);
            assert_eq!(answer.status, 200, "{answer:?}");
            (answer.version() == version).then_some(())
        });
        println!("in force after {:?}", edited.elapsed());
        assert!(edited.elapsed() < EDIT_LIMIT + SLACK, "took {:?}", edited.elapsed());
    }
}

#[test]
fn a_bad_edit_changes_nothing_and_every_problem_is_told_with_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let router = Router::start(&two_versions(&folder, 0), &[]);
    await_exactly(&router, "blue", 1);
    router.edit(
        "apiVersion: modelway.dev/v1alpha1\n\
         kind: InferenceEndpoint\n\
         metadata:\n  name: demo\n\
         spec:\n  versions:\n    - name: Blue\n      trafficPercentile: 101\n      \
         targetRef: {kind: Process, command: [x]}\n",
    );
    until(Duration::from_secs(5), "the refusal is counted", || {
        (metric(&router, REFUSALS, &[]) >= 1.0).then_some(())
    });
    let told = until(Duration::from_secs(5), "the refusal is told", || {
        let lines = router.lines();
        lines.iter().any(|line| line.contains("refused")).then_some(lines)
    });
    for place in ["endpoints.yaml:7:", "endpoints.yaml:8:"] {
        assert!(told.iter().any(|line| line.contains(place)), "{place} in {told:#?}");
    }
    assert_eq!(post(router.data, SCORE, &[]).version(), "blue");
}

#[test]
fn an_emptied_or_vanished_file_keeps_the_last_good_one() {
    let folder = tempfile::tempdir().unwrap();
    let router = Router::start(&two_versions(&folder, 0), &[]);
    await_exactly(&router, "blue", 1);
    let refused = |count: f64| {
        until(Duration::from_secs(5), "the refusal is counted", || {
            (metric(&router, REFUSALS, &[]) >= count).then_some(())
        });
        assert_eq!(post(router.data, SCORE, &[]).version(), "blue");
    };
    std::fs::write(router.file(), "").unwrap();
    refused(1.0);
    // Longer than an edit takes to count, so that the two are told apart.
    pass(EDIT_LIMIT);
    let before = metric(&router, REFUSALS, &[]);
    std::fs::remove_file(router.file()).unwrap();
    refused(before + 1.0);
    router.edit(&two_versions(&folder, 100));
    await_exactly(&router, "green", 1);
    until(Duration::from_secs(5), "a good file counts again", || {
        (post(router.data, SCORE, &[]).version() == "green").then_some(())
    });
}
