//! Acts between events, under a clock turned by hand: nothing is lost, nothing happens twice, what is held does not leave.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use proptest::prelude::*;

use super::acts::{Act, Became, Claim, apply};
use super::select::{Filter, Found};
use super::tests::{MINUTE, Rig, binding};
use super::*;
use crate::message::{Hold, MessageId, PoolName};

/// A core and the disk it would have: what is written of an act is here before the core is told.
struct World {
    rig: Rig,
    disk: BTreeMap<EntryId, Entry>,
    wire: Vec<Start>,
    /// Claimed, and not written yet.
    open: Vec<(EntryId, Arc<Act>)>,
    ended: BTreeSet<EntryId>,
    sent: u64,
}

fn machine() -> Rig {
    let pools = "[pool.main]\nactive = [\"m1\"]\n[pool.second]\nactive = [\"m2\"]\n";
    Rig::new(&format!("{}{}{pools}", binding(1, ""), binding(2, "")))
}

fn hold(until: Option<Wall>) -> Act {
    Act::Hold(Hold { reason: "wait".into(), actor: "ann".into(), at: Wall::from_millis(0), until })
}

fn move_to(pool: &str, member: &str) -> Act {
    Act::Move { to: PoolName::new(pool), members: HashSet::from([member.into()]) }
}

fn bounce() -> Act {
    Act::Bounce { reason: "enough".into(), is_reported: true }
}

impl World {
    fn new() -> Self {
        let (disk, ended) = (BTreeMap::new(), BTreeSet::new());
        Self { rig: machine(), disk, wire: Vec::new(), open: Vec::new(), ended, sent: 0 }
    }

    fn send(&mut self, pool: &str, domain: &str) -> EntryId {
        let mut entry = self.rig.entry("acme", pool, domain);
        self.sent += 1;
        entry.id = EntryId(self.sent);
        self.disk.insert(entry.id, entry.clone());
        self.rig.core.enqueue(&entry, self.rig.now);
        entry.id
    }

    fn end(&mut self, id: EntryId) {
        assert!(self.disk.remove(&id).is_some(), "{id} was not there");
        assert!(self.ended.insert(id), "{id} ended twice");
    }

    /// The next attempt begins.
    fn begin(&mut self) -> bool {
        let start = self.rig.attempt();
        for action in std::mem::take(&mut self.rig.asked) {
            match action {
                Action::Act { entry, act } => self.open.push((entry, act)),
                Action::Expire(id) => {
                    self.end(id);
                    self.rig.core.forget(id);
                }
                other => panic!("{other:?}"),
            }
        }
        let Some(start) = start else { return false };
        let stored = self.disk.get(&start.entry).expect("on disk");
        assert!(stored.state.held_at(self.rig.now.wall).is_none(), "what is held has left");
        assert!(!self.wire.iter().any(|other| other.entry == start.entry), "it is on the wire already");
        assert!(!self.open.iter().any(|(id, _)| *id == start.entry), "it is being acted on");
        let is_its = start.binding.name == if stored.pool.as_str() == "main" { "m1".into() } else { "m2".into() };
        assert!(is_its, "the binding is of another pool");
        self.wire.push(start);
        true
    }

    fn deliver(&mut self, which: usize) {
        if self.wire.is_empty() {
            return;
        }
        let start = self.wire.swap_remove(which % self.wire.len());
        self.end(start.entry);
        self.rig.core.settled(start.entry, start.lease, Settlement::Accepted(1), None, self.rig.now);
    }

    fn defer(&mut self, which: usize) {
        if self.wire.is_empty() {
            return;
        }
        let start = self.wire.swap_remove(which % self.wire.len());
        let entry = self.disk.get_mut(&start.entry).expect("on disk");
        entry.state.attempts += 1;
        entry.state.next_at = self.rig.now.wall.plus(5 * MINUTE);
        self.rig.core.settled(start.entry, start.lease, Settlement::Accepted(0), Some(entry), self.rig.now);
    }

