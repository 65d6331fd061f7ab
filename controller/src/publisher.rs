//! Committed metadata on its way to those who apply it: every delta, in order, to every subscriber.
//!
//! Invariant: a subscriber's deltas join up: each starts where the one before ended, the first at the empty image.
//! A subscriber that does not keep up finds what it missed merged into one delta, so the queue is bounded.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use metadata::{MetadataDelta, MetadataImage};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Deltas that a subscriber may leave waiting before they are merged.
const QUEUE_MAX: usize = 1_024;

/// The committed image and its subscribers.
#[derive(Debug)]
pub(crate) struct Publisher {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    image: Arc<MetadataImage>,
    subscribers: Vec<Weak<Queue>>,
    closed: bool,
}

#[derive(Debug, Default)]
struct Queue {
    deltas: Mutex<QueueState>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct QueueState {
    deltas: VecDeque<Arc<MetadataDelta>>,
    closed: bool,
}

/// One subscriber's stream of committed deltas.
#[derive(Debug)]
pub struct Subscription {
    queue: Arc<Queue>,
}

impl Publisher {
    pub(crate) fn new() -> Self {
        let image = Arc::new(MetadataImage::empty());
        Self { state: Mutex::new(State { image, subscribers: Vec::new(), closed: false }) }
    }

    pub(crate) fn image(&self) -> Arc<MetadataImage> {
        Arc::clone(&self.state.lock().image)
    }

    /// Hands one delta to all; it starts where the last one ended.
    pub(crate) fn publish(&self, delta: MetadataDelta) {
        let mut state = self.state.lock();
        state.image = Arc::new(delta.after().clone());
        let delta = Arc::new(delta);
        state.subscribers.retain(|subscriber| match subscriber.upgrade() {
            Some(queue) => {
                queue.push(Arc::clone(&delta));
                true
            }
            None => false,
        });
    }

    /// A stream that begins with everything there is now.
    pub(crate) fn subscribe(&self) -> Subscription {
        let queue = Arc::new(Queue::default());
        let mut state = self.state.lock();
        let image = MetadataImage::clone(&state.image);
        if image.provenance != MetadataImage::empty().provenance {
            queue.push(Arc::new(MetadataDelta::between(MetadataImage::empty(), image)));
        }
        if state.closed {
            queue.close();
        }
        state.subscribers.push(Arc::downgrade(&queue));
        Subscription { queue }
    }

    /// Ends all streams once they are read to their end.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.subscribers.iter().filter_map(Weak::upgrade).for_each(|queue| queue.close());
    }
}

impl Queue {
    fn push(&self, delta: Arc<MetadataDelta>) {
        let mut state = self.deltas.lock();
        state.deltas.push_back(delta);
        if state.deltas.len() > QUEUE_MAX {
            let ends = state.deltas.front().cloned().zip(state.deltas.back().cloned());
            state.deltas.clear();
            let merged = ends
                .map(|(first, last)| MetadataDelta::between(first.before().clone(), last.after().clone()));
            state.deltas.extend(merged.map(Arc::new));
        }
        drop(state);
        self.wake.notify_one();
    }

    fn close(&self) {
        self.deltas.lock().closed = true;
        self.wake.notify_one();
    }
}

impl Subscription {
    /// The next committed delta; `None` once the controller has stopped. May be dropped while it waits, without loss.
    pub async fn next(&mut self) -> Option<Arc<MetadataDelta>> {
        loop {
            {
                let mut state = self.queue.deltas.lock();
                if let Some(delta) = state.deltas.pop_front() {
                    return Some(delta);
                }
                if state.closed {
                    return None;
                }
            }
            self.queue.wake.notified().await;
        }
    }

    /// The next committed delta if there is one already.
    pub fn try_next(&mut self) -> Option<Arc<MetadataDelta>> {
        self.queue.deltas.lock().deltas.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use protocol::records::{ProducerIdsRecord, Record};

    use super::*;

    #[test]
    fn a_slow_subscriber_gets_a_merged_delta() {
        let publisher = Publisher::new();
        let mut slow = publisher.subscribe();
        for id in 1..=(QUEUE_MAX as i64 + 5) {
            let mut delta = MetadataDelta::new(MetadataImage::clone(&publisher.image()));
            let record = ProducerIdsRecord { next_producer_id: id, ..Default::default() };
            delta.replay(&Record::ProducerIds(record)).unwrap();
            delta.set_provenance(id, 1, 0);
            publisher.publish(delta);
        }
        let mut image = MetadataImage::empty();
        let mut count = 0;
        while let Some(delta) = slow.try_next() {
            assert_eq!(delta.before(), &image);
            image = delta.after().clone();
            count += 1;
        }
        assert_eq!(image, *publisher.image());
        assert!(count <= QUEUE_MAX);
        assert_eq!(publisher.subscribe().try_next().unwrap().after(), &image);
    }
}
