//! Rounds against a name server on loopback.

use std::time::Duration;

use super::super::responder::{Reply, Responder};
use super::super::zone::tests::zone;
use super::*;
use crate::clock::ManualClock;
use crate::config::{self, Ipv6Names};
use crate::reputation::fixtures;

struct Bench {
    monitor: Monitor,
    clock: ManualClock,
    evidence: Arc<Mutex<Vec<Evidence>>>,
}

/// Two bindings at 192.0.2.1 and 192.0.2.2, zone `z` at `responder`.
fn bench(responder: &Responder, fcrdns: bool) -> Bench {
    let mut config = fixtures::config(&["a", "b"], &[("p", &["a", "b"])]);
    config.monitor.zones = vec![zone("z")];
    config.monitor.servers = vec![responder.address];
    config.monitor.timeout = Duration::from_millis(300);
    config.monitor.fcrdns = fcrdns;
    let clock = ManualClock::at(Wall::from_millis(1_800_000_000_000));
    let evidence = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&evidence);
    let sink: Sink = Arc::new(move |e| seen.lock().push(e));
    let monitor = Monitor::new(&config, Arc::new(clock.clone()), sink).unwrap();
    Bench { monitor, clock, evidence }
}

impl Bench {
    fn later(&self) {
        self.clock.advance(Duration::from_secs(60));
    }

    fn zone_health(&self) -> &'static str {
        self.monitor.snapshot().zones[0].health
    }

    fn states(&self) -> Vec<i8> {
        self.monitor.snapshot().listings.iter().map(|l| l.state).collect()
    }

    /// Takes the evidence about `a`'s listings.
    fn listed_a(&self) -> Vec<Vec<String>> {
        let all = std::mem::take(&mut *self.evidence.lock());
        let of_a = all.into_iter().filter_map(|e| match e {
            Evidence::Listings { binding, listed, .. } if binding.as_str() == "a" => Some(listed),
            _ => None,
        });
        of_a.map(|listed| listed.iter().map(|l| format!("{} {} {}", l.zone, l.codes, l.weight)).collect()).collect()
    }
}

const TEST_ENTRY: &str = "2.0.0.127.z.example.";
const A: &str = "1.2.0.192.z.example.";

async fn healthy() -> Responder {
    let responder = Responder::start(Reply::NxDomain).await;
    responder.set(TEST_ENTRY, Reply::A(vec![[127, 0, 0, 2]]));
    responder
}

#[tokio::test]
async fn a_listing_appears_is_confirmed_and_is_cleared_again() {
    let dns = healthy().await;
    let bench = bench(&dns, false);
    bench.monitor.round().await;
    assert_eq!((bench.zone_health(), bench.states()), ("healthy", vec![0, 0]));
    assert_eq!(bench.listed_a(), [Vec::<String>::new()]);

    dns.set(A, Reply::A(vec![[127, 0, 0, 4], [127, 0, 0, 2]]));
    bench.later();
    bench.monitor.round().await;
    assert!(bench.listed_a().is_empty(), "one answer is not a listing");
    bench.later();
    bench.monitor.confirm().await;
    assert_eq!(bench.listed_a(), [vec!["z 127.0.0.2 127.0.0.4 3".to_owned()]]);
    assert_eq!(bench.states(), [1, 0]);

    dns.set(A, Reply::NxDomain);
    for _ in 0..2 {
        bench.later();
        bench.monitor.round().await;
    }
    assert_eq!(bench.listed_a(), [Vec::<String>::new()]);
    assert_eq!(bench.monitor.snapshot().rounds, 4);
}

