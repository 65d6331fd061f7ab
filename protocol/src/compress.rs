//! The codecs of record batches, in the framing that Apache Kafka uses.
//!
//! | codec | written | read |
//! |---|---|---|
//! | gzip | one member | several members; what follows the last one is ignored |
//! | snappy | xerial blocks of 32 KiB | xerial, also concatenated, and one raw block (librdkafka) |
//! | lz4 | one frame, independent blocks of 64 KiB, no checksums | one frame, block checksums are checked; linked blocks are refused, as in Kafka; what follows is ignored |
//! | zstd | one frame with its size | several frames, windows to 2^27 |
//!
//! Invariants: no more comes out than the caller allows; memory beyond that is bounded by the codec (at most 4 MiB
//! for an lz4 block, the window of a zstd frame, 22 times its input for a raw snappy block), never by a number that
//! was read. Contexts and buffers are reused within a thread ([`with_decompressor`]).
//! Source: Kafka's `org.apache.kafka.common.compress`.

mod gzip;
mod lz4;
mod pieces;
mod snappy;
mod xxh32;
mod zstandard;

use std::cell::RefCell;

use bytes::BytesMut;

pub use pieces::{Decompressor, Pieces};

/// However small a batch is, it may decompress to so many bytes.
const ALWAYS_ALLOWED: usize = 16 * 1024 * 1024;
/// However large a batch is, it may decompress to no more bytes. Apache Kafka has no such bound.
pub const MAX_DECOMPRESSED: usize = 256 * 1024 * 1024;
/// How many times its size a batch of a client may decompress to, beyond 16 MiB. Producers of Java split a batch that
/// is refused as too large.
pub const CLIENT_RATIO: usize = 64;
/// The same for a batch in the log: another program may have let more in.
pub const LOG_RATIO: usize = 1024;

/// What so many compressed bytes may become: `ratio` times as many, between 16 and 256 MiB.
pub fn max_decompressed(compressed: usize, ratio: usize) -> usize {
    compressed.saturating_mul(ratio).clamp(ALWAYS_ALLOWED, MAX_DECOMPRESSED)
}

/// How the records of a batch are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Codec {
    /// Not at all.
    #[default]
    None,
    /// gzip (RFC 1952).
    Gzip,
    /// Snappy, with xerial framing.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// Zstandard; since Produce version 7.
    Zstd,
}

impl Codec {
    /// All of them, in the order of their ids.
    pub const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    /// The number in a batch's attributes.
    pub const fn id(self) -> u8 {
        match self {
            Codec::None => 0,
            Codec::Gzip => 1,
            Codec::Snappy => 2,
            Codec::Lz4 => 3,
            Codec::Zstd => 4,
        }
    }

    /// The codec with this number.
    pub fn from_id(id: u8) -> Option<Codec> {
        Codec::ALL.get(usize::from(id)).copied()
    }

    /// The name in configurations.
    pub const fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }

    /// The codec with this name; `uncompressed` (as in `compression.type`) is none, too.
    pub fn from_name(name: &str) -> Option<Codec> {
        if name == "uncompressed" {
            return Some(Codec::None);
        }
        Codec::ALL.into_iter().find(|codec| codec.name() == name)
    }
}

/// Why compressed bytes cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecompressError {
    /// The bytes end before the compressed data does.
    #[error("the {} data is cut off", .0.name())]
    Truncated(Codec),
    /// The bytes are not what the codec says.
    #[error("the {} data is corrupt: {reason}", codec.name())]
    Corrupt {
        /// The codec.
        codec: Codec,
        /// What is wrong.
        reason: &'static str,
    },
    /// More would come out than is allowed.
    #[error("the decompressed data exceeds the limit of {0} bytes")]
    TooLarge(usize),
    /// There is no codec with this number.
    #[error("unknown compression type id {0}")]
    Unsupported(i16),
}

thread_local! {
    static DECOMPRESSOR: RefCell<Decompressor> = RefCell::new(Decompressor::new());
}

/// Calls `f` with this thread's decompressor, or with a new one if `f` is called from within another such call.
pub fn with_decompressor<R>(f: impl FnOnce(&mut Decompressor) -> R) -> R {
    DECOMPRESSOR.with(|cell| match cell.try_borrow_mut() {
        Ok(mut decompressor) => f(&mut decompressor),
        Err(_) => f(&mut Decompressor::new()),
    })
}

/// Decompresses into a new buffer, at most `limit` bytes.
pub fn decompress(codec: Codec, input: &[u8], limit: usize) -> Result<Vec<u8>, DecompressError> {
    let mut out = Vec::new();
    decompress_into(codec, input, limit, &mut out)?;
    Ok(out)
}

/// Appends what `input` decompresses to, at most `limit` bytes. After an error `out` may hold a part of it.
pub fn decompress_into(
    codec: Codec,
    input: &[u8],
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), DecompressError> {
    with_decompressor(|decompressor| {
        let mut pieces = decompressor.pieces(codec, input, limit);
        loop {
            let piece = pieces.peek()?;
            let len = piece.len();
            if len == 0 {
                return Ok(());
            }
            out.extend_from_slice(piece);
            pieces.consume(len);
        }
    })
}

/// Compresses into a new buffer. `level` as in Kafka's configurations, `None` for the codec's default; out of range
/// counts as the nearest. LZ4 has one level here, snappy has none.
pub fn compress(codec: Codec, level: Option<i32>, input: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    compress_into(codec, level, input, &mut out);
    out
}

/// Appends what `input` compresses to. See [`compress`].
pub fn compress_into(codec: Codec, level: Option<i32>, input: &[u8], out: &mut BytesMut) {
    match codec {
        Codec::None => out.extend_from_slice(input),
        Codec::Gzip => gzip::compress(level, input, out),
        Codec::Snappy => snappy::compress(input, out),
        Codec::Lz4 => lz4::compress(input, out),
        Codec::Zstd => zstandard::compress(level, input, out),
    }
}

#[cfg(test)]
mod tests;
