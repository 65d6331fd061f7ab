//! LZ4 frames, as Kafka's `Lz4BlockInputStream` and `Lz4BlockOutputStream` take and make them (KIP-57).

use bytes::{BufMut, BytesMut};
use lz4_flex::block;

use super::pieces::Decompressor;
use super::xxh32::xxh32;
use super::{Codec, DecompressError};

const MAGIC: u32 = 0x184D_2204;
/// In a block's length: the block is stored as it is.
const STORED: u32 = 1 << 31;
const CONTENT_CHECKSUM: u8 = 1 << 2;
const CONTENT_SIZE: u8 = 1 << 3;
const BLOCK_CHECKSUM: u8 = 1 << 4;
const INDEPENDENT: u8 = 1 << 5;
const VERSION: u8 = 1 << 6;
/// Descriptor of what is written: independent blocks of 64 KiB.
const WRITTEN: [u8; 2] = [VERSION | INDEPENDENT, 4 << 4];
const BLOCK: usize = 64 * 1024;
/// No sequence turns a byte into more.
const MAX_RATIO: usize = 255;
const TRUNCATED: DecompressError = DecompressError::Truncated(Codec::Lz4);

fn corrupt(reason: &'static str) -> DecompressError {
    DecompressError::Corrupt { codec: Codec::Lz4, reason }
}

#[derive(Debug, Default)]
pub(super) struct Reader {
    frame: Option<Frame>,
    done: bool,
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    max_block: usize,
    block_checksum: bool,
}

impl Reader {
    /// Puts the next block into the buffer; 0 at the end.
    pub(super) fn fill(
        &mut self,
        input: &mut &[u8],
        tools: &mut Decompressor,
    ) -> Result<usize, DecompressError> {
        while !self.done {
            let frame = match self.frame {
                Some(frame) => frame,
                None => *self.frame.insert(take_header(input)?),
            };
            let word = take_u32(input)?;
            if word & !STORED == 0 {
                // Kafka reads the content checksum without checking it; the batch's CRC covers the bytes.
                self.done = true;
                break;
            }
            let filled = take_block(frame, word, input, tools)?;
            if filled > 0 {
                return Ok(filled);
            }
        }
        Ok(0)
    }
}

fn take_u32(input: &mut &[u8]) -> Result<u32, DecompressError> {
    let (word, rest) = input.split_first_chunk::<4>().ok_or(TRUNCATED)?;
    *input = rest;
    Ok(u32::from_le_bytes(*word))
}

fn take_header(input: &mut &[u8]) -> Result<Frame, DecompressError> {
    if take_u32(input)? != MAGIC {
        return Err(corrupt("not a frame"));
    }
    let [flags, sizes, ..] = **input else { return Err(TRUNCATED) };
    if flags & 0xC3 != VERSION {
        return Err(corrupt("unsupported version or reserved bits"));
    }
    if flags & INDEPENDENT == 0 {
        return Err(corrupt("dependent block stream is unsupported"));
    }
    let id = sizes >> 4;
    if sizes & 0x8F != 0 || id < 4 {
        return Err(corrupt("unsupported block size"));
    }
    let len = if flags & CONTENT_SIZE == 0 { 2 } else { 10 };
    let (descriptor, rest) = input.split_at_checked(len).ok_or(TRUNCATED)?;
    let (&checksum, rest) = rest.split_first().ok_or(TRUNCATED)?;
    if checksum != descriptor_checksum(descriptor) {
        return Err(corrupt("descriptor checksum mismatch"));
    }
    *input = rest;
    Ok(Frame { max_block: 1 << (2 * id + 8), block_checksum: flags & BLOCK_CHECKSUM != 0 })
}

fn take_block(
    frame: Frame,
    word: u32,
    input: &mut &[u8],
    tools: &mut Decompressor,
) -> Result<usize, DecompressError> {
    let len = (word & !STORED) as usize;
    if len > frame.max_block {
        return Err(corrupt("block size exceeds the maximum"));
    }
    let (block, rest) = input.split_at_checked(len).ok_or(TRUNCATED)?;
    *input = rest;
    if frame.block_checksum && take_u32(input)? != xxh32(block) {
        return Err(corrupt("block checksum mismatch"));
    }
    if word & STORED != 0 {
        tools.room(len).copy_from_slice(block);
        return Ok(len);
    }
    let room = tools.room(frame.max_block.min(len * MAX_RATIO + 64));
    block::decompress_into(block, room).map_err(|_| corrupt("invalid block"))
}

fn descriptor_checksum(descriptor: &[u8]) -> u8 {
    (xxh32(descriptor) >> 8) as u8
}

/// Appends a frame.
pub(super) fn compress(input: &[u8], out: &mut BytesMut) {
    out.put_u32_le(MAGIC);
    out.extend_from_slice(&WRITTEN);
    out.put_u8(descriptor_checksum(&WRITTEN));
    let mut packed = vec![0; block::get_maximum_output_size(input.len().min(BLOCK))];
    for chunk in input.chunks(BLOCK) {
        match block::compress_into(chunk, &mut packed) {
            Ok(len) if len < chunk.len() => {
                out.put_u32_le(len as u32);
                out.extend_from_slice(&packed[..len]);
            }
            _ => {
                out.put_u32_le(chunk.len() as u32 | STORED);
                out.extend_from_slice(chunk);
            }
        }
    }
    out.put_u32_le(0);
}

const _: () = assert!(WRITTEN[0] & (CONTENT_CHECKSUM | CONTENT_SIZE | BLOCK_CHECKSUM) == 0);
