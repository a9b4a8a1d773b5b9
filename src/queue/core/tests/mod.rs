//! The machine as its shell sees it: what goes in, which actions come out.

mod covers;
mod parking;
mod reconfigured;
mod shares;

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::clock::Mono;
use crate::delivery::plan::NoPlan;
use crate::message::{DestinationName, EntryState, Mailbox, MessageId, Wishes};
use crate::outcome::Scope;
use crate::reputation::evidence::AttemptResult;
use crate::reputation::{Health, Subject};
use crate::scheduler::prediction::Feature;

const START: Wall = Wall::from_millis(1_779_280_200_000);
pub(super) const MINUTE: Duration = Duration::from_secs(60);

/// Windows as wide as they may be, so that a test can have many attempts under way.
const TENANTS: &str = "[window]\nadaptive = false\n[server]\nhostname = \"relay.example.net\"\nstate_dir = \"/var/lib/remuda\"\n\
    [[listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"127.0.0.0/8\"]\n\
    [tenant.acme]\nmatch = { sender_domain = [\"acme.example\"] }\npools = { default = \"main\" }\n\
    [tenant.bolt]\nmatch = { sender_domain = [\"bolt.example\"] }\npools = { default = \"main\" }\nweight = 3\n";
const POOL: &str = "[pool.main]\nactive = [\"m1\"]\n";

/// Two tenants, the second of weight 3, and what `extra` says; pool `main` of `m1` unless it says another.
pub(super) fn config(extra: &str) -> Config {
    let mut text = String::from(TENANTS);
    text.push_str(extra);
    if !extra.contains("[pool.main]") {
        text.push_str(POOL);
    }
    Config::from_toml(&text).expect("the configuration is good")
}

/// Binding `m<n>` with these further lines.
pub(super) fn binding(n: u8, lines: &str) -> String {
    format!("[binding.m{n}]\nbind_address = \"192.0.2.{n}\"\nehlo_hostname = \"m{n}.example.net\"\n{lines}\n")
}

/// A core whose DNS answers at once (`site:` and the domain), and whose grants are written when asked to be.
pub(super) struct Rig {
    pub(super) core: Core,
    pub(super) now: Now,
    pub(super) entries: BTreeMap<EntryId, Entry>,
    /// Actions other than attempts and lookups that were answered.
    pub(super) asked: Vec<Action>,
    dns: bool,
    grants: bool,
    resolved: usize,
}

impl Rig {
    pub(super) fn new(extra: &str) -> Self {
        let now = Now { mono: Mono::from_nanos(1_000_000_000), wall: START };
        let (core, unreadable) = Core::new(&config(extra), &[], &[], 7, now);
        assert!(unreadable.is_empty());
        Self { core, now, entries: BTreeMap::new(), asked: Vec::new(), dns: true, grants: true, resolved: 0 }
    }

    pub(super) fn pass(&mut self, span: Duration) {
        self.now.mono = Mono::from_nanos(self.now.mono.as_nanos() + span.as_nanos() as u64);
        self.now.wall = self.now.wall.plus(span);
        self.core.tick(self.now);
    }

    pub(super) fn entry(&self, tenant: &str, pool: &str, domain: &str) -> Entry {
        // Entries are kept when they are gone, so numbers are never used again.
        let id = self.entries.len() as u64 + 1;
        Entry {
            id: EntryId(id),
            message: MessageId(id),
            tenant: tenant.into(),
            stream: "default".into(),
            pool: pool.into(),
            domain: domain.parse().expect("a domain"),
            reverse_path: None,
            recipients: vec![format!("u{id}@{domain}").parse::<Mailbox>().expect("a mailbox").into()],
            arrived: self.now.wall,
            expires: self.now.wall.plus(60 * MINUTE),
            size: 2048,
            eight_bit: false,
            wishes: Wishes::NONE,
            state: EntryState::default(),
        }
    }

    pub(super) fn take_in(&mut self, entry: Entry) -> EntryId {
        assert!(self.core.enqueue(&entry, self.now));
        let id = entry.id;
        self.entries.insert(id, entry);
        id
    }

    fn send(&mut self, tenant: &str, domain: &str) -> EntryId {
        self.take_in(self.entry(tenant, "main", domain))
    }

    fn resolve(&mut self, domain: &str, planned: Result<&str, NoPlan>) {
        let planned = planned.map(|name| Arc::new(MxPlan::pinned_to(DestinationName::new(name))));
        self.core.resolved(&domain.parse().expect("a domain"), planned, self.now);
    }

    /// The next attempt, if there is one to be made.
    pub(super) fn attempt(&mut self) -> Option<Start> {
        loop {
            match self.core.next(self.now) {
                Some(Action::Attempt(start)) => return Some(start),
                Some(Action::Resolve(domain)) if self.dns => {
                    self.resolved += 1;
                    self.resolve(domain.as_str(), Ok(&format!("site:{domain}")));
                }
                Some(Action::WriteGrants(grants)) if self.grants => self.core.grants_written(&grants, true, self.now),
                Some(other) => self.asked.push(other),
                None if self.core.has_more => {}
                None => return None,
            }
        }
    }

    pub(super) fn attempts(&mut self) -> Vec<Start> {
        std::iter::from_fn(|| self.attempt()).collect()
    }

