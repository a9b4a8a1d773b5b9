//! Another configuration while rounds go on, against a name server on loopback.

use std::time::Duration;

use super::*;
use crate::clock::ManualClock;
use crate::config;
use crate::demo::zone::{Mood, Zone};
use crate::monitor::zone::tests::zone;
use crate::reputation::fixtures;

const CODE: std::net::Ipv4Addr = std::net::Ipv4Addr::new(127, 0, 0, 2);

struct Bench {
    monitor: Arc<Monitor>,
    config: Config,
    clock: ManualClock,
    evidence: Arc<Mutex<Vec<Evidence>>>,
}

async fn name_server() -> Zone {
    Zone::start("127.0.0.1:0".parse().unwrap()).await.unwrap()
}

/// Bindings `a` and `b` at 192.0.2.1 and .2, list `z`.
fn bench(dns: &Zone) -> Bench {
    let mut config = fixtures::config(&["a", "b"], &[("p", &["a", "b"])]);
    config.monitor.servers = vec![dns.addr()];
    config.monitor.timeout = Duration::from_millis(600);
    config.monitor.fcrdns = false;
    config.monitor.zones = vec![zone("z")];
    let clock = ManualClock::at(Wall::from_millis(1_800_000_000_000));
    let evidence = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&evidence);
    let sink: Sink = Arc::new(move |e| seen.lock().push(e));
    let monitor = Arc::new(Monitor::new(&config, Arc::new(clock.clone()), sink).unwrap());
    Bench { monitor, config, clock, evidence }
}

impl Bench {
    fn change(&mut self, change: impl FnOnce(&mut Config)) -> Vec<BindingName> {
        change(&mut self.config);
        let prepared = self.monitor.prepare(&self.config).unwrap();
        self.monitor.reconfigure(prepared, false)
    }

    fn moved(&mut self, binding: usize, address: [u8; 4]) {
        let mut other = (*self.config.bindings[binding]).clone();
        other.public_address = address.into();
        self.config.bindings[binding] = Arc::new(other);
        self.change(|_| {});
    }

    fn state(&self, zone: &str, binding: &str) -> Option<i8> {
        let listings = self.monitor.snapshot().listings;
        let of = listings.iter().find(|l| (l.zone.as_str(), l.binding.as_str()) == (zone, binding));
        of.map(|listing| listing.state)
    }

    /// Rounds of which the second confirms.
    async fn confirm(&self) {
        for _ in 0..2 {
            self.monitor.round().await;
            self.clock.advance(Duration::from_secs(60));
        }
    }

    /// What reputation heard of `a`'s listings last.
    fn told_a(&self) -> Option<Vec<String>> {
        let all = self.evidence.lock();
        let of_a = all.iter().rev().find_map(|e| match e {
            Evidence::Listings { binding, listed, .. } if binding.as_str() == "a" => Some(listed.clone()),
            _ => None,
        });
        of_a.map(|listed| listed.iter().map(|l| l.zone.to_string()).collect())
    }
}

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
async fn a_list_that_is_taken_out_lets_its_binding_go_and_a_new_one_is_asked() {
    let dns = name_server().await;
    dns.listed("z.example", [192, 0, 2, 1].into(), CODE);
    dns.mood("new.example", Mood::Dnsbl);
    let mut bench = bench(&dns);
    bench.confirm().await;
    assert_eq!(bench.told_a(), Some(vec!["z".to_owned()]));
    bench.change(|config| config.monitor.zones = vec![zone("new")]);
    assert_eq!(bench.told_a(), Some(vec![]), "at once, not with the next round");
    assert_eq!((bench.state("z", "a"), bench.state("new", "a")), (None, Some(-1)));
    bench.confirm().await;
    assert_eq!(bench.state("new", "a"), Some(0));
}

