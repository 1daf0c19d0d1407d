//! The real binary as a child process, with files of its own and ports of its own.

use parking_lot::Mutex;
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

/// The pause between two looks: a test that spins takes the core from what it waits for.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);
/// How long the router may take to print where it listens.
const START_LIMIT: Duration = Duration::from_secs(20);

/// A running router. Dropping it kills it; its replicas end with it.
pub(crate) struct Router {
    child: Child,
    /// Where clients come in.
    pub(crate) data: SocketAddr,
    /// The admin port.
    pub(crate) admin: SocketAddr,
    folder: tempfile::TempDir,
    lines: Arc<Mutex<Vec<String>>>,
    errors: Arc<Mutex<Vec<String>>>,
}

/// The path of the binary under test.
pub(crate) fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_modelway"))
}

impl Router {
    /// `modelway dev -f FILE` with this YAML and these further arguments.
    pub(crate) fn start(yaml: &str, arguments: &[&str]) -> Self {
        Self::run("dev", Some(yaml), arguments)
    }

    /// `modelway dev` with the embedded demo.
    pub(crate) fn demo(arguments: &[&str]) -> Self {
        Self::run("dev", None, arguments)
    }

    /// `modelway serve --kubernetes` with this kubeconfig and these further arguments.
    pub(crate) fn cluster(kubeconfig: &Path, arguments: &[&str]) -> Self {
        let path = kubeconfig.to_str().expect("a path of letters");
        let first = ["--kubernetes", "--kubeconfig", path];
        Self::run("serve", None, &[&first, arguments].concat())
    }

    /// `modelway serve --kubernetes` for these namespaces, as the router of this name.
    pub(crate) fn of_cluster(
        kubeconfig: &Path,
        namespaces: &str,
        name: &str,
        arguments: &[&str],
    ) -> Self {
        let mut process = Command::new(binary());
        process.args(["serve", "--kubernetes", "--namespaces", namespaces, "--kubeconfig"]);
        process.arg(kubeconfig).args(["--address", "127.0.0.1", "--port", "0"]);
        process.args(["--admin-port", "0", "--access-log", "off", "--drain-delay", "0s"]);
        process.args(arguments).env("MODELWAY_POD_NAME", name);
        Self::launch(process, tempfile::tempdir().expect("a temporary folder"))
    }

    /// `modelway dev -f FILE` that may open so many files and no more.
    pub(crate) fn with_files(files: u32, yaml: &str, arguments: &[&str]) -> Self {
        let mut process = Command::new("sh");
        let script = format!("ulimit -n {files} && exec \"$0\" \"$@\"");
        process.arg("-c").arg(script).arg(binary());
        process.args(["dev", "--port", "0", "--admin-port", "0"]).args(arguments);
        Self::launch_with_file(process, yaml)
    }

    /// `modelway dev -f FILE` with these further variables.
    pub(crate) fn start_with(yaml: &str, arguments: &[&str], env: &[(&str, &str)]) -> Self {
        let mut process = Command::new(binary());
        process.envs(env.iter().copied());
        process.args(["dev", "--port", "0", "--admin-port", "0"]).args(arguments);
        Self::launch_with_file(process, yaml)
    }

    fn run(command: &str, yaml: Option<&str>, arguments: &[&str]) -> Self {
        let mut process = Command::new(binary());
        process.arg(command).args(["--port", "0", "--admin-port", "0"]).args(arguments);
        match yaml {
            Some(yaml) => Self::launch_with_file(process, yaml),
            None => Self::launch(process, tempfile::tempdir().expect("a temporary folder")),
        }
    }

    fn launch_with_file(mut process: Command, yaml: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("endpoints.yaml");
        std::fs::write(&file, yaml).expect("a file in the temporary folder");
        process.arg("-f").arg(file);
        Self::launch(process, folder)
    }

