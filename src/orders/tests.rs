//! Orders laid over a file, by table and by chance.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::reputation::Fact;

const NOW: Wall = Wall::from_millis(1_795_000_000_000);

const FILE: &str = "[server]\nhostname = \"relay.example.net\"\nstate_dir = \"/var/lib/remuda\"\n\
    [[listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"127.0.0.0/8\"]\n\
    [binding.m1]\nbind_address = \"192.0.2.1\"\ndaily_cap = 1000\nprovider = { big = { daily_cap = 900 } }\n\
    [binding.m2]\nbind_address = \"192.0.2.2\"\n\
    [binding.m3]\nbind_address = \"192.0.2.3\"\n\
    [binding.m4]\nbind_address = \"192.0.2.4\"\n\
    [provider.big]\nmx = [\"*.big.example\"]\n\
    [pool.main]\nactive = [\"m1\", { binding = \"m2\", weight = 3 }]\nbackup = [[\"m3\"]]\nmin_active = 2\n\
    [pool.solo]\nactive = [\"m4\"]\n\
    [tenant.acme]\nmatch = { sender_domain = [\"acme.example\"] }\npools = { default = \"main\" }\n\
    split = { default = { solo = 0.3 } }\n";

fn file() -> Config {
    Config::from_toml(FILE).expect("the configuration is good")
}

fn new(act: Act) -> NewOrder {
    NewOrder { act, reason: "test".into(), actor: "ann".into(), until: None }
}

fn given(acts: impl IntoIterator<Item = Act>) -> Orders {
    let mut orders = Orders::default();
    for act in acts {
        orders.give(new(act), NOW).expect("not too many");
    }
    orders
}

fn drain(name: &str) -> Act {
    Act::Drain { binding: name.into() }
}

fn remove(name: &str) -> Act {
    Act::Remove { binding: name.into(), draining: false }
}

fn cap(name: &str, cap: Option<u64>) -> Act {
    Act::SetCap { binding: name.into(), cap }
}

fn place(pool: &str, name: &str, tier: usize, weight: Option<u32>) -> Act {
    Act::MoveTier { pool: pool.into(), binding: name.into(), tier, weight }
}

fn assign(stream: &str, pool: &str) -> Act {
    Act::AssignTenant { tenant: "acme".into(), stream: stream.into(), pool: pool.into() }
}

fn hold() -> Act {
    Act::HoldTenant { tenant: "acme".into() }
}

/// The tiers of a pool, as `m1 m2×3 | m3`.
fn tiers(config: &Config, pool: &str) -> String {
    let pool = config.pools.iter().find(|known| known.name.as_str() == pool).expect("a pool");
    let member = |m: &crate::config::Member| match m.weight {
        1 => m.binding.to_string(),
        weight => format!("{}×{weight}", m.binding),
    };
    let tier = |tier: &Vec<crate::config::Member>| tier.iter().map(member).collect::<Vec<_>>().join(" ");
    pool.tiers.iter().map(tier).collect::<Vec<_>>().join(" | ")
}

fn binding<'c>(config: &'c Config, name: &str) -> &'c crate::config::Binding {
    config.bindings.iter().find(|known| known.name.as_str() == name).expect("a binding")
}

#[test]
fn without_orders_the_file_holds() {
    let (config, unfit) = Orders::default().over(&file(), NOW);
    assert_eq!(format!("{config:?}"), format!("{:?}", file()));
    assert!(unfit.is_empty());
}

