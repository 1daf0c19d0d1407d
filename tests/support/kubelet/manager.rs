//! Follows the pods, binds those that it shall bind, and gives each of its own a task.

use std::{collections::BTreeMap, pin::pin, sync::Arc};

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    runtime::watcher::{self, Event, watcher},
};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinSet};

use super::{AGAIN_INTERVAL, Behaviour, World, node, pod, status, stopped, until_answered};

/// The pods of a node.
struct Manager {
    world: Arc<World>,
    client: Client,
    stop: watch::Receiver<bool>,
    /// By uid; `None` is sent when the object is gone.
    pods: BTreeMap<String, watch::Sender<Option<Pod>>>,
    tasks: JoinSet<String>,
    /// By uid: not bound yet.
    unbound: BTreeMap<String, Pod>,
    /// What a list has shown so far, while it goes on.
    listed: Vec<String>,
}

/// Runs until it is stopped; then every process has ended.
pub(super) async fn run(world: Arc<World>, client: Client, stop: watch::Receiver<bool>) {
    let mut orders = world.orders.subscribe();
    let mut manager = Manager {
        world,
        client,
        stop,
        pods: BTreeMap::new(),
        tasks: JoinSet::new(),
        unbound: BTreeMap::new(),
        listed: Vec::new(),
    };
    node::register(&manager.world, &manager.client, &mut manager.stop).await;
    let mut stop = manager.stop.clone();
    let mut events = pin!(manager.events());
    loop {
        tokio::select! {
            () = stopped(&mut stop) => break,
            event = events.next() => match event {
                Some(Ok(event)) => manager.take(event),
                // The server is away; the stream begins anew when it is asked again.
                Some(Err(_)) => tokio::time::sleep(AGAIN_INTERVAL).await,
                None => break,
            },
            Some(ended) = manager.tasks.join_next() => {
                if let Ok(uid) = ended {
                    manager.pods.remove(&uid);
                }
            }
            Ok(()) = orders.changed() => {}
        }
        manager.bind().await;
    }
    while manager.tasks.join_next().await.is_some() {}
}

impl Manager {
    fn events(&self) -> impl futures_util::Stream<Item = watcher::Result<Event<Pod>>> + use<> {
        let client = self.client.clone();
        match &self.world.setup.namespace {
            Some(namespace) => {
                watcher(Api::namespaced(client, namespace), watcher::Config::default()).boxed()
            }
            None => {
                let mine = format!("spec.nodeName={}", self.world.setup.node);
                watcher(Api::all(client), watcher::Config::default().fields(&mine)).boxed()
            }
        }
    }

    fn take(&mut self, event: Event<Pod>) {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(pod) => {
                self.listed.extend(pod.uid());
                self.apply(pod);
            }
            Event::Apply(pod) => self.apply(pod),
            Event::Delete(pod) => self.forget(&pod.uid().unwrap_or_default()),
            Event::InitDone => {
                let known = self.pods.keys().chain(self.unbound.keys());
                let gone: Vec<_> =
                    known.filter(|uid| !self.listed.contains(uid)).cloned().collect();
                for uid in gone {
                    self.forget(&uid);
                }
            }
        }
    }

    fn forget(&mut self, uid: &str) {
        self.unbound.remove(uid);
        if let Some(pod) = self.pods.get(uid) {
            pod.send_replace(None);
        }
    }

    fn apply(&mut self, pod: Pod) {
        let uid = pod.uid().unwrap_or_default();
        match pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()) {
            None => {
                self.unbound.insert(uid, pod);
            }
            Some(node) if *node == self.world.setup.node => {
                self.unbound.remove(&uid);
                if let Some(known) = self.pods.get(&uid) {
                    known.send_replace(Some(pod));
                } else if !status::is_over(&pod) {
                    let (tell, told) = watch::channel(Some(pod));
                    let (world, client) = (Arc::clone(&self.world), self.client.clone());
                    let task = pod::run(world, client, told, self.stop.clone());
                    self.pods.insert(uid.clone(), tell);
                    self.tasks.spawn(async move {
                        task.await;
                        uid
                    });
                }
            }
            Some(_other) => {}
        }
    }

    /// Binds what fits, and says of the rest that it does not.
    async fn bind(&mut self) {
        let pods: Vec<Pod> = self.unbound.values().cloned().collect();
        let mut bound = self.pods.len();
        for pod in pods {
            let uid = pod.uid().unwrap_or_default();
            let (order, pods_max) = {
                let orders = self.world.orders.borrow();
                (orders.of(&pod), orders.pods_max)
            };
            if order == Behaviour::Unschedulable || bound >= pods_max {
                self.refuse(&pod).await;
                continue;
            }
            let answer = until_answered(&mut self.stop, || {
                self.client.request::<Value>(binding(&pod, &self.world.setup.node))
            });
            match answer.await {
                None => return,
                Some(Ok(_)) => bound += 1,
                // Gone meanwhile, or bound by somebody else: the watch says so.
                Some(Err(_refused)) => {}
            }
            self.unbound.remove(&uid);
        }
    }

    /// Once a pod: the condition says it for as long as it stays.
    async fn refuse(&mut self, pod: &Pod) {
        if !status::is_unschedulable(pod) {
            let condition = json!({"status": {"conditions": [{
                "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                "message": "0/1 nodes are available: 1 Too many pods.",
                "lastTransitionTime": status::now(),
            }]}});
            status::write(&self.client, pod, &condition, &mut self.stop).await;
        }
    }
}

fn binding(pod: &Pod, node: &str) -> http::Request<Vec<u8>> {
    let (name, namespace) = (pod.name_any(), pod.namespace().unwrap_or_default());
    let body = json!({
        "apiVersion": "v1", "kind": "Binding",
        "metadata": {"name": name, "namespace": namespace, "uid": pod.uid()},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    });
    http::Request::post(format!("/api/v1/namespaces/{namespace}/pods/{name}/binding"))
        .header("content-type", "application/json")
        .body(body.to_string().into_bytes())
        .expect("a request")
}
