//! What is broken, missing or hostile around it is reported and stays where it is.

use std::collections::BTreeSet;

use remuda::demo::injector::Load;
use remuda::demo::sink::{Act, Rule};
use remuda::demo::zone::{Mood, Zone};
use remuda::outcome::Stage;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{
    Relay, Settings, all_accepted, anywhere, array, arrived_once_each, local, named, number, sink, wait_for_messages,
    wait_until,
};

fn plain() -> Settings {
    Settings::new().binding("a", 11, "").pool("active = [\"a\"]")
}

fn all_healthy(status: &serde_json::Value) {
    for binding in array(status, "/bindings") {
        assert_eq!(binding["health"], "active", "{binding:#}");
        assert!(array(binding, "/routes").iter().all(|route| route["health"] == "active"), "{binding:#}");
    }
}

#[tokio::test]
async fn an_address_that_is_not_ours_takes_its_binding_out_and_mail_takes_others() {
    let sink = sink().await;
    let settings = Settings::new()
        .binding_at("gone", "192.0.2.77", "")
        .binding("a", 11, "")
        .pool("active = [\"gone\", \"a\"]")
        .to(sink.addr());
    let relay = Relay::start(&settings).await;
    all_accepted(&relay.load(50).run().await);
    wait_for_messages(&sink, 50).await;
    relay.wait_until_empty().await;
    arrived_once_each(&sink, 0..50);
    assert_eq!(sink.senders(), BTreeSet::from([local(11)]), "nothing leaves from another address");
    assert_eq!(sink.by_source().keys().copied().collect::<BTreeSet<_>>(), BTreeSet::from([local(11)]));

    let status = relay.status().await;
    let gone = named(&status, "/bindings", "gone");
    assert_eq!((&gone["health"], &gone["reason"]), (&"suspended".into(), &"unbindable".into()), "{gone:#}");
    assert!(gone["evidence"].as_str().is_some_and(|e| !e.is_empty()), "{gone:#}");
    assert_eq!(number(&status, "/counts/bounced"), 0);
}

#[tokio::test]
async fn with_dns_down_mail_waits_and_nobody_is_blamed() {
    let (sink, zone) = (sink().await, Zone::start(anywhere()).await.unwrap());
    zone.mx("example.test", 10, "mx.example.test").unwrap();
    zone.a("mx.example.test", local(1));
    zone.mood(".", Mood::Silent);
    let settings = plain()
        .set("dns", "servers", &format!("[\"{}\"]", zone.addr()))
        .set("delivery", "port", &sink.addr().port().to_string())
        .set("delivery", "allow_private_mx", "true");
    let relay = Relay::start(&settings).await;
    let load =
        relay.load(10).reverse_path(|_| "s@example.test".into()).recipients(|n| vec![format!("u{n}@example.test")]);
    all_accepted(&load.run().await);
    wait_until("names are asked for again and again", async || (zone.queries() >= 3).then_some(())).await;
    let status = wait_until("it waits", async || {
        let status = relay.status().await;
        (!array(&status, "/queue/waiting").is_empty()).then_some(status)
    })
    .await;
    assert_eq!((number(&status, "/queue/messages"), number(&status, "/counts/bounced")), (10, 0));
    all_healthy(&status);
    assert_eq!(sink.connections(), 0);

    zone.mood(".", Mood::Records);
    wait_for_messages(&sink, 10).await;
    relay.wait_until_empty().await;
    arrived_once_each(&sink, 0..10);
    assert_eq!(number(&relay.status().await, "/counts/bounced"), 0);
}

#[tokio::test]
async fn a_domain_that_does_not_exist_bounces() {
    let (sink, zone) = (sink().await, Zone::start(anywhere()).await.unwrap());
    let settings = plain()
        .set("dns", "servers", &format!("[\"{}\"]", zone.addr()))
        .block(format!("[[destination_route]]\ndomain = \"example.test\"\nhosts = [\"{}\"]\n", sink.addr()));
    let relay = Relay::start(&settings).await;
    all_accepted(&relay.load(1).recipients(|_| vec!["u@no-such-domain.test".into()]).run().await);
    wait_for_messages(&sink, 1).await;
    assert_eq!(&*sink.log()[0].reverse_path, "", "the DSN");
    all_healthy(&relay.status().await);
}

#[tokio::test]
async fn a_silent_receiver_costs_time_outs_and_nothing_hangs() {
    let sink = sink().await;
    sink.add(Rule::at(Stage::Ehlo, Act::Silence));
    let settings = plain()
        .set("delivery.timeouts", "banner", "\"300ms\"")
        .set("delivery.timeouts", "command", "\"300ms\"")
        .to(sink.addr());
    let mut relay = Relay::start(&settings).await;
    all_accepted(&relay.load(5).run().await);
    let status = wait_until("it is deferred", async || {
        let status = relay.status().await;
        (number(&status, "/counts/deferred") >= 5).then_some(status)
    })
    .await;
    assert_eq!((number(&status, "/queue/messages"), number(&status, "/counts/bounced")), (5, 0));
    all_healthy(&status);

    sink.clear();
    wait_for_messages(&sink, 5).await;
    relay.wait_until_empty().await;
    arrived_once_each(&sink, 0..5);

    sink.add(Rule::at(Stage::EndOfData, Act::Silence));
    all_accepted(&relay.load(1).first(5).run().await);
    wait_until("one is on the wire", async || (sink.open_connections() > 0).then_some(())).await;
    assert!(relay.term().await.success(), "it stops within its grace although a receiver is silent");
}

