//! What is different between two configurations, in the words of the file. Pure.
//!
//! Compared is what was written ([`crate::config::written`]), key by key: so values look as the operator typed them, a key
//! that is added to the configuration is compared by itself, and nothing that is masked there can come out here. What was
//! written otherwise and means the same is no difference: that is known from what was made of it, as far as its `Debug` shows it
//! whole ([`meant`]). Nor is it a difference in which file something is written: of `include` itself nothing is told, only of
//! what it brings or takes away.
//!
//! Orders change what is in force and not what is written. So what they may change — bindings, pools, tenants — is compared
//! a second time as it is in force ([`ordered`]), and told where the files do not tell it.

mod ordered;

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde::{Deserialize, Serialize};

use super::fixed;
use crate::config::written::{Entry, Item};
use crate::config::{Admin, Config, key_path};

/// One difference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Changed {
    /// Key path as in the file: `binding.mta1.daily_cap`, or `binding.mta9` for one that is new or gone.
    pub key: String,
    /// What it was; `None` where it was not there.
    pub from: Option<String>,
    /// What it is to be; `None` where it is gone.
    pub to: Option<String>,
}

/// What a secret was and is.
const SECRET: (&str, &str) = ("(secret)", "(another secret)");

/// Tables whose entries have names of the operator's choice.
const NAMED: [&str; 11] = [
    "binding",
    "certificate",
    "pool",
    "tenant",
    "provider",
    "region",
    "feed",
    "ladder",
    "listener",
    "destination_route",
    "monitor.zone",
];

/// What is different in `after`.
pub fn between(before: &Config, after: &Config) -> Vec<Changed> {
    let mut out = Vec::new();
    let [was, is] = [before, after].map(|config| config.origins.written().entries());
    compare("", was, is, &mut out);
    out.retain(|changed| !fixed::KEYS.iter().any(|fixed| is_at_or_below(&changed.key, fixed)));
    out.retain(|changed| is_meant(changed, before, after));
    for changed in ordered::between(before, after) {
        let is_told =
            |known: &Changed| is_at_or_below(&changed.key, &known.key) || is_at_or_below(&known.key, &changed.key);
        if !out.iter().any(is_told) {
            out.push(changed);
        }
    }
    out
}

fn is_at_or_below(key: &str, above: &str) -> bool {
    key.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Compares the entries of the table at `path`.
fn compare(path: &str, was: &[Entry], is: &[Entry], out: &mut Vec<Changed>) {
    let known: BTreeMap<&str, &Entry> = is.iter().map(|entry| (entry.name.as_str(), entry)).collect();
    let had: BTreeMap<&str, &Entry> = was.iter().map(|entry| (entry.name.as_str(), entry)).collect();
    for old in was {
        if !known.contains_key(old.name.as_str()) {
            one(path, Some(old), None, out);
        }
    }
    for new in is {
        one(path, had.get(new.name.as_str()).copied(), Some(new), out);
    }
    if NAMED.contains(&path) {
        let order = |entries: &[Entry], other: &BTreeMap<&str, &Entry>| -> Vec<String> {
            let names = entries.iter().map(|entry| entry.name.clone());
            names.filter(|name| other.contains_key(name.as_str())).collect()
        };
        let (was, is) = (order(was, &known), order(is, &had));
        if was != is {
            let text = |names: Vec<String>| Some(format!("in the order {}", names.join(", ")));
            out.push(Changed { key: path.to_owned(), from: text(was), to: text(is) });
        }
    }
}

fn one(path: &str, was: Option<&Entry>, is: Option<&Entry>, out: &mut Vec<Changed>) {
    let Some(key) = is.or(was).map(|entry| entry.path.clone()) else { return };
    let (below_was, below_is) = (was.map_or(&[][..], Entry::below), is.map_or(&[][..], Entry::below));
    let is_table = |entry: &Entry| matches!(entry.item, Item::Table(_));
    let tables = was.is_none_or(is_table) && is.is_none_or(is_table);
    // One that is new or gone is told as a whole, a section key by key: most of it has a default.
    if tables && !NAMED.contains(&path) || was.is_some_and(is_table) && is.is_some_and(is_table) {
        return compare(&key, below_was, below_is, out);
    }
    let is_same = match (was, is) {
        (Some(was), Some(is)) => was.item == is.item,
        _ => false,
    };
    if is_same {
        return;
    }
    let is_secret = is.or(was).is_some_and(Entry::is_secret);
    let (from, to) = if is_secret {
        (was.map(|_| SECRET.0.to_owned()), is.map(|_| SECRET.1.to_owned()))
    } else {
        (was.map(Entry::text), is.map(Entry::text))
    };
    out.push(Changed { key, from, to });
}

/// Whether what was made of the part of the file with this key is another thing now. Where that is not known, it is.
fn is_meant(changed: &Changed, before: &Config, after: &Config) -> bool {
    let (Some(was), Some(is)) = (meant(&changed.key, before), meant(&changed.key, after)) else { return true };
    was != is
}

/// All that a key may have a part in, where `Debug` shows it whole. What is masked there is not asked.
fn meant(key: &str, config: &Config) -> Option<String> {
    fn named<T: Debug>(key: &str, section: &str, all: &[T], name: impl Fn(&T) -> &str) -> Option<String> {
        // The whole section, where it is about its order.
        let found: Vec<&T> =
            all.iter().filter(|item| key == section || is_at_or_below(key, &key_path([section, name(item)]))).collect();
        (!found.is_empty()).then(|| format!("{found:?}"))
    }
    let section = key.split(['.', '[']).next().unwrap_or(key);
    let text: &dyn Debug = match section {
        "server" => &config.server,
        "assignment" => &config.assignment,
        "dns" => &config.dns,
        "queue" => &config.queue,
        "delivery" => &config.delivery,
        "window" => &config.window,
        "prediction" => &config.prediction,
        "reputation" => &config.reputation,
        "warmup" => &config.warmup,
        "classify" => &config.classify,
        "feedback" => &config.feedback,
        "reports" => &config.reports,
        "admin" => return guards(key, &config.admin),
        "binding" => return named(key, section, &config.bindings, |binding| binding.name.as_str()),
        "pool" => return named(key, section, &config.pools, |pool| pool.name.as_str()),
        "tenant" => return named(key, section, &config.tenants, |tenant| tenant.name.as_str()),
        "provider" => return named(key, section, &config.providers, |provider| provider.name.as_str()),
        _ => return None,
    };
    Some(format!("{text:?}"))
}

/// The part of the HTTP side's guards that a key is about; they may have to stay as they were ([`fixed`]).
fn guards(key: &str, admin: &Admin) -> Option<String> {
    let parts: [(&str, &dyn Debug); 4] = [
        ("admin.anonymous", &admin.anonymous),
        ("admin.hosts", &admin.hosts),
        ("admin.tls", &admin.tls),
        ("admin.token", &admin.tokens),
    ];
    let found = parts.iter().find(|(part, _)| is_at_or_below(key, part));
    found.map(|(_, part)| format!("{part:?}"))
}

#[cfg(test)]
mod tests;