#[tokio::test]
async fn a_list_that_cannot_be_believed_suspends_nobody_and_says_why() {
    let a = |octets| Reply::A(vec![octets]);
    // reply to everything, reply to the test entry, health of the zone
    let table = [
        (a([127, 255, 255, 254]), None, "blocked"),
        (a([127, 0, 0, 2]), None, "dead"),
        (a([91, 195, 240, 117]), None, "dead"),
        (Reply::NxDomain, None, "hollow"),
        (Reply::NoData, None, "hollow"),
        (Reply::ServFail, None, "unreachable"),
        (Reply::Refused, None, "unreachable"),
        (Reply::Silence, None, "unreachable"),
        (Reply::NoData, Some(a([127, 0, 0, 2])), "healthy"),
    ];
    for (everything, test_entry, expected) in table {
        let dns = Responder::start(everything.clone()).await;
        if let Some(reply) = test_entry {
            dns.set(TEST_ENTRY, reply);
        }
        let bench = bench(&dns, false);
        for _ in 0..2 {
            bench.monitor.round().await;
            bench.later();
        }
        assert_eq!(bench.zone_health(), expected, "{everything:?}");
        let suspicious = bench.listed_a().into_iter().any(|listed| !listed.is_empty());
        assert!(!suspicious, "{everything:?}");
        let known = if expected == "healthy" { 0 } else { -1 };
        assert_eq!(bench.states(), [known; 2], "{everything:?}");
    }
}

#[tokio::test]
async fn an_error_about_one_address_leaves_it_unknown_and_the_others_judged() {
    for reply in [Reply::ServFail, Reply::Refused, Reply::Silence] {
        let dns = healthy().await;
        dns.set(A, reply.clone());
        let bench = bench(&dns, false);
        bench.monitor.round().await;
        assert_eq!((bench.zone_health(), bench.states()), ("healthy", vec![-1, 0]), "{reply:?}");
    }
}

#[tokio::test]
async fn a_list_that_begins_to_list_the_world_takes_nobody_out() {
    let dns = healthy().await;
    let bench = bench(&dns, false);
    bench.monitor.round().await;
    bench.listed_a();
    dns.set_default(Reply::A(vec![[127, 0, 0, 2]]));
    for _ in 0..3 {
        bench.later();
        bench.monitor.round().await;
    }
    assert_eq!(bench.zone_health(), "dead");
    assert!(bench.listed_a().iter().all(Vec::is_empty));
}

#[tokio::test]
async fn reverse_dns_is_judged_by_proof_only() {
    let dns = healthy().await;
    dns.set("1.2.0.192.in-addr.arpa.", Reply::Ptr("relay.example.net."));
    dns.set("relay.example.net.", Reply::A(vec![[192, 0, 2, 1]]));
    dns.set("2.2.0.192.in-addr.arpa.", Reply::ServFail);
    let bench = bench(&dns, true);
    let proven = |bench: &Bench| -> Vec<(String, bool)> {
        let all = std::mem::take(&mut *bench.evidence.lock());
        all.into_iter()
            .filter_map(|e| match e {
                Evidence::ReverseDns { binding, confirmed, .. } => Some((binding.to_string(), confirmed)),
                _ => None,
            })
            .collect()
    };
    bench.monitor.round().await;
    assert_eq!(proven(&bench), [("a".to_owned(), true)]);
    let reverse = bench.monitor.snapshot().reverse;
    assert_eq!((reverse[0].ehlo_agrees, reverse[1].confirmed), (Some(true), None));

    dns.set("relay.example.net.", Reply::A(vec![[192, 0, 2, 77]]));
    dns.set("2.2.0.192.in-addr.arpa.", Reply::NxDomain);
    bench.later();
    bench.monitor.round().await;
    assert!(proven(&bench).is_empty());
    bench.later();
    bench.monitor.confirm().await;
    assert_eq!(proven(&bench), [("a".to_owned(), false), ("b".to_owned(), false)]);
}

#[tokio::test]
async fn a_restored_listing_is_in_the_first_snapshot_and_stands_while_the_zone_is_silent() {
    let dns = Responder::start(Reply::ServFail).await;
    let bench = bench(&dns, false);
    let listing = Listing { zone: "z".into(), weight: 3.0, certain: false, codes: "127.0.0.2".into() };
    bench.monitor.restore(&"a".into(), &[listing]);
    assert_eq!(bench.states(), [1, -1]);
    bench.monitor.round().await;
    assert_eq!(bench.states(), [1, -1]);
    assert!(bench.listed_a().is_empty());
}

