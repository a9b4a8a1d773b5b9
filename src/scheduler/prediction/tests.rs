//! What the prediction has to do in toy worlds, over restarts, and with numbers nobody sends.

use proptest::prelude::*;

use super::estimate::{Blame, chance, solve};
use super::toy::*;
use super::{Feature, LIFT_MAX};
use crate::message::BindingName;
use crate::reputation::Fact;
use crate::scheduler::{BindingId, Experience};

const DAY: u64 = 24 * 60;

type Odd = fn(usize, u64, f64) -> Odds;

fn declining(binding: usize, minute: u64, _: f64) -> Odds {
    let worse = if binding == 0 { (minute as f64 / DAY as f64).min(1.0) } else { 0.0 };
    Odds { deferred: 0.02 + 0.6 * worse, blamed: 0.1 * worse * worse }
}

fn blocked(binding: usize, minute: u64, _: f64) -> Odds {
    if binding == 0 && (600..720).contains(&minute) { Odds { deferred: 0.1, blamed: 0.9 } } else { WELL }
}

/// Above a tenth of the mail, deferrals grow with what it carries.
fn loaded(binding: usize, share: f64, steep: f64) -> Odds {
    deferring(if binding == 0 { (steep * (share - 0.1).max(0.0)).min(1.0) } else { 0.0 })
}

fn share(out: &Outcome, binding: usize) -> f64 {
    out.hours.iter().map(|hour| hour[binding] as f64).sum::<f64>() / out.sent as f64
}

#[test]
fn a_slow_decline_is_left_before_it_is_half_and_with_it_most_refusals() {
    let present = run(&mut Present::new(8, 7), 8, 20.0, (0, DAY), 5, declining);
    let half = (0..DAY).find(|&minute| declining(0, minute, 0.0).deferred > 0.45).expect("it comes to that");
    let then = present.parts[half as usize / 60 - 1][0];
    assert!(then <= 0.3, "{then} of its weight at minute {half}: {:?}", present.parts);
    let former = run(&mut former(8), 8, 20.0, (0, DAY), 5, declining);
    assert!(2 * present.blamed < former.blamed, "{} against {}", present.blamed, former.blamed);
    assert!((1..8).all(|b| present.parts.iter().all(|part| part[b] == 1.0)), "nobody else is bent");
}

#[test]
fn it_is_nowhere_worse_than_the_former_rule() {
    let worlds: [(&str, usize, Odd); 10] = [
        ("equal", 8, |_, _, _| WELL),
        ("all deferred", 8, |_, _, _| deferring(0.3)),
        ("outage", 8, |_, minute, _| if (600..780).contains(&minute) { deferring(0.7) } else { WELL }),
        ("one bad", 4, |b, _, _| if b == 0 { deferring(0.9) } else { WELL }),
        ("decline", 8, declining),
        ("blocked", 8, blocked),
        ("load", 2, |b, _, share| loaded(b, share, 1.0)),
        ("steep load", 4, |b, _, share| loaded(b, share, 10.0)),
        ("blame by load", 8, |b, _, share| {
            if b == 0 { Odds { deferred: 0.02, blamed: (2.0 * (share - 0.06)).clamp(0.0, 1.0) } } else { WELL }
        }),
        ("all blamed", 8, |_, _, _| Odds { deferred: 0.03, blamed: 0.005 }),
    ];
    for (name, n, odds) in worlds {
        let (mut sums, mut rates) = ([0; 2], [0.0; 2]);
        for seed in 1..=2 {
            let outs = [
                run(&mut Present::new(n, seed), n, 6.0, (0, DAY), seed, odds),
                run(&mut former(n), n, 6.0, (0, DAY), seed, odds),
            ];
            for (at, out) in outs.iter().enumerate() {
                sums[at] += out.blamed;
                rates[at] += out.accepted as f64 / out.sent as f64 / 2.0;
            }
        }
        println!(
            "{name:15} blamed {:5} before {:5}  accepted {:.4} before {:.4}",
            sums[0], sums[1], rates[0], rates[1]
        );
        assert!(sums[0] as f64 <= sums[1] as f64 * 1.02, "{name}: {sums:?} refusals");
        assert!(rates[0] >= rates[1] - 0.001, "{name}: {rates:?} accepted");
    }
}