    /// The attempt is over and everything was accepted.
    fn deliver(&mut self, start: Start) {
        self.core.settled(start.entry, start.lease, Settlement::Accepted(1), None, self.now);
    }

    /// The attempt is over and the entry waits as `change` leaves it.
    fn put_back(&mut self, start: Start, change: impl FnOnce(&mut Entry)) {
        let entry = self.entries.get_mut(&start.entry).expect("known");
        change(entry);
        self.core.settled(start.entry, start.lease, Settlement::Accepted(0), Some(entry), self.now);
    }

    pub(super) fn reason(&self, id: EntryId) -> &'static str {
        self.core.view(id).expect("waits").reason
    }

    fn bindable(&mut self, name: &str, is: bool) {
        let binding = BindingName::new(name);
        let evidence = match is {
            true => Evidence::Bindable { binding },
            false => Evidence::Unbindable { binding, detail: "no such address".into() },
        };
        assert_eq!(self.core.observe(&evidence, self.now).changes.len(), 1);
    }

    fn is_blameless(&self, name: &str) -> bool {
        *self.core.reputation().health(&Subject::Binding(name.into())) == Health::Active
    }
}

#[test]
fn a_domain_is_looked_up_once_however_many_wait_for_it() {
    let mut rig = Rig::new(&binding(1, ""));
    rig.dns = false;
    let ids: Vec<_> = (0..10).map(|_| rig.send("acme", "alpha.example")).collect();
    assert!(rig.attempt().is_none());
    assert_eq!(rig.asked.len(), 1, "{:?}", rig.asked);
    assert_eq!(rig.reason(ids[3]), "resolving");
    rig.resolve("alpha.example", Ok("site:alpha"));
    let started: Vec<_> = rig.attempts().into_iter().map(|start| start.entry).collect();
    assert_eq!(started, ids, "in the order of arrival");
}

#[test]
fn a_temporary_dns_failure_delays_longer_each_time_and_blames_nobody() {
    let mut rig = Rig::new(&binding(1, ""));
    rig.dns = false;
    let id = rig.send("acme", "alpha.example");
    for seconds in [30, 60, 120, 240] {
        assert!(rig.attempt().is_none());
        assert!(matches!(rig.asked.pop(), Some(Action::Resolve(_))), "after the last wait");
        rig.resolve("alpha.example", Err(NoPlan::Temporary { text: "SERVFAIL".into() }));
        assert_eq!(rig.reason(id), "dns");
        assert_eq!(rig.core.next_wakeup(), Some(rig.now.wall.plus(Duration::from_secs(seconds))));
        rig.pass(Duration::from_secs(seconds - 1));
        assert!(rig.attempt().is_none() && rig.asked.is_empty());
        rig.pass(Duration::from_secs(1));
    }
    rig.dns = true;
    assert_eq!(rig.attempt().map(|start| start.entry), Some(id));
    assert_eq!(rig.core.index().get(id).map(|waiting| waiting.attempts), Some(0));
    assert!(rig.is_blameless("m1"));
}

#[test]
fn a_permanent_dns_answer_refuses_everything_that_waits_for_it_and_nothing_else() {
    let mut rig = Rig::new(&binding(1, ""));
    rig.dns = false;
    let gone = [rig.send("acme", "gone.example"), rig.send("bolt", "gone.example")];
    let other = rig.send("acme", "alpha.example");
    assert!(rig.attempt().is_none());
    rig.asked.clear();
    let enhanced = EnhancedCode { class: 5, subject: 1, detail: 10 };
    rig.resolve("gone.example", Err(NoPlan::Permanent { enhanced, text: "null MX".into() }));
    assert!(rig.attempt().is_none());
    let refused: Vec<_> = rig
        .asked
        .iter()
        .filter_map(|action| match action {
            Action::Refuse { entry, enhanced, .. } => Some((*entry, enhanced.detail)),
            _ => None,
        })
        .collect();
    assert_eq!(refused, gone.map(|id| (id, 10)));
    gone.into_iter().for_each(|id| rig.core.forget(id));
    assert_eq!(rig.core.index().depth(), (1, 1));
    assert_eq!(rig.reason(other), "resolving");
    assert!(rig.is_blameless("m1"));
}

#[test]
fn hosts_that_moved_are_noticed_while_a_lane_goes_on() {
    let mut rig = Rig::new(&binding(1, "rate_limit = \"1/min\""));
    for _ in 0..10 {
        rig.send("acme", "alpha.example");
    }
    let first = rig.attempt().expect("one a minute");
    assert_eq!(first.plan.destination.as_str(), "site:alpha.example");
    assert!(rig.attempt().is_none());
    rig.dns = false;
    rig.pass(10 * MINUTE);
    let second = rig.attempt().expect("goes on with the hosts it knows");
    assert_eq!(second.plan.destination.as_str(), "site:alpha.example");
    assert!(rig.attempt().is_none());
    assert!(matches!(rig.asked[..], [Action::Resolve(_)]), "{:?}", rig.asked);
    rig.resolve("alpha.example", Ok("gmail"));
    rig.pass(2 * MINUTE);
    let third = rig.attempt().expect("the next");
    assert_eq!(third.plan.destination.as_str(), "gmail");
    let counted = rig.core.scheduler().destination_name(third.lease.destination).to_string();
    assert_eq!(counted, "gmail", "limits are those of where it really goes");
}

