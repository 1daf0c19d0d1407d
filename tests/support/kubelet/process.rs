//! A container as a process: its command, environment and address as the pod says.

use std::{
    fs::File,
    io,
    net::Ipv4Addr,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{ExitStatus, Stdio},
};

use k8s_openapi::api::core::v1::{Container, EnvVar, Pod};
use kube::ResourceExt;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

use crate::support::router::binary;

/// A running container. Dropping it kills its process group.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    group: Pid,
}

impl Process {
    /// Starts the container of a pod at this address. The kernel kills it when the calling thread
    /// ends, however that happens.
    pub(super) fn start(pod: &Pod, address: Ipv4Addr, log: &Path) -> io::Result<Self> {
        let spec = pod.spec.as_ref().ok_or_else(|| io::Error::other("the pod has no spec"))?;
        let [container] = spec.containers.as_slice() else {
            return Err(io::Error::other("a test's kubelet runs pods of one container"));
        };
        let log = File::options().create(true).append(true).open(log)?;
        let mut command = Command::new(binary());
        command.args(["exec-replica", "--parent", &std::process::id().to_string(), "--"]);
        command.args(words(container).iter().map(|word| at(word, address)));
        command.env_clear().env("HOSTNAME", pod.name_any());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        for variable in container.env.iter().flatten() {
            if let Some(value) = value(variable, pod, address) {
                command.env(&variable.name, at(&value, address));
            }
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        let child = command.kill_on_drop(true).spawn()?;
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let group = group.ok_or_else(|| io::Error::other("the process has ended already"))?;
        Ok(Self { child, group })
    }

    pub(super) fn pid(&self) -> u32 {
        self.group.as_raw_nonzero().get().unsigned_abs()
    }

    pub(super) fn signal(&self, signal: Signal) {
        // One that has ended is told nothing; its end is seen by `wait`.
        let _sent_or_gone = kill_process_group(self.group, signal);
    }

    /// The exit code as a container runtime gives it: 128 and the signal for a killed one.
    pub(super) async fn wait(&mut self) -> i32 {
        self.child.wait().await.map_or(-1, code)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

fn code(status: ExitStatus) -> i32 {
    status.code().or_else(|| Some(128 + status.signal()?)).unwrap_or(-1)
}

/// The program and its arguments; the image of a container without a command is Modelway's own.
fn words(container: &Container) -> Vec<String> {
    let mut words = container.command.clone().unwrap_or_default();
    let own = binary().display().to_string();
    match words.first_mut() {
        Some(program) if matches!(program.as_str(), "modelway" | "/modelway") => *program = own,
        Some(_) => {}
        None => words.push(own),
    }
    words.extend(container.args.iter().flatten().cloned());
    words
}

/// In a pod of its own this would be every address that the pod has.
fn at(text: &str, address: Ipv4Addr) -> String {
    text.replace("0.0.0.0", &address.to_string())
}

fn value(variable: &EnvVar, pod: &Pod, address: Ipv4Addr) -> Option<String> {
    if variable.value.is_some() {
        return variable.value.clone();
    }
    let field = variable.value_from.as_ref()?.field_ref.as_ref()?;
    match field.field_path.as_str() {
        "metadata.name" => Some(pod.name_any()),
        "metadata.namespace" => pod.namespace(),
        "metadata.uid" => pod.uid(),
        "spec.nodeName" => pod.spec.as_ref()?.node_name.clone(),
        "status.podIP" => Some(address.to_string()),
        _ => None,
    }
}
