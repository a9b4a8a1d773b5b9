//! The lists that the program knows (`config/lists.toml`), and those that have died.
//!
//! A shipped list is laid *under* what the operator wrote, on the tree, before anything is read: so it goes through the
//! same tables and checks as a list of the operator's own, and a table of its name overrides single keys of it. Only what
//! the configuration names comes in; nothing is asked by default, for each list has terms of use.

use std::sync::LazyLock;

use super::mistake::{Findings, Place, join};
use super::tree::{self, Entry, Node, SourceFile, Table, Value};

const TEXT: &str = include_str!("../../config/lists.toml");

/// How mistakes name the file; there are none in it, but two lists may contradict one another.
const NAME: &str = "lists.toml (shipped)";

/// The file as the checks want it.
pub(super) fn source() -> SourceFile {
    SourceFile { path: NAME.into(), text: TEXT.to_owned() }
}

/// A list that died: the DNS name at or below which nobody should ask, and what became of it.
#[derive(Debug)]
struct Dead {
    domain: String,
    what: String,
}

static DEAD: LazyLock<Vec<Dead>> = LazyLock::new(|| {
    let table = tree::parse(0, &source(), &mut Findings::default());
    let entries = below(&table, "dead").map_or(&[][..], |dead| &dead.0);
    let text = |entry: &Entry| match &entry.node.value {
        Value::Text(what) => Some(Dead { domain: entry.key.clone(), what: what.clone() }),
        _ => None,
    };
    entries.iter().filter_map(text).collect()
});

/// What became of the list at `domain`, if it is a dead one or below one.
pub(super) fn died(domain: &str) -> Option<(&'static str, &'static str)> {
    let is_below = |dead: &&Dead| {
        domain.strip_suffix(dead.domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    DEAD.iter().find(is_below).map(|dead| (dead.domain.as_str(), dead.what.as_str()))
}

fn below<'t>(table: &'t Table, key: &str) -> Option<&'t Table> {
    match &table.get(key)?.node.value {
        Value::Table(table) => Some(table),
        _ => None,
    }
}

fn below_mut<'t>(table: &'t mut Table, key: &str, like: &Node) -> Option<&'t mut Table> {
    if table.get(key).is_none() {
        let node = Node { file: like.file, offset: like.offset, value: Value::Table(Table::default()) };
        table.0.push(Entry { key: key.to_owned(), file: like.file, offset: like.offset, node });
    }
    match &mut table.0.iter_mut().find(|entry| entry.key == key)?.node.value {
        Value::Table(table) => Some(table),
        _ => None,
    }
}

/// Lays the shipped lists that are named, in `monitor.lists` or by a `[monitor.zone.NAME]`, under the tables of the
/// operator. `file` is the number under which the shipped file is known to whoever reports places.
pub(super) fn lay_under(all: &mut Table, file: usize, out: &mut Findings) {
    let Some(monitor) = below(all, "monitor") else { return };
    let named = names(monitor);
    let zones = below(monitor, "zone").map_or(&[][..], |zones| &zones.0);
    if named.is_empty() && zones.is_empty() {
        return;
    }
    let zones: Vec<(String, Node)> = zones
        .iter()
        .map(|zone| {
            (zone.key.clone(), Node { file: zone.file, offset: zone.offset, value: Value::Table(Table::default()) })
        })
        .collect();
    let shipped = tree::parse(file, &source(), &mut Findings::default());
    let Some(shipped) = below(&shipped, "list") else { return };
    let known: Vec<&str> = shipped.0.iter().map(|entry| entry.key.as_str()).collect();
    let mut wanted: Vec<(String, Node)> = Vec::new();
    for (place, name, node) in named {
        if !known.contains(&name.as_str()) {
            let near = super::suggest(&name, known.iter().copied());
            let own = format!("a list of your own is a [{}]", join("monitor.zone", &name));
            let hint = if near.is_empty() { format!("known: {}", known.join(", ")) } else { format!("{near} {own}") };
            out.mistake(&place, format!("no shipped list {name:?}"), hint);
        } else if wanted.iter().any(|(there, _)| *there == name) {
            out.mistake(&place, format!("{name:?} is named twice"), "keep one of the two");
        } else {
            wanted.push((name, node));
        }
    }
    wanted.extend(zones);
    for (name, like) in wanted {
        let Some(Value::Table(list)) = shipped.get(&name).map(|entry| &entry.node.value) else { continue };
        let Some(monitor) = below_mut(all, "monitor", &like) else { continue };
        let Some(zone) = below_mut(monitor, "zone", &like).and_then(|zones| below_mut(zones, &name, &like)) else {
            continue;
        };
        for entry in &list.0 {
            if zone.get(&entry.key).is_none() {
                zone.0.push(entry.clone());
            }
        }
    }
}