#[tokio::test]
async fn mail_of_nobody_we_know_is_refused_with_text() {
    let sink = sink().await;
    let mut arrived = 0;
    for (policy, code) in [("refuse", "550 5.7.1"), ("defer", "451 4.7.1")] {
        let settings = plain()
            .set("assignment", "unknown", &format!("\"{policy}\""))
            .without("tenant.acme")
            .set("tenant.acme", "match", "{ sender_domain = [\"acme.test\"] }")
            .set("tenant.acme", "pools", "{ default = \"main\" }")
            .to(sink.addr());
        let relay = Relay::start(&settings).await;
        let done = relay.load(1).reverse_path(|_| "s@stranger.test".into()).run().await;
        let (_, reply) = &done.refused[0];
        assert!(reply.starts_with(code), "{reply}");
        assert!(reply.len() > code.len() + 10, "it says why: {reply}");
        all_accepted(&relay.load(1).reverse_path(|_| "s@acme.test".into()).run().await);
        let load = relay.load(1).reverse_path(|_| "s@acme.test".into());
        let done = load.headers(|_| "X-Remuda-Stream: no-such-stream\r\n".into()).run().await;
        assert!(done.refused[0].1.starts_with(code), "{:?}", done.refused);
        arrived += 1;
        wait_for_messages(&sink, arrived).await;
    }
    assert_eq!(sink.senders(), BTreeSet::from([local(11)]));
}

#[tokio::test]
async fn a_client_nobody_trusts_may_not_relay() {
    let sink = sink().await;
    let closed = Settings::new()
        .set("tenant.acme", "match", "{ sender_domain = [\"example.test\"] }")
        .binding("a", 11, "")
        .pool("active = [\"a\"]")
        .to(sink.addr())
        .block("[[listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"127.9.9.0/24\"]\n".into());
    let relay = Relay::start(&closed).await;
    let second = relay.listener(1);
    let done = Load::new(second, 1).run().await;
    assert_eq!(done.accepted.len(), 0);
    assert!(done.refused[0].1.starts_with("55"), "{:?}", done.refused);
    all_accepted(&Load::new(second, 1).from(std::net::IpAddr::from([127, 9, 9, 9])).run().await);
}

#[tokio::test]
async fn a_second_instance_on_the_same_state_is_refused() {
    let sink = sink().await;
    let settings = plain().to(sink.addr());
    let relay = Relay::start(&settings).await;
    let (status, said) = relay.second(&settings).await;
    assert!(!status.success());
    assert!(said.contains(&*relay.state_dir().to_string_lossy()), "it names the directory: {said}");
    all_accepted(&relay.load(1).run().await);
    wait_for_messages(&sink, 1).await;
}

#[tokio::test]
async fn a_full_disk_refuses_new_mail_for_now_and_goes_on_delivering() {
    let sink = sink().await;
    sink.add(Rule::reply(Stage::Rcpt, "450 4.2.0 later"));
    let mut relay = Relay::start(&plain().to(sink.addr())).await;
    all_accepted(&relay.load(3).run().await);
    let full = plain().set("server", "low_space_floor", "\"1000TiB\"").to(sink.addr());
    relay.restart(&full).await;
    let done = relay.load(1).first(3).run().await;
    assert_eq!(done.accepted.len(), 0);
    assert!(done.refused[0].1.starts_with("452 4.3.1"), "{:?}", done.refused);
    sink.clear();
    wait_for_messages(&sink, 3).await;
    relay.wait_until_empty().await;
    arrived_once_each(&sink, 0..3);
}

#[tokio::test]
async fn noise_on_the_smtp_port_ends_its_own_session_only() {
    let sink = sink().await;
    let relay = Relay::start(&plain().to(sink.addr())).await;
    let mut noise: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    noise.extend_from_slice(b"\r\n");
    for piece in
        [&noise[..], b"EHLO \0\xff\r\n", b"MAIL FROM:<a@b>\nRCPT TO:<c@d>\n", b"DATA\r\n.\r\n", b"\r\n\r\n\r\n"]
    {
        let mut stream = TcpStream::connect(relay.smtp()).await.unwrap();
        // It may hang up in the middle.
        let _ = stream.write_all(piece).await;
        let _ = stream.write_all(b"QUIT\r\n").await;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(crate::support::PATIENCE, stream.read_to_end(&mut answer)).await;
        let _ = read.expect("it answers or hangs up");
        // Who talks before the greeting is told so instead of being greeted (RFC 5321 §4.3.1).
        assert!(
            answer.starts_with(b"220 ") || answer.starts_with(b"554 5.5.1 "),
            "{}",
            String::from_utf8_lossy(&answer)
        );
        assert!(!answer.windows(4).any(|w| w == b"354 "), "{}", String::from_utf8_lossy(&answer));
    }
    all_accepted(&relay.load(1).run().await);
    wait_for_messages(&sink, 1).await;
    assert_eq!(sink.messages(), 1);
}
