//! JSON as it is before anybody asks what it means, within bounds.
//!
//! Two octets of JSON can make a value of many: what is read here is counted while it is read, and given up where there are
//! more values than a message can have, or lists in lists deeper than any field has them. Numbers and the like, which no
//! field has, are not kept.

use std::cell::Cell;
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};

use super::super::wrong::Wrong;

/// Objects and lists within each other: the message, its attachments, one of them.
const DEEP: usize = 3;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Plain {
    /// `null`
    Nothing,
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Plain>),
    /// An object, its names as they came.
    Object(Vec<(String, Plain)>),
    /// What no field has.
    Other,
}

impl Plain {
    /// Reads all of `octets`, at most `most` values.
    pub(super) fn read(octets: &[u8], most: usize) -> Result<Self, Wrong> {
        let left = Cell::new(most);
        let mut reader = serde_json::Deserializer::from_slice(octets);
        let read = Bounded { left: &left, deep: DEEP, most }.deserialize(&mut reader);
        let read = read.and_then(|value| reader.end().map(|()| value));
        read.map_err(|error| {
            let what = if error.is_data() { "cannot be taken" } else { "is no JSON" };
            Wrong::new("body", format!("{what}: {error}"))
        })
    }
}

/// Reads a value, or no more than is left.
#[derive(Clone, Copy)]
struct Bounded<'a> {
    left: &'a Cell<usize>,
    deep: usize,
    most: usize,
}

impl Bounded<'_> {
    /// For what is within.
    fn within<E: Error>(self) -> Result<Self, E> {
        let deep = self.deep.checked_sub(1).ok_or_else(|| E::custom("lists or objects too deep in each other"))?;
        Ok(Self { deep, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Bounded<'_> {
    type Value = Plain;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Plain, D::Error> {
        let left = self.left.get().checked_sub(1);
        self.left.set(left.ok_or_else(|| D::Error::custom(format!("more than {} values", self.most)))?);
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Bounded<'_> {
    type Value = Plain;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Plain, E> {
        Ok(Plain::Nothing)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Plain, E> {
        Ok(Plain::Other)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Plain, E> {
        Ok(Plain::Other)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Plain, E> {
        Ok(Plain::Other)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Plain, E> {
        Ok(Plain::Other)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Plain, E> {
        Ok(Plain::Text(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Plain, E> {
        Ok(Plain::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Plain, A::Error> {
        let (within, mut list) = (self.within()?, Vec::new());
        while let Some(item) = items.next_element_seed(within)? {
            list.push(item);
        }
        Ok(Plain::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Plain, A::Error> {
        let (within, mut object) = (self.within()?, Vec::new());
        while let Some(name) = fields.next_key::<String>()? {
            object.push((name, fields.next_value_seed(within)?));
        }
        Ok(Plain::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_kept_in_its_order_and_numbers_are_not() {
        let text = |text: &str| Plain::Text(text.into());
        assert_eq!(
            Plain::read(br#" {"b": [null, "x\n", 1, -1, 1.5, true], "a": {}} "#, 9),
            Ok(Plain::Object(vec![
                (
                    "b".into(),
                    Plain::List(vec![
                        Plain::Nothing,
                        text("x\n"),
                        Plain::Other,
                        Plain::Other,
                        Plain::Other,
                        Plain::Other
                    ])
                ),
                ("a".into(), Plain::Object(Vec::new())),
            ]))
        );
    }

    #[test]
    fn too_many_values_and_too_deep_ones_are_given_up_at_once() {
        for (json, says) in [
            ("[0,0,0,0", "more than 4 values"),
            (r#"{"a":0,"b":0,"c":0,"d""#, "is no JSON"),
            (r#"{"a":0,"b":0,"c":0,"d":0"#, "more than 4 values"),
            ("[[[[", "too deep"),
            ("[[[", "is no JSON"),
            ("[] x", "is no JSON"),
            ("", "is no JSON"),
        ] {
            let wrong = Plain::read(json.as_bytes(), 4).expect_err("wrong");
            assert!(wrong.field == "body" && wrong.detail.contains(says), "{json}: {}", wrong.detail);
        }
        assert!(Plain::read(b"[0,0,0]", 4).is_ok());
    }
}