#[test]
fn equal_bindings_keep_equal_shares() {
    for (mail, deferred, tolerance) in [(40.0, 0.02, 0.02), (2.0, 0.02, 0.05), (40.0, 0.3, 0.06)] {
        let out = run(&mut Present::new(8, 3), 8, mail, (0, DAY), 9, |_, _, _| deferring(deferred));
        for binding in 0..8 {
            let off = (share(&out, binding) * 8.0 - 1.0).abs();
            assert!(off <= tolerance, "{mail} a minute, {deferred} deferred: {binding} is off by {off}");
        }
    }
}

#[test]
fn a_provider_that_defers_everybody_bends_nobody_for_long() {
    let mut present = Present::new(8, 1);
    let out = run(
        &mut present,
        8,
        50.0,
        (0, DAY),
        2,
        |_, minute, _| {
            if (600..900).contains(&minute) { deferring(0.8) } else { WELL }
        },
    );
    let worst = (0..8).map(|b| share(&out, b) * 8.0).fold(1.0, f64::min);
    assert!(worst > 0.95, "{worst}");
    assert_eq!(out.parts.last(), Some(&vec![1.0; 8]));
}

#[test]
fn a_binding_nothing_is_known_of_stands_where_the_others_stand() {
    for deferred in [0.02, 0.4] {
        let mut present = Present::new(4, 1);
        run(&mut present, 3, 30.0, (0, 300), 2, |_, _, _| deferring(deferred));
        let new = present.predicted(3);
        assert!((new.chance - new.others).abs() < 0.02, "{new:?}");
        assert!((new.chance - (1.0 - deferred)).abs() < 0.06, "{new:?}");
        assert_eq!((new.weight_percent, new.evidence), (100.0, 0.0));
        assert!(new.deviation > 1.5 * present.predicted(0).deviation, "and one knows how little that is");
    }
}

#[test]
fn one_deferral_is_no_measure_and_one_blaming_refusal_is_some() {
    let mut present = Present::new(3, 1);
    run(&mut present, 2, 30.0, (0, 300), 2, |_, _, _| WELL);
    present.learn(2, &Experience { deferred: 1, ..Experience::default() }, at(300, 0));
    assert_eq!(present.part(2), 1.0);
    present.learn(2, &Experience { blamed: 1, ..Experience::default() }, at(301, 0));
    let predicted = present.predicted(2);
    assert!(predicted.none_blamed < 0.75, "{predicted:?}");
    for minute in 302..305 {
        present.learn(2, &Experience { blamed: 1, ..Experience::default() }, at(minute, 0));
    }
    assert!(present.part(2) < 0.65, "at once, without waiting for a draw: {}", present.part(2));
}

#[test]
fn a_binding_that_does_badly_because_it_carries_much_comes_to_rest() {
    for (n, steep) in [(2, 1.0), (2, 3.0), (4, 2.0), (4, 10.0)] {
        let out = run(&mut Present::new(n, 4), n, 40.0, (0, DAY), 6, |b, _, share| loaded(b, share, steep));
        let late = &out.parts[12..];
        let (least, most) = late.iter().fold((1.0f64, 0.0f64), |(l, m), part| (l.min(part[0]), m.max(part[0])));
        assert!(most <= 2.0 * least, "{n} bindings, {steep}: {late:?}");
        assert!(out.moves[0] <= 24, "{n} bindings, {steep}: {} moves in a day", out.moves[0]);
    }
}

#[test]
fn listings_and_complaints_cost_mail_while_it_is_still_accepted() {
    for (complaints, listed, feature) in [(0.0, 0.7, Feature::Listings), (1.0, 0.0, Feature::Complaints)] {
        let mut present = Present::new(4, 1);
        run(&mut present, 4, 20.0, (0, 600), 2, |_, _, _| WELL);
        assert_eq!(present.part(1), 1.0);
        present.told(1, complaints, listed);
        run(&mut present, 4, 20.0, (600, 660), 3, |_, _, _| WELL);
        let predicted = present.predicted(1);
        assert!(present.part(1) <= 0.8 && present.part(1) >= 0.3, "{predicted:?}");
        assert_eq!(predicted.strongest, Some(feature));
        assert!(predicted.chance > 0.93, "{predicted:?}");
        present.told(1, 0.0, 0.0);
        run(&mut present, 4, 20.0, (660, 960), 4, |_, _, _| WELL);
        assert_eq!(present.part(1), 1.0, "what is gone is held against nobody");
    }
}

