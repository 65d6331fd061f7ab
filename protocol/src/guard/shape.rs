//! What requests look like, as data: the fields of each, their types, and the versions that have them.
//!
//! A table row holds the facts of Kafka's message schemas that decide where a field ends. Whether null is
//! allowed is not among them: null takes no room, and the decoder refuses it where it must not be.
//! Tagged fields come last in a row. A type's size in memory is an upper bound of what `kafka-protocol`
//! makes of it on a 64-bit machine: see the test that counts allocations.

/// A request and the versions of it that can be decoded.
pub(super) struct Request {
    pub(super) key: i16,
    pub(super) min: i16,
    pub(super) max: i16,
    pub(super) fields: &'static [Field],
}

/// A field and the versions that have it.
#[derive(Clone, Copy)]
pub(super) struct Field {
    pub(super) shape: Shape,
    pub(super) tag: Option<u32>,
    min: i16,
    max: i16,
}

/// A field's type.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    /// This many bytes.
    Fixed(usize),
    /// A string: outside flexible versions, its length has two bytes.
    Str,
    /// A byte string: outside flexible versions, its length has four bytes.
    Bytes,
    /// A list of a plain type.
    List(&'static Field),
    /// A list of structs, each of which takes this many bytes in memory.
    Structs(&'static [Field], usize),
    /// A struct in place.
    Object(&'static [Field]),
    /// A byte that is 1 if a struct follows.
    NullableObject(&'static [Field]),
}

const fn field(shape: Shape) -> Field {
    Field { shape, tag: None, min: 0, max: i16::MAX }
}

pub(super) const I8: Field = field(Shape::Fixed(1));
pub(super) const BOOL: Field = field(Shape::Fixed(1));
pub(super) const I16: Field = field(Shape::Fixed(2));
pub(super) const U16: Field = field(Shape::Fixed(2));
pub(super) const I32: Field = field(Shape::Fixed(4));
pub(super) const I64: Field = field(Shape::Fixed(8));
pub(super) const F64: Field = field(Shape::Fixed(8));
pub(super) const UUID: Field = field(Shape::Fixed(16));
pub(super) const STR: Field = field(Shape::Str);
pub(super) const BYTES: Field = field(Shape::Bytes);

pub(super) const fn request(key: i16, min: i16, max: i16, fields: &'static [Field]) -> Request {
    Request { key, min, max, fields }
}

pub(super) const fn list(element: &'static Field) -> Field {
    field(Shape::List(element))
}

pub(super) const fn structs(fields: &'static [Field]) -> Field {
    field(Shape::Structs(fields, struct_memory(fields)))
}

pub(super) const fn object(fields: &'static [Field]) -> Field {
    field(Shape::Object(fields))
}

pub(super) const fn nullable_object(fields: &'static [Field]) -> Field {
    field(Shape::NullableObject(fields))
}

impl Field {
    /// Versions from `min` on have the field.
    pub(super) const fn since(self, min: i16) -> Self {
        Self { min, ..self }
    }

    /// Versions up to `max` have the field.
    pub(super) const fn until(self, max: i16) -> Self {
        Self { max, ..self }
    }

    /// Versions from `min` to `max` have the field.
    pub(super) const fn only(self, min: i16, max: i16) -> Self {
        Self { min, max, ..self }
    }

    /// No version that can be decoded has the field; it still takes room in memory.
    pub(super) const fn never(self) -> Self {
        Self { max: -1, ..self }
    }

    /// The field is tagged.
    pub(super) const fn tag(self, tag: u32) -> Self {
        Self { tag: Some(tag), ..self }
    }

    pub(super) const fn is_in(&self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }

    /// An upper bound of the field's size in memory in bytes, without what it points to.
    pub(super) const fn memory(&self) -> usize {
        match self.shape {
            Shape::Fixed(size) => size,
            Shape::Str | Shape::Bytes => 32,
            Shape::List(_) | Shape::Structs(..) => 24,
            Shape::Object(fields) => struct_memory(fields),
            Shape::NullableObject(fields) => struct_memory(fields) + 8,
        }
    }
}

/// The fields, the map of unknown tagged fields, and padding.
const fn struct_memory(fields: &[Field]) -> usize {
    let mut size = 24;
    let mut at = 0;
    while at < fields.len() {
        size += fields[at].memory();
        at += 1;
    }
    size.next_multiple_of(8)
}
