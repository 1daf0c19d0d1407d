//! The API server away.

use std::{
    env,
    time::{Duration, Instant},
};

use super::stage::{Stage, fixed, load, version};
use crate::support::{
    controlplane::{ControlPlane, Options, programs},
    watch::{metric, pass, until},
};

/// How long the API server is away; `MODELWAY_TEST_OUTAGE_S=60` is the long run.
const OUTAGE_S: u64 = 20;
/// How long after it is back everything is as it says (the bound).
const CONVERGE_LIMIT: Duration = Duration::from_secs(35);
/// A quiet watch is proved by its bookmarks, or when it ends and begins anew.
const PROOF_LIMIT: Duration = Duration::from_secs(60);

#[test]
fn routing_goes_on_while_the_api_server_is_away() {
    let Some(programs) = programs("an API server that is away") else { return };
    let plane = ControlPlane::start(&programs, &Options::default());
    let stage = Stage::new(&plane, "away");
    let router = stage.simple("20ms", &fixed(2), 2);
    let load = load(&router, |_| 30.0);
    let outage =
        env::var("MODELWAY_TEST_OUTAGE_S").map_or(OUTAGE_S, |text| text.parse().expect("seconds"));
    pass(Duration::from_secs(1));
    plane.hold("kube-apiserver");
    pass(Duration::from_secs(outage));
    let age = metric(&router, "modelway_catalog_age_seconds", &[]);
    let readyz = router.admin_get("/readyz?verbose");
    println!("after {outage} s the catalog is {age} s old: {readyz:?}");
    assert_eq!(readyz.0, 200);
    let least = Duration::from_secs(outage.saturating_sub(5)).as_secs_f64();
    assert!(age > least, "{age}");
    plane.release("kube-apiserver");
    plane.await_ready();
    let begun = Instant::now();
    // An edit is seen, and what follows from it is written. When the pods come is the business of
    // Kubernetes' own controllers, which were cut off as well.
    stage.endpoint(&[version("blue", &fixed(3))]);
    until(CONVERGE_LIMIT, "the new count is written", || {
        (stage.replicas("blue") == 3).then_some(())
    });
    let converged = begun.elapsed();
    until(PROOF_LIMIT, "every watch is proved anew", || {
        (metric(&router, "modelway_catalog_age_seconds", &[]) < age).then_some(())
    });
    let balance = stage.balance(load, &[], 1);
    stage.tell(&format!("API server away for {outage} s"), balance.sent, 0, converged);
}
