//! What becomes of mail that is refused for the address's sake: stories of whole machines under a clock turned by hand.

use std::time::Duration;

use super::tests::{MINUTE, Rig, binding};
use super::*;
use crate::message::DestinationName;
use crate::outcome::{Action as Asked, Cause, Disposition, NextBinding, Outcome, Scope};
use crate::reputation::{Health, Subject};

const HOUR: Duration = Duration::from_secs(3600);

/// "550 your IP has a poor reputation", as a rule reads it.
fn poor_reputation() -> Outcome {
    Outcome {
        disposition: Disposition::Deferred,
        cause: Some(Cause::SpamBlockIp),
        scope: Scope::Binding,
        counts_against_ip: true,
        certain: false,
        hard: false,
        next_binding: NextBinding::Other,
        retry_after: None,
        action: Asked::None,
        rule: "test".into(),
    }
}

fn greylisted() -> Outcome {
    let scope = Scope::Destination;
    let cause = Some(Cause::Greylisted);
    Outcome { cause, scope, counts_against_ip: false, next_binding: NextBinding::Prefer, ..poor_reputation() }
}

fn accepted() -> Outcome {
    Outcome { disposition: Disposition::Delivered, cause: None, ..greylisted() }
}

/// Bindings m1, m2 … at 192.0.2.n, in these tiers.
fn herd(active: u8, backup: u8) -> String {
    let names = |range: std::ops::RangeInclusive<u8>| range.map(|n| format!("\"m{n}\"")).collect::<Vec<_>>().join(", ");
    let mut text: String = (1..=active + backup).map(|n| binding(n, "")).collect();
    text += &format!("[pool.main]\nactive = [{}]\n", names(1..=active));
    if backup > 0 {
        text += &format!("backup = [[{}]]\n", names(active + 1..=active + backup));
    }
    text
}

impl Rig {
    /// Mail of this tenant, from its own domain, that outlives every hold.
    fn mail(&mut self, tenant: &str) -> EntryId {
        let mut entry = self.entry(tenant, "main", "alpha.example");
        entry.reverse_path = Some(format!("news@{tenant}.example").parse().expect("a mailbox"));
        entry.expires = self.now.wall.plus(1_000 * HOUR);
        self.take_in(entry)
    }

    /// The attempt is answered like this. The binding that made it, and what became of the entry.
    fn answer(&mut self, start: Start, outcome: Outcome) -> (String, Settled) {
        let delivered = outcome.disposition == Disposition::Delivered;
        let answers = [Answered { recipient: 0, outcome, text: "550 so it says".into(), host: None }];
        let mut entry = self.entries[&start.entry].clone();
        let (_, settled) = self.core.concluded(&start.lease, &mut entry, &answers, Some(MINUTE / 60), 0.5, self.now);
        let settlement = Settlement::Accepted(u32::from(delivered));
        self.core.settled(entry.id, start.lease, settlement, settled.waits.then_some(&entry), self.now);
        self.entries.insert(entry.id, entry);
        (start.binding.name.to_string(), settled)
    }

    fn suspend_for_good(&mut self, name: &str) {
        let evidence = Evidence::OperatorSuspend {
            binding: BindingName::new(name),
            destination: None,
            reason: "test".into(),
            span: None,
        };
        assert_eq!(self.core.observe(&evidence, self.now).changes.len(), 1);
    }

    fn is_active(&self, name: &str) -> bool {
        let route = Subject::Route(name.into(), DestinationName::new("site:alpha.example"));
        [Subject::Binding(name.into()), route].iter().all(|s| *self.core.reputation().health(s) == Health::Active)
    }

    /// Lets an hour pass in small steps; every attempt is answered by what `answer` makes of binding and tenant. Which
    /// binding was used for whom, in order.
    fn hour(&mut self, answer: impl Fn(&str, &str) -> Outcome) -> Vec<(String, String)> {
        let mut used = Vec::new();
        for _ in 0..60 {
            while let Some(start) = self.attempt() {
                let tenant = self.entries[&start.entry].tenant.to_string();
                let outcome = answer(start.binding.name.as_str(), &tenant);
                used.push((self.answer(start, outcome).0, tenant));
            }
            self.pass(MINUTE);
        }
        used
    }
}

