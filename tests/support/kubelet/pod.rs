//! The life of one pod on the node, from being bound to being gone.

use std::{future, net::Ipv4Addr, pin::Pin, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use kube::{Client, ResourceExt};
use rustix::process::Signal;
use tokio::{sync::watch, time::Instant};

use super::{
    Behaviour, Running, World,
    probe::Readiness,
    process::Process,
    status::{self, Container, Report},
    stopped,
};

/// How often the pause before a restart doubles: up to 16 times the first, as 10 s become 160 s.
const RESTART_DOUBLINGS: u32 = 4;

type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// One pod.
struct Life {
    world: Arc<World>,
    client: Client,
    stop: watch::Receiver<bool>,
    pod: Pod,
    address: Option<Ipv4Addr>,
    process: Option<Process>,
    /// When the container may be started.
    start_at: Instant,
    probe: Option<Readiness>,
    /// A probe that is being asked.
    asking: Option<Pending<bool>>,
    ask_at: Instant,
    /// Answers of one kind in a row.
    row: (bool, u32),
    probed_ready: bool,
    said: Option<Report>,
    /// A status that is being written: the pod's life goes on while the API server is away.
    saying: Option<Pending<()>>,
    report: Report,
}

/// What a pod waits for has happened.
enum Event {
    /// The object has changed or is gone.
    Object,
    Orders,
    Ended(i32),
    Answered(bool),
    Said,
    Due,
    Stop,
}

/// Runs the pod until its object is gone or the kubelet is stopped; then its process has ended.
pub(super) async fn run(
    world: Arc<World>,
    client: Client,
    mut object: watch::Receiver<Option<Pod>>,
    stop: watch::Receiver<bool>,
) {
    let Some(pod) = object.borrow_and_update().clone() else { return };
    let mut orders = world.orders.subscribe();
    let mut life = Life::new(world, client, stop, pod);
    loop {
        let order = orders.borrow_and_update().of(&life.pod);
        let due = if order == Behaviour::Vanish {
            life.vanish().await;
            None
        } else if life.pod.metadata.deletion_timestamp.is_some() {
            return life.end(object).await;
        } else {
            let due = life.go_on(order);
            life.say();
            due
        };
        match life.event(&mut object, &mut orders, due).await {
            Event::Object => {
                let Some(pod) = object.borrow_and_update().clone() else { break };
                life.pod = pod;
            }
            Event::Stop => break,
            Event::Ended(code) => life.ended(code),
            Event::Answered(is_ready) => life.answered(is_ready),
            Event::Said => life.saying = None,
            Event::Orders | Event::Due => {}
        }
    }
    life.kill().await;
}

impl Life {
    fn new(world: Arc<World>, client: Client, stop: watch::Receiver<bool>, pod: Pod) -> Self {
        let container = pod.spec.as_ref().and_then(|spec| spec.containers.first());
        let now = Instant::now();
        Self {
            start_at: now + world.setup.pull,
            probe: container.and_then(Readiness::of),
            report: Report {
                phase: "Pending",
                ip: None,
                ready: false,
                ready_since: status::now(),
                container: Container::Waiting("ContainerCreating", String::new()),
                restarts: 0,
                last: None,
            },
            world,
            client,
            stop,
            pod,
            address: None,
            process: None,
            asking: None,
            ask_at: now,
            row: (false, 0),
            probed_ready: false,
            said: None,
            saying: None,
        }
    }

    async fn event(
        &mut self,
        object: &mut watch::Receiver<Option<Pod>>,
        orders: &mut watch::Receiver<super::orders::Orders>,
        due: Option<Instant>,
    ) -> Event {
        let (process, asking) = (&mut self.process, &mut self.asking);
        let saying = &mut self.saying;
        let ended = async {
            match process {
                Some(process) => process.wait().await,
                None => future::pending().await,
            }
        };
        let answered = async {
            match asking {
                Some(answer) => answer.await,
                None => future::pending().await,
            }
        };
        let said = async {
            match saying {
                Some(written) => written.await,
                None => future::pending().await,
            }
        };
        let timer = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stopped(&mut self.stop) => Event::Stop,
            Ok(()) = object.changed() => Event::Object,
            Ok(()) = orders.changed() => Event::Orders,
            code = ended => Event::Ended(code),
            is_ready = answered => Event::Answered(is_ready),
            () = said => Event::Said,
            () = timer => Event::Due,
        }
    }

    /// Does what is due; when the next is.
    fn go_on(&mut self, order: Behaviour) -> Option<Instant> {
        let ended = matches!(self.report.phase, "Succeeded" | "Failed");
        if self.process.is_none() && !ended {
            if order == Behaviour::Stall {
                return None;
            }
            if order == Behaviour::ImagePullBackOff {
                let message = "Back-off pulling image: a test has asked for it".to_owned();
                self.report.container = Container::Waiting("ImagePullBackOff", message);
                return None;
            }
            if Instant::now() < self.start_at {
                return Some(self.start_at);
            }
            self.start();
        }
        if let (Behaviour::CrashLoop, Some(process)) = (order, &self.process) {
            process.signal(Signal::KILL);
        }
        let due = self.ask();
        self.set_ready(match order {
            Behaviour::SayReady => self.process.is_some(),
            Behaviour::SayNotReady => false,
            _ => self.process.is_some() && self.probed_ready,
        });
        due
    }

    fn start(&mut self) {
        let addresses = &self.world.addresses;
        let address = *self.address.get_or_insert_with(|| addresses.lock().take());
        let (namespace, name) = (self.pod.namespace().unwrap_or_default(), self.pod.name_any());
        match Process::start(&self.pod, address, &self.world.log_file(&namespace, &name)) {
            Ok(process) => {
                self.report.phase = "Running";
                self.report.ip = Some(address);
                self.report.container = Container::Running(status::now());
                let first = self.probe.as_ref().map_or(Duration::ZERO, |probe| probe.first);
                self.ask_at = Instant::now() + first;
                self.row = (false, 0);
                // Without a probe a container is ready as soon as it runs.
                self.probed_ready = self.probe.is_none();
                self.process = Some(process);
                self.show();
            }
            Err(error) => {
                self.world.note(format!("{namespace}/{name}: cannot start: {error}"));
                self.report.phase = "Failed";
                self.report.container = Container::Terminated(128, status::now());
            }
        }
    }

    /// Begins a probe when it is time for one; when the next is.
    fn ask(&mut self) -> Option<Instant> {
        let (Some(probe), Some(address), Some(_)) = (&self.probe, self.address, &self.process)
        else {
            return self
                .process
                .is_none()
                .then_some(self.start_at)
                .filter(|_| !matches!(self.report.phase, "Succeeded" | "Failed"));
        };
        if self.asking.is_some() {
            return None;
        }
        let now = Instant::now();
        if now < self.ask_at {
            return Some(self.ask_at);
        }
        self.ask_at = now + probe.period;
        self.asking = Some(Box::pin(probe.clone().ask(address)));
        None
    }

    fn answered(&mut self, is_ready: bool) {
        self.asking = None;
        let (kind, count) = self.row;
        self.row = if kind == is_ready { (kind, count + 1) } else { (is_ready, 1) };
        let Some(probe) = &self.probe else { return };
        let needed = if is_ready { probe.successes } else { probe.failures };
        if self.row.1 >= needed {
            self.probed_ready = is_ready;
        }
    }

    fn ended(&mut self, code: i32) {
        self.process = None;
        self.asking = None;
        self.probed_ready = false;
        self.show();
        let at = status::now();
        let policy = self.pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref());
        if matches!((policy, code), (Some("Never"), _) | (Some("OnFailure"), 0)) {
            self.report.phase = if code == 0 { "Succeeded" } else { "Failed" };
            self.report.container = Container::Terminated(code, at);
            return;
        }
        let pause = self.world.setup.restart * (1 << self.report.restarts.min(RESTART_DOUBLINGS));
        self.start_at = Instant::now() + pause;
        self.report.restarts += 1;
        self.report.last = Some((code, at));
        let message = format!("back-off {pause:?} restarting failed container");
        self.report.container = Container::Waiting("CrashLoopBackOff", message);
    }

    fn set_ready(&mut self, is_ready: bool) {
        if self.report.ready != is_ready {
            self.report.ready = is_ready;
            self.report.ready_since = status::now();
        }
    }

    /// Begins to write the status if it has changed.
    fn say(&mut self) {
        if self.saying.is_none() && self.said.as_ref() != Some(&self.report) {
            self.said = Some(self.report.clone());
            let (client, pod, mut stop) =
                (self.client.clone(), self.pod.clone(), self.stop.clone());
            let patch = self.report.patch(&pod);
            self.saying = Some(Box::pin(async move {
                // Refused only when the pod is gone, which the watch tells.
                status::write(&client, &pod, &patch, &mut stop).await;
            }));
        }
    }

    /// What tests see of it.
    fn show(&self) {
        let key = (self.pod.namespace().unwrap_or_default(), self.pod.name_any());
        let pid = self.process.as_ref().map_or(0, Process::pid);
        let running = Running {
            uid: self.pod.uid().unwrap_or_default(),
            ip: self.address.map(|address| address.to_string()).unwrap_or_default(),
            pid,
            starts: self.report.restarts + 1,
        };
        self.world.running.lock().insert(key, running);
    }

    /// The process ends without a word; nothing starts again.
    async fn vanish(&mut self) {
        (self.asking, self.saying) = (None, None);
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::KILL);
            process.wait().await;
            self.show();
        }
    }

    /// A deleted pod: SIGTERM, SIGKILL after its grace, the last status, the end of the object.
    async fn end(mut self, mut object: watch::Receiver<Option<Pod>>) {
        let began = Instant::now();
        let pause = pre_stop(&self.pod);
        self.saying = None;
        let (mut asked, mut killed) = (false, false);
        while let Some(process) = &mut self.process {
            let grace = began + grace(&self.pod);
            let ask_at = began + pause;
            if Instant::now() >= ask_at && !asked {
                asked = true;
                process.signal(Signal::TERM);
            }
            tokio::select! {
                biased;
                () = stopped(&mut self.stop) => return self.kill().await,
                code = process.wait() => {
                    self.process = None;
                    self.report.container = Container::Terminated(code, status::now());
                }
                () = tokio::time::sleep_until(ask_at.min(grace)), if !asked => {}
                () = tokio::time::sleep_until(grace), if !killed => {
                    killed = true;
                    process.signal(Signal::KILL);
                }
                Ok(()) = object.changed() => {
                    let Some(pod) = object.borrow_and_update().clone() else { break };
                    // The grace may have become shorter.
                    self.pod = pod;
                }
            }
        }
        if object.borrow().is_none() {
            return self.kill().await;
        }
        self.report.phase = match self.report.container {
            Container::Terminated(0, _) => "Succeeded",
            _ => "Failed",
        };
        self.set_ready(false);
        let patch = self.report.patch(&self.pod);
        status::write(&self.client, &self.pod, &patch, &mut self.stop).await;
        status::delete(&self.client, &self.pod, &mut self.stop).await;
        self.kill().await;
    }

    /// The end of all that runs here.
    async fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::KILL);
            process.wait().await;
        }
        let key = (self.pod.namespace().unwrap_or_default(), self.pod.name_any());
        let mut running = self.world.running.lock();
        if running.get(&key).is_some_and(|running| Some(&running.uid) == self.pod.uid().as_ref()) {
            running.remove(&key);
        }
        if let Some(address) = self.address.take() {
            self.world.addresses.lock().give_back(address);
        }
    }
}

/// What is left of the grace from the moment that the deletion was seen.
fn grace(pod: &Pod) -> Duration {
    let seconds = pod.metadata.deletion_grace_period_seconds.unwrap_or(0);
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

fn pre_stop(pod: &Pod) -> Duration {
    let container = pod.spec.as_ref().and_then(|spec| spec.containers.first());
    let hook = container.and_then(|container| container.lifecycle.as_ref()?.pre_stop.as_ref());
    let seconds = hook.and_then(|hook| hook.sleep.as_ref()).map_or(0, |sleep| sleep.seconds);
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
