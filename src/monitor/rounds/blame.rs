//! Replies that blame us, on their way to the loop.
//!
//! They come from attempts at delivery, which must not wait for what the loop does under its own lock: what a reply asks
//! for is left here, and the loop takes it.

use std::collections::BTreeSet;

use super::{Monitor, State};
use crate::clock::Mono;
use crate::config::ZoneKind;
use crate::message::BindingName;
use crate::monitor::named::named;
use crate::monitor::subject::Subject;
use crate::monitor::urgent::Urgent;

/// Entries kept until the loop takes them, which is soon; what comes beyond is left out.
const INBOX_MAX: usize = 10_000;

/// Names above a sender's domain that are looked at as well: a list may have any of them.
const LEVELS: usize = 3;

/// Whom a reply blames in one zone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Blamed {
    zone: usize,
    binding: BindingName,
    /// Of a zone of domains.
    sender: Option<String>,
    names_it: bool,
}

/// What was heard and not taken yet.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// To be asked about.
    wanted: BTreeSet<Blamed>,
    /// Replies that name just one zone of addresses.
    named: BTreeSet<(usize, BindingName)>,
}

impl Monitor {
    /// A receiver's `reply` blames the address of `binding`: asks the lists of addresses that it names, or all of them if it
    /// names none, soon and outside the rounds. Where it names just one, that counts as an answer of the list's.
    pub fn check_now(&self, binding: &BindingName, reply: &str) {
        if self.targets.iter().all(|t| t.binding != *binding) {
            return;
        }
        let rules = &self.config.monitor;
        let said = named(reply, &rules.zones);
        let zones: Vec<usize> = if said.meant.is_empty() { (0..self.zones.len()).collect() } else { said.meant };
        let of_addresses = |zone: &usize| rules.zones.get(*zone).is_some_and(|zone| zone.kind == ZoneKind::Address);
        let mut inbox = self.inbox.lock();
        for zone in zones.into_iter().filter(of_addresses) {
            let names_it = said.exactly == Some(zone);
            if names_it && inbox.named.len() < INBOX_MAX {
                inbox.named.insert((zone, binding.clone()));
            }
            inbox.want(Blamed { zone, binding: binding.clone(), sender: None, names_it });
        }
        drop(inbox);
        self.wake.notify_one();
    }

    /// A receiver refused mail of `sender` (a domain) through `binding`, whoever it blames: asks the lists of domains that
    /// its `reply` names, if any, about the names of the binding and the domain.
    pub fn check_domains(&self, binding: &BindingName, sender: Option<&str>, reply: &str) {
        let rules = &self.config.monitor;
        let of_domains = |zone: &usize| rules.zones.get(*zone).is_some_and(|zone| zone.kind == ZoneKind::Domain);
        if !rules.zones.iter().any(|zone| zone.kind == ZoneKind::Domain) {
            return;
        }
        let said = named(reply, &rules.zones);
        let zones: Vec<usize> = said.meant.into_iter().filter(of_domains).collect();
        if zones.is_empty() {
            return;
        }
        let mut inbox = self.inbox.lock();
        for zone in zones {
            let sender = sender.map(|sender| sender.trim_end_matches('.').to_ascii_lowercase());
            inbox.want(Blamed { zone, binding: binding.clone(), sender, names_it: false });
        }
        drop(inbox);
        self.wake.notify_one();
    }

    /// What replies have said of lists counts from now on.
    pub(super) fn hear_named(&self, state: &mut State) {
        let named = std::mem::take(&mut self.inbox.lock().named);
        let now = self.clock.now().wall;
        named.iter().for_each(|(zone, binding)| state.watch.named(*zone, binding, now));
    }

    /// Whom replies blame is wanted from now on.
    pub(super) fn hear_wanted(&self, urgent: &mut Urgent, now: Mono) {
        let wanted = std::mem::take(&mut self.inbox.lock().wanted);
        if wanted.is_empty() {
            return;
        }
        let state = self.state.lock();
        for blamed in wanted {
            for subject in self.subjects_of(&state, &blamed) {
                urgent.want(blamed.zone, subject, blamed.names_it, now);
            }
        }
    }

    /// Of whom the zone is asked at all.
    fn subjects_of(&self, state: &State, blamed: &Blamed) -> Vec<Subject> {
        let Some(zone) = self.config.monitor.zones.get(blamed.zone) else { return Vec::new() };
        if zone.kind == ZoneKind::Address {
            let target = self.targets.iter().find(|t| t.binding == blamed.binding);
            let is_asked = target.is_some_and(|t| zone.families.hold(t.address.to_canonical()));
            return if is_asked { vec![Subject::Binding(blamed.binding.clone())] } else { Vec::new() };
        }
        let mut names: BTreeSet<&str> = state.watch.domains_of(&blamed.binding).iter().map(String::as_str).collect();
        let sender = blamed.sender.as_deref().unwrap_or_default();
        let above = sender.match_indices('.').map(|(dot, _)| &sender[dot + 1..]);
        let known = |name: &&str| state.watch.domains().contains_key(*name);
        names.extend(std::iter::once(sender).chain(above).take(LEVELS).filter(known));
        names.into_iter().map(|name| Subject::Domain(name.to_owned())).collect()
    }
}

impl Inbox {
    fn want(&mut self, blamed: Blamed) {
        if self.wanted.len() < INBOX_MAX {
            self.wanted.insert(blamed);
        }
    }
}
