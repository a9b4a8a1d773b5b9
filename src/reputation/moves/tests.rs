//! Each line of the table, and what a hostile tenant makes of it.

use std::time::Duration;

use super::{Refusal, TRAILS_MAX, Whose};
use crate::clock::Wall;
use crate::message::{BindingName, DestinationName, Domain, MessageId, StreamName, TenantName};
use crate::outcome::{Action, Cause, Scope};
use crate::reputation::evidence::{AttemptResult, Listing};
use crate::reputation::fixtures::config;
use crate::reputation::holds::Mail;
use crate::reputation::scenarios::{HOUR, MINUTE, START, listings, restarted, write};
use crate::reputation::{Evidence, Health, HoldState, Reputation, Subject};

use Whose::{Binding, Mail as TheMail};

const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// One message, and who speaks about it.
#[derive(Clone, Copy)]
struct Sent {
    tenant: &'static str,
    stream: &'static str,
    from: &'static str,
    to: &'static str,
    message: u64,
}

const CAMPAIGN: Sent = Sent { tenant: "t", stream: "news", from: "t.example", to: "gmail", message: 1 };
const OTHER: Sent = Sent { tenant: "u", from: "u.example", ..CAMPAIGN };

struct Receiver {
    r: Reputation,
    now: Wall,
}

impl Receiver {
    fn new() -> Self {
        Self { r: Reputation::new(&config(&NAMES, &[("p", &NAMES)]), START), now: START }
    }

    fn pass_time(&mut self, span: Duration) {
        self.now = self.now.plus(span);
        self.r.tick(self.now);
    }

