//! Reverse DNS of the bindings: proven broken takes one out, a question without an answer does not.

use std::net::IpAddr;

use hickory_resolver::proto::op::ResponseCode;
use remuda::demo::zone::{Mood, Zone, reversed};

use crate::support::{
    Relay, Settings, all_accepted, anywhere, array, local, named, sink, wait_for_messages, wait_until,
};

fn public(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_reverse_dns_takes_a_binding_out_and_silence_does_not() {
    let (sink, zone) = (sink().await, Zone::start(anywhere()).await.unwrap());
    for (name, last) in [("a.test", 11), ("b.test", 12)] {
        zone.ptr(public(last), name).unwrap();
        zone.a(name, public(last));
    }
    let settings = Settings::new()
        .set("monitor", "fcrdns", "true")
        .set("monitor", "servers", &format!("[\"{}\"]", zone.addr()))
        .set("monitor", "interval", "\"300ms\"")
        .set("monitor", "jitter", "0.0")
        .set("monitor", "timeout", "\"200ms\"")
        .set("monitor", "confirmations", "2")
        .set("monitor", "confirm_after", "\"50ms\"")
        .set("reputation", "dwell", "\"0s\"")
        .set("reputation", "suspend_first", "\"500ms\"")
        .binding("a", 11, "public_address = \"192.0.2.11\"")
        .binding("b", 12, "public_address = \"192.0.2.12\"")
        .pool("active = [\"a\", \"b\"]")
        .to(sink.addr());
    let relay = Relay::start(&settings).await;
    for mood in [Mood::Records, Mood::Code(ResponseCode::ServFail), Mood::Code(ResponseCode::Refused), Mood::Silent] {
        zone.mood("in-addr.arpa", mood.clone());
        let asked = zone.queries_below("in-addr.arpa");
        wait_until("several rounds", async || (zone.queries_below("in-addr.arpa") >= asked + 6).then_some(())).await;
        let status = relay.status().await;
        for binding in array(&status, "/bindings") {
            assert_eq!(binding["health"], "active", "{mood:?}: {binding:#}");
        }
    }

    zone.mood("in-addr.arpa", Mood::Records);
    zone.remove(&reversed(public(11), "in-addr.arpa"));
    let binding = wait_until("a is out", async || {
        let status = relay.status().await;
        let binding = named(&status, "/bindings", "a").clone();
        (binding["health"] == "suspended").then_some(binding)
    })
    .await;
    assert_eq!(binding["reason"], "reverse_dns", "{binding:#}");
    assert!(binding["evidence"].as_str().is_some_and(|e| e.contains("no PTR record")), "{binding:#}");
    all_accepted(&relay.load(20).run().await);
    wait_for_messages(&sink, 20).await;
    assert_eq!((sink.source(local(11)).messages, sink.source(local(12)).messages), (0, 20));

    zone.ptr(public(11), "a.test").unwrap();
    wait_until("a comes back by probation", async || {
        let status = relay.status().await;
        (named(&status, "/bindings", "a")["health"] == "probation").then_some(())
    })
    .await;
}