#[test]
fn who_is_drained_or_gone_leaves_no_tier_without_a_weight() {
    for (acts, main, bindings) in [
        (vec![drain("m1")], "m1×0 m2×3 | m3", 4),
        (vec![drain("m1"), drain("m2")], "m3 m1×0 m2×0", 4),
        (vec![drain("m3")], "m1 m2×3 m3×0", 4),
        (vec![remove("m1")], "m2×3 | m3", 3),
        (vec![remove("m1"), remove("m2")], "m3", 2),
        (vec![remove("m3"), drain("m1")], "m1×0 m2×3", 3),
        (vec![Act::Remove { binding: "m1".into(), draining: true }], "m1×0 m2×3 | m3", 4),
        (vec![place("main", "m3", 0, None)], "m1 m2×3 m3", 4),
        (vec![place("main", "m2", 1, None)], "m1 | m3 m2×3", 4),
        (vec![place("main", "m1", 2, Some(5))], "m2×3 | m3 | m1×5", 4),
        (vec![place("main", "m4", 7, None)], "m1 m2×3 | m3 | m4", 4),
        (vec![place("main", "m4", 0, None), remove("m1"), remove("m2"), remove("m3")], "m4", 1),
    ] {
        let (config, unfit) = given(acts.clone()).over(&file(), NOW);
        assert_eq!(tiers(&config, "main"), main, "{acts:?}");
        assert_eq!((config.bindings.len(), unfit.len()), (bindings, 0), "{acts:?}");
    }
}

#[test]
fn the_last_binding_of_a_pool_stays_and_the_refusal_says_what_to_do() {
    for act in [drain("m4"), remove("m4"), place("solo", "m4", 0, Some(0))] {
        let (config, unfit) = given([act.clone()]).over(&file(), NOW);
        assert_eq!(tiers(&config, "solo"), "m4", "{act:?}");
        assert!(unfit[0].is_harmful && unfit[0].why.contains("remuda pool move-tier solo BINDING 0"), "{unfit:?}");
    }
    let (config, unfit) = given([drain("m1"), drain("m2"), drain("m3")]).over(&file(), NOW);
    assert_eq!(tiers(&config, "main"), "m3 m1×0 m2×0");
    assert_eq!(unfit.iter().map(|unfit| unfit.order.id.0).collect::<Vec<_>>(), [3], "the youngest is the one too many");
}

#[test]
fn backups_stand_open_where_fewer_actives_are_left_than_the_pool_asks_for() {
    let min_active = |acts: Vec<Act>| given(acts).over(&file(), NOW).0.pools[0].min_active;
    assert_eq!(min_active(vec![drain("m1")]), 2, "m3 opens beside m2, as the file asks for");
    assert_eq!(min_active(vec![remove("m1"), remove("m3")]), 1);
}

#[test]
fn a_cap_holds_for_the_providers_as_well() {
    let (config, _) = given([cap("m1", Some(300))]).over(&file(), NOW);
    let m1 = binding(&config, "m1");
    assert_eq!((m1.limits.daily_cap, m1.provider["big"].daily_cap), (Some(300), Some(300)));
    let (config, _) = given([cap("m1", None)]).over(&file(), NOW);
    let m1 = binding(&config, "m1");
    assert_eq!((m1.limits.daily_cap, m1.provider["big"].daily_cap), (None, Some(900)));
    assert!(given([cap("m1", Some(0))]).over(&file(), NOW).1[0].why.contains("suspend or drain"));
}

#[test]
fn a_tenant_is_held_and_a_stream_goes_elsewhere() {
    let (config, _) = given([hold(), assign("default", "solo"), assign("news", "main")]).over(&file(), NOW);
    let acme = &config.tenants[0];
    assert!(acme.hold && acme.split.is_empty());
    let pools: Vec<_> = acme.pools.iter().map(|(stream, pool)| format!("{stream} {pool}")).collect();
    assert_eq!(pools, ["default solo", "news main"]);
}

#[test]
fn names_that_are_not_there_are_answered_with_the_nearest() {
    for (act, hint) in [
        (drain("m11"), "no binding \"m11\""),
        (place("mian", "m1", 0, None), "did you mean \"main\"?"),
        (assign("default", "sollo"), "did you mean \"solo\"?"),
        (Act::HoldTenant { tenant: "acne".into() }, "did you mean \"acme\"?"),
    ] {
        let (_, unfit) = given([act]).over(&file(), NOW);
        assert!(unfit[0].why.contains(hint) && !unfit[0].is_harmful, "{unfit:?}");
    }
}

