//! Rounds against a name server on loopback.

use super::super::responder::{Reply, Responder};
use super::super::zone::tests::zone;
use super::*;
use crate::clock::ManualClock;
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