fn bindings_of<'a>(used: &'a [(String, String)], tenant: &str) -> std::collections::BTreeSet<&'a str> {
    used.iter().filter(|(_, of)| of == tenant).map(|(name, _)| name.as_str()).collect()
}

#[test]
fn a_campaign_that_every_address_is_refused_for_wears_out_two_and_leaves_the_rest_alone() {
    let mut rig = Rig::new(&herd(4, 2));
    let ids: Vec<_> = (0..40).map(|_| rig.mail("acme")).collect();
    let refuse = |_: &str, _: &str| poor_reputation();
    let mut first = Vec::new();
    while let Some(start) = rig.attempt() {
        first.push(rig.answer(start, poor_reputation()).0);
    }
    assert_eq!(first.len(), 2, "{first:?}: refused by one, moved to another, and no further");
    assert_eq!(rig.reason(ids[30]), "tenant_held");
    // For days: only probes, and only where it has been already.
    let used: Vec<_> = (0..72).flat_map(|_| rig.hour(refuse)).collect();
    // After an hour, two, and then every four.
    assert!((15..=19).contains(&used.len()), "{} in three days", used.len());
    assert!(used.iter().all(|(name, _)| first.contains(name)), "{used:?} beside {first:?}");
    assert!((1..=6).all(|n| rig.is_active(&format!("m{n}"))), "one refusal each is not much");
    // Nobody was bounced for it, and most have never been tried.
    assert!(ids.iter().all(|id| rig.core.index().get(*id).is_some()));
    let untried = ids.iter().filter(|id| rig.core.index().get(**id).is_some_and(|waiting| waiting.attempts == 0));
    assert!(untried.count() >= 19, "only probes were tried");
    // It is welcome again: one message shows it, and the rest follows over all actives.
    let used: Vec<_> = (0..30).flat_map(|_| rig.hour(|_, _| accepted())).collect();
    assert_eq!((used.len(), bindings_of(&used, "acme").len()), (40, 4));
}

#[test]
fn other_tenants_go_on_over_every_binding_meanwhile() {
    let mut rig = Rig::new(&herd(3, 1));
    let answer = |_: &str, tenant: &str| if tenant == "acme" { poor_reputation() } else { accepted() };
    let mut used = Vec::new();
    for _ in 0..6 {
        for _ in 0..30 {
            rig.mail("acme");
            rig.mail("bolt");
        }
        used.extend(rig.hour(answer));
    }
    assert_eq!(used.iter().filter(|(_, tenant)| tenant == "bolt").count(), 180);
    assert_eq!(bindings_of(&used, "bolt"), ["m1", "m2", "m3"].into(), "and no backup");
    assert!(bindings_of(&used, "acme").len() <= 2);
    assert!((1..=4).all(|n| rig.is_active(&format!("m{n}"))));
}

#[test]
fn one_address_that_is_really_blocked_loses_its_mail_at_once_and_alone() {
    let mut rig = Rig::new(&herd(3, 1));
    (0..60).for_each(|_| _ = rig.mail("acme"));
    let mut used = Vec::new();
    while let Some(start) = rig.attempt() {
        rig.pass(Duration::from_millis(1));
        let outcome = if start.binding.name.as_str() == "m2" { poor_reputation() } else { accepted() };
        used.push(rig.answer(start, outcome).0);
    }
    assert_eq!(used.iter().filter(|name| *name == "m2").count(), 3, "three refusals, and it is out");
    assert_eq!((used.len(), rig.core.index().depth().0), (63, 0), "all delivered without any waiting");
    assert_eq!([1, 2, 3, 4].map(|n| rig.is_active(&format!("m{n}"))), [true, false, true, true]);
    assert!(!used.contains(&"m4".to_owned()), "the backup was not needed");
}

