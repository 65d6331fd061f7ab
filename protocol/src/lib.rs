//! Kafka's bytes: requests, responses, records and batches, in and out.
//!
//! Everything here is a pure function of its arguments: no IO, no clock, no randomness. Bytes that come from
//! outside are checked before anything is allocated for them ([`guard`] for requests, [`wire`] for
//! records).
//! This is the only crate that names `kafka-protocol`; the others use its messages through [`messages`].

mod each_request;
#[macro_use]
mod message;

pub mod batch;
pub mod compress;
pub mod control;
pub mod error_code;
pub mod features;
pub mod frame;
pub mod guard;
pub mod id;
pub mod offsets;
pub mod records;
pub mod repeats;
pub mod request;
pub mod versions;
pub mod wire;

pub use error_code::ErrorCode;
pub use id::{base64_id, parse_base64_id};

/// The request and response structs, one per Kafka API, encoded and decoded per version.
pub use kafka_protocol::messages;
/// What [`Decodable`] reads from: `Bytes`, `BytesMut` or a slice.
pub use kafka_protocol::protocol::buf::ByteBuf;
/// The traits of [`messages`], and their string type: UTF-8 that shares the frame it was read from.
pub use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, Request, StrBytes};