#[test]
fn trouble_with_looking_up_again_stops_no_lane_and_asks_not_at_each_message() {
    let mut rig = Rig::new(&binding(1, "max_outbound_connections = 1"));
    for _ in 0..50 {
        rig.send("acme", "alpha.example");
    }
    let first = rig.attempt().expect("free");
    rig.deliver(first);
    rig.dns = false;
    rig.pass(10 * MINUTE);
    for _ in 0..20 {
        let start = rig.attempt().expect("goes on");
        if let Some(Action::Resolve(_)) = rig.core.next(rig.now) {
            rig.resolved += 1;
            rig.resolve("alpha.example", Err(NoPlan::Temporary { text: "SERVFAIL".into() }));
        }
        rig.deliver(start);
    }
    assert_eq!(rig.resolved, 2, "at the start and once more");
}

#[test]
fn a_suspended_binding_blocks_its_lane_with_the_reason_until_it_is_back() {
    let mut rig = Rig::new(&binding(1, ""));
    rig.bindable("m1", false);
    let ids: Vec<_> = (0..1_000).map(|_| rig.send("acme", "alpha.example")).collect();
    assert!(rig.attempt().is_none());
    let lanes: Vec<_> = rig.core.index().lanes().collect();
    assert_eq!((lanes.len(), lanes[0].entries), (1, 1_000));
    assert_eq!(lanes[0].blocked.map(|block| block.reason), Some("suspended"));
    assert_eq!(rig.reason(ids[999]), "suspended");
    assert_eq!(rig.core.index.next_ready(), None, "one look was enough for all of them");
    rig.send("acme", "alpha.example");
    assert_eq!(rig.core.index.next_ready(), None, "and newcomers do not cause another");
    rig.bindable("m1", true);
    assert!(rig.attempt().is_some());
}

#[test]
fn a_tenant_at_its_cap_does_not_stop_others_in_the_same_lane() {
    let acme = "[tenant.acme]\n";
    let mut rig = Rig::new(&binding(1, ""));
    let text = TENANTS.replace(acme, "[tenant.acme]\ndaily_cap = 2\n") + &binding(1, "") + POOL;
    rig.core = Core::new(&Config::from_toml(&text).expect("good"), &[], &[], 7, rig.now).0;
    let mut own = [Vec::new(), Vec::new()];
    for _ in 0..10 {
        own[0].push(rig.send("acme", "alpha.example"));
        own[1].push(rig.send("bolt", "alpha.example"));
    }
    let started: Vec<_> = rig.attempts().iter().map(|start| start.entry).collect();
    assert_eq!(started.iter().filter(|id| own[0].contains(id)).count(), 2);
    assert_eq!(started.iter().filter(|id| own[1].contains(id)).count(), 10);
    assert_eq!(rig.reason(own[0][9]), "cap");
    assert!(rig.core.index().lanes().all(|lane| lane.blocked.is_none()), "the lane is open for others");
    rig.pass(24 * 60 * MINUTE);
    rig.asked.clear();
    assert!(rig.attempt().is_none(), "they have expired meanwhile");
    assert_eq!(rig.asked.len(), 8);
}

#[test]
fn no_more_attempts_are_in_flight_than_allowed() {
    let mut rig = Rig::new(&(binding(1, "") + "[queue]\nmax_attempts_in_flight = 3\n"));
    for _ in 0..10 {
        rig.send("acme", "alpha.example");
    }
    let mut starts = rig.attempts();
    assert_eq!((starts.len(), rig.core.in_flight()), (3, 3));
    let one = starts.remove(0);
    rig.deliver(one);
    assert_eq!(rig.attempts().len(), 1);
    rig.core.stop();
    starts.into_iter().for_each(|start| rig.deliver(start));
    assert!(rig.attempt().is_none(), "nothing begins while stopping");
}

#[test]
fn a_freed_connection_wakes_its_own_destination_first_and_then_one_lane_in_order() {
    let mut rig = Rig::new(&binding(1, "max_outbound_connections = 1"));
    let domains = ["a.example", "b.example", "c.example"];
    rig.send("acme", "a.example");
    let mut flying = rig.attempt().expect("free");
    for domain in domains {
        for _ in 0..2 {
            rig.send("acme", domain);
        }
    }
    assert!(rig.attempt().is_none());
    assert!(rig.core.index().lanes().all(|lane| lane.blocked.is_some_and(|block| block.reason == "window_full")));
    let mut order = Vec::new();
    loop {
        rig.deliver(flying);
        let awake = rig.core.index().lanes().filter(|lane| lane.blocked.is_none()).count();
        assert!(awake <= 2, "its own and one more, not all that wait: {awake}");
        let Some(next) = rig.attempt() else { break };
        assert!(rig.attempt().is_none(), "one connection");
        order.push(next.plan.destination.to_string());
        flying = next;
    }
    assert_eq!(order.len(), 6, "{order:?}");
    assert_eq!(order[0], "site:a.example", "{order:?}");
    assert!(order[..4].contains(&"site:b.example".into()), "nobody waits for the safety net: {order:?}");
}

