//! The primitive encodings that records and headers are made of.
//!
//! A message is read and written in a [`Form`]: its version, and whether that version is "flexible" (KIP-482:
//! compact lengths and tagged fields). Reading never allocates by a count or length that the remaining bytes
//! cannot bear.

use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

/// Why bytes are not the message that they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end inside a field.
    #[error("the bytes end inside a field")]
    Truncated,
    /// A length or count that is negative, or more than the bytes that are left can hold.
    #[error("length {0} is out of bounds")]
    Length(i64),
    /// A string is not UTF-8.
    #[error("a string is not UTF-8")]
    NotUtf8,
    /// Null where the field must have a value.
    #[error("null in a field that cannot be null")]
    Null,
    /// A variable-length integer of more bytes than its type has room for.
    #[error("a variable-length integer is too long")]
    VarintTooLong,
    /// The message has no such version.
    #[error("{message} has no version {version}")]
    Version {
        /// The message's name.
        message: &'static str,
        /// The version that was asked for.
        version: i16,
    },
    /// Bytes are left after the message, or after a tagged field within its declared size.
    #[error("{0} bytes are left over")]
    Trailing(usize),
}

/// Why a message cannot be written in the version that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The message has no such version.
    #[error("{message} has no version {version}")]
    Version {
        /// The message's name.
        message: &'static str,
        /// The version that was asked for.
        version: i16,
    },
    /// A field is set that the version cannot carry: writing would lose it.
    #[error("version {version} cannot carry the field {field}")]
    FieldNotInVersion {
        /// The field's name.
        field: &'static str,
        /// The version that was asked for.
        version: i16,
    },
    /// A string, byte string or list is longer than its length field can say.
    #[error("length {0} does not fit its length field")]
    TooLong(usize),
}

/// How a message is laid out: its version, and whether compact lengths and tagged fields are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// The message's version.
    pub version: i16,
    /// Whether this version is flexible.
    pub flexible: bool,
}

/// A value with a Kafka encoding.
pub trait Wire: Sized {
    /// Whether a tagged field is left out when it has its default value.
    const OMIT_DEFAULT: bool = true;

    /// Appends the value to `out`.
    fn put(&self, form: Form, out: &mut BytesMut) -> Result<(), EncodeError>;
    /// Takes the value from the front of `input`.
    fn take(form: Form, input: &mut Reader<'_>) -> Result<Self, DecodeError>;
}

/// Bytes read from the front; every read checks what is left.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The bytes that have not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The number of bytes that have not been read.
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// The next `len` bytes.
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes, for the big-endian integers.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// An unsigned variable-length integer of at most 32 bits.
    pub fn uvarint(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array::<1>()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::VarintTooLong)
    }

    /// The length of a string, byte string or list, `None` for null.
    ///
    /// `short` is the size of the length field outside flexible versions: 2 for strings, 4 otherwise.
    pub(crate) fn length(&mut self, form: Form, short: bool) -> Result<Option<usize>, DecodeError> {
        let len = match (form.flexible, short) {
            (true, _) => i64::from(self.uvarint()?) - 1,
            (false, true) => i64::from(i16::from_be_bytes(self.array()?)),
            (false, false) => i64::from(i32::from_be_bytes(self.array()?)),
        };
        match usize::try_from(len) {
            // Every element takes at least a byte.
            Ok(len) if len <= self.left() => Ok(Some(len)),
            Err(_) if len == -1 => Ok(None),
            _ => Err(DecodeError::Length(len)),
        }
    }
}

