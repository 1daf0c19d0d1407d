//! A kubelet for tests: a Node of a real control plane whose pods are processes of this machine.
//!
//! *Promises*: a pod of the node goes through the states that a kubelet reports, in that order; what
//! its containers do is real (a process, an address, a probe, signals); every process ends with the
//! kubelet, and with the test process however that ends.
//!
//! *How*: one thread with a runtime of its own (`manager`), a task for each pod (`pod`), a process
//! for its container (`process`), real probes (`probe`), status written as a kubelet writes it
//! (`status`). `orders` holds what a test has told it to do wrong.
//!
//! A container is `modelway` with the container's arguments when it has no command of its own. There
//! are no network namespaces: each pod has an address in 127/8, and `0.0.0.0` in arguments and
//! environment becomes that address, so that the same pod works on a real cluster.
//!
//! *Not here*: more than one container a pod, volumes, init containers, liveness probes, hooks other
//! than `preStop.sleep`.

mod manager;
mod node;
mod orders;
mod pod;
mod probe;
mod process;
mod status;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use parking_lot::Mutex;
use tokio::sync::watch;

pub(crate) use self::orders::Behaviour;
use self::{
    node::{Addresses, Network},
    orders::Orders,
};

/// How long a call to the API server may take before it is tried again.
const CALL_LIMIT: Duration = Duration::from_secs(5);
/// The pause before a call is tried again.
const AGAIN_INTERVAL: Duration = Duration::from_millis(200);
/// How many notes are kept; the first ones tell what went wrong first.
const NOTES_MAX: usize = 1000;

/// How a kubelet is set up.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// The name of the Node.
    pub(crate) node: String,
    /// Binds the pods of this namespace to the node itself; `None`: a scheduler binds.
    pub(crate) namespace: Option<String>,
    /// How many pods fit on the node.
    pub(crate) pods_max: usize,
    /// Time from being bound to the start of the container, as pulling an image takes.
    pub(crate) pull: Duration,
    /// Time from the end of a container to its next start; twice as long each time, at most 16 times.
    pub(crate) restart: Duration,
}

impl Setup {
    /// A quick node of this name for the pods of a namespace.
    pub(crate) fn of_namespace(namespace: &str) -> Self {
        Self {
            node: format!("node-{namespace}"),
            namespace: Some(namespace.to_owned()),
            pods_max: 250,
            pull: Duration::from_millis(50),
            restart: Duration::from_secs(1),
        }
    }
}

/// A pod whose container runs or has run.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    pub(crate) uid: String,
    pub(crate) ip: String,
    /// 0 while no process runs.
    pub(crate) pid: u32,
    /// How often its container was started.
    pub(crate) starts: u32,
}

/// A running kubelet. Dropping it kills what it runs and reports nothing, as a machine that loses its
/// power; its Node stays.
#[derive(Debug)]
pub(crate) struct Kubelet {
    world: Arc<World>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

/// What the tasks of a kubelet share.
#[derive(Debug)]
struct World {
    setup: Setup,
    network: Network,
    addresses: Mutex<Addresses>,
    orders: watch::Sender<Orders>,
    /// By namespace and name.
    running: Mutex<BTreeMap<(String, String), Running>>,
    notes: Mutex<Vec<String>>,
    folder: tempfile::TempDir,
}

impl Kubelet {
    /// Makes the Node and begins to run its pods.
    pub(crate) fn start(kubeconfig: &Path, setup: Setup) -> Self {
        let network = Network::claim();
        let world = Arc::new(World {
            addresses: Mutex::new(Addresses::of(&network)),
            network,
            orders: watch::channel(Orders::new(setup.pods_max)).0,
            running: Mutex::default(),
            notes: Mutex::default(),
            folder: tempfile::tempdir().expect("a temporary folder"),
            setup,
        });
        let (stop, stopped) = watch::channel(false);
        let (mine, kubeconfig) = (Arc::clone(&world), kubeconfig.to_owned());
        // One thread starts every process: the kernel ends them with the thread that started them.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a runtime");
            runtime.block_on(async {
                let client = client(&kubeconfig).await;
                manager::run(mine, client, stopped).await;
            });
        });
        Self { world, stop, thread: Some(thread) }
    }

    /// From now on the pods of a namespace that match behave so: `app=web` for a label, `pod/NAME`
    /// for one of them, an empty word for all. What was said last counts.
    pub(crate) fn tell(&self, namespace: &str, pods: &str, behaviour: Behaviour) {
        self.world.orders.send_modify(|orders| orders.add(namespace, pods, behaviour));
    }

    /// How many pods fit from now on; what runs goes on.
    pub(crate) fn set_pods_max(&self, count: usize) {
        self.world.orders.send_modify(|orders| orders.pods_max = count);
    }

    /// From now on a new pod gets the address that was freed last, or (as at the start) a fresh one.
    pub(crate) fn reuse_addresses(&self, reuse: bool) {
        self.world.addresses.lock().reuse = reuse;
    }

    /// The pods of a namespace that run here, by name.
    pub(crate) fn running(&self, namespace: &str) -> BTreeMap<String, Running> {
        let running = self.world.running.lock();
        let here = running.iter().filter(|((place, _), _)| place == namespace);
        here.map(|((_, name), running)| (name.clone(), running.clone())).collect()
    }

    /// The name of its Node.
    pub(crate) fn node(&self) -> &str {
        &self.world.setup.node
    }

    /// What a pod's container has printed, standard error included.
    pub(crate) fn log(&self, namespace: &str, pod: &str) -> String {
        fs::read_to_string(self.world.log_file(namespace, pod)).unwrap_or_default()
    }

    /// What went wrong that no status says, for the message of a failing test.
    pub(crate) fn notes(&self) -> Vec<String> {
        self.world.notes.lock().clone()
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // A panic over there has been printed.
            drop(thread.join());
        }
    }
}

impl World {
    fn note(&self, text: String) {
        let mut notes = self.notes.lock();
        if notes.len() < NOTES_MAX {
            notes.push(text);
        }
    }

    fn log_file(&self, namespace: &str, pod: &str) -> PathBuf {
        self.folder.path().join(format!("{namespace}_{pod}.log"))
    }
}

async fn client(kubeconfig: &Path) -> Client {
    let file = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
    Client::try_from(config.expect("a usable kubeconfig")).expect("a client")
}

/// Waits until the kubelet shall stop.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error is a kubelet that is gone.
    drop(stop.wait_for(|stop| *stop).await);
}

/// A call until it is answered, by whatever; `None` when it shall stop first.
async fn until_answered<T, F: Future<Output = Result<T, kube::Error>>>(
    stop: &mut watch::Receiver<bool>,
    mut call: impl FnMut() -> F,
) -> Option<Result<T, kube::Error>> {
    loop {
        tokio::select! {
            biased;
            () = stopped(stop) => return None,
            answer = tokio::time::timeout(CALL_LIMIT, call()) => match answer {
                // 500 and above: a server that starts, or that waits for etcd in vain.
                Ok(Err(kube::Error::Api(status))) if status.code < 500 => {
                    return Some(Err(kube::Error::Api(status)));
                }
                Ok(Ok(answer)) => return Some(Ok(answer)),
                Ok(Err(_)) | Err(_) => {}
            },
        }
        tokio::time::sleep(AGAIN_INTERVAL).await;
    }
}
