//! Zigzag variable-length integers, as records use them.
//!
//! Reading takes what Kafka's `ByteUtils` takes: at most 5 (10) bytes, of which the last may carry bits that fall off.

use bytes::BufMut;

/// Longest varint.
pub(super) const MAX_VARINT: u32 = 5;
/// Longest varlong.
pub(super) const MAX_VARLONG: u32 = 10;

/// Undoes the zigzag order.
pub(super) fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

/// Undoes the zigzag order in 32 bits: what is above them falls off.
pub(super) fn unzigzag32(value: u64) -> i32 {
    let value = value as u32;
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

/// Takes an integer of at most `max` bytes from the front of `bytes`; `None` if it is longer or not whole.
#[inline]
pub(super) fn take(bytes: &mut &[u8], max: u32) -> Option<u64> {
    let mut value = 0u64;
    for i in 0..max {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f).wrapping_shl(7 * i);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[inline]
pub(super) fn take_varint(bytes: &mut &[u8]) -> Option<i32> {
    take(bytes, MAX_VARINT).map(unzigzag32)
}

#[inline]
pub(super) fn take_varlong(bytes: &mut &[u8]) -> Option<i64> {
    take(bytes, MAX_VARLONG).map(unzigzag)
}

/// Appends a varint.
pub fn put_varint(value: i32, out: &mut impl BufMut) {
    put(u64::from(((value << 1) ^ (value >> 31)).cast_unsigned()), out);
}

/// Appends a varlong.
pub fn put_varlong(value: i64, out: &mut impl BufMut) {
    put(((value << 1) ^ (value >> 63)).cast_unsigned(), out);
}

fn put(mut value: u64, out: &mut impl BufMut) {
    while value >= 0x80 {
        out.put_u8((value as u8) | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Bytes that [`put_varint`] appends.
pub fn varint_size(value: i32) -> usize {
    size(u64::from(((value << 1) ^ (value >> 31)).cast_unsigned()))
}

/// Bytes that [`put_varlong`] appends.
pub fn varlong_size(value: i64) -> usize {
    size(((value << 1) ^ (value >> 63)).cast_unsigned())
}

fn size(value: u64) -> usize {
    (70 - (value | 1).leading_zeros() as usize) / 7
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_size() {
        for value in [0, -1, 1, 63, -64, 64, 8191, i32::MAX, i32::MIN] {
            let mut bytes = Vec::new();
            put_varint(value, &mut bytes);
            assert_eq!(bytes.len(), varint_size(value), "{value}");
            assert_eq!(take_varint(&mut &bytes[..]), Some(value));
        }
        for value in [0, -1, 1 << 34, -(1 << 41), i64::MAX, i64::MIN] {
            let mut bytes = Vec::new();
            put_varlong(value, &mut bytes);
            assert_eq!(bytes.len(), varlong_size(value), "{value}");
            assert_eq!(take_varlong(&mut &bytes[..]), Some(value));
        }
        assert_eq!(take_varint(&mut &[0x80; 5][..]), None);
        assert_eq!(take_varint(&mut &[0x80][..]), None);
        assert_eq!(take_varlong(&mut &[0xff; 11][..]), None);
    }
}
