//! A refusal that blames the address takes that route out, costs no message its life, and lets others take over.

use crate::support::{Relay, Settings, all_accepted, arrived_once_each, local, named, number, sink, wait_for_messages};

const BLOCKED: &str = "550 5.7.1 Service unavailable; client host blocked using our blocklist";

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
    // Three refusals make a block; beyond them only what was already on the wire.
    let refused = one.source(local(11)).refusals;
    assert!((1..=3 + 4).contains(&refused), "{refused} tries at the receiver that blocks us");
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
async fn with_all_actives_refused_the_backup_takes_over() {
    let sink = sink().await;
    sink.block(local(11), BLOCKED);
    sink.block(local(12), BLOCKED);
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
    use remuda::demo::sink::Rule;
    use remuda::outcome::Stage;

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
