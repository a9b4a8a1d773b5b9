//! Attempts of bindings with an address of each family, at hosts that have both, one, or one that does not work.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::super::plan::MxPlan;
use super::super::testing::{Script, Sink, Zone, a, delivery, name_server, script};
use super::tests::{codes, order};
use super::*;
use crate::config::{Binding, Dns, Family, Host, HostPort, Second};
use crate::delivery::Routing;

const V4: &str = "127.0.0.21";

/// A machine without IPv6 on loopback has nothing to test here.
fn has_ipv6() -> bool {
    let there = std::net::TcpListener::bind("[::1]:0").is_ok();
    assert!(there || !std::path::Path::new("/proc/net/if_inet6").exists(), "::1 cannot be bound");
    there
}

fn dual(prefer: Family, second: &str) -> Binding {
    let second: IpAddr = second.parse().expect("address");
    let bound = Second { bind_address: second, public_address: second };
    Binding { second: Some(bound), prefer, ..Binding::new("dual", V4.parse().expect("address")) }
}

/// A connector that knows `both.test`, `four.test` and `six.test`.
async fn connector() -> DirectConnector {
    connector_with(&delivery()).await
}

async fn connector_with(delivery: &Delivery) -> DirectConnector {
    let (four, six) = (a("127.0.0.1"), a("::1"));
    let (server, _) = name_server(vec![
        ("both.test", Zone::Has(vec![four.clone(), six.clone()])),
        ("four.test", Zone::Has(vec![four])),
        ("six.test", Zone::Has(vec![six])),
    ])
    .await;
    let dns = Dns { servers: vec![server], timeout: Duration::from_secs(5), max_in_flight: 10, trust_anchor: None };
    let routing = Routing::new(&"relay.test".parse().expect("domain"), delivery, Vec::new(), &[]);
    DirectConnector::new(Arc::new(Resolver::new(&dns, routing).expect("resolver")), delivery)
}

fn order_to(host: &str, port: u16, binding: Binding) -> Order {
    let plan = Arc::new(MxPlan {
        destination: "site:test".into(),
        provider: None,
        hosts: vec![vec![HostPort { host: Host::Name(host.parse().expect("domain")), port }]],
        pinned: true,
    });
    Order { binding: Arc::new(binding), ..order(V4, &plan, 1) }
}

/// Sinks of both families on the same port.
async fn sinks(four: Script, six: Script) -> (Sink, Sink) {
    loop {
        let first = Sink::start_at("127.0.0.1:0", four.clone()).await.expect("listen");
        // Somebody else may have this port in the other family.
        if let Ok(second) = Sink::start_at(&format!("[::1]:{}", first.address.port()), six.clone()).await {
            return (first, second);
        }
    }
}

/// Listens, and answers nobody: whoever is in its queue fills it.
struct Mute {
    _listener: Socket,
    _queue: Vec<Socket>,
}

impl Mute {
    fn at(address: SocketAddr) -> Self {
        let socket = || Socket::new(Domain::for_address(address), Type::STREAM, None).expect("socket");
        let listener = socket();
        listener.bind(&address.into()).expect("bind");
        listener.listen(0).expect("listen");
        let mut queue = Vec::new();
        loop {
            let caller = socket();
            let wait = Duration::from_millis(200);
            let answered = caller.connect_timeout(&address.into(), wait).is_ok();
            queue.push(caller);
            if !answered {
                return Self { _listener: listener, _queue: queue };
            }
            assert!(queue.len() < 10, "the queue of a listener that accepts nobody has an end");
        }
    }
}

fn ends(report: &Report) -> (String, String) {
    let ip = |address: Option<SocketAddr>| address.map(|address| address.ip().to_string()).unwrap_or_default();
    (ip(report.local), ip(report.remote))
}

fn pair(local: &str, remote: &str) -> (String, String) {
    (local.to_owned(), remote.to_owned())
}

#[tokio::test]
async fn each_family_leaves_from_its_own_address_and_the_preferred_one_first() {
    if !has_ipv6() {
        return;
    }
    let (four, six) = sinks(script(&[]), script(&[])).await;
    let port = four.address.port();
    // (host, preferred, source, host's address)
    for (host, prefer, local, remote) in [
        ("both.test", Family::V4, V4, "127.0.0.1"),
        ("both.test", Family::V6, "::1", "::1"),
        ("four.test", Family::V6, V4, "127.0.0.1"),
        ("six.test", Family::V4, "::1", "::1"),
    ] {
        let report = connector().await.attempt(order_to(host, port, dual(prefer, "::1"))).await;
        assert_eq!(codes(&report), ["end_of_data 250"], "{host} {prefer:?}");
        assert_eq!(ends(&report), pair(local, remote), "{host} {prefer:?}");
    }
    assert_eq!((four.connections(), six.connections()), (2, 2));
    assert!(four.seen.lock().peers.iter().all(|peer| peer.ip().to_string() == V4));
}

#[tokio::test]
async fn a_binding_of_one_family_has_no_way_to_a_host_of_the_other() {
    if !has_ipv6() {
        return;
    }
    let (four, six) = sinks(script(&[]), script(&[])).await;
    let port = four.address.port();
    for (host, own) in [("six.test", V4), ("four.test", "::1")] {
        let binding = Binding::new("one", own.parse().expect("address"));
        let report = connector().await.attempt(order_to(host, port, binding)).await;
        assert_eq!((codes(&report), report.local), (vec!["connect no_address".to_owned()], None), "{host}");
    }
    assert_eq!((four.connections(), six.connections()), (0, 0));
}

