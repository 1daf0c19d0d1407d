//! kubectl, as a person would call it, with a deadline.

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// How long one call may take; the first write of a new kind takes the API server 2 s (measured).
const CALL_LIMIT: Duration = Duration::from_secs(60);
/// The pause between two looks at a call that has not ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// kubectl with a kubeconfig of its own.
#[derive(Debug, Clone)]
pub(crate) struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    /// What kubectl remembers of an API server, apart for each of them: ports are used again.
    cache: PathBuf,
    namespace: Option<String>,
}

/// What a call printed and how it ended.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) ok: bool,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Kubectl {
    pub(crate) fn new(program: PathBuf, kubeconfig: PathBuf, cache: PathBuf) -> Self {
        Self { program, kubeconfig, cache, namespace: None }
    }

    /// The same, in this namespace.
    pub(crate) fn within(&self, namespace: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), ..self.clone() }
    }

    /// The same with another kubeconfig.
    pub(crate) fn with_kubeconfig(&self, kubeconfig: &Path) -> Self {
        Self { kubeconfig: kubeconfig.to_owned(), ..self.clone() }
    }

    /// Runs it with these arguments; what it says is the caller's affair, that it ends is not.
    pub(crate) fn try_run(&self, arguments: &[&str]) -> Said {
        self.run_with(arguments, "")
    }

    /// Runs it; it must succeed. What it printed, without white space around.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        succeeded(arguments, &self.run_with(arguments, ""))
    }

    /// `apply` of this YAML; it must be accepted.
    pub(crate) fn apply(&self, yaml: &str) -> String {
        let arguments = ["apply", "-f", "-"];
        succeeded(&arguments, &self.run_with(&arguments, yaml))
    }

    /// `apply` of this YAML, accepted or not.
    pub(crate) fn try_apply(&self, yaml: &str) -> Said {
        self.run_with(&["apply", "-f", "-"], yaml)
    }

    /// `get … -o json`.
    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let text = self.run(&[&["get", "-o", "json"], arguments].concat());
        serde_json::from_str(&text).expect("kubectl prints JSON")
    }

    /// A fresh namespace in which pods can be made, and kubectl in it.
    pub(crate) fn new_namespace(&self, name: &str) -> Self {
        self.run(&["create", "namespace", name]);
        let here = self.within(name);
        // The account comes a moment later; without it no pod can be made.
        super::watch::until(CALL_LIMIT, "the namespace's default service account", || {
            let account = ["get", "serviceaccount", "default", "--ignore-not-found", "-o", "name"];
            (!here.run(&account).is_empty()).then_some(())
        });
        here
    }

    /// Runs it with this as its standard input.
    pub(crate) fn run_with(&self, arguments: &[&str], input: &str) -> Said {
        let mut command = Command::new(&self.program);
        command.arg("--kubeconfig").arg(&self.kubeconfig).arg("--cache-dir").arg(&self.cache);
        if let Some(namespace) = &self.namespace {
            command.args(["--namespace", namespace]);
        }
        command.args(arguments).env_remove("KUBECONFIG");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("kubectl starts");
        let (out, err) = (collect(child.stdout.take()), collect(child.stderr.take()));
        let mut sink = child.stdin.take().expect("piped");
        // A kubectl that refuses its arguments reads nothing; its own words say why.
        let _unread = sink.write_all(input.as_bytes());
        drop(sink);
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().expect("the child can be asked") {
                break Some(status);
            }
            if begun.elapsed() > CALL_LIMIT {
                drop(child.kill());
                drop(child.wait());
                break None;
            }
            std::thread::park_timeout(LOOK_INTERVAL);
        };
        let said = Said {
            ok: status.is_some_and(|status| status.success()),
            out: out.join().expect("a string"),
            err: err.join().expect("a string"),
        };
        assert!(status.is_some(), "kubectl {arguments:?}: no end after {CALL_LIMIT:?}: {said:?}");
        said
    }
}

fn succeeded(arguments: &[&str], said: &Said) -> String {
    assert!(said.ok, "kubectl {arguments:?}: {}{}", said.out, said.err);
    said.out.trim().to_owned()
}

fn collect(stream: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    let mut stream = stream.expect("piped");
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        drop(stream.read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
