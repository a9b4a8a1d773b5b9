//! The way by DNS: MX records in their order, implicit and null MX, and where strangers' DNS must not lead.

use std::net::SocketAddr;

use remuda::demo::sink::{Rule, Sink, SinkOptions};
use remuda::demo::zone::Zone;
use remuda::outcome::Stage;

use crate::support::{
    Relay, Settings, all_accepted, anywhere, array, arrived_once_each, keeping_sink, local, number, wait_for_messages,
    wait_until,
};

/// Receivers at 127.0.0.21 and 127.0.0.22 on the same port: MX records name hosts, not ports.
async fn two_receivers() -> (Sink, Sink) {
    let options = || SinkOptions { keep_bodies: true, ..SinkOptions::default() };
    loop {
        let first = Sink::start_with(SocketAddr::new(local(21), 0), options()).await.unwrap();
        // The port may be in use at the other address: choose again.
        let beside = SocketAddr::new(local(22), first.addr().port());
        if let Ok(second) = Sink::start_with(beside, options()).await {
            return (first, second);
        }
    }
}

fn by_dns(zone: &Zone, port: u16) -> Settings {
    Settings::new()
        .binding("a", 11, "")
        .pool("active = [\"a\"]")
        .set("dns", "servers", &format!("[\"{}\"]", zone.addr()))
        .set("delivery", "port", &port.to_string())
        .set("delivery", "allow_private_mx", "true")
}

#[tokio::test]
async fn the_most_preferred_host_gets_all_and_the_next_one_steps_in() {
    let ((first, second), zone) = (two_receivers().await, Zone::start(anywhere()).await.unwrap());
    zone.mx("sink.test", 20, "second.sink.test").unwrap();
    zone.mx("sink.test", 10, "first.sink.test").unwrap();
    zone.a("first.sink.test", local(21));
    zone.a("second.sink.test", local(22));
    let relay = Relay::start(&by_dns(&zone, first.addr().port())).await;
    all_accepted(&relay.load(20).run().await);
    wait_for_messages(&first, 20).await;
    relay.wait_until_empty().await;
    assert_eq!((first.messages(), second.messages()), (20, 0));

    first.stop().await;
    all_accepted(&relay.load(20).first(20).run().await);
    wait_for_messages(&second, 20).await;
    relay.wait_until_empty().await;
    arrived_once_each(&second, 20..40);
    assert_eq!(number(&relay.status().await, "/counts/bounced"), 0);
}

#[tokio::test]
async fn a_host_that_greets_with_421_is_passed_over() {
    let ((first, second), zone) = (two_receivers().await, Zone::start(anywhere()).await.unwrap());
    zone.mx("sink.test", 10, "first.sink.test").unwrap();
    zone.mx("sink.test", 20, "second.sink.test").unwrap();
    zone.a("first.sink.test", local(21));
    zone.a("second.sink.test", local(22));
    first.add(Rule::reply(Stage::Banner, "421 4.3.2 shutting down"));
    let relay = Relay::start(&by_dns(&zone, first.addr().port())).await;
    all_accepted(&relay.load(20).run().await);
    wait_for_messages(&second, 20).await;
    relay.wait_until_empty().await;
    arrived_once_each(&second, 0..20);
}

#[tokio::test]
async fn without_mx_records_the_domain_itself_is_the_host() {
    let (sink, zone) = (keeping_sink().await, Zone::start(anywhere()).await.unwrap());
    zone.a("sink.test", local(1));
    let relay = Relay::start(&by_dns(&zone, sink.addr().port())).await;
    all_accepted(&relay.load(5).run().await);
    wait_for_messages(&sink, 5).await;
    relay.wait_until_empty().await;
    arrived_once_each(&sink, 0..5);
}

#[tokio::test]
async fn a_null_mx_bounces_at_once_without_a_connection() {
    let (sink, zone) = (keeping_sink().await, Zone::start(anywhere()).await.unwrap());
    zone.mx("null.test", 0, ".").unwrap();
    // It has an address all the same, which must not be tried (RFC 7505 §3).
    zone.a("null.test", local(1));
    zone.a("example.test", local(1));
    let relay = Relay::start(&by_dns(&zone, sink.addr().port())).await;
    all_accepted(&relay.load(1).recipients(|_| vec!["user@null.test".into()]).run().await);
    wait_for_messages(&sink, 1).await;
    relay.wait_until_empty().await;
    let log = sink.log();
    assert_eq!((log.len(), &*log[0].reverse_path), (1, ""), "the DSN and nothing else");
    assert_eq!(log[0].recipients, ["sender@example.test".into()]);
    let body = String::from_utf8_lossy(log[0].body.as_deref().unwrap()).into_owned();
    assert!(body.contains("Status: 5.1.10\r\n"), "{body}");
    assert_eq!(number(&relay.status().await, "/counts/bounced"), 1);
}

#[tokio::test]
async fn a_host_whose_address_is_ours_gets_nothing_and_neither_does_a_worse_one() {
    let ((best, worse), zone) = (two_receivers().await, Zone::start(anywhere()).await.unwrap());
    let port = best.addr().port();
    for (domain, name, preference, last) in [
        ("loop.test", "here.loop.test", 10, 1),
        ("loop.test", "worse.loop.test", 20, 22),
        ("sink.test", "best.sink.test", 10, 21),
        ("sink.test", "here.sink.test", 20, 1),
    ] {
        zone.mx(domain, preference, name).unwrap();
        zone.a(name, local(last));
    }
    // A second listener, at the port that mail goes to.
    let listener = format!("[[listener]]\naddress = \"127.0.0.1:{port}\"\ntrust = [\"127.0.0.0/8\"]\n");
    let relay = Relay::start(&by_dns(&zone, port).block(listener)).await;
    all_accepted(&relay.load(1).recipients(|_| vec!["user@loop.test".into()]).run().await);
    wait_until("it waits and says why", async || {
        let queue = serde_json::Value::Array(relay.queue().await).to_string();
        let says = format!("here.loop.test is this relay itself (127.0.0.1:{port})");
        queue.contains(&says).then_some(())
    })
    .await;
    assert_eq!((worse.connections(), relay.queue().await.len()), (0, 1), "and nothing came back to us");
    // A better host gets its mail.
    all_accepted(&relay.load(2).run().await);
    wait_for_messages(&best, 2).await;
    assert_eq!(worse.connections(), 0);
}

#[tokio::test]
async fn an_mx_that_leads_into_our_own_network_is_not_followed() {
    let (sink, zone) = (keeping_sink().await, Zone::start(anywhere()).await.unwrap());
    zone.mx("sink.test", 10, "inside.sink.test").unwrap();
    zone.a("inside.sink.test", local(1));
    let settings = by_dns(&zone, sink.addr().port()).set("delivery", "allow_private_mx", "false");
    let relay = Relay::start(&settings).await;
    all_accepted(&relay.load(1).run().await);
    let status = wait_until("it waits", async || {
        let status = relay.status().await;
        (number(&status, "/counts/deferred") >= 1 || number(&status, "/counts/bounced") >= 1).then_some(status)
    })
    .await;
    assert_eq!(sink.connections(), 0);
    let a = &array(&status, "/bindings")[0];
    assert_eq!(a["health"], "active", "{a:#}");
}