#[test]
fn orders_about_the_same_replace_one_another() {
    let mut orders = given([cap("m1", Some(5)), drain("m1"), place("main", "m1", 1, None), cap("m2", Some(5))]);
    orders.give(new(cap("m1", Some(7))), NOW).expect("not too many");
    orders.give(new(remove("m1")), NOW).expect("not too many");
    assert_eq!(orders.acts(), ["m1 in tier 1 of pool main", "daily cap of m2: 5", "daily cap of m1: 7", "remove m1"]);
    assert_eq!(orders.all().iter().map(|order| order.id.0).collect::<Vec<_>>(), [3, 4, 5, 6]);
}

#[test]
fn tiers_are_spoken_of_as_they_are_seen() {
    let orders = given([remove("m1"), remove("m2"), place("main", "m4", 2, None)]);
    assert_eq!(tiers(&orders.over(&file(), NOW).0, "main"), "m3 | m4");
    let seen = |tier| orders.tier_as_seen(&file(), &"main".into(), tier, NOW);
    assert_eq!((seen(0), seen(1), seen(2)), (Ok(1), Ok(2), Ok(3)));
    assert!(seen(3).is_err_and(|why| why.contains("has 2 tiers, from 0 to 1: 2 makes a new one")));
    let plain = Orders::default();
    assert_eq!(plain.tier_as_seen(&file(), &"main".into(), 2, NOW), Ok(2));
    assert!(plain.tier_as_seen(&file(), &"main".into(), 3, NOW).is_err());
}

#[test]
fn an_order_ends_at_its_moment() {
    let mut orders = Orders::default();
    let until = NOW.plus(std::time::Duration::from_secs(60));
    orders.give(NewOrder { until: Some(until), ..new(drain("m1")) }, NOW).expect("not too many");
    orders.give(new(drain("m2")), NOW).expect("not too many");
    assert_eq!(orders.next_end(), Some(until));
    let before = Wall::from_millis(until.as_millis() - 1);
    assert!(orders.expire(before).is_empty());
    assert_eq!(tiers(&orders.over(&file(), before).0, "main"), "m3 m1×0 m2×0");
    assert_eq!(tiers(&orders.over(&file(), until).0, "main"), "m1 m2×0 | m3", "also before anybody took it out");
    assert_eq!(orders.expire(until).len(), 1);
    assert_eq!((orders.acts(), orders.next_end()), (vec!["drain m2".to_owned()], None));
}

#[test]
fn an_order_that_the_file_has_made_needless_ends() {
    let text = FILE
        .replace(
            "active = [\"m1\", { binding = \"m2\", weight = 3 }]",
            "active = [{ binding = \"m1\", weight = 0 }, \"m2\"]",
        )
        .replace("min_active = 2\n", "")
        .replace("daily_cap = 1000", "daily_cap = 950")
        .replace("[binding.m4]\nbind_address = \"192.0.2.4\"\n", "")
        .replace("active = [\"m4\"]", "active = [\"m2\"]")
        .replace(
            "pools = { default = \"main\" }\nsplit = { default = { solo = 0.3 } }\n",
            "pools = { default = \"solo\" }\nhold = true\n",
        );
    let file = Config::from_toml(&text).expect("the configuration is good");
    let mut orders = given([
        drain("m1"),
        cap("m1", Some(950)),
        remove("m4"),
        cap("m4", Some(9)),
        place("main", "m2", 0, None),
        hold(),
        assign("default", "solo"),
        cap("m2", Some(3)),
    ]);
    let ended = orders.settle(&file);
    assert_eq!(orders.acts(), ["daily cap of m2: 3"]);
    let why: Vec<(u64, &str)> = ended.iter().map(|ended| (ended.order.id.0, ended.why.as_str())).collect();
    assert_eq!(why.len(), 7, "{why:?}");
    assert!(why.contains(&(1, "the file has it now")));
    assert!(why.contains(&(3, "the file has it now: it does not name binding m4")));
    assert!(why.iter().any(|(id, why)| *id == 4 && why.starts_with("the file no longer has it: no binding \"m4\"")));
}