/// The texts of `lists`; what is no text is somebody else's complaint.
fn names(monitor: &Table) -> Vec<(Place, String, Node)> {
    let Some(Entry { node: Node { value: Value::List(items), .. }, .. }) = monitor.get("lists") else {
        return Vec::new();
    };
    let text = |(index, node): (usize, &Node)| match &node.value {
        Value::Text(name) => {
            let place = Place { file: node.file, offset: node.offset, path: format!("monitor.lists[{index}]") };
            Some((place, name.clone(), node.clone()))
        }
        _ => None,
    };
    items.iter().enumerate().filter_map(text).collect()
}

static SHIPPED: LazyLock<Vec<String>> = LazyLock::new(|| {
    let table = tree::parse(0, &source(), &mut Findings::default());
    below(&table, "list").map_or(&[][..], |lists| &lists.0).iter().map(|entry| entry.key.clone()).collect()
});

/// Whether there is a shipped list of this name.
pub(super) fn is_shipped(name: &str) -> bool {
    SHIPPED.iter().any(|shipped| shipped == name)
}

/// All names of shipped lists, in the order of the file.
#[cfg(test)]
pub(super) fn all() -> Vec<String> {
    SHIPPED.clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, HEAVY, Zone, ZoneKind};

    /// The zones of a configuration that names these lists, with more `keys`.
    fn zones(names: &[String], keys: &str) -> Vec<Zone> {
        let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
        let text = format!(
            "[server]\nhostname = \"relay.example.net\"\nstate_dir = \"/var/lib/remuda\"\n\
             [[listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"127.0.0.0/8\"]\n\
             [binding.m1]\nbind_address = \"192.0.2.1\"\n[pool.p]\nactive = [\"m1\"]\n\
             [tenant.t]\npools = {{ default = \"p\" }}\n[monitor]\nlists = [{}]\n{keys}",
            quoted.join(", ")
        );
        Config::from_toml(&text).unwrap_or_else(|error| panic!("{error}")).monitor.zones
    }

    fn shipped() -> Vec<Zone> {
        let keyed = |name: &String| name.ends_with("-dqs") || name == "abusix";
        let keys: String =
            all().iter().filter(|n| keyed(n)).map(|n| format!("[monitor.zone.{n}]\nkey_file = \"k\"\n")).collect();
        zones(&all(), &keys)
    }

    #[test]
    fn a_shipped_list_has_a_limit_unless_a_mirror_of_ones_own_is_asked() {
        assert!(shipped().iter().all(|zone| zone.queries_per_day.is_some_and(|limit| limit <= 300_000)));
        let limit = |keys: &str| {
            let zones = zones(&["psbl".to_owned()], keys);
            zones[0].queries_per_day
        };
        assert_eq!(limit(""), Some(100_000));
        assert_eq!(limit("[monitor.zone.psbl]\nservers = [\"127.0.0.1:5353\"]"), None);
        assert_eq!(limit("[monitor.zone.psbl]\nqueries_per_day = 2000"), Some(2000));
    }

    #[test]
    fn every_shipped_list_is_a_good_one_and_says_where_its_terms_are() {
        let zones = shipped();
        assert_eq!(zones.len(), all().len());
        for zone in &zones {
            assert!(zone.terms.starts_with("https://"), "{}", zone.name);
            assert!(zone.delisting.starts_with("https://") || zone.heaviest() <= 1.0, "{}", zone.name);
            assert!(!zone.codes.is_empty(), "{}: an unknown code must not be a listing", zone.name);
            let tests = [zone.positive_probe.is_some(), zone.negative_probe.is_some(), zone.random_probe];
            assert!(tests.iter().any(|test| *test), "{} could die unseen", zone.name);
            assert!(zone.heaviest() < HEAVY || zone.positive_probe.is_some(), "{} could go hollow unseen", zone.name);
        }
        let domains = zones.iter().filter(|zone| zone.kind == ZoneKind::Domain).count();
        assert!(domains >= 5 && zones.len() - domains >= 20, "{domains} of {}", zones.len());
    }

    #[test]
    fn the_dead_are_known_with_what_lies_below_them() {
        for domain in ["sorbs.net", "dnsbl.sorbs.net", "ix.dnsbl.manitu.net", "relays.ordb.org", "rbl.ahbl.org"] {
            assert!(died(domain).is_some(), "{domain}");
        }
        for domain in ["notsorbs.net", "bl.example.org", "zen.spamhaus.org"] {
            assert!(died(domain).is_none(), "{domain}");
        }
        for zone in shipped() {
            assert!(died(zone.zone.trim_start_matches("{key}.")).is_none(), "{}", zone.name);
        }
    }
}
