//! A real Kubernetes control plane as child processes: `tests/controlplane/up.sh` and its folder.
//!
//! It ends with this process, however that ends: it holds the other end of a pipe from here.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    time::Duration,
};

use parking_lot::Mutex;

use super::{audit::Call, kubectl::Kubectl, router::signal, tool::tool, watch::until};

/// How long the boot may take: 3 s alone on two cores, some ten times that beside a build.
const BOOT_LIMIT: Duration = Duration::from_secs(120);
/// How long the end may take: up.sh gives each program 3 s before SIGKILL.
const END_LIMIT: Duration = Duration::from_secs(20);
/// How long a program may take to end after SIGKILL, or to answer after it may start again.
const AGAIN_LIMIT: Duration = Duration::from_secs(60);

/// A running control plane. Dropping it stops it and waits for the end.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    child: Child,
    /// Held open for as long as it shall run.
    _line: ChildStdin,
    kubeconfig: PathBuf,
    kubectl: Kubectl,
    errors: Arc<Mutex<Vec<String>>>,
}

/// What a control plane runs besides etcd and the API server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options<'o> {
    /// Also the scheduler, which binds pods to nodes.
    pub(crate) scheduler: bool,
    /// Further flags, as `kube-apiserver=--goaway-chance=0.01`.
    pub(crate) flags: &'o [&'o str],
}

/// The folder with the programs; without it the test is left out, loudly; in CI that is a failure.
pub(crate) fn programs(test: &str) -> Option<PathBuf> {
    tool("MODELWAY_TEST_KUBE", test)
}

