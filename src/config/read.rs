//! From the tree to typed fields, without stopping at the first mistake.
//!
//! Serde's derive gives up a table at its first wrong value; an operator deserves the whole list. So each section is
//! declared once by [`table!`] and read key by key: a wrong value spoils its own field only, every unknown key is
//! reported, and the same declaration yields the list of keys that exist ([`Readable::keys`]), which the annotated
//! example is tested against.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use super::mistake::{Findings, Place, suggest};
use super::tree::{Node, Table, Value};
use super::units::{BadQuantity, parse_duration, parse_size};
use super::{DomainPattern, Rate};
use crate::message::{Domain, Mailbox};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

/// A key of a table: not there, there but wrong (and already reported), or there.
#[derive(Clone, Debug)]
pub(super) enum Field<T> {
    Missing,
    Bad,
    Given(At<T>),
}

// Not derived: that would ask for `T: Default`.
impl<T> Default for Field<T> {
    fn default() -> Self {
        Self::Missing
    }
}

impl<T> Field<T> {
    pub(super) fn given(&self) -> Option<&At<T>> {
        if let Self::Given(at) = self { Some(at) } else { None }
    }

    pub(super) fn value(&self) -> Option<&T> {
        self.given().map(|at| &at.value)
    }

    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Self::Missing)
    }

    /// The value, or what holds when the file says nothing (also after a mistake: then nothing comes of it anyway).
    pub(super) fn or(&self, default: T) -> T
    where
        T: Clone,
    {
        self.value().cloned().unwrap_or(default)
    }

    /// The value; its absence is a mistake of the table at `table`.
    pub(super) fn required(&self, table: &Place, key: &str, hint: &str, out: &mut Findings) -> Option<&At<T>> {
        if self.is_missing() {
            out.mistake(&table.key(key), "missing", hint);
        }
        self.given()
    }

    /// Where it stands, or would stand in the table at `table`.
    pub(super) fn place(&self, table: &Place, key: &str) -> Place {
        self.given().map_or_else(|| table.key(key), |at| at.place.clone())
    }
}

/// What a value can be read as.
pub(super) trait Readable: Sized {
    /// Reads `node`, or reports why not.
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self>;

    /// All key paths below `path`; a plain value is its own only one.
    fn keys(path: &str, keys: &mut Vec<String>) {
        keys.push(path.to_owned());
    }
}

/// Reads one key of a table.
pub(super) fn field<T: Readable>(table: &Table, place: &Place, key: &str, out: &mut Findings) -> Field<T> {
    let Some(entry) = table.get(key) else { return Field::Missing };
    let place =
        Place { file: entry.node.file, offset: entry.node.offset, path: super::mistake::join(&place.path, key) };
    match T::read(&entry.node, &place, out) {
        Some(value) => Field::Given(At { value, place }),
        None => Field::Bad,
    }
}

/// The node as a table, or a mistake.
pub(super) fn as_table<'a>(node: &'a Node, place: &Place, out: &mut Findings) -> Option<&'a Table> {
    if let Value::Table(table) = &node.value {
        return Some(table);
    }
    let header = matches!(node.value, Value::List(_));
    let hint = if header { "write its header as [name], not [[name]]" } else { "write { key = value, … }" };
    out.mistake(place, format!("expected a table, found {}", node.value.kind()), hint);
    None
}

/// Keys that operators will look for and that are not built yet; better than "unknown".
const NOT_YET: [(&str, &str); 3] = [
    ("tls", "TLS on listeners is not built yet; listen on loopback or a private network"),
    ("auth", "AUTH is not built yet; name trusted clients in trust"),
    ("token", "the admin interface has no authentication yet; it listens on loopback only"),
];

/// Reports every key that is not `known`.
pub(super) fn refuse_unknown(table: &Table, place: &Place, known: &[&str], out: &mut Findings) {
    for entry in &table.0 {
        if known.contains(&entry.key.as_str()) {
            continue;
        }
        let at = Place { file: entry.file, offset: entry.offset, path: super::mistake::join(&place.path, &entry.key) };
        let not_yet = NOT_YET.iter().find(|(key, _)| *key == entry.key).map(|(_, why)| (*why).to_owned());
        let hint = not_yet.unwrap_or_else(|| suggest(&entry.key, known.iter().copied()));
        out.mistake(&at, "unknown key", hint);
    }
}

