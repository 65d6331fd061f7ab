//! Where the replicas of new partitions go (Kafka's `StripedReplicaPlacer`).
//!
//! Leaders go round the racks, and within each rack round its brokers, from a random start; followers go to the
//! other racks first. Unfenced brokers are taken before fenced ones.

use std::collections::BTreeMap;

use protocol::ErrorCode;

use super::View;
use crate::api_error::ApiError;
use crate::entropy::Entropy;

/// Brokers of one kind in one rack, taken in turn from an offset that moves on with each partition.
#[derive(Default)]
struct Ring {
    brokers: Vec<i32>,
    offset: usize,
    taken: usize,
    epoch: usize,
}

impl Ring {
    fn initialize(&mut self, entropy: &mut Entropy) {
        self.brokers.sort_unstable();
        self.offset = entropy.below(self.brokers.len());
    }

    fn shuffle(&mut self, entropy: &mut Entropy) {
        entropy.shuffle(&mut self.brokers);
        (self.offset, self.taken, self.epoch) = (entropy.below(self.brokers.len()), 0, 0);
    }

    /// The next broker for the partition `epoch`; `None` once each has been taken for it.
    fn next(&mut self, epoch: usize) -> Option<i32> {
        let len = self.brokers.len();
        if len == 0 {
            return None;
        }
        if self.epoch != epoch {
            (self.epoch, self.taken) = (epoch, 0);
            self.offset = (self.offset + 1) % len;
        }
        if self.taken >= len {
            return None;
        }
        let broker = self.brokers[(self.offset + self.taken) % len];
        self.taken += 1;
        Some(broker)
    }
}

#[derive(Default)]
struct Rack {
    unfenced: Ring,
    fenced: Ring,
}

impl Rack {
    fn next(&mut self, epoch: usize) -> Option<i32> {
        self.unfenced.next(epoch).or_else(|| self.fenced.next(epoch))
    }
}

/// Racks in the order in which partitions go round them.
struct Racks {
    racks: Vec<Rack>,
    unfenced: usize,
    total: usize,
    epoch: usize,
    offset: usize,
}

impl Racks {
    fn new(view: View<'_>, entropy: &mut Entropy) -> Self {
        let mut by_name: BTreeMap<Option<&str>, Rack> = BTreeMap::new();
        let (mut unfenced, mut total) = (0, 0);
        for broker in view.image.cluster.brokers.values() {
            if view.liveness.is_shutting_down(broker.id) || (broker.in_controlled_shutdown && !broker.fenced)
            {
                continue;
            }
            let rack = by_name.entry(broker.rack.as_deref()).or_default();
            total += 1;
            if broker.fenced {
                rack.fenced.brokers.push(broker.id);
            } else {
                unfenced += 1;
                rack.unfenced.brokers.push(broker.id);
            }
        }
        let mut racks: Vec<_> = by_name.into_values().collect();
        for rack in &mut racks {
            rack.unfenced.initialize(entropy);
            rack.fenced.initialize(entropy);
        }
        let offset = entropy.below(racks.len());
        Self { racks, unfenced, total, epoch: 0, offset }
    }

    /// The replicas of the next partition; there is an unfenced broker, and no more replicas than brokers.
    fn place(&mut self, replicas: usize, entropy: &mut Entropy) -> Vec<i32> {
        if self.epoch == self.unfenced && self.unfenced > 1 {
            self.shuffle(entropy);
        }
        self.offset %= self.racks.len();
        let mut placed = Vec::with_capacity(replicas);
        let mut leader_rack = self.offset;
        while placed.is_empty() {
            placed.extend(self.racks[leader_rack].unfenced.next(self.epoch));
            if placed.is_empty() {
                leader_rack = (leader_rack + 1) % self.racks.len();
            }
        }
        let mut skip = Some(leader_rack);
        let mut rack = self.offset;
        while placed.len() < replicas {
            if skip == Some(rack) {
                skip = None;
            } else {
                placed.extend(self.racks[rack].next(self.epoch));
            }
            rack = (rack + 1) % self.racks.len();
        }
        self.epoch += 1;
        self.offset += 1;
        placed
    }

    fn shuffle(&mut self, entropy: &mut Entropy) {
        entropy.shuffle(&mut self.racks);
        for rack in &mut self.racks {
            rack.unfenced.shuffle(entropy);
            rack.fenced.shuffle(entropy);
        }
        self.epoch = 0;
    }
}

/// The replicas of `partitions` new partitions, preferred leader first.
///
/// # Errors
/// INVALID_REPLICATION_FACTOR if the brokers do not suffice.
pub(super) fn place(
    view: View<'_>,
    entropy: &mut Entropy,
    partitions: usize,
    replication_factor: i16,
) -> Result<Vec<Vec<i32>>, ApiError> {
    let invalid = |message: String| Err(ApiError::new(ErrorCode::INVALID_REPLICATION_FACTOR, message));
    let mut racks = Racks::new(view, entropy);
    let Some(replicas) = usize::try_from(replication_factor).ok().filter(|replicas| *replicas > 0) else {
        return invalid(format!(
            "Invalid replication factor {replication_factor}: the replication factor must be positive."
        ));
    };
    if racks.unfenced == 0 {
        return invalid("All brokers are currently fenced.".to_owned());
    }
    if replicas > racks.total {
        return invalid(format!(
            "The target replication factor of {replicas} cannot be reached because only {} broker(s) are registered.",
            racks.total
        ));
    }
    Ok((0..partitions).map(|_| racks.place(replicas, entropy)).collect())
}
