//! Months at a receiver, from one address or a few.

use proptest::prelude::*;
use rand::SeedableRng;

use super::*;
use crate::simulate::scenario::Voice;

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

fn at(seconds: u64) -> Wall {
    // A midnight in UTC.
    Wall::from_millis(1_750_032_000_000).plus(Duration::from_secs(seconds))
}

fn address(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn random() -> SmallRng {
    SmallRng::seed_from_u64(7)
}

/// No noise, no greylisting: what is tested comes out alone.
fn quiet(model: ReceiverModel) -> ReceiverModel {
    ReceiverModel { noise: 0.0, greylist: None, ..model }
}

#[derive(Default, Debug, PartialEq)]
struct Tally {
    accepted: u64,
    volume: u64,
    blocked: u64,
    domain: u64,
    other: u64,
    traps: u64,
}

/// A receiver with its random source and the number of the next recipient.
struct Desk {
    receiver: Receiver,
    random: SmallRng,
    next: u64,
}

impl Desk {
    fn new(model: ReceiverModel, known: &[(IpAddr, u64)]) -> Self {
        Self { receiver: Receiver::new(model, known), random: random(), next: 0 }
    }

    fn say(&mut self, from: u8, sender: u32, quality: Quality, now: Wall) -> Said {
        self.next += 1;
        let attempted = Attempted { address: address(from), connections: 1, recipient: self.next, sender, quality };
        self.receiver.answer(&attempted, &mut self.random, now)
    }

    /// So many recipients over a day, spread evenly, each tried once.
    fn day(&mut self, from: u8, sender: u32, quality: Quality, day: u64, count: u64) -> Tally {
        let mut tally = Tally::default();
        for n in 0..count {
            let said = self.say(from, sender, quality, at(day * DAY + n * DAY / count));
            tally.traps += u64::from(said.is_trap);
            let reply = said.reply.unwrap_or_default();
            let counter = match &reply {
                reply if reply.starts_with("250") => &mut tally.accepted,
                reply if reply.starts_with("550 5.1.1") => &mut tally.other,
                reply if reply.contains("omain") => &mut tally.domain,
                reply if reply.contains("unusual rate") && reply.starts_with('4') => &mut tally.volume,
                reply if reply.contains("(S775)") || reply.contains("TSS04") => &mut tally.volume,
                reply if reply.contains("bl") || reply.contains("suspicious") => &mut tally.blocked,
                _ => &mut tally.other,
            };
            *counter += 1;
        }
        tally
    }
}

#[test]
fn good_mail_climbs_the_standard_ladder_at_every_receiver() {
    for model in [ReceiverModel::gmail(), ReceiverModel::microsoft(), ReceiverModel::yahoo(), ReceiverModel::plain()] {
        let name = model.voice;
        let mut desk = Desk::new(quiet(model), &[]);
        for (day, volume) in [200, 500, 1_000, 2_000, 5_000, 10_000, 20_000].into_iter().enumerate() {
            let tally = desk.day(1, 1, Quality::GOOD, day as u64, volume);
            assert!(tally.accepted * 10 >= volume * 9, "{name:?} day {day}: {tally:?}");
        }
        assert!(desk.receiver.reputation(address(1), at(7 * DAY)) > 0.8, "{name:?}");
    }
}

#[test]
fn a_jump_in_volume_is_deferred_and_costs_reputation() {
    for model in [ReceiverModel::gmail(), ReceiverModel::microsoft(), ReceiverModel::yahoo()] {
        let mut desk = Desk::new(quiet(model), &[]);
        let first_day = desk.receiver.allowance(address(1));
        let tally = desk.day(1, 1, Quality::GOOD, 0, 10 * first_day);
        assert!((first_day..=first_day * 5 / 4 + 1).contains(&tally.accepted), "{first_day}: {tally:?}");
        assert!(tally.volume > first_day, "{tally:?}");
        let voice = desk.receiver.model.voice;
        let pushed = desk.receiver.reputation(address(1), at(DAY));
        assert!(pushed < 0.5, "{voice:?}: {pushed}");
    }
}

#[test]
fn an_address_that_is_known_keeps_what_it_is_used_to() {
    let mut desk = Desk::new(quiet(ReceiverModel::gmail()), &[(address(1), 10_000)]);
    let known = desk.day(1, 1, Quality::GOOD, 0, 10_000);
    assert_eq!(known.volume + known.blocked, 0, "{known:?}");
    let stranger = desk.day(2, 1, Quality::GOOD, 0, 10_000);
    assert!(stranger.accepted < 1_000, "{stranger:?}");
}

#[test]
fn complaints_defer_before_they_block_and_a_block_ends() {
    let model = ReceiverModel { domain_weight: 0.0, content_limit: 1.0, ..quiet(ReceiverModel::gmail()) };
    let (defer_below, block_for) = (model.defer_below, model.block_for);
    let mut desk = Desk::new(model, &[(address(1), 20_000)]);
    let mut seen = Vec::new();
    for hour in 0..24 * 5 {
        let now = at(hour * HOUR);
        for _ in 0..800 {
            desk.say(1, 1, Quality { invalid: 0.0, traps: 0.0, ..Quality::BAD }, now);
        }
        let state = match desk.receiver.blocked_until(address(1), now) {
            Some(_) => "blocked",
            None if desk.receiver.reputation(address(1), now) < defer_below => "deferred",
            None => "fine",
        };
        if seen.last() != Some(&state) {
            seen.push(state);
        }
    }
    assert_eq!(seen[..4], ["fine", "deferred", "blocked", "deferred"], "then the second chance");
    // Once more, with nothing but good mail after the block: it heals.
    let start = at(30 * 24 * HOUR).plus(block_for);
    for day in 0..10 {
        for n in 0..400 {
            desk.say(1, 1, Quality::GOOD, start.plus(Duration::from_secs(day * DAY + n * 200)));
        }
    }
    assert!(desk.receiver.reputation(address(1), start.plus(Duration::from_secs(10 * DAY))) > defer_below);
}

#[test]
fn unknown_users_are_the_same_at_every_try_and_as_many_as_said() {
    let mut desk = Desk::new(quiet(ReceiverModel::lenient()), &[]);
    let quality = Quality { invalid: 0.05, ..Quality::GOOD };
    let mut unknown = 0;
    for recipient in 0..20_000 {
        let attempted = Attempted { address: address(1), connections: 1, recipient, sender: 1, quality };
        let tries =
            [0, 1].map(|_| desk.receiver.answer(&attempted, &mut desk.random, at(60)).reply.unwrap_or_default());
        let refused = tries.each_ref().map(|reply| reply.starts_with("550"));
        assert_eq!(refused[0], refused[1], "{tries:?}");
        unknown += u64::from(refused[0]);
    }
    assert!((850..1_150).contains(&unknown), "{unknown}");
}

#[test]
fn traps_are_accepted_reported_and_cost_reputation() {
    let model = ReceiverModel { content_limit: 1.0, ..quiet(ReceiverModel::microsoft()) };
    let mut desk = Desk::new(model, &[(address(1), 5_000)]);
    let tally = desk.day(1, 1, Quality { traps: 0.003, ..Quality::GOOD }, 0, 2_000);
    assert!((1..=15).contains(&tally.traps), "{tally:?}");
    assert!(desk.receiver.reputation(address(1), at(DAY)) < 0.95);
}

#[test]
fn the_third_blocked_address_of_a_network_blocks_it_all() {
    let model = ReceiverModel { content_limit: 1.0, domain_weight: 0.0, ..quiet(ReceiverModel::microsoft()) };
    let mut desk = Desk::new(model, &[1, 2, 3, 4].map(|last| (address(last), 5_000)));
    let bad = Quality { traps: 0.05, ..Quality::BAD };
    for (last, range_blocked) in [(1, false), (2, false), (3, true)] {
        let tally = desk.day(last, 1, bad, 0, 3_000);
        assert!(tally.blocked > 0, "{last}: {tally:?}");
        assert_eq!(desk.receiver.range_until(address(4), at(DAY)).is_some(), range_blocked, "after {last}");
    }
    let innocent = desk.say(4, 2, Quality::GOOD, at(DAY)).reply.unwrap_or_default();
    assert!(innocent.contains("S3140"), "{innocent}");
    let elsewhere = Attempted {
        address: IpAddr::from([198, 51, 100, 1]),
        connections: 1,
        recipient: 1,
        sender: 2,
        quality: Quality::GOOD,
    };
    let said = desk.receiver.answer(&elsewhere, &mut random(), at(DAY));
    assert!(said.reply.unwrap_or_default().starts_with("250"));
}

#[test]
fn a_domain_with_a_bad_list_is_refused_from_whatever_address_and_others_are_not() {
    let mut desk = Desk::new(quiet(ReceiverModel::gmail()), &[1, 2].map(|last| (address(last), 50_000)));
    let bad = Quality { spamminess: 0.3, ..Quality::BAD };
    let mut last = Tally::default();
    for day in 0..3 {
        last = desk.day(1, 66, bad, day, 3_000);
        let other = desk.day(1, 1, Quality::GOOD, day, 30_000);
        assert_eq!(other.domain, 0, "day {day}: {other:?}");
        assert!(other.accepted > 28_000, "day {day}: the good mail carries the address: {other:?}");
    }
    assert!(last.domain > last.accepted, "{last:?}");
    let elsewhere = desk.day(2, 66, bad, 3, 500);
    assert!(elsewhere.domain > 100, "another address does not help: {elsewhere:?}");
    // It looks after its list from then on; its name is mended in two weeks, even though little of it gets through.
    let refused: Vec<u64> = (4..20).map(|day| desk.day(2, 66, Quality::GOOD, day, 500).domain).collect();
    assert!(refused[0] > 100 && refused[15] == 0, "{refused:?}");
}

#[test]
fn complaints_come_hours_to_days_later_and_are_told_by_those_who_tell() {
    for (model, tells) in [(ReceiverModel::yahoo(), true), (ReceiverModel::gmail(), false)] {
        let mut desk = Desk::new(quiet(model), &[(address(1), 50_000)]);
        let accepted = desk.day(1, 5, Quality { complaints: 0.0009, ..Quality::GOOD }, 0, 40_000).accepted;
        let early: u32 = desk.receiver.complained(at(DAY)).iter().map(|c| c.count).sum();
        let late: Vec<Complaints> = desk.receiver.complained(at(5 * DAY));
        let told = early + late.iter().map(|c| c.count).sum::<u32>();
        assert!(late.iter().all(|c| (c.address, c.sender) == (address(1), 5)));
        let expected = if tells { accepted as f64 * 0.0009 } else { 0.0 };
        assert!((f64::from(told) - expected).abs() <= 4.0 * expected.sqrt(), "{told} of {expected}");
        assert_eq!(tells, !late.is_empty(), "some come days later");
        assert!(desk.receiver.complained(at(6 * DAY)).is_empty(), "told once");
    }
}

#[test]
fn an_outage_a_forced_block_and_a_listing_last_until_they_are_ended() {
    let mut desk = Desk::new(quiet(ReceiverModel::plain()), &[]);
    let mut say = |change: &dyn Fn(&mut Receiver)| {
        change(&mut desk.receiver);
        desk.say(1, 1, Quality { invalid: 0.0, ..Quality::GOOD }, at(0)).reply.unwrap_or_default()
    };
    assert!(say(&|_| {}).starts_with("250"));
    let down = say(&|receiver| receiver.set_outage(Some(Outage::Down)));
    assert!(down.is_empty() || down.starts_with("421"), "{down}");
    assert!(say(&|receiver| receiver.set_outage(None)).starts_with("250"));
    let blocked = say(&|receiver| receiver.force_block(address(1), true));
    assert!(blocked.contains("192.0.2.1"), "{blocked}");
    assert!(say(&|receiver| receiver.force_block(address(1), false)).starts_with("250"));
    assert!(say(&|receiver| receiver.set_listed(address(1), true)).contains("spamhaus"));
    assert!(say(&|receiver| receiver.set_listed(address(1), false)).starts_with("250"));
}

#[test]
fn a_receiver_is_gone_in_four_ways() {
    // silence and 421 among 200 answers, and whether anything else was said
    for (how, silent, busy, unknown) in [
        (Outage::Down, 100..180, 20..100, 0),
        (Outage::Silent, 200..201, 0..1, 0),
        (Outage::Busy, 0..1, 200..201, 0),
        (Outage::UnknownUsers, 0..1, 0..1, 200),
    ] {
        let mut desk = Desk::new(quiet(ReceiverModel::gmail()), &[(address(1), 10_000)]);
        desk.receiver.set_outage(Some(how));
        let quality = Quality { invalid: 0.0, ..Quality::GOOD };
        let said: Vec<_> = (0..200).map(|n| desk.say(1, 1, quality, at(n * 60)).reply).collect();
        let starting = |with: &str| said.iter().flatten().filter(|reply| reply.starts_with(with)).count();
        let none = said.iter().filter(|reply| reply.is_none()).count();
        assert!(silent.contains(&none) && busy.contains(&starting("421")), "{how:?}: {none} silent");
        assert_eq!(starting("550 5.1.1"), unknown, "{how:?}");
        desk.receiver.set_outage(None);
        let after = desk.day(1, 1, quality, 1, 1_000);
        assert_eq!(after.accepted, 1_000, "{how:?}: nothing of it is held against anybody: {after:?}");
    }
}

#[test]
fn a_forced_range_is_blocked_in_words_for_networks_and_others_are_not() {
    let mut desk = Desk::new(quiet(ReceiverModel::microsoft()), &[1, 200].map(|last| (address(last), 5_000)));
    desk.receiver.force_range(address(1), true);
    let said = desk.say(200, 1, Quality::GOOD, at(60)).reply.unwrap_or_default();
    assert!(said.contains("S3140"), "{said}");
    let elsewhere = IpAddr::from([198, 51, 100, 1]);
    let attempted = Attempted { address: elsewhere, connections: 1, recipient: 4, sender: 1, quality: Quality::GOOD };
    let said = desk.receiver.answer(&attempted, &mut random(), at(60)).reply.unwrap_or_default();
    assert!(said.starts_with("250"), "{said}");
    desk.receiver.force_range(address(1), false);
    let after = desk.day(200, 1, Quality { invalid: 0.0, ..Quality::GOOD }, 0, 1_000);
    assert_eq!(after.accepted, 1_000, "{after:?}");
}

/// Deferred and refused of 400 recipients an hour, and what the receiver thinks, hour by hour.
fn hours(desk: &mut Desk, from: u64, count: u64) -> Vec<(u64, f64)> {
    let quality = Quality { invalid: 0.0, complaints: 0.0, ..Quality::GOOD };
    let hour = |hour: u64, desk: &mut Desk| {
        let said = (0..400).map(|n| desk.say(1, 1, quality, at(hour * HOUR + n * 9)).reply.unwrap_or_default());
        let refused = said.filter(|reply| !reply.starts_with('2')).count() as u64;
        (refused, desk.receiver.reputation(address(1), at((hour + 1) * HOUR - 1)))
    };
    (from..from + count).map(|n| hour(n, desk)).collect()
}

#[test]
fn a_name_that_goes_sour_is_judged_by_each_receivers_own_rules_at_once_and_heals_by_them() {
    // receiver, reputation → share refused in the first hour, and in a later one
    for (model, reputation, first, later) in [
        (ReceiverModel::gmail(), 0.35, 0.35..0.55, 0.35..0.55),
        (ReceiverModel::gmail(), 0.1, 0.99..1.01, 0.99..1.01),
        (ReceiverModel::microsoft(), 0.35, 0.65..0.85, 0.65..0.85),
        (ReceiverModel::plain(), 0.35, 0.12..0.25, 0.12..0.25),
        (ReceiverModel::lenient(), 0.45, 0.0..0.001, 0.0..0.001),
    ] {
        let voice = model.voice;
        let mut desk = Desk::new(quiet(model), &[(address(1), 20_000)]);
        let before = hours(&mut desk, 0, 3);
        assert!(before.iter().all(|(refused, _)| *refused == 0), "{voice:?}: {before:?}");
        desk.receiver.hold(address(1), Held { ceiling: reputation, ..Held::NOT }, at(3 * HOUR));
        let held = hours(&mut desk, 3, 40);
        let share = |at: usize| held[at].0 as f64 / 400.0;
        assert!(first.contains(&share(0)) && later.contains(&share(30)), "{voice:?} {reputation}: {held:?}");
        assert!(held.iter().all(|(_, seen)| *seen <= reputation), "{held:?}");
        desk.receiver.hold(address(1), Held::NOT, at(43 * HOUR));
        let healed = hours(&mut desk, 43, 24 * 14);
        assert!(healed.iter().rev().take(24).all(|(refused, _)| *refused == 0), "{voice:?} {reputation}: it heals");
        assert!(healed[0].1 < 0.95, "and not at once: {:?}", healed[0]);
    }
}

#[test]
fn a_decline_is_slow_defers_before_it_blocks_and_can_be_stopped() {
    let mut desk = Desk::new(quiet(ReceiverModel::gmail()), &[(address(1), 20_000)]);
    hours(&mut desk, 0, 1);
    desk.receiver.hold(address(1), Held { fall_per_day: 0.25, ..Held::NOT }, at(HOUR));
    let days = hours(&mut desk, 1, 96);
    let (first, full) = (days.iter().position(|(refused, _)| *refused > 0), days.iter().position(|(r, _)| *r == 400));
    let (first, full) = (first.expect("it defers"), full.expect("it blocks"));
    assert!((36..54).contains(&first), "fine for nearly two days: {first}");
    assert!(full - first > 18, "and a day of deferrals before the block: {first}, {full}");
    assert!(days[..full].windows(2).all(|two| two[1].1 < two[0].1 + 1e-9), "it only falls");
    let mut stopped = Desk::new(quiet(ReceiverModel::gmail()), &[(address(1), 20_000)]);
    stopped.receiver.hold(address(1), Held { fall_per_day: 0.25, ..Held::NOT }, at(0));
    let low = hours(&mut stopped, 0, 48).last().expect("hours").1;
    stopped.receiver.hold(address(1), Held::NOT, at(48 * HOUR));
    let healed = hours(&mut stopped, 48, 24 * 9).last().expect("hours").1;
    assert!(low < 0.5 && healed > 0.8, "{low} {healed}");
}

#[test]
fn too_many_connections_are_told_so_and_a_crowd_is_served_slower() {
    let mut desk = Desk::new(quiet(ReceiverModel::microsoft()), &[(address(1), 100_000)]);
    let mut said = |connections, recipient| {
        let quality = Quality { invalid: 0.0, ..Quality::GOOD };
        let attempted = Attempted { address: address(1), connections, recipient, sender: 1, quality };
        desk.receiver.answer(&attempted, &mut desk.random, at(0))
    };
    let mean = |said: &mut dyn FnMut(u64) -> Said| (0..200).map(|n| said(n).took).sum::<Duration>() / 200;
    let alone = mean(&mut |n| said(1, n));
    let crowded = mean(&mut |n| said(15, n));
    assert!(crowded > alone * 2, "{alone:?} {crowded:?}");
    let refused = said(16, 900).reply.unwrap_or_default();
    assert!(refused.contains("maximum number of connections"), "{refused}");
}

#[test]
fn after_thirty_idle_days_an_address_is_a_stranger_again() {
    let mut desk = Desk::new(quiet(ReceiverModel::gmail()), &[(address(1), 10_000)]);
    desk.day(1, 1, Quality::GOOD, 0, 100);
    desk.day(2, 1, Quality::GOOD, 29, 10);
    assert!(desk.receiver.allowance(address(1)) > 10_000);
    desk.day(2, 1, Quality::GOOD, 32, 10);
    assert_eq!(desk.receiver.allowance(address(1)), 500);
    assert_eq!(desk.receiver.addresses.len(), 1);
}

#[test]
fn the_same_seed_gives_the_same_answers() {
    let run = || {
        let mut desk = Desk::new(ReceiverModel::plain(), &[]);
        (0..3_000).map(|n| desk.say(1, 1, Quality::BAD, at(n * 20))).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a scenario asks for: no panic, and a reputation stays one.
    #[test]
    fn no_model_and_no_mail_breaks_it(
        (first_day, growth, latency) in (0u64..2_000_000_000, 0.0..1000.0f64, 0u64..100_000),
        limits in proptest::array::uniform8(0.0..=1.0f64),
        quality in proptest::array::uniform4(0.0..=1.0f64),
        connections in 0u32..100,
        steps in proptest::collection::vec((0u64..200_000, 0u8..6), 1..200),
    ) {
        let [a, b, c, d, e, f, g, h] = limits;
        let model = ReceiverModel {
            first_day, growth, complaint_limit: a, invalid_limit: b, defer_below: c, block_below: d, noise: e,
            newcomer: f, recovery: g, trap_cost: h, domain_weight: a, content_limit: b,
            block_for: Duration::from_secs(latency), greylist: Some((c, Duration::from_secs(latency))),
            max_connections: Some(connections), latency: Duration::from_millis(latency), voice: Voice::Microsoft,
            ..ReceiverModel::microsoft()
        };
        let [invalid, complaints, traps, spamminess] = quality;
        let quality = Quality { invalid, complaints, traps, spamminess };
        let mut desk = Desk::new(model, &[(address(1), first_day)]);
        let mut now = 0;
        for (step, from) in steps {
            now += step;
            desk.say(from, u32::from(from), quality, at(now));
            let reputation = desk.receiver.reputation(address(from), at(now));
            prop_assert!((0.0..=1.0).contains(&reputation), "{}", reputation);
        }
    }
}
