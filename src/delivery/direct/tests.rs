//! Attempts at hosts on loopback, from several source addresses.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::super::plan::MxPlan;
use super::super::testing::{Sink, Zone, a, binding, delivery, mx, name_server, script};
use super::*;
use crate::config::{Dns, Host, HostPort};
use crate::delivery::Routing;
use crate::message::{Mailbox, MessageId, Wishes};
use crate::outcome::{Reply, Stage};

pub(super) fn connector(delivery: &Delivery) -> DirectConnector {
    let nobody = "127.0.0.1:9".parse().expect("address");
    let dns = Dns { servers: vec![nobody], timeout: Duration::from_millis(10), max_in_flight: 10, trust_anchor: None };
    let routing = Routing::new(&"relay.test".parse().expect("domain"), delivery, Vec::new(), &[]);
    DirectConnector::new(Arc::new(Resolver::new(&dns, routing).expect("resolver")), delivery)
}

pub(super) fn plan(hosts: &[SocketAddr]) -> Arc<MxPlan> {
    let host = |address: &SocketAddr| HostPort { host: Host::Address(address.ip()), port: address.port() };
    Arc::new(MxPlan {
        destination: "site:test".into(),
        provider: None,
        hosts: hosts.iter().map(|address| vec![host(address)]).collect(),
        pinned: true,
    })
}

pub(super) fn order(source: &str, plan: &Arc<MxPlan>, recipients: usize) -> Order {
    Order {
        message: MessageId(1),
        binding: binding(source, source),
        ehlo: "me.test".to_owned(),
        plan: plan.clone(),
        provider: None,
        reverse_path: None,
        recipients: (0..recipients)
            .map(|at| format!("r{at}@sink.test").parse::<Mailbox>().expect("address").into())
            .collect(),
        head: Bytes::new(),
        envelope_id: None,
        body: Bytes::from_static(b"Subject: x\r\n\r\n.hello\r\n"),
        eight_bit: false,
        wishes: Wishes::NONE,
        messages_per_connection: 100,
        resign: None,
    }
}

pub(super) fn codes(report: &Report) -> Vec<String> {
    let text = |answer: &Answer| match answer {
        Answer::Reply(stage, Reply { code, .. }) => format!("{} {code}", stage.as_str()),
        Answer::Failure(failure) => format!("{} {}", failure.stage.as_str(), failure.kind.as_str()),
    };
    report.answers.iter().map(text).collect()
}

#[tokio::test]
async fn each_binding_sends_from_its_own_address_and_keeps_its_own_connections() {
    let sink = Sink::start(script(&[])).await;
    let (connector, plan) = (connector(&delivery()), plan(&[sink.address]));
    for source in ["127.0.0.21", "127.0.0.22", "127.0.0.21", "127.0.0.22"] {
        let report = connector.attempt(order(source, &plan, 2)).await;
        assert_eq!(codes(&report), ["end_of_data 250", "end_of_data 250"]);
        assert_eq!(report.local.map(|local| local.ip().to_string()).as_deref(), Some(source));
        assert_eq!(report.remote, Some(sink.address));
    }
    let peers: Vec<String> = sink.seen.lock().peers.iter().map(|peer| peer.ip().to_string()).collect();
    assert_eq!(peers, ["127.0.0.21", "127.0.0.22"]);
    assert_eq!(sink.seen.lock().bodies, ["Subject: x\r\n\r\n.hello\r\n"; 4]);
    assert_eq!(connector.stats(), Stats { open: 2, idle: 2, opened: 2, reused: 2, stale: 0 });
    connector.retire(&"127.0.0.21".into());
    sink.ended(1).await;
    assert_eq!((sink.commands("QUIT"), connector.stats().idle), (1, 1));
}