#[test]
fn nothing_leaves_before_its_grant_is_on_disk_and_all_that_waited_leaves_then() {
    let mut rig = Rig::new(&binding(1, "daily_cap = 1000"));
    rig.grants = false;
    let ids = [rig.send("acme", "a.example"), rig.send("acme", "b.example")];
    assert!(rig.attempt().is_none());
    assert_eq!(ids.map(|id| rig.reason(id)), ["grant_pending"; 2]);
    let Some(Action::WriteGrants(first)) = rig.asked.pop() else { panic!("{:?}", rig.asked) };
    rig.core.grants_written(&first, false, rig.now);
    assert!(rig.attempt().is_none() && rig.asked.is_empty(), "a failure is not repeated at once");
    rig.pass(Duration::from_secs(6));
    assert!(rig.attempt().is_none());
    let Some(Action::WriteGrants(again)) = rig.asked.pop() else { panic!("{:?}", rig.asked) };
    assert_eq!(first, again);
    rig.core.grants_written(&again, true, rig.now);
    assert_eq!(rig.attempts().len(), 2);
}

#[test]
fn a_delayed_entry_comes_back_at_its_time_and_an_exclusion_delays_only_itself() {
    let mut rig = Rig::new(&binding(1, ""));
    let id = rig.send("acme", "alpha.example");
    let start = rig.attempt().expect("free");
    let until = rig.now.wall.plus(5 * MINUTE);
    rig.put_back(start, |entry| {
        entry.state.attempts = 1;
        entry.state.next_at = until;
    });
    assert_eq!((rig.reason(id), rig.core.view(id).and_then(|view| view.next_at)), ("retry", Some(until)));
    rig.pass(5 * MINUTE - Duration::from_millis(1));
    assert!(rig.attempt().is_none());
    rig.pass(Duration::from_millis(1));
    let start = rig.attempt().expect("due");
    let until = rig.now.wall.plus(10 * MINUTE);
    rig.put_back(start, |entry| entry.state.excluded = vec![("m1".into(), until)].into_iter().collect());
    let other = rig.send("acme", "alpha.example");
    assert_eq!(rig.attempts().iter().map(|start| start.entry).collect::<Vec<_>>(), [other]);
    assert_eq!(rig.reason(id), "excluded");
    rig.pass(12 * MINUTE);
    assert_eq!(rig.attempts().iter().map(|start| start.entry).collect::<Vec<_>>(), [id]);
}

#[test]
fn an_entry_expires_inside_a_blocked_lane() {
    let mut rig = Rig::new(&binding(1, "suspend_delivery = true"));
    let id = rig.send("acme", "alpha.example");
    assert!(rig.attempt().is_none());
    rig.pass(60 * MINUTE);
    assert!(rig.attempt().is_none());
    assert!(matches!(rig.asked[..], [Action::Expire(expired)] if expired == id), "{:?}", rig.asked);
    assert_eq!(rig.core.index().lanes().count(), 0);
    // The report could not be written: it waits a little longer.
    rig.asked.clear();
    let mut entry = rig.entries[&id].clone();
    entry.expires = rig.now.wall.plus(MINUTE);
    rig.core.postpone(&entry, rig.now);
    let next = rig.attempt();
    assert!(next.is_none() && rig.asked.is_empty(), "{next:?} {:?}", rig.asked);
    rig.pass(MINUTE);
    assert!(rig.attempt().is_none());
    assert!(matches!(rig.asked[..], [Action::Expire(_)]), "{:?}", rig.asked);
}

#[test]
fn an_entry_whose_lifetime_ended_during_an_attempt_expires_when_it_is_back() {
    for extended in [Duration::ZERO, MINUTE] {
        let mut rig = Rig::new(&binding(1, ""));
        let id = rig.send("acme", "alpha.example");
        let start = rig.attempt().expect("free");
        rig.pass(61 * MINUTE);
        assert!(rig.attempt().is_none() && rig.asked.is_empty(), "not while it is on the wire");
        rig.bindable("m1", false);
        let later = rig.now.wall.plus(extended);
        rig.put_back(start, |entry| entry.expires = entry.expires.max(later));
        rig.pass(extended);
        assert!(rig.attempt().is_none());
        assert!(matches!(rig.asked[..], [Action::Expire(expired)] if expired == id), "{:?}", rig.asked);
    }
}

#[test]
fn an_entry_expires_also_where_the_clock_was_set_back_during_its_attempt() {
    let mut rig = Rig::new(&binding(1, ""));
    let began = rig.now.wall;
    let id = rig.send("acme", "alpha.example");
    let start = rig.attempt().expect("free");
    rig.pass(61 * MINUTE);
    assert!(rig.attempt().is_none() && rig.asked.is_empty(), "not while it is on the wire");
    rig.now.wall = began.plus(30 * MINUTE);
    rig.bindable("m1", false);
    rig.put_back(start, |_| {});
    assert!(rig.attempt().is_none() && rig.asked.is_empty(), "half an hour is left");
    rig.pass(31 * MINUTE);
    assert!(rig.attempt().is_none());
    assert!(matches!(rig.asked[..], [Action::Expire(expired)] if expired == id), "{:?}", rig.asked);
}

#[test]
fn what_belongs_to_no_pool_or_tenant_is_not_taken_in() {
    let mut rig = Rig::new(&binding(1, ""));
    for (tenant, pool) in [("acme", "gone"), ("gone", "main")] {
        let entry = rig.entry(tenant, pool, "alpha.example");
        assert!(!rig.core.enqueue(&entry, rig.now));
    }
    assert_eq!(rig.core.index().depth(), (0, 0));
}