#[test]
fn an_untried_binding_that_is_given_much_at_once_is_given_a_little_less() {
    let mut present = Present::new(4, 1);
    run(&mut present, 3, 30.0, (0, DAY), 2, |_, _, _| WELL);
    let hour = |present: &mut Present, carried: u64, binding: usize| {
        for n in 0..carried {
            let seen = Experience { accepted: 1, ..Experience::default() };
            present.learn(binding, &seen, at(DAY, n * 3_600_000 / carried));
        }
    };
    hour(&mut present, 1_200, 3);
    let untried = present.predicted(3);
    assert_eq!(untried.strongest, Some(Feature::Jump), "{untried:?}");
    assert!(untried.none_blamed < 0.9, "{untried:?}");
    assert!(present.part(3) < 1.0 && present.part(3) >= 0.6);
    hour(&mut present, 600, 0);
    assert_eq!((present.part(0), present.predicted(0).strongest), (1.0, None), "what is usual there is no jump");
}

#[test]
fn what_is_held_against_a_binding_fades_and_it_comes_back_in_steps() {
    let out = run(&mut Present::new(8, 7), 8, 20.0, (0, 2 * DAY), 5, blocked);
    let of: Vec<f64> = out.parts.iter().map(|part| part[0]).collect();
    assert!(of[10] <= 0.1, "{of:?}");
    assert!(of[12..17].iter().any(|&part| part > 0.1), "it is tried again: {of:?}");
    assert_eq!(of.last(), Some(&1.0));
    assert!(of.windows(2).skip(12).all(|pair| pair[1] <= 4.0 * pair[0]), "but not at once: {of:?}");
}

#[test]
fn others_do_not_grow_faster_by_it_than_they_may() {
    for (n, bad) in [(2, 1), (4, 3), (4, 2), (8, 7)] {
        let out =
            run(&mut Present::new(n, 7), n, 20.0, (0, DAY), 5, |b, _, _| if b < bad { deferring(0.9) } else { WELL });
        let lift = |parts: &Vec<f64>| n as f64 / parts.iter().sum::<f64>();
        let lifts: Vec<f64> = out.parts.iter().map(lift).collect();
        assert!(lifts.iter().all(|&lift| lift <= LIFT_MAX + 0.01), "{n}, {bad} bad: {lifts:?}");
        // An hour's end sees what one hour allows, and what the next begins with.
        let growth = lifts.windows(2).map(|pair| pair[1] / pair[0]).fold(lifts[0], f64::max);
        assert!(growth <= 1.25 * 1.25 + 0.01, "{n}, {bad} bad: {lifts:?}");
        assert!(*lifts.last().expect("a day") > 1.5, "but as far as that: {lifts:?}");
    }
}

fn disk(facts: Vec<Fact>) -> Vec<(String, Vec<u8>)> {
    let put = |fact| match fact {
        Fact::Put(key, value) => (key, value),
        Fact::Remove(key) => panic!("{key} is removed"),
    };
    facts.into_iter().map(put).collect()
}

fn removed(facts: Vec<Fact>) -> Vec<String> {
    let removed = |fact| if let Fact::Remove(key) = fact { Some(key) } else { None };
    facts.into_iter().filter_map(removed).collect()
}

/// The members of the one pool in two.
fn in_two(config: &mut crate::config::Config, first: usize) {
    let mut second = config.pools[0].clone();
    second.name = "q".into();
    second.tiers[0] = config.pools[0].tiers[0].split_off(first);
    config.pools.push(second);
}

