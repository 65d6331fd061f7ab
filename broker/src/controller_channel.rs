//! How the broker reaches the active controller.
//!
//! Requests travel as Kafka frames (header and body), so that a controller in the same process and one across the
//! network look the same, and so that an admin request is forwarded as the very bytes that the client sent.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use protocol::request::{RequestHeader, parse_response_header};
use protocol::{Encodable, ErrorCode, Request, guard};

/// The answer of the controller.
#[derive(Clone, Debug)]
pub struct ControllerAnswer {
    /// Response header and body.
    pub response: Bytes,
    /// The metadata offset that contains what the request changed; -1 if it changed nothing.
    pub committed_offset: i64,
}

/// No controller can be reached now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the active controller cannot be reached")]
pub struct ControllerUnavailable;

/// A future answer of the controller.
pub type ControllerCall =
    Pin<Box<dyn Future<Output = Result<ControllerAnswer, ControllerUnavailable>> + Send>>;

/// For whom a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// For the broker itself: registration, heartbeats and the like.
    Broker,
    /// For a client at this address: the controller is told so (Envelope, KIP-590).
    Client(IpAddr),
}

/// A way to the active controller, which it finds by itself, and again when there is a new one.
pub trait ControllerChannel: Send + Sync + 'static {
    /// Sends one request, header and body.
    fn call(&self, origin: Origin, request: Bytes) -> ControllerCall;

    /// Completes when the active controller may not know that the broker lives: it is another than the one that answered
    /// the last heartbeat, or the connection to it has ended. Never, for a channel that cannot tell.
    fn lost_touch(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::pending())
    }
}

/// Why a typed call has no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error(transparent)]
    Unavailable(#[from] ControllerUnavailable),
    #[error("the controller's answer cannot be read: {0}")]
    Malformed(String),
}

impl CallError {
    /// The code that a client gets when this stands between it and its answer.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::Unavailable(_) => ErrorCode::REQUEST_TIMED_OUT,
            Self::Malformed(_) => ErrorCode::UNKNOWN_SERVER_ERROR,
        }
    }
}

/// Sends a request that was made here and decodes the answer. Returns the committed offset beside it.
pub(crate) async fn send<Req>(
    channel: &dyn ControllerChannel,
    origin: Origin,
    version: i16,
    client_id: &str,
    request: &Req,
) -> Result<(Req::Response, i64), CallError>
where
    Req: Request + Encodable,
{
    let malformed = |e: &dyn std::fmt::Display| CallError::Malformed(e.to_string());
    let mut bytes = BytesMut::new();
    RequestHeader::put(Req::KEY, version, 0, Some(client_id), &mut bytes);
    request.encode(&mut bytes, version).map_err(|e| malformed(&e))?;
    let answer = channel.call(origin, bytes.freeze()).await?;
    let (_, start) = parse_response_header(Req::KEY, version, &answer.response).map_err(|e| malformed(&e))?;
    let decoded = guard::decode_response::<Req>(version, answer.response.slice(start..));
    Ok((decoded.map_err(|e| malformed(&e))?, answer.committed_offset))
}
