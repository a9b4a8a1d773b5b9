//! How long a binding goes on carrying mail after a list has begun to list it, seen from outside and by the program's
//! own metric.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use remuda::demo::sink::Sink;
use remuda::demo::zone::{Mood, Zone};

use crate::support::{Relay, Settings, all_accepted, anywhere, local, named, sink, wait_until};

const CONFIRMATIONS: u32 = 2;

/// Two bindings whose public addresses are 192.0.2.11 and .12, and one list at `server`.
fn watched(sink: &Sink, server: SocketAddr, interval: Duration) -> Settings {
    let millis = |span: Duration| format!("\"{}ms\"", span.as_millis());
    Settings::new()
        .set("monitor", "interval", &millis(interval))
        .set("monitor", "timeout", "\"500ms\"")
        .set("monitor", "confirmations", &CONFIRMATIONS.to_string())
        // A confirming question comes no later than the next round.
        .set("monitor", "confirm_after", &millis(interval * 2 / 3))
        .set("monitor.zone.bl", "zone", "\"bl.test\"")
        .set("monitor.zone.bl", "servers", &format!("[\"{server}\"]"))
        .set("monitor.zone.bl", "weight", "4.0")
        .binding("a", 11, "public_address = \"192.0.2.11\"")
        .binding("b", 12, "public_address = \"192.0.2.12\"")
        .pool("active = [\"a\", \"b\"]")
        .to(sink.addr())
}

/// Sends small loads one after the other until told to stop.
fn traffic(relay: &Relay) -> (Arc<AtomicBool>, tokio::task::JoinHandle<()>) {
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, load) = (Arc::clone(&stop), relay.load(4).sessions(1));
    let task = tokio::spawn(async move {
        for round in 0.. {
            if stopped.load(Ordering::SeqCst) {
                return;
            }
            all_accepted(&load.clone().first(1 + round * 4).run().await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    (stop, task)
}

/// The sum of the histogram, in seconds, where it has one observation.
fn measured(metrics: &str, from: &str) -> Option<f64> {
    let series = |what: &str| -> Option<f64> {
        let start = format!("remuda_listing_reaction_seconds_{what}{{from=\"{from}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&start)?.parse().ok())
    };
    (series("count")? == 1.0).then(|| series("sum")).flatten()
}

/// Lists `a` at a random moment while mail flows; `list` returns when the list answers so. The time from then to the last
/// message that `a` carried must be shorter than `CONFIRMATIONS` intervals and five seconds.
async fn reaction(relay: &Relay, sink: &Sink, interval: Duration, list: impl AsyncFn()) {
    let carried = || sink.source(local(11)).messages;
    let (stop, load) = traffic(relay);
    wait_until("a round was made and both carry mail", async || {
        let status = relay.status().await;
        (named(&status, "/zones", "bl")["health"] == "healthy" && carried() > 0).then_some(())
    })
    .await;
    let unit = f64::from(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().subsec_nanos() % 1_000) / 1_000.0;
    tokio::time::sleep(interval.mul_f64(unit)).await;
    let before = carried();
    list().await;
    let listed = Instant::now();
    let (mut count, mut last) = (carried(), listed);
    let until_out = async {
        loop {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let now = carried();
            if now != count {
                (count, last) = (now, Instant::now());
            }
            // Long enough to be sure that nothing follows.
            if last.elapsed() > Duration::from_secs(3) {
                let status = relay.status().await;
                if named(&status, "/bindings", "a")["health"] == "suspended" {
                    return;
                }
            }
        }
    };
    tokio::time::timeout(interval * CONFIRMATIONS + Duration::from_secs(30), until_out).await.expect("a is suspended");
    let outside = last - listed;
    stop.store(true, Ordering::SeqCst);
    load.await.unwrap();
    assert_eq!(carried(), count, "nothing follows");
    assert!(count > before, "it carried mail when it was listed");

    let metrics = relay.metrics().await;
    let of = |from| measured(&metrics, from).unwrap_or_else(|| panic!("no measurement from {from}:\n{metrics}"));
    let (first, clean) = (of("first_answer"), of("last_clean"));
    eprintln!(
        "interval {interval:?}: from the listing to the last message {outside:.2?}; the metric says {first:.2} s from \
         the first answer, {clean:.2} s from the last clean one"
    );
    let bound = interval * CONFIRMATIONS + Duration::from_secs(5);
    assert!(outside < bound, "{outside:?} from the listing to the last message, {bound:?} allowed");
    // The listing came between the last clean answer and the first that showed it.
    let (outside, slack) = (outside.as_secs_f64(), 0.5);
    assert!(first <= outside + slack && outside <= clean + slack, "{first} {outside} {clean}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listed_binding_carries_its_last_message_within_the_confirmations_and_says_how_long_it_took() {
    let (sink, zone) = (sink().await, Zone::start(anywhere()).await.unwrap());
    zone.mood("bl.test", Mood::Dnsbl);
    let interval = Duration::from_secs(2);
    let relay = Relay::start(&watched(&sink, zone.addr(), interval)).await;
    let address = IpAddr::from([192, 0, 2, 11]);
    let list = async || zone.listed("bl.test", address, Ipv4Addr::new(127, 0, 0, 2));
    reaction(&relay, &sink, interval, list).await;
}

mod peers {
    use super::*;
    use crate::support::Rbldnsd;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs rbldnsd; tests/run installs it"]
    async fn with_rbldnsd_and_rounds_of_15_s_the_last_message_leaves_within_35_s() {
        let (sink, server) = (sink().await, Rbldnsd::start().await);
        let interval = Duration::from_secs(15);
        let relay = Relay::start(&watched(&sink, server.addr(), interval)).await;
        let list = async || {
            server.list(&["192.0.2.11"]);
            wait_until("rbldnsd lists the address", async || server.lists("11.2.0.192").await.then_some(())).await;
        };
        reaction(&relay, &sink, interval, list).await;
    }
}
