//! Whose mail it is and which pool it leaves from, seen from outside; and what of a message is changed on its way.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use remuda::demo::injector::Load;
use remuda::demo::sink::Sink;

use crate::support::{Relay, Settings, all_accepted, arrived_once_each, keeping_sink, local, sink, wait_for_messages};

/// Tenants `acme` (all clients) and `other` (by header), three pools of one binding each.
fn three_pools(sink: &Sink) -> Settings {
    Settings::new()
        .binding("a", 11, "")
        .binding("b", 12, "")
        .binding("c", 13, "")
        .pool("active = [\"a\"]")
        .block("[pool.news]\nactive = [\"b\"]\n".into())
        .block("[pool.others]\nactive = [\"c\"]\n".into())
        .set("tenant.acme", "pools", "{ default = \"main\", news = \"news\" }")
        .set("tenant.other", "match", "{ sender_domain = [\"other.test\"] }")
        .set("tenant.other", "pools", "{ default = \"others\", news = \"news\" }")
        .to(sink.addr())
}

#[tokio::test]
async fn headers_choose_tenant_and_stream_and_are_removed() {
    let sink = keeping_sink().await;
    let relay = Relay::start(&three_pools(&sink)).await;
    let headers = ["", "X-Remuda-Stream: news\r\n", "X-Remuda-Tenant: other\r\n", "x-remuda-tenant:\r\n other\r\n"];
    let from = [11, 12, 13, 13];
    all_accepted(&relay.load(4).headers(move |n| headers[n as usize].into()).run().await);
    wait_for_messages(&sink, 4).await;
    arrived_once_each(&sink, 0..4);
    for taken in sink.log() {
        let number: usize = taken.id.as_deref().unwrap().parse().unwrap();
        assert_eq!(taken.source, local(from[number]), "{:?}", headers[number]);
        let body = String::from_utf8_lossy(taken.body.as_deref().unwrap()).into_owned();
        assert!(!body.to_ascii_lowercase().contains("x-remuda"), "{body}");
        assert!(body.contains(&format!("\r\nSubject: message {number}\r\n")), "{body}");
    }
}