#[tokio::test]
async fn run_looks_at_once_serves_triggers_and_stops() {
    let dns = healthy().await;
    dns.set(A, Reply::A(vec![[127, 0, 0, 2]]));
    let bench = bench(&dns, false);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let clock = bench.clock.clone();
    let drive = async {
        while bench.monitor.snapshot().rounds == 0 {
            tokio::task::yield_now().await;
        }
        // A minute later a reply names the list: the question that this triggers confirms the listing.
        clock.advance(Duration::from_secs(60));
        bench.monitor.check_now(&"a".into(), "550 go away");
        bench.monitor.check_now(&"unknown".into(), "");
        while bench.states() != [1, 0] {
            tokio::task::yield_now().await;
        }
        let _ = stop.send(());
    };
    let shutdown = async {
        let _ = stopped.await;
    };
    let both = async { tokio::join!(bench.monitor.run(shutdown), drive) };
    tokio::time::timeout(Duration::from_secs(20), both).await.unwrap();
    assert_eq!(bench.listed_a().len(), 1, "told once, when the listing was confirmed");
}

/// `count` bindings `n0`, `n1` … at 192.0.2.1 and following.
fn herd(dns: &crate::demo::zone::Zone, count: u8, change: impl FnOnce(&mut Config)) -> Bench {
    with(dns, |config| {
        let binding = |n: u8| {
            let address = IpAddr::from([192, 0, 2, n + 1]);
            Arc::new(config::Binding::new(format!("n{n}").as_str(), address))
        };
        config.bindings = (0..count).map(binding).collect();
        change(config);
    })
}

/// Polls for at most `patience`.
async fn within(patience: Duration, is_so: impl Fn() -> bool) -> bool {
    let so = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(patience, so).await.is_ok()
}

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_listing_is_confirmed_in_time_while_others_are_blamed_all_the_time() {
    let dns = name_server().await;
    dns.listed("z.example", [192, 0, 2, 1].into(), CODE);
    let bench = herd(&dns, 8, |config| config.monitor.zones = vec![zone("z")]);
    let drive = async {
        assert!(within(LONG, || bench.monitor.snapshot().rounds > 0).await);
        for n in 1..=4u8 {
            bench.clock.advance(Duration::from_secs(16));
            let before = dns.queries();
            bench.monitor.check_now(&BindingName::new(format!("n{n}")), "421 try again later");
            assert!(within(LONG, || dns.queries() > before).await, "n{n} is asked about");
        }
        assert!(within(LONG, || state_of(&bench, "n0") == 1).await, "after 64 s it is confirmed");
    };
    tokio::select! {
        () = bench.monitor.run(std::future::pending()) => {}
        () = drive => {}
    }
}

/// State of a binding in the first zone that is asked about it.
fn state_of(bench: &Bench, binding: &str) -> i8 {
    let snapshot = bench.monitor.snapshot();
    snapshot.listings.iter().find(|l| l.binding.as_str() == binding).map_or(-1, |l| l.state)
}

#[tokio::test]
async fn a_flood_of_blame_is_gathered_into_few_looks() {
    let dns = name_server().await;
    dns.mood("z.example", crate::demo::zone::Mood::Dnsbl);
    let bench = herd(&dns, 40, |config| config.monitor.zones = vec![zone("z")]);
    let drive = async {
        assert!(within(LONG, || bench.monitor.snapshot().rounds > 0).await);
        bench.later();
        let before = dns.queries();
        for n in 0..40u8 {
            bench.monitor.check_now(&BindingName::new(format!("n{n}")), "550 5.7.1 poor reputation");
            // Time enough for a look of its own, were there one.
            within(Duration::from_millis(5), || false).await;
        }
        let at_once = dns.queries() - before;
        assert!(at_once <= 3 + 1, "{at_once} questions within the same ten seconds: probes and the first binding");
        bench.clock.advance(Duration::from_secs(10));
        bench.monitor.check_now(&"n0".into(), "550 5.7.1 poor reputation");
        assert!(within(LONG, || dns.queries() - before >= 2 * 3 + 40).await);
        within(Duration::from_millis(50), || false).await;
        assert_eq!(dns.queries() - before, 2 * 3 + 40, "each once, and the probes of two looks");
    };
    tokio::select! {
        () = bench.monitor.run(std::future::pending()) => {}
        () = drive => {}
    }
}