    fn claim(&mut self, id: EntryId, act: Act) -> Claim {
        let act = Arc::new(act);
        let claim = self.rig.core.claim(id, &act, self.rig.now);
        if claim == Claim::Claimed {
            assert!(!self.open.iter().any(|(other, _)| *other == id), "claimed twice");
            self.open.push((id, act));
        }
        claim
    }

    /// One of the open acts reaches the disk and the core, or (`is_written` false) finds no space.
    fn finish(&mut self, which: usize, is_written: bool) {
        if self.open.is_empty() {
            return;
        }
        let (id, act) = self.open.swap_remove(which % self.open.len());
        let stored = self.disk.get(&id).expect("nothing else may have ended it").clone();
        let mut entry = stored.clone();
        match apply(&act, &mut entry, self.rig.now.wall) {
            _ if !is_written => self.rig.core.unclaim(&stored, self.rig.now),
            Became::Unchanged => self.rig.core.unclaim(&stored, self.rig.now),
            Became::Waits => {
                self.disk.insert(id, entry.clone());
                self.rig.core.acted(&entry, self.rig.now);
            }
            Became::Ended(settled) => {
                assert_eq!((settled.decided.len(), settled.waits), (stored.recipients.len(), false));
                self.end(id);
                self.rig.core.ended(id);
            }
        }
    }

    fn act(&mut self, id: EntryId, act: Act) -> Claim {
        let claim = self.claim(id, act);
        if claim == Claim::Claimed {
            self.finish(self.open.len() - 1, true);
        }
        claim
    }

    /// kill -9 and a new start: all that is left is the disk.
    fn restart(&mut self) {
        let now = self.rig.now;
        self.rig = machine();
        self.rig.now = now;
        (self.wire, self.open) = (Vec::new(), Vec::new());
        for entry in self.disk.values() {
            self.rig.core.enqueue(entry, now);
        }
    }

    /// What is on disk is what the core knows, and every entry is in one place.
    fn check(&self) {
        let (waiting, recipients) = self.rig.core.index().depth();
        assert_eq!(waiting as u64, recipients, "each has one");
        assert_eq!(self.disk.len() as u64, recipients + self.rig.core.stranded_len().1);
        assert_eq!(self.sent, self.disk.len() as u64 + self.ended.len() as u64, "sent = ended + on disk");
    }

    fn reason(&self, id: EntryId) -> &'static str {
        self.rig.reason(id)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn random_acts_between_random_events_lose_nothing_and_do_nothing_twice(
        steps in prop::collection::vec((0u8..14, any::<u16>(), 0u8..9, 1u32..12), 1..160),
    ) {
        let mut world = World::new();
        for (what, which, kind, minutes) in steps {
            let which = usize::from(which);
            match what {
                0 | 1 => {
                    let pool = ["main", "main", "second", "gone"][which % 4];
                    world.send(pool, ["alpha.example", "beta.example", "gamma.example"][which % 3]);
                }
                2 | 3 => {
                    world.begin();
                }
                4 => world.deliver(which),
                5 => world.defer(which),
                6..=8 => {
                    let id = EntryId(which as u64 % (world.sent + 2));
                    let until = world.rig.now.wall.plus(minutes * MINUTE);
                    world.claim(id, match kind {
                        0 | 1 => hold(None),
                        2 => hold(Some(until)),
                        3 => Act::Release,
                        4 => Act::Retry,
                        5 => bounce(),
                        6 => move_to("main", "m1"),
                        7 => move_to("second", "m2"),
                        _ => move_to("gone", "m9"),
                    });
                }
                9 | 10 => world.finish(which, true),
                11 => world.finish(which, false),
                12 => world.rig.pass(minutes * MINUTE),
                _ => world.restart(),
            }
            world.check();
        }
        // In the end everything is let go, and everything ends.
        for _ in 0..2_000 {
            while !world.open.is_empty() {
                world.finish(0, true);
            }
            if !world.begin() {
                world.rig.pass(MINUTE);
            }
            world.deliver(0);
            world.check();
            if world.disk.is_empty() {
                break;
            }
            // An act that follows another comes first.
            let ids: Vec<EntryId> = world.disk.keys().copied().filter(|_| world.open.is_empty()).collect();
            for id in ids {
                if world.disk[&id].pool.as_str() == "gone" {
                    world.act(id, move_to("main", "m1"));
                }
                world.act(id, Act::Release);
            }
        }
        prop_assert!(world.disk.is_empty(), "{:?}", world.disk.keys());
    }
}

