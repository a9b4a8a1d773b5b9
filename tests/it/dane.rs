//! DANE: answers proven by DNSSEC below a root of our own, and what they demand of hosts.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use remuda::clock::{Clock, SystemClock};
use remuda::config::{Config, Dns, Host, HostPort, TlsPolicy};
use remuda::delivery::policy::tlsa::{Addressed, Answer, RawTlsa};
use remuda::delivery::policy::validator::Validator;
use remuda::delivery::tls::demand::{TlsDemand, TlsResult};
use remuda::delivery::tls::policy::{Asked, Demanded, Demands};
use remuda::delivery::{Policies, Resolver, Routing};
use remuda::demo::sink::{Sink, SinkOptions};
use remuda::message::{Domain, TlsWish};
use serde_json::Value;

use crate::support::{
    Authority, Identity, Records, Relay, Settings, Signed, all_accepted, array, local, number, text, wait_for_messages,
    wait_until,
};

const PORT: u16 = 25;

fn dns(server: SocketAddr, anchor: &Path) -> Dns {
    let timeout = Duration::from_secs(2);
    Dns { servers: vec![server], timeout, max_in_flight: 50, trust_anchor: Some(anchor.to_owned()) }
}

fn validator(signed: &Signed) -> Validator {
    Validator::new(&dns(signed.address, signed.anchor())).unwrap()
}

fn domain(name: &str) -> Domain {
    name.parse().unwrap()
}

fn digest() -> RawTlsa {
    RawTlsa { usage: 3, selector: 1, matching: 1, data: vec![7; 32] }
}

fn zone() -> Records {
    let tlsa = |records: Records, name: &str| records.tlsa(name, [3, 1, 1], &[7; 32]);
    let records = Records::default()
        .mx("good.test", 10, "mx.good.test")
        .a("mx.good.test", local(31))
        .mx("plain.test", 10, "mx.plain.test")
        .a("mx.plain.test", local(32))
        .mx("old.test", 10, "mx.old.test")
        .a("mx.old.test", local(33))
        .tlsa("_25._tcp.mx.old.test", [1, 1, 1], &[7; 32])
        .mx("alias.test", 10, "mx.alias.test")
        .alias("mx.alias.test", "mx.good.test")
        .mx("own.test", 10, "mx.own.test")
        .alias("mx.own.test", "mx.plain.test")
        .mx("away.test", 10, "mx.away.test")
        .alias("mx.away.test", "mx.unsigned")
        .mx("far.test", 10, "mx.unsigned")
        .mx("unsigned", 10, "mx.unsigned")
        .a("mx.unsigned", local(34))
        .a("single.test", local(35));
    let records = tlsa(records, "_25._tcp.mx.good.test");
    let records = tlsa(records, "_25._tcp.mx.own.test");
    let records = tlsa(records, "_25._tcp.mx.away.test");
    let records = tlsa(records, "_25._tcp.single.test");
    tlsa(records, "_25._tcp.mx.unsigned")
}

#[tokio::test]
async fn answers_are_proven_or_proven_to_be_unsigned() {
    let signed = zone().serve().await;
    let validator = validator(&signed);
    assert_eq!(validator.mx(&domain("good.test")).await, Answer::Secure(vec!["mx.good.test".to_owned()]));
    assert_eq!(validator.tlsa("mx.good.test", PORT).await, Answer::Secure(vec![digest()]));
    assert_eq!(validator.tlsa("mx.plain.test", PORT).await, Answer::Absent, "denied with a proof");
    assert_eq!(validator.mx(&domain("missing.test")).await, Answer::Absent);
    let addressed = |alias: Option<&str>| Answer::Secure(Addressed { alias_of: alias.map(str::to_owned) });
    assert_eq!(validator.addressed("mx.good.test").await, addressed(None));
    assert_eq!(validator.addressed("mx.alias.test").await, addressed(Some("mx.good.test")));
    assert_eq!(validator.mx(&domain("unsigned")).await, Answer::Insecure);
    assert_eq!(validator.tlsa("mx.unsigned", PORT).await, Answer::Insecure);
    assert_eq!(validator.addressed("mx.unsigned").await, Answer::Insecure);
    assert_eq!(validator.addressed("mx.away.test").await, addressed(None), "the alias itself is proven");
}

