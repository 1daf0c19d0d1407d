//! etcd, kube-apiserver and its controllers as processes, by `tests/controlplane/up.sh`.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    time::Duration,
};

use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api,
    api::{ObjectMeta, PostParams},
};

use super::{
    super::client::{Access, ApiServer},
    signal, until_now,
};

/// How long the boot may take: 3 s alone on two cores, some ten times that beside a build.
const BOOT_LIMIT: Duration = Duration::from_secs(120);
/// How long a program may take to end after SIGKILL.
const END_LIMIT: Duration = Duration::from_secs(20);

/// A running control plane. It ends with this process, however that ends: it reads a pipe whose
/// other end is here.
#[derive(Debug)]
pub(in crate::platform::kubernetes) struct Cluster {
    child: Child,
    _line: ChildStdin,
    kubeconfig: PathBuf,
}

/// The folder with the programs; without it the test is left out, loudly; in CI that is a failure.
fn programs(test: &str) -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os("MODELWAY_TEST_KUBE").filter(|path| !path.is_empty()) {
        let folder = PathBuf::from(folder);
        let program = folder.join("kube-apiserver");
        assert!(program.exists(), "MODELWAY_TEST_KUBE: there is no {}", program.display());
        return Some(folder);
    }
    let why = "MODELWAY_TEST_KUBE is not set; ./scripts/test sets it";
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(!ci, "{test}: {why}; in CI nothing is left out");
    eprintln!("!!! LEFT OUT: {test}: {why}");
    None
}

impl Cluster {
    /// The one that the tests of this process share, each in a namespace of its own, with
    /// controllers. `None` when the programs are not there.
    pub(in crate::platform::kubernetes) fn shared(test: &str) -> Option<&'static Self> {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        let programs = programs(test)?;
        Some(SHARED.get_or_init(|| Self::start(&programs, &["--controllers", "--fake-nodes"])))
    }

    /// One of its own, without controllers, for a test that takes the API server away.
    pub(in crate::platform::kubernetes) fn own(test: &str) -> Option<Self> {
        Some(Self::start(&programs(test)?, &[]))
    }

    fn start(programs: &Path, arguments: &[&str]) -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/controlplane");
        let mut command = Command::new(here.join("up.sh"));
        command.arg("--until-eof").args(arguments);
        command.env("MODELWAY_KUBE_DIR", programs).env_remove("KUBECONFIG");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("up.sh starts");
        let (tell, told) = mpsc::sync_channel(1);
        let out = child.stdout.take().expect("piped");
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                drop(tell.try_send(line));
            }
        });
        let kubeconfig = told.recv_timeout(BOOT_LIMIT).expect("the control plane starts").into();
        let line = child.stdin.take().expect("piped");
        Self { child, _line: line, kubeconfig }
    }

    /// The kubeconfig of an administrator.
    pub(in crate::platform::kubernetes) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The API server, as an administrator.
    pub(in crate::platform::kubernetes) async fn server(&self) -> ApiServer {
        connect(&self.kubeconfig).await
    }

    /// A kubeconfig beside the administrator's with something replaced, under a fresh name.
    pub(in crate::platform::kubernetes) fn variant(&self, what: &str, by: &str) -> PathBuf {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let text = fs::read_to_string(&self.kubeconfig).expect("the kubeconfig");
        assert!(text.contains(what), "the kubeconfig has no {what}: {text}");
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = self.kubeconfig.with_file_name(format!("variant-{number}"));
        fs::write(&path, text.replace(what, by)).expect("a file in the control plane's folder");
        path
    }

    /// A kubeconfig of the administrator in the shoes of another user.
    pub(in crate::platform::kubernetes) fn as_user(&self, user: &str) -> PathBuf {
        self.variant("  user:\n", &format!("  user:\n    as: {user}\n"))
    }

    /// Where the API server listens.
    pub(in crate::platform::kubernetes) fn address(&self) -> String {
        let text = fs::read_to_string(&self.kubeconfig).expect("the kubeconfig");
        let server = text.lines().find_map(|line| line.trim().strip_prefix("server: https://"));
        server.expect("a server").to_owned()
    }

    /// A fresh namespace of this name and a number.
    pub(in crate::platform::kubernetes) async fn namespace(&self, name: &str) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{name}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let metadata = ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() };
        let namespace = Namespace { metadata, ..Namespace::default() };
        let namespaces = Api::all(self.server().await.client().clone());
        namespaces.create(&PostParams::default(), &namespace).await.expect("a new namespace");
        name
    }

    /// Kills the API server and keeps it away until [`Self::release`].
    pub(in crate::platform::kubernetes) fn hold(&self) {
        let folder = self.kubeconfig.with_file_name("");
        fs::write(folder.join("hold/kube-apiserver"), "").expect("a file");
        let pid = fs::read_to_string(folder.join("run/kube-apiserver")).expect("a pid file");
        let pid = pid.trim().parse().expect("a process id");
        signal(pid, "KILL");
        until_now(END_LIMIT, "the end of the API server", || {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // A zombie waits for its parent and does nothing.
            stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z')).then_some(())
        });
    }

    /// Lets the API server start again.
    pub(in crate::platform::kubernetes) fn release(&self) {
        let hold = self.kubeconfig.with_file_name("hold").join("kube-apiserver");
        fs::remove_file(hold).expect("it was held");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        signal(self.child.id(), "TERM");
        until_now(END_LIMIT, "the end of the control plane", || {
            self.child.try_wait().expect("the child can be asked")
        });
    }
}

/// The API server of a kubeconfig.
pub(in crate::platform::kubernetes) async fn connect(kubeconfig: &Path) -> ApiServer {
    let access = Access { kubeconfig: Some(kubeconfig.to_owned()), context: None };
    ApiServer::find(&access).await.expect("a kubeconfig that is usable")
}