#[tokio::test]
async fn from_mx_record_to_mailbox() {
    let sink = Sink::start(script(&[])).await;
    let (server, _) = name_server(vec![
        ("sink.test", Zone::Has(vec![mx(10, "gone.sink.test."), mx(20, "mx.sink.test.")])),
        ("mx.sink.test", Zone::Has(vec![a("127.0.0.1")])),
    ])
    .await;
    let mut delivery = delivery();
    (delivery.port, delivery.allow_private_mx) = (sink.address.port(), true);
    let dns = Dns { servers: vec![server], timeout: Duration::from_secs(2), max_in_flight: 10, trust_anchor: None };
    let routing = Routing::new(&"relay.test".parse().expect("domain"), &delivery, Vec::new(), &[]);
    let resolver = Arc::new(Resolver::new(&dns, routing).expect("resolver"));
    let connector = DirectConnector::new(resolver.clone(), &delivery);
    let plan = resolver.plan(&"sink.test".parse().expect("domain")).await.expect("plan");
    assert_eq!(plan.destination.as_str(), "site:{gone,mx}.sink.test");
    let report = connector.attempt(order("127.0.0.21", &plan, 1)).await;
    assert_eq!((codes(&report), report.host.as_deref()), (vec!["end_of_data 250".to_owned()], Some("mx.sink.test")));
}

#[tokio::test]
async fn an_address_that_cannot_be_bound_reaches_nobody() {
    let sink = Sink::start(script(&[])).await;
    let plan = plan(&[sink.address, sink.address]);
    let report = connector(&delivery()).attempt(order("192.0.2.1", &plan, 2)).await;
    assert_eq!(codes(&report), ["connect bind", "connect bind"]);
    assert_eq!((report.local, sink.connections()), (None, 0));
}

#[tokio::test]
async fn connections_are_not_shared_across_ehlo_names_or_hosts() {
    let (sink, other) = (Sink::start(script(&[])).await, Sink::start(script(&[])).await);
    let connector = connector(&delivery());
    let first = order("127.0.0.21", &plan(&[sink.address]), 1);
    let report = connector.attempt(first.clone()).await;
    assert!(!report.reused);
    let renamed = Order { ehlo: "other.test".to_owned(), ..first.clone() };
    assert!(!connector.attempt(renamed).await.reused);
    assert_eq!((sink.commands("EHLO me.test"), sink.commands("EHLO other.test")), (1, 1));
    let elsewhere = Order { plan: plan(&[other.address]), ..first.clone() };
    assert!(!connector.attempt(elsewhere).await.reused);
    let same_hosts = Order { plan: plan(&[sink.address]), ..first };
    assert!(connector.attempt(same_hosts).await.reused, "equal plans share connections");
}

#[tokio::test]
async fn a_connection_carries_so_many_messages_and_no_more() {
    let sink = Sink::start(script(&[])).await;
    let (connector, plan) = (connector(&delivery()), plan(&[sink.address]));
    for _ in 0..4 {
        let order = Order { messages_per_connection: 2, ..order("127.0.0.21", &plan, 1) };
        connector.attempt(order).await;
    }
    sink.ended(2).await;
    assert_eq!((sink.connections(), sink.commands("QUIT"), sink.commands("MAIL")), (2, 2, 4));
}

#[tokio::test]
async fn idle_connections_are_closed_in_time() {
    let sink = Sink::start(script(&[])).await;
    let mut delivery = delivery();
    delivery.keep_idle = Duration::from_millis(20);
    let connector = connector(&delivery);
    connector.attempt(order("127.0.0.21", &plan(&[sink.address]), 1)).await;
    sink.ended(1).await;
    assert_eq!(sink.commands("QUIT"), 1);
    assert_eq!(connector.stats().idle, 0);
}

#[tokio::test]
async fn a_connection_the_host_closed_is_replaced_without_a_word() {
    // Hangs up at the second MAIL of a connection, without any reply.
    let mails = Arc::new(AtomicU64::new(0));
    let inner = script(&[]);
    let hang_up = move |line: &str| {
        let second = line.starts_with("MAIL") && mails.fetch_add(1, Ordering::Relaxed) == 1;
        if second { None } else { inner(line) }
    };
    let sink = Sink::start(Arc::new(hang_up)).await;
    let (connector, plan) = (connector(&delivery()), plan(&[sink.address]));
    for _ in 0..2 {
        let report = connector.attempt(order("127.0.0.21", &plan, 1)).await;
        assert_eq!(codes(&report), ["end_of_data 250"]);
    }
    assert_eq!(sink.connections(), 2);
    assert_eq!(connector.stats().stale, 1);
    assert_eq!(sink.seen.lock().bodies.len(), 2);
}