#[test]
fn what_another_pool_meets_bends_nobody() {
    for rest in [crate::config::Spread::Reputation, crate::config::Spread::Weighted] {
        let mut present = Present::with(16, 7, |config| {
            in_two(config, 8);
            config.pools[1].spread = rest;
        });
        let out = run(&mut present, 16, 40.0, (0, DAY), 5, |b, _, _| if b < 8 { deferring(0.2) } else { WELL });
        // A step now and then is the noise of those that are deferred that often, also where they are alone.
        let parts: Vec<f64> = out.parts.iter().flatten().copied().collect();
        let mean = parts.iter().sum::<f64>() / parts.len() as f64;
        assert!(mean > 0.97 && parts.iter().all(|&part| part >= 0.6), "{rest:?}: {mean} {:?}", out.parts);
        let predicted = present.predicted(0);
        assert!((predicted.others - 0.8).abs() < 0.05, "{predicted:?}");
        let to = present.bench.destination("gmail");
        let other = present.bench.scheduler.predicted(BindingId(15), to, present.bench.now);
        assert_eq!(other.is_some(), rest == crate::config::Spread::Reputation);
    }
}

#[test]
fn one_that_does_as_badly_as_another_pool_is_found_in_its_own() {
    let mut present = Present::with(8, 7, |config| in_two(config, 4));
    let odds = |b, _, _| if b == 0 || b >= 4 { deferring(0.3) } else { WELL };
    let out = run(&mut present, 8, 40.0, (0, DAY / 2), 5, odds);
    assert!(present.part(0) < 0.5, "{:?}", out.parts);
    let mean = |b: usize| out.parts.iter().map(|part| part[b]).sum::<f64>() / out.parts.len() as f64;
    assert!((1..4).all(|b| mean(b) == 1.0) && (4..8).all(|b| mean(b) > 0.9), "{:?}", out.parts);
}

#[test]
fn tiers_that_overlap_are_compared_and_opinions_go_along() {
    let mut present = Present::with(8, 7, |config| in_two(config, 4));
    run(&mut present, 8, 40.0, (0, 300), 5, |b, _, _| if b == 0 { deferring(0.5) } else { WELL });
    let (before, mut config) = (present.predicted(0), present.config.clone());
    let shared = config.pools[0].tiers[0][3].clone();
    config.pools[1].tiers[0].push(shared);
    present.bench.scheduler.reconfigure(&config, present.bench.now);
    let after = present.predicted(0);
    assert_eq!((after.weight_percent, after.evidence), (before.weight_percent, before.evidence));
    assert!((after.chance - before.chance).abs() < 0.1 && (after.others - before.others).abs() < 0.1, "{after:?}");
    present.bench.scheduler.reconfigure(&present.config, present.bench.now);
    let again = present.predicted(0);
    assert!((again.others - before.others).abs() < 0.1 && again.evidence == before.evidence, "{again:?}");
}

#[test]
fn facts_are_removed_with_their_binding_and_when_they_have_faded() {
    let mut present = Present::new(3, 7);
    run(&mut present, 3, 50.0, (0, 60), 5, |_, _, _| WELL);
    let now = present.bench.now;
    let facts = disk(present.bench.scheduler.final_prediction_facts(now));
    let facts: Vec<_> = std::collections::BTreeMap::from_iter(facts).into_iter().collect();
    let mut config = present.config.clone();
    config.pools[0].tiers[0].retain(|member| member.binding.as_str() != "m1");
    config.bindings.retain(|binding| binding.name.as_str() != "m1");
    present.bench.scheduler.reconfigure(&config, now);
    assert_eq!(removed(present.bench.scheduler.take_facts()), ["prediction/m1/gmail"]);
    config.providers.clear();
    present.bench.scheduler.reconfigure(&config, now);
    let gone = ["prediction/m0/gmail", "prediction/m2/gmail"];
    assert_eq!(removed(present.bench.scheduler.take_facts()), gone);
    for (days, left) in [(3, 3), (5, 0)] {
        present.bench.now = at(60 + days * DAY, 0);
        present.start(&facts);
        let removed = removed(present.bench.scheduler.take_facts());
        assert_eq!(removed.len(), 3 - left, "{removed:?} after {days} days");
    }
}