#[test]
fn two_addresses_that_are_listed_are_both_out_and_the_third_carries_on() {
    let mut rig = Rig::new(&herd(3, 0));
    let ids: Vec<_> = (0..30).map(|_| rig.mail("acme")).collect();
    let listed = Outcome { certain: true, action: Asked::SuspendRoute(2 * HOUR), ..poor_reputation() };
    let used = rig.hour(|name, _| if name == "m3" { accepted() } else { listed.clone() });
    assert_eq!([1, 2, 3].map(|n| rig.is_active(&format!("m{n}"))), [false, false, true]);
    assert_eq!(used.iter().filter(|(name, _)| name == "m3").count(), 30);
    assert!(ids.iter().all(|id| rig.core.index().get(*id).is_none()), "nobody was stopped");
}

#[test]
fn a_message_whose_bindings_are_all_excluded_waits_for_the_first_of_them_without_an_attempt() {
    let mut rig = Rig::new(&herd(2, 1));
    let other = rig.mail("acme");
    let mut entry = rig.entry("acme", "main", "alpha.example");
    let end = |n: u32| rig.now.wall.plus(n * MINUTE);
    entry.state.excluded = vec![("m1".into(), end(50)), ("m2".into(), end(20)), ("m3".into(), end(35))];
    entry.state.attempts = 2;
    entry.expires = end(600);
    let id = rig.take_in(entry);
    assert_eq!(rig.attempts().into_iter().map(|start| start.entry).collect::<Vec<_>>(), [other]);
    assert_eq!(rig.reason(id), "excluded");
    rig.pass(19 * MINUTE);
    assert!(rig.attempt().is_none());
    // A little later than the end: waits are spread.
    rig.pass(4 * MINUTE);
    let start = rig.attempt().expect("the first of them is free");
    assert_eq!((start.entry, start.binding.name.as_str()), (id, "m2"));
    assert_eq!(rig.core.index().get(id).map(|waiting| waiting.attempts), Some(2));
}

#[test]
fn mail_that_is_blamed_for_everywhere_is_given_up_at_the_end_of_its_life_and_not_before() {
    let mut rig = Rig::new(&herd(2, 1));
    let mut entry = rig.entry("acme", "main", "alpha.example");
    entry.reverse_path = Some("news@acme.example".parse().expect("a mailbox"));
    entry.expires = rig.now.wall.plus(30 * HOUR);
    let id = rig.take_in(entry);
    for hour in 0..31 {
        assert!(rig.asked.is_empty() && rig.core.index().get(id).is_some(), "in hour {hour}");
        rig.hour(|_, _| poor_reputation());
    }
    assert!(matches!(rig.asked[..], [Action::Expire(expired)] if expired == id), "{:?}", rig.asked);
}

#[test]
fn where_the_network_is_named_its_other_addresses_are_passed_over() {
    // m1 and m2 are neighbours, m9 is not; all active.
    let elsewhere = "[binding.m9]\nbind_address = \"198.51.100.9\"\nehlo_hostname = \"m9.example.net\"\n";
    let text = binding(1, "") + &binding(2, "") + elsewhere + "[pool.main]\nactive = [\"m1\", \"m2\", \"m9\"]\n";
    let of_network = Outcome { scope: Scope::Range, action: Asked::SuspendRoute(4 * HOUR), ..poor_reputation() };
    let mut seen = 0;
    for _ in 0..6 {
        let mut rig = Rig::new(&text);
        (0..3).for_each(|_| _ = rig.mail("acme"));
        let mut starts = rig.attempts();
        starts.sort_by_key(|start| start.binding.name.clone());
        let first = starts.remove(0);
        if first.binding.name.as_str() == "m9" {
            continue;
        }
        seen += 1;
        let (id, named) = (first.entry, first.binding.name.to_string());
        rig.answer(first, of_network.clone());
        assert_eq!(rig.entries[&id].state.excluded.len(), 2, "itself and its neighbour");
        assert_eq!(rig.attempt().map(|start| start.binding.name.to_string()), Some("m9".into()), "after {named}");
        assert_eq!([1, 2, 9].map(|n| rig.is_active(&format!("m{n}"))), [false, false, true], "new mail as well");
    }
    assert!(seen > 0);
}

