//! The controller's place in a node: its listener, and the way from the broker to the active controller.

use std::sync::Arc;
use std::time::Duration;

use broker::{
    ControllerAnswer, ControllerCall, ControllerChannel, ControllerUnavailable, MetadataSource, Origin,
};
use bytes::Bytes;
use controller::{ActiveController, BrokerConnection, ControllerHandle, Subscription};
use metadata::MetadataDelta;
use net::{ConnectionInfo, MemoryBudget, Outbox, Outcome, Purpose, Service};
use protocol::guard;
use protocol::request::RequestHeader;
use protocol::versions::{self, ApiKey, Listener};

/// Serves the connections of the controller listeners.
pub(crate) struct ControllerService {
    pub(crate) handle: ControllerHandle,
    /// The memory that requests in flight share.
    pub(crate) memory: Arc<MemoryBudget>,
}

/// What is kept of a connection.
pub(crate) struct Session {
    /// Name of the listener.
    listener: Arc<str>,
    /// The broker that sends its heartbeats here.
    broker: Option<BrokerConnection>,
}

impl Service for ControllerService {
    type Session = Session;

    fn open(&self, info: &ConnectionInfo) -> Session {
        Session { listener: info.listener.clone(), broker: None }
    }

    fn call(&self, session: &mut Session, frame: &mut [u8], out: &mut Outbox) -> Outcome {
        let Ok(header) = RequestHeader::parse(frame) else {
            return Outcome::Close("undecodable request header".to_owned());
        };
        let is_taken = versions::is_taken(Listener::Controller, header.api_key, header.api_version);
        if header.api_key == ApiKey::API_VERSIONS && !is_taken {
            let mut answer = bytes::BytesMut::new();
            versions::put_api_versions_unsupported(header.correlation_id, &mut answer);
            push_frame(out, &answer);
            return Outcome::Answered;
        }
        let body = &frame[header.body_start..];
        // What is malformed is refused behind this.
        let decoded = guard::check(header.api_key, header.api_version, body).map_or(0, |c| c.decoded_bytes);
        let Some(charge) = self.memory.try_charge(frame.len() + decoded, Purpose::Decoding) else {
            return Outcome::Starved;
        };
        session.broker = self.handle.note_heartbeat(&header, body, session.broker.take());
        let body = Bytes::copy_from_slice(body);
        let (handle, listener) = (self.handle.clone(), session.listener.clone());
        Outcome::Exclusive(Box::pin(async move {
            let answer = handle.handle(&listener, &header, body).await;
            drop(charge);
            match answer {
                Ok(answer) => {
                    let mut out = Outbox::new();
                    push_frame(&mut out, &answer.bytes);
                    Some(out)
                }
                Err(e) => {
                    tracing::info!("connection closed: {e}");
                    None
                }
            }
        }))
    }
}

fn push_frame(out: &mut Outbox, bytes: &[u8]) {
    let mark = out.begin_frame();
    out.buffer().extend_from_slice(bytes);
    out.end_frame(mark);
}

/// The way from the broker to the active controller.
pub(crate) struct ControllerLink {
    pub(crate) active: ActiveController,
    /// How long the broker's own requests look for a controller that answers.
    pub(crate) own_timeout: Duration,
    /// The same for those of clients.
    pub(crate) forward_timeout: Duration,
}

impl ControllerChannel for ControllerLink {
    fn call(&self, origin: Origin, request: Bytes) -> ControllerCall {
        let active = self.active.clone();
        let (own_timeout, forward_timeout) = (self.own_timeout, self.forward_timeout);
        Box::pin(async move {
            let answer = match origin {
                Origin::Broker => active.call(request, own_timeout).await,
                Origin::Client(address) => active.forward(request, address, forward_timeout).await,
            };
            let answer = answer.map_err(|_| ControllerUnavailable)?;
            Ok(ControllerAnswer { response: answer.bytes, committed_offset: answer.committed_offset })
        })
    }

    fn lost_touch(&self) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.active.lost_touch())
    }
}

/// Committed metadata, as the Raft node of the same process replicates it.
pub(crate) struct LocalMetadata(pub(crate) Subscription);

impl MetadataSource for LocalMetadata {
    fn next(&mut self) -> std::pin::Pin<Box<dyn Future<Output = Option<Arc<MetadataDelta>>> + Send + '_>> {
        Box::pin(self.0.next())
    }
}
