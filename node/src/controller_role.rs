//! The controller's place in a node: its listener, and the way from the broker of the same process.

use std::sync::Arc;

use broker::{ControllerAnswer, ControllerCall, ControllerChannel, ControllerUnavailable, MetadataSource};
use bytes::Bytes;
use controller::{ControllerHandle, Subscription};
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

impl Service for ControllerService {
    type Session = ();

    fn open(&self, _info: &ConnectionInfo) {}

    fn call(&self, _session: &mut (), frame: &mut [u8], out: &mut Outbox) -> Outcome {
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
        let body = Bytes::copy_from_slice(body);
        let handle = self.handle.clone();
        Outcome::Exclusive(Box::pin(async move {
            let answer = handle.handle(&header, body).await;
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

/// The way from the broker to the controller of the same process: no socket in between.
pub(crate) struct LocalController {
    pub(crate) handle: ControllerHandle,
    pub(crate) node_id: i32,
}

impl ControllerChannel for LocalController {
    fn call(&self, request: Bytes) -> ControllerCall {
        let (handle, node_id) = (self.handle.clone(), self.node_id);
        Box::pin(async move {
            // While the quorum elects, requests wait here instead of being refused and sent again.
            let mut leader = handle.leader();
            let elected = leader.wait_for(|leader| leader.leader_id == Some(node_id)).await;
            elected.map_err(|_| ControllerUnavailable)?;
            let header = RequestHeader::parse(&request).map_err(|_| ControllerUnavailable)?;
            let body = request.slice(header.body_start..);
            match handle.handle(&header, body).await {
                Ok(answer) => {
                    Ok(ControllerAnswer { response: answer.bytes, committed_offset: answer.committed_offset })
                }
                Err(e) => {
                    tracing::warn!("the controller refused a forwarded request: {e}");
                    Err(ControllerUnavailable)
                }
            }
        })
    }
}

/// Committed metadata, straight from the controller of the same process.
pub(crate) struct LocalMetadata(pub(crate) Subscription);

impl MetadataSource for LocalMetadata {
    fn next(&mut self) -> std::pin::Pin<Box<dyn Future<Output = Option<Arc<MetadataDelta>>> + Send + '_>> {
        Box::pin(self.0.next())
    }
}
