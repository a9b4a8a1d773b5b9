//! From what was seen to evidence, notes and the snapshot.

use std::net::IpAddr;
use std::sync::Arc;

use tracing::{info, warn};

use super::setup::{Setup, Target};
use super::{Looked, Monitor, State, What};
use crate::clock::Wall;
use crate::config::{self, Family, Ipv6Names};
use crate::message::BindingName;
use crate::monitor::dnsbl::Look;
use crate::monitor::identity::names::{self, Checked, Grade, Observed};
use crate::monitor::reverse::{self, Seen as SeenReverse};
use crate::monitor::subject::{Subject, domains};
use crate::monitor::tell;
use crate::monitor::watch::{AnswersSnapshot, ReverseSnapshot, Snapshot};
use crate::reputation::Evidence;

impl Monitor {
    pub(super) fn conclude(&self, done: Vec<Looked>) {
        let now = self.common.clock.now().wall;
        let (news, notes) = {
            let mut state = self.state.lock();
            let (setup, mut news) = (self.setup(), Vec::new());
            for looked in done.into_iter().filter_map(|looked| looked.under(&setup)) {
                match looked {
                    What::Zone(zone, whole, Look { seen: Some(seen), .. }) => {
                        state.watch.saw(zone, &seen, now);
                        setup.config.monitor.zones.get(zone).map(|zone| state.starved.remove(&zone.name));
                        state.count_round(whole, now);
                    }
                    What::Zone(zone, whole, look) => {
                        // That strangers' blame finds no budget is as it should be.
                        let is_missed = whole || !look.refused.0.is_empty();
                        let asked_for_nothing = state.watch.subjects(zone).is_empty();
                        let name = setup.config.monitor.zones.get(zone).map(|zone| zone.name.clone());
                        if is_missed && !asked_for_nothing && name.is_some_and(|name| state.starved.insert(name)) {
                            state.watch.out_of_budget(zone);
                        }
                    }
                    What::Reverse(seen) => {
                        state.count_round(!seen.is_empty(), now);
                        news.extend(self.conclude_reverse(&mut state, &setup, seen, now));
                    }
                }
            }
            news.extend(state.watch.evidence(now));
            self.leave_snapshot(&state);
            (news, state.watch.take_notes())
        };
        // Outside the lock: the sinks may ask for a snapshot.
        let hearing = self.notes.lock().clone();
        for note in &notes {
            tell::log(note);
            if let Some(hearing) = &hearing {
                hearing(note, now);
            }
        }
        news.into_iter().for_each(|evidence| (self.sink)(evidence));
    }

    fn conclude_reverse(
        &self,
        state: &mut State,
        setup: &Setup,
        seen: Vec<(BindingName, Vec<(IpAddr, Observed)>)>,
        now: Wall,
    ) -> Vec<Evidence> {
        let rules = &setup.config.monitor;
        let distrusted = state.watch.distrusted();
        let mut news = Vec::new();
        let mut has_new_names = false;
        for (binding, observed) in seen {
            let Some(target) = setup.target(&binding) else { continue };
            let ehlo = target.ehlo.as_deref();
            let seen = match distrusted {
                Some(why) => SeenReverse::Unknown(format!("the resolver is not to be believed: {why}")),
                None => reverse::of_all(observed.iter().map(|(address, observed)| observed.reverse(*address))),
            };
            if let SeenReverse::Confirmed(names) = &seen {
                has_new_names |= state.names.get(&binding) != Some(names);
                state.names.insert(binding.clone(), names.clone());
            }
            if !matches!(seen, SeenReverse::Unknown(_)) {
                state.watch.reverse_seen(&binding);
            }
            let reverse = state.reverse.entry(binding.clone()).or_default();
            let proof = proof(rules, target, reverse.confirmed);
            let proven = reverse.seen(&seen, ehlo, proof, rules.confirm_after, now);
            if distrusted.is_none() {
                let told = reverse.names_seen(names::checks_of_all(ehlo, &observed));
                told.iter().for_each(|checked| self.tell_name(&binding, checked));
            }
            if let Some(confirmed) = proven {
                news.push(Evidence::ReverseDns { binding, confirmed, detail: reverse.detail.clone() });
            }
        }
        if has_new_names {
            let names = state.names.iter().map(|(binding, names)| (binding, names.as_slice()));
            let domains = domains(&setup.config, names);
            state.has_new_domains |= domains.len() != state.watch.domains().len();
            state.watch.set_domains(domains);
        }
        news.sort_by(|a, b| match (a, b) {
            (Evidence::ReverseDns { binding: a, .. }, Evidence::ReverseDns { binding: b, .. }) => a.cmp(b),
            _ => std::cmp::Ordering::Equal,
        });
        news
    }