#[tokio::test]
async fn a_refused_message_is_reset_before_the_next_and_a_refused_reset_costs_nothing() {
    for (reset, connections) in [("250 reset|", 1), ("421 4.3.2 going down|", 2), ("500 what|", 2)] {
        for ehlo in ["250-sink|250 PIPELINING|", "250 sink|"] {
            let table = [
                ("EHLO", Some(ehlo)),
                ("RCPT TO:<r0@", Some("550 no|")),
                ("DATA", Some("503|")),
                ("RSET", Some(reset)),
            ];
            let sink = Sink::start(script(&table)).await;
            let (connector, plan) = (connector(&delivery()), plan(&[sink.address]));
            for _ in 0..2 {
                let report = connector.attempt(order("127.0.0.21", &plan, 1)).await;
                assert_eq!(codes(&report), ["rcpt 550"]);
            }
            assert_eq!((sink.commands("RSET"), sink.connections()), (1, connections), "{reset}");
        }
    }
}

#[tokio::test]
async fn a_host_that_cannot_bear_the_envelope_id_gets_the_mail_all_the_same() {
    for ehlo in ["250-sink|250-DSN|250 PIPELINING|", "250-sink|250 DSN|"] {
        for (code, reset, connections) in [
            ("501 5.5.4 ENVID|", Some("250 reset|"), 1),
            // Not on this connection any more.
            ("555|", Some("500 what|"), 2),
            ("501|", Some("421 4.7.0 too many errors|"), 2),
            ("501|", None, 2),
        ] {
            let inner = script(&[("EHLO", Some(ehlo)), ("RSET", reset)]);
            let choosy = move |line: &str| {
                let refused = line.starts_with("MAIL") && line.contains("ENVID=");
                if refused { Some(code.replace('|', "\r\n")) } else { inner(line) }
            };
            let sink = Sink::start(Arc::new(choosy)).await;
            let connector = connector(&delivery());
            let marked = Order {
                head: Bytes::from_static(b"X-Id: mark\r\n"),
                envelope_id: Some("mark".into()),
                ..order("127.0.0.21", &plan(&[sink.address]), 1)
            };
            for _ in 0..2 {
                assert_eq!(codes(&connector.attempt(marked.clone()).await), ["end_of_data 250"], "{code} {reset:?}");
            }
            let body = "X-Id: mark\r\nSubject: x\r\n\r\n.hello\r\n";
            // Where it said 354 to nobody, it got a lone dot.
            let seen: Vec<_> = sink.seen.lock().bodies.iter().filter(|seen| !seen.is_empty()).cloned().collect();
            assert_eq!(seen, [body, body]);
            // What the first message taught, the second need not learn again.
            let tries = sink.commands("MAIL FROM:<> RET=HDRS ENVID=mark");
            assert_eq!((tries, sink.connections()), (1, connections), "{code} {reset:?}");
        }
    }
}

#[tokio::test]
async fn a_goodbye_in_between_is_noticed_before_use() {
    // Says 421 after the message as if its idle time were over.
    let sink = Sink::start(script(&[(".", Some("250 ok|421 4.4.2 idle too long|"))])).await;
    let (connector, plan) = (connector(&delivery()), plan(&[sink.address]));
    for _ in 0..2 {
        let report = connector.attempt(order("127.0.0.21", &plan, 1)).await;
        assert_eq!(codes(&report), ["end_of_data 250"]);
    }
    assert_eq!(sink.connections(), 2);
}