#[test]
fn what_is_held_stays_through_a_restart_and_goes_on_at_its_end_or_when_released() {
    let mut world = World::new();
    let (for_long, for_short) = (world.send("main", "alpha.example"), world.send("main", "alpha.example"));
    let until = world.rig.now.wall.plus(10 * MINUTE);
    assert_eq!(world.act(for_long, hold(None)), Claim::Claimed);
    assert_eq!(world.act(for_short, hold(Some(until))), Claim::Claimed);
    assert!(!world.begin());
    world.restart();
    assert!(!world.begin());
    assert_eq!([world.reason(for_long), world.reason(for_short)], ["held"; 2]);
    assert_eq!(world.rig.core.view(for_long).expect("waits").next_at, None);
    assert_eq!(world.act(for_long, Act::Retry), Claim::Held);
    world.rig.pass(10 * MINUTE);
    assert!(world.begin());
    assert_eq!(world.wire[0].entry, for_short);
    assert!(!world.begin());
    assert_eq!(world.act(for_long, Act::Release), Claim::Claimed);
    assert!(world.begin());
    assert_eq!(world.act(for_long, Act::Release), Claim::OnTheWire);
}

#[test]
fn what_is_held_until_it_expires_expires() {
    let mut world = World::new();
    let id = world.send("main", "alpha.example");
    world.act(id, hold(None));
    world.rig.pass(61 * MINUTE);
    assert!(!world.begin());
    assert!(world.ended.contains(&id));
}

#[test]
fn an_act_on_the_wire_follows_before_anything_else_begins() {
    for (act, wanted) in [(hold(None), "held"), (move_to("second", "m2"), "second"), (bounce(), "")] {
        let mut world = World::new();
        let id = world.send("main", "alpha.example");
        assert!(world.begin());
        assert_eq!(world.claim(id, act), Claim::OnTheWire);
        let start = world.wire.pop().expect("one");
        // Due at once over another binding, as after a refusal that blames the address.
        let entry = world.disk[&id].clone();
        world.rig.core.settled(id, start.lease, Settlement::Accepted(0), Some(&entry), world.rig.now);
        assert!(!world.begin(), "{wanted}: claimed for the act");
        world.finish(0, true);
        match wanted {
            "held" => assert_eq!((world.begin(), world.reason(id)), (false, "held")),
            "second" => assert_eq!((world.begin(), world.wire[0].binding.name.as_str()), (true, "m2")),
            _ => assert!(world.ended.contains(&id)),
        }
        world.check();
    }
}

