//! Snappy: xerial framing (`SnappyOutputStream` of snappy-java), or one raw block.
//!
//! The frame: magic, version and oldest compatible version (big-endian 1), then blocks with their length. A block
//! whose length is the start of the magic begins a concatenated frame.

use bytes::{BufMut, BytesMut};

use super::pieces::Decompressor;
use super::{Codec, DecompressError};

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const HEADER: usize = 16;
/// Bytes before compression of a written block: snappy-java's default.
const BLOCK: usize = 32 * 1024;
/// No element of the format turns a byte into more than 64 / 3.
const MAX_RATIO: usize = 22;

fn corrupt(reason: &'static str) -> DecompressError {
    DecompressError::Corrupt { codec: Codec::Snappy, reason }
}

#[derive(Debug, Default)]
pub(super) struct Reader {
    framed: Option<bool>,
}

impl Reader {
    /// Puts the next block into the buffer; 0 at the end. A block of more than `limit` bytes is refused.
    pub(super) fn fill(
        &mut self,
        input: &mut &[u8],
        tools: &mut Decompressor,
        limit: usize,
    ) -> Result<usize, DecompressError> {
        let framed = match self.framed {
            Some(framed) => framed,
            None => {
                let framed = input.len() >= HEADER && input.starts_with(&MAGIC);
                if framed {
                    skip_header(input)?;
                }
                *self.framed.insert(framed)
            }
        };
        if !framed {
            let block = std::mem::take(input);
            return if block.is_empty() { Ok(0) } else { unpack(block, tools, limit) };
        }
        while let Some((len, rest)) = input.split_first_chunk::<4>() {
            if *len == MAGIC[..4] {
                skip_header(input)?;
                continue;
            }
            let len =
                usize::try_from(i32::from_be_bytes(*len)).map_err(|_| corrupt("negative block length"))?;
            let (block, rest) =
                rest.split_at_checked(len).ok_or(DecompressError::Truncated(Codec::Snappy))?;
            *input = rest;
            let filled = unpack(block, tools, limit)?;
            if filled > 0 {
                return Ok(filled);
            }
        }
        Ok(0)
    }
}

fn skip_header(input: &mut &[u8]) -> Result<(), DecompressError> {
    let (header, rest) =
        input.split_first_chunk::<HEADER>().ok_or(DecompressError::Truncated(Codec::Snappy))?;
    if header[..8] != MAGIC || header[8..12] < [0, 0, 0, 1][..] {
        return Err(corrupt("incompatible frame"));
    }
    *input = rest;
    Ok(())
}

fn unpack(block: &[u8], tools: &mut Decompressor, limit: usize) -> Result<usize, DecompressError> {
    let len = snap::raw::decompress_len(block).map_err(|_| corrupt("invalid block length"))?;
    if len / MAX_RATIO > block.len() {
        return Err(corrupt("impossible block length"));
    }
    if len > limit {
        return Err(DecompressError::TooLarge(limit));
    }
    snap::raw::Decoder::new().decompress(block, tools.room(len)).map_err(|_| corrupt("invalid block"))
}

/// Appends a frame.
pub(super) fn compress(input: &[u8], out: &mut BytesMut) {
    out.extend_from_slice(&MAGIC);
    out.put_i32(1);
    out.put_i32(1);
    let mut encoder = snap::raw::Encoder::new();
    let mut block = vec![0; snap::raw::max_compress_len(input.len().min(BLOCK))];
    for chunk in input.chunks(BLOCK) {
        let len = encoder.compress(chunk, &mut block).expect("the block has room for any chunk");
        out.put_u32(len as u32);
        out.extend_from_slice(&block[..len]);
    }
}