#[test]
fn an_entry_that_cannot_be_ended_is_looked_at_again_later_and_not_in_a_circle() {
    let mut rig = Rig::new(&binding(1, ""));
    rig.dns = false;
    let id = rig.send("acme", "alpha.example");
    while rig.core.next(rig.now).is_some() {}
    let expires = rig.core.index().get(id).map(|w| w.expires).expect("it waits");
    rig.pass(expires.since(rig.now.wall));
    assert!(matches!(rig.core.next(rig.now), Some(Action::Expire(expired)) if expired == id));
    rig.core.look_again(id, rig.now.wall.plus(MINUTE));
    assert!(rig.core.next(rig.now).is_none(), "not at once");
    assert!(rig.core.next_wakeup().is_some_and(|at| at > rig.now.wall));
    rig.pass(MINUTE);
    assert!(matches!(rig.core.next(rig.now), Some(Action::Expire(expired)) if expired == id));
}

/// An entry whose reverse path is of this domain.
fn from(rig: &Rig, tenant: &str, sender: &str, domain: &str) -> Entry {
    let mut entry = rig.entry(tenant, "main", domain);
    entry.reverse_path = Some(format!("news@{sender}").parse().expect("a mailbox"));
    entry
}

/// A refusal of message `message` of `tenant` at `site:alpha.example` that asks for a hold of an hour.
fn refused(tenant: &str, sender: Option<&str>, message: u64) -> Evidence {
    let hold = AttemptResult::Refused {
        cause: crate::outcome::Cause::PolicyAuth,
        scope: if sender.is_some() { Scope::SenderDomain } else { Scope::Tenant },
        hard: false,
        counts_against_ip: false,
        action: crate::outcome::Action::HoldTenant(60 * MINUTE),
        rule: "test".into(),
        text: "550 5.7.26 unauthenticated".into(),
    };
    said(tenant, sender, message, hold)
}

fn said(tenant: &str, sender: Option<&str>, message: u64, result: AttemptResult) -> Evidence {
    Evidence::Attempt {
        binding: "m1".into(),
        destination: "site:alpha.example".into(),
        tenant: tenant.into(),
        domain: "alpha.example".parse().expect("a domain"),
        message: MessageId(message),
        stream: "default".into(),
        sender_domain: sender.map(|name| name.parse().expect("a domain")),
        took: None,
        result,
    }
}

/// An answer that says nothing about anybody.
fn later() -> AttemptResult {
    AttemptResult::Refused {
        cause: crate::outcome::Cause::Greylisted,
        scope: Scope::Destination,
        hard: false,
        counts_against_ip: false,
        action: crate::outcome::Action::None,
        rule: "test".into(),
        text: "451 later".into(),
    }
}

impl Rig {
    /// Mail of acme from `sender` that outlives every hold.
    fn lasting(&mut self, sender: &str, domain: &str) -> EntryId {
        let mut entry = from(self, "acme", sender, domain);
        entry.expires = self.now.wall.plus(10_000 * 60 * MINUTE);
        self.take_in(entry)
    }

    fn hold(&mut self, tenant: &str, sender: Option<&str>) {
        let said: Vec<_> = (900..903).map(|n| refused(tenant, sender, n)).collect();
        let observed = self.core.reported(&said, self.now);
        assert_eq!(observed.holds.len(), 1, "{:?}", observed.holds);
        assert_eq!(observed.facts.len(), 1, "it is written down");
    }

    /// Entries of the attempts that are made now.
    fn started(&mut self) -> Vec<EntryId> {
        self.attempts().into_iter().map(|start| start.entry).collect()
    }
}

#[test]
fn a_held_tenant_waits_at_that_destination_without_an_attempt_and_the_others_go_on() {
    let mut rig = Rig::new(&binding(1, "daily_cap = 3"));
    let held: Vec<_> = (0..20).map(|_| rig.send("acme", "alpha.example")).collect();
    rig.hold("acme", None);
    let free = [rig.send("bolt", "alpha.example"), rig.send("acme", "beta.example"), rig.send("bolt", "alpha.example")];
    let mut started = rig.started();
    started.sort();
    assert_eq!(started, free, "what is held takes nothing of the cap");
    for id in &held {
        let view = rig.core.view(*id).expect("waits");
        assert_eq!((view.reason, view.attempts), ("tenant_held", 0));
        assert_eq!(view.next_at, Some(START.plus(60 * MINUTE)));
    }
    let verdicts = rig.core.explain(held[0], rig.now).expect("known");
    assert_eq!(verdicts, [("m1".into(), Verdict::TenantHeld { until: START.plus(60 * MINUTE) })]);
    assert!(rig.is_blameless("m1"));
}

#[test]
fn after_a_hold_one_message_is_tried_and_its_acceptance_lets_the_rest_go() {
    let mut rig = Rig::new(&binding(1, ""));
    let mut entries = Vec::new();
    for _ in 0..5 {
        let mut entry = rig.entry("acme", "main", "alpha.example");
        entry.expires = rig.now.wall.plus(100 * 60 * MINUTE);
        entries.push(rig.take_in(entry));
    }
    rig.hold("acme", None);
    assert!(rig.attempt().is_none());
    rig.pass(66 * MINUTE);
    let probe = rig.attempts();
    assert_eq!(probe.iter().map(|start| start.entry).collect::<Vec<_>>(), entries[..1]);
    assert_eq!(rig.reason(entries[4]), "tenant_held");
    let observed = rig.core.reported(&[refused("acme", None, 1)], rig.now);
    assert_eq!(observed.holds.len(), 1, "held again at once");
    for start in probe {
        rig.put_back(start, |entry| entry.state.attempts += 1);
    }
    rig.pass(119 * MINUTE);
    assert!(rig.attempt().is_none(), "twice as long");
    rig.pass(10 * MINUTE);
    let probe = rig.attempt().expect("one");
    assert!(rig.attempt().is_none(), "and one only");
    rig.core.reported(&[said("acme", None, probe.entry.0, AttemptResult::Accepted)], rig.now);
    rig.deliver(probe);
    assert_eq!(rig.started().len(), 4, "at once");
}

