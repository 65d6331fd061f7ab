//! Zstandard frames.

use bytes::BytesMut;
use zstd::zstd_safe::{self, DCtx, InBuffer, OutBuffer};

use super::pieces::{Decompressor, PIECE};
use super::{Codec, DecompressError};

/// Kafka's default level.
const DEFAULT_LEVEL: i32 = 3;

#[derive(Debug, Default)]
pub(super) struct Reader {
    state: State,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Start,
    /// Within a frame, or with output that waits for room.
    Inside,
    Between,
}

impl Reader {
    /// Puts the next piece into the buffer; 0 at the end.
    pub(super) fn fill(
        &mut self,
        input: &mut &[u8],
        tools: &mut Decompressor,
    ) -> Result<usize, DecompressError> {
        tools.room(PIECE);
        let Decompressor { buffer, zstd, .. } = tools;
        let context = zstd.get_or_insert_with(DCtx::create);
        if self.state == State::Start {
            context.init().map_err(error)?;
            self.state = State::Inside;
        }
        while !(self.state == State::Between && input.is_empty()) {
            let mut source = InBuffer::around(input);
            let mut target = OutBuffer::around(&mut buffer[..PIECE]);
            let hint = context.decompress_stream(&mut target, &mut source).map_err(error)?;
            let (taken, filled) = (source.pos(), target.pos());
            *input = &input[taken..];
            self.state = if hint == 0 { State::Between } else { State::Inside };
            if filled > 0 {
                return Ok(filled);
            }
            if hint != 0 && input.is_empty() {
                return Err(DecompressError::Truncated(Codec::Zstd));
            }
        }
        Ok(0)
    }
}

fn error(code: zstd_safe::ErrorCode) -> DecompressError {
    DecompressError::Corrupt { codec: Codec::Zstd, reason: zstd_safe::get_error_name(code) }
}

/// Appends a frame. Kafka's levels: -131072 to 22.
pub(super) fn compress(level: Option<i32>, input: &[u8], out: &mut BytesMut) {
    let level = level.unwrap_or(DEFAULT_LEVEL).clamp(zstd_safe::min_c_level(), zstd_safe::max_c_level());
    let start = out.len();
    out.resize(start + zstd_safe::compress_bound(input.len()), 0);
    let len = zstd_safe::compress(&mut out[start..], input, level)
        .expect("the level is in range and the output has room for any input");
    out.truncate(start + len);
}
