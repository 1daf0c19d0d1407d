//! The Node object, and a part of 127/8 that no other test of this machine uses.

use std::net::{Ipv4Addr, TcpListener};

use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::sync::watch;

use super::{World, until_answered};

/// The networks 127.N.0.0/16 that kubelets share; below and above are other users of 127/8.
const NETWORKS: std::ops::Range<u8> = 32..224;
/// A kubelet's own port. Whoever listens there at the end of a network has the network.
const CLAIM_PORT: u16 = 10250;

/// 127.N.0.0/16, for as long as this lives.
#[derive(Debug)]
pub(super) struct Network {
    number: u8,
    _claim: TcpListener,
}

/// The addresses of a network.
#[derive(Debug)]
pub(super) struct Addresses {
    network: u8,
    given: u16,
    free: Vec<Ipv4Addr>,
    /// Whether freed ones are given again, the last first.
    pub(super) reuse: bool,
}

impl Network {
    /// The first that nobody has. The kernel gives it back when the process ends.
    pub(super) fn claim() -> Self {
        let claimed = NETWORKS.into_iter().find_map(|number| {
            let end = Ipv4Addr::new(127, number, 255, 254);
            Some(Self { number, _claim: TcpListener::bind((end, CLAIM_PORT)).ok()? })
        });
        claimed.expect("a free network of 127.32.0.0 to 127.223.0.0")
    }
}

impl Addresses {
    pub(super) fn of(network: &Network) -> Self {
        Self { network: network.number, given: 0, free: Vec::new(), reuse: false }
    }

    pub(super) fn take(&mut self) -> Ipv4Addr {
        if let Some(again) = self.free.pop().filter(|_| self.reuse) {
            return again;
        }
        // 127.N.1.0 to 127.N.254.255, and then from the beginning.
        self.given = (self.given + 1) % (254 * 256);
        let [high, low] = (self.given + 255).to_be_bytes();
        Ipv4Addr::new(127, self.network, high, low)
    }

    pub(super) fn give_back(&mut self, address: Ipv4Addr) {
        self.free.clear();
        self.free.push(address);
    }
}

/// Makes the Node, or takes over one of that name, and says that it is Ready.
pub(super) async fn register(world: &World, client: &Client, stop: &mut watch::Receiver<bool>) {
    let nodes: Api<Node> = Api::all(client.clone());
    let name = &world.setup.node;
    let node: Node = serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
    }))
    .expect("a Node");
    let parameters = PostParams::default();
    let made = until_answered(stop, || nodes.create(&parameters, &node)).await;
    if let Some(Err(kube::Error::Api(refusal))) = made
        && refusal.code != 409
    {
        world.note(format!("the Node was refused: {refusal:?}"));
    }
    let room = json!({"cpu": "64", "memory": "256Gi", "pods": world.setup.pods_max.to_string()});
    let status = json!({"status": {
        "capacity": room,
        "allocatable": room,
        "addresses": [{
            "type": "InternalIP",
            "address": Ipv4Addr::new(127, world.network.number, 255, 254),
        }],
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "a test's kubelet",
        }],
    }});
    let parameters = PatchParams::default();
    let status = Patch::Strategic(status);
    let told = until_answered(stop, || nodes.patch_status(name, &parameters, &status)).await;
    // The API server gives a new Node a taint that a controller takes off; none watches over it.
    let clean = Patch::Merge(json!({"spec": {"taints": null}}));
    let cleaned = until_answered(stop, || nodes.patch(name, &parameters, &clean)).await;
    for refusal in [told, cleaned].into_iter().flatten().filter_map(Result::err) {
        world.note(format!("the Node {name}: {refusal}"));
    }
}
