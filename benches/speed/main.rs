//! How fast the router is, beside nginx on the same machine in the same minutes, and how little
//! memory many large uploads take. `docs/performance.md` says how to read and use it.
//!
//! Cargo builds the binary for this with the bench profile, which is the release profile: this
//! costs one build, where driving `target/release/modelway` would cost a second one, because
//! tokio has one more feature as soon as anything under test is built.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a measurement speaks to people")]

mod arguments;
mod load;
mod machine;
mod memory;
mod proxies;
mod ratio;
mod stub;
mod wire;

use std::{path::PathBuf, process::ExitCode};

use tokio::runtime::{Builder, LocalOptions};

use arguments::Arguments;

/// One thing that must hold.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// What, with the figures.
    pub(crate) what: String,
    /// Whether it does; `None` where it could not be measured.
    pub(crate) holds: Option<bool>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse(std::env::args().skip(1));
    let Some((proxy_core, other_core)) = machine::cores() else {
        eprintln!("speed: FAILED: needs two cores, one for a proxy and one for its load");
        return ExitCode::FAILURE;
    };
    machine::move_to(other_core);
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    let verdicts = runtime.expect("a runtime can be made").block_on(async {
        let mut verdicts = Vec::new();
        if arguments.ratio {
            let awake = tokio::task::spawn_local(stay_awake());
            verdicts.push(ratio::measure(&arguments, nginx(), (proxy_core, other_core)).await);
            awake.abort();
        }
        if arguments.memory {
            verdicts.extend(memory::measure(&arguments, proxy_core).await);
        }
        verdicts
    });
    account(&verdicts)
}

/// Keeps the core of the load from sleeping. To wake a sleeping virtual core costs the proxy that
/// writes to it more than the whole request, and how often that happens depends on chance.
async fn stay_awake() {
    loop {
        tokio::task::yield_now().await;
    }
}

/// The nginx to compare with: what `scripts/test` has found, or else the system's.
fn nginx() -> Option<PathBuf> {
    let given = std::env::var_os("MODELWAY_TEST_NGINX").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Not every PATH has the folder where Debian puts it.
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    given.or_else(|| folders.map(|folder| folder.join("nginx")).find(|file| file.is_file()))
}

/// Tells what holds. What was left out is a failure in CI and only there: a laptop may lack nginx.
fn account(verdicts: &[Verdict]) -> ExitCode {
    let in_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    println!();
    for Verdict { what, holds } in verdicts {
        match holds {
            Some(true) => println!("ok      {what}"),
            Some(false) => println!("FAILED  {what}"),
            None if in_ci => println!("FAILED  {what}; in CI nothing is left out"),
            None => println!("!!! LEFT OUT: {what}"),
        }
    }
    let count = |wanted: Option<bool>| verdicts.iter().filter(|v| v.holds == wanted).count();
    let (passed, left_out) = (count(Some(true)), count(None));
    let failed = count(Some(false)) + if in_ci { left_out } else { 0 };
    println!("speed: {passed} passed, {failed} failed, {left_out} left out");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
