//! Numbers, choices and pieces of bytes out of a fuzzer's input. Nothing is left: zeros and empty pieces.

/// The input that was not used yet.
#[derive(Debug, Clone)]
pub(crate) struct Source<'a> {
    rest: &'a [u8],
}

impl<'a> Source<'a> {
    pub(crate) fn new(input: &'a [u8]) -> Self {
        Source { rest: input }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        *first
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// A number below `bound`, 0 if that is 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound.max(1)
    }

    /// At most `len` bytes.
    pub(crate) fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(len.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// A piece whose length, up to 2^16, is in the input.
    pub(crate) fn piece(&mut self) -> &'a [u8] {
        let len = usize::from(u16::from_be_bytes([self.byte(), self.byte()]));
        self.bytes(len)
    }

    /// A short text; what is no UTF-8 is replaced.
    pub(crate) fn text(&mut self) -> String {
        let len = self.below(32);
        String::from_utf8_lossy(self.bytes(len)).into_owned()
    }

    /// Eight bytes as a number.
    pub(crate) fn wide(&mut self) -> i64 {
        let mut field = [0; 8];
        for byte in &mut field {
            *byte = self.byte();
        }
        i64::from_be_bytes(field)
    }

    /// A number that is small as a rule, else one where arithmetic ends, else any.
    pub(crate) fn long(&mut self) -> i64 {
        match self.byte() {
            small @ 0..=239 => i64::from(small) - 2,
            240..=243 => i64::MAX - i64::from(self.byte()),
            244..=247 => i64::MIN + i64::from(self.byte()),
            248..=251 => i64::from(i32::MAX) + i64::from(self.byte().cast_signed()),
            _ => self.wide(),
        }
    }

    /// As [`Source::long`], in 32 bits.
    pub(crate) fn int(&mut self) -> i32 {
        match self.byte() {
            small @ 0..=239 => i32::from(small) - 2,
            240..=243 => i32::MAX - i32::from(self.byte()),
            244..=247 => i32::MIN + i32::from(self.byte()),
            _ => i32::from_be_bytes([self.byte(), self.byte(), self.byte(), self.byte()]),
        }
    }

    /// As [`Source::long`], in 16 bits.
    pub(crate) fn short(&mut self) -> i16 {
        match self.byte() {
            small @ 0..=247 => i16::from(small) - 2,
            _ => i16::from_be_bytes([self.byte(), self.byte()]),
        }
    }
}