#[tokio::test]
async fn refusals_reach_the_recipients_they_are_for() {
    for (table, expected, connections) in [
        (vec![("RCPT TO:<r0@", Some("550 5.1.1 no such user|"))], ["rcpt 550", "end_of_data 250"], 1),
        (vec![("RCPT TO:<r1@", Some("421 4.7.0 too fast|"))], ["rcpt 421", "rcpt 421"], 2),
        (vec![("MAIL", Some("451 4.7.1 later|"))], ["mail 451", "mail 451"], 1),
        (vec![("DATA", Some("452 4.3.1 full|"))], ["data 452", "data 452"], 1),
        (vec![("RCPT", Some("550 no|"))], ["rcpt 550", "rcpt 550"], 1),
        (vec![(".", Some("554 5.7.1 spam|"))], ["end_of_data 554", "end_of_data 554"], 1),
        (vec![(".", None)], ["end_of_data reset", "end_of_data reset"], 2),
    ] {
        for ehlo in ["250-sink|250 PIPELINING|", "250 sink|"] {
            let mut table = table.clone();
            table.push(("EHLO", Some(ehlo)));
            let sink = Sink::start(script(&table)).await;
            let (connector, plan) = (connector(&delivery()), plan(&[sink.address]));
            for _ in 0..2 {
                let report = connector.attempt(order("127.0.0.21", &plan, 2)).await;
                assert_eq!(codes(&report), expected, "{table:?}");
            }
            assert_eq!(sink.connections(), connections, "{table:?}");
        }
    }
}

#[tokio::test]
async fn the_next_host_is_asked_where_one_is_down_or_busy() {
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listen");
        listener.local_addr().expect("address")
    };
    let busy = Sink::start(script(&[("BANNER", Some("421 4.3.2 busy|"))])).await;
    let mute = Sink::start(script(&[("BANNER", None)])).await;
    let good = Sink::start(script(&[])).await;
    let connector = connector(&delivery());
    let hosts = [closed, busy.address, mute.address, good.address];
    let report = connector.attempt(order("127.0.0.21", &plan(&hosts), 1)).await;
    assert_eq!((codes(&report), report.remote), (vec!["end_of_data 250".to_owned()], Some(good.address)));

    // With nobody left, what was said counts more than what was not.
    let hosts = [closed, busy.address, mute.address];
    let report = connector.attempt(order("127.0.0.21", &plan(&hosts), 1)).await;
    assert_eq!((codes(&report), report.remote), (vec!["banner 421".to_owned()], Some(busy.address)));
}

#[tokio::test]
async fn a_host_that_refuses_the_binding_or_the_sender_ends_the_attempt() {
    let good = Sink::start(script(&[])).await;
    for (table, expected) in [
        (("BANNER", Some("554 5.7.1 listed|")), "banner 554"),
        (("EHLO", Some("550 5.7.1 bad name|")), "ehlo 550"),
        (("MAIL", Some("451 4.7.1 later|")), "mail 451"),
        (("RCPT", Some("450 4.2.0 greylisted|")), "rcpt 450"),
    ] {
        let sink = Sink::start(script(&[table])).await;
        let connector = connector(&delivery());
        let report = connector.attempt(order("127.0.0.21", &plan(&[sink.address, good.address]), 1)).await;
        assert_eq!(codes(&report), [expected]);
        assert_eq!(report.local.map(|local| local.ip().to_string()).as_deref(), Some("127.0.0.21"));
    }
    assert_eq!(good.connections(), 0);
}

#[tokio::test]
async fn only_so_many_addresses_are_tried() {
    let busy = Sink::start(script(&[("BANNER", Some("450 later|"))])).await;
    let mut delivery = delivery();
    delivery.max_addresses = 2;
    connector(&delivery).attempt(order("127.0.0.21", &plan(&[busy.address; 5]), 1)).await;
    assert_eq!(busy.connections(), 2);
}