#[tokio::test]
async fn an_idle_connection_of_either_family_is_used_again() {
    if !has_ipv6() {
        return;
    }
    let (four, six) = sinks(script(&[]), script(&[])).await;
    let connector = connector().await;
    let order = order_to("both.test", four.address.port(), dual(Family::V6, "::1"));
    for reused in [false, true] {
        let report = connector.attempt(order.clone()).await;
        assert_eq!((codes(&report), report.reused), (vec!["end_of_data 250".to_owned()], reused));
        assert_eq!(ends(&report), pair("::1", "::1"));
    }
    assert_eq!((four.connections(), six.connections()), (0, 1));
}

#[tokio::test]
async fn where_the_preferred_family_is_refused_or_busy_the_other_one_serves_in_the_same_attempt() {
    if !has_ipv6() {
        return;
    }
    // Nobody listens there in IPv6.
    let four = Sink::start(script(&[])).await;
    let report = connector().await.attempt(order_to("both.test", four.address.port(), dual(Family::V6, "::1"))).await;
    assert_eq!((codes(&report), ends(&report)), (vec!["end_of_data 250".to_owned()], pair(V4, "127.0.0.1")));

    let (four, six) = sinks(script(&[]), script(&[("BANNER", Some("421 4.3.2 busy|"))])).await;
    let report = connector().await.attempt(order_to("both.test", four.address.port(), dual(Family::V6, "::1"))).await;
    assert_eq!((codes(&report), ends(&report)), (vec!["end_of_data 250".to_owned()], pair(V4, "127.0.0.1")));
    assert_eq!(six.connections(), 1);
}

#[tokio::test]
async fn a_silent_family_costs_a_head_start_and_not_the_time_of_a_connection() {
    if !has_ipv6() {
        return;
    }
    let four = Sink::start(script(&[])).await;
    let port = four.address.port();
    let _mute = Mute::at(SocketAddr::new("::1".parse().expect("address"), port));
    let connector = connector().await;
    let began = Instant::now();
    let report = connector.attempt(order_to("both.test", port, dual(Family::V6, "::1"))).await;
    assert_eq!((codes(&report), ends(&report)), (vec!["end_of_data 250".to_owned()], pair(V4, "127.0.0.1")));
    // One connection in the end, and long before the 20 s that a connection may take.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(report.latency >= crate::delivery::happy::HEAD_START, "{:?}", report.latency);
    assert_eq!((four.connections(), connector.stats().open), (1, 1));
}

#[tokio::test]
async fn one_that_was_overtaken_has_its_turn_when_the_other_is_busy() {
    if !has_ipv6() {
        return;
    }
    let four = Sink::start(script(&[("BANNER", Some("421 4.3.2 busy|"))])).await;
    let port = four.address.port();
    let _mute = Mute::at(SocketAddr::new("::1".parse().expect("address"), port));
    let mut hurried = delivery();
    hurried.timeouts.connect = Duration::from_millis(600);
    let connector = connector_with(&hurried).await;
    let report = connector.attempt(order_to("both.test", port, dual(Family::V6, "::1"))).await;
    // What was said counts more than what was not.
    assert_eq!((codes(&report), four.connections()), (vec!["banner 421".to_owned()], 1));
    assert!(report.latency >= hurried.timeouts.connect, "the silent one was asked again: {:?}", report.latency);
}

#[tokio::test]
async fn a_family_that_cannot_be_bound_leaves_the_other_and_only_both_are_trouble_of_the_binding() {
    let four = Sink::start(script(&[])).await;
    let port = four.address.port();
    // Also where one address is all that may be tried: that of the lost family was not.
    let mut few = delivery();
    few.max_addresses = 1;
    for host in ["both.test", "four.test"] {
        let order = order_to(host, port, dual(Family::V6, "2001:db8::1"));
        let report = connector_with(&few).await.attempt(order).await;
        assert_eq!((codes(&report), ends(&report)), (vec!["end_of_data 250".to_owned()], pair(V4, "127.0.0.1")));
    }
    assert_eq!(four.connections(), 2);
    let neither = Binding { bind_address: "192.0.2.1".parse().expect("address"), ..dual(Family::V6, "2001:db8::1") };
    for (host, binding) in [("both.test", neither), ("six.test", dual(Family::V4, "2001:db8::1"))] {
        let report = connector().await.attempt(order_to(host, port, binding)).await;
        assert_eq!((codes(&report), report.local), (vec!["connect bind".to_owned()], None), "{host}");
    }
    assert_eq!(four.connections(), 2);
}

#[tokio::test]
async fn no_more_addresses_are_tried_than_are_allowed() {
    if !has_ipv6() {
        return;
    }
    let busy = script(&[("BANNER", Some("450 later|"))]);
    let (four, six) = sinks(busy.clone(), busy).await;
    let mut few = delivery();
    few.max_addresses = 1;
    let connector = connector_with(&few).await;
    connector.attempt(order_to("both.test", four.address.port(), dual(Family::V4, "::1"))).await;
    assert_eq!((four.connections(), six.connections()), (1, 0));
}