#[test]
fn a_hold_that_lasts_longer_is_not_shortened_by_another() {
    let mut world = World::new();
    let id = world.send("main", "alpha.example");
    let at = |world: &World, minutes: u32| Some(world.rig.now.wall.plus(minutes * MINUTE));
    let held = |world: &World| world.disk[&id].state.held.clone().expect("held").until;
    for (asked, kept) in
        [(at(&world, 10), at(&world, 10)), (at(&world, 5), at(&world, 10)), (at(&world, 20), at(&world, 20))]
    {
        world.act(id, hold(asked));
        assert_eq!(held(&world), kept);
    }
    world.act(id, hold(None));
    let now = world.rig.now.wall;
    let mut entry = world.disk[&id].clone();
    assert_eq!(apply(&hold(at(&world, 90)), &mut entry, now), Became::Unchanged, "it has no end");
    world.act(id, Act::Release);
    world.act(id, hold(at(&world, 5)));
    assert_eq!((held(&world), world.reason(id)), (at(&world, 5), "held"), "released, and held for less");
    // One that is over is none any more, whenever it ended.
    world.rig.pass(6 * MINUTE);
    assert_eq!(apply(&hold(at(&world, 1)), &mut world.disk[&id].clone(), world.rig.now.wall), Became::Waits);
}

#[test]
fn at_the_end_of_its_hold_deferred_mail_still_waits_for_its_next_try() {
    let mut world = World::new();
    let (waits, tried) = (world.send("main", "alpha.example"), world.send("main", "alpha.example"));
    while world.begin() {}
    world.defer(0);
    world.defer(0);
    for id in [waits, tried] {
        world.act(id, hold(Some(world.rig.now.wall.plus(2 * MINUTE))));
        assert_eq!(world.reason(id), "held");
    }
    world.rig.pass(2 * MINUTE);
    assert!(!world.begin(), "its next try is in three minutes");
    let next_at = world.disk[&waits].state.next_at;
    assert_eq!((world.reason(waits), world.rig.core.view(waits).expect("waits").next_at), ("retry", Some(next_at)));
    assert_eq!(world.act(tried, Act::Retry), Claim::Done, "it is not held any more");
    assert!(world.begin());
    assert_eq!(world.wire[0].entry, tried);
    assert!(!world.begin());
    world.rig.pass(3 * MINUTE);
    assert!(world.begin());
    assert_eq!(world.wire[1].entry, waits);
}

