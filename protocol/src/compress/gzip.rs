//! gzip: members one after the other, read as Java's `GZIPInputStream` reads them.

use std::io::Write;

use bytes::{BufMut, BytesMut};
use flate2::{Compression, Crc, Decompress, FlushDecompress, Status};

use super::pieces::{Decompressor, PIECE};
use super::{Codec, DecompressError};

const FHCRC: u8 = 2;
const FEXTRA: u8 = 4;
const FNAME: u8 = 8;
const FCOMMENT: u8 = 16;
const TRUNCATED: DecompressError = DecompressError::Truncated(Codec::Gzip);

fn corrupt(reason: &'static str) -> DecompressError {
    DecompressError::Corrupt { codec: Codec::Gzip, reason }
}

#[derive(Debug, Default)]
pub(super) struct Reader {
    state: State,
    crc: Crc,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    FirstHeader,
    Body,
    Done,
}

impl Reader {
    /// Puts the next piece into the buffer; 0 at the end.
    pub(super) fn fill(
        &mut self,
        input: &mut &[u8],
        tools: &mut Decompressor,
    ) -> Result<usize, DecompressError> {
        if self.state == State::FirstHeader {
            self.begin(input, tools)?;
        }
        while self.state == State::Body {
            tools.room(PIECE);
            let Decompressor { buffer, inflate, .. } = tools;
            let inflate = inflate.get_or_insert_with(|| Box::new(Decompress::new(false)));
            let (in_before, out_before) = (inflate.total_in(), inflate.total_out());
            let status = inflate
                .decompress(input, &mut buffer[..PIECE], FlushDecompress::None)
                .map_err(|_| corrupt("invalid deflate stream"))?;
            *input = &input[(inflate.total_in() - in_before) as usize..];
            let filled = (inflate.total_out() - out_before) as usize;
            self.crc.update(&buffer[..filled]);
            if status == Status::StreamEnd {
                self.end(input, tools)?;
            } else if filled == 0 && input.is_empty() {
                return Err(TRUNCATED);
            } else if filled == 0 && inflate.total_in() == in_before {
                return Err(corrupt("no progress"));
            }
            if filled > 0 {
                return Ok(filled);
            }
        }
        Ok(0)
    }

    fn begin(&mut self, input: &mut &[u8], tools: &mut Decompressor) -> Result<(), DecompressError> {
        *input = &input[header_len(input)?..];
        if let Some(inflate) = &mut tools.inflate {
            inflate.reset(false);
        }
        self.crc = Crc::new();
        self.state = State::Body;
        Ok(())
    }

    /// Checks the trailer; goes on if another member follows. Anything else that follows is ignored.
    fn end(&mut self, input: &mut &[u8], tools: &mut Decompressor) -> Result<(), DecompressError> {
        let (trailer, rest) = input.split_first_chunk::<8>().ok_or(TRUNCATED)?;
        let [a, b, c, d, e, f, g, h] = *trailer;
        if u32::from_le_bytes([a, b, c, d]) != self.crc.sum()
            || u32::from_le_bytes([e, f, g, h]) != self.crc.amount()
        {
            return Err(corrupt("wrong trailer"));
        }
        *input = rest;
        if rest.is_empty() || self.begin(input, tools).is_err() {
            self.state = State::Done;
        }
        Ok(())
    }
}

/// Length of the member header at the front of `input`.
fn header_len(input: &[u8]) -> Result<usize, DecompressError> {
    let (fixed, rest) = input.split_first_chunk::<10>().ok_or(TRUNCATED)?;
    if fixed[..2] != [0x1f, 0x8b] {
        return Err(corrupt("not in GZIP format"));
    }
    if fixed[2] != 8 {
        return Err(corrupt("unsupported compression method"));
    }
    let (flags, mut left) = (fixed[3], rest);
    if flags & FEXTRA != 0 {
        let (len, after) = left.split_first_chunk::<2>().ok_or(TRUNCATED)?;
        left = after.get(usize::from(u16::from_le_bytes(*len))..).ok_or(TRUNCATED)?;
    }
    for flag in [FNAME, FCOMMENT] {
        if flags & flag != 0 {
            let end = left.iter().position(|&byte| byte == 0).ok_or(TRUNCATED)?;
            left = &left[end + 1..];
        }
    }
    if flags & FHCRC != 0 {
        left = left.get(2..).ok_or(TRUNCATED)?;
    }
    Ok(input.len() - left.len())
}

/// Appends one member. Kafka's levels: 1 to 9, or -1 for the default.
pub(super) fn compress(level: Option<i32>, input: &[u8], out: &mut BytesMut) {
    let level = match level {
        None | Some(-1) => Compression::default(),
        Some(level) => Compression::new(level.clamp(1, 9).cast_unsigned()),
    };
    let mut encoder = flate2::write::GzEncoder::new(out.writer(), level);
    encoder
        .write_all(input)
        .and_then(|()| encoder.finish().map(drop))
        .expect("writing to memory cannot fail");
}
