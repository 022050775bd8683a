//! The names of a struct's fields, as serde knows them.
//!
//! Rule: the struct itself is the list, so that no second one can drift from it. Must not know which struct.

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, Visitor, value},
    forward_to_deserialize_any,
};

/// The names, in the order of the declaration.
pub(super) fn field_names<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    // The answer comes through `names`; the deserializer itself always ends with an error.
    drop(T::deserialize(FieldNames(&mut names)));
    names
}

/// Asks a struct for the names of its fields instead of filling it.
struct FieldNames<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for FieldNames<'_> {
    type Error = value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(value::Error::custom("not a struct"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        Err(value::Error::custom("names only"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
