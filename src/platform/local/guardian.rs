//! The router's side of the guardian: one small process that kills the process groups of all
//! replicas when the router is gone, also by SIGKILL.

use std::{collections::BTreeSet, path::PathBuf, process::Stdio, time::Duration};

use tokio::{
    io::AsyncWriteExt,
    process::{Child, ChildStdin, Command},
    sync::mpsc,
};

use super::process::EXEC_GUARDIAN;
use crate::lifecycle::Lifecycle;

/// How many changes wait for the guardian. Beyond it a change is dropped with a warning.
const CHANGES_WAITING_MAX: usize = 1024;
/// How often a guardian that died is started again; one that keeps dying is a broken setup.
const RESTARTS_MAX: u32 = 5;
/// How long the guardian may take to end once its pipe is closed.
const END_WAIT: Duration = Duration::from_secs(1);

/// Handle to the guardian; it ends when the last handle is gone.
#[derive(Debug, Clone)]
pub(super) struct Guardian(mpsc::Sender<Change>);

#[derive(Debug, Clone, Copy)]
enum Change {
    Add(u32),
    Remove(u32),
}

impl Guardian {
    /// Starts the guardian with the router's own binary.
    pub(super) fn start(lifecycle: &Lifecycle, binary: PathBuf) -> Self {
        let (changes, waiting) = mpsc::channel(CHANGES_WAITING_MAX);
        lifecycle.spawn("guardian", keep(binary, waiting));
        Self(changes)
    }

    /// The group is to be killed when the router is gone.
    pub(super) fn add(&self, group: u32) {
        self.send(Change::Add(group));
    }

    /// The group has ended.
    pub(super) fn remove(&self, group: u32) {
        self.send(Change::Remove(group));
    }

    fn send(&self, change: Change) {
        if self.0.try_send(change).is_err() {
            tracing::warn!(?change, "the guardian of replica processes does not keep up");
        }
    }
}

/// Runs the guardian, and another one with the same groups when it dies.
async fn keep(binary: PathBuf, mut changes: mpsc::Receiver<Change>) {
    let mut groups = BTreeSet::new();
    for _ in 0..=RESTARTS_MAX {
        match watch(&binary, &mut changes, &mut groups).await {
            Ok(()) => return,
            Err(error) => {
                tracing::warn!(%error, "the guardian of replica processes died");
            }
        }
        // A binary that is missing should not be tried five times in one millisecond.
        tokio::time::sleep(END_WAIT).await;
    }
    tracing::warn!("no guardian: if the router is killed, helpers of replica processes may stay");
    // Without a receiver every later change would warn again.
    while changes.recv().await.is_some() {}
}

/// Until all handles are gone (`Ok`) or the guardian has died.
async fn watch(
    binary: &PathBuf,
    changes: &mut mpsc::Receiver<Change>,
    groups: &mut BTreeSet<u32>,
) -> std::io::Result<()> {
    let mut child = spawn(binary)?;
    let mut pipe = child.stdin.take().ok_or_else(|| std::io::Error::other("it has no pipe"))?;
    for group in &*groups {
        write(&mut pipe, Change::Add(*group)).await?;
    }
    loop {
        let change = tokio::select! {
            change = changes.recv() => change,
            status = child.wait() => return Err(std::io::Error::other(status?.to_string())),
        };
        let Some(change) = change else { break };
        match change {
            Change::Add(group) => groups.insert(group),
            Change::Remove(group) => groups.remove(&group),
        };
        write(&mut pipe, change).await?;
    }
    drop(pipe);
    if tokio::time::timeout(END_WAIT, child.wait()).await.is_err() {
        tracing::warn!("the guardian of replica processes does not end");
    }
    Ok(())
}

/// In a process group of its own, so that Ctrl-C at the terminal does not reach it.
fn spawn(binary: &PathBuf) -> std::io::Result<Child> {
    Command::new(binary)
        .arg(EXEC_GUARDIAN)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
}

async fn write(pipe: &mut ChildStdin, change: Change) -> std::io::Result<()> {
    let line = match change {
        Change::Add(group) => format!("+{group}\n"),
        Change::Remove(group) => format!("-{group}\n"),
    };
    pipe.write_all(line.as_bytes()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_guardian_hears_every_change_and_then_the_end_of_its_pipe() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let heard = folder.path().join("heard");
        let script = folder.path().join("guardian");
        let text = format!("#!/bin/sh\necho \"$@\" > {0}\ncat >> {0}\n", heard.display());
        std::fs::write(&script, text).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();

        let life = Lifecycle::new();
        let guardian = Guardian::start(&life, script);
        guardian.add(101);
        guardian.add(102);
        guardian.remove(101);
        drop(guardian);
        life.finish_tasks(Duration::from_secs(5)).await;

        let heard = std::fs::read_to_string(heard).unwrap();
        assert_eq!(heard, format!("{EXEC_GUARDIAN}\n+101\n+102\n-101\n"));
    }
}