#[tokio::test]
async fn a_plan_that_is_not_pinned_leads_to_no_private_address() {
    let sink = Sink::start(script(&[])).await;
    let mut stranger = MxPlan::clone(&plan(&[sink.address]));
    stranger.pinned = false;
    let stranger = Arc::new(stranger);
    let report = connector(&delivery()).attempt(order("127.0.0.21", &stranger, 1)).await;
    assert_eq!((codes(&report), sink.connections()), (vec!["connect no_address".to_owned()], 0));
    let mut allowed = delivery();
    allowed.allow_private_mx = true;
    let report = connector(&allowed).attempt(order("127.0.0.21", &stranger, 1)).await;
    assert_eq!(codes(&report), ["end_of_data 250"]);
    let wrong_family = plan(&["[::1]:25".parse().expect("address")]);
    let report = connector(&allowed).attempt(order("127.0.0.21", &wrong_family, 1)).await;
    assert_eq!(codes(&report), ["connect no_address"]);
}

#[tokio::test]
async fn a_dropped_attempt_closes_its_connection() {
    let sink = Sink::start(script(&[("EHLO", Some(""))])).await;
    let connector = connector(&delivery());
    let order = order("127.0.0.21", &plan(&[sink.address]), 1);
    {
        let attempt = connector.attempt(order);
        tokio::pin!(attempt);
        while sink.commands("EHLO") == 0 {
            tokio::select! {
                _ = &mut attempt => unreachable!("the host is silent"),
                () = tokio::task::yield_now() => {}
            }
        }
        assert_eq!(connector.stats().open, 1);
    }
    sink.ended(1).await;
    assert_eq!(connector.stats().open, 0);
}

#[tokio::test]
async fn a_binding_at_its_limit_gives_up_an_idle_connection_for_a_new_one() {
    let (sink, other) = (Sink::start(script(&[])).await, Sink::start(script(&[])).await);
    let connector = connector(&delivery());
    let limited = |plan: &Arc<MxPlan>| {
        let order = order("127.0.0.21", plan, 1);
        let mut binding = crate::config::Binding::clone(&order.binding);
        binding.limits.max_outbound_connections = Some(1);
        Order { binding: Arc::new(binding), ..order }
    };
    connector.attempt(limited(&plan(&[sink.address]))).await;
    connector.attempt(limited(&plan(&[other.address]))).await;
    sink.ended(1).await;
    assert_eq!((sink.commands("QUIT"), connector.stats().idle), (1, 1));
}

#[tokio::test]
async fn a_connection_lost_over_chunks_is_gone_before_its_replacement_opens() {
    let table = [("EHLO", Some("250-sink|250-CHUNKING|250 PIPELINING|")), ("BDAT", Some("500 5.5.1 what|"))];
    let (served, inner) = (Arc::new(AtomicU64::new(0)), script(&table));
    // Has no time for the second connection: what the first one came to stands.
    let busy = move |line: &str| match line {
        "BANNER" if served.fetch_add(1, Ordering::Relaxed) > 0 => Some("421 4.3.2 busy\r\n".to_owned()),
        line => inner(line),
    };
    let sink = Sink::start(Arc::new(busy)).await;
    let connector = connector(&delivery());
    let report = connector.attempt(order("127.0.0.21", &plan(&[sink.address]), 2)).await;
    assert_eq!((codes(&report), report.remote), (vec!["end_of_data 451".to_owned(); 2], Some(sink.address)));
    assert_eq!((report.host.as_deref(), sink.connections()), (Some("127.0.0.1"), 2));
    assert_eq!(connector.stats().open, 0);
}

#[tokio::test]
async fn a_connection_of_before_carries_nothing_for_a_binding_that_goes_another_way() {
    let sink = Sink::start(script(&[])).await;
    let (connector, plan) = (connector(&delivery()), plan(&[sink.address]));
    let direct = order("127.0.0.21", &plan, 1);
    assert_eq!(codes(&connector.attempt(direct.clone()).await), ["end_of_data 250"]);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("listen").local_addr().expect("address");
    let proxy = HostPort { host: Host::Address(nobody.ip()), port: nobody.port() };
    let mut binding = crate::config::Binding::clone(&direct.binding);
    binding.via = Some(crate::config::Via::ProxyV2 { proxy, from: None });
    let report = connector.attempt(Order { binding: Arc::new(binding), ..direct }).await;
    assert_eq!((codes(&report), report.reused), (vec!["connect bind".to_owned()], false));
    assert_eq!(sink.commands("MAIL"), 1);
}