#[tokio::test]
async fn blame_leaves_confirmations_their_budget_and_waits_for_its_own() {
    let dns = name_server().await;
    dns.listed("z.example", [192, 0, 2, 1].into(), CODE);
    let bench = herd(&dns, 10, |config| {
        config.monitor.zones = vec![config::Zone { queries_per_day: Some(400), ..zone("z") }];
    });
    let budget = || bench.monitor.snapshot().zones[0].budget_left.unwrap_or(0);
    let drive = async {
        // A bucket of fifty, of which twelve are the reserve; the round takes thirteen, and a text.
        assert!(within(LONG, || bench.monitor.snapshot().rounds > 0).await);
        bench.clock.advance(Duration::from_secs(20));
        for n in 1..10u8 {
            bench.monitor.check_now(&BindingName::new(format!("n{n}")), "421 try again later");
        }
        bench.monitor.check_now(&"n9".into(), "421 try again later");
        assert!(within(LONG, || dns.queries() >= 13 + 1 + 6).await);
        within(Duration::from_millis(50), || false).await;
        let asked = dns.queries() - 14;
        assert_eq!(asked, 6, "an eighth of the bucket is for blame: three probes and three bindings");
        assert!(budget() >= 12, "{}", budget());
        bench.clock.advance(Duration::from_secs(41));
        bench.monitor.check_now(&"n0".into(), "421 try again later");
        assert!(within(LONG, || state_of(&bench, "n0") == 1).await, "the confirmation has its budget");
    };
    tokio::select! {
        () = bench.monitor.run(std::future::pending()) => {}
        () = drive => {}
    }
}

#[tokio::test]
async fn a_list_that_is_silent_takes_no_other_its_turn() {
    let (silent, quick) = (Responder::start(Reply::Silence).await, name_server().await);
    silent.set("2.0.0.127.silent.example.", Reply::A(vec![[127, 0, 0, 2]]));
    silent.set("1.0.0.127.silent.example.", Reply::NxDomain);
    quick.mood("quick.example", crate::demo::zone::Mood::Dnsbl);
    // More than there are places in all.
    let mut config = fixtures::config(&[], &[]);
    let binding = |n: u16| {
        let [high, low] = n.to_be_bytes();
        Arc::new(config::Binding::new(format!("n{n}").as_str(), IpAddr::from([10, 0, high, low])))
    };
    config.bindings = (0..320).map(binding).collect();
    config.monitor.timeout = Duration::from_secs(8);
    config.monitor.fcrdns = false;
    let list = |name: &str, server| config::Zone { random_probe: false, servers: vec![server], ..zone(name) };
    config.monitor.zones = vec![list("silent", silent.address), list("quick", quick.addr())];
    let clock = ManualClock::at(Wall::from_millis(1_800_000_000_000));
    let monitor = Monitor::new(&config, Arc::new(clock), Arc::new(|_| {})).unwrap();
    let quick_is_done = within(Duration::from_secs(7), || monitor.snapshot().zones[1].health == "healthy");
    tokio::select! {
        () = monitor.run(std::future::pending()) => {}
        done = quick_is_done => assert!(done, "before a single question of the silent one has run out of time"),
    }
}