/// Declares a table of the configuration: `field: Type` per key, `field as "key": Type` where the key is no Rust name,
/// and `flatten field: Type` behind the
/// braces for the keys of another table that stand directly in this one.
macro_rules! table {
    ($(#[$meta:meta])* $name:ident {
        $($(#[$doc:meta])* $field:ident $(as $key:literal)?: $ty:ty),* $(,)?
    } $(flatten $flat:ident: $flat_ty:ty)?) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default)]
        pub(super) struct $name {
            /// Where the table itself stands.
            #[allow(dead_code, reason = "not every table has checks of its own")]
            pub(super) place: Place,
            $($(#[$doc])* pub(super) $field: Field<$ty>,)*
            $(pub(super) $flat: $flat_ty,)?
        }

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
    (@key $field:ident) => { stringify!($field) };
    (@key $field:ident $key:literal) => { $key };
}
pub(super) use table;

/// Declares the words by which a file names the values of an enum.
macro_rules! words {
    ($ty:ty { $($word:literal => $value:expr),+ $(,)? }) => {
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
}
pub(super) use words;

pub(super) fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ")
}

/// The node as a text, or a mistake that says what was expected.
pub(super) fn as_text<'a>(node: &'a Node, place: &Place, expected: &str, out: &mut Findings) -> Option<&'a str> {
    if let Value::Text(text) = &node.value {
        return Some(text);
    }
    out.mistake(place, format!("expected {expected}, found {}", node.value.kind()), "");
    None
}

impl Readable for String {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        as_text(node, place, "a text", out).map(str::to_owned)
    }
}

impl Readable for bool {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        if let Value::Bool(value) = node.value {
            return Some(value);
        }
        out.mistake(place, format!("expected true or false, found {}", node.value.kind()), "");
        None
    }
}

macro_rules! integers {
    ($($ty:ty),+) => {$(
        impl Readable for $ty {
            fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
                let Value::Integer(number) = node.value else {
                    let hint = if matches!(node.value, Value::Text(_)) { "write it without quotes" } else { "" };
                    out.mistake(place, format!("expected a whole number, found {}", node.value.kind()), hint);
                    return None;
                };
                let fitting = number.and_then(|number| <$ty>::try_from(number).ok());
                if fitting.is_none() {
                    let shown = number.map_or_else(|| "the number".to_owned(), |number| number.to_string());
                    out.mistake(place, format!("{shown} is out of range"), format!("from 0 to {}", <$ty>::MAX));
                }
                fitting
            }
        }
    )+};
}
integers!(u8, u16, u32, u64, usize);

impl Readable for f64 {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        let number = match node.value {
            Value::Float(number) => number,
            Value::Integer(Some(number)) => number as f64,
            _ => {
                out.mistake(place, format!("expected a number, found {}", node.value.kind()), "");
                return None;
            }
        };
        if !number.is_finite() {
            out.mistake(place, "not a finite number", "");
            return None;
        }
        Some(number)
    }
}

/// A size in octets: a number, or a text with a unit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size(pub(super) u64);

impl Readable for Size {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        if matches!(node.value, Value::Integer(_)) {
            return u64::read(node, place, out).map(Self);
        }
        let text = as_text(node, place, "a size such as \"50MiB\"", out)?;
        report(parse_size(text), place, out).map(Self)
    }
}

impl Readable for Duration {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        if let Value::Integer(Some(number)) = node.value {
            out.mistake(place, "a duration needs a unit", format!("write \"{number}s\" for seconds"));
            return None;
        }
        let text = as_text(node, place, "a duration such as \"15m\"", out)?;
        report(parse_duration(text), place, out)
    }
}

impl Readable for Rate {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        let text = as_text(node, place, "a rate such as \"20/s\"", out)?;
        report(text.parse(), place, out)
    }
}

fn report<T>(read: Result<T, BadQuantity>, place: &Place, out: &mut Findings) -> Option<T> {
    read.map_err(|bad| out.mistake(place, bad.what, bad.hint)).ok()
}

impl Readable for IpAddr {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        let text = as_text(node, place, "an IP address", out)?;
        let address = text.parse().ok();
        if address.is_none() {
            let port = text.parse::<SocketAddr>().is_ok();
            let hint =
                if port { "write the address without a port" } else { "write it as \"192.0.2.1\" or \"2001:db8::1\"" };
            out.mistake(place, format!("{text:?} is no IP address"), hint);
        }
        address
    }
}

/// Address and port, the port being optional where there is a customary one.
fn socket_address(text: &str, customary: Option<u16>) -> Option<SocketAddr> {
    let bare = || text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
    text.parse().ok().or_else(|| Some(SocketAddr::new(bare()?, customary?)))
}

