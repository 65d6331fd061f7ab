//! Following leaders: the replicas that this node does not lead copy their leader's log.
//!
//! ```text
//!   applier ── FollowOrder ──▶ run ──┬──▶ Fetcher of leader 2: one connection, one fetch session
//!                                    └──▶ Fetcher of leader 3
//! ```
//!
//! One fetcher for each leading broker, as a task of the runtime of the data: what arrives is appended as it is.
//! Source: Kafka's `ReplicaFetcherManager`, `AbstractFetcherThread`; KIP-227, KIP-595 (truncation on fetch).

pub(crate) mod answer;
mod fetcher;
pub(crate) mod request;

use std::collections::HashMap;
use std::sync::Arc;

use net::tasks::Tasks;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::context::Context;
use crate::replica::partition::Partition;
pub(crate) use answer::where_logs_part;
use fetcher::{Fetcher, Order};

/// A partition as fetchers name it.
type Key = (Uuid, i32);

/// Whom a replica follows from now on.
pub(crate) struct FollowOrder {
    pub(crate) partition: Arc<Partition>,
    /// The leader and its epoch; `None` for nobody.
    pub(crate) leader: Option<(i32, i32)>,
}

/// Hands orders to the fetchers, and starts those that are missing; until cancelled.
pub(crate) async fn run(ctx: Arc<Context>, mut orders: mpsc::UnboundedReceiver<FollowOrder>, tasks: Tasks) {
    let cancelled = tasks.cancelled();
    let mut fetchers: HashMap<i32, mpsc::UnboundedSender<Order>> = HashMap::new();
    let mut leaders: HashMap<Key, i32> = HashMap::new();
    loop {
        let order = tokio::select! {
            () = cancelled.cancelled() => return,
            Some(order) = orders.recv() => order,
        };
        let key = (order.partition.topic_id, order.partition.name.partition);
        let leader = order.leader.map(|(id, _)| id);
        if let Some(old) = leaders.remove(&key).filter(|old| Some(*old) != leader)
            && let Some(fetcher) = fetchers.get(&old)
        {
            // The fetcher is gone only while the node stops; so below.
            let _ = fetcher.send(Order::Drop(key));
        }
        if let Some((id, leader_epoch)) = order.leader {
            leaders.insert(key, id);
            let fetcher = fetchers.entry(id).or_insert_with(|| {
                let (sender, receiver) = mpsc::unbounded_channel();
                let fetcher = Fetcher::new(ctx.clone(), id);
                tasks.spawn(fetcher.run(receiver, tasks.cancelled()));
                sender
            });
            let _ = fetcher.send(Order::Follow { partition: order.partition, leader_epoch });
        }
    }
}