    fn launch(mut process: Command, folder: tempfile::TempDir) -> Self {
        let mut child = process
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let lines = collect(child.stdout.take().expect("piped"));
        let errors = collect(child.stderr.take().expect("piped"));
        let begun = Instant::now();
        let (data, admin) = loop {
            if let Some(found) = addresses(&lines.lock()) {
                break found;
            }
            let ended = child.try_wait().expect("the child can be asked");
            assert!(
                ended.is_none() && begun.elapsed() < START_LIMIT,
                "the router did not start: {ended:?}\n{:#?}\n{:#?}",
                lines.lock(),
                errors.lock()
            );
            std::thread::park_timeout(LOOK_INTERVAL);
        };
        Self { child, data, admin, folder, lines, errors }
    }

    /// Replaces the endpoint file as an editor does: a new file moved over the old one.
    pub(crate) fn edit(&self, yaml: &str) {
        let new = self.folder.path().join("endpoints.yaml.new");
        std::fs::write(&new, yaml).expect("a file in the temporary folder");
        std::fs::rename(&new, self.file()).expect("the file can be replaced");
    }

    /// The endpoint file.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("endpoints.yaml")
    }

    /// The folder of the endpoint file.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The process id of the router.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name, for example `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Waits for the end of the process, at most so long.
    pub(crate) fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let begun = Instant::now();
        while begun.elapsed() < limit {
            if let Some(status) = self.child.try_wait().expect("the child can be asked") {
                return Some(status);
            }
            std::thread::park_timeout(LOOK_INTERVAL);
        }
        None
    }

    /// Standard output so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().clone()
    }

    /// Standard error so far.
    pub(crate) fn errors(&self) -> Vec<String> {
        self.errors.lock().clone()
    }

    /// The key that the router printed for this endpoint.
    pub(crate) fn key(&self) -> String {
        let lines = self.lines();
        let line = lines.iter().find_map(|line| line.trim().strip_prefix("key "));
        line.expect("a key was printed").trim().to_owned()
    }

    /// `GET` on the admin port: status and body.
    pub(crate) fn admin_get(&self, path: &str) -> (u16, String) {
        get(self.admin, path)
    }

    /// JSON from the admin port.
    pub(crate) fn admin_json(&self, path: &str) -> serde_json::Value {
        let (status, body) = self.admin_get(path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).expect("JSON")
    }

    /// Asks again and again until the answer is `Some`, at most so long.
    pub(crate) fn eventually<T>(
        &self,
        limit: Duration,
        what: &str,
        mut ask: impl FnMut(&Self) -> Option<T>,
    ) -> T {
        let begun = Instant::now();
        loop {
            if let Some(answer) = ask(self) {
                return answer;
            }
            assert!(
                begun.elapsed() < limit,
                "{what}: not within {limit:?}\n{:#?}\n{:#?}\n{}",
                self.lines(),
                self.errors(),
                self.admin_get("/api/v1/replicas").1
            );
            std::thread::park_timeout(LOOK_INTERVAL);
        }
    }

    /// Waits until this many replicas of a version are in this state.
    pub(crate) fn await_replicas(&self, version: &str, state: &str, count: usize, limit: Duration) {
        self.eventually(limit, &format!("{count} {state} replicas of {version}"), |router| {
            let replicas = router.admin_json("/api/v1/replicas");
            let found = replicas
                .as_array()
                .expect("a list")
                .iter()
                .filter(|replica| replica["version"] == version && replica["state"] == state);
            (found.count() == count).then_some(())
        });
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Sends a signal to a process that a test has started.
pub(crate) fn signal(pid: u32, name: &str) {
    let done = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
    assert!(done.expect("kill runs").success(), "kill -{name} {pid}");
}

/// `GET` on a fresh connection: status and body.
pub(crate) fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("the port answers");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        .expect("the request is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, body.to_owned())
}

fn addresses(lines: &[String]) -> Option<(SocketAddr, SocketAddr)> {
    let after = |word: &str| {
        let line = lines.iter().find_map(|line| line.trim().strip_prefix(word))?;
        let address =
            line.trim().strip_prefix("http://").or_else(|| line.trim().strip_prefix("https://"))?;
        address.split('/').next()?.parse().ok()
    };
    Some((after("scoring ")?, after("admin ")?))
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
