//! Which job is next, and what is believed of a target.

use super::*;

fn victim(name: &str) -> Victim {
    Victim { name: name.into(), uid: name.into() }
}

fn desk(victims: &[&str]) -> Desk {
    let victims = victims.iter().map(|name| (Arc::from(*name), victim(name))).collect();
    Desk { victims, ..Desk::default() }
}

#[test]
fn removing_comes_first_and_a_removal_that_failed_lets_growing_pass() {
    let mut desk = desk(&["one", "two"]);
    (desk.grow, desk.set) = (Some(5), Some(4));
    let Some(Job::Shrink(mut removal)) = desk.next_job() else { panic!("not a removal") };
    assert_eq!((removal.victims.len(), removal.aim), (2, None));
    removal.aim = Some(3);
    (desk.again, desk.has_failed) = (Some(removal.clone()), true);
    desk.victims.insert("three".into(), victim("three"));
    assert_eq!(desk.next_job(), Some(Job::Grow(8)), "the three to be removed are counted in");
    assert_eq!(desk.next_job(), Some(Job::Shrink(removal)), "with its aim, and no one else");
    let third = Removal { victims: vec![victim("three")], aim: None };
    assert_eq!(desk.next_job(), Some(Job::Shrink(third)));
    assert_eq!(desk.next_job(), Some(Job::Set(4)));
    assert_eq!(desk.next_job(), None);
}

#[test]
fn versions_are_numbers_and_what_is_none_is_never_older() {
    assert!(is_older("99", "100"));
    assert!(!is_older("100", "99"));
    assert!(!is_older("100", "100"));
    assert!(!is_older("x", "100"));
    assert!(!is_older("99", ""));
}

fn workload(version: &str, replicas: u32) -> Workload {
    serde_json::from_value(serde_json::json!({
        "metadata": {"resourceVersion": version}, "spec": {"replicas": replicas},
    }))
    .unwrap()
}

fn writes() -> (Writes, Target) {
    let config = kube::Config::new("http://127.0.0.1:9".parse().unwrap());
    let server = ApiServer::of(kube::Client::try_from(config).unwrap());
    let (facts, _) = mpsc::channel(1);
    let object = super::super::objects::ObjectKey { namespace: "n".into(), name: "w".into() };
    let target = Target { kind: WorkloadKind::Deployment, object };
    (Writes::new(Lifecycle::new(), server, facts), target)
}

fn done(version: &str, from: u32, to: u32) -> Outcome {
    Outcome::Done(Written { from, to, resource_version: version.into() })
}

#[tokio::test(start_paused = true)]
async fn our_own_write_outranks_an_older_word_of_the_watch_for_a_while() {
    let (mut writes, target) = writes();
    writes.see(&target, Some(&workload("10", 2)));
    writes.hear(&target, done("12", 2, 5));
    writes.see(&target, Some(&workload("11", 2)));
    assert_eq!(writes.replicas(&target), Some(5));
    writes.see(&target, Some(&workload("13", 4)));
    assert_eq!(writes.replicas(&target), Some(4));
    writes.see(&target, Some(&workload("11", 2)));
    assert_eq!(writes.replicas(&target), Some(4));
    tokio::time::advance(OWN_WORD_MAX).await;
    writes.see(&target, Some(&workload("11", 2)));
    assert_eq!(writes.replicas(&target), Some(2), "a cluster restored from a backup");
    writes.see(&target, None);
    assert_eq!(writes.replicas(&target), None);
}

#[tokio::test(start_paused = true)]
async fn what_a_job_of_an_old_term_leaves_behind_is_forgotten() {
    for laid_down in [false, true] {
        let (mut writes, target) = writes();
        writes.desk(&target).running = Some(Running { removes: false, is_laid_down: false });
        if laid_down {
            writes.lay_down();
        }
        let removal = Some(Removal { victims: vec![victim("one")], aim: Some(1) });
        writes.hear(&target, Outcome::Failed { error: WriteError::NotLeader, removal });
        assert_eq!(writes.is_removing(&target), !laid_down);
        assert_eq!(writes.is_quiet(&target), laid_down);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_quiet_right_after_a_write() {
    let (mut writes, target) = writes();
    assert!(writes.is_quiet(&target));
    writes.hear(&target, done("1", 1, 1));
    writes.see(&target, None);
    writes.hear(&target, done("2", 2, 1));
    assert!(!writes.is_quiet(&target));
    tokio::time::advance(ORDER_AGAIN_AFTER).await;
    assert!(writes.is_quiet(&target));
}