#[test]
fn greylisted_mail_comes_back_over_the_same_binding_also_after_a_restart() {
    let mut rig = Rig::new(&herd(5, 0));
    let id = rig.mail("acme");
    let start = rig.attempt().expect("free");
    let (first, _) = rig.answer(start, greylisted());
    for try_number in 1..=3 {
        if try_number == 2 {
            let text = herd(5, 0);
            let (core, _) = Core::new(&tests::config(&text), &[], &[], 99, rig.now);
            rig.core = core;
            let entry = rig.entries[&id].clone();
            assert!(rig.core.enqueue(&entry, rig.now));
        }
        rig.pass(HOUR + HOUR);
        let start = rig.attempt().expect("due again");
        assert_eq!(start.binding.name.as_str(), first, "try {try_number}");
        rig.answer(start, greylisted());
    }
    assert_eq!(rig.entries[&id].state.sticky, None, "then any");
}

#[test]
fn greylisted_mail_does_not_wait_for_a_binding_that_is_out() {
    let mut rig = Rig::new(&herd(2, 0));
    let id = rig.mail("acme");
    let start = rig.attempt().expect("free");
    let (first, _) = rig.answer(start, greylisted());
    rig.suspend_for_good(&first);
    let due = rig.entries[&id].state.next_at;
    rig.pass(due.since(rig.now.wall));
    let start = rig.attempt().expect("at once");
    assert_ne!(start.binding.name.as_str(), first);
}

#[test]
fn a_probe_takes_a_fresh_binding_only_where_none_that_it_has_met_can_carry_it() {
    let mut rig = Rig::new(&herd(3, 0));
    (0..5).for_each(|_| _ = rig.mail("acme"));
    let mut met = Vec::new();
    while let Some(start) = rig.attempt() {
        met.push(rig.answer(start, poor_reputation()).0);
    }
    assert_eq!(met.len(), 2);
    rig.suspend_for_good(&met[0]);
    rig.pass(70 * MINUTE);
    let probe = rig.attempt().expect("one");
    assert_eq!(probe.binding.name.as_str(), met[1]);
    rig.answer(probe, poor_reputation());
    rig.suspend_for_good(&met[1]);
    rig.pass(140 * MINUTE);
    let probe = rig.attempt().expect("one");
    assert!(!met.contains(&probe.binding.name.to_string()));
    let fresh = rig.answer(probe, poor_reputation()).0;
    assert!(rig.is_active(&fresh), "and it is not blamed");
}

#[test]
fn stopped_mail_whose_bindings_are_at_their_caps_asks_once_a_minute() {
    let names = "[pool.main]\nactive = [\"m1\", \"m2\", \"m3\"]\n";
    let capped: String = (1..=3).map(|n| binding(n, "daily_cap = 1")).collect();
    let mut rig = Rig::new(&(capped + names));
    let ids: Vec<_> = (0..40).map(|_| rig.mail("acme")).collect();
    let mut met = Vec::new();
    while let Some(start) = rig.attempt() {
        met.push(rig.answer(start, poor_reputation()).0);
    }
    assert_eq!(met.len(), 2);
    (0..3).for_each(|_| _ = rig.mail("bolt"));
    while let Some(start) = rig.attempt() {
        rig.answer(start, accepted());
    }
    rig.pass(70 * MINUTE);
    assert!(rig.attempt().is_none());
    assert_eq!(rig.reason(ids[30]), "cap");
    let (end, before) = (rig.now.wall.plus(10 * MINUTE), rig.core.looks);
    while let Some(at) = rig.core.next_wakeup().filter(|at| *at <= end) {
        rig.pass(at.since(rig.now.wall));
        assert!(rig.attempt().is_none());
    }
    let looks = rig.core.looks - before;
    assert!((1..=40 * 11).contains(&looks), "{looks} in ten minutes");
    rig.pass(26 * HOUR);
    // By then nothing was heard of the mail for a whole day: it is free again, and begins anew.
    assert!(rig.attempt().is_some(), "the next day");
}
