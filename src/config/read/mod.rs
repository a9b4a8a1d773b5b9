//! From the tree to typed fields, without stopping at the first mistake.
//!
//! Serde's derive gives up a table at its first wrong value; an operator deserves the whole list. So each section is
//! declared once by [`table!`] and read key by key: a wrong value spoils its own field only, every unknown key is
//! reported, and the same declaration yields the list of keys that exist ([`Readable::keys`]), which the annotated
//! example is tested against.

mod collect;
mod values;

pub(crate) use collect::{List, Map, Named, OneOrMore, OrOff};
pub(crate) use values::{NameServer, Size};

use super::mistake::{Findings, Place, join, suggest};
use super::tree::{Node, Table, Value};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
}

/// A key of a table: not there, there but wrong (and already reported), or there.
#[derive(Clone, Debug, Default)]
pub(crate) enum Field<T> {
    #[default]
    Missing,
    Bad,
    Given(At<T>),
}

impl<T> Field<T> {
    pub(crate) fn given(&self) -> Option<&At<T>> {
        if let Self::Given(at) = self { Some(at) } else { None }
    }

    pub(crate) fn value(&self) -> Option<&T> {
        self.given().map(|at| &at.value)
    }

    /// Written, but not as it should be.
    pub(crate) fn is_bad(&self) -> bool {
        matches!(self, Self::Bad)
    }

    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Missing)
    }

    /// The value, or what holds when the file says nothing (also after a mistake: then nothing comes of it anyway).
    pub(crate) fn or(&self, default: T) -> T
    where
        T: Clone,
    {
        self.value().cloned().unwrap_or(default)
    }

    /// The value; its absence is a mistake of the table at `table`.
    pub(crate) fn required(&self, table: &Place, key: &str, hint: &str, out: &mut Findings) -> Option<&At<T>> {
        if self.is_missing() {
            out.mistake(&table.key(key), "missing", hint);
        }
        self.given()
    }

    /// Where it stands, or would stand in the table at `table`.
    pub(crate) fn place(&self, table: &Place, key: &str) -> Place {
        self.given().map_or_else(|| table.key(key), |at| at.place.clone())
    }
}

/// What a value can be read as.
pub(crate) trait Readable: Sized {
    /// Reads `node`, or reports why not.
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self>;

    /// All key paths below `path`; a plain value is its own only one.
    fn keys(path: &str, keys: &mut Vec<String>) {
        keys.push(path.to_owned());
    }
}

/// Reads one key of a table.
pub(crate) fn field<T: Readable>(table: &Table, place: &Place, key: &str, out: &mut Findings) -> Field<T> {
    let Some(entry) = table.get(key) else { return Field::Missing };
    let place = Place { file: entry.node.file, offset: entry.node.offset, path: join(&place.path, key) };
    match T::read(&entry.node, &place, out) {
        Some(value) => Field::Given(At { value, place }),
        None => Field::Bad,
    }
}

/// The node as a table, or a mistake.
pub(crate) fn as_table<'a>(node: &'a Node, place: &Place, out: &mut Findings) -> Option<&'a Table> {
    if let Value::Table(table) = &node.value {
        return Some(table);
    }
    let header = matches!(node.value, Value::List(_));
    let hint = if header { "write its header as [name], not [[name]]" } else { "write { key = value, … }" };
    out.mistake(place, format!("expected a table, found {}", node.value.kind()), hint);
    None
}

/// Reports every key that is not `known`.
pub(crate) fn refuse_unknown(table: &Table, place: &Place, known: &[&str], out: &mut Findings) {
    for entry in &table.0 {
        if known.contains(&entry.key.as_str()) {
            continue;
        }
        let at = Place { file: entry.file, offset: entry.offset, path: join(&place.path, &entry.key) };
        let hint = suggest(&entry.key, known.iter().copied());
        out.mistake(&at, "unknown key", hint);
    }
}

/// Declares a table of the configuration, visible as said before its name: `field: Type` per key,
/// `field as "key": Type` where the key is no Rust name, and, behind the braces, `flatten field: Type` for the keys of
/// another table that stand directly in this one.
macro_rules! table {
    ($(#[$meta:meta])* $vis:vis $name:ident {
        $($(#[$doc:meta])* $field:ident $(as $key:literal)?: $ty:ty),* $(,)?
    } $(flatten $flat:ident: $flat_ty:ty)?) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default)]
        $vis struct $name {
            /// Where the table itself stands.
            #[allow(dead_code, reason = "not every table has checks of its own")]
            $vis place: $crate::config::mistake::Place,
            $($(#[$doc])* $vis $field: $crate::config::read::Field<$ty>,)*
            $($vis $flat: $flat_ty,)?
        }

        const _: () = {
            use $crate::config::mistake::{Findings, Place, join};
            use $crate::config::read::{Readable, as_table, field, refuse_unknown, table};
            use $crate::config::tree::{Node, Table};

            impl $name {
                const OWN: &'static [&'static str] = &[$(table!(@key $field $($key)?)),*];

                /// Reads the fields from a table whose unknown keys somebody else refuses.
                fn from_table(table: &Table, place: &Place, out: &mut Findings) -> Self {
                    Self {
                        place: place.clone(),
                        $($field: field(table, place, table!(@key $field $($key)?), out),)*
                        $($flat: <$flat_ty>::from_table(table, place, out),)?
                    }
                }
            }

            impl Readable for $name {
                fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
                    let table = as_table(node, place, out)?;
                    let known = [Self::OWN $(, <$flat_ty>::OWN)?].concat();
                    refuse_unknown(table, place, &known, out);
                    Some(Self::from_table(table, place, out))
                }

                fn keys(path: &str, keys: &mut Vec<String>) {
                    $(<$ty>::keys(&join(path, table!(@key $field $($key)?)), keys);)*
                    $(<$flat_ty>::keys(path, keys);)?
                }
            }
        };
    };
    (@key $field:ident) => { stringify!($field) };
    (@key $field:ident $key:literal) => { $key };
}
pub(crate) use table;

/// Declares the words by which a file names the values of an enum.
macro_rules! words {
    ($ty:ty { $($word:literal => $value:expr),+ $(,)? }) => {
        const _: () = {
            use $crate::config::mistake::{Findings, Place, suggest};
            use $crate::config::read::{Readable, as_text, quoted};
            use $crate::config::tree::Node;

            impl Readable for $ty {
                fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
                    const WORDS: &[&str] = &[$($word),+];
                    let text = as_text(node, place, &format!("one of {}", quoted(WORDS)), out)?;
                    match text {
                        $($word => Some($value),)+
                        _ => {
                            let near = suggest(text, WORDS.iter().copied());
                            let hint = if near.ends_with('?') { near } else { format!("write one of {}", quoted(WORDS)) };
                            out.mistake(place, format!("{text:?} is not known here"), hint);
                            None
                        }
                    }
                }
            }
        };
    };
}
pub(crate) use words;

pub(crate) fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ")
}

/// The node as a text, or a mistake that says what was expected.
pub(crate) fn as_text<'a>(node: &'a Node, place: &Place, expected: &str, out: &mut Findings) -> Option<&'a str> {
    if let Value::Text(text) = &node.value {
        return Some(text);
    }
    out.mistake(place, format!("expected {expected}, found {}", node.value.kind()), "");
    None
}
