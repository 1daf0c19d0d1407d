//! Whether `docs/conditions.md` has every condition, reason and event.

use super::{
    super::status::{Aspect, Reason},
    kind::EventKind,
};

const PAGE: &str = include_str!("../../../../docs/conditions.md");

/// The page with what stands between the two marks of a table replaced.
fn with_table(page: &str, name: &str, table: &str) -> String {
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->"));
    let (before, rest) = page.split_once(&begin).expect("the page has the table");
    let (_, after) = rest.split_once(&end).expect("the table ends");
    format!("{before}{begin}{table}\n{end}{after}")
}

fn conditions_table() -> String {
    let mut lines =
        vec!["| condition | status | reason |".to_owned(), "| --- | --- | --- |".to_owned()];
    for aspect in Aspect::ALL {
        for reason in Reason::ALL {
            if let Some(holds) = reason.holds(aspect) {
                let (aspect, holds, word) = (aspect.as_str(), holds.as_str(), reason.as_str());
                let anchor = word.to_lowercase();
                lines.push(format!("| `{aspect}` | {holds} | [`{word}`](#{anchor}) |"));
            }
        }
    }
    lines.join("\n")
}

fn events_table() -> String {
    let mut lines = vec!["| reason | type | action |".to_owned(), "| --- | --- | --- |".to_owned()];
    for kind in EventKind::ALL {
        let (word, verb) = (kind.as_str(), kind.verb());
        let level = if kind.is_warning() { "Warning" } else { "Normal" };
        let anchor = word.to_lowercase();
        lines.push(format!("| [`{word}`](#event-{anchor}) | {level} | `{verb}-…` |"));
    }
    lines.join("\n")
}

fn sections(heading: &str) -> Vec<&'static str> {
    let (_, rest) = PAGE.split_once(&format!("\n## {heading}\n")).expect("the page has it");
    let rest = rest.split("\n## ").next().unwrap_or_default();
    rest.lines().filter_map(|line| line.strip_prefix("### ")).collect()
}

#[test]
fn the_tables_of_conditions_and_events_in_docs_are_current() {
    let page = with_table(PAGE, "conditions", &conditions_table());
    let page = with_table(&page, "events", &events_table());
    expect_test::expect_file!["../../../../docs/conditions.md"].assert_eq(&page);
}

#[test]
fn every_reason_and_event_has_its_section_in_docs_and_no_other_has() {
    assert_eq!(sections("Reasons"), Reason::ALL.map(|reason| format!("`{}`", reason.as_str())));
    let events = EventKind::ALL.map(|kind| format!("Event `{}`", kind.as_str()));
    assert_eq!(sections("Events"), events);
}
