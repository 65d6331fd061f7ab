//! Walks a request's bytes before they are decoded, so that decoding cannot exhaust memory or panic.
//!
//! `kafka-protocol` reserves room for as many elements as a count claims: four bytes can ask for 150 GB, which
//! ends the process. The guard goes through the body by a table of shapes (`guard/shape.rs`): every length and count
//! must fit the bytes that are left, and every element must really be there.
//!
//! What remains is honest amplification: an element of two bytes may become a struct of eighty in memory, and
//! a tagged field that is not known a node of a tree. The guard adds these up and refuses a body whose
//! decoding would take more than [`MAX_AMPLIFICATION`] times its length plus [`ALLOWANCE`], or more than
//! [`LARGE_AMPLIFICATION`] times its length plus [`LARGE_ALLOWANCE`]; no request of a client comes near. The sum is
//! handed out for budgets of memory.
//!
//! The guard allocates nothing, and its recursion is as deep as the table.

use kafka_protocol::protocol::buf::ByteBuf;
use kafka_protocol::protocol::{Decodable, Request as KafkaRequest};

use crate::versions::is_flexible;
use crate::wire::{DecodeError, Form, Reader};

mod cluster;
mod controller;
mod data;
mod embedded;
mod groups;
mod responses;
mod security;
mod shape;
mod share;
#[cfg(test)]
mod tests;
mod topics;
mod transactions;

pub use embedded::Embedded;
use shape::{Field, Request, Shape};

/// How many bytes of memory each byte of a request may become.
pub const MAX_AMPLIFICATION: usize = 64;
/// How many bytes of memory a request may become beyond that, so that a small one may have unknown tags.
pub const ALLOWANCE: usize = 16 * 1024;
/// How many bytes of memory each byte of a large request may become.
pub const LARGE_AMPLIFICATION: usize = 4;
/// How many bytes of memory a large request may become beyond that: some hundred thousand short names.
pub const LARGE_ALLOWANCE: usize = 8 * 1024 * 1024;

// What a map of unknown tagged fields takes for its first node, and for each entry when nodes are half full.
const TAG_NODE: usize = 512;
const TAG_ENTRY: usize = 96;

/// What the guard found out about a request that may be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// The length of the body. Bytes after it are let be, as Apache Kafka does.
    pub body_len: usize,
    /// An upper bound of what decoding allocates, in bytes, beside the frame itself.
    pub decoded_bytes: usize,
}

/// Why a request must not be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    /// There is no request of this key and version that can be decoded.
    #[error("no request of key {key} and version {version} is known")]
    Unknown {
        /// The API key.
        key: i16,
        /// The API version.
        version: i16,
    },
    /// The bytes are not such a request.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    /// The decoder refuses what the shape allows: null where it must not be, or text that is not UTF-8.
    #[error("a field of the request cannot be decoded")]
    Undecodable,
    /// Decoding would take far more memory than the request's length warrants.
    #[error("a request of {len} bytes would take {decoded_bytes} bytes of memory")]
    Amplified {
        /// The length of the body in bytes.
        len: usize,
        /// What decoding would allocate, in bytes.
        decoded_bytes: usize,
    },
}

/// Checks the body of a request, the bytes after its header, before it is decoded in `version`.
pub fn check(key: i16, version: i16, body: &[u8]) -> Result<Checked, GuardError> {
    let unknown = GuardError::Unknown { key, version };
    let request = usize::try_from(key).ok().and_then(|at| *BY_KEY.get(at)?).ok_or(unknown.clone())?;
    if version < request.min || version > request.max {
        return Err(unknown);
    }
    walk(Form { version, flexible: is_flexible(key, version) }, request.fields, body)
}

/// Checks the body of a request and decodes it. Bytes after it are let be.
///
/// From a `Bytes`, strings and records of the request are parts of it; from a slice they are copied.
pub fn decode<T: KafkaRequest>(version: i16, mut body: impl ByteBuf + AsRef<[u8]>) -> Result<T, GuardError> {
    check(T::KEY, version, body.as_ref())?;
    T::decode(&mut body, version).map_err(|_| GuardError::Undecodable)
}

/// Checks the body of a response to a request of this node, before it is decoded in `version`: the same bounds hold for
/// what other nodes answer. Only the responses that a node reads are known.
pub fn check_response(key: i16, version: i16, body: &[u8]) -> Result<Checked, GuardError> {
    let shape = responses::RESPONSES.iter().find(|response| response.key == key);
    let shape = shape.filter(|response| (response.min..=response.max).contains(&version));
    let shape = shape.ok_or(GuardError::Unknown { key, version })?;
    walk(Form { version, flexible: is_flexible(key, version) }, shape.fields, body)
}

/// Checks the body of the response to a `Q` and decodes it. Bytes after it are let be.
pub fn decode_response<Q: KafkaRequest>(
    version: i16,
    mut body: impl ByteBuf + AsRef<[u8]>,
) -> Result<Q::Response, GuardError> {
    check_response(Q::KEY, version, body.as_ref())?;
    Q::Response::decode(&mut body, version).map_err(|_| GuardError::Undecodable)
}

