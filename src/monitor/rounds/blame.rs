//! Replies that blame us, on their way to the loop.
//!
//! They come from attempts at delivery, which must not wait for what the loop does under its own lock: what a reply asks
//! for is left here, and the loop takes it.

use std::collections::BTreeSet;

use super::{Monitor, State};
use crate::clock::Mono;
use crate::config::ZoneKind;
use crate::message::{BindingName, ZoneName};
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
    zone: ZoneName,
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
    named: BTreeSet<(ZoneName, BindingName)>,
}

impl Monitor {
    /// A receiver's `reply` blames the address of `binding`: asks the lists of addresses that it names, or all of them if it
    /// names none, soon and outside the rounds. Where it names just one, that counts as an answer of the list's.
    pub fn check_now(&self, binding: &BindingName, reply: &str) {
        let setup = self.setup();
        if setup.target(binding).is_none() {
            return;
        }
        let all = &setup.config.monitor.zones;
        let said = named(reply, all);
        let zones: Vec<usize> = if said.meant.is_empty() { (0..all.len()).collect() } else { said.meant };
        let mut inbox = self.inbox.lock();
        for zone in zones {
            let Some(asked) = all.get(zone).filter(|zone| zone.kind == ZoneKind::Address) else { continue };
            let names_it = said.exactly == Some(zone);
            if names_it && inbox.named.len() < INBOX_MAX {
                inbox.named.insert((asked.name.clone(), binding.clone()));
            }
            inbox.want(Blamed { zone: asked.name.clone(), binding: binding.clone(), sender: None, names_it });
        }
        drop(inbox);
        self.wake.notify_one();
    }

    /// A receiver refused mail of `sender` (a domain) through `binding`, whoever it blames: asks the lists of domains that
    /// its `reply` names, if any, about the names of the binding and the domain.
    pub fn check_domains(&self, binding: &BindingName, sender: Option<&str>, reply: &str) {
        let setup = self.setup();
        let all = &setup.config.monitor.zones;
        if !all.iter().any(|zone| zone.kind == ZoneKind::Domain) {
            return;
        }
        let meant = named(reply, all).meant;
        let zones = meant.into_iter().filter_map(|zone| all.get(zone)).filter(|zone| zone.kind == ZoneKind::Domain);
        let zones: Vec<ZoneName> = zones.map(|zone| zone.name.clone()).collect();
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
        let (setup, now) = (self.setup(), self.common.clock.now().wall);
        for (zone, binding) in &named {
            // The list may be gone since.
            if let Some((number, _)) = setup.zone(zone) {
                state.watch.named(number, binding, now);
            }
        }
    }

    /// Whom replies blame is wanted from now on.
    pub(super) fn hear_wanted(&self, urgent: &mut Urgent, now: Mono) {
        let wanted = std::mem::take(&mut self.inbox.lock().wanted);
        if wanted.is_empty() {
            return;
        }
        let (state, setup) = (self.state.lock(), self.setup());
        for blamed in wanted {
            let Some((number, _)) = setup.zone(&blamed.zone) else { continue };
            for subject in subjects_of(&state, number, &blamed) {
                urgent.want(number, subject, blamed.names_it, now);
            }
        }
    }
}

/// Of whom the list is asked at all.
fn subjects_of(state: &State, list: usize, blamed: &Blamed) -> Vec<Subject> {
    let own: Vec<Subject> = state.watch.asked_of(list, &blamed.binding).cloned().collect();
    if !own.is_empty() {
        return own;
    }
    let mut names: BTreeSet<&str> = state.watch.domains_of(&blamed.binding).iter().map(String::as_str).collect();
    let sender = blamed.sender.as_deref().unwrap_or_default();
    let above = sender.match_indices('.').map(|(dot, _)| &sender[dot + 1..]);
    names.extend(std::iter::once(sender).chain(above).take(LEVELS));
    let names = names.into_iter().map(|name| Subject::Domain(name.to_owned()));
    names.filter(|subject| state.watch.is_asked(list, subject)).collect()
}

impl Inbox {
    fn want(&mut self, blamed: Blamed) {
        if self.wanted.len() < INBOX_MAX {
            self.wanted.insert(blamed);
        }
    }
}