impl Readable for SocketAddr {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        let text = as_text(node, place, "an address and port", out)?;
        let address = socket_address(text, None);
        if address.is_none() {
            let hint = match text.parse::<IpAddr>() {
                Ok(ip) => format!("add the port, such as \"{}\"", SocketAddr::new(ip, 2525)),
                Err(_) => "write it as \"127.0.0.1:2525\" or \"[::1]:2525\"".to_owned(),
            };
            out.mistake(place, format!("{text:?} is no address with port"), hint);
        }
        address
    }
}

/// A name server: port 53 unless another is given.
#[derive(Clone, Copy, Debug)]
pub(super) struct NameServer(pub(super) SocketAddr);

impl Readable for NameServer {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        let text = as_text(node, place, "the address of a name server", out)?;
        let address = socket_address(text, Some(53)).filter(|address| address.port() != 0);
        if address.is_none() {
            out.mistake(
                place,
                format!("{text:?} is no address of a name server"),
                "write \"192.0.2.53\" or \"127.0.0.1:5353\"",
            );
        }
        address.map(Self)
    }
}

impl Readable for IpNet {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        let text = as_text(node, place, "a network", out)?;
        let net = text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        let Some(net) = net else {
            out.mistake(
                place,
                format!("{text:?} is no network"),
                "write \"10.1.0.0/16\", \"2001:db8::/32\" or one address",
            );
            return None;
        };
        if net.addr() != net.network() {
            let hint = format!("write \"{}\" for the network or \"{}\" for the one address", net.trunc(), net.addr());
            out.mistake(place, format!("{text:?} is neither a network nor one address"), hint);
            return None;
        }
        Some(net)
    }
}

impl Readable for Domain {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        let text = as_text(node, place, "a domain name", out)?;
        text.parse().map_err(|error| out.mistake(place, format!("{text:?}: {error}"), "")).ok()
    }
}

impl Readable for Mailbox {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        let text = as_text(node, place, "a mail address", out)?;
        text.parse().map_err(|error| out.mistake(place, format!("{text:?}: {error}"), "")).ok()
    }
}

impl Readable for DomainPattern {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        let text = as_text(node, place, "a domain pattern", out)?;
        if text == "*" {
            return Some(Self::Any);
        }
        let (below, name) = text.strip_prefix("*.").map_or((false, text), |name| (true, name));
        // An address literal is a fine domain of a mailbox, but nothing lies below one.
        match name.parse::<Domain>() {
            Ok(domain) if below && !name.starts_with('[') => Some(Self::Below(domain)),
            Ok(domain) if !below => Some(Self::Exact(domain)),
            _ => {
                let hint = "write \"example.com\", \"*.example.com\" for all names below it, or \"*\"";
                out.mistake(place, format!("{text:?} is no domain pattern"), hint);
                None
            }
        }
    }
}

/// Something that is switched off by `false`.
#[derive(Clone, Debug)]
pub(super) enum OrOff<T> {
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
pub(super) struct List<T> {
    pub(super) items: Vec<At<T>>,
    bad: bool,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { items: Vec::new(), bad: false }
    }
}

impl<T> List<T> {
    /// Whether the operator wrote an empty list (and not one full of mistakes).
    pub(super) fn is_written_empty(&self) -> bool {
        self.items.is_empty() && !self.bad
    }
}

impl<T: Clone> Field<List<T>> {
    /// The items, none where the key is not given.
    pub(super) fn values(&self) -> Vec<T> {
        self.items().iter().map(|item| item.value.clone()).collect()
    }
}

impl<T> Field<List<T>> {
    pub(super) fn items(&self) -> &[At<T>] {
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

/// Entries under names of the operator's choice, in the order of the file.
#[derive(Clone, Debug)]
pub(super) struct Map<T>(pub(super) Vec<Named<T>>);

/// One of them; `name` stands also where the value was no good, so that references to it are no second mistake.
#[derive(Clone, Debug)]
pub(super) struct Named<T> {
    pub(super) name: String,
    /// Of the name.
    pub(super) place: Place,
    pub(super) value: Option<T>,
}

impl<T> Field<Map<T>> {
    pub(super) fn entries(&self) -> &[Named<T>] {
        self.value().map_or(&[], |map| &map.0)
    }
}

impl<T: Readable> Readable for Map<T> {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        let table = as_table(node, place, out)?;
        let entries = table.0.iter().map(|entry| {
            let path = super::mistake::join(&place.path, &entry.key);
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