    fn tell_name(&self, binding: &BindingName, checked: &Checked) {
        let (check, detail) = (checked.check.as_str(), &checked.detail);
        if checked.grade == Grade::Good {
            info!(%binding, check, detail, "name of a binding is as it should be again");
        } else {
            warn!(%binding, check, detail, remedy = checked.check.remedy(), "name of a binding is not as it should be");
        }
        if let Some(sink) = self.names.get() {
            sink(binding, checked);
        }
    }

    pub(super) fn leave_snapshot(&self, state: &State) {
        let setup = self.setup();
        let reverse = state.reverse.iter().filter(|_| setup.config.monitor.fcrdns);
        let reverse = reverse.map(|(binding, reverse)| ReverseSnapshot {
            binding: binding.clone(),
            confirmed: reverse.confirmed,
            ehlo_agrees: reverse.ehlo_agrees,
            detail: reverse.detail.clone(),
            last_conclusive: reverse.last_conclusive,
            checks: reverse.checks.clone(),
        });
        let mut snapshot = Snapshot {
            reverse: reverse.collect(),
            rounds: state.rounds,
            last_round: state.last_round,
            ..state.watch.snapshot()
        };
        for (shown, zone) in snapshot.zones.iter_mut().zip(&setup.zones) {
            (shown.budget_left, shown.budget_denied) = zone.budget();
            let answers = zone.answers().into_iter().map(|(outcome, count)| AnswersSnapshot { outcome, count });
            shown.answers = answers.collect();
        }
        *self.snapshot.lock() = snapshot;
    }
}

/// How many rounds prove reverse DNS broken: one where an IPv6 address must pass before its first use.
fn proof(rules: &config::Monitor, target: &Target, known: Option<bool>) -> u32 {
    let must_pass_first =
        target.publics.to_canonical().of(Family::V6).is_some() && rules.ipv6_names == Ipv6Names::Require;
    if must_pass_first && known.is_none() { 1 } else { rules.confirmations }
}

impl Looked {
    /// As far as it holds under the setup that is in force now: the list must be the same, and the address that was asked
    /// about still the binding's.
    fn under(self, now: &Arc<Setup>) -> Option<What> {
        let Self { setup, what } = self;
        if Arc::ptr_eq(&setup, now) {
            return Some(what);
        }
        match what {
            What::Zone(zone, whole, mut look) => {
                let zone = now.number_of(setup.zones.get(zone)?)?;
                if let Some(seen) = &mut look.seen {
                    let holds = |subject: &Subject| setup.means_same(now, subject);
                    seen.answers.retain(|(subject, _)| holds(subject));
                    seen.seconds.retain(|(subject, _)| holds(subject));
                    seen.texts.retain(|(subject, _)| holds(subject));
                }
                Some(What::Zone(zone, whole, look))
            }
            What::Reverse(mut seen) => {
                let asker = |setup: &Setup| setup.reverse.clone();
                let is_same = asker(&setup).zip(asker(now)).is_some_and(|(old, new)| Arc::ptr_eq(&old, &new));
                let names = |setup: &Setup, binding: &BindingName| {
                    setup.target(binding).map(|target| (target.publics, target.ehlo.clone()))
                };
                seen.retain(|(binding, _)| is_same && names(&setup, binding) == names(now, binding));
                Some(What::Reverse(seen))
            }
        }
    }
}

impl State {
    fn count_round(&mut self, whole: bool, now: Wall) {
        if whole {
            self.rounds += 1;
            self.last_round = Some(now);
        }
    }
}