#[test]
fn a_stream_of_blame_asks_the_others_once_until_a_draw_is_due() {
    let mut present = Present::new(2, 7);
    run(&mut present, 2, 20.0, (0, 300), 5, |_, _, _| WELL);
    let column = 1;
    let (mut asked, mut due) = (0, 0);
    for second in 0..3_600u64 {
        let (now, seen) = (at(300, second * 1_000), Experience { blamed: 1, ..Experience::default() });
        let scheduler = &mut present.bench.scheduler;
        let drawn = scheduler.predictions.route(BindingId(0), column).and_then(|route| route.drawn);
        let step = scheduler.predictions.learn(BindingId(0), column, &seen, &mut scheduler.rng, now);
        asked += u32::from(step.is_some());
        due += u32::from(scheduler.predictions.route(BindingId(0), column).and_then(|route| route.drawn) != drawn);
        if let Some(step) = step {
            // The other one could not take more than this.
            scheduler.predictions.settle((BindingId(0), column), step, (450, 0), now.mono);
        }
    }
    assert_eq!(present.part(0), 0.45);
    assert!(due >= 10, "{due} draws were due in the hour");
    assert!(asked <= 2 * due + 4, "asked {asked} times, {due} of them due");
}

#[test]
fn others_that_carry_nothing_there_take_nothing_over() {
    let run_with = |shut: usize| {
        let mut present = Present::new(4, 7);
        for other in 0..shut {
            let health = present.bench.suspended(7 * 86_400);
            present.bench.set_route(&format!("m{}", 3 - other), "gmail", health);
        }
        run(&mut present, 4, 20.0, (0, 60), 5, |b, _, _| if b == 0 { deferring(0.95) } else { WELL });
        present.part(0)
    };
    let (all, one) = (run_with(0), run_with(2));
    // Two share: the other may grow by a quarter at once and again within the hour, so that 0.28 are left at least.
    assert!(all <= 0.1 && one >= 0.28, "{all} and {one}");
}

#[test]
fn a_restart_goes_on_where_it_was_and_an_old_opinion_has_faded() {
    // (hours of outage, least and largest part afterwards)
    for (outage, least, most) in [(0, 0.05, 0.05), (1, 0.05, 0.2), (72, 0.6, 1.0)] {
        let mut present = Present::new(8, 7);
        run(&mut present, 8, 50.0, (0, 600), 5, |b, _, _| if b == 0 { deferring(0.95) } else { WELL });
        let (before, now) = (present.predicted(0), present.bench.now);
        assert_eq!(present.part(0), 0.05);
        let facts = disk(present.bench.scheduler.final_prediction_facts(now));
        let facts: Vec<_> = std::collections::BTreeMap::from_iter(facts).into_iter().collect();
        assert_eq!(facts.len(), 8);
        present.bench.now = at(600 + outage * 60, 0);
        // The monotonic clock begins anew.
        present.bench.now.mono = crate::clock::Mono::from_nanos(5);
        present.start(&facts);
        let (after, part) = (present.predicted(0), present.part(0));
        assert!((least..=most).contains(&part), "{part} after {outage} h");
        match outage {
            0 => assert!((after.chance - before.chance).abs() < 0.05, "{before:?} {after:?}"),
            72 => assert!((after.chance - after.others).abs() < 0.05, "{after:?}"),
            _ => assert!(after.chance > before.chance && after.deviation > before.deviation, "{before:?} {after:?}"),
        }
        assert_eq!(present.part(3), 1.0);
    }
}

#[test]
fn facts_are_written_when_there_is_news_and_seldom() {
    let mut present = Present::new(2, 7);
    run(&mut present, 2, 50.0, (0, 180), 5, |_, _, _| WELL);
    let settled = disk(present.bench.scheduler.take_facts());
    assert!((2..=20).contains(&settled.len()), "{}", settled.len());
    for n in 0..100 {
        present.learn(0, &Experience { blamed: 1, ..Experience::default() }, at(200, n * 100));
    }
    let facts = disk(present.bench.scheduler.take_facts());
    assert_eq!(facts.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["prediction/m0/gmail"]);
}

