//! What becomes of what is proven when the configuration changes. Pure.
//!
//! SPF judges an address, so what was proven of a domain and an address stays, whatever the binding behind it is called now.
//! Where an address is new, all domains are asked again soon: until they were, nobody is barred from it and nobody sent
//! there for it, as at the start. Domains that nobody names any more, and in whose mail nobody is interested, are forgotten.

use std::collections::{BTreeMap, BTreeSet};

use super::agenda::{Rank, Turn};
use super::seen::Seen;
use super::table::{Rules, Table};
use crate::clock::Wall;
use crate::config::Addresses;
use crate::message::{BindingName, Domain, PoolName, TenantName};

/// What a configuration says of senders and bindings.
#[derive(Clone, Debug, PartialEq)]
pub struct Roster {
    /// How it is asked and believed.
    pub rules: Rules,
    /// All bindings, in the order of the configuration.
    pub bindings: Vec<(BindingName, Addresses)>,
    /// Each tenant's pools with their bindings.
    pub pools: BTreeMap<TenantName, Vec<(PoolName, Vec<BindingName>)>>,
    /// Domains that it names as a tenant's.
    pub named: Vec<(TenantName, Domain)>,
    /// Tenants in whose mail domains are looked for.
    pub watched: BTreeSet<TenantName>,
}

impl Table {
    /// The configuration says this from now on. `asks_anew`: what was found out may be different now, so all domains are due.
    /// Returns how many domains that it names found no room.
    pub fn follow(&mut self, roster: &Roster, seen: &mut Seen, asks_anew: bool, now: Wall) -> usize {
        let (bindings, addresses): (Vec<_>, Vec<Addresses>) = roster.bindings.iter().cloned().unzip();
        // For each binding of now the place of its address before, under its own name if it is there.
        let place = |(name, address): (&BindingName, &Addresses)| {
            let before = || self.bindings.iter().zip(&self.addresses).enumerate();
            let own = before().find(|(_, old)| *old == (name, address));
            own.or_else(|| before().find(|(_, (_, old))| *old == address)).map(|(place, _)| place)
        };
        let places: Vec<Option<usize>> = bindings.iter().zip(&addresses).map(place).collect();
        seen.follow(&roster.named, &roster.watched);
        for (domain, row) in &mut self.rows {
            let cell = |place: &Option<usize>| place.and_then(|place| row.cells.get(place)).cloned();
            row.cells = places.iter().map(|place| cell(place).unwrap_or_default()).collect();
            let named = std::mem::take(&mut row.fixed);
            if !row.told.1.is_empty() {
                // Named or not: as long as its mail may come, whom it bars is worth remembering.
                row.seen.extend(named);
            }
            row.seen.retain(|tenant| roster.watched.contains(tenant) && seen.keeps(tenant, domain, now));
        }
        (self.bindings, self.addresses) = (bindings, addresses);
        self.take_rules(roster.rules, &roster.pools);
        let mut left_out = 0;
        for (tenant, domain) in &roster.named {
            left_out += usize::from(!self.name(tenant, domain, now));
        }
        let gone: Vec<Domain> =
            self.rows.iter().filter(|(_, row)| !row.is_needed()).map(|(domain, _)| domain.clone()).collect();
        gone.iter().for_each(|domain| self.drop_row(domain));
        let asks_anew = asks_anew || places.contains(&None);
        let all: Vec<Domain> = self.rows.keys().cloned().collect();
        for domain in all {
            if asks_anew {
                self.bring_forward(&domain, now);
            }
            self.tell(&domain, now);
        }
        // Whoever hears it may have forgotten all that he was told before.
        self.tell_again();
        left_out
    }

    /// It is due now, if not yet; one that is being evaluated is left alone.
    fn bring_forward(&mut self, domain: &Domain, now: Wall) {
        let Some(row) = self.rows.get_mut(domain) else { return };
        // What waits for a confirmation comes soon, and sooner would not count.
        if let Some(turn) = row.turn.filter(|turn| turn.due > now && turn.rank != Rank::Confirming) {
            let sooner = Turn { due: now, ..turn };
            row.turn = Some(sooner);
            self.move_turn(domain, turn, sooner);
        }
    }
}