#[tokio::test]
async fn what_another_key_signed_is_in_doubt_and_so_is_silence() {
    let (signed, other) = (zone().serve().await, Records::default().serve().await);
    let validator = Validator::new(&dns(signed.address, other.anchor())).unwrap();
    for answer in [validator.mx(&domain("good.test")).await, validator.mx(&domain("unsigned")).await] {
        assert!(matches!(answer, Answer::Failed(_)), "{answer:?}");
    }
    assert!(matches!(validator.tlsa("mx.good.test", PORT).await, Answer::Failed(_)));
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut silent = dns(nobody.local_addr().unwrap(), other.anchor());
    silent.timeout = Duration::from_millis(50);
    let answer = Validator::new(&silent).unwrap().mx(&domain("good.test")).await;
    assert!(matches!(answer, Answer::Failed(_)), "{answer:?}");
}

#[tokio::test]
async fn a_file_without_keys_is_refused_by_name() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "; nothing here\n").unwrap();
    let error = Validator::new(&dns("127.0.0.1:9".parse().unwrap(), file.path())).unwrap_err().to_string();
    assert!(error.contains("dns.trust_anchor") && error.contains("no DNSKEY"), "{error}");
    let error = Validator::new(&dns("127.0.0.1:9".parse().unwrap(), Path::new("/nowhere/root.key"))).unwrap_err();
    assert!(error.to_string().contains("/nowhere/root.key"), "{error}");
}

fn policies(signed: &Signed, anchor: &Path) -> Policies {
    let mut config = Config::bare(domain("relay.test"));
    config.dns = dns(signed.address, anchor);
    (config.delivery.dane, config.delivery.mta_sts) = (true, false);
    let routing = Routing::new(&config.server.hostname, &config.delivery, Vec::new(), &[]);
    let resolver = Arc::new(Resolver::new(&config.dns, routing).unwrap());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    Policies::new(&config, resolver, clock, Arc::default()).unwrap()
}

async fn demand(policies: &Policies, of: &str, host: &str, configured: TlsPolicy, wish: TlsWish) -> Demanded {
    let host = HostPort { host: Host::Name(domain(host)), port: PORT };
    let domain = domain(of);
    policies.demand(Asked { domain: &domain, host: &host, pinned: false, configured, wish }).await
}

#[tokio::test]
async fn proven_records_are_a_demand_and_doubt_keeps_mail_back() {
    let signed = zone().serve().await;
    let known = policies(&signed, signed.anchor());
    let opportunistic =
        async |of: &str, host: &str| demand(&known, of, host, TlsPolicy::default(), TlsWish::None).await;
    for (of, host, names) in [
        ("good.test", "mx.good.test", &["mx.good.test", "good.test"][..]),
        ("alias.test", "mx.alias.test", &["mx.good.test", "mx.alias.test", "alias.test"]),
        ("own.test", "mx.own.test", &["mx.own.test", "own.test"]),
        ("away.test", "mx.away.test", &["mx.away.test", "away.test"]),
        ("single.test", "single.test", &["single.test"]),
    ] {
        match opportunistic(of, host).await {
            Ok(TlsDemand::Dane { records, names: found }) => {
                assert_eq!(records.len(), 1);
                assert_eq!(found.iter().map(|name| &**name).collect::<Vec<_>>(), names, "{of}");
            }
            other => panic!("{of}: {other:?}"),
        }
    }
    for (of, host) in [("plain.test", "mx.plain.test"), ("unsigned", "mx.unsigned"), ("far.test", "mx.unsigned")] {
        assert_eq!(opportunistic(of, host).await, Ok(TlsDemand::Opportunistic), "{of}");
    }
    assert_eq!(opportunistic("old.test", "mx.old.test").await, Ok(TlsDemand::Encrypted), "no usable record");
    let forged = opportunistic("good.test", "mx.plain.test").await.unwrap_err();
    assert_eq!(forged.result, TlsResult::DnssecInvalid);
    assert!(forged.detail.contains("not among the signed MX records"), "{}", forged.detail);

    let required = async |of: &str, host: &str| demand(&known, of, host, TlsPolicy::Off, TlsWish::Required).await;
    assert!(matches!(required("good.test", "mx.good.test").await, Ok(TlsDemand::Dane { .. })));
    for (of, host) in [("plain.test", "mx.plain.test"), ("far.test", "mx.unsigned")] {
        assert!(
            matches!(required(of, host).await, Ok(TlsDemand::WebPki { .. })),
            "{of}: its signed MX records name it"
        );
    }
    assert!(required("unsigned", "mx.unsigned").await.unwrap_err().detail.contains("REQUIRETLS"));

    let other = Records::default().serve().await;
    let doubtful = policies(&signed, other.anchor());
    let ask = async |policy, wish| demand(&doubtful, "good.test", "mx.good.test", policy, wish).await;
    let excluded = ask(TlsPolicy::Opportunistic, TlsWish::None).await.unwrap_err();
    assert_eq!(excluded.result, TlsResult::DnssecInvalid);
    assert_eq!(ask(TlsPolicy::Off, TlsWish::None).await, Ok(TlsDemand::Never), "the operator's word");
    assert_eq!(ask(TlsPolicy::Opportunistic, TlsWish::Dispensable).await, Ok(TlsDemand::Opportunistic));
}