#[test]
fn an_end_that_would_leave_a_pool_to_a_binding_told_to_go_is_put_off() {
    assert!(given([drain("m4")]).over(&file(), NOW).1.iter().any(empties_a_pool), "m4 is the only one of solo");
    let end = NOW.plus(std::time::Duration::from_secs(60));
    let mut orders = Orders::default();
    for act in [place("solo", "m2", 0, None), cap("m1", Some(7)), place("main", "m3", 0, None)] {
        orders.give(NewOrder { until: Some(end), ..new(act) }, NOW).expect("not too many");
    }
    orders.give(new(remove("m4")), NOW).expect("not too many");
    assert_eq!(tiers(&orders.over(&file(), NOW).0, "solo"), "m2");
    let ended = orders.expire(end);
    assert_eq!(ended.len(), 3);
    let (ended, put_off) = orders.put_off(ended, &file(), end);
    let words = |ended: &[Ended]| ended.iter().map(|ended| ended.order.act.to_string()).collect::<Vec<_>>();
    assert_eq!(words(&ended), ["daily cap of m1: 7", "m3 in tier 0 of pool main"]);
    assert!(matches!(&put_off[..], [one] if one.why.contains("m4 is the last binding that pool solo has")));
    assert_eq!(put_off[0].order.until, Some(end.plus(PUT_OFF)));
    assert_eq!(orders.over(&file(), end).1, []);
    // Once the other is taken back it ends.
    let id = orders.all().last().expect("the removal").id;
    orders.cancel(id).expect("is there");
    let ended = orders.expire(end.plus(PUT_OFF));
    assert_eq!(orders.put_off(ended, &file(), end.plus(PUT_OFF)).1, []);
    assert!(orders.all().is_empty());
}

#[test]
fn an_order_that_is_insisted_on_leaves_its_pool_without_a_weight() {
    for act in [drain("m4"), remove("m4")] {
        let mut orders = given([act, place("nowhere", "m1", 0, None)]);
        let unfit = orders.over(&file(), NOW).1;
        let (others, is_insisted) = orders.insist(unfit);
        assert!(is_insisted && others.len() == 1 && others[0].order.id == OrderId(2), "{others:?}");
        orders.drop_unfit(others);
        let (config, unfit) = orders.over(&file(), NOW);
        assert_eq!((tiers(&config, "solo"), unfit), ("m4×0".to_owned(), Vec::new()));
        assert_eq!(orders.insisted().map(|order| order.id).collect::<Vec<_>>(), [OrderId(1)]);
    }
    let mut orders = given([remove("m4")]);
    let unfit = orders.over(&file(), NOW).1;
    orders.insist(unfit);
    orders.give(new(place("solo", "m3", 0, None)), NOW).expect("not too many");
    let (config, _) = orders.over(&file(), NOW);
    assert_eq!((tiers(&config, "solo").as_str(), config.bindings.len()), ("m3", 3), "it goes as soon as it can");
}

#[test]
fn a_removal_is_not_replaced_by_a_drain() {
    let orders = given([remove("m1"), drain("m2")]);
    assert!(orders.forbids(&drain("m1")).is_some_and(|why| why.contains("remuda orders cancel 1")));
    for act in [remove("m1"), drain("m2"), remove("m2"), cap("m1", None)] {
        assert_eq!(orders.forbids(&act), None, "{act}");
    }
}

fn keep(disk: &mut std::collections::BTreeMap<String, Vec<u8>>, facts: Vec<Fact>) {
    for fact in facts {
        match fact {
            Fact::Put(key, value) => drop(disk.insert(key, value)),
            Fact::Remove(key) => assert!(disk.remove(&key).is_some(), "{key} was never written"),
        }
    }
}

