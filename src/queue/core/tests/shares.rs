//! Who goes first, and how much of what there is each one gets.

use super::parking::rig;
use super::*;

impl Rig {
    fn send_stream(&mut self, tenant: &str, stream: &str, domain: &str) -> EntryId {
        let mut entry = self.entry(tenant, "main", domain);
        entry.stream = stream.into();
        self.take_in(entry)
    }
}

#[test]
fn a_tenants_important_stream_overtakes_its_own_mail_and_nobody_elses() {
    let mut rig = rig("priority = { first = 9, last = 2 }", "", &binding(1, "rate_limit = \"1/s\""));
    rig.core.pause();
    let last: Vec<_> = (0..3).map(|_| rig.send_stream("acme", "last", "alpha.example")).collect();
    let plain: Vec<_> = (0..3).map(|_| rig.send("acme", "alpha.example")).collect();
    let bolts: Vec<_> = (0..9).map(|_| rig.send("bolt", "alpha.example")).collect();
    let first: Vec<_> = (0..3).map(|_| rig.send_stream("acme", "first", "alpha.example")).collect();
    assert!(rig.attempt().is_none());
    rig.core.resume();
    let went = rig.run(18 * Duration::from_secs(1), true);
    let of_acme: Vec<_> = went.iter().copied().filter(|id| !bolts.contains(id)).collect();
    assert_eq!(of_acme[..7], [&first[..], &plain, &last[..1]].concat());
    // Weight 3 to 1, whatever the priorities of the others.
    assert_eq!(went[..8].iter().filter(|id| bolts.contains(id)).count(), 6);
}

#[test]
fn mail_of_one_region_does_not_stand_in_the_way_of_mail_of_another() {
    let bindings = binding(1, "region = \"eu\"\nmax_outbound_connections = 2") + &binding(2, "region = \"us\"");
    let rest = "[pool.main]\nactive = [\"m1\", \"m2\"]\n[region.eu]\nrecipient_domain = [\"*.de\"]\n";
    let mut rig = rig("region = \"us\"", "region = \"eu\"", &(bindings + rest));
    let mut went = |tenant: &str, domain: &str| {
        let id = rig.send(tenant, domain);
        (rig.attempt().map(|start| start.binding.name.to_string()), id)
    };
    // All stay on the wire. Only the busy binding is of bolt's region.
    let of_eu: Vec<_> = (0..2).filter_map(|_| went("bolt", "alpha.example").0).collect();
    assert_eq!(of_eu, ["m1", "m1"]);
    let (none, waits) = went("bolt", "alpha.example");
    assert_eq!(none, None);
    assert_eq!(went("acme", "alpha.example").0.as_deref(), Some("m2"), "to the same place, behind it");
    assert_eq!(went("acme", "shop.de").0, None, "the recipient's region comes first");
    assert_eq!(rig.reason(waits), "window_full");
}

#[test]
fn small_domains_do_not_starve_behind_one_with_much_mail() {
    let mut rig = Rig::new(&binding(1, "max_outbound_connections = 5"));
    rig.core.pause();
    for _ in 0..5_000 {
        rig.send("acme", "bulk.example");
    }
    let small: Vec<_> = (0..300).map(|n| rig.send("acme", &format!("s{n}.example"))).collect();
    assert!(rig.attempt().is_none());
    rig.core.resume();
    let mut went = Vec::new();
    while went.len() < 700 {
        let starts = rig.attempts();
        assert!(!starts.is_empty());
        for start in starts {
            went.push(start.entry);
            rig.deliver(start);
        }
    }
    assert!(small.iter().all(|id| went.contains(id)), "all of them within the first rounds");
}

#[test]
fn a_tenant_with_many_recipients_in_a_message_gets_no_more_recipients() {
    let mut rig = rig("", "weight = 1", &binding(1, "max_outbound_connections = 1"));
    rig.core.pause();
    for _ in 0..40 {
        let mut entry = rig.entry("acme", "main", "alpha.example");
        let one = entry.recipients[0].clone();
        entry.recipients = vec![one; 50];
        rig.take_in(entry);
    }
    for _ in 0..1_000 {
        rig.send("bolt", "alpha.example");
    }
    assert!(rig.attempt().is_none());
    rig.core.resume();
    let mut sent = [0u32; 2];
    for _ in 0..510 {
        let start = rig.attempt().expect("one connection is free");
        sent[start.lease.tenant.index()] += start.lease.recipients;
        rig.deliver(start);
        assert!(sent[0].abs_diff(sent[1]) <= 51, "{sent:?}");
    }
    assert!(sent[0] >= 400, "{sent:?}");
}

const FEW: &str = "[queue]\nmax_attempts_in_flight = 40\n";