#[tokio::test]
async fn names_that_are_found_later_make_rounds_rarer_and_the_bucket_larger() {
    let dns = name_server().await;
    dns.mood("dbl.example", crate::demo::zone::Mood::Dnsbl);
    for n in 0..40u8 {
        dns.ptr([192, 0, 2, n + 1].into(), &format!("mta{n}.host{n}.example.net")).unwrap();
        dns.a(&format!("mta{n}.host{n}.example.net"), [192, 0, 2, n + 1].into());
    }
    let bench = herd(&dns, 40, |config| {
        config.monitor.fcrdns = true;
        config.monitor.zones = vec![config::Zone {
            kind: ZoneKind::Domain,
            positive_probe: None,
            negative_probe: None,
            queries_per_day: Some(400),
            ..zone("dbl")
        }];
    });
    let mut work = Work::new(&bench.monitor);
    let (before, budget) = (bench.monitor.round_every(0), bench.monitor.setup().zones[0].budget().0);
    bench.monitor.round().await;
    assert!(std::mem::take(&mut bench.monitor.state.lock().has_new_domains));
    work.resize(&bench.monitor);
    let after = bench.monitor.round_every(0);
    assert!(after > before * 4, "{before:?} {after:?}");
    bench.clock.advance(Duration::from_secs(86_400));
    let budgets = (budget, bench.monitor.setup().zones[0].budget().0);
    assert!(budgets.1 > budgets.0, "{budgets:?}");
    // The round that is due now appoints the next by the new time.
    let now = bench.monitor.common.clock.now().mono;
    work.due(&bench.monitor, now);
    assert!(work.table_next(0).since(now) > before.mul_f64(1.3), "{:?}", work.table_next(0).since(now));
}

#[tokio::test]
async fn a_reply_that_names_a_list_of_domains_has_it_asked_about_the_names_of_the_binding_and_the_sender() {
    let dns = name_server().await;
    let bench = with(&dns, |config| {
        config.server.hostname = "mta.relay.example".parse().unwrap();
        config.tenants = vec![config::Tenant {
            matches: config::TenantMatch {
                sender_domain: vec![
                    config::DomainPattern::Exact("acme.example".parse().unwrap()),
                    config::DomainPattern::Exact("other.example".parse().unwrap()),
                ],
                ..config::TenantMatch::default()
            },
            ..config::Tenant::new("acme")
        }];
        let list = config::Zone {
            kind: ZoneKind::Domain,
            positive_probe: None,
            negative_probe: None,
            aliases: vec!["surbl".to_owned()],
            ..zone("dbl")
        };
        config.monitor.zones = vec![list, zone("z")];
    });
    let wanted = |binding: &str, sender: Option<&str>, reply: &str| -> Vec<String> {
        let mut urgent = super::super::urgent::Urgent::new(2, Duration::from_secs(60));
        bench.monitor.check_domains(&binding.into(), sender, reply);
        bench.monitor.hear_wanted(&mut urgent, bench.monitor.common.clock.now().mono);
        let due = |zone| urgent.clone().due(zone, bench.monitor.common.clock.now().mono).blamed;
        assert!(due(1).is_empty(), "the list of addresses");
        due(0).iter().map(ToString::to_string).collect()
    };
    let ours = ["mta.relay.example", "relay.example"];
    let table: &[(&str, Option<&str>, &str, &[&str])] = &[
        ("a", Some("News.ACME.example."), "550 domain listed by SURBL", &[&["acme.example"], &ours[..]].concat()),
        ("a", None, "550 see dbl.example", &ours),
        ("a", Some("stranger.example"), "550 see dbl.example", &ours),
        ("unknown", Some("other.example"), "550 see dbl.example", &["other.example"]),
        ("a", Some("acme.example"), "550 no such user", &[]),
        ("a", Some("acme.example"), "550 see z.example", &[]),
    ];
    for (binding, sender, reply, expected) in table {
        assert_eq!(wanted(binding, *sender, reply), *expected, "{sender:?} {reply}");
    }
}

#[test]
fn the_dns_name_of_a_zone_is_not_printed() {
    let mut config = fixtures::config(&["a"], &[]);
    config.monitor.zones = vec![zone("z")];
    config.monitor.zones[0].zone = "secretkey.z.example".into();
    config.monitor.servers = vec!["127.0.0.1:9".parse().unwrap()];
    let clock = Arc::new(ManualClock::at(Wall::from_millis(0)));
    let monitor = Monitor::new(&config, clock, Arc::new(|_| {})).unwrap();
    let text = format!("{monitor:?} {}", serde_json::to_string(&monitor.snapshot()).unwrap());
    assert!(!text.contains("secretkey"), "{text}");
}

