//! How the broker reaches the active controller.
//!
//! Requests travel as Kafka frames (header and body), so that a controller in the same process and one across the
//! network look the same, and so that an admin request is forwarded as the very bytes that the client sent.

use std::future::Future;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use protocol::messages::{RequestHeader, ResponseHeader};
use protocol::{Decodable, Encodable, ErrorCode, HeaderVersion, StrBytes};

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

/// A way to the active controller.
pub trait ControllerChannel: Send + Sync + 'static {
    /// Sends one request, header and body.
    fn call(&self, request: Bytes) -> ControllerCall;
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

/// Sends a request of this broker's own and decodes the answer. Returns the committed offset beside it.
pub(crate) async fn send<Req, Res>(
    channel: &dyn ControllerChannel,
    api_key: i16,
    version: i16,
    client_id: &str,
    request: &Req,
) -> Result<(Res, i64), CallError>
where
    Req: Encodable + HeaderVersion,
    Res: Decodable + HeaderVersion,
{
    let malformed = |e: &dyn std::fmt::Display| CallError::Malformed(e.to_string());
    let header = RequestHeader::default()
        .with_request_api_key(api_key)
        .with_request_api_version(version)
        .with_client_id(Some(StrBytes::from_string(client_id.to_owned())));
    let mut bytes = BytesMut::new();
    header.encode(&mut bytes, Req::header_version(version)).map_err(|e| malformed(&e))?;
    request.encode(&mut bytes, version).map_err(|e| malformed(&e))?;
    let answer = channel.call(bytes.freeze()).await?;
    let mut response = answer.response;
    ResponseHeader::decode(&mut response, Res::header_version(version)).map_err(|e| malformed(&e))?;
    let decoded = Res::decode(&mut response, version).map_err(|e| malformed(&e))?;
    Ok((decoded, answer.committed_offset))
}
