//! What the rest of the router asks of a platform, waiting for its actor.
//!
//! Asking never blocks: an order that says again what a waiting one said (same kind, same version
//! or replica) takes its place at the end, because only the newest counts. So the number of waiting
//! orders is bounded by the number of versions and replicas.

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    domain::{ReplicaId, VersionKey},
    platform::{Orders, spec::EndpointSpec},
};

/// The most orders that wait; reached only if the actor stood still. More are dropped: whoever asks
/// looks again at its next tick.
const ORDERS_MAX: usize = 4096;

/// One thing asked.
#[derive(Debug, Clone)]
pub(in crate::platform) enum Order {
    /// The endpoints of the files; a cluster's come from its objects.
    Apply(Vec<EndpointSpec>),
    Start(VersionKey, u32),
    Drain(ReplicaId),
    Readmit(ReplicaId),
    Retire(ReplicaId),
    Suspect(ReplicaId, u64),
    /// Something may have become idle.
    Look,
    Shutdown,
}

/// The waiting orders, oldest first.
#[derive(Debug, Default)]
pub(in crate::platform) struct Inbox {
    waiting: Mutex<Vec<Order>>,
    changed: Notify,
}

impl Order {
    fn outdates(&self, older: &Self) -> bool {
        match (self, older) {
            (Self::Apply(_), Self::Apply(_))
            | (Self::Look, Self::Look)
            | (Self::Shutdown, Self::Shutdown) => true,
            (Self::Start(one, _), Self::Start(two, _)) => one == two,
            // A replica is wanted back or not: the last word holds.
            (
                Self::Drain(one) | Self::Readmit(one) | Self::Retire(one),
                Self::Drain(two) | Self::Readmit(two) | Self::Retire(two),
            )
            | (Self::Suspect(one, _), Self::Suspect(two, _)) => one == two,
            _ => false,
        }
    }
}

impl Inbox {
    /// Adds an order, in place of waiting ones that it outdates.
    pub(in crate::platform) fn push(&self, order: Order) {
        let mut waiting = self.waiting.lock();
        // Who is to be retired is drained with it.
        if let Order::Drain(id) = order
            && waiting.iter().any(|older| matches!(older, Order::Retire(same) if *same == id))
        {
            return;
        }
        waiting.retain(|older| !order.outdates(older));
        if waiting.len() < ORDERS_MAX || matches!(order, Order::Shutdown) {
            waiting.push(order);
        }
        drop(waiting);
        self.changed.notify_one();
    }

    /// Resolves when there may be orders, with all of them.
    pub(in crate::platform) async fn take(&self) -> Vec<Order> {
        self.changed.notified().await;
        std::mem::take(&mut *self.waiting.lock())
    }
}

impl Orders for Inbox {
    fn start(&self, key: &VersionKey, wanted: u32) {
        self.push(Order::Start(key.clone(), wanted));
    }

    fn drain(&self, replica: ReplicaId) {
        self.push(Order::Drain(replica));
    }

    fn readmit(&self, replica: ReplicaId) {
        self.push(Order::Readmit(replica));
    }

    fn retire(&self, _key: &VersionKey, replicas: &[ReplicaId]) {
        for replica in replicas {
            self.push(Order::Retire(*replica));
        }
    }

    fn suspect(&self, replica: ReplicaId, generation: u64) {
        self.push(Order::Suspect(replica, generation));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Name;

    fn key(version: &str) -> VersionKey {
        VersionKey { endpoint: Name::new("demo").unwrap(), version: Name::new(version).unwrap() }
    }

    #[tokio::test]
    async fn the_newest_order_takes_the_place_of_the_same_one() {
        let inbox = Inbox::default();
        for order in [
            Order::Start(key("blue"), 2),
            Order::Drain(ReplicaId(1)),
            Order::Start(key("green"), 1),
            Order::Drain(ReplicaId(2)),
            Order::Start(key("blue"), 3),
            Order::Readmit(ReplicaId(1)),
            Order::Suspect(ReplicaId(1), 4),
            Order::Retire(ReplicaId(2)),
            Order::Drain(ReplicaId(2)),
        ] {
            inbox.push(order);
        }
        let waiting: Vec<String> = inbox.take().await.iter().map(|o| format!("{o:?}")).collect();
        let kept = [
            "Start(VersionKey { endpoint: \"demo\", version: \"green\" }, 1)",
            "Start(VersionKey { endpoint: \"demo\", version: \"blue\" }, 3)",
            "Readmit(ReplicaId(1))",
            "Suspect(ReplicaId(1), 4)",
            "Retire(ReplicaId(2))",
        ];
        assert_eq!(waiting, kept);
    }

    #[tokio::test]
    async fn waiting_orders_are_bounded_and_shutdown_always_gets_in() {
        let inbox = Inbox::default();
        (0..10_000).for_each(|id| inbox.push(Order::Drain(ReplicaId(id))));
        inbox.push(Order::Shutdown);
        let waiting = inbox.take().await;
        assert_eq!(waiting.len(), ORDERS_MAX + 1);
        assert!(matches!(waiting.last(), Some(Order::Shutdown)));
    }
}