#[test]
fn a_burst_to_slow_destinations_leaves_the_other_tenant_room_and_goes_on_by_and_by() {
    let mut rig = rig("", "weight = 1", &(binding(1, "max_outbound_connections = 1000") + FEW));
    let burst: Vec<_> = (0..500).map(|n| rig.send("acme", &format!("slow{n}.example"))).collect();
    let mut flying = rig.attempts();
    assert_eq!(flying.len(), 30, "three quarters, while the other is away");
    assert_eq!(rig.reason(burst[499]), "slots");
    let prompt: Vec<_> = (0..10).map(|n| rig.send("bolt", &format!("fast{n}.example"))).collect();
    let mut started = rig.attempts();
    started.sort_by_key(|start| start.entry);
    assert_eq!(started.iter().map(|start| start.entry).collect::<Vec<_>>(), prompt, "at once");
    started.into_iter().for_each(|start| rig.deliver(start));
    // By events alone, without a moment passing.
    let mut done = 0;
    while let Some(start) = flying.pop() {
        rig.deliver(start);
        done += 1;
        flying.extend(rig.attempts());
    }
    assert_eq!(done, 500);
}

#[test]
fn who_waits_for_a_slot_goes_on_by_weight() {
    let mut rig = rig("", "weight = 3", &(binding(1, "max_outbound_connections = 1000") + FEW));
    for n in 0..300 {
        rig.send("acme", &format!("a{n}.example"));
        rig.send("bolt", &format!("b{n}.example"));
    }
    let mut flying = rig.attempts();
    let count = |flying: &[Start], tenant: u32| flying.iter().filter(|start| start.lease.tenant.0 == tenant).count();
    for turn in 0..200 {
        let start = flying.remove(0);
        rig.deliver(start);
        flying.extend(rig.attempts());
        assert_eq!(flying.len(), 40, "nothing is left unused while both want it ({turn})");
    }
    let held = [count(&flying, 0), count(&flying, 1)];
    assert_eq!(held, [10, 30]);
}

#[test]
fn a_destination_that_does_not_answer_leaves_room_for_the_others() {
    let wide = "[delivery]\nmax_outbound_connections = 1000\n";
    // One tenant, or what it does not use would be kept for the other.
    let bolt = &TENANTS[TENANTS.find("[tenant.bolt]").expect("there")..];
    let text = TENANTS.replace(bolt, "") + &binding(1, "") + POOL + wide + FEW;
    let mut rig = Rig::new(&binding(1, ""));
    rig.core = Core::new(&Config::from_toml(&text).expect("good"), &[], &[], 7, rig.now).0;
    rig.send("acme", "prompt.example");
    let mut flying = rig.attempts();
    let dead: Vec<_> = (0..100).map(|_| rig.send("acme", "dead.example")).collect();
    flying.extend(rig.attempts());
    assert_eq!((flying.len(), rig.reason(dead[99])), (30, "slots"));
    let live: Vec<_> = (0..10).map(|n| rig.send("acme", &format!("live{n}.example"))).collect();
    let started = rig.attempts();
    assert_eq!(started.iter().map(|start| start.entry).collect::<Vec<_>>(), live, "at once");
    flying.extend(started);
    let mut done = 0;
    while let Some(start) = flying.pop() {
        rig.deliver(start);
        done += 1;
        flying.extend(rig.attempts());
    }
    assert_eq!(done, 1 + dead.len() + live.len());
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever comes, ends, is suspended and comes back, with rates, windows, shares and grants in the way: nothing
        /// stands still for ever, nothing goes twice, and no wake-up comes to nothing.
        #[test]
        fn nothing_is_forgotten_in_a_line(
            steps in prop::collection::vec((0u8..8, 0u8..2, 0u8..6, 1u64..3_000), 1..120),
        ) {
            let first = binding(1, "rate_limit = \"20/s\"\nmax_outbound_connections = 3\ndaily_cap = 10000");
            let second = binding(2, "max_outbound_connections = 2\nrate_limit = \"200/min\"");
            let rest = "[pool.main]\nactive = [\"m1\"]\nbackup = [[\"m2\"]]\n[queue]\nmax_attempts_in_flight = 5\n";
            let mut rig = rig("rate_limit = \"15/s\"", "weight = 1", &(first + &second + rest));
            let mut flying: Vec<Start> = Vec::new();
            let mut went = std::collections::BTreeSet::new();
            for (what, tenant, domain, n) in steps {
                let tenant = ["acme", "bolt"][usize::from(tenant)];
                match what {
                    0..=2 => {
                        let mut entry = rig.entry(tenant, "main", &format!("d{domain}.example"));
                        entry.expires = rig.now.wall.plus(100_000 * MINUTE);
                        rig.take_in(entry);
                    }
                    3 | 4 if !flying.is_empty() => {
                        let start = flying.remove(n as usize % flying.len());
                        rig.deliver(start);
                    }
                    5 => rig.pass(Duration::from_millis(n)),
                    6 => {
                        let binding: BindingName = ["m1", "m2"][usize::from(domain % 2)].into();
                        let span = Some(Duration::from_millis(n));
                        let suspend = Evidence::OperatorSuspend { binding, destination: None, reason: "test".into(), span };
                        rig.core.observe(&suspend, rig.now);
                    }
                    _ => {}
                }
                for start in rig.attempts() {
                    prop_assert!(went.insert(start.entry), "twice");
                    flying.push(start);
                }
                prop_assert!(rig.core.in_flight() == flying.len() && flying.len() <= 5);
            }
            let sent = rig.entries.len();
            for start in flying {
                rig.deliver(start);
            }
            went.extend(rig.run(40 * MINUTE, true));
            prop_assert_eq!(went.len(), sent);
            prop_assert_eq!(rig.core.index().depth(), (0, 0));
        }
    }
}
