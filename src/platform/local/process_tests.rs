//! Real processes.

use std::{collections::BTreeMap, path::PathBuf};

use super::*;

fn target(command: &[&str]) -> ProcessTarget {
    ProcessTarget {
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        env: BTreeMap::from([("WHO".to_owned(), "{replica}:{port}:{grpcPort}".to_owned())]),
        working_dir: PathBuf::from("/tmp"),
        start_deadline: Duration::from_secs(5),
        stop_grace: Duration::from_secs(5),
    }
}

const FILL: Placeholders<'_> = Placeholders { replica: "demo-blue-1", port: 5, grpc_port: 6 };

fn start(target: &ProcessTarget, outlet: &Outlet) -> io::Result<Process> {
    let lifecycle = &Lifecycle::new();
    Process::start(target, FILL, Launch { lifecycle, outlet, guardian: None, binary: None })
}

#[tokio::test]
async fn placeholders_are_filled_in_command_and_environment_and_the_folder_holds() {
    let folder = tempfile::tempdir().unwrap();
    let outlet = Outlet::Files(folder.path().join("logs"));
    let command = target(&["sh", "-c", "echo {replica} {port} {grpcPort} $WHO $PWD; echo e >&2"]);
    let mut process = start(&command, &outlet).unwrap();
    assert!(process.wait().await.unwrap().success());
    let log = std::fs::read_to_string(folder.path().join("logs/demo-blue-1.log")).unwrap();
    assert_eq!(log, "demo-blue-1 5 6 demo-blue-1:5:6 /tmp\ne\n");
}

#[tokio::test]
async fn lines_carry_the_name_of_the_replica() {
    let (lines, waiting) = std::sync::mpsc::sync_channel(8);
    let lifecycle = Lifecycle::new();
    let launch = Launch {
        lifecycle: &lifecycle,
        outlet: &Outlet::Lines(lines),
        guardian: None,
        binary: None,
    };
    let command = target(&["sh", "-c", "echo out; echo err >&2"]);
    let mut process = Process::start(&command, FILL, launch).unwrap();
    process.wait().await.unwrap();
    drop(process);
    lifecycle.finish_tasks(Duration::from_secs(5)).await;
    let mut shown: Vec<String> = waiting.try_iter().collect();
    shown.sort();
    assert_eq!(shown, ["demo-blue-1 | err\n", "demo-blue-1 | out\n"]);
}

#[tokio::test]
async fn a_program_that_does_not_exist_is_named_with_its_folder() {
    let error = start(&target(&["no-such-model"]), &Outlet::Discard).unwrap_err();
    assert!(error.to_string().starts_with("cannot start no-such-model in /tmp: "), "{error}");
}

#[tokio::test]
async fn stop_kills_the_whole_group_after_the_grace() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    // The shell ends at SIGTERM, its child does not.
    let script = format!(
        "(trap '' TERM; while :; do sleep 0.05; done) & echo $! > {0}.new; mv {0}.new {0}; wait",
        pids.display()
    );
    let mut process = start(&target(&["sh", "-c", &script]), &Outlet::Discard).unwrap();
    while !pids.exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let child = std::fs::read_to_string(&pids).unwrap().trim().to_owned();
    let grace = Duration::from_millis(300);
    let begun = Instant::now();
    process.stop(grace).await;
    assert!(begun.elapsed() >= grace, "the child has its grace");
    assert!(begun.elapsed() < grace * 5);
    // SIGKILL is certain, but the kernel may take a moment for it.
    while !is_gone(&child) {
        assert!(begun.elapsed() < grace * 50, "process {child} is left behind");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_process_that_ends_at_sigterm_is_not_waited_for_any_longer() {
    let mut process = start(&target(&["sleep", "60"]), &Outlet::Discard).unwrap();
    let begun = Instant::now();
    process.stop(Duration::from_secs(30)).await;
    assert!(begun.elapsed() < Duration::from_secs(5));
}

/// Whether the process is gone, or dead and waiting for init to reap it.
fn is_gone(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.map_or(true, |stat| stat.contains(") Z ") || stat.contains(") X "))
}