#[tokio::test]
async fn an_unknown_stream_or_tenant_is_refused_by_its_name() {
    let sink = sink().await;
    let relay = Relay::start(&three_pools(&sink)).await;
    for (header, text) in [
        ("X-Remuda-Stream: nwes\r\n", "unknown stream: tenant acme has no pool for stream \"nwes\""),
        ("X-Remuda-Tenant: nobody\r\n", "unknown tenant \"nobody\""),
        ("X-Remuda-Stream: news\r\nX-Remuda-Stream: default\r\n", "more than once with different values"),
    ] {
        let done = relay.load(1).headers(|_| header.into()).run().await;
        let (_, reply) = &done.refused[0];
        assert!(reply.starts_with("550 5.7.1 ") && reply.contains(text), "{reply}");
    }
    assert_eq!(sink.connections(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_split_moves_its_share_and_a_recipient_stays_where_it_is() {
    let sink = sink().await;
    let settings = three_pools(&sink).set("tenant.acme", "split", "{ default = { news = 0.25 } }");
    let relay = Relay::start(&settings).await;
    let twice = |n: u64| vec![format!("user{}@sink.test", n % 400)];
    all_accepted(&relay.load(800).recipients(twice).run().await);
    wait_for_messages(&sink, 800).await;
    let mut sources = BTreeMap::<Box<str>, Vec<IpAddr>>::new();
    for taken in sink.log() {
        sources.entry(taken.recipients[0].clone()).or_default().push(taken.source);
    }
    for (recipient, sources) in &sources {
        assert_eq!((sources.len(), sources[0]), (2, sources[1]), "{recipient} moved between pools");
    }
    let moved = sources.values().filter(|sources| sources[0] == local(12)).count();
    // A hash is a lot drawn once: 100 of 400, give or take four standard deviations of 8.7.
    assert!((65..=135).contains(&moved), "{moved} of 400 moved by a share of a quarter");
    assert_eq!(sink.senders(), BTreeSet::from([local(11), local(12)]));
}

#[tokio::test]
async fn a_received_line_is_added_in_front_and_nothing_else_is_touched() {
    let sink = keeping_sink().await;
    let relay = Relay::start(&three_pools(&sink)).await;
    all_accepted(&relay.load(1).size(5000).run().await);
    wait_for_messages(&sink, 1).await;
    let log = sink.log();
    let body = String::from_utf8_lossy(log[0].body.as_deref().unwrap()).into_owned();
    let (received, rest) = body.split_once("\r\nX-Test-Id: 0\r\n").unwrap();
    let start = "Received: from injector.test ([127.0.0.1])\r\n\tby relay.test with ESMTP id ";
    assert!(received.starts_with(start), "{received}");
    let (_, date) = received.rsplit_once("; ").unwrap();
    assert!(jiff::fmt::rfc2822::parse(date).is_ok(), "RFC 5322 date: {date}");
    assert!(received.contains("\r\n\tfor <user0@sink.test>"), "{received}");
    assert!(received.lines().all(|line| line.len() <= 78), "{received}");
    assert_eq!(rest.len() + "X-Test-Id: 0\r\n".len(), 5000, "as many octets as the client sent");
}

#[tokio::test]
async fn a_message_that_goes_in_circles_is_refused() {
    let sink = sink().await;
    let relay = Relay::start(&three_pools(&sink)).await;
    let hops = |count: usize| {
        move |_: u64| "Received: from a.test by b.test; Sun, 22 Nov 2026 08:00:00 +0000\r\n".repeat(count)
    };
    let done = relay.load(1).headers(hops(101)).run().await;
    assert!(done.refused[0].1.starts_with("554 5.4.6 "), "{:?}", done.refused);
    all_accepted(&relay.load(1).headers(hops(100)).run().await);
    wait_for_messages(&sink, 1).await;
}

#[tokio::test]
async fn recipients_of_several_domains_each_get_one_copy_from_their_receiver() {
    let (one, rest) = (sink().await, sink().await);
    let settings =
        Settings::new().binding("a", 11, "").pool("active = [\"a\"]").provider("one", "one.test", one.addr());
    let relay = Relay::start(&settings.to(rest.addr())).await;
    let to = ["ann@one.test", "bob@two.test", "cyd@one.test", "dee@three.test", "Ann@ONE.test"];
    all_accepted(&relay.load(1).recipients(move |_| to.map(String::from).to_vec()).run().await);
    relay.wait_until_empty().await;
    let log = one.log();
    assert_eq!(log.len(), 1, "one transaction for the recipients of one domain: {log:?}");
    let mut at_one: Vec<_> = log[0].recipients.iter().map(|r| r.to_ascii_lowercase()).collect();
    at_one.sort();
    at_one.dedup();
    assert_eq!(at_one, ["ann@one.test", "cyd@one.test"]);
    let elsewhere: BTreeSet<_> = rest.log().into_iter().flat_map(|taken| taken.recipients).collect();
    assert_eq!(elsewhere, BTreeSet::from(["bob@two.test".into(), "dee@three.test".into()]));
    assert_eq!(rest.messages(), 2);
}

#[tokio::test]
async fn two_listeners_take_mail_each_by_its_own_limits() {
    let sink = sink().await;
    let second = "[[listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"127.0.0.0/8\"]\nmax_message_bytes = \"64KiB\"\n";
    let relay = Relay::start(&three_pools(&sink).block(second.into())).await;
    all_accepted(&Load::new(relay.listener(0), 10).size(80_000).run().await);
    all_accepted(&Load::new(relay.listener(1), 10).first(10).size(2000).run().await);
    let done = Load::new(relay.listener(1), 1).first(20).size(80_000).run().await;
    assert!(done.refused[0].1.starts_with("552 5.3.4 "), "{:?}", done.refused);
    wait_for_messages(&sink, 20).await;
    relay.wait_until_empty().await;
    arrived_once_each(&sink, 0..20);
}