#[test]
fn a_probe_that_shows_nothing_is_followed_by_the_next() {
    for sender in [None, Some("bad.example")] {
        let mut rig = Rig::new(&binding(1, ""));
        for _ in 0..3 {
            let mut entry = from(&rig, "acme", "bad.example", "alpha.example");
            entry.expires = rig.now.wall.plus(100 * 60 * MINUTE);
            rig.take_in(entry);
        }
        rig.hold("acme", sender);
        assert!(rig.attempt().is_none());
        rig.pass(66 * MINUTE);
        let probe = rig.attempt().expect("one");
        assert!(rig.attempt().is_none());
        rig.core.reported(&[said("acme", Some("bad.example"), 1, later())], rig.now);
        rig.deliver(probe);
        assert_eq!(rig.started().len(), 1, "{sender:?}");
    }
}

#[test]
fn a_held_sender_domain_waits_alone_and_is_woken_by_the_operator() {
    let mut rig = Rig::new(&binding(1, ""));
    let bad: Vec<_> = (0..3)
        .map(|_| {
            let entry = from(&rig, "acme", "bad.example", "alpha.example");
            rig.take_in(entry)
        })
        .collect();
    let entry = from(&rig, "acme", "good.example", "alpha.example");
    let good = rig.take_in(entry);
    let null = rig.send("acme", "alpha.example");
    let other = from(&rig, "bolt", "bad.example", "alpha.example");
    let other = rig.take_in(other);
    rig.hold("acme", Some("bad.example"));
    let mut started = rig.started();
    started.sort();
    assert_eq!(started, [good, null, other], "behind it in the lane, yet not held up by it");
    assert_eq!(rig.reason(bad[1]), "tenant_held");
    let verdicts = rig.core.explain(bad[2], rig.now).expect("known");
    assert!(matches!(verdicts[0].1, Verdict::TenantHeld { .. }));
    assert_eq!(rig.core.explain(good, rig.now).expect("known")[0].1, Verdict::Eligible);

    let release = Evidence::OperatorRelease { tenant: "acme".into(), destination: None };
    let observed = rig.core.observe(&release, rig.now);
    assert_eq!((observed.holds.len(), observed.facts.len()), (1, 1));
    assert_eq!(rig.started(), bad);
    assert_eq!(rig.core.index().get(bad[0]).map(|waiting| waiting.attempts), Some(0));
}

#[test]
fn a_hold_outlives_a_restart_of_the_machine() {
    let mut rig = Rig::new(&binding(1, ""));
    let said: Vec<_> = (0..3).map(|n| refused("acme", None, n)).collect();
    let facts = rig.core.reported(&said, rig.now).facts;
    let disk: Vec<(String, Vec<u8>)> = facts
        .into_iter()
        .filter_map(|fact| match fact {
            Fact::Put(key, value) => Some((key, value)),
            Fact::Remove(_) => None,
        })
        .collect();
    let (core, unreadable) = Core::new(&config(&binding(1, "")), &[], &disk, 7, rig.now);
    assert!(unreadable.is_empty());
    rig.core = core;
    let held = rig.send("acme", "alpha.example");
    let free = rig.send("bolt", "alpha.example");
    assert_eq!(rig.started(), [free]);
    assert_eq!(rig.reason(held), "tenant_held");
}

#[test]
fn opinions_of_routes_and_what_reputation_knows_of_them_outlive_a_restart_of_the_machine() {
    let pool = "[pool.main]\nactive = [\"m1\", \"m2\"]\nspread = \"reputation\"\n";
    let text = binding(1, "") + &binding(2, "") + pool;
    let mut rig = Rig::new(&text);
    let to = rig.core.scheduler.destination(&"site:alpha.example".into(), None);
    let m1 = rig.core.scheduler.binding_id(&"m1".into()).expect("configured");
    let m2 = rig.core.scheduler.binding_id(&"m2".into()).expect("configured");
    for _ in 0..60 {
        // What it tells is forgotten here, and would be written.
        rig.pass(Duration::from_secs(60));
        let seen = |accepted, deferred| Experience { accepted, deferred, ..Experience::default() };
        rig.core.scheduler.experienced(m1, to, &seen(1, 9), rig.now);
        rig.core.scheduler.experienced(m2, to, &seen(10, 0), rig.now);
    }
    let (binding, tenant, at) = ("m1".into(), "acme".into(), rig.now.wall);
    let complaint = Evidence::Complaint { binding, destination: None, tenant, at, incidents: 50 };
    let mut facts = rig.core.observe(&complaint, rig.now).facts;
    facts.extend(rig.core.final_facts(rig.now));
    let seen = |core: &Core, now| {
        let predicted = core.scheduler().predicted(m1, to, now).expect("asked for");
        let complaints = predicted.features.iter().find(|(feature, _)| *feature == Feature::Complaints);
        (core.scheduler().bent_to(m1, to), complaints.map(|(_, size)| *size).expect("always there"))
    };
    let before = seen(&rig.core, rig.now);
    assert!(before.0 < 70.0 && before.1 > 0.5, "{before:?}");
    let put = |fact| match fact {
        Fact::Put(key, value) => Some((key, value)),
        Fact::Remove(_) => None,
    };
    let disk: Vec<(String, Vec<u8>)> = facts.into_iter().filter_map(put).collect();
    let (mut core, unreadable) = Core::new(&config(&text), &[], &disk, 8, rig.now);
    assert!(unreadable.is_empty(), "{unreadable:?}");
    assert_eq!(core.scheduler.destination(&"site:alpha.example".into(), None), to);
    assert_eq!(seen(&core, rig.now), before);
}