    fn with<T>(sent: Sent, from: &Domain, act: impl FnOnce(Mail<'_>) -> T) -> T {
        let (tenant, stream): (TenantName, StreamName) = (sent.tenant.into(), sent.stream.into());
        let destination: DestinationName = sent.to.into();
        act(Mail {
            tenant: &tenant,
            stream: Some(&stream),
            sender_domain: Some(from),
            destination: &destination,
            message: MessageId(sent.message),
        })
    }

    fn observe(&mut self, sent: Sent, from: &Domain, by: &str, result: AttemptResult) {
        let evidence = Evidence::Attempt {
            binding: by.into(),
            destination: sent.to.into(),
            tenant: sent.tenant.into(),
            domain: "r.example".parse().unwrap(),
            message: MessageId(sent.message),
            stream: sent.stream.into(),
            sender_domain: Some(from.clone()),
            took: None,
            result,
        };
        self.r.observe(&evidence, self.now);
    }

    fn accepts(&mut self, sent: Sent, by: &str) {
        self.observe(sent, &sent.from.parse().unwrap(), by, AttemptResult::Accepted);
    }

    /// As the core does it: judged, then observed as it was judged.
    fn hears(&mut self, sent: Sent, from: &str, by: &str, change: impl FnOnce(&mut Refusal<'_>)) -> Whose {
        self.told(sent, from, by, &[], change)
    }

    /// A refusal of the network that the binding shares with these.
    fn in_network(&mut self, sent: Sent, by: &str, range: &[BindingName]) -> Whose {
        self.told(sent, sent.from, by, range, |_| {})
    }

    fn told(
        &mut self,
        sent: Sent,
        from: &str,
        by: &str,
        range: &[BindingName],
        change: impl FnOnce(&mut Refusal<'_>),
    ) -> Whose {
        let from: Domain = from.parse().unwrap();
        let (binding, now): (BindingName, Wall) = (by.into(), self.now);
        let whose = Self::with(sent, &from, |mail| {
            let mut refusal = Refusal {
                mail,
                binding: &binding,
                range,
                cause: Cause::SpamBlockIp,
                certain: false,
                rule: "test",
                text: "550 poor reputation",
            };
            change(&mut refusal);
            self.r.whose(&refusal, now)
        });
        let blames = whose == Binding;
        self.observe(
            sent,
            &from,
            by,
            AttemptResult::Refused {
                cause: Cause::SpamBlockIp,
                scope: if blames { Scope::Binding } else { Scope::Tenant },
                hard: false,
                counts_against_ip: blames,
                action: Action::None,
                rule: "test".into(),
                text: "550 poor reputation".into(),
            },
        );
        whose
    }

    fn refuses(&mut self, sent: Sent, by: &str) -> Whose {
        self.hears(sent, sent.from, by, |_| {})
    }

    fn held_until(&self, sent: Sent) -> Option<Wall> {
        Self::with(sent, &sent.from.parse().unwrap(), |mail| self.r.holds().held(mail, self.now).map(|held| held.until))
    }

    fn begins(&mut self, sent: Sent) {
        let now = self.now;
        Self::with(sent, &sent.from.parse().unwrap(), |mail| self.r.begins(mail, now));
    }

    fn met(&self) -> Vec<String> {
        self.r.holds().all(self.now).flat_map(|view| view.bindings).map(|name| name.to_string()).collect()
    }
}

#[test]
fn a_second_binding_that_hears_the_same_about_the_same_mail_stops_the_mail_and_is_not_blamed() {
    let mut at = Receiver::new();
    assert_eq!([at.refuses(CAMPAIGN, "a"), at.refuses(CAMPAIGN, "a")], [Binding, Binding], "the first, again");
    assert_eq!(at.held_until(CAMPAIGN), None);
    assert_eq!(at.refuses(Sent { message: 2, ..CAMPAIGN }, "b"), TheMail);
    assert_eq!(at.held_until(CAMPAIGN), Some(START.plus(HOUR)));
    for free in [
        Sent { stream: "system", ..CAMPAIGN },
        Sent { from: "other.example", ..CAMPAIGN },
        Sent { to: "outlook", ..CAMPAIGN },
        Sent { tenant: "u", ..CAMPAIGN },
    ] {
        assert_eq!(at.held_until(free), None, "another group");
    }
    let changes = at.r.take_hold_changes();
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].key.stream, Some("news".into()));
    assert_eq!(changes[0].evidence, "moves no further, having met a, b: test at gmail: 550 poor reputation");
    // What is still on the wire blames no further binding either.
    for (message, by) in (3..).zip(["c", "d", "a", "e"]) {
        assert_eq!(at.refuses(Sent { message, ..CAMPAIGN }, by), TheMail);
    }
    assert!(at.r.all().all(|(_, health)| *health == Health::Active));
    assert_eq!(at.r.take_hold_changes(), [], "and changes nothing");
}

#[test]
fn what_is_certain_about_addresses_is_held_against_each_and_the_mail_goes_on() {
    let mut at = Receiver::new();
    for by in NAMES {
        assert_eq!(at.hears(CAMPAIGN, "t.example", by, |refusal| refusal.certain = true), Binding);
    }
    assert_eq!(at.held_until(CAMPAIGN), None);
    assert_eq!(at.refuses(CAMPAIGN, "a"), Binding, "and is no word about the mail");
}

#[test]
fn a_binding_that_our_own_monitor_finds_listed_is_believed_to_be_bad() {
    let mut at = Receiver::new();
    at.refuses(CAMPAIGN, "a");
    for (weight, expected) in [(3.0, Binding), (0.5, TheMail)] {
        let listing = Listing { zone: "zen".into(), weight, certain: false, codes: "127.0.0.2".into() };
        at.r.observe(&listings("b", vec![listing]), at.now);
        assert_eq!(at.refuses(CAMPAIGN, "b"), expected, "{weight}");
    }
}

#[test]
fn refusals_further_apart_than_the_window_or_for_another_cause_are_no_second_one() {
    let mut at = Receiver::new();
    assert_eq!(at.refuses(CAMPAIGN, "a"), Binding);
    at.pass_time(HOUR);
    assert_eq!(at.refuses(CAMPAIGN, "b"), Binding);
    assert_eq!(at.hears(CAMPAIGN, "t.example", "c", |refusal| refusal.cause = Cause::RateLimited), Binding);
    at.pass_time(30 * MINUTE);
    assert_eq!(at.refuses(CAMPAIGN, "d"), TheMail);
}

#[test]
fn the_same_range_is_no_second_place_where_the_text_names_the_network() {
    let mut at = Receiver::new();
    assert_eq!(at.refuses(CAMPAIGN, "a"), Binding);
    assert_eq!(at.in_network(CAMPAIGN, "b", &["a".into()]), Binding);
    assert_eq!(at.refuses(CAMPAIGN, "c"), TheMail, "another one is");
}

#[test]
fn where_other_tenants_are_refused_as_well_it_is_the_binding() {
    let mut at = Receiver::new();
    at.refuses(CAMPAIGN, "a");
    at.accepts(OTHER, "b");
    at.pass_time(MINUTE);
    at.refuses(OTHER, "b");
    at.pass_time(MINUTE);
    assert_eq!(at.refuses(CAMPAIGN, "b"), Binding);
    assert_eq!(at.held_until(CAMPAIGN), None);
}

#[test]
fn where_other_mail_passes_it_is_the_mail_although_most_bindings_carried_it() {
    for other in [OTHER, Sent { stream: "system", ..CAMPAIGN }] {
        let mut at = Receiver::new();
        at.refuses(CAMPAIGN, "a");
        ["d", "e", "f"].iter().for_each(|by| at.accepts(CAMPAIGN, by));
        at.accepts(other, "b");
        at.pass_time(MINUTE);
        assert_eq!(at.refuses(CAMPAIGN, "b"), TheMail);
        assert_eq!(at.met(), ["d", "e", "f", "a", "b"], "those that carried it first");
    }
}

#[test]
fn a_tenants_second_domain_is_no_witness_against_a_binding() {
    let mut at = Receiver::new();
    at.refuses(CAMPAIGN, "a");
    at.refuses(Sent { from: "second.example", ..CAMPAIGN }, "b");
    assert_eq!(at.refuses(CAMPAIGN, "b"), TheMail);
}

#[test]
fn who_sends_alone_is_judged_by_how_many_bindings_carry_it() {
    // How many others carried it between the first and the second refusal → whose.
    for (others, expected) in [(0, TheMail), (1, TheMail), (2, TheMail), (3, Binding), (5, Binding)] {
        let mut at = Receiver::new();
        at.refuses(CAMPAIGN, "a");
        NAMES[2..2 + others].iter().for_each(|by| at.accepts(CAMPAIGN, by));
        at.pass_time(MINUTE);
        assert_eq!(at.refuses(CAMPAIGN, "b"), expected, "{others} others");
    }
    // It goes on until those that refuse are no longer fewer.
    let mut at = Receiver::new();
    at.refuses(CAMPAIGN, "a");
    NAMES[1..].iter().for_each(|by| at.accepts(CAMPAIGN, by));
    at.pass_time(MINUTE);
    let judged: Vec<Whose> = NAMES[1..].iter().map(|by| at.refuses(CAMPAIGN, by)).collect();
    assert_eq!(judged[..3], [Binding, Binding, TheMail]);
    assert!(judged[3..].iter().all(|whose| *whose == TheMail));
}

#[test]
fn a_probe_that_is_refused_doubles_the_hold_and_one_that_is_accepted_ends_it() {
    let mut at = Receiver::new();
    at.refuses(CAMPAIGN, "a");
    at.refuses(CAMPAIGN, "b");
    at.pass_time(HOUR);
    let probe = Sent { message: 9, ..CAMPAIGN };
    at.begins(probe);
    assert_eq!(at.refuses(probe, "b"), TheMail);
    assert_eq!(at.held_until(CAMPAIGN), Some(at.now.plus(2 * HOUR)));
    assert_eq!(at.met(), ["a", "b"]);
    at.r.take_hold_changes();
    at.pass_time(2 * HOUR);
    at.begins(probe);
    at.accepts(probe, "b");
    let states: Vec<HoldState> = at.r.take_hold_changes().into_iter().map(|change| change.to).collect();
    assert_eq!(states, [HoldState::Probing, HoldState::Released]);
    assert_eq!(at.held_until(CAMPAIGN), None);
    // Soon again, it is held for as long as the last time and twice that.
    at.refuses(CAMPAIGN, "a");
    at.refuses(CAMPAIGN, "b");
    assert_eq!(at.held_until(CAMPAIGN), Some(at.now.plus(4 * HOUR)));
}

#[test]
fn a_message_with_one_accepted_recipient_is_not_stopped_by_another() {
    let mut at = Receiver::new();
    at.refuses(CAMPAIGN, "a");
    at.accepts(CAMPAIGN, "b");
    at.refuses(CAMPAIGN, "b");
    assert_eq!(at.held_until(CAMPAIGN), None);
}

#[test]
fn a_stopped_group_survives_a_restart_with_the_bindings_it_has_met() {
    let mut at = Receiver::new();
    at.refuses(CAMPAIGN, "a");
    at.refuses(CAMPAIGN, "b");
    let mut disk = std::collections::BTreeMap::new();
    write(&mut at.r, &mut disk);
    at.r = restarted(&config(&NAMES, &[("p", &NAMES)]), &disk);
    assert_eq!((at.held_until(CAMPAIGN), at.met()), (Some(START.plus(HOUR)), vec!["a".into(), "b".into()]));
    at.pass_time(HOUR);
    at.begins(CAMPAIGN);
    assert_eq!(at.refuses(CAMPAIGN, "c"), TheMail, "no fresh binding is blamed for a probe");
    assert_eq!(at.met(), ["a", "b", "c"]);
}

#[test]
fn the_operator_lets_a_stopped_group_go() {
    let mut at = Receiver::new();
    at.refuses(CAMPAIGN, "a");
    at.refuses(CAMPAIGN, "b");
    at.r.observe(&Evidence::OperatorRelease { tenant: "t".into(), destination: None }, at.now);
    assert_eq!(at.held_until(CAMPAIGN), None);
    assert_eq!(at.refuses(CAMPAIGN, "c"), Binding, "counting begins anew");
}

#[test]
fn a_tenant_with_another_domain_for_every_message_is_judged_as_a_whole() {
    let mut at = Receiver::new();
    let judged: Vec<Whose> = (0u64..)
        .zip(NAMES)
        .map(|(message, by)| at.hears(Sent { message, ..CAMPAIGN }, &format!("d{message}.example"), by, |_| {}))
        .collect();
    assert_eq!(judged[..3], [Binding, Binding, TheMail]);
    assert!(judged[3..].iter().all(|whose| *whose == TheMail), "{judged:?}");
    assert_eq!(at.held_until(Sent { from: "fresh.example", ..CAMPAIGN }), Some(START.plus(HOUR)));
    assert_eq!(at.held_until(OTHER), None);
}

#[test]
fn a_tenant_whose_mail_most_bindings_carry_is_not_held_as_a_whole() {
    let mut at = Receiver::new();
    at.refuses(CAMPAIGN, "a");
    ["c", "d", "e", "f"].iter().for_each(|by| at.accepts(Sent { from: "good.example", ..CAMPAIGN }, by));
    for (from, by) in [("x.example", "b"), ("y.example", "a"), ("z.example", "b")] {
        assert_eq!(at.hears(CAMPAIGN, from, by, |_| {}), Binding, "{from}");
    }
}

#[test]
fn what_one_tenant_makes_us_remember_is_bounded_and_forgotten() {
    let mut at = Receiver::new();
    for n in 0..3 * TRAILS_MAX as u64 {
        // Over one binding only, or all would be stopped.
        at.hears(Sent { message: n, ..CAMPAIGN }, &format!("d{n}.example"), "a", |_| {});
    }
    assert_eq!(at.r.moves.len("t"), TRAILS_MAX + 1);
    at.refuses(OTHER, "b");
    assert_eq!(at.r.moves.len("u"), 2, "others have places of their own");
    assert_eq!(at.hears(CAMPAIGN, "beyond.example", "b", |_| {}), Binding, "u was refused there, too");
    assert_eq!(at.hears(CAMPAIGN, "beyond.example", "c", |_| {}), TheMail, "judged as a whole");
    at.pass_time(3 * HOUR);
    assert_eq!((at.r.moves.len("t"), at.r.moves.len("u")), (0, 0));
}

#[test]
fn a_network_that_is_blamed_counts_for_every_neighbour_once_a_minute() {
    let mut at = Receiver::new();
    let told = |message: &str| Evidence::Range {
        bindings: vec!["b".into(), "c".into(), "gone".into()],
        destination: "gmail".into(),
        tenant: "t".into(),
        domain: format!("{message}.example").parse().unwrap(),
        action: Action::None,
        text: "550 your network".into(),
    };
    for _ in 0..10 {
        at.r.observe(&told("r"), at.now);
    }
    let is_out = |at: &Receiver, name: &str| {
        matches!(at.r.health(&Subject::Route(name.into(), "gmail".into())), Health::Suspended { .. })
    };
    assert!(!is_out(&at, "b"), "one refusal");
    for _ in 0..2 {
        at.pass_time(MINUTE);
        at.r.observe(&told("r"), at.now);
    }
    assert_eq!(["a", "b", "c", "d"].map(|name| is_out(&at, name)), [false, true, true, false]);
}

#[test]
fn a_tenant_that_changes_its_domain_after_each_stop_wears_out_two_addresses_and_no_more() {
    let mut at = Receiver::new();
    let mut blamed = Vec::new();
    // Each message is refused over one binding, moves to the next and is refused again, where others' mail passes.
    for n in 0..NAMES.len() - 1 {
        at.pass_time(MINUTE);
        for other in NAMES {
            at.accepts(Sent { message: 1000 + n as u64, ..OTHER }, other);
        }
        let sent = Sent { message: n as u64, ..CAMPAIGN };
        for by in [NAMES[n], NAMES[n + 1]] {
            if at.hears(sent, &format!("d{n}.example"), by, |_| {}) == Binding {
                blamed.push(by);
            }
        }
    }
    assert_eq!(blamed, ["a", "b"]);
    assert!(at.held_until(Sent { from: "fresh.example", ..CAMPAIGN }).is_some(), "all of its mail waits");
    assert_eq!(at.held_until(OTHER), None);
}
