//! `message!`: a struct and its encoding from one table of fields.
//!
//! ```text
//! message! {
//!     /// What it is.
//!     pub struct ExampleRecord(0..=2, flexible 0..) {       // top level: its versions, its flexible versions
//!         /// What the field is.
//!         broker_id: i32 = 0;                               // name, type, default
//!         /// The type says whether null is allowed.
//!         rack: Option<String> = None, in 1..;              // only in some versions: elsewhere it must be unset
//!         /// Dropped without an error where the version lacks it.
//!         epoch: i32 = -1, ignorable 1..;
//!         /// Tagged fields come last, in the order of their tags; a default value is not written.
//!         log_dirs: Vec<Uuid> = Vec::new(), in 2.., tag 0;
//!     }
//! }
//! ```
//! A struct without `(versions)` is a part of others and has their version.

use bytes::{BufMut, BytesMut};

use crate::wire::{DecodeError, EncodeError, Form, Reader, Wire, put_uvarint};

/// Where a field stands in one version of its message.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) name: &'static str,
    pub(crate) present: bool,
    pub(crate) ignorable: bool,
    pub(crate) tag: Option<u32>,
}

/// Writes a struct's fields in their declared order, then its tagged fields.
pub(crate) struct FieldWriter<'a> {
    form: Form,
    out: &'a mut BytesMut,
    tagged: BytesMut,
    tagged_count: u32,
}

impl<'a> FieldWriter<'a> {
    pub(crate) fn new(form: Form, out: &'a mut BytesMut) -> Self {
        Self { form, out, tagged: BytesMut::new(), tagged_count: 0 }
    }

    pub(crate) fn field<T: Wire + PartialEq>(
        &mut self,
        place: Place,
        value: &T,
        default: T,
    ) -> Result<(), EncodeError> {
        match place.tag {
            _ if !place.present => {
                if place.ignorable || *value == default {
                    return Ok(());
                }
                Err(EncodeError::FieldNotInVersion { field: place.name, version: self.form.version })
            }
            None => value.put(self.form, self.out),
            Some(_) if T::OMIT_DEFAULT && *value == default => Ok(()),
            Some(tag) => {
                let mut bytes = BytesMut::new();
                value.put(self.form, &mut bytes)?;
                let size = u32::try_from(bytes.len()).map_err(|_| EncodeError::TooLong(bytes.len()))?;
                put_uvarint(tag, &mut self.tagged);
                put_uvarint(size, &mut self.tagged);
                self.tagged.put_slice(&bytes);
                self.tagged_count += 1;
                Ok(())
            }
        }
    }

    pub(crate) fn finish(self) {
        if self.form.flexible {
            put_uvarint(self.tagged_count, self.out);
            self.out.put_slice(&self.tagged);
        }
    }
}

/// Hands each tagged field at the end of a struct to `field`, which takes those that it knows.
pub(crate) fn read_tagged<'a>(
    form: Form,
    input: &mut Reader<'a>,
    mut field: impl FnMut(u32, &mut Reader<'a>) -> Result<bool, DecodeError>,
) -> Result<(), DecodeError> {
    if !form.flexible {
        return Ok(());
    }
    for _ in 0..input.uvarint()? {
        let tag = input.uvarint()?;
        let size = input.uvarint()? as usize;
        let mut value = Reader::new(input.bytes(size)?);
        if field(tag, &mut value)? && value.left() > 0 {
            return Err(DecodeError::Trailing(value.left()));
        }
    }
    Ok(())
}

macro_rules! message {
    (@ignorable) => { false };
    (@ignorable $range:expr) => { true };
    (@tag) => { None };
    (@tag $tag:literal) => { Some($tag) };
    (@place $form:ident $field:ident [$($range:expr)?] [$($ignorable:expr)?] [$($tag:literal)?]) => {
        $crate::message::Place {
            name: stringify!($field),
            present: true
                $(&& ($range).contains(&$form.version))?
                $(&& ($ignorable).contains(&$form.version))?,
            ignorable: message!(@ignorable $($ignorable)?),
            tag: message!(@tag $($tag)?),
        }
    };
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident $(($versions:expr, flexible $flexible:expr))? {
            $(
                $(#[$field_meta:meta])*
                $field:ident: $type:ty = $default:expr
                    $(, in $range:expr)? $(, ignorable $ignorable:expr)? $(, tag $tag:literal)?;
            )*
        }
    )+) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $( $(#[$field_meta])* pub $field: $type, )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )* }
            }
        }

        impl $crate::wire::Wire for $name {
            fn put(
                &self,
                form: $crate::wire::Form,
                out: &mut bytes::BytesMut,
            ) -> Result<(), $crate::wire::EncodeError> {
                #[allow(unused_mut)]
                let mut writer = $crate::message::FieldWriter::new(form, out);
                $(
                    let place = message!(@place form $field [$($range)?] [$($ignorable)?] [$($tag)?]);
                    let default: $type = $default;
                    writer.field(place, &self.$field, default)?;
                )*
                writer.finish();
                Ok(())
            }

            fn take(
                form: $crate::wire::Form,
                input: &mut $crate::wire::Reader<'_>,
            ) -> Result<Self, $crate::wire::DecodeError> {
                #[allow(unused_mut)]
                let mut value = Self::default();
                $(
                    let place = message!(@place form $field [$($range)?] [$($ignorable)?] [$($tag)?]);
                    if place.present && place.tag.is_none() {
                        value.$field = $crate::wire::Wire::take(form, input)?;
                    }
                )*
                $crate::message::read_tagged(form, input, |_tag, _input| {
                    $(
                        let place = message!(@place form $field [$($range)?] [$($ignorable)?] [$($tag)?]);
                        if place.present && place.tag == Some(_tag) {
                            value.$field = $crate::wire::Wire::take(form, _input)?;
                            return Ok(true);
                        }
                    )*
                    Ok(false)
                })?;
                Ok(value)
            }
        }

        $(
            impl $name {
                /// The versions that can be read and written.
                pub const VERSIONS: std::ops::RangeInclusive<i16> = $versions;

                fn form(version: i16) -> Option<$crate::wire::Form> {
                    let flexible = ($flexible).contains(&version);
                    Self::VERSIONS.contains(&version).then_some($crate::wire::Form { version, flexible })
                }

                /// Appends the message in `version`, without its version or frame.
                pub fn encode(
                    &self,
                    version: i16,
                    out: &mut bytes::BytesMut,
                ) -> Result<(), $crate::wire::EncodeError> {
                    let message = stringify!($name);
                    let form = Self::form(version)
                        .ok_or($crate::wire::EncodeError::Version { message, version })?;
                    $crate::wire::Wire::put(self, form, out)
                }

                /// Takes the message in `version` from the front of `input`; bytes after it stay there.
                pub fn decode(
                    version: i16,
                    input: &mut $crate::wire::Reader<'_>,
                ) -> Result<Self, $crate::wire::DecodeError> {
                    let message = stringify!($name);
                    let form = Self::form(version)
                        .ok_or($crate::wire::DecodeError::Version { message, version })?;
                    $crate::wire::Wire::take(form, input)
                }
            }
        )?
    )+};
}