#[tokio::test]
async fn the_days_questions_and_the_counts_outlive_a_change_of_the_list() {
    let dns = name_server().await;
    dns.mood("z.example", Mood::Dnsbl);
    let mut bench = bench(&dns);
    bench.change(|config| config.monitor.zones[0].queries_per_day = Some(400));
    let zone = |bench: &Bench| bench.monitor.snapshot().zones.remove(0);
    bench.monitor.round().await;
    let before = zone(&bench);
    let count = |zone: &super::super::watch::ZoneSnapshot| zone.answers.iter().map(|a| a.count).sum::<u64>();
    assert_eq!((before.budget_left, count(&before)), (Some(45), 5));
    let other = name_server().await;
    other.mood("z.example", Mood::Dnsbl);
    bench
        .change(|config| (config.monitor.zones[0].servers, config.monitor.zones[0].weight) = (vec![other.addr()], 1.0));
    let after = zone(&bench);
    assert_eq!((after.budget_left, count(&after), after.health), (Some(45), 5, "probing"));
    bench.monitor.round().await;
    assert_eq!((zone(&bench).budget_left, other.queries()), (Some(40), 5));
}

#[tokio::test]
async fn a_key_that_cannot_be_read_refuses_the_change_and_a_new_one_is_taken_up() {
    let (dns, directory) = (name_server().await, tempfile::tempdir().unwrap());
    let path = directory.path().join("key");
    std::fs::write(&path, "first").unwrap();
    for key in ["first", "second"] {
        dns.mood(&format!("{key}.z.example"), Mood::Dnsbl);
    }
    let mut bench = bench(&dns);
    let keyed = config::Zone { zone: "{key}.z.example".into(), key_file: Some(path.clone()), ..zone("z") };
    bench.change(|config| config.monitor.zones = vec![keyed]);
    bench.monitor.round().await;
    let one = bench.monitor.setup();
    bench.change(|_| {});
    assert!(Arc::ptr_eq(&one.zones[0], &bench.monitor.setup().zones[0]), "the same list goes on");

    std::fs::remove_file(&path).unwrap();
    let error = bench.monitor.prepare(&bench.config).err().unwrap().to_string();
    assert!(error.contains("zone z") && error.contains("key_file"), "{error}");
    assert!(Arc::ptr_eq(&one.zones[0], &bench.monitor.setup().zones[0]), "nothing was touched");

    dns.mood("first.z.example", Mood::refusing());
    std::fs::write(&path, "second").unwrap();
    bench.change(|_| {});
    bench.monitor.round().await;
    assert_eq!(bench.monitor.snapshot().zones[0].health, "healthy", "it is asked with the new key");
}

#[tokio::test]
async fn an_answer_about_an_address_of_before_is_nobodys() {
    let dns = name_server().await;
    dns.listed("z.example", [192, 0, 2, 1].into(), CODE);
    let mut bench = bench(&dns);
    let setup = bench.monitor.setup();
    // Both looks are under way when the address changes.
    let mut brought = Vec::new();
    for _ in 0..2 {
        let questions = bench.monitor.questions(0, None);
        brought.push(bench.monitor.look_at(&setup, 0, (questions, Vec::new()), true).await);
    }
    bench.moved(0, [192, 0, 2, 77]);
    for looked in brought {
        bench.monitor.conclude(vec![looked]);
        bench.clock.advance(Duration::from_secs(60));
    }
    assert_eq!((bench.state("z", "a"), bench.state("z", "b")), (Some(-1), Some(0)));
    assert!(bench.told_a().is_none_or(|listed| listed.is_empty()));
    // Nor an answer of a list that is another now.
    let setup = bench.monitor.setup();
    let questions = bench.monitor.questions(0, None);
    let looked = bench.monitor.look_at(&setup, 0, (questions, Vec::new()), true).await;
    bench.change(|config| config.monitor.zones[0].zone = "other.example".into());
    bench.monitor.conclude(vec![looked]);
    assert_eq!(bench.monitor.snapshot().zones[0].health, "probing");
}