#[test]
fn orders_survive_a_restart_and_numbers_are_never_given_twice() {
    let mut disk = std::collections::BTreeMap::new();
    let mut orders =
        given([drain("m1"), Act::Remove { binding: "m2".into(), draining: true }, hold(), cap("m3", None)]);
    keep(&mut disk, orders.facts(&Orders::default()));
    let before = orders.clone();
    orders.cancel(OrderId(4)).expect("is there");
    keep(&mut disk, orders.facts(&before));
    assert!(orders.facts(&orders).is_empty());
    let facts: Vec<(String, Vec<u8>)> = disk.clone().into_iter().collect();
    let (mut back, bad) = Orders::recall(&facts);
    assert!(bad.is_empty());
    assert_eq!(
        back.acts(),
        ["drain m1", "remove m2", "hold the mail of acme"],
        "nothing is on the wire after a restart"
    );
    assert_eq!(back.give(new(cap("m1", Some(1))), NOW).expect("not too many").id, OrderId(5));
}

#[test]
fn a_fact_that_cannot_be_read_takes_no_other_with_it() {
    let mut disk = std::collections::BTreeMap::new();
    keep(&mut disk, given([drain("m1"), drain("m2")]).facts(&Orders::default()));
    disk.insert("order/9".into(), b"{".to_vec());
    disk.insert("order/last".into(), Vec::new());
    let facts: Vec<(String, Vec<u8>)> = disk.into_iter().collect();
    let (mut back, bad) = Orders::recall(&facts);
    assert_eq!(back.acts(), ["drain m1", "drain m2"]);
    assert_eq!(bad.iter().map(|bad| bad.key.as_str()).collect::<Vec<_>>(), ["order/9", "order/last"]);
    assert_eq!(back.give(new(hold()), NOW).expect("not too many").id, OrderId(10));
}

#[test]
fn there_are_only_so_many() {
    let mut orders = Orders::default();
    for n in 0..MOST {
        orders.give(new(cap(&format!("b{n}"), None)), NOW).expect("not too many");
    }
    assert!(orders.give(new(drain("m1")), NOW).is_err_and(|why| why.contains("write what is to stay into the file")));
    assert!(orders.give(new(cap("b0", Some(1))), NOW).is_ok(), "one in the place of another");
}

fn act() -> impl Strategy<Value = Act> {
    let name = || prop::sample::select(vec!["m1", "m2", "m3", "m4", "nobody"]);
    let pool = || prop::sample::select(vec!["main", "solo", "nowhere"]);
    prop_oneof![
        name().prop_map(drain),
        (name(), any::<bool>()).prop_map(|(name, draining)| Act::Remove { binding: name.into(), draining }),
        (name(), prop::option::of(0u64..2_000)).prop_map(|(name, count)| cap(name, count)),
        (pool(), name(), 0usize..5, prop::option::of(0u32..4))
            .prop_map(|(p, n, tier, weight)| place(p, n, tier, weight)),
        Just(hold()),
        (prop::sample::select(vec!["default", "news"]), pool()).prop_map(|(stream, pool)| assign(stream, pool)),
    ]
}

/// What a check of a file would refuse.
fn keeps_the_rules(config: &Config) -> Result<(), TestCaseError> {
    let bindings: BTreeSet<_> = config.bindings.iter().map(|known| &known.name).collect();
    let pools: BTreeSet<_> = config.pools.iter().map(|known| &known.name).collect();
    prop_assert!(!bindings.is_empty() && bindings.len() == config.bindings.len());
    for pool in &config.pools {
        let mut seen = BTreeSet::new();
        prop_assert!(!pool.tiers.is_empty());
        for tier in &pool.tiers {
            prop_assert!(tier.iter().any(|member| member.weight > 0), "{:?}", pool.tiers);
            for member in tier {
                prop_assert!(bindings.contains(&member.binding) && seen.insert(&member.binding), "{:?}", pool.tiers);
            }
        }
        let carry = pool.tiers.iter().flatten().filter(|member| member.weight > 0).count();
        prop_assert!((1..=carry).contains(&pool.min_active));
    }
    for tenant in &config.tenants {
        prop_assert!(tenant.pools.contains_key(&StreamName::new("default")));
        prop_assert!(tenant.pools.values().all(|pool| pools.contains(pool)));
        for (stream, shares) in &tenant.split {
            prop_assert!(shares.iter().all(|(pool, _)| tenant.pools.get(stream) != Some(pool)));
        }
    }
    for binding in &config.bindings {
        prop_assert!(binding.limits.daily_cap != Some(0));
        let own = binding.provider.values().filter_map(|limits| limits.daily_cap);
        prop_assert!(binding.limits.daily_cap.is_none_or(|cap| own.into_iter().all(|own| own <= cap)));
    }
    Ok(())
}

