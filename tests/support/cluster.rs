//! A real cluster: one of this machine's own (`tests/cluster/up.sh`), or somebody's.
//!
//! Somebody's is used when `KUBECONFIG` and `MODELWAY_TEST_IMAGE` are both set: where it is, and
//! under which name it can pull Modelway's image. One variable alone changes nothing, so that no
//! test writes into the cluster that a shell happens to point at.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{OnceLock, mpsc},
    time::Duration,
};

use super::{
    controlplane::programs,
    kubectl::Kubectl,
    router::{binary, signal},
    tool::tool,
    watch::until,
};

/// How long the boot may take, the import of the image included: 6 s alone on two cores.
const BOOT_LIMIT: Duration = Duration::from_secs(180);
/// How long the end may take; 0.2 s was measured.
const END_LIMIT: Duration = Duration::from_secs(30);
/// The image's name on a cluster of our own. Any tag but `latest` keeps kubelet from pulling.
const IMAGE: &str = "cluster.test/modelway:1";

/// A running cluster. Dropping it stops it, unless it is somebody's.
#[derive(Debug)]
pub(crate) struct Cluster {
    own: Option<Own>,
    image: String,
    kubectl: Kubectl,
    kubeconfig: PathBuf,
}

#[derive(Debug)]
struct Own {
    child: Child,
    /// Held open for as long as it shall run.
    _line: ChildStdin,
}

impl Cluster {
    /// A cluster that has the image of the binary under test. `None` when none can run here; in CI
    /// that is a failure.
    pub(crate) fn start(test: &str) -> Option<Self> {
        let control = programs(test)?;
        let given = (env::var_os("KUBECONFIG"), env::var("MODELWAY_TEST_IMAGE"));
        let (own, image, kubeconfig, cache) = if let (Some(kubeconfig), Ok(image)) = given {
            let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kubectl-cache");
            (None, image, PathBuf::from(kubeconfig), cache)
        } else {
            let node = tool("MODELWAY_TEST_NODE", test)?;
            let folder = tempfile::tempdir().expect("a temporary folder");
            let archive = folder.path().join("modelway.tar");
            pack(&archive);
            let (own, kubeconfig) = Own::start(&control, &node, &archive);
            let cache = kubeconfig.with_file_name("kubectl-cache");
            (Some(own), IMAGE.to_owned(), kubeconfig, cache)
        };
        let kubectl = Kubectl::new(control.join("kubectl"), kubeconfig.clone(), cache);
        Some(Self { own, image, kubectl, kubeconfig })
    }

    /// The cluster that the tests of this process share, each in a namespace of its own.
    pub(crate) fn shared(test: &str) -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Cluster>> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(test)).as_ref()
    }

    /// What to write as a container's image.
    pub(crate) fn image(&self) -> &str {
        &self.image
    }

    /// The kubeconfig of an administrator.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// kubectl as the administrator.
    pub(crate) fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// Whether pods' and Services' addresses can be reached from here, and the node's programs be
    /// taken away: on a cluster of our own.
    pub(crate) fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// Where its data, logs and process ids are; of a cluster of our own.
    pub(crate) fn dir(&self) -> &Path {
        assert!(self.is_own(), "only a cluster of our own has a folder");
        self.kubeconfig.parent().expect("a file in a folder")
    }

    /// Runs a program on the node, among its processes: `["kill", "-STOP", "123"]`. What it printed.
    pub(crate) fn enter(&self, words: &[&str]) -> String {
        let done = Command::new(self.dir().join("enter")).args(words).output();
        let done = done.expect("the node can be entered");
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success(), "{words:?}: {said}{}", text(&done.stderr));
        said
    }

    /// Sends a signal to a program of the node or of its control plane. One that ends is started
    /// again, unless it is held.
    pub(crate) fn signal(&self, program: &str, name: &str) {
        self.enter(&["kill", &format!("-{name}"), &self.pid(program).to_string()]);
    }

    /// The process id of a program, as the node knows it.
    pub(crate) fn pid(&self, program: &str) -> u32 {
        let mine = self.dir().join("run").join(format!("{program}.pid"));
        let file = if mine.exists() { mine } else { self.plane().join("run").join(program) };
        let text = fs::read_to_string(file).expect("its pid file");
        text.trim().parse().expect("a process id")
    }

    /// Kills a program and keeps it away until [`Self::release`].
    pub(crate) fn hold(&self, program: &str) {
        fs::write(self.hold_file(program), "").expect("a file in the cluster's folder");
        self.signal(program, "KILL");
    }

    /// Lets a program start again.
    pub(crate) fn release(&self, program: &str) {
        fs::remove_file(self.hold_file(program)).expect("a program that was held");
    }

    fn hold_file(&self, program: &str) -> PathBuf {
        let is_node_s = self.dir().join("run").join(format!("{program}.pid")).exists();
        let base = if is_node_s { self.dir().to_owned() } else { self.plane() };
        base.join("hold").join(program)
    }

    fn plane(&self) -> PathBuf {
        self.dir().join("controlplane")
    }
}

impl Own {
    fn start(control: &Path, node: &Path, archive: &Path) -> (Self, PathBuf) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/up.sh");
        let mut command = Command::new(script);
        command.args(["--until-eof", "--image"]).arg(archive).env_remove("KUBECONFIG");
        command.env("MODELWAY_KUBE_DIR", control).env("MODELWAY_NODE_DIR", node);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("up.sh starts");
        let line = child.stdin.take().expect("piped");
        let (tell, told) = mpsc::sync_channel(1);
        let out = child.stdout.take().expect("piped");
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                // Only the first is waited for; the rest is read so that nobody blocks.
                drop(tell.try_send(line));
            }
        });
        let err = child.stderr.take().expect("piped");
        let errors = std::thread::spawn(move || {
            BufReader::new(err).lines().map_while(Result::ok).collect::<Vec<_>>().join("\n")
        });
        let kubeconfig = told.recv_timeout(BOOT_LIMIT).ok();
        if kubeconfig.is_none() {
            signal(child.id(), "TERM");
            drop(child.wait());
            let errors = errors.join().unwrap_or_default();
            assert!(errors.is_empty(), "the cluster did not start: {errors}");
        }
        let kubeconfig = PathBuf::from(kubeconfig.expect("the cluster starts"));
        (Self { child, _line: line }, kubeconfig)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        signal(self.child.id(), "TERM");
        let ended = until(END_LIMIT, "the end of the cluster", || {
            self.child.try_wait().expect("the child can be asked")
        });
        // 143: ended by SIGTERM, as asked.
        assert!(ended.code() == Some(143), "up.sh ended with {ended}");
    }
}

/// The image of the binary under test, made as a person makes it.
fn pack(archive: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/image");
    let file = fs::File::create(archive).expect("a file in the temporary folder");
    let mut command = Command::new(script);
    command.arg(binary()).env("MODELWAY_IMAGE", IMAGE).stdout(file);
    let done = command.output().expect("scripts/image runs");
    assert!(done.status.success(), "scripts/image: {}", text(&done.stderr));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