#[tokio::test]
async fn a_binding_comes_back_with_its_listings_but_not_with_those_of_another_address() {
    let dns = name_server().await;
    dns.listed("z.example", [192, 0, 2, 1].into(), CODE);
    for (address, expected) in [([192, 0, 2, 1], Some(1)), ([192, 0, 2, 77], Some(-1))] {
        let mut bench = bench(&dns);
        bench.confirm().await;
        let (a, all) = (bench.config.bindings[0].clone(), bench.config.bindings.clone());
        bench.change(|config| drop(config.bindings.remove(0)));
        assert_eq!((bench.state("z", "a"), bench.told_a()), (None, Some(vec!["z".to_owned()])), "not cleared");
        let back = bench.change(|config| {
            config.bindings = all;
            let back = config::Binding { public_address: address.into(), ..(*a).clone() };
            config.bindings[0] = Arc::new(back);
        });
        assert_eq!(back, [BindingName::new("a")]);
        let listing = Listing { zone: "z".into(), weight: 3.0, certain: false, codes: "127.0.0.2".into() };
        bench.monitor.restore(&"a".into(), &[listing]);
        bench.monitor.settle();
        assert_eq!(bench.state("z", "a"), expected, "{address:?}");
        let told = if expected == Some(1) { vec!["z".to_owned()] } else { vec![] };
        assert_eq!(bench.told_a(), Some(told), "{address:?}");
    }
}

#[tokio::test]
async fn the_loop_asks_new_ones_at_once_and_the_others_in_their_turn() {
    let dns = name_server().await;
    for list in ["z.example", "new.example"] {
        dns.mood(list, Mood::Dnsbl);
    }
    let mut bench = bench(&dns);
    let monitor = Arc::clone(&bench.monitor);
    let looking = tokio::spawn(async move { monitor.run(std::future::pending()).await });
    assert!(within(LONG, || bench.monitor.snapshot().rounds > 0).await);
    let asked = dns.queries();
    bench.change(|_| {});
    within(Duration::from_millis(100), || false).await;
    assert_eq!(dns.queries(), asked, "a reload that changes nothing asks nothing");

    bench.change(|config| {
        config.monitor.zones.insert(0, zone("new"));
        config.bindings.push(Arc::new(config::Binding::new("c", IpAddr::from([192, 0, 2, 3]))));
    });
    let all = || ["a", "b", "c"].iter().all(|name| bench.state("new", name) == Some(0));
    assert!(within(LONG, all).await, "the new list is asked about everybody");
    assert!(within(LONG, || bench.state("z", "c") == Some(0)).await, "and the other about the new binding");
    within(Duration::from_millis(50), || false).await;
    assert_eq!(dns.queries() - asked, (3 + 3) + 1, "and about nobody else: its probes were good a moment ago");

    // Gone in the middle of everything; the loop goes on.
    bench.change(|config| drop(config.monitor.zones.remove(0)));
    bench.clock.advance(Duration::from_secs(3_600));
    bench.monitor.check_now(&"a".into(), "550 blocked");
    let rounds = bench.monitor.snapshot().rounds;
    assert!(within(LONG, || bench.monitor.snapshot().rounds > rounds).await);
    looking.abort();
}

#[tokio::test]
async fn nothing_is_asked_until_other_name_servers_were_tested() {
    let dns = name_server().await;
    dns.mood("z.example", Mood::Dnsbl);
    let bench = bench(&dns);
    bench.monitor.wait_for_test(true);
    let drive = async {
        bench.monitor.check_now(&"a".into(), "550 blocked using z.example");
        within(Duration::from_millis(100), || false).await;
        assert_eq!((dns.queries(), bench.monitor.is_waiting_for_test()), (0, true));
        bench.monitor.wait_for_test(false);
        assert!(within(LONG, || bench.monitor.snapshot().rounds > 0).await);
    };
    tokio::select! {
        () = bench.monitor.run(std::future::pending()) => {}
        () = drive => {}
    }
}

#[tokio::test]
async fn what_was_proven_of_the_names_of_an_address_is_not_held_against_another() {
    let dns = name_server().await;
    let mut bench = bench(&dns);
    bench.change(|config| config.monitor.fcrdns = true);
    bench.confirm().await;
    let reverse = |bench: &Bench| bench.monitor.snapshot().reverse[0].confirmed;
    assert_eq!(reverse(&bench), Some(false));
    bench.evidence.lock().clear();
    bench.moved(0, [192, 0, 2, 77]);
    assert_eq!((reverse(&bench), bench.monitor.snapshot().reverse[1].confirmed), (None, Some(false)));
    let told = bench.evidence.lock().clone();
    assert!(
        matches!(&told[..], [Evidence::ReverseDns { binding, confirmed: true, .. }] if binding.as_str() == "a"),
        "{told:?}"
    );
}