#[test]
fn a_waiting_entry_stays_small() {
    assert!(size_of::<Waiting>() <= 112, "{}", size_of::<Waiting>());
}

#[test]
fn what_is_held_for_its_domain_costs_the_tenants_other_mail_no_turn() {
    let mut rig = Rig::new(&binding(1, ""));
    for _ in 0..500 {
        rig.lasting("bad.example", "alpha.example");
    }
    let good = rig.lasting("good.example", "alpha.example");
    for _ in 0..100 {
        rig.send("bolt", "alpha.example");
    }
    rig.hold("acme", Some("bad.example"));
    let before = rig.started().iter().position(|id| *id == good);
    assert!(before.is_some_and(|n| n <= 3), "{before:?} of bolt's, whose weight is 3");
}

#[test]
fn a_probe_that_shows_nothing_is_followed_by_mail_to_the_same_destination() {
    let mut rig = Rig::new(&binding(1, ""));
    // Older, and held for longer, elsewhere.
    let elsewhere: Vec<_> = (0..3).map(|_| rig.lasting("bad.example", "beta.example")).collect();
    let here: Vec<_> = (0..5).map(|_| rig.lasting("bad.example", "alpha.example")).collect();
    let mut at_beta: Vec<_> = (900..903).map(|n| refused("acme", Some("bad.example"), n)).collect();
    for said in &mut at_beta {
        let Evidence::Attempt { destination, result: AttemptResult::Refused { action, .. }, .. } = said else {
            continue;
        };
        *destination = "site:beta.example".into();
        *action = crate::outcome::Action::HoldTenant(20 * 60 * MINUTE);
    }
    rig.core.reported(&at_beta, rig.now);
    rig.hold("acme", Some("bad.example"));
    assert!(rig.attempt().is_none());
    rig.pass(66 * MINUTE);
    let probe = rig.attempt().expect("one");
    assert!(here.contains(&probe.entry));
    assert!(rig.attempt().is_none());
    rig.core.reported(&[said("acme", Some("bad.example"), probe.entry.0, later())], rig.now);
    rig.deliver(probe);
    let next = rig.attempt().expect("the next");
    assert!(here.contains(&next.entry));
    assert!(rig.attempt().is_none(), "one only");
    rig.core.reported(&[said("acme", Some("bad.example"), next.entry.0, AttemptResult::Accepted)], rig.now);
    rig.deliver(next);
    assert_eq!(rig.started().len(), 3, "the rest of them");
    assert_eq!(rig.reason(elsewhere[0]), "tenant_held");
}

#[test]
fn a_probe_refused_for_its_domain_is_followed_by_the_next_of_the_tenant() {
    let mut rig = Rig::new(&binding(1, ""));
    for n in 0..3 {
        rig.lasting(&format!("d{n}.example"), "alpha.example");
    }
    rig.hold("acme", None);
    assert!(rig.attempt().is_none());
    rig.pass(66 * MINUTE);
    let probe = rig.attempt().expect("one");
    assert!(rig.attempt().is_none());
    rig.core.reported(&[refused("acme", Some("d0.example"), probe.entry.0)], rig.now);
    rig.deliver(probe);
    assert_eq!(rig.started().len(), 1);
}

#[test]
fn one_call_sets_aside_and_wakes_no_more_than_a_thousand() {
    let mut rig = Rig::new(&binding(1, ""));
    let many = 5 * held::ASIDE_MAX;
    let bad: Vec<_> = (0..many).map(|_| rig.lasting("bad.example", "alpha.example")).collect();
    rig.hold("acme", Some("bad.example"));
    let good = rig.lasting("good.example", "alpha.example");
    let other = rig.send("bolt", "alpha.example");
    let aside = |rig: &Rig| {
        let all = bad.iter().filter_map(|id| rig.core.index().get(*id));
        all.filter(|w| matches!(w.place, Place::Delayed { .. })).count()
    };
    let mut started = Vec::new();
    let mut last = 0;
    for round in 0.. {
        assert!(round < 20, "{last} of {many}");
        let more = rig.started();
        // Looking up and writing grants are calls, too; the last one finds nothing.
        let calls = more.len() + 3;
        started.extend(more);
        let now = aside(&rig);
        assert!(now - last <= calls * held::ASIDE_MAX, "{last} to {now}");
        if round == 0 {
            assert!(started.contains(&other) && now < many, "others are not held up: {now}");
        }
        if started.contains(&good) {
            break;
        }
        last = now;
        rig.pass(held::ASIDE_PAUSE);
    }
    assert_eq!(aside(&rig), many);

    let release = Evidence::OperatorRelease { tenant: "acme".into(), destination: None };
    rig.core.observe(&release, rig.now);
    assert_eq!(aside(&rig), many, "woken by and by");
    assert!(rig.core.next_wakeup().is_some_and(|at| at <= rig.now.wall));
    let Some(Action::Attempt(first)) = rig.core.next(rig.now) else { panic!("one goes") };
    assert_eq!(aside(&rig), many - held::ASIDE_MAX);
    rig.deliver(first);
    let mut gone = 1;
    while gone < many {
        let more = rig.attempts();
        assert!(!more.is_empty() || rig.core.next_wakeup().is_some_and(|at| at <= rig.now.wall), "{gone} of {many}");
        gone += more.len();
        more.into_iter().for_each(|start| rig.deliver(start));
    }
}