impl ControlPlane {
    /// The control plane that the tests of this process share, each in a namespace of its own.
    /// Without the scheduler: a test's kubelet binds the pods of its namespace. `None` when the
    /// programs are not there.
    pub(crate) fn shared(test: &str) -> Option<&'static Self> {
        static SHARED: OnceLock<ControlPlane> = OnceLock::new();
        let programs = programs(test)?;
        Some(SHARED.get_or_init(|| Self::start(&programs, &Options::default())))
    }

    /// One of its own, for tests that take parts of it away.
    pub(crate) fn start(programs: &Path, options: &Options<'_>) -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/controlplane");
        let policy = here.join("audit.yaml");
        let mut command = Command::new(here.join("up.sh"));
        // Nodes of tests have no kubelet that renews a lease.
        command.args(["--until-eof", "--controllers", "--fake-nodes"]);
        command.args(options.scheduler.then_some("--scheduler"));
        command.args(["--arg", "kube-apiserver=--audit-log-path=audit.log", "--arg"]);
        command.arg(format!("kube-apiserver=--audit-policy-file={}", policy.display()));
        // In MB; beyond it the log would be cut in two, and calls be missing.
        command.args(["--arg", "kube-apiserver=--audit-log-maxsize=1000"]);
        for flag in options.flags {
            command.args(["--arg", flag]);
        }
        command.env("MODELWAY_KUBE_DIR", programs).env_remove("KUBECONFIG");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("up.sh starts");
        let errors = collect(child.stderr.take().expect("piped"));
        let kubeconfig = first_line(child.stdout.take().expect("piped"));
        if kubeconfig.is_none() {
            signal(child.id(), "TERM");
            drop(child.wait());
        }
        assert!(kubeconfig.is_some(), "the control plane did not start: {:#?}", errors.lock());
        let kubeconfig = PathBuf::from(kubeconfig.unwrap_or_default());
        let kubectl = Kubectl::new(
            programs.join("kubectl"),
            kubeconfig.clone(),
            kubeconfig.with_file_name("kubectl-cache"),
        );
        let line = child.stdin.take().expect("piped");
        Self { child, _line: line, kubeconfig, kubectl, errors }
    }

    /// The kubeconfig of an administrator.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A kubeconfig with nothing but the token of a service account, good for an hour.
    pub(crate) fn kubeconfig_of(&self, namespace: &str, account: &str) -> PathBuf {
        let kubectl = self.kubectl.within(namespace);
        let token = kubectl.run(&["create", "token", account, "--duration=1h"]);
        let view = kubectl.run(&["config", "view", "--raw", "--output=json"]);
        let mut config: serde_json::Value = serde_json::from_str(&view).expect("JSON");
        for (place, value) in [
            ("/users/0/user", serde_json::json!({"token": token})),
            ("/contexts/0/context/namespace", serde_json::json!(namespace)),
        ] {
            *config.pointer_mut(place).expect("a kubeconfig of up.sh") = value;
        }
        let file = self.dir().join(format!("{namespace}.{account}.kubeconfig"));
        fs::write(&file, config.to_string()).expect("a file in the control plane's folder");
        file
    }

    /// Where its data, logs and process ids are.
    pub(crate) fn dir(&self) -> &Path {
        self.kubeconfig.parent().expect("a file in a folder")
    }

    /// kubectl as the administrator.
    pub(crate) fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// A fresh namespace of this name and a number, with its service account; kubectl in it.
    pub(crate) fn namespace(&self, name: &str) -> (String, Kubectl) {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{name}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let kubectl = self.kubectl.new_namespace(&name);
        (name, kubectl)
    }

    /// Sends a signal by name (`STOP`, `CONT`, `KILL`) to a program. One that ends is started again
    /// within 0.1 s on the same port, unless it is held.
    pub(crate) fn signal(&self, program: &str, name: &str) {
        signal(self.pid(program), name);
    }

    /// Kills a program and keeps it away until [`Self::release`]. What was written stays.
    pub(crate) fn hold(&self, program: &str) {
        let hold = self.dir().join("hold").join(program);
        fs::write(hold, "").expect("a file in the control plane's folder");
        let pid = self.pid(program);
        signal(pid, "KILL");
        until(AGAIN_LIMIT, &format!("the end of {program}"), || (!runs(pid)).then_some(()));
    }

    /// Lets a program start again.
    pub(crate) fn release(&self, program: &str) {
        let hold = self.dir().join("hold").join(program);
        fs::remove_file(hold).expect("a program that was held");
    }

    /// Waits until the API server says that it is ready.
    pub(crate) fn await_ready(&self) {
        until(AGAIN_LIMIT, "the API server is ready", || {
            self.kubectl.try_run(&["get", "--raw", "/readyz"]).ok.then_some(())
        });
    }

    /// A copy of all that the API server knows, for [`Self::restore`]. The control plane stands
    /// still meanwhile.
    pub(crate) fn save(&self) -> PathBuf {
        let copy = self.dir().join("etcd.saved");
        self.with_etcd_stopped(|data| {
            if copy.exists() {
                fs::remove_dir_all(&copy).expect("an earlier copy");
            }
            copy_folder(data, &copy);
        });
        copy
    }

    /// Goes back to what was saved, as after a loss of etcd's data and a restore of a backup:
    /// revisions that were given out are given out again.
    pub(crate) fn restore(&self, saved: &Path) {
        self.with_etcd_stopped(|data| {
            fs::remove_dir_all(data).expect("etcd's folder");
            copy_folder(saved, data);
        });
    }

    /// The calls to the API server so far, its own parts' left out.
    pub(crate) fn calls(&self) -> Vec<Call> {
        super::audit::read(&self.dir().join("audit.log"))
    }

    /// What up.sh said on standard error.
    pub(crate) fn errors(&self) -> Vec<String> {
        self.errors.lock().clone()
    }

    /// The process id of a program.
    pub(crate) fn pid(&self, program: &str) -> u32 {
        let text = fs::read_to_string(self.dir().join("run").join(program)).expect("its pid file");
        text.trim().parse().expect("a process id")
    }

    fn with_etcd_stopped(&self, act: impl FnOnce(&Path)) {
        // The API server first: one that outlives etcd's data would serve it from its memory.
        for program in ["kube-apiserver", "etcd"] {
            self.hold(program);
        }
        act(&self.dir().join("etcd"));
        for program in ["etcd", "kube-apiserver"] {
            self.release(program);
        }
        self.await_ready();
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        signal(self.child.id(), "TERM");
        let ended = until(END_LIMIT, "the end of the control plane", || {
            self.child.try_wait().expect("the child can be asked")
        });
        // 143: ended by SIGTERM, as asked.
        assert!(ended.code() == Some(143), "up.sh ended with {ended}: {:#?}", self.errors.lock());
    }
}

fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // After the name in brackets; a zombie waits for its parent and does nothing.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

fn copy_folder(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp runs");
    assert!(done.success(), "cp -a {} {}", from.display(), to.display());
}

/// The first line, unless the stream ends before it or it takes too long.
fn first_line(stream: impl Read + Send + 'static) -> Option<String> {
    let (tell, told) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            // Only the first is waited for; the rest is read so that nobody blocks.
            drop(tell.try_send(line));
        }
    });
    told.recv_timeout(BOOT_LIMIT).ok()
}

fn collect(stream: impl Read + Send + 'static) -> Arc<Mutex<Vec<String>>> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            sink.lock().push(line);
        }
    });
    lines
}
