//! Fields of the Kafka protocol, written and read by hand where a generated message would copy records.
//!
//! Only Produce and the Fetch answer are done this way; every other API uses the generated messages.

use crate::context::NodeEndpoint;

/// Reads the fields of a request in order. Every method answers `None` once the bytes run out.
pub(crate) struct FieldReader<'a> {
    bytes: &'a [u8],
    at: usize,
    flexible: bool,
}

impl<'a> FieldReader<'a> {
    pub(crate) fn new(bytes: &'a [u8], at: usize, flexible: bool) -> Self {
        Self { bytes, at, flexible }
    }

    /// Where the next field begins.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let bytes = self.bytes.get(self.at..)?.get(..n)?;
        self.at += n;
        Some(bytes)
    }

    pub(crate) fn i16(&mut self) -> Option<i16> {
        Some(i16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    pub(crate) fn i32(&mut self) -> Option<i32> {
        Some(i32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    pub(crate) fn uuid(&mut self) -> Option<uuid::Uuid> {
        uuid::Uuid::from_slice(self.take(16)?).ok()
    }

    fn unsigned_varint(&mut self) -> Option<u32> {
        let mut value = 0u32;
        for shift in (0..35).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u32::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// Length of a string, byte string or array; `Some(None)` is null.
    fn length(&mut self, wide: bool) -> Option<Option<usize>> {
        if self.flexible {
            return Some((self.unsigned_varint()? as usize).checked_sub(1));
        }
        let length = if wide { self.i32()? } else { i32::from(self.i16()?) };
        Some(usize::try_from(length).ok())
    }

    /// Number of elements of an array, which must not be null. Not to be used to reserve memory.
    pub(crate) fn array(&mut self) -> Option<usize> {
        self.length(true)?
    }

    /// A string that may be null. Bytes that are not UTF-8 are refused.
    pub(crate) fn string(&mut self) -> Option<Option<&'a str>> {
        match self.length(false)? {
            Some(n) => Some(Some(std::str::from_utf8(self.take(n)?).ok()?)),
            None => Some(None),
        }
    }

    /// Where a byte string lies in the frame.
    pub(crate) fn bytes_range(&mut self) -> Option<Option<std::ops::Range<usize>>> {
        match self.length(true)? {
            Some(n) => {
                let start = self.at;
                self.take(n)?;
                Some(Some(start..start + n))
            }
            None => Some(None),
        }
    }

    /// Skips the tagged fields at the end of a structure.
    pub(crate) fn tags(&mut self) -> Option<()> {
        if self.flexible {
            for _ in 0..self.unsigned_varint()? {
                self.unsigned_varint()?;
                let size = self.unsigned_varint()?;
                self.take(size as usize)?;
            }
        }
        Some(())
    }
}

/// Writes the fields of an answer.
pub(crate) struct FieldWriter<'a> {
    out: &'a mut Vec<u8>,
    flexible: bool,
}

impl<'a> FieldWriter<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>, flexible: bool) -> Self {
        Self { out, flexible }
    }

    /// Where the next field begins.
    pub(crate) fn position(&self) -> usize {
        self.out.len()
    }

    pub(crate) fn i16(&mut self, v: i16) {
        self.out.extend_from_slice(&v.to_be_bytes());
    }

    pub(crate) fn i32(&mut self, v: i32) {
        self.out.extend_from_slice(&v.to_be_bytes());
    }

    pub(crate) fn i64(&mut self, v: i64) {
        self.out.extend_from_slice(&v.to_be_bytes());
    }

    pub(crate) fn uuid(&mut self, v: uuid::Uuid) {
        self.out.extend_from_slice(v.as_bytes());
    }

    pub(crate) fn unsigned_varint(&mut self, mut v: u32) {
        while v >= 0x80 {
            self.out.push(v as u8 | 0x80);
            v >>= 7;
        }
        self.out.push(v as u8);
    }

    fn length(&mut self, n: usize, wide: bool) {
        if self.flexible {
            self.unsigned_varint(n as u32 + 1);
        } else if wide {
            self.i32(n as i32);
        } else {
            self.i16(n as i16);
        }
    }

    fn null(&mut self, wide: bool) {
        if self.flexible {
            self.out.push(0);
        } else if wide {
            self.i32(-1);
        } else {
            self.i16(-1);
        }
    }

    /// Number of elements of an array, which follow.
    pub(crate) fn array(&mut self, n: usize) {
        self.length(n, true);
    }

    pub(crate) fn null_array(&mut self) {
        self.null(true);
    }

    /// Size of a byte string that follows in some other way.
    pub(crate) fn bytes_length(&mut self, n: usize) {
        self.length(n, true);
    }

    pub(crate) fn string(&mut self, v: &str) {
        self.length(v.len(), false);
        self.out.extend_from_slice(v.as_bytes());
    }

    pub(crate) fn nullable_string(&mut self, v: Option<&str>) {
        match v {
            Some(v) => self.string(v),
            None => self.null(false),
        }
    }

    /// No tagged fields.
    pub(crate) fn no_tags(&mut self) {
        if self.flexible {
            self.out.push(0);
        }
    }

    /// Number of tagged fields that follow; flexible versions only.
    pub(crate) fn tags(&mut self, n: u32) {
        debug_assert!(self.flexible, "tagged fields in an old version");
        self.unsigned_varint(n);
    }

    /// The tagged fields at the end of an answer of Produce or Fetch: where the leaders that it names are reached.
    pub(crate) fn node_endpoints(&mut self, endpoints: &[NodeEndpoint]) {
        if endpoints.is_empty() {
            self.no_tags();
            return;
        }
        self.tags(1);
        self.tag(0, |w| {
            w.array(endpoints.len());
            for endpoint in endpoints {
                w.i32(endpoint.node_id);
                w.string(&endpoint.host);
                w.i32(endpoint.port);
                w.nullable_string(endpoint.rack.as_deref());
                w.no_tags();
            }
        });
    }

    /// One tagged field, written by `body`.
    pub(crate) fn tag(&mut self, tag: u32, body: impl FnOnce(&mut FieldWriter<'_>)) {
        let mut value = Vec::new();
        body(&mut FieldWriter::new(&mut value, true));
        self.unsigned_varint(tag);
        self.unsigned_varint(value.len() as u32);
        self.out.extend_from_slice(&value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_must_not_be_null() {
        for (bytes, flexible, count) in [
            (&[0, 0, 0, 0][..], false, Some(0)),
            (&[0xff, 0xff, 0xff, 0xff], false, None),
            (&[1], true, Some(0)),
            (&[0], true, None),
        ] {
            assert_eq!(FieldReader::new(bytes, 0, flexible).array(), count, "{bytes:?}");
        }
    }
}