/// Checks a message that travels as bytes inside a request, before it is decoded in `version`.
///
/// `bytes` starts after the version. A higher version than is known is checked as the highest known one.
pub fn check_embedded(message: Embedded, version: i16, bytes: &[u8]) -> Result<Checked, GuardError> {
    let version = version.min(embedded::MAX_VERSION);
    walk(Form { version, flexible: false }, message.fields(), bytes)
}

fn walk(form: Form, fields: &[Field], bytes: &[u8]) -> Result<Checked, GuardError> {
    let mut walk = Walk { form, input: Reader::new(bytes), decoded_bytes: 0 };
    walk.fields(fields)?;
    let (len, decoded_bytes) = (bytes.len(), walk.decoded_bytes);
    if decoded_bytes > max_decoded(len) {
        return Err(GuardError::Amplified { len, decoded_bytes });
    }
    Ok(Checked { body_len: len - walk.input.left(), decoded_bytes })
}

/// What a body of this length may become in memory.
fn max_decoded(len: usize) -> usize {
    let small = len.saturating_mul(MAX_AMPLIFICATION).saturating_add(ALLOWANCE);
    small.min(len.saturating_mul(LARGE_AMPLIFICATION).saturating_add(LARGE_ALLOWANCE))
}

struct Walk<'a> {
    form: Form,
    input: Reader<'a>,
    decoded_bytes: usize,
}

impl Walk<'_> {
    fn fields(&mut self, fields: &[Field]) -> Result<(), DecodeError> {
        for field in fields {
            if field.tag.is_none() && field.is_in(self.form.version) {
                self.value(&field.shape)?;
            }
        }
        if self.form.flexible { self.tagged(fields) } else { Ok(()) }
    }

    fn value(&mut self, shape: &Shape) -> Result<(), DecodeError> {
        match *shape {
            Shape::Fixed(size) => self.input.bytes(size).map(drop),
            Shape::Str => self.bytes(true),
            Shape::Bytes => self.bytes(false),
            Shape::List(element) => {
                let count = self.count(element.memory())?;
                if let Shape::Fixed(size) = element.shape {
                    return self.input.bytes(count.saturating_mul(size)).map(drop);
                }
                (0..count).try_for_each(|_| self.value(&element.shape))
            }
            Shape::Structs(fields, memory) => {
                let count = self.count(memory)?;
                (0..count).try_for_each(|_| self.fields(fields))
            }
            Shape::Object(fields) => self.fields(fields),
            Shape::NullableObject(fields) => match self.input.array()? {
                [1] => self.fields(fields),
                _ => Ok(()),
            },
        }
    }

    fn bytes(&mut self, short: bool) -> Result<(), DecodeError> {
        let len = self.input.length(self.form, short)?.unwrap_or(0);
        // In case the decoder is given a slice and has to copy.
        self.decoded_bytes = self.decoded_bytes.saturating_add(len);
        self.input.bytes(len).map(drop)
    }

    fn count(&mut self, memory: usize) -> Result<usize, DecodeError> {
        let count = self.input.length(self.form, false)?.unwrap_or(0);
        self.decoded_bytes = self.decoded_bytes.saturating_add(count.saturating_mul(memory));
        Ok(count)
    }

    fn tagged(&mut self, fields: &[Field]) -> Result<(), DecodeError> {
        let mut unknown = 0usize;
        for _ in 0..self.input.uvarint()? {
            let tag = self.input.uvarint()?;
            if i32::try_from(tag).is_err() {
                // The decoder counts such a one and loses it. No client sends it.
                return Err(DecodeError::Length(tag.into()));
            }
            let size = self.input.uvarint()? as usize;
            let Some(field) = fields.iter().find(|field| field.tag == Some(tag)) else {
                self.decoded_bytes = self.decoded_bytes.saturating_add(size);
                self.input.bytes(size)?;
                unknown += 1;
                continue;
            };
            // The decoder reads a known field without regard to its size.
            let rest = self.input.left().checked_sub(size).ok_or(DecodeError::Truncated)?;
            self.value(&field.shape)?;
            if self.input.left() != rest {
                return Err(DecodeError::Length(size as i64));
            }
        }
        if unknown > 0 {
            let tree = unknown.saturating_mul(TAG_ENTRY).saturating_add(TAG_NODE);
            self.decoded_bytes = self.decoded_bytes.saturating_add(tree);
        }
        Ok(())
    }
}

const GROUPS: [&[Request]; 8] = [
    data::REQUESTS,
    groups::REQUESTS,
    transactions::REQUESTS,
    topics::REQUESTS,
    cluster::REQUESTS,
    security::REQUESTS,
    controller::REQUESTS,
    share::REQUESTS,
];

static BY_KEY: [Option<&Request>; 93] = {
    let mut table: [Option<&Request>; 93] = [None; 93];
    let mut group = 0;
    while group < GROUPS.len() {
        let mut at = 0;
        while at < GROUPS[group].len() {
            let request = &GROUPS[group][at];
            assert!(table[request.key as usize].is_none(), "a request stands in the table twice");
            table[request.key as usize] = Some(request);
            at += 1;
        }
        group += 1;
    }
    table
};
