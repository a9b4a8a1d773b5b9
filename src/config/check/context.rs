//! What the checks of the sections share: names and what they refer to, findings, and what is asked of many keys alike
//! (ranges, host names).

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::mistake::{Findings, LineTable, Place};
use crate::config::read::{At, Field, List, Map, Named};
use crate::config::{defaults, raw};
use crate::message::Domain;

/// Octets of a name. Two of them and a word make a key of the store, which has at most 1,024.
const NAME_MAX: usize = 255;

/// The names of one kind of thing that may be referred to.
pub(super) struct Names<'a> {
    kind: &'static str,
    all: Vec<&'a str>,
    set: HashSet<&'a str>,
}

impl<'a> Names<'a> {
    pub(super) fn new(kind: &'static str, all: impl Iterator<Item = &'a str>) -> Self {
        let all: Vec<&str> = all.collect();
        Self { kind, set: all.iter().copied().collect(), all }
    }

    pub(super) fn of<T>(kind: &'static str, map: &'a Field<Map<T>>) -> Self {
        Self::new(kind, map.entries().iter().map(|entry| entry.name.as_str()))
    }

    /// Whether `name` exists; if not, it is reported at `place`.
    pub(super) fn refer(&self, name: &str, place: &Place, out: &mut Findings) -> bool {
        let known = self.set.contains(name);
        if !known {
            let hint = out.suggest_name(name, &self.all);
            out.mistake(place, format!("no {} {name:?}", self.kind), hint);
        }
        known
    }
}

/// What the checks of the sections share.
pub(super) struct Context<'a> {
    pub(super) lines: LineTable<'a>,
    pub(super) out: Findings,
    pub(super) bindings: Names<'a>,
    pub(super) pools: Names<'a>,
    pub(super) tenants: Names<'a>,
    pub(super) providers: Names<'a>,
    pub(super) ladders: Names<'a>,
    pub(super) regions: Names<'a>,
}

impl<'a> Context<'a> {
    pub(super) fn new(file: &'a raw::File, lines: LineTable<'a>, out: Findings) -> Self {
        let built_in = defaults::LADDERS.iter().map(|(name, _)| *name);
        let bindings = file.binding.entries().iter().filter_map(|entry| entry.value.as_ref());
        let in_use = bindings.filter_map(|binding| binding.region.value().map(String::as_str));
        let own = file.ladder.entries().iter().map(|entry| entry.name.as_str());
        Self {
            lines,
            out,
            bindings: Names::of("binding", &file.binding),
            pools: Names::of("pool", &file.pool),
            tenants: Names::of("tenant", &file.tenant),
            providers: Names::of("provider", &file.provider),
            ladders: Names::new("ladder", built_in.chain(own)),
            regions: Names::new("region", in_use.chain(file.region.entries().iter().map(|entry| entry.name.as_str()))),
        }
    }

    /// Names of things: not empty, not too long, no spaces, colons or control characters (a colon separates the parts of
    /// keys in the store, a space those of a log line).
    pub(super) fn check_name(&mut self, name: &str, place: &Place) {
        if name.is_empty() {
            self.out.mistake(place, "a name must not be empty", "");
        } else if let Some(wrong) = name.chars().find(|c| c.is_whitespace() || c.is_control() || *c == ':') {
            self.out.mistake(place, format!("a name must not contain {wrong:?}"), "write it with - or _ instead");
        } else if name.len() > NAME_MAX {
            self.out.mistake(place, format!("a name has at most {NAME_MAX} octets"), "write a shorter one");
        }
    }

    /// The entries of a map whose values could be read, their names checked.
    pub(super) fn named<'f, T>(&mut self, map: &'f Field<Map<T>>) -> Vec<(&'f Named<T>, &'f T)> {
        for entry in map.entries() {
            self.check_name(&entry.name, &entry.place);
        }
        map.entries().iter().filter_map(|entry| entry.value.as_ref().map(|value| (entry, value))).collect()
    }

    /// Refuses 0 where at least one is needed.
    pub(super) fn at_least_one<T: Copy + PartialEq + From<u8>>(&mut self, field: &Field<T>) {
        self.not_zero(field, "must be at least 1", "");
    }

    pub(super) fn not_zero<T: Copy + PartialEq + From<u8>>(&mut self, field: &Field<T>, what: &str, hint: &str) {
        if let Some(at) = field.given().filter(|at| at.value == T::from(0)) {
            self.out.mistake(&at.place, what, hint);
        }
    }

    /// Refuses a duration of nothing.
    pub(super) fn not_instant(&mut self, field: &Field<Duration>) {
        if let Some(at) = field.given().filter(|at| at.value.is_zero()) {
            self.out.mistake(&at.place, "must be longer than 0", "");
        }
    }

    /// Refuses what lies outside `low..=high`.
    pub(super) fn within(&mut self, field: &Field<f64>, low: f64, high: f64) {
        if let Some(at) = field.given().filter(|at| !(low..=high).contains(&at.value)) {
            self.out.mistake(&at.place, format!("{} is out of range", at.value), format!("from {low} to {high}"));
        }
    }

    /// Refuses `small` above `large`, at whichever of the two was written.
    pub(super) fn not_above<T: PartialOrd>(
        &mut self,
        (small, small_place): (T, Option<&Place>),
        (large, large_place): (T, Option<&Place>),
        what: &str,
    ) {
        if let (true, Some(place)) = (small > large, large_place.or(small_place)) {
            self.out.mistake(place, what, "");
        }
    }

    /// A file that is named: as with include, relative to the file in which that is written.
    pub(super) fn beside(&self, field: &Field<String>) -> Option<PathBuf> {
        field.given().map(|at| self.lines.directory(&at.place).join(&at.value))
    }
}

pub(super) fn missing_list<T>(field: &Field<List<T>>) -> bool {
    field.is_missing() || field.value().is_some_and(List::is_written_empty)
}

pub(super) fn missing_map<T>(field: &Field<Map<T>>) -> bool {
    field.is_missing() || field.value().is_some_and(|map| map.0.is_empty())
}

pub(super) fn place_of<T>(field: &Field<T>) -> Option<&Place> {
    field.given().map(|at| &at.place)
}

/// The table, or an empty one where the file has none.
pub(super) fn section<T: Default + Clone>(field: &Field<T>) -> T {
    field.value().cloned().unwrap_or_default()
}

/// A name a host can have in public: letters, digits and hyphens only (RFC 5321 §4.1.2), and no bare address.
pub(super) fn host_name(text: &At<String>, out: &mut Findings) -> Option<Domain> {
    if let Ok(address) = text.value.parse::<IpAddr>() {
        let tag = if address.is_ipv6() { "IPv6:" } else { "" };
        out.mistake(
            &text.place,
            format!("{:?} is an address, not a name", text.value),
            format!("write a host name, or \"[{tag}{address}]\" for the bare address"),
        );
        return None;
    }
    let name = text.value.parse::<Domain>().ok().filter(|name| {
        let last = name.as_str().rsplit('.').next().unwrap_or("");
        name.as_str().starts_with('[') || (!name.as_str().contains('_') && !last.bytes().all(|b| b.is_ascii_digit()))
    });
    if name.is_none() {
        let hint = "write a full host name such as \"mta1.example.net\"";
        out.mistake(&text.place, format!("{:?} is no host name", text.value), hint);
    }
    name
}

/// Whether `text` can be the name of a header field (RFC 5322 §2.2).
pub(super) fn is_header_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| (33..=126).contains(&b) && b != b':')
}
