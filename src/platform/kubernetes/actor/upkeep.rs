//! What the leader writes without being asked by the autoscaler, and the reports.

use std::{collections::HashSet, sync::Arc};

use super::{
    super::{
        objects::ObjectKey,
        replica::Replica,
        reporter,
        seats::ordinal,
        target::{Target, WorkloadKind},
        writes::Victim,
    },
    Actor,
};
use crate::platform::spec::VersionSpec;

impl Actor {
    /// Starts what is to be written, while this router leads.
    pub(super) fn write(&mut self) {
        self.heed_term();
        if let Some(term) = &self.term {
            self.writes.carry_on(term);
        }
    }

    /// Looks at every endpoint for what no news tells: keys that are still to be made, counts that
    /// the spec fixes, ends that were ordered and did not come.
    pub(super) fn look_over(&mut self) {
        if !self.leads() || !self.is_synced {
            return;
        }
        let keys: Vec<ObjectKey> = self.endpoints.in_force().map(|(_, key)| key.clone()).collect();
        for key in keys {
            self.make_keys(&key);
            let Some(spec) = self.endpoints.get(&key).and_then(|record| record.spec()) else {
                continue;
            };
            let spec = Arc::clone(spec);
            for (version, details) in spec.endpoint.versions.iter().zip(&spec.versions) {
                let Some(seats) = self.fleet.seats(&key, &version.name) else { continue };
                let target = seats.target.clone();
                if self.cluster.hpa(&target).is_some() {
                    // Another scales it.
                } else if version.autoscale.enabled {
                    self.order_again(&key, &target, version.name.as_str());
                } else {
                    self.fix_count(&target, details);
                }
            }
        }
    }

    fn make_keys(&mut self, key: &ObjectKey) {
        let Some(secret) = self.secret_of(key) else { return };
        let Some(record) = self.endpoints.get(key) else { return };
        let meta = &record.object.metadata;
        // What was derived from labels has no object that could own a Secret.
        let owner = (!meta.uid.is_empty()).then_some(meta);
        self.keys.make(&secret, owner);
    }

    /// Pods that are marked and live on, though nothing is being written: their end was ordered by
    /// a leader that is gone, or Kubernetes chose another pod. They get no work, so they go.
    fn order_again(&mut self, key: &ObjectKey, target: &Target, version: &str) {
        let Some(crew) = self.fleet.crew(key) else { return };
        let Some((_, seats)) = crew.iter().find(|(name, _)| name.as_str() == version) else {
            return;
        };
        let counts = seats.counts();
        let replicas = self.writes.replicas(target);
        let is_lowered = replicas.is_none_or(|replicas| replicas < counts.live);
        if counts.ordered == 0 || counts.mixed || is_lowered || !self.writes.is_quiet(target) {
            return;
        }
        // A StatefulSet is cut from the top: a pod below one that is in use cannot go alone.
        let number = |replica: &Replica| ordinal(&replica.pod.metadata.name);
        let is_cut = target.kind == WorkloadKind::StatefulSet;
        let in_use = seats.own().filter(|replica| is_cut && !replica.is_leaving());
        let highest_in_use = in_use.filter_map(number).max();
        let marked = seats.own().filter(|replica| {
            replica.is_marked()
                && !replica.is_deleted()
                && (!is_cut || number(replica) > highest_in_use)
        });
        let victims: Vec<Victim> = marked
            .map(|replica| {
                let meta = &replica.pod.metadata;
                Victim { name: Arc::clone(&meta.name), uid: Arc::clone(&meta.uid) }
            })
            .collect();
        if victims.is_empty() {
            return;
        }
        tracing::info!(%target, count = victims.len(), "the end of marked pods is ordered again");
        self.writes.shrink(target, victims.into_iter());
    }

    /// `replicas` of a version without autoscaling; where it is absent the count is left alone.
    fn fix_count(&mut self, target: &Target, details: &VersionSpec) {
        if let (Some(wanted), Some(now)) = (details.replicas, self.writes.replicas(target))
            && wanted != now
        {
            self.writes.set(target, wanted);
        }
    }

    /// Tells the cluster how it is with these endpoints.
    pub(super) fn report(&mut self, keys: &HashSet<ObjectKey>) {
        let facts = reporter::Facts {
            cluster: &self.cluster,
            endpoints: &self.endpoints,
            fleet: &self.fleet,
            keys: &self.keys,
            writes: &self.writes,
            is_held: self.leadership.term().is_none(),
        };
        for key in keys {
            self.reporter.report(key, facts);
        }
    }
}