#[tokio::test]
async fn where_chunks_are_offered_the_message_goes_as_it_lies() {
    let sink = Sink::start(script(&[("EHLO", Some("250-sink|250-CHUNKING|250 PIPELINING|"))])).await;
    let plain = connector(&Delivery { chunking: false, ..delivery() });
    let (connector, plan) = (connector(&delivery()), plan(&[sink.address]));
    for _ in 0..2 {
        let report = connector.attempt(order("127.0.0.21", &plan, 2)).await;
        assert_eq!(codes(&report), ["end_of_data 250", "end_of_data 250"]);
    }
    let large = Order {
        body: Bytes::from("A: b\r\n\r\n".to_owned() + &".dot\r\n".repeat(100_000)),
        ..order("127.0.0.21", &plan, 1)
    };
    assert_eq!(codes(&connector.attempt(large.clone()).await), ["end_of_data 250"]);
    let bodies = sink.seen.lock().bodies.clone();
    assert_eq!(bodies[..2], ["Subject: x\r\n\r\n.hello\r\n"; 2]);
    assert!(bodies[2].as_bytes() == &large.body[..]);
    assert_eq!((sink.commands("DATA"), sink.commands("BDAT"), sink.connections()), (0, 3, 1));
    assert_eq!(codes(&plain.attempt(order("127.0.0.22", &plan, 1)).await), ["end_of_data 250"]);
    assert_eq!((sink.commands("DATA"), sink.commands("BDAT")), (1, 3), "switched off");
}

#[tokio::test]
async fn a_host_that_does_not_know_its_own_chunks_gets_the_mail_by_data_from_then_on() {
    let ehlo = Some("250-sink|250-CHUNKING|250 PIPELINING|");
    let sink = Sink::start(script(&[("EHLO", ehlo), ("BDAT", Some("500 5.5.1 what|"))])).await;
    let (connector, plan) = (connector(&delivery()), plan(&[sink.address]));
    for messages in 1..=3 {
        let order = Order { messages_per_connection: 1, ..order("127.0.0.21", &plan, 1) };
        assert_eq!(codes(&connector.attempt(order).await), ["end_of_data 250"]);
        // Found out once, although each message has a connection of its own.
        assert_eq!((sink.commands("BDAT"), sink.commands("DATA"), sink.connections()), (1, messages, messages + 1));
    }
    assert_eq!(sink.seen.lock().bodies, ["Subject: x\r\n\r\n.hello\r\n"; 3]);
}

#[tokio::test]
async fn announced_limits_are_kept() {
    let ehlo = Some("250-sink|250-PIPELINING|250 LIMITS RCPTMAX=2 MAILMAX=3|");
    let sink = Sink::start(script(&[("EHLO", ehlo)])).await;
    let (connector, plan) = (connector(&delivery()), plan(&[sink.address]));
    let report = connector.attempt(order("127.0.0.21", &plan, 5)).await;
    assert_eq!(codes(&report), ["end_of_data 250"; 5]);
    sink.ended(1).await;
    assert_eq!((sink.commands("MAIL"), sink.commands("QUIT"), sink.connections()), (3, 1, 1));
    // Those of whom the connection has no room left are not reached; they have no answer.
    let report = connector.attempt(order("127.0.0.21", &plan, 8)).await;
    assert_eq!(codes(&report), ["end_of_data 250"; 6]);
    assert_eq!((sink.commands("MAIL"), sink.connections()), (6, 2));
    // Room for one more, then for none.
    connector.attempt(order("127.0.0.21", &plan, 4)).await;
    let report = connector.attempt(order("127.0.0.21", &plan, 4)).await;
    assert_eq!((codes(&report).len(), sink.connections()), (2, 3));
}

