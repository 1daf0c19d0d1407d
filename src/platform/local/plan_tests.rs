//! Plans, from facts to actions.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use super::*;
use crate::platform::spec::ProbeKind;

fn recipe(source: Source) -> Arc<Recipe> {
    let probe = Probe {
        kind: ProbeKind::Tcp,
        period: Duration::from_secs(5),
        timeout: Duration::from_secs(1),
    };
    Arc::new(Recipe { source, grpc_port: None, probe })
}

fn process(program: &str) -> Arc<Recipe> {
    recipe(Source::Process(ProcessTarget {
        command: vec![program.to_owned()],
        env: BTreeMap::new(),
        working_dir: PathBuf::from("."),
        start_deadline: Duration::from_secs(1),
        stop_grace: Duration::from_secs(1),
    }))
}

fn address(host: &str) -> Arc<Recipe> {
    recipe(Source::Address(Address { host: host.to_owned(), port: 1 }))
}

fn count(program: &str, min: u32, max: u32) -> Wanted {
    Wanted::Count { recipe: process(program), min, max }
}

fn ready(seat: u64, recipe: &Arc<Recipe>) -> Fact {
    let recipe = Arc::clone(recipe);
    Fact { seat, recipe, healthy: true, busy: 0, draining: None, replaces: None }
}

fn starting(seat: u64, recipe: &Arc<Recipe>) -> Fact {
    Fact { healthy: false, ..ready(seat, recipe) }
}

fn draining(seat: u64, recipe: &Arc<Recipe>, since: u64) -> Fact {
    Fact { draining: Some(since), ..ready(seat, recipe) }
}

fn replacing(old: u64, fact: Fact) -> Fact {
    Fact { replaces: Some(old), ..fact }
}

#[test]
fn a_new_version_starts_with_its_minimum() {
    let start = Action::Start(process("a"));
    assert_eq!(clamp(&count("a", 2, 4), &[]), [start.clone(), start]);
    assert_eq!(clamp(&count("a", 0, 4), &[]), []);
}

#[test]
fn a_lower_maximum_retires_the_unready_then_the_idle_then_the_newest() {
    let a = process("a");
    let busy = Fact { busy: 1, ..ready(4, &a) };
    let facts = [ready(1, &a), ready(2, &a), starting(3, &a), busy];
    let retired = clamp(&count("a", 0, 1), &facts);
    assert_eq!(retired, [Action::Retire(3), Action::Retire(2), Action::Retire(1)]);
}

#[test]
fn filling_takes_back_the_last_drained_before_it_starts_new_ones_and_stops_at_the_maximum() {
    let a = process("a");
    let facts =
        [ready(1, &a), draining(2, &a, 10), draining(3, &a, 11), draining(4, &process("old"), 12)];
    assert_eq!(fill(&count("a", 0, 9), &facts, 2), [Action::Readmit(3)]);
    let four = [Action::Readmit(3), Action::Readmit(2), Action::Start(process("a"))];
    assert_eq!(fill(&count("a", 0, 4), &facts, 9), four);
    assert_eq!(fill(&count("a", 0, 4), &facts, 1), []);
}

#[test]
fn an_edited_command_replaces_healthy_replicas_and_restarts_unhealthy_ones() {
    let old = process("old");
    let actions =
        settle(&count("new", 1, 4), &[ready(1, &old), starting(2, &old), draining(3, &old, 1)]);
    let new = process("new");
    assert_eq!(
        actions,
        [
            Action::Replace { old: 1, recipe: Arc::clone(&new) },
            Action::Retire(2),
            Action::Start(new)
        ]
    );
}

#[test]
fn a_replacement_takes_over_only_when_it_is_healthy() {
    let (old, new) = (process("old"), process("new"));
    let wanted = count("new", 1, 4);
    let waiting = [ready(1, &old), replacing(1, starting(2, &new))];
    assert_eq!(settle(&wanted, &waiting), []);
    let done = [ready(1, &old), replacing(1, ready(2, &new))];
    assert_eq!(settle(&wanted, &done), [Action::Supersede { old: 1, new: 2 }]);
}

#[test]
fn a_second_edit_stops_the_replacement_and_begins_another() {
    let (old, new) = (process("old"), process("new"));
    let facts = [ready(1, &old), replacing(1, starting(2, &new))];
    let third = settle(&count("third", 1, 4), &facts);
    assert_eq!(third, [Action::Stop(2), Action::Replace { old: 1, recipe: process("third") }]);
    assert_eq!(settle(&count("old", 1, 4), &facts), [Action::Stop(2)], "the edit is taken back");
}

#[test]
fn a_replacement_goes_with_the_replica_it_was_to_replace() {
    let (old, new) = (process("old"), process("new"));
    let facts = [draining(1, &old, 1), replacing(1, starting(2, &new))];
    assert_eq!(settle(&count("new", 0, 4), &facts), [Action::Stop(2)]);
}

#[test]
fn changed_start_and_stop_times_replace_nothing() {
    let mut slow = process("a").as_ref().clone();
    let Source::Process(target) = &mut slow.source else { panic!("a process") };
    target.start_deadline = Duration::from_secs(99);
    let wanted = Wanted::Count { recipe: Arc::new(slow), min: 1, max: 1 };
    assert_eq!(settle(&wanted, &[ready(1, &process("a"))]), []);
}

#[test]
fn addresses_come_and_go_in_pairs_where_they_can() {
    let (a, b, c) = (address("a"), address("b"), address("c"));
    let each = |all: &[&Arc<Recipe>]| Wanted::Each(all.iter().map(|r| Arc::clone(r)).collect());
    assert_eq!(settle(&each(&[&a, &b]), &[ready(1, &a)]), [Action::Start(Arc::clone(&b))]);
    assert_eq!(settle(&each(&[&a]), &[ready(1, &a), ready(2, &b)]), [Action::Retire(2)]);
    let swap = [Action::Replace { old: 1, recipe: Arc::clone(&b) }];
    assert_eq!(settle(&each(&[&b]), &[ready(1, &a)]), swap);
    let both = [ready(1, &a), replacing(1, starting(2, &b))];
    assert_eq!(settle(&each(&[&a, &b]), &both), [Action::Adopt(2)]);
    assert_eq!(settle(&each(&[]), &[ready(1, &c)]), [Action::Retire(1)]);
    assert_eq!(settle(&each(&[&c]), &[draining(1, &c, 1)]), [Action::Readmit(1)]);
}
