//! The broker's side of its listeners.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use net::{ConnectionInfo, Outbox, Outcome, Service};

use crate::api;
use crate::context::Context;
use crate::metrics::{OpenConnection, watch};
use crate::replica::partition::Partition;
use crate::replica::waiters;

/// Serves the connections of the broker's listeners.
pub(crate) struct BrokerService {
    pub(crate) ctx: Arc<Context>,
}

/// What is remembered of a connection.
pub(crate) struct Session {
    pub(crate) listener: Arc<str>,
    pub(crate) peer: SocketAddr,
    /// Partitions with other replicas that requests of this turn were appended to.
    pub(crate) grown: Vec<Arc<Partition>>,
    /// Counts the connection as open.
    _open: Option<OpenConnection>,
}

impl Session {
    /// The same without being counted.
    pub(crate) fn without_connection(&self) -> Self {
        Self { listener: self.listener.clone(), peer: self.peer, grown: Vec::new(), _open: None }
    }
}

impl Service for BrokerService {
    type Session = Session;

    fn open(&self, info: &ConnectionInfo) -> Session {
        let open = self.ctx.metrics.connected(&info.listener);
        Session { listener: info.listener.clone(), peer: info.peer, grown: Vec::new(), _open: Some(open) }
    }

    fn call(&self, session: &mut Session, frame: &mut [u8], out: &mut Outbox) -> Outcome {
        if self.ctx.metrics.is_watched() {
            return watch::call(&self.ctx, session, frame, out);
        }
        api::dispatch(&self.ctx, session, frame, out)
    }

    /// Followers hear of all batches that came together at once, and read them at once.
    fn turn_ended(&self, session: &mut Session) {
        if !session.grown.is_empty() {
            let mut waits = Vec::new();
            session.grown.drain(..).for_each(|partition| partition.waiters.list_follower_fetches(&mut waits));
            waiters::wake_in_turn(waits);
        }
    }

    fn sent(&self, labels: &[i16], took: Duration) {
        self.ctx.metrics.sent(labels, took);
    }
}
