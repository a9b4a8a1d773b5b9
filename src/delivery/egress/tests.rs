//! Proxies that are dead, lie or say no, seen from the connector.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::config::{Dns, Host};
use crate::delivery::Routing;
use crate::delivery::testing::delivery;

const SOON: Duration = Duration::from_secs(5);

fn resolver() -> Resolver {
    let nobody = "127.0.0.1:9".parse().expect("address");
    let dns = Dns { servers: vec![nobody], timeout: Duration::from_millis(10), max_in_flight: 10, trust_anchor: None };
    let routing = Routing::new(&"relay.test".parse().expect("domain"), &delivery(), Vec::new(), &[]);
    Resolver::new(&dns, routing).expect("resolver")
}

fn at(proxy: SocketAddr) -> HostPort {
    HostPort { host: Host::Address(proxy.ip()), port: proxy.port() }
}

fn socks(proxy: SocketAddr) -> Via {
    Via::Socks5 { proxy: at(proxy), from: None, login: None }
}

/// A listener whose first client gets `answers`, one after each read; what it said comes back.
async fn proxy(answers: Vec<&'static [u8]>) -> (SocketAddr, tokio::task::JoinHandle<(SocketAddr, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
    let address = listener.local_addr().expect("address");
    let heard = tokio::spawn(async move {
        let (mut stream, peer) = listener.accept().await.expect("a client");
        let mut heard = Vec::new();
        for answer in answers {
            stream.read_buf(&mut heard).await.expect("words");
            stream.write_all(answer).await.expect("heard");
        }
        stream.read_to_end(&mut heard).await.expect("end");
        (peer, heard)
    });
    (address, heard)
}

async fn through(via: &Via) -> Result<Leg, Failure> {
    let source = "192.0.2.7".parse().expect("address");
    leave(Some(via), source, "203.0.113.5:25".parse().expect("address"), &resolver(), SOON).await
}

#[tokio::test]
async fn the_address_the_proxy_took_must_be_the_bindings() {
    // 192.0.2.7, unspecified (it does not say), and another one.
    for (answer, is_taken) in [
        (&b"\x05\0\0\x01\xc0\0\x02\x07\x10\0"[..], true),
        (b"\x05\0\0\x01\0\0\0\0\0\0", true),
        (b"\x05\0\0\x01\xc0\0\x02\x08\x10\0", false),
    ] {
        let (address, heard) = proxy(vec![b"\x05\0", answer]).await;
        let left = through(&socks(address)).await;
        match left {
            Ok(leg) => assert!(is_taken && leg.local.ip().to_string() == "192.0.2.7"),
            Err(failure) => {
                assert!(!is_taken && failure.kind == FailureKind::Bind, "{failure}");
                assert!(failure.detail.contains("192.0.2.8 instead of 192.0.2.7"), "{failure}");
            }
        }
        let (_, said) = heard.await.expect("no panic");
        assert_eq!(said, b"\x05\x01\0\x05\x01\0\x01\xcb\0\x71\x05\0\x19", "not a word of mail");
    }
}

#[tokio::test]
async fn a_dead_proxy_is_the_bindings_trouble_and_a_dead_receiver_is_not() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("listen").local_addr().expect("address");
    for via in [socks(closed), Via::ProxyV2 { proxy: at(closed), from: None }] {
        let failure = through(&via).await.expect_err("nobody there");
        assert_eq!((failure.kind, failure.stage), (FailureKind::Bind, Stage::Connect), "{failure}");
        assert!(failure.detail.starts_with("via "), "{failure}");
    }
    let (address, _) = proxy(vec![b"\x05\0", b"\x05\x05\0\x01\0\0\0\0\0\0"]).await;
    assert_eq!(through(&socks(address)).await.expect_err("refused").kind, FailureKind::Refused);
}

#[tokio::test]
async fn a_proxy_that_is_silent_before_it_lets_us_in_is_dead_and_one_that_is_silent_after_waits_for_the_receiver() {
    let peer = "203.0.113.5:25".parse().expect("address");
    let source = "192.0.2.7".parse().expect("address");
    let soon = Duration::from_millis(400);
    for (answers, expected) in [(Vec::new(), FailureKind::Bind), (vec![&b"\x05\0"[..]], FailureKind::TimedOut)] {
        let (address, heard) = proxy(answers).await;
        let via = socks(address);
        let failure = leave(Some(&via), source, peer, &resolver(), soon).await.expect_err("nobody answers");
        assert_eq!((failure.kind, failure.stage), (expected, Stage::Connect), "{failure}");
        heard.await.expect("no panic");
    }
}

#[tokio::test]
async fn the_proxy_is_reached_from_the_address_named_for_it_or_not_at_all() {
    let (address, heard) = proxy(Vec::new()).await;
    let from = |from: &str| Via::ProxyV2 { proxy: at(address), from: Some(from.parse().expect("address")) };
    assert_eq!(through(&from("192.0.2.1")).await.expect_err("not ours").kind, FailureKind::Bind);
    drop(through(&from("127.0.0.77")).await.expect("connected"));
    let (peer, said) = heard.await.expect("no panic");
    assert_eq!(peer.ip().to_string(), "127.0.0.77");
    assert_eq!(said[12..], *b"\x21\x11\0\x0c\xc0\0\x02\x07\xcb\0\x71\x05\0\0\0\x19");
}

#[tokio::test]
async fn a_password_comes_from_its_file_and_stays_out_of_words() {
    let file = tempfile::NamedTempFile::new().expect("file");
    std::fs::write(file.path(), "s3cret\na note of the operator\n").expect("written");
    let (address, heard) = proxy(vec![b"\x05\x02", b"\x01\x01"]).await;
    let login = SocksLogin { user: "me".into(), password_file: file.path().to_owned() };
    let via = Via::Socks5 { proxy: at(address), from: None, login: Some(login.clone()) };
    let failure = through(&via).await.expect_err("refused");
    assert!(failure.kind == FailureKind::Bind && !failure.detail.contains("s3cret"), "{failure}");
    assert!(!format!("{via:?} {login:?}").contains("s3cret"));
    let (_, said) = heard.await.expect("no panic");
    assert_eq!(said, b"\x05\x01\x02\x01\x02me\x06s3cret");
}
