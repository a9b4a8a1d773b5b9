//! A refusal that blames the address takes that route out, costs no message its life, and lets others take over; unless it is
//! the mail that is refused wherever it comes from.

use remuda::demo::sink::{Act, Rule};
use remuda::outcome::Stage;

use crate::support::{
    Relay, Settings, all_accepted, array, arrived_once_each, local, named, number, sink, text, wait_for_messages,
    wait_until,
};

const BLOCKED: &str = "550 5.7.1 Service unavailable; client host blocked using our blocklist";

/// The same with a public list named: certain, whatever the mail.
const LISTED: &str = "554 5.7.1 Service unavailable; Client host blocked using zen.spamhaus.org";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_route_is_suspended_and_its_mail_leaves_by_another() {
    let (one, two) = (sink().await, sink().await);
    one.block(local(11), BLOCKED);
    let settings = Settings::new()
        .set("delivery", "max_outbound_connections", "4")
        .binding("a", 11, "")
        .binding("b", 12, "")
        .binding("spare", 13, "")
        .pool("active = [\"a\", \"b\"]\nbackup = [[\"spare\"]]")
        .provider("one", "one.test", one.addr())
        .provider("two", "two.test", two.addr());
    let relay = Relay::start(&settings).await;
    let load = relay.load(400).recipients(|n| vec![format!("u{n}@{}.test", if n % 2 == 0 { "one" } else { "two" })]);
    all_accepted(&load.run().await);
    wait_for_messages(&one, 200).await;
    wait_for_messages(&two, 200).await;
    relay.wait_until_empty().await;

    arrived_once_each(&one, (0..400).step_by(2));
    arrived_once_each(&two, (1..400).step_by(2));
    assert_eq!((one.source(local(11)).messages, one.source(local(12)).messages), (0, 200));
    // Three refusals make a block; beyond them only what was already on the wire. Those of one millisecond count once.
    let refused = one.source(local(11)).refusals;
    assert!((1..=3 + 4 + 4).contains(&refused), "{refused} tries at the receiver that blocks us");
    let elsewhere = two.source(local(11)).messages;
    assert!(elsewhere >= 90, "the other destination still takes from it: {elsewhere}");
    assert!(!one.senders().contains(&local(13)) && !two.senders().contains(&local(13)), "the spare was not needed");

    let status = relay.status().await;
    assert_eq!((number(&status, "/counts/bounced"), number(&status, "/counts/delivered")), (0, 400));
    let binding = named(&status, "/bindings", "a");
    assert_eq!(binding["health"], "active");
    let route = named(binding, "/routes", "one");
    assert_eq!((&route["health"], &route["reason"]), (&"suspended".into(), &"ip_blocked".into()));
    assert!(route["evidence"].as_str().is_some_and(|e| e.contains("5.7.1")), "{route:#}");
    assert!(route["until"].is_string() || route["until"].is_number(), "{route:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_all_actives_listed_the_backup_takes_over() {
    let sink = sink().await;
    sink.block(local(11), LISTED);
    sink.block(local(12), LISTED);
    let settings = Settings::new()
        .set("delivery", "max_outbound_connections", "2")
        .set("reputation", "pool_guard", "1.0")
        .binding("a", 11, "")
        .binding("b", 12, "")
        .binding("spare", 13, "max_outbound_connections = 20")
        .pool("active = [\"a\", \"b\"]\nbackup = [[\"spare\"]]")
        .to(sink.addr());
    let relay = Relay::start(&settings).await;
    all_accepted(&relay.load(200).run().await);
    // A message that two bindings were blamed for stops moving for a while; there can be few of these.
    wait_for_messages(&sink, 190).await;
    assert_eq!((sink.source(local(11)).messages, sink.source(local(12)).messages), (0, 0));
    assert!(sink.source(local(13)).messages >= 190);
    let status = relay.status().await;
    assert_eq!(number(&status, "/counts/bounced"), 0);
    assert_eq!(number(&status, "/counts/delivered") + number(&status, "/queue/recipients"), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_greeting_blames_the_binding_and_no_recipient() {
    let sink = sink().await;
    sink.add(Rule::reply(Stage::Banner, "554 5.7.1 your address is on our local blocklist").from(local(11)));
    let settings =
        Settings::new().binding("a", 11, "").binding("b", 12, "").pool("active = [\"a\", \"b\"]").to(sink.addr());
    let relay = Relay::start(&settings).await;
    all_accepted(&relay.load(100).run().await);
    wait_for_messages(&sink, 100).await;
    relay.wait_until_empty().await;
    arrived_once_each(&sink, 0..100);
    assert_eq!(sink.source(local(12)).messages, 100);
    assert_eq!(number(&relay.status().await, "/counts/bounced"), 0);
}

/// Two tenants, three actives and a spare.
fn two_tenants(addr: std::net::SocketAddr) -> Settings {
    Settings::new()
        .set("delivery", "max_outbound_connections", "1")
        .set("tenant.bolt", "match", "{ sender_domain = [\"bolt.test\"] }")
        .set("tenant.bolt", "pools", "{ default = \"main\" }")
        .binding("a", 11, "")
        .binding("b", 12, "")
        .binding("c", 13, "")
        .binding("spare", 14, "")
        .pool("active = [\"a\", \"b\", \"c\"]\nbackup = [[\"spare\"]]")
        .to(addr)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_campaign_refused_wherever_it_comes_from_is_held_and_others_go_on_over_every_address() {
    let sink = sink().await;
    sink.policy(|moment| {
        let refused = moment.stage == Stage::Rcpt && moment.reverse_path.ends_with("@acme.test");
        refused.then(|| Act::Reply("550 5.7.1 The sending IP has a poor reputation".into()))
    });
    let relay = Relay::start(&two_tenants(sink.addr())).await;
    all_accepted(&relay.load(60).reverse_path(|_| "news@acme.test".into()).run().await);
    all_accepted(&relay.load(300).first(60).reverse_path(|_| "news@bolt.test".into()).run().await);
    wait_for_messages(&sink, 300).await;

    let status = wait_until("the campaign is held and all else delivered", async || {
        let status = relay.status().await;
        let is_held = array(&status, "/holds").iter().any(|hold| hold["state"] == "held");
        (is_held && number(&status, "/queue/recipients") == 60).then_some(status)
    })
    .await;
    let hold = &array(&status, "/holds")[0];
    assert_eq!((text(hold, "/sender_domain"), text(hold, "/stream")), ("acme.test", "default"));
    assert!(text(hold, "/evidence").starts_with("moves no further, having met "), "{hold:#}");
    assert!((2..=3).contains(&array(hold, "/bindings").len()), "{hold:#}");

    let carried = [11, 12, 13].map(|n| sink.source(local(n)).messages);
    assert!(carried.iter().all(|&messages| messages >= 60), "bolt's mail leaves from all of them: {carried:?}");
    let refusals: Vec<u64> = [11, 12, 13].map(|n| sink.source(local(n)).refusals).to_vec();
    // What was on the wire when the second refusal was heard is one connection per address.
    assert!(refusals.iter().sum::<u64>() <= 5, "{refusals:?} of sixty");
    assert!(!sink.senders().contains(&local(14)), "the spare was left alone");
    for name in ["a", "b", "c"] {
        let binding = named(&status, "/bindings", name);
        assert_eq!(binding["health"], "active");
        let out = array(binding, "/routes").iter().any(|route| route["health"] == "suspended");
        assert!(!out, "{binding:#}");
    }
    assert_eq!(number(&status, "/counts/bounced"), 0);
}