#[test]
fn only_the_domains_of_waiting_mail_have_a_number() {
    let mut rig = Rig::new(&binding(1, ""));
    for n in 0..100 {
        let entry = from(&rig, "acme", &format!("d{n}.example"), "alpha.example");
        rig.take_in(entry);
        let entry = from(&rig, "acme", "same.example", "alpha.example");
        rig.take_in(entry);
        assert!(rig.core.senders.len() <= 2);
        for start in rig.attempts() {
            rig.deliver(start);
        }
        assert_eq!(rig.core.senders.len(), 0);
    }
    // Taken in twice, and forgotten once: no number is left over.
    let entry = from(&rig, "acme", "twice.example", "alpha.example");
    let id = rig.take_in(entry.clone());
    assert!(rig.core.enqueue(&entry, rig.now));
    rig.core.forget(id);
    assert_eq!(rig.core.senders.len(), 0);
}

#[test]
fn a_clock_that_jumps_is_served_by_and_by() {
    let mut rig = Rig::new(&binding(1, ""));
    let many = DUE_MAX + 500;
    for _ in 0..many {
        let mut entry = rig.entry("acme", "main", "alpha.example");
        (entry.state.next_at, entry.expires) = (START.plus(MINUTE), START.plus(10_000 * MINUTE));
        rig.take_in(entry);
    }
    rig.pass(9 * MINUTE);
    let due = |rig: &Rig| rig.core.index().iter().filter(|(_, w)| matches!(w.place, Place::Delayed { .. })).count();
    for left in [500, 0] {
        assert!(rig.core.next_wakeup().is_some_and(|at| at <= rig.now.wall));
        rig.core.next(rig.now);
        assert_eq!(due(&rig), left);
    }
}

#[test]
fn mail_that_the_operator_holds_waits_without_an_attempt_and_nobody_elses() {
    // Of `bolt`, whose table is the last.
    let mut rig = Rig::new(&format!("hold = true\n{}", binding(1, "")));
    let held: Vec<_> = (0..5).map(|_| rig.send("bolt", "alpha.example")).collect();
    let free = rig.send("acme", "alpha.example");
    assert_eq!(rig.started(), [free]);
    for id in &held {
        let view = rig.core.view(*id).expect("waits");
        assert_eq!((view.reason, view.attempts, view.next_at), ("tenant_held_by_operator", 0, None));
    }
    let verdicts = rig.core.explain(held[0], rig.now).expect("known");
    assert_eq!(verdicts, [("m1".into(), Verdict::TenantHeldByOperator)]);
    let explained = rig.core.explanation(held[0], rig.now).expect("known");
    assert_eq!(explained.bindings[0].verdict, Verdict::TenantHeldByOperator);
    let looks = rig.core.looks;
    for _ in 0..100 {
        rig.pass(Duration::from_millis(100));
        assert!(rig.attempt().is_none());
    }
    assert_eq!(rig.core.looks, looks, "it costs nothing while it waits");
    rig.core.tenants.iter_mut().for_each(|plan| plan.is_held = false);
    rig.pass(3 * MINUTE);
    assert_eq!(rig.started(), held, "also where nobody told that it is released");
    assert!(rig.is_blameless("m1"));
}

#[test]
fn mail_that_waits_for_a_warm_up_goes_when_the_operator_sets_a_higher_stage() {
    let mut rig = Rig::new(&binding(1, "warmup = { ladder = \"standard\", stage = 0 }"));
    let ids: Vec<_> = (0..201).map(|_| rig.send("acme", "alpha.example")).collect();
    let mut delivered = 0;
    while let Some(start) = rig.attempt() {
        rig.deliver(start);
        delivered += 1;
    }
    assert_eq!((delivered, rig.reason(ids[200])), (200, "warmup"));
    // What the start has to tell.
    rig.pass(Duration::from_millis(1));
    let (set, observed) = rig.core.set_stage(&"m1".into(), None, 1, rig.now);
    let change = set.expect("there is a warm-up");
    assert_eq!((change.from, change.to, change.allowance), (0, 1, Some(500)));
    assert_eq!((observed.stages, observed.facts.len()), (vec![change], 1));
    assert_eq!(rig.started(), [ids[200]]);
    let (set, observed) = rig.core.set_stage(&"m9".into(), None, 1, rig.now);
    assert!(set.is_err_and(|why| why.contains("no binding m9")) && observed.is_empty());
}
