//! The broker's side of its listeners.

use std::net::SocketAddr;
use std::sync::Arc;

use net::{ConnectionInfo, Outbox, Outcome, Service};

use crate::api;
use crate::context::Context;

/// Serves the connections of the broker's listeners.
pub(crate) struct BrokerService {
    pub(crate) ctx: Arc<Context>,
}

/// What is remembered of a connection.
pub(crate) struct Session {
    listener: Arc<str>,
    peer: SocketAddr,
}

impl Service for BrokerService {
    type Session = Session;

    fn open(&self, info: &ConnectionInfo) -> Session {
        Session { listener: info.listener.clone(), peer: info.peer }
    }

    fn call(&self, session: &mut Session, frame: &mut [u8], out: &mut Outbox) -> Outcome {
        api::dispatch(&self.ctx, &session.listener, session.peer, frame, out)
    }
}
