//! Plans, from facts to actions.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use proptest::prelude::*;

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

/// What may happen to the replicas of a version of one recipe.
#[derive(Debug, Clone)]
enum Happening {
    /// The file now says this program.
    Edit(u8),
    /// The nth replica becomes healthy.
    Rise(usize),
    /// The nth replica crashes.
    Crash(usize),
    /// The autoscaler drains the nth visible replica.
    Drain(usize),
    /// The autoscaler wants so many.
    Fill(u32),
}

/// The actor without tasks: does what plans say.
#[derive(Debug)]
struct Sketch {
    program: u8,
    facts: Vec<Fact>,
    seats: u64,
}

impl Sketch {
    fn wanted(&self) -> Wanted {
        count(&self.program.to_string(), 1, 4)
    }

    fn happen(&mut self, happening: &Happening) {
        let length = self.facts.len().max(1);
        match *happening {
            Happening::Edit(program) => self.program = program,
            Happening::Rise(n) => {
                if let Some(fact) = self.facts.get_mut(n % length) {
                    fact.healthy = true;
                }
            }
            Happening::Crash(n) => self.crash(n % length),
            Happening::Drain(n) => {
                let seats = self.seats;
                let mut live = self.facts.iter_mut().filter(|fact| fact.is_live());
                if let Some(fact) = live.nth(n % length) {
                    fact.draining = Some(seats);
                }
            }
            Happening::Fill(count) => self.perform(fill(&self.wanted(), &self.facts, count)),
        }
        for _ in 0..3 {
            let actions = settle(&self.wanted(), &self.facts);
            self.perform(actions);
        }
        assert_eq!(settle(&self.wanted(), &self.facts), [], "plans come to an end");
    }

    fn crash(&mut self, n: usize) {
        if n >= self.facts.len() {
            return;
        }
        let mut gone = self.facts.remove(n);
        let successor = self.facts.iter_mut().find(|fact| fact.replaces == Some(gone.seat));
        if let Some(successor) = successor {
            successor.replaces = None;
        } else if gone.draining.is_none() {
            gone.healthy = false;
            gone.recipe = process(&self.program.to_string());
            self.facts.push(gone);
        }
    }

    fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Start(recipe) => self.start(&recipe, None),
                Action::Replace { old, recipe } => self.start(&recipe, Some(old)),
                Action::Supersede { old, new } => {
                    self.fact(new).replaces = None;
                    self.fact(old).draining = Some(0);
                }
                Action::Adopt(seat) => self.fact(seat).replaces = None,
                Action::Stop(seat) => self.facts.retain(|fact| fact.seat != seat),
                Action::Retire(seat) => self.fact(seat).draining = Some(0),
                Action::Readmit(seat) => self.fact(seat).draining = None,
            }
        }
    }

    fn start(&mut self, recipe: &Arc<Recipe>, replaces: Option<u64>) {
        self.seats += 1;
        self.facts.push(Fact { replaces, ..starting(self.seats, recipe) });
    }

    fn fact(&mut self, seat: u64) -> &mut Fact {
        self.facts.iter_mut().find(|fact| fact.seat == seat).unwrap()
    }

    fn live(&self) -> usize {
        self.facts.iter().filter(|fact| fact.is_live()).count()
    }

    fn healthy(&self) -> usize {
        self.facts.iter().filter(|fact| fact.is_live() && fact.healthy).count()
    }
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        (0..3_u8).prop_map(Happening::Edit),
        (0..8_usize).prop_map(Happening::Rise),
        (0..8_usize).prop_map(Happening::Rise),
        (0..8_usize).prop_map(Happening::Crash),
        (0..8_usize).prop_map(Happening::Drain),
        (0..6_u32).prop_map(Happening::Fill),
    ]
}

proptest! {
    #[test]
    fn edits_never_lower_the_healthy_count_and_end_with_the_newest_recipe_and_the_same_count(
        happenings in proptest::collection::vec(happening(), 1..40)
    ) {
        let mut sketch = Sketch { program: 0, facts: Vec::new(), seats: 0 };
        sketch.perform(clamp(&sketch.wanted(), &sketch.facts));
        for happening in &happenings {
            let (live, healthy) = (sketch.live(), sketch.healthy());
            sketch.happen(happening);
            match happening {
                Happening::Edit(_) | Happening::Rise(_) => {
                    prop_assert_eq!(sketch.live(), live);
                    prop_assert!(sketch.healthy() >= healthy);
                }
                Happening::Fill(count) => {
                    prop_assert_eq!(sketch.live(), live.max(4.min(*count as usize)));
                }
                Happening::Crash(_) => prop_assert!(sketch.live() == live),
                Happening::Drain(_) => prop_assert!(sketch.live() + 1 >= live),
            }
        }
        let live = sketch.live();
        for n in 0..sketch.facts.len() * 2 {
            sketch.happen(&Happening::Rise(n));
        }
        let wanted = sketch.wanted();
        prop_assert_eq!(sketch.live(), live);
        let staying = sketch.facts.iter().filter(|fact| fact.draining.is_none());
        prop_assert!(staying.clone().all(|fact| wanted.asks_for(&fact.recipe)), "{:#?}", sketch);
        prop_assert_eq!(staying.count(), live, "no replacement is left over");
    }
}
