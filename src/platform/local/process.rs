//! One replica process: started through the exec step, ended with its whole process group.

use std::{ffi::OsString, io, path::Path, process::ExitStatus, sync::Arc, time::Duration};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::{
    process::{Child, Command},
    time::Instant,
};

use super::{
    guardian::Guardian,
    output::{Outlet, copy},
};
use crate::{lifecycle::Lifecycle, platform::spec::ProcessTarget};

/// The hidden command between fork and the model: `exec-replica --parent PID -- program args…`.
pub const EXEC_REPLICA: &str = "exec-replica";
/// The hidden command of the process that cleans up after a killed router: `exec-guardian`.
pub const EXEC_GUARDIAN: &str = "exec-guardian";
/// The exit code of the exec step when the program cannot be started, as of a shell.
pub const EXEC_FAILED: u8 = 127;
/// How often a stopping process group is looked at once its first process has ended.
const GROUP_INTERVAL: Duration = Duration::from_millis(20);
/// How long the output of an ended replica is still read: a helper that left the process group may
/// keep the pipe open for ever.
const OUTPUT_TAIL: Duration = Duration::from_millis(500);

/// What fills the placeholders of a command.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placeholders<'a> {
    pub(super) replica: &'a str,
    pub(super) port: u16,
    pub(super) grpc_port: u16,
}

/// A running replica. Dropping it kills its process group.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    group: Pid,
    guardian: Option<Guardian>,
    /// Dropped with the process; ends the reading of its output.
    _output: tokio::sync::watch::Sender<()>,
}

/// What every process is started with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Launch<'a> {
    pub(super) lifecycle: &'a Lifecycle,
    pub(super) outlet: &'a Outlet,
    pub(super) guardian: Option<&'a Guardian>,
    /// The router's binary for the exec step; without it the model is started directly.
    pub(super) binary: Option<&'a Path>,
}

impl Placeholders<'_> {
    /// The text with `{port}`, `{grpcPort}` and `{replica}` filled in.
    pub(super) fn fill(self, text: &str) -> String {
        text.replace("{port}", &self.port.to_string())
            .replace("{grpcPort}", &self.grpc_port.to_string())
            .replace("{replica}", self.replica)
    }
}

impl Process {
    /// Starts the process. Has to run on the thread that lives as long as the router: the kernel
    /// kills the process when the thread that started it ends.
    pub(super) fn start(
        target: &ProcessTarget,
        fill: Placeholders<'_>,
        launch: Launch<'_>,
    ) -> io::Result<Self> {
        let streams = launch.outlet.streams(fill.replica)?;
        let mut command = command(target, fill, launch.binary)?;
        command.stdout(streams.stdout).stderr(streams.stderr);
        let mut child = command.spawn().map_err(|error| explain(&error, target))?;
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let group = group.ok_or_else(|| io::Error::other("the process has no id"))?;
        if let (Some(guardian), Some(id)) = (launch.guardian, child.id()) {
            guardian.add(id);
        }
        let (output, _) = tokio::sync::watch::channel(());
        if let Outlet::Lines(lines) = launch.outlet {
            let name: Arc<str> = fill.replica.into();
            let show = |stream| {
                let shown = copy(stream, Arc::clone(&name), lines.clone());
                launch.lifecycle.spawn("replica output", until_tail(shown, output.subscribe()));
            };
            child.stdout.take().map(tokio_pipe).into_iter().for_each(show);
            child.stderr.take().map(tokio_pipe).into_iter().for_each(show);
        }
        Ok(Self { child, group, guardian: launch.guardian.cloned(), _output: output })
    }

    /// Its process id, which is also the id of its group.
    pub(super) fn id(&self) -> u32 {
        self.group.as_raw_pid().unsigned_abs()
    }

    /// Resolves when its first process has ended. May be called again.
    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// SIGTERM to the whole group, SIGKILL to what is left of it after `grace`, and reaps.
    pub(super) async fn stop(&mut self, grace: Duration) {
        let until = Instant::now() + grace;
        // A group that is gone is what we want; there is no other reason for a failure here.
        let _sent_or_gone = kill_process_group(self.group, Signal::TERM);
        let ended = tokio::time::timeout_at(until, self.child.wait()).await;
        if ended.is_ok() {
            // A shell in front of the model ends first; the model still has its grace.
            while Instant::now() < until && test_kill_process_group(self.group).is_ok() {
                tokio::time::sleep(GROUP_INTERVAL).await;
            }
        }
        let _sent_or_gone = kill_process_group(self.group, Signal::KILL);
        if let Err(error) = self.child.wait().await {
            tracing::warn!(%error, pid = self.id(), "a replica process could not be reaped");
        }
    }
}

/// What the first process left behind in its group goes too. The kernel does not use the number
/// again while the group has members; without members nobody is hit.
impl Drop for Process {
    fn drop(&mut self) {
        let _sent_or_gone = kill_process_group(self.group, Signal::KILL);
        if let Some(guardian) = &self.guardian {
            guardian.remove(self.id());
        }
    }
}

type Pipe = Box<dyn tokio::io::AsyncRead + Send + Unpin>;

fn tokio_pipe(pipe: impl tokio::io::AsyncRead + Send + Unpin + 'static) -> Pipe {
    Box::new(pipe)
}

/// Runs `shown` to its end, or until shortly after the process is gone.
async fn until_tail(
    shown: impl Future<Output = ()>,
    mut process: tokio::sync::watch::Receiver<()>,
) {
    let tail = async {
        while process.changed().await.is_ok() {}
        tokio::time::sleep(OUTPUT_TAIL).await;
    };
    tokio::select! {
        () = shown => {}
        () = tail => {}
    }
}

fn command(
    target: &ProcessTarget,
    fill: Placeholders<'_>,
    binary: Option<&Path>,
) -> io::Result<Command> {
    let mut words = target.command.iter().map(|word| OsString::from(fill.fill(word)));
    let mut command = match binary {
        Some(binary) => {
            let mut command = Command::new(binary);
            let parent = std::process::id().to_string();
            command.args([EXEC_REPLICA, "--parent", &parent, "--"]);
            command
        }
        None => Command::new(words.next().ok_or_else(|| io::Error::other("the command is empty"))?),
    };
    command
        .args(words)
        // What opens the admin port is the router's own.
        .env_remove("MODELWAY_ADMIN_TOKEN")
        .envs(target.env.iter().map(|(name, value)| (name, fill.fill(value))))
        .current_dir(&target.working_dir)
        .stdin(std::process::Stdio::null())
        .process_group(0)
        .kill_on_drop(true);
    Ok(command)
}

/// The kernel says "no such file" both for the program and for the folder.
fn explain(error: &io::Error, target: &ProcessTarget) -> io::Error {
    let folder = target.working_dir.display();
    let program = target.command.first().map(String::as_str).unwrap_or_default();
    io::Error::new(error.kind(), format!("cannot start {program} in {folder}: {error}"))
}

#[cfg(test)]
#[path = "process_tests.rs"]
mod tests;