/// `a` at 192.0.2.1, `b` at 192.0.2.2 and `six` at 2001:db8::1, asked of a name server with moods.
fn with(zone: &crate::demo::zone::Zone, change: impl FnOnce(&mut Config)) -> Bench {
    let mut config = fixtures::config(&["a", "b"], &[("p", &["a", "b"])]);
    let six = config::Binding::new("six", "2001:db8::1".parse().unwrap());
    config.bindings.push(Arc::new(six));
    config.monitor.servers = vec![zone.addr()];
    config.monitor.timeout = Duration::from_millis(600);
    config.monitor.fcrdns = false;
    change(&mut config);
    let clock = ManualClock::at(Wall::from_millis(1_800_000_000_000));
    let evidence = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&evidence);
    let monitor = Monitor::new(&config, Arc::new(clock.clone()), Arc::new(move |e| seen.lock().push(e))).unwrap();
    Bench { monitor, clock, evidence }
}

async fn name_server() -> crate::demo::zone::Zone {
    crate::demo::zone::Zone::start("127.0.0.1:0".parse().unwrap()).await.unwrap()
}

const CODE: std::net::Ipv4Addr = std::net::Ipv4Addr::new(127, 0, 0, 2);

/// State of `a` in the zone `name`; `None` where it is not asked.
fn state_in(bench: &Bench, name: &str) -> Option<i8> {
    let snapshot = bench.monitor.snapshot();
    snapshot.listings.iter().find(|l| l.zone.as_str() == name && l.binding.as_str() == "a").map(|l| l.state)
}

#[tokio::test]
async fn each_way_of_a_list_leads_to_its_own_health_and_state() {
    use crate::demo::zone::Mood;
    use hickory_resolver::proto::op::ResponseCode;
    // name, mood, health of the zone, state of `a`, which is recorded as listed everywhere
    let table = [
        ("healthy", Mood::Dnsbl, "healthy", 1),
        ("truncated", Mood::Truncated, "healthy", 1),
        ("alias", Mood::Alias, "healthy", 1),
        ("flapping", Mood::Flapping, "healthy", 0),
        ("hollow", Mood::hollow(), "hollow", -1),
        ("world", Mood::lists_everything(), "dead", -1),
        ("parked", Mood::parked(), "dead", -1),
        ("refusing", Mood::refusing(), "blocked", -1),
        ("silent", Mood::Silent, "unreachable", -1),
        ("servfail", Mood::Code(ResponseCode::ServFail), "unreachable", -1),
        ("refused", Mood::Code(ResponseCode::Refused), "unreachable", -1),
    ];
    let dns = name_server().await;
    for (name, mood, ..) in &table {
        dns.mood(&format!("{name}.example"), mood.clone());
        dns.listed(&format!("{name}.example"), [192, 0, 2, 1].into(), CODE);
        dns.txt(&format!("1.2.0.192.{name}.example"), &format!("because\u{7}of {name}.example"));
    }
    let bench = with(&dns, |config| config.monitor.zones = table.iter().map(|(name, ..)| zone(name)).collect());
    for _ in 0..4 {
        bench.monitor.round().await;
        bench.later();
    }
    let snapshot = bench.monitor.snapshot();
    for (name, _, health, state) in &table {
        let zone = snapshot.zones.iter().find(|zone| zone.zone.as_str() == *name).unwrap();
        assert_eq!((zone.health, state_in(&bench, name)), (*health, Some(*state)), "{name}: {}", zone.reason);
        assert_eq!(zone.not_asked.len(), 1, "the IPv6 binding");
    }
    let healthy = snapshot.listings.iter().find(|l| l.state == 1).unwrap();
    assert_eq!((healthy.text.as_str(), healthy.codes.as_str()), ("because of ***", "127.0.0.2"));
    let count = |name: &str, outcome: &str| {
        let zone = snapshot.zones.iter().find(|zone| zone.zone.as_str() == name).unwrap();
        zone.answers.iter().find(|a| a.outcome == outcome).map_or(0, |a| a.count)
    };
    // Four rounds: the positive probe and `a`; the two other probes and `b`.
    assert_eq!((count("healthy", "listed"), count("healthy", "not_listed")), (8, 12));
    assert_eq!(count("servfail", "servfail"), 12, "of a list whose probes fail nothing else is asked");
}

