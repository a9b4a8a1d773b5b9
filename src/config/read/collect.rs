//! Values made of others: lists, maps under names of the operator's choice, and things that `false` switches off.

use super::{At, Field, Readable, as_table};
use crate::config::mistake::{Findings, Place, join};
use crate::config::tree::{Node, Value};

/// Something that is switched off by `false`.
#[derive(Clone, Debug)]
pub(crate) enum OrOff<T> {
    Off,
    On(T),
}

impl<T: Readable> Readable for OrOff<T> {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        match node.value {
            Value::Bool(false) => Some(Self::Off),
            _ => T::read(node, place, out).map(Self::On),
        }
    }

    fn keys(path: &str, keys: &mut Vec<String>) {
        T::keys(path, keys);
    }
}

/// A list; what could not be read is left out and remembered as `bad`.
#[derive(Clone, Debug)]
pub(crate) struct List<T> {
    pub(crate) items: Vec<At<T>>,
    bad: bool,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { items: Vec::new(), bad: false }
    }
}

impl<T> List<T> {
    /// Whether the operator wrote an empty list (and not one full of mistakes).
    pub(crate) fn is_written_empty(&self) -> bool {
        self.items.is_empty() && !self.bad
    }
}

impl<T: Clone> Field<List<T>> {
    /// The items, none where the key is not given.
    pub(crate) fn values(&self) -> Vec<T> {
        self.items().iter().map(|item| item.value.clone()).collect()
    }
}

impl<T> Field<List<T>> {
    pub(crate) fn items(&self) -> &[At<T>] {
        self.value().map_or(&[], |list| &list.items)
    }
}

impl<T: Readable> Readable for List<T> {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        let Value::List(list) = &node.value else {
            let hint = if matches!(node.value, Value::Table(_)) { "write it as [[…]]" } else { "put it into [ ]" };
            out.mistake(place, format!("expected a list, found {}", node.value.kind()), hint);
            return None;
        };
        let mut read = Self::default();
        for (index, item) in list.iter().enumerate() {
            let place = Place { file: item.file, offset: item.offset, path: format!("{}[{index}]", place.path) };
            match T::read(item, &place, out) {
                Some(value) => read.items.push(At { value, place }),
                None => read.bad = true,
            }
        }
        Some(read)
    }

    fn keys(path: &str, keys: &mut Vec<String>) {
        let mut below = Vec::new();
        T::keys(&format!("{path}[]"), &mut below);
        // A list of plain values is one key, not two.
        let plain = below.first().is_some_and(|key| key.ends_with("[]"));
        if plain {
            keys.push(path.to_owned());
            below.remove(0);
        }
        keys.extend(below);
    }
}

/// A value, or a list of such.
#[derive(Clone, Debug)]
pub(crate) struct OneOrMore<T> {
    pub(crate) items: Vec<At<T>>,
    /// It is written as a list.
    pub(crate) is_list: bool,
}

impl<T: Readable> Readable for OneOrMore<T> {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        if !matches!(node.value, Value::List(_)) {
            let value = T::read(node, place, out)?;
            return Some(Self { items: vec![At { value, place: place.clone() }], is_list: false });
        }
        let list = List::read(node, place, out)?;
        // What is left of a list with mistakes would give rise to others.
        (!list.bad).then_some(Self { items: list.items, is_list: true })
    }

    fn keys(path: &str, keys: &mut Vec<String>) {
        T::keys(path, keys);
    }
}

/// Entries under names of the operator's choice, in the order of the file.
#[derive(Clone, Debug)]
pub(crate) struct Map<T>(pub(crate) Vec<Named<T>>);

/// One of them; `name` stands also where the value was no good, so that references to it are no second mistake.
#[derive(Clone, Debug)]
pub(crate) struct Named<T> {
    pub(crate) name: String,
    /// Of the name.
    pub(crate) place: Place,
    pub(crate) value: Option<T>,
}

impl<T> Field<Map<T>> {
    pub(crate) fn entries(&self) -> &[Named<T>] {
        self.value().map_or(&[], |map| &map.0)
    }
}

impl<T: Readable> Readable for Map<T> {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        let table = as_table(node, place, out)?;
        let entries = table.0.iter().map(|entry| {
            let path = join(&place.path, &entry.key);
            let value_place = Place { file: entry.node.file, offset: entry.node.offset, path };
            let value = T::read(&entry.node, &value_place, out);
            let place = Place { file: entry.file, offset: entry.offset, path: value_place.path };
            Named { name: entry.key.clone(), place, value }
        });
        Some(Self(entries.collect()))
    }

    fn keys(path: &str, keys: &mut Vec<String>) {
        T::keys(&format!("{path}.NAME"), keys);
    }
}