/// A receiver at `address` that offers STARTTLS with a certificate nobody vouches for.
async fn receiver(address: SocketAddr, identity: &Identity) -> std::io::Result<Sink> {
    Sink::start_with(address, SinkOptions { tls: Some(identity.server()), ..SinkOptions::default() }).await
}

/// Two of them on one port: TLSA records name ports.
async fn two_receivers(identity: &Identity) -> (Sink, Sink) {
    loop {
        let first = receiver(SocketAddr::new(local(31), 0), identity).await.unwrap();
        if let Ok(second) = receiver(SocketAddr::new(local(32), first.addr().port()), identity).await {
            return (first, second);
        }
    }
}

#[tokio::test]
async fn mail_goes_only_to_the_certificate_that_the_signed_record_names() {
    let identity = Authority::new().identity(&["anything.test"]);
    let (good, bad) = two_receivers(&identity).await;
    let port = good.addr().port();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &identity.public_key);
    let signed = Records::default()
        .mx("good.test", 10, "mx.good.test")
        .a("mx.good.test", local(31))
        .tlsa(&format!("_{port}._tcp.mx.good.test"), [3, 1, 1], digest.as_ref())
        .mx("bad.test", 10, "mx.bad.test")
        .a("mx.bad.test", local(32))
        .tlsa(&format!("_{port}._tcp.mx.bad.test"), [3, 1, 1], &[7; 32])
        .serve()
        .await;
    let settings = Settings::new()
        .binding("a", 11, "")
        .pool("active = [\"a\"]")
        .set("dns", "servers", &format!("[\"{}\"]", signed.address))
        .set("dns", "timeout", "\"2s\"")
        .set("dns", "trust_anchor", &format!("{:?}", signed.anchor()))
        .set("delivery", "port", &port.to_string())
        .set("delivery", "allow_private_mx", "true")
        .set("delivery", "mta_sts", "false")
        .set("delivery", "dane", "true");
    let relay = Relay::start(&settings).await;
    all_accepted(
        &relay.load(4).recipients(|at| vec![format!("u@{}.test", ["good", "bad"][at as usize % 2])]).run().await,
    );
    wait_for_messages(&good, 2).await;
    assert!(good.log().iter().all(|taken| taken.tls));
    let entry = wait_until("the others wait", async || {
        relay.queue().await.into_iter().find(|entry| entry["last_reply"].is_string())
    })
    .await;
    assert!(text(&entry, "/last_reply").starts_with("tls at tls:"), "{entry:#}");
    assert_eq!(bad.messages(), 0);

    let seen: Value = serde_json::from_str(&relay.get("/api/v1/policies/good.test").await).unwrap();
    assert_eq!((&seen["dane"], &seen["hosts"][0]["demand"]), (&true.into(), &"dane".into()), "{seen:#}");
    let reports: Value = serde_json::from_str(&relay.get("/api/v1/tls-reports").await).unwrap();
    let of = |domain: &str| {
        let mut policies = array(&reports, "/reports").iter().flat_map(|report| array(report, "/policies"));
        policies.find(|policy| policy["policy"]["policy-domain"] == domain).cloned().unwrap_or_default()
    };
    let (good, bad) = (of("mx.good.test"), of("mx.bad.test"));
    assert_eq!(good["policy"]["policy-type"], "tlsa", "{reports:#}");
    assert_eq!(good["summary"]["total-failure-session-count"], 0, "{reports:#}");
    assert!(number(&good, "/summary/total-successful-session-count") >= 1, "{reports:#}");
    assert!(number(&bad, "/failure-details/0/failed-session-count") >= 1, "{reports:#}");
    assert_eq!(bad["failure-details"][0]["receiving-mx-hostname"], "mx.bad.test");
}