#[tokio::test]
async fn a_dead_server_beside_a_good_one_does_not_matter() {
    let dns = name_server().await;
    dns.listed("z.example", [192, 0, 2, 1].into(), CODE);
    let dead = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let bench = with(&dns, |config| {
        config.monitor.servers = vec![dead.local_addr().unwrap(), dns.addr()];
        config.monitor.timeout = Duration::from_secs(2);
        config.monitor.zones = vec![zone("z")];
    });
    for _ in 0..2 {
        bench.monitor.round().await;
        bench.later();
    }
    let zone = &bench.monitor.snapshot().zones[0];
    assert_eq!((zone.health, state_in(&bench, "z")), ("healthy", Some(1)), "{:?}", zone.answers);
}

#[tokio::test]
async fn an_ipv6_binding_is_asked_where_the_list_knows_ipv6_and_passes_its_tests() {
    let (dns, six): (_, IpAddr) = (name_server().await, "2001:db8::1".parse().unwrap());
    dns.listed("z.example", six, CODE);
    let bench = with(&dns, |config| {
        let families = config::Families { ipv4: true, ipv6: true };
        config.monitor.zones = vec![config::Zone { families, ..zone("z") }];
    });
    for _ in 0..2 {
        bench.monitor.round().await;
        bench.later();
    }
    assert_eq!(bench.states(), [0, 0, 1]);
    assert_eq!(bench.zone_health(), "healthy");
}

#[tokio::test]
async fn a_list_of_domains_is_asked_for_ehlo_names_and_those_above_them() {
    let dns = name_server().await;
    dns.mood("dbl.example", crate::demo::zone::Mood::Wildcard);
    let bench = with(&dns, |config| {
        config.server.hostname = "mta.shop.example.net".parse().unwrap();
        let names = (Some(config::Probe::Name("test".into())), Some(config::Probe::Name("invalid".into())));
        config.monitor.zones = vec![config::Zone {
            kind: ZoneKind::Domain,
            positive_probe: names.0,
            negative_probe: names.1,
            ..zone("dbl")
        }];
    });
    bench.monitor.round().await;
    assert_eq!(bench.zone_health(), "healthy");
    dns.listed_domain("dbl.example", "example.net", CODE);
    for _ in 0..2 {
        bench.later();
        bench.monitor.round().await;
    }
    let snapshot = bench.monitor.snapshot();
    let listed: Vec<&str> = snapshot.domains.iter().filter(|d| d.state == 1).map(|d| d.domain.as_str()).collect();
    assert_eq!(listed, ["example.net", "mta.shop.example.net", "shop.example.net"]);
    let told = bench.listed_a();
    assert!(matches!(&told[..], [one] if one.len() == 1 && one[0].contains("for ")), "{told:?}");
}

