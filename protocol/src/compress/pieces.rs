//! Decompression piece by piece through one buffer.

use super::{Codec, DecompressError, gzip, lz4, snappy, zstandard};

/// Size of a piece, where the codec has no blocks of its own.
pub(super) const PIECE: usize = 64 * 1024;
/// A larger buffer is given back after use.
const KEEP: usize = 4 * 1024 * 1024;

/// Contexts and a buffer, to be used again and again. One at a time.
#[derive(Default)]
pub struct Decompressor {
    /// Holds the current piece.
    pub(super) buffer: Vec<u8>,
    pub(super) inflate: Option<Box<flate2::Decompress>>,
    pub(super) zstd: Option<zstd::zstd_safe::DCtx<'static>>,
}

impl std::fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decompressor").field("buffer", &self.buffer.len()).finish_non_exhaustive()
    }
}

impl Decompressor {
    /// Without contexts: they are made when needed.
    pub fn new() -> Self {
        Decompressor::default()
    }

    /// What `input` decompresses to, at most `limit` bytes in all.
    pub fn pieces<'d>(&'d mut self, codec: Codec, input: &'d [u8], limit: usize) -> Pieces<'d> {
        let format = match codec {
            Codec::None => Format::Plain,
            Codec::Gzip => Format::Gzip(gzip::Reader::default()),
            Codec::Snappy => Format::Snappy(snappy::Reader::default()),
            Codec::Lz4 => Format::Lz4(lz4::Reader::default()),
            Codec::Zstd => Format::Zstd(zstandard::Reader::default()),
        };
        Pieces { tools: self, format, input, limit, left: limit, start: 0, end: 0 }
    }

    /// The first `len` bytes of the buffer, which grows as needed.
    pub(super) fn room(&mut self, len: usize) -> &mut [u8] {
        if self.buffer.len() < len {
            self.buffer.resize(len, 0);
        }
        &mut self.buffer[..len]
    }
}

/// Decompressed bytes, piece by piece.
#[derive(Debug)]
pub struct Pieces<'d> {
    tools: &'d mut Decompressor,
    format: Format,
    /// Not read yet.
    input: &'d [u8],
    limit: usize,
    left: usize,
    /// What of the buffer was not consumed yet.
    start: usize,
    end: usize,
}

#[derive(Debug)]
enum Format {
    Plain,
    Gzip(gzip::Reader),
    Snappy(snappy::Reader),
    Lz4(lz4::Reader),
    Zstd(zstandard::Reader),
}

impl Pieces<'_> {
    /// Bytes that were not consumed yet, at least one unless all were.
    #[inline]
    pub fn peek(&mut self) -> Result<&[u8], DecompressError> {
        if self.start < self.end {
            return Ok(&self.tools.buffer[self.start..self.end]);
        }
        self.refill()
    }

    /// Takes `len` bytes, at most as many as [`Pieces::peek`] returned.
    #[inline]
    pub fn consume(&mut self, len: usize) {
        if matches!(self.format, Format::Plain) {
            self.input = &self.input[len..];
        } else {
            self.start = (self.start + len).min(self.end);
        }
    }

    #[cold]
    fn refill(&mut self) -> Result<&[u8], DecompressError> {
        let Pieces { tools, input, .. } = self;
        let filled = match &mut self.format {
            Format::Plain => {
                return if input.len() > self.limit {
                    Err(DecompressError::TooLarge(self.limit))
                } else {
                    Ok(input)
                };
            }
            Format::Gzip(reader) => reader.fill(input, tools)?,
            Format::Snappy(reader) => match reader.fill(input, tools, self.left) {
                Err(DecompressError::TooLarge(_)) => return Err(DecompressError::TooLarge(self.limit)),
                result => result?,
            },
            Format::Lz4(reader) => reader.fill(input, tools)?,
            Format::Zstd(reader) => reader.fill(input, tools)?,
        };
        self.left = self.left.checked_sub(filled).ok_or(DecompressError::TooLarge(self.limit))?;
        (self.start, self.end) = (0, filled);
        Ok(&self.tools.buffer[..filled])
    }
}

impl Drop for Pieces<'_> {
    fn drop(&mut self) {
        if self.tools.buffer.len() > KEEP {
            self.tools.buffer = Vec::new();
        }
        if self.tools.zstd.as_ref().is_some_and(|context| context.sizeof() > 2 * KEEP) {
            self.tools.zstd = None;
        }
    }
}