/// Appends an unsigned variable-length integer.
pub fn put_uvarint(mut value: u32, out: &mut BytesMut) {
    while value >= 0x80 {
        out.put_u8((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

fn put_length(len: Option<usize>, short: bool, form: Form, out: &mut BytesMut) -> Result<(), EncodeError> {
    let too_long = || EncodeError::TooLong(len.unwrap_or(0));
    if form.flexible {
        let plus_one = len.map_or(Ok(0), |len| u32::try_from(len + 1)).map_err(|_| too_long())?;
        put_uvarint(plus_one, out);
    } else if short {
        out.put_i16(len.map_or(Ok(-1), i16::try_from).map_err(|_| too_long())?);
    } else {
        out.put_i32(len.map_or(Ok(-1), i32::try_from).map_err(|_| too_long())?);
    }
    Ok(())
}

macro_rules! integers {
    ($($type:ty),+) => {$(
        impl Wire for $type {
            fn put(&self, _: Form, out: &mut BytesMut) -> Result<(), EncodeError> {
                out.put_slice(&self.to_be_bytes());
                Ok(())
            }
            fn take(_: Form, input: &mut Reader<'_>) -> Result<Self, DecodeError> {
                Ok(Self::from_be_bytes(input.array()?))
            }
        }
    )+};
}
integers!(i8, i16, i32, i64, u16, f64);

impl Wire for bool {
    fn put(&self, _: Form, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.put_u8(u8::from(*self));
        Ok(())
    }
    fn take(_: Form, input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(input.array::<1>()? != [0])
    }
}

impl Wire for Uuid {
    fn put(&self, _: Form, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.put_slice(self.as_bytes());
        Ok(())
    }
    fn take(_: Form, input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self::from_bytes(input.array()?))
    }
}

/// A value whose encoding has a form for null. `Option` of it is a nullable field, the type itself one that
/// must have a value.
trait Nullable: Sized {
    fn put_some(value: Option<&Self>, form: Form, out: &mut BytesMut) -> Result<(), EncodeError>;
    fn take_some(form: Form, input: &mut Reader<'_>) -> Result<Option<Self>, DecodeError>;
}

macro_rules! nullable {
    ($([$($generic:tt)*] $type:ty),+) => {$(
        impl $($generic)* Wire for $type {
            fn put(&self, form: Form, out: &mut BytesMut) -> Result<(), EncodeError> {
                Nullable::put_some(Some(self), form, out)
            }
            fn take(form: Form, input: &mut Reader<'_>) -> Result<Self, DecodeError> {
                <$type>::take_some(form, input)?.ok_or(DecodeError::Null)
            }
        }
        impl $($generic)* Wire for Option<$type> {
            fn put(&self, form: Form, out: &mut BytesMut) -> Result<(), EncodeError> {
                Nullable::put_some(self.as_ref(), form, out)
            }
            fn take(form: Form, input: &mut Reader<'_>) -> Result<Self, DecodeError> {
                <$type>::take_some(form, input)
            }
        }
    )+};
}
nullable!([] String, [] Bytes, [<T: Wire>] Vec<T>);

impl Nullable for String {
    fn put_some(value: Option<&Self>, form: Form, out: &mut BytesMut) -> Result<(), EncodeError> {
        put_length(value.map(String::len), true, form, out)?;
        out.put_slice(value.map_or(&[], String::as_bytes));
        Ok(())
    }
    fn take_some(form: Form, input: &mut Reader<'_>) -> Result<Option<Self>, DecodeError> {
        let Some(len) = input.length(form, true)? else { return Ok(None) };
        let text = std::str::from_utf8(input.bytes(len)?).map_err(|_| DecodeError::NotUtf8)?;
        Ok(Some(text.to_owned()))
    }
}

impl Nullable for Bytes {
    fn put_some(value: Option<&Self>, form: Form, out: &mut BytesMut) -> Result<(), EncodeError> {
        put_length(value.map(Bytes::len), false, form, out)?;
        out.put_slice(value.map_or(&[], |bytes| bytes));
        Ok(())
    }
    fn take_some(form: Form, input: &mut Reader<'_>) -> Result<Option<Self>, DecodeError> {
        let Some(len) = input.length(form, false)? else { return Ok(None) };
        Ok(Some(Bytes::copy_from_slice(input.bytes(len)?)))
    }
}

impl<T: Wire> Nullable for Vec<T> {
    fn put_some(value: Option<&Self>, form: Form, out: &mut BytesMut) -> Result<(), EncodeError> {
        put_length(value.map(Vec::len), false, form, out)?;
        value.into_iter().flatten().try_for_each(|item| item.put(form, out))
    }
    fn take_some(form: Form, input: &mut Reader<'_>) -> Result<Option<Self>, DecodeError> {
        let Some(count) = input.length(form, false)? else { return Ok(None) };
        // Grown as elements are really read: a count alone costs next to nothing.
        let mut items = Vec::with_capacity(count.min(16));
        for _ in 0..count {
            items.push(T::take(form, input)?);
        }
        Ok(Some(items))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASSIC: Form = Form { version: 0, flexible: false };
    const FLEXIBLE: Form = Form { version: 0, flexible: true };

    #[test]
    fn lengths_are_bounded_by_what_is_left() {
        let lie = [0x7f, 0xff, 0xff, 0xff, 1, 2];
        assert_eq!(Vec::<i8>::take(CLASSIC, &mut Reader::new(&lie)), Err(DecodeError::Length(0x7fff_ffff)));
        let lie = [0xff, 0xff, 0xff, 0xff, 0x0f];
        assert_eq!(Vec::<i8>::take(FLEXIBLE, &mut Reader::new(&lie)), Err(DecodeError::Length(0xffff_fffe)));
        assert_eq!(String::take(CLASSIC, &mut Reader::new(&[0xff, 0xfe])), Err(DecodeError::Length(-2)));
        assert_eq!(String::take(CLASSIC, &mut Reader::new(&[0xff, 0xff])), Err(DecodeError::Null));
        assert_eq!(Reader::new(&[0xff; 6]).uvarint(), Err(DecodeError::VarintTooLong));
    }

    #[test]
    fn null_and_empty_differ() {
        for form in [CLASSIC, FLEXIBLE] {
            for value in [None, Some(String::new()), Some("minikafka".to_owned())] {
                let mut out = BytesMut::new();
                value.put(form, &mut out).unwrap();
                assert_eq!(<Option<String> as Wire>::take(form, &mut Reader::new(&out)).unwrap(), value);
            }
        }
    }
}