#[test]
fn facts_of_strangers_are_harmless_and_bad_ones_are_told() {
    let mut present = Present::new(2, 7);
    run(&mut present, 2, 50.0, (0, 60), 5, |_, _, _| WELL);
    let now = present.bench.now;
    let facts = disk(present.bench.scheduler.final_prediction_facts(now));
    let rename = |from: &str, to: &str| -> Vec<u8> {
        String::from_utf8(facts[0].1.clone()).expect("JSON").replace(from, to).into_bytes()
    };
    let all = [
        ("prediction/gone/gmail", rename("m0", "gone")),
        ("prediction/m0/gone", rename("gmail", "gone")),
        ("prediction/m0/gmail", b"{".to_vec()),
        ("warmup/m0", b"{}".to_vec()),
    ];
    let bad = present.bench.scheduler.restore_predictions(all.iter().map(|(k, v)| (*k, v.as_slice())), now);
    assert_eq!(bad.iter().map(|bad| bad.key.as_str()).collect::<Vec<_>>(), ["prediction/m0/gmail"]);
    assert_eq!(removed(present.bench.scheduler.take_facts()), ["prediction/gone/gmail", "prediction/m0/gone"]);
    let wild = |at: i64| {
        format!(
            r#"{{"binding":"m0","provider":"gmail","at":{at},"level":[1e308,-1e308],"own":[-1e308,0],
            "recipients":[1e308,1e308],"usual":[1e308,0,-1],"step":255}}"#
        )
        .into_bytes()
    };
    for at in [i64::MIN, now.wall.as_millis(), i64::MAX] {
        let wild = wild(at);
        let bad = present.bench.scheduler.restore_predictions([("prediction/m0/gmail", wild.as_slice())], now);
        assert!(bad.is_empty(), "{bad:?}");
    }
    present.learn(0, &Experience { accepted: 1, ..Experience::default() }, at(61, 0));
    let predicted = present.predicted(0);
    assert!((0.0..=1.0).contains(&predicted.chance) && predicted.none_blamed.is_finite(), "{predicted:?}");
}

#[test]
fn silence_counts_at_a_provider_only_and_opinions_stay_with_their_provider() {
    let mut present = Present::new(2, 7);
    let (site, now) = (present.bench.destination("site:1"), at(0, 0));
    let silent = Experience { failed: 200, ..Experience::default() };
    present.bench.scheduler.experienced(BindingId(0), site, &silent, now);
    assert_eq!(present.bench.scheduler.predicted(BindingId(0), site, now).expect("asked for").evidence, 0.0);
    run(&mut present, 2, 20.0, (0, 300), 5, |_, _, _| WELL);
    for minute in 300..360 {
        present.learn(0, &silent, at(minute, 0));
    }
    let bent = present.part(0);
    assert!(bent < 0.7, "{bent}");
    let mut config = present.config.clone();
    config.providers.insert(0, crate::config::Provider::new("yahoo", Vec::new()));
    present.bench.scheduler.reconfigure(&config, present.bench.now);
    let [gmail, yahoo] = ["gmail", "yahoo"].map(|name| present.bench.destination(name));
    assert_eq!(present.bench.scheduler.bent_to(BindingId(0), gmail), bent * 100.0);
    assert_eq!(present.bench.scheduler.bent_to(BindingId(0), yahoo), 100.0);
    config.providers.clear();
    present.bench.scheduler.reconfigure(&config, present.bench.now);
    present.bench.scheduler.reconfigure(&present.config, present.bench.now);
    assert_eq!(present.bench.scheduler.bent_to(BindingId(0), gmail), 100.0);
}

#[test]
fn nothing_is_measured_where_no_pool_asks_for_it() {
    let mut present = Present::with(2, 7, |config| config.pools[0].spread = crate::config::Spread::Weighted);
    present.learn(0, &Experience { blamed: 100, ..Experience::default() }, at(0, 0));
    let to = present.bench.destination("gmail");
    assert_eq!(present.bench.scheduler.predicted(BindingId(0), to, at(0, 0)), None);
    assert!(present.bench.scheduler.final_prediction_facts(at(0, 0)).is_empty());
}