#[test]
fn what_was_promised_for_the_end_of_an_attempt_is_not_replaced_in_silence() {
    type Case = (fn() -> Act, fn() -> Act, Claim, &'static str);
    let table: [Case; 8] = [
        (|| hold(None), || Act::Release, Claim::OnTheWire, "released"),
        (|| Act::Release, || hold(None), Claim::OnTheWire, "held"),
        (|| hold(None), || hold(Some(Wall::from_millis(1))), Claim::OnTheWire, "held"),
        (|| hold(None), bounce, Claim::OnTheWire, "ended"),
        (|| hold(None), || move_to("second", "m2"), Claim::Another, "held"),
        (|| move_to("second", "m2"), || hold(None), Claim::Another, "moved"),
        (|| move_to("second", "m2"), || move_to("second", "m2"), Claim::OnTheWire, "moved"),
        (bounce, || Act::Release, Claim::Another, "ended"),
    ];
    for (first, then, said, wanted) in table {
        let mut world = World::new();
        let id = world.send("main", "alpha.example");
        assert!(world.begin());
        assert_eq!(world.claim(id, first()), Claim::OnTheWire);
        assert_eq!(world.claim(id, then()), said, "{:?}", then());
        assert_eq!(world.claim(id, Act::Retry), Claim::OnTheWire, "an attempt is what it asks for");
        world.defer(0);
        world.begin();
        world.finish(0, true);
        let became = match world.disk.get(&id) {
            None => "ended",
            Some(entry) if entry.state.held.is_some() => "held",
            Some(entry) if entry.pool.as_str() == "second" => "moved",
            Some(_) => "released",
        };
        assert_eq!(became, wanted, "{:?}, then {:?}", first(), then());
        world.check();
    }
}

#[test]
fn mail_of_a_tenant_that_is_gone_is_only_ended_without_a_report() {
    let mut world = World::new();
    let mut entry = world.rig.entry("nobody", "main", "alpha.example");
    (entry.id, entry.message, world.sent) = (EntryId(1), MessageId(7), 1);
    world.disk.insert(entry.id, entry.clone());
    assert!(!world.rig.core.enqueue(&entry, world.rig.now));
    assert_eq!(world.rig.core.message_of(entry.id), Some(MessageId(7)));
    assert_eq!(world.act(entry.id, bounce()), Claim::Stranded);
    assert_eq!(world.act(entry.id, Act::Bounce { reason: "x".into(), is_reported: false }), Claim::Claimed);
    assert!(world.ended.contains(&entry.id));
    // Where only the pool is gone the report has where to leave from.
    let id = world.send("gone", "alpha.example");
    assert_eq!(world.act(id, bounce()), Claim::Claimed);
    world.check();
}

#[test]
fn a_retry_ends_only_what_the_entry_waits_for_by_itself() {
    let mut world = World::new();
    let id = world.send("main", "alpha.example");
    assert!(world.begin());
    world.defer(0);
    assert_eq!(world.reason(id), "retry");
    assert!(!world.begin());
    let unbindable = Evidence::Unbindable { binding: "m1".into(), detail: "no such address".into() };
    world.rig.core.observe(&unbindable, world.rig.now);
    assert_eq!(world.act(id, Act::Retry), Claim::Done);
    assert_eq!(world.rig.core.obstacle(id, world.rig.now), Some("suspended"), "said before the queue has looked");
    assert!(!world.begin());
    assert_eq!(world.reason(id), "suspended");
    world.rig.core.observe(&Evidence::Bindable { binding: "m1".into() }, world.rig.now);
    let other = world.send("second", "alpha.example");
    assert!(world.begin());
    assert_eq!(world.wire[0].entry, other);
}

#[test]
fn stranded_mail_is_found_and_its_move_is_its_rescue() {
    let mut world = World::new();
    let id = world.send("gone", "alpha.example");
    let filter = Filter { reason: Some("stranded".into()), ..Filter::default() };
    let mut found = Vec::new();
    assert_eq!(world.rig.core.select_stranded(&filter, None, 10, &mut found), Some(id));
    assert_eq!(found, [Found { id, reason: "stranded" }]);
    assert_eq!(world.rig.core.select_one(&filter, id), Some(found[0]));
    assert_eq!(world.act(id, Act::Retry), Claim::Stranded);
    assert_eq!(world.act(id, move_to("second", "m2")), Claim::Claimed);
    assert_eq!(world.rig.core.stranded_len().1, 0);
    assert!(world.begin());
    world.check();
}

#[test]
fn a_move_forgets_bindings_that_the_new_pool_has_not() {
    let mut world = World::new();
    let id = world.send("main", "alpha.example");
    let later = world.rig.now.wall.plus(30 * MINUTE);
    let entry = world.disk.get_mut(&id).expect("there");
    entry.state.sticky = Some(("m1".into(), 2));
    entry.state.excluded = vec![("m1".into(), later), ("m2".into(), later)];
    entry.state.next_at = later;
    let mut entry = entry.clone();
    let now = world.rig.now.wall;
    assert_eq!(apply(&move_to("second", "m2"), &mut entry, now), Became::Waits);
    assert_eq!((entry.state.sticky, entry.state.next_at), (None, now));
    assert_eq!(entry.state.excluded, [("m2".into(), later)]);
}

#[test]
fn records_of_before_are_read_and_a_hold_comes_back() {
    let mut world = World::new();
    let id = world.send("main", "alpha.example");
    let mut entry = world.disk[&id].clone();
    let old = serde_json::to_string(&entry).expect("serialises");
    assert!(!old.contains("held"), "{old}");
    assert_eq!(serde_json::from_str::<Entry>(&old).expect("an entry"), entry);
    apply(&hold(Some(Wall::from_millis(7))), &mut entry, world.rig.now.wall);
    let new = serde_json::to_string(&entry).expect("serialises");
    assert_eq!(serde_json::from_str::<Entry>(&new).expect("an entry"), entry);
}
