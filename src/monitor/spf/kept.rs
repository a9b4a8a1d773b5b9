//! What is proven, on disk. Pure.
//!
//! Bars that begin anew with every restart are none: to prove thousands of domains again takes the better part of an hour,
//! in which waiting mail would leave from bindings that its senders' records do not cover. So of each domain that bars
//! somebody one fact `spf/DOMAIN` is written, and trusted for as long as what is in memory would be ([`STALE_AFTER`]),
//! for bindings whose address is still the same. A fact too old, or that cannot be read, is removed: the domain is asked
//! anew, as is one whose fact a crash kept from being written.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::agenda::Rank;
use super::cell::Cell;
use super::outcome::State;
use super::seen::{SEEN_MAX, Seen};
use super::table::{STALE_AFTER, Table};
use crate::clock::Wall;
use crate::message::{BindingName, Domain, TenantName};

/// Prefix of the keys.
pub const PREFIX: &str = "spf/";

/// A domain on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// When it was proven.
    pub at: Wall,
    /// In whose mail it was seen.
    pub tenants: Vec<TenantName>,
    /// Bindings that its record allows, each with its address then (once with each of two).
    pub allowed: Vec<(BindingName, IpAddr)>,
    /// Bindings that it does not allow.
    pub barred: Vec<(BindingName, IpAddr)>,
}

impl Kept {
    /// As JSON.
    pub fn bytes(&self) -> Vec<u8> {
        // Texts and numbers always serialise.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads a fact; `None` where it cannot be read or is too old.
    pub fn read(key: &str, bytes: &[u8], now: Wall) -> Option<(Domain, Self)> {
        let domain = key.strip_prefix(PREFIX)?.parse().ok()?;
        let mut kept: Self = serde_json::from_slice(bytes).ok()?;
        // Of a clock that was set back.
        kept.at = kept.at.min(now);
        (now.since(kept.at) < STALE_AFTER).then_some((domain, kept))
    }
}

impl Table {
    /// Takes over what an earlier run wrote down, after all domains that the configuration names: rows of `seen` tenants
    /// among `watched` come back with it.
    pub fn restore(
        &mut self,
        facts: &[(String, Vec<u8>)],
        seen: &mut Seen,
        watched: impl Fn(&TenantName) -> bool,
        now: Wall,
    ) {
        for (key, bytes) in facts {
            self.changed.extend(key.strip_prefix(PREFIX).map(str::to_owned));
            let Some((domain, kept)) = Kept::read(key, bytes, now) else { continue };
            for tenant in kept.tenants.iter().filter(|tenant| watched(tenant)) {
                if seen.count(tenant) >= SEEN_MAX {
                    continue;
                }
                let row = self.row(&domain, Rank::Routine, now);
                if let Some(row) = row.filter(|row| !row.fixed.contains(tenant)) {
                    row.seen.insert(tenant.clone());
                    seen.keep(tenant, &domain, kept.at);
                }
            }
            let Self { bindings, addresses, rows, .. } = self;
            let Some(row) = rows.get_mut(&domain) else { continue };
            row.written = Some(kept.at);
            for (place, own) in bindings.iter().zip(addresses).enumerate() {
                // Of just these addresses: what was proven of two together says nothing of one of them.
                let has = |all: &[(BindingName, IpAddr)]| {
                    let known = || all.iter().filter(|(name, _)| name == own.0);
                    known().count() == own.1.iter().count() && known().all(|(_, at)| own.1.contains(*at))
                };
                let state = match (has(&kept.allowed), has(&kept.barred)) {
                    (true, false) => State::Covered,
                    (false, true) => State::NotCovered,
                    _ => continue,
                };
                row.cells[place] = Cell::proven(state, kept.at);
            }
            row.uncovered = row.uncovered(&self.pools);
            self.tell(&domain, kept.at);
            if self.rows.get(&domain).is_some_and(|row| !row.told.1.is_empty()) {
                self.changed.remove(domain.as_str());
            }
        }
    }

    /// Facts to write since the last call, at most `limit`; `None` removes one.
    pub fn changes(&mut self, limit: usize) -> Vec<(String, Option<Vec<u8>>)> {
        let mut changes = Vec::new();
        while changes.len() < limit
            && let Some(name) = self.changed.pop_first()
        {
            let domain = name.parse::<Domain>().ok();
            let kept = domain.and_then(|domain| {
                let kept = self.kept(&domain);
                self.rows.get_mut(&domain)?.written = kept.as_ref().map(|kept| kept.at);
                kept
            });
            changes.push((format!("{PREFIX}{name}"), kept.map(|kept| kept.bytes())));
        }
        changes
    }

    /// Takes changes back that did not get to the disk.
    pub fn not_written(&mut self, keys: impl IntoIterator<Item = String>) {
        self.changed.extend(keys.into_iter().filter_map(|key| key.strip_prefix(PREFIX).map(str::to_owned)));
    }

    fn kept(&self, domain: &Domain) -> Option<Kept> {
        let row = self.rows.get(domain).filter(|row| !row.told.1.is_empty())?;
        let with = |state| {
            let all = self.bindings.iter().zip(&self.addresses).zip(&row.cells);
            let wanted = all.filter(move |(_, cell)| cell.state() == state);
            wanted.flat_map(|((name, all), _)| all.iter().map(|address| (name.clone(), address))).collect()
        };
        let proven = row.cells.iter().filter(|cell| matches!(cell.state(), State::Covered | State::NotCovered));
        let at = proven.filter_map(|cell| cell.conclusive).min()?;
        let (allowed, barred) = (with(State::Covered), with(State::NotCovered));
        Some(Kept { at, tenants: row.tenants().cloned().collect(), allowed, barred })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_old_or_broken_is_not_believed() {
        let at = Wall::from_millis(1_800_000_000_000);
        let a = (BindingName::new("a"), "192.0.2.1".parse().unwrap());
        let kept = Kept { at, tenants: vec!["acme".into()], allowed: vec![a], barred: vec![] };
        let read = |key, now| Kept::read(key, &kept.bytes(), now);
        assert_eq!(read("spf/acme.example", at).unwrap(), ("acme.example".parse().unwrap(), kept.clone()));
        assert!(read("spf/acme.example", at.plus(STALE_AFTER)).is_none());
        assert!(read("other/acme.example", at).is_none() && read("spf/", at).is_none());
        for bytes in [&b""[..], b"{", b"{}", b"[1]", b"\xff"] {
            assert!(Kept::read("spf/acme.example", bytes, at).is_none());
        }
        let set_back = Wall::from_millis(1_700_000_000_000);
        assert_eq!(read("spf/acme.example", set_back).unwrap().1.at, set_back, "not from the future");
    }
}