proptest! {
    #[test]
    fn whatever_is_ordered_the_configuration_keeps_the_rules(acts in prop::collection::vec(act(), 0..12)) {
        let (config, unfit) = given(acts).over(&file(), NOW);
        keeps_the_rules(&config)?;
        prop_assert!(unfit.iter().all(|unfit| !unfit.why.is_empty()));
    }

    #[test]
    fn which_came_first_means_nothing_where_all_fit(acts in prop::collection::vec(act(), 0..8), swap in any::<prop::sample::Index>()) {
        // One about each.
        let orders = given(acts);
        let mut acts: Vec<Act> = orders.all().iter().map(|order| order.act.clone()).collect();
        let (config, unfit) = given(acts.clone()).over(&file(), NOW);
        prop_assume!(unfit.is_empty() && !acts.is_empty());
        let by = swap.index(acts.len());
        acts.rotate_left(by);
        acts.reverse();
        let (other, unfit) = given(acts).over(&file(), NOW);
        prop_assert!(unfit.is_empty());
        prop_assert_eq!(format!("{config:?}"), format!("{other:?}"));
    }

    #[test]
    fn what_is_taken_back_leaves_nothing_behind(acts in prop::collection::vec(act(), 1..8)) {
        let mut orders = given(acts);
        while let Some(order) = orders.all().first().cloned() {
            prop_assert!(orders.cancel(order.id).is_some() && orders.cancel(order.id).is_none());
        }
        prop_assert_eq!(format!("{:?}", orders.over(&file(), NOW).0), format!("{:?}", file()));
    }

    #[test]
    fn a_tier_that_was_made_with_others_is_named_as_it_is_seen(
        acts in prop::collection::vec(act(), 0..8), name in prop::sample::select(vec!["m1", "m2", "m3", "m4"]), tier in 0usize..4,
    ) {
        let mut orders = given(acts);
        orders.drop_unfit(orders.over(&file(), NOW).1);
        let config = orders.over(&file(), NOW).0;
        let is_usable = |act: &Act| matches!(act.about(), About::Use(about) if about.as_str() == name)
            || matches!(act.about(), About::Place(_, about) if about.as_str() == name);
        prop_assume!(!orders.all().iter().any(|order| is_usable(&order.act)));
        let tiers = &config.pools[0].tiers;
        // Whom it stands with is carried by others as well, so that its tier stays.
        prop_assume!(tiers.get(tier).is_some_and(|tier| tier.iter().any(|m| m.weight > 0 && m.binding.as_str() != name)));
        let with: BTreeSet<String> = tiers[tier].iter().filter(|m| m.weight > 0 && m.binding.as_str() != name)
            .map(|m| m.binding.to_string()).collect();
        let number = orders.tier_as_seen(&file(), &"main".into(), tier, NOW).expect("there is one");
        orders.give(new(place("main", name, number, Some(1))), NOW).expect("not too many");
        let after = orders.over(&file(), NOW).0;
        let found = after.pools[0].tiers.iter().find(|tier| tier.iter().any(|m| m.binding.as_str() == name));
        let stands_with: BTreeSet<String> = found.into_iter().flatten()
            .filter(|m| m.weight > 0 && m.binding.as_str() != name).map(|m| m.binding.to_string()).collect();
        prop_assert_eq!(with, stands_with);
    }
}