#[tokio::test]
async fn a_new_listing_needs_the_second_resolver_and_a_reply_that_names_the_list_saves_a_minute() {
    let (first, second) = (name_server().await, name_server().await);
    second.mood("z.example", crate::demo::zone::Mood::Dnsbl);
    first.listed("z.example", [192, 0, 2, 1].into(), CODE);
    let bench = with(&first, |config| {
        config.monitor.second_servers = vec![second.addr()];
        config.monitor.zones = vec![zone("z")];
    });
    bench.monitor.check_now(&"a".into(), "550 blocked using z.example");
    for _ in 0..3 {
        bench.monitor.round().await;
        bench.later();
    }
    assert_eq!(state_in(&bench, "z"), Some(-1), "one of them sees nothing");
    second.listed("z.example", [192, 0, 2, 1].into(), CODE);
    bench.monitor.round().await;
    assert_eq!(state_in(&bench, "z"), Some(1));
    first.delisted("z.example", [192, 0, 2, 1].into());
    for _ in 0..3 {
        bench.later();
        bench.monitor.round().await;
    }
    assert_eq!(state_in(&bench, "z"), Some(1), "one of them sees it still");
    second.delisted("z.example", [192, 0, 2, 1].into());
    bench.later();
    bench.monitor.round().await;
    assert_eq!(state_in(&bench, "z"), Some(0));
    first.listed("z.example", [192, 0, 2, 1].into(), CODE);

    let alone = with(&first, |config| config.monitor.zones = vec![zone("z")]);
    alone.monitor.check_now(&"a".into(), "550 blocked using z.example");
    alone.monitor.round().await;
    assert_eq!(state_in(&alone, "z"), Some(1), "the reply and one answer");
}

#[tokio::test]
async fn a_list_whose_budget_is_used_up_is_asked_less_and_that_is_noted_once() {
    let dns = name_server().await;
    dns.mood("z.example", crate::demo::zone::Mood::Dnsbl);
    let bench = with(&dns, |config| {
        config.monitor.zones = vec![config::Zone { queries_per_day: Some(40), ..zone("z") }];
    });
    let notes = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&notes);
    bench.monitor.on_note(Arc::new(move |note, _| heard.lock().push(note.what())));
    for _ in 0..5 {
        bench.monitor.round().await;
    }
    assert_eq!(dns.queries(), 5, "one round; the bucket holds ten questions, a quarter of them in reserve");
    assert_eq!(*notes.lock(), ["zone", "budget"]);
    let zone = &bench.monitor.snapshot().zones[0];
    assert_eq!((zone.budget_left, zone.budget_denied > 0), (Some(5), true));
    assert!(zone.interval_seconds > 900.0, "{}", zone.interval_seconds);
}

#[tokio::test]
async fn an_ipv6_address_must_have_its_names_before_its_first_use() {
    let dns = healthy().await;
    for (policy, proofs) in [(Ipv6Names::Require, 1), (Ipv6Names::Report, 2)] {
        let mut config = fixtures::config(&["a"], &[("p", &["a"])]);
        let mut binding = (*config.bindings[0]).clone();
        binding.public_address = "2001:db8::1".parse().unwrap();
        config.bindings = vec![Arc::new(binding)];
        config.monitor.servers = vec![dns.address];
        (config.monitor.fcrdns, config.monitor.ipv6_names) = (true, policy);
        let clock = ManualClock::at(Wall::from_millis(1_800_000_000_000));
        let heard = Arc::new(Mutex::new(0));
        let sink: Sink = {
            let heard = Arc::clone(&heard);
            Arc::new(move |e| *heard.lock() += usize::from(matches!(e, Evidence::ReverseDns { confirmed: false, .. })))
        };
        let monitor = Monitor::new(&config, Arc::new(clock.clone()), sink).unwrap();
        for proof in 1..=proofs {
            assert_eq!(*heard.lock(), 0, "{policy:?} before proof {proof}");
            monitor.round().await;
            clock.advance(Duration::from_secs(60));
        }
        assert_eq!(*heard.lock(), 1, "{policy:?}");
    }
}

#[tokio::test]
async fn while_the_resolver_lies_no_name_is_judged() {
    let dns = healthy().await;
    let bench = bench(&dns, true);
    bench.monitor.distrust(Some("nxdomain"));
    for _ in 0..3 {
        bench.monitor.round().await;
        bench.later();
    }
    assert!(bench.evidence.lock().is_empty());
    assert_eq!(bench.zone_health(), "resolver");
    let reverse = bench.monitor.snapshot().reverse;
    assert!(reverse[0].detail.contains("not to be believed") && reverse[0].checks.is_empty(), "{reverse:?}");
    bench.monitor.distrust(None);
    bench.monitor.round().await;
    bench.later();
    bench.monitor.confirm().await;
    assert!(!bench.evidence.lock().is_empty(), "and then they are");
}
