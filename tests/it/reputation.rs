//! Who is blamed, and what becomes of it: a rotten list costs its tenant the right to go on and no address its name; a
//! blocked network waits as a whole; a kill in the middle of a suspension forgets nothing; a list that dies is not believed.

use std::net::{IpAddr, Ipv4Addr};

use remuda::demo::sink::{Act, Rule};
use remuda::demo::zone::{Mood, Zone};
use remuda::outcome::Stage;
use serde_json::Value;

use crate::support::{
    Relay, Settings, all_accepted, anywhere, array, arrived_once_each, local, moment, named, number, sink, text,
    wait_for_messages, wait_until,
};

const BLOCKED: &str = "550 5.7.1 Service unavailable; client host blocked using our blocklist";
const RANGE_BLOCKED: &str = "550 5.7.1 Unfortunately, messages from your server weren't sent. Please contact your \
                             Internet service provider since part of their network is on our block list (S3150).";

/// Every binding, and every route of it, is as it should be.
fn nobody_is_out(status: &Value) {
    for binding in array(status, "/bindings") {
        assert_eq!(binding["health"], "active", "{binding:#}");
        assert!(array(binding, "/routes").iter().all(|route| route["health"] != "suspended"), "{binding:#}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotten_list_holds_its_tenant_and_suspends_no_binding() {
    let sink = sink().await;
    sink.policy(|moment| {
        let to = moment.recipients.first().map_or("", |to| to);
        let gone = moment.stage == Stage::Rcpt && to.starts_with("gone");
        gone.then(|| Act::Reply("550 5.1.1 user unknown".into()))
    });
    let settings = Settings::new()
        .set("delivery", "max_outbound_connections", "2")
        .set("tenant.bolt", "match", "{ sender_domain = [\"bolt.test\"] }")
        .set("tenant.bolt", "pools", "{ default = \"main\" }")
        .binding("a", 11, "")
        .binding("b", 12, "")
        .binding("spare", 13, "")
        .pool("active = [\"a\", \"b\"]\nbackup = [[\"spare\"]]")
        .provider("one", "one.test", sink.addr());
    let relay = Relay::start(&settings).await;
    // bolt's list is as lists are: one address in fifty is gone.
    let fine = |n: u64| vec![if n.is_multiple_of(50) { format!("gone{n}@one.test") } else { format!("u{n}@one.test") }];
    all_accepted(&relay.load(400).reverse_path(|_| "news@bolt.test".into()).recipients(fine).run().await);
    wait_for_messages(&sink, 392).await;
    // Of acme's every third.
    let rotten =
        |n: u64| vec![if n.is_multiple_of(3) { format!("gone{n}@one.test") } else { format!("u{n}@one.test") }];
    let load = relay.load(2_000).first(1_000).reverse_path(|_| "news@acme.test".into()).recipients(rotten);
    all_accepted(&load.run().await);

    let status = wait_until("acme's mail is held", async || {
        let status = relay.status().await;
        array(&status, "/holds").iter().any(|hold| hold["tenant"] == "acme").then_some(status)
    })
    .await;
    let hold = array(&status, "/holds").iter().find(|hold| hold["tenant"] == "acme").unwrap();
    assert_eq!((&hold["destination"], &hold["state"]), (&"one".into(), &"held".into()), "{hold:#}");
    let evidence = text(hold, "/evidence");
    assert!(evidence.contains("acme") && evidence.contains("all others"), "{evidence}");

    let more = relay.load(100).first(5_000).reverse_path(|_| "news@bolt.test".into()).recipients(fine);
    all_accepted(&more.run().await);
    wait_until("bolt's mail goes on", async || {
        let ids = sink.ids();
        (5_000..5_100).filter(|n: &u64| !n.is_multiple_of(50)).all(|n| ids.contains_key(&n.to_string())).then_some(())
    })
    .await;
    let status = relay.status().await;
    nobody_is_out(&status);
    assert!(!sink.senders().contains(&local(13)), "the spare was left alone");
    let waiting = number(&status, "/queue/recipients");
    assert!(waiting >= 1_000, "most of the rotten list was not sent: {waiting} wait");
    assert!(relay.log().contains("tenant_blamed"), "and the operator is told whose list it is");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_network_waits_as_a_whole_and_goes_on_elsewhere() {
    let (one, two) = (sink().await, sink().await);
    one.add(Rule::reply(Stage::Mail, RANGE_BLOCKED));
    let settings = Settings::new()
        .set("delivery", "max_outbound_connections", "2")
        .binding("a", 11, "public_address = \"192.0.2.11\"")
        .binding("b", 12, "public_address = \"192.0.2.12\"")
        .binding("c", 13, "public_address = \"192.0.2.13\"")
        .binding("spare", 14, "public_address = \"192.0.2.14\"")
        .pool("active = [\"a\", \"b\", \"c\"]\nbackup = [[\"spare\"]]")
        .provider("one", "one.test", one.addr())
        .provider("two", "two.test", two.addr());
    let relay = Relay::start(&settings).await;
    let load = relay.load(400).recipients(|n| vec![format!("u{n}@{}.test", if n % 2 == 0 { "one" } else { "two" })]);
    all_accepted(&load.run().await);
    wait_for_messages(&two, 200).await;
    arrived_once_each(&two, (1..400).step_by(2));

    let status = wait_until("every address of the network is out there", async || {
        let status = relay.status().await;
        let is_out = |name: &&str| {
            let routes = array(named(&status, "/bindings", name), "/routes");
            routes.iter().any(|route| route["destination"] == "one" && route["health"] == "suspended")
        };
        // What a receiver has taken is on our disk a moment later.
        let is_settled = number(&status, "/queue/recipients") <= 200;
        (is_settled && ["a", "b", "c", "spare"].iter().all(is_out)).then_some(status)
    })
    .await;
    for binding in array(&status, "/bindings") {
        assert_eq!(binding["health"], "active", "one receiver's refusal stays that receiver's: {binding:#}");
    }
    let refused: u64 = [11, 12, 13, 14].map(|n| one.source(local(n)).refusals).iter().sum();
    assert!(refused <= 12, "{refused} tries for two hundred messages at a receiver that blocks the network");
    assert_eq!(number(&status, "/counts/bounced"), 0);
    assert_eq!(number(&status, "/queue/recipients"), 200, "nothing is lost, all of it waits");

    assert_eq!(one.messages(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_in_the_middle_of_a_suspension_forgets_nothing() {
    let (one, two) = (sink().await, sink().await);
    one.block(local(11), BLOCKED);
    let settings = |first: &str| {
        Settings::new()
            .set("delivery", "max_outbound_connections", "2")
            .set("reputation", "suspend_first", first)
            .set("reputation", "dwell", "\"0s\"")
            .set("reputation", "probation_period", "\"200ms\"")
            .set("reputation", "probation_periods", "2")
            .set("reputation", "probation_start", "5")
            .binding("a", 11, "")
            .binding("b", 12, "")
            .pool("active = [\"a\", \"b\"]")
            .provider("one", "one.test", one.addr())
            .provider("two", "two.test", two.addr())
    };
    let to_one = |n: u64| vec![format!("u{n}@one.test")];
    let mut relay = Relay::start(&settings("\"8s\"")).await;
    all_accepted(&relay.load(60).recipients(to_one).run().await);
    wait_for_messages(&one, 60).await;
    let route = |status: &Value| named(named(status, "/bindings", "a"), "/routes", "one").clone();
    let before = route(&relay.status().await);
    assert_eq!(before["health"], "suspended", "{before:#}");

    // Killed, and killed again before it has done anything.
    relay.restart(&settings("\"8s\"")).await;
    relay.restart(&settings("\"8s\"")).await;
    let after = route(&relay.status().await);
    for key in ["health", "reason", "until", "evidence"] {
        assert_eq!(before[key], after[key], "{key}");
    }
    let refused = one.source(local(11)).refusals;
    all_accepted(&relay.load(60).first(100).recipients(to_one).run().await);
    wait_for_messages(&one, 120).await;
    if jiff::Timestamp::now() < moment(&before["until"]) {
        assert_eq!(one.source(local(11)).refusals, refused, "not tried before its time");
    }

    // The receiver forgives; the end of the suspension is that of before the kills, and a trickle comes first.
    one.unblock(local(11));
    let mut sent = 1_000;
    let healths = wait_until("a is back at one", async || {
        all_accepted(&relay.load(10).first(sent).recipients(to_one).run().await);
        sent += 10;
        let status = relay.status().await;
        let routes = array(named(&status, "/bindings", "a"), "/routes");
        let there = routes.iter().find(|route| route["destination"] == "one");
        there.is_none_or(|route| route["health"] == "active").then_some(status)
    })
    .await;
    assert!(jiff::Timestamp::now() >= moment(&before["until"]), "no sooner than was said: {healths:#}");
    assert!(one.source(local(11)).messages > 0);
    let log = relay.log();
    assert!(log.contains("probation"), "by way of a trickle");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_was_honest_and_dies_loudly_suspends_nobody_more() {
    let (sink, zone) = (sink().await, Zone::start(anywhere()).await.unwrap());
    zone.mood("bl.test", Mood::Dnsbl);
    let listed = IpAddr::from([192, 0, 2, 11]);
    zone.listed("bl.test", listed, Ipv4Addr::new(127, 0, 0, 2));
    let mut settings = Settings::new()
        .set("monitor", "interval", "\"300ms\"")
        .set("monitor", "jitter", "0.0")
        .set("reputation", "dwell", "\"0s\"")
        .set("monitor", "timeout", "\"200ms\"")
        .set("monitor", "confirm_after", "\"50ms\"")
        .set("monitor.zone.bl", "zone", "\"bl.test\"")
        .set("monitor.zone.bl", "servers", &format!("[\"{}\"]", zone.addr()))
        .set("monitor.zone.bl", "weight", "4.0")
        .pool("active = [\"a\", \"b\", \"c\", \"d\"]")
        .to(sink.addr());
    for (name, last) in [("a", 11), ("b", 12), ("c", 13), ("d", 14)] {
        settings = settings.binding(name, last, &format!("public_address = \"192.0.2.{last}\""));
    }
    let relay = Relay::start(&settings).await;
    wait_until("the honest listing takes a out", async || {
        (named(&relay.status().await, "/bindings", "a")["health"] == "suspended").then_some(())
    })
    .await;

    zone.mood("bl.test", Mood::lists_everything());
    let asked = zone.queries_below("bl.test");
    wait_until("it was asked in many more rounds", async || {
        (zone.queries_below("bl.test") >= asked + 60).then_some(())
    })
    .await;
    let status = relay.status().await;
    assert_ne!(named(&status, "/zones", "bl")["health"], "healthy", "{status:#}");
    for name in ["b", "c", "d"] {
        assert_eq!(named(&status, "/bindings", name)["health"], "active", "{status:#}");
    }
    // What only a dead list says keeps nobody out, and lets nobody back at once either.
    assert_eq!(named(&status, "/bindings", "a")["health"], "probation", "{status:#}");
    all_accepted(&relay.load(200).run().await);
    wait_for_messages(&sink, 200).await;
    let trickle = sink.source(local(11)).messages;
    assert!((1..=20).contains(&trickle), "{trickle} of two hundred");
}