#[test]
fn no_two_routes_share_a_key() {
    let mut present = Present::new(2, 7);
    for binding in 0..2 {
        for place in ["gmail", "site:1"] {
            let to = present.bench.destination(place);
            let seen = Experience { accepted: 1, ..Experience::default() };
            present.bench.scheduler.experienced(BindingId(binding), to, &seen, at(0, 0));
        }
    }
    let keys: std::collections::BTreeSet<String> =
        disk(present.bench.scheduler.final_prediction_facts(at(0, 0))).into_iter().map(|(key, _)| key).collect();
    assert_eq!(
        keys.into_iter().collect::<Vec<_>>(),
        ["prediction/m0", "prediction/m0/gmail", "prediction/m1", "prediction/m1/gmail"]
    );
    assert_eq!(BindingName::new("m0"), *present.bench.scheduler.binding_name(BindingId(0)));
}

#[test]
fn a_route_takes_so_many_octets() {
    assert!(size_of::<super::Route>() <= 184, "{}", size_of::<super::Route>());
}

#[test]
fn the_chance_that_none_blames_falls_with_the_horizon_and_with_blame() {
    let none = |blamed: f64, all: f64, n: f64| Blame::of(blamed, all, 1e-4).none_of(n);
    assert!(none(0.0, 0.0, 100.0) > 0.98);
    assert!((0.5..0.7).contains(&none(1.0, 0.0, 100.0)));
    assert!(none(1.0, 1_000.0, 100.0) > 0.9);
    assert!(none(1.0, 0.0, 1_000.0) < none(1.0, 0.0, 100.0));
}

proptest! {
    #[test]
    fn the_most_probable_move_is_where_evidence_and_belief_agree(
        mean in -7.0..7.0f64, variance in 1e-4..10.0f64, good in 0.0..5.0f64, bad in 0.0..5.0f64,
    ) {
        prop_assume!(good + bad > 0.0);
        let (moved, sure) = solve(mean, variance, good, bad);
        let at = |s: f64| s / variance + (good + bad) * chance(mean + s) - good;
        let s = moved * variance;
        prop_assert!(at(s - 0.15) <= 0.0 && at(s + 0.15) >= 0.0, "moved {s}: {} {}", at(s - 0.15), at(s + 0.15));
        prop_assert!(sure >= 0.0 && sure * variance < 1.0 + 1e-9, "{sure}");
    }

    #[test]
    fn no_numbers_and_no_clock_make_a_weight_that_is_none(
        steps in prop::collection::vec(
            (0usize..3, prop::array::uniform4(prop_oneof![Just(0u32), 0u32..20, Just(u32::MAX)]), any::<u64>(),
             prop_oneof![Just(0u64), any::<u64>(), Just(u64::MAX)], any::<i64>(), any::<f64>()),
            1..40,
        ),
    ) {
        let mut present = Present::new(3, 7);
        for (binding, [accepted, blamed, deferred, failed], took, mono, wall, told) in steps {
            let took = Some(std::time::Duration::from_nanos(took));
            let seen = Experience { accepted, blamed, deferred, failed, took, ..Experience::default() };
            let now = crate::clock::Now {
                mono: crate::clock::Mono::from_nanos(mono),
                wall: crate::clock::Wall::from_millis(wall % 4_000_000_000_000),
            };
            present.bench.now = now;
            let to = present.bench.destination("gmail");
            let column = present.bench.scheduler.destinations[to.index()].column;
            present.told(binding, told, -told);
            let id = BindingId(binding as u32);
            // Not through the ledger: days that jump are its own tests' affair.
            present.bench.scheduler.learn_prediction(id, to, &seen, now);
            let part = present.part(binding);
            prop_assert!((0.05..=1.0).contains(&part), "{part}");
            let predicted = present.bench.scheduler.predictions.predicted(id, column, now.mono).expect("asked for");
            let shares = [predicted.chance, predicted.others, predicted.none_blamed];
            prop_assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)), "{predicted:?}");
            prop_assert!(predicted.deviation.is_finite() && predicted.evidence.is_finite(), "{predicted:?}");
        }
    }
}
