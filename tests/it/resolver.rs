//! A resolver that lies neither lists nor clears a binding, and is believed again when it tells the truth.

use std::net::{IpAddr, Ipv4Addr};

use remuda::demo::zone::{Mood, Zone};
use serde_json::Value;

use crate::support::{Relay, Settings, anywhere, array, named, sink, wait_until};

const CODE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

fn public(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

async fn zone_is(relay: &Relay, health: &str) {
    wait_until(&format!("the list is {health}"), async || {
        let status = relay.status().await;
        (named(&status, "/zones", "bl")["health"] == health).then_some(())
    })
    .await;
}

async fn healths(relay: &Relay) -> Vec<String> {
    let status = relay.status().await;
    array(&status, "/bindings").iter().map(|b| b["health"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_lying_resolver_says_lists_and_clears_nobody() {
    let (sink, zone) = (sink().await, Zone::start(anywhere()).await.unwrap());
    zone.mood("bl.test", Mood::Dnsbl);
    zone.listed("bl.test", public(11), CODE);
    let settings = Settings::new()
        .set("monitor", "servers", &format!("[\"{}\"]", zone.addr()))
        .set("monitor", "self_check", "\"150ms\"")
        .set("monitor", "interval", "\"200ms\"")
        .set("monitor", "jitter", "0.0")
        .set("monitor", "timeout", "\"200ms\"")
        .set("monitor", "confirmations", "2")
        .set("monitor", "confirm_after", "\"50ms\"")
        .set("monitor.zone.bl", "zone", "\"bl.test\"")
        .set("monitor.zone.bl", "weight", "4.0")
        .set("reputation", "dwell", "\"0s\"")
        .binding("a", 11, "public_address = \"192.0.2.11\"")
        .binding("b", 12, "public_address = \"192.0.2.12\"")
        .pool("active = [\"a\", \"b\"]")
        .to(sink.addr());
    let relay = Relay::start(&settings).await;
    wait_until("a is out", async || (healths(&relay).await[0] == "suspended").then_some(())).await;
    let metrics = relay.metrics().await;
    assert!(metrics.contains("remuda_resolver_ok{check=\"nxdomain\",purpose=\"monitor\"} 1"), "{metrics}");

    // Everything without a record of its own is now at one public address; the list goes on as it was.
    zone.mood(".", Mood::Always([203, 0, 113, 80].into()));
    zone_is(&relay, "resolver").await;
    zone.delisted("bl.test", public(11));
    zone.listed("bl.test", public(12), CODE);
    let asked = zone.queries_below("bl.test");
    wait_until("several rounds", async || (zone.queries_below("bl.test") >= asked + 40).then_some(())).await;
    assert_eq!(healths(&relay).await, ["suspended", "active"], "neither cleared nor listed");
    let metrics = relay.metrics().await;
    assert!(metrics.contains("remuda_resolver_ok{check=\"nxdomain\",purpose=\"monitor\"} 0"), "{metrics}");
    assert!(metrics.contains("remuda_dnsbl_zone_health{state=\"resolver\",zone=\"bl\"} 1"), "{metrics}");
    let told = async |state: &str| -> usize {
        let events: Value = serde_json::from_str(&relay.get("/api/v1/events?kind=note").await).unwrap();
        let is = |e: &&Value| e["resolver"] == "monitor" && e["check"] == "nxdomain" && e["state"] == state;
        array(&events, "/events").iter().filter(is).count()
    };
    assert_eq!(told("bad").await, 1, "once, not every time it is seen");
    assert!(relay.log().contains("listings are neither made nor cleared"), "{}", relay.log());

    zone.mood(".", Mood::Records);
    zone_is(&relay, "healthy").await;
    wait_until("the truth counts again", async || {
        let metrics = relay.metrics().await;
        let is = |binding: &str, value: u8| {
            metrics.contains(&format!("remuda_dnsbl_listed{{binding=\"{binding}\",zone=\"bl\"}} {value}\n"))
        };
        (is("a", 0) && is("b", 1)).then_some(())
    })
    .await;
    assert_eq!(told("good").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_changes_is_an_event_once_and_a_gauge() {
    let (sink, zone) = (sink().await, Zone::start(anywhere()).await.unwrap());
    zone.ptr(public(11), "a.test").unwrap();
    zone.a("a.test", public(11));
    let settings = Settings::new()
        .set("monitor", "servers", &format!("[\"{}\"]", zone.addr()))
        .set("monitor", "fcrdns", "true")
        .set("monitor", "interval", "\"150ms\"")
        .set("monitor", "jitter", "0.0")
        .set("monitor", "timeout", "\"200ms\"")
        .set("monitor", "confirm_after", "\"50ms\"")
        .binding("a", 11, "public_address = \"192.0.2.11\"")
        .pool("active = [\"a\"]")
        .to(sink.addr());
    let relay = Relay::start(&settings).await;
    let gauge = async |check: &str, value: &str| {
        let line = format!("remuda_name_check{{binding=\"a\",check=\"{check}\"}} {value}\n");
        wait_until(&line, async || relay.metrics().await.contains(&line).then_some(())).await;
    };
    for check in ["ptr", "fcrdns", "single_ptr", "own_name", "ehlo_form", "ehlo"] {
        gauge(check, "1").await;
    }
    zone.ptr(public(11), "other.test").unwrap();
    zone.a("other.test", public(11));
    gauge("single_ptr", "0").await;
    let asked = zone.queries_below("in-addr.arpa");
    wait_until("several rounds", async || (zone.queries_below("in-addr.arpa") >= asked + 5).then_some(())).await;
    let events: Value = serde_json::from_str(&relay.get("/api/v1/events?kind=note").await).unwrap();
    let told: Vec<&Value> = array(&events, "/events").iter().filter(|e| e["check"] == "single_ptr").collect();
    assert_eq!((told.len(), &told[0]["state"]), (1, &Value::from("bad")), "{events:#}");
    assert_eq!(healths(&relay).await, ["active"], "a warning takes nobody out");
}

/// What the gauge of listings says of the binding.
async fn is_listed(relay: &Relay, binding: &str) -> bool {
    relay.metrics().await.contains(&format!("remuda_dnsbl_listed{{binding=\"{binding}\",zone=\"bl\"}} 1\n"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_resolver_that_strips_answers_does_not_keep_listings_from_being_confirmed() {
    let (sink, zone, second) =
        (sink().await, Zone::start(anywhere()).await.unwrap(), Zone::start(anywhere()).await.unwrap());
    zone.listed("bl.test", public(11), CODE);
    // The names are there, the answers are not.
    second.txt("2.0.0.127.bl.test", "test entry");
    let settings = Settings::new()
        .set("monitor", "servers", &format!("[\"{}\"]", zone.addr()))
        .set("monitor", "second_servers", &format!("[\"{}\"]", second.addr()))
        .set("monitor", "self_check", "\"150ms\"")
        .set("monitor", "interval", "\"200ms\"")
        .set("monitor", "jitter", "0.0")
        .set("monitor", "timeout", "\"500ms\"")
        .set("monitor", "confirmations", "2")
        .set("monitor", "confirm_after", "\"50ms\"")
        .set("monitor.zone.bl", "zone", "\"bl.test\"")
        .set("monitor.zone.bl", "weight", "4.0")
        .binding("a", 11, "public_address = \"192.0.2.11\"")
        .binding("b", 12, "public_address = \"192.0.2.12\"")
        .pool("active = [\"a\", \"b\"]")
        .to(sink.addr());
    let relay = Relay::start(&settings).await;
    wait_until("a is out", async || (healths(&relay).await[0] == "suspended").then_some(())).await;
    let metrics = relay.metrics().await;
    assert!(metrics.contains("remuda_resolver_ok{check=\"loopback\",purpose=\"second\"} 0"), "{metrics}");
    assert!(metrics.contains("remuda_resolver_ok{check=\"loopback\",purpose=\"monitor\"} 1"), "{metrics}");
    assert!(relay.log().contains("confirmed without the second resolver"), "{}", relay.log());

    // Mended, its word counts again: what it does not see is not believed.
    second.mood("bl.test", Mood::Dnsbl);
    wait_until("it is believed again", async || {
        relay.metrics().await.contains("remuda_resolver_ok{check=\"loopback\",purpose=\"second\"} 1").then_some(())
    })
    .await;
    zone.listed("bl.test", public(12), CODE);
    let asked = zone.queries_below("bl.test");
    wait_until("several rounds", async || (zone.queries_below("bl.test") >= asked + 40).then_some(())).await;
    assert!(!is_listed(&relay, "b").await, "the second does not list it");
    second.listed("bl.test", public(12), CODE);
    wait_until("b is listed", async || is_listed(&relay, "b").await.then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fallback_that_lies_is_passed_over_and_the_first_goes_on() {
    let (sink, zone, fallback) =
        (sink().await, Zone::start(anywhere()).await.unwrap(), Zone::start(anywhere()).await.unwrap());
    zone.listed("bl.test", public(11), CODE);
    fallback.mood(".", Mood::Always([203, 0, 113, 80].into()));
    let settings = Settings::new()
        .set("monitor", "servers", &format!("[\"{}\", \"{}\"]", zone.addr(), fallback.addr()))
        .set("monitor", "self_check", "\"150ms\"")
        .set("monitor", "interval", "\"200ms\"")
        .set("monitor", "jitter", "0.0")
        .set("monitor", "timeout", "\"500ms\"")
        .set("monitor", "confirm_after", "\"50ms\"")
        .set("monitor.zone.bl", "zone", "\"bl.test\"")
        .set("monitor.zone.bl", "weight", "4.0")
        .binding("a", 11, "public_address = \"192.0.2.11\"")
        .pool("active = [\"a\"]")
        .to(sink.addr());
    let relay = Relay::start(&settings).await;
    wait_until("a is listed", async || is_listed(&relay, "a").await.then_some(())).await;
    let metrics = relay.metrics().await;
    assert!(metrics.contains("remuda_resolver_ok{check=\"nxdomain\",purpose=\"monitor\"} 1"), "{metrics}");
    let own = format!("remuda_resolver_ok{{check=\"nxdomain\",purpose=\"monitor@{}\"}} 0", fallback.addr());
    assert!(metrics.contains(&own), "{metrics}");
    // The first falls silent: the fallback would be asked, were it believed.
    zone.mood("bl.test", Mood::Code(hickory_resolver::proto::op::ResponseCode::ServFail));
    let asked = fallback.queries_below("bl.test");
    zone_is(&relay, "unreachable").await;
    let lists = fallback.queries_below("11.2.0.192.bl.test");
    assert_eq!(lists, 0, "of {asked} questions none was about us");
}
