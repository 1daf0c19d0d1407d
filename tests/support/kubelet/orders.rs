//! What a test has told the kubelet to do, and to which pods.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

/// How many orders are kept; tests give a handful.
const ORDERS_MAX: usize = 1000;

/// How a pod is treated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// As a kubelet should.
    #[default]
    Honest,
    /// No node is found for it; one that is bound already goes on.
    Unschedulable,
    /// It is bound and stays Pending; one that runs already goes on.
    Stall,
    /// Its image cannot be pulled; one that runs already goes on.
    ImagePullBackOff,
    /// Each start of its container ends at once.
    CrashLoop,
    /// It is said to be Ready whatever its probe says.
    SayReady,
    /// It is said not to be Ready whatever its probe says.
    SayNotReady,
    /// Its process is killed and nothing is said any more, not even when it is deleted: as on a
    /// machine that has lost its power.
    Vanish,
}

/// All orders, in the order in which they were given.
#[derive(Debug)]
pub(super) struct Orders {
    pub(super) pods_max: usize,
    list: Vec<Order>,
}

#[derive(Debug)]
struct Order {
    namespace: String,
    pods: String,
    behaviour: Behaviour,
}

impl Orders {
    pub(super) fn new(pods_max: usize) -> Self {
        Self { pods_max, list: Vec::new() }
    }

    pub(super) fn add(&mut self, namespace: &str, pods: &str, behaviour: Behaviour) {
        self.list.retain(|order| order.namespace != namespace || order.pods != pods);
        assert!(self.list.len() < ORDERS_MAX, "more than {ORDERS_MAX} orders");
        let (namespace, pods) = (namespace.to_owned(), pods.to_owned());
        self.list.push(Order { namespace, pods, behaviour });
    }

    pub(super) fn of(&self, pod: &Pod) -> Behaviour {
        let mine = self.list.iter().rfind(|order| order.holds(pod));
        mine.map(|order| order.behaviour).unwrap_or_default()
    }
}

impl Order {
    fn holds(&self, pod: &Pod) -> bool {
        pod.namespace().as_ref() == Some(&self.namespace)
            && match (self.pods.strip_prefix("pod/"), self.pods.split_once('=')) {
                (Some(name), _) => pod.name_any() == name,
                (None, Some((key, value))) => {
                    pod.labels().get(key).is_some_and(|label| label == value)
                }
                (None, None) => true,
            }
    }
}