#[tokio::test]
async fn what_a_host_says_of_too_many_recipients_is_heard() {
    let in_this = Arc::new(AtomicU64::new(0));
    let inner = script(&[]);
    let choosy = move |line: &str| match line.split(' ').next() {
        Some("MAIL") => {
            in_this.store(0, Ordering::Relaxed);
            inner(line)
        }
        Some("RCPT") if in_this.fetch_add(1, Ordering::Relaxed) >= 3 => {
            Some("452 4.5.3 too many recipients\r\n".to_owned())
        }
        _ => inner(line),
    };
    let sink = Sink::start(Arc::new(choosy)).await;
    let report = connector(&delivery()).attempt(order("127.0.0.21", &plan(&[sink.address]), 8)).await;
    assert_eq!(codes(&report), ["end_of_data 250"; 8]);
    assert_eq!((sink.commands("MAIL"), sink.connections(), sink.seen.lock().bodies.len()), (3, 1, 3));
}

#[tokio::test]
async fn a_host_that_ends_connections_after_so_many_messages_is_asked_for_no_more() {
    for goodbye in [Some("421 4.7.0 enough|"), Some("451 4.7.1 enough|"), None] {
        let mails = Arc::new(AtomicU64::new(0));
        let inner = script(&[]);
        let tired = move |line: &str| match line.split(' ').next() {
            Some("EHLO") => {
                mails.store(0, Ordering::Relaxed);
                inner(line)
            }
            Some("MAIL") if mails.fetch_add(1, Ordering::Relaxed) == 2 => goodbye.map(|text| text.replace('|', "\r\n")),
            _ => inner(line),
        };
        let sink = Sink::start(Arc::new(tired)).await;
        let (connector, plan) = (connector(&delivery()), plan(&[sink.address]));
        let mut refused = 0;
        for _ in 0..12 {
            let report = connector.attempt(order("127.0.0.21", &plan, 1)).await;
            refused += usize::from(codes(&report) != ["end_of_data 250"]);
        }
        assert_eq!(connector.learned_messages(&plan.destination), Some(2), "{goodbye:?}");
        // Twice it took to be believed; a host that hangs up or says 421 costs no message anything.
        let may_mean_us = goodbye.is_some_and(|text| !text.starts_with("421"));
        assert_eq!(refused, if may_mean_us { 2 } else { 0 }, "{goodbye:?}");
        let before = (sink.commands("MAIL"), sink.commands("QUIT"));
        for _ in 0..4 {
            let report = connector.attempt(order("127.0.0.21", &plan, 1)).await;
            assert_eq!(codes(&report), ["end_of_data 250"], "{goodbye:?}");
        }
        assert_eq!(sink.commands("MAIL") - before.0, 4);
    }
}

#[tokio::test]
async fn eight_bit_mail_is_made_fit_or_refused() {
    let sink = Sink::start(script(&[("EHLO", Some("250-sink|250 PIPELINING|"))])).await;
    let (connector, plan) = (connector(&delivery()), plan(&[sink.address]));
    let eight_bit = |body: &'static str| Order {
        body: Bytes::from_static(body.as_bytes()),
        eight_bit: true,
        ..order("127.0.0.21", &plan, 1)
    };
    let report =
        connector.attempt(eight_bit("MIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n.gr\u{fc}\r\n")).await;
    assert_eq!(codes(&report), ["end_of_data 250"]);
    let expected = "MIME-Version: 1.0\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
                    =2Egr=C3=BC\r\n";
    assert_eq!(sink.seen.lock().bodies, [expected]);
    assert_eq!((sink.commands("MAIL"), sink.commands("MAIL FROM:<> BODY")), (1, 0));
    let report = connector.attempt(eight_bit("DKIM-Signature: v=1\r\n\r\n\u{fc}\r\n")).await;
    let Some(Answer::Reply(Stage::Mail, reply)) = report.answers.first() else { panic!("{report:?}") };
    assert!(reply.to_string().starts_with("554 5.6.3 message has eight-bit data under a DKIM signature"), "{reply}");
    assert_eq!(sink.commands("MAIL"), 1, "nothing was asked");
    // The connection is as good as before.
    assert_eq!(codes(&connector.attempt(order("127.0.0.21", &plan, 1)).await), ["end_of_data 250"]);
    assert_eq!(sink.connections(), 1);
}
