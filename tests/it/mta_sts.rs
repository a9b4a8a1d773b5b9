//! MTA-STS: policies over real HTTPS from a web host with a certificate of an authority of our own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use remuda::clock::{Clock, ManualClock, Wall};
use remuda::config::{Config, Dns, Host, HostPort, TlsPolicy};
use remuda::delivery::policy::fetch::PATIENCE;
use remuda::delivery::policy::look::MAIL_WAITS;
use remuda::delivery::policy::sts::cell::LOOK_EVERY;
use remuda::delivery::tls::demand::{TlsDemand, TlsOutcome, TlsResult};
use remuda::delivery::tls::policy::{Asked, Concluded, Demanded, Demands};
use remuda::delivery::{Policies, Resolver, Routing};
use remuda::demo::sink::{Sink, SinkOptions};
use remuda::demo::zone::Zone;
use remuda::message::{Domain, TlsWish};
use remuda::store::Op;
use remuda::telemetry::tlsrpt::book::day_of;
use serde_json::Value;

use crate::support::{
    Authority, Identity, Relay, Settings, Web, all_accepted, anywhere, local, wait_for_messages, wait_until,
};

const START: Wall = Wall::from_millis(1_800_000_000_000);

fn domain(name: &str) -> Domain {
    name.parse().unwrap()
}

/// A domain with a web host and a name server, and what asks them.
struct World {
    authority: Authority,
    zone: Zone,
    web: Web,
    clock: ManualClock,
    policies: Policies,
}

impl World {
    async fn start() -> Self {
        Self::with(Authority::new(), &["mta-sts.sink.test"], true).await
    }

    /// With a web host whose certificate is of `authority` and for `names`.
    async fn with(authority: Authority, names: &[&str], allow_private: bool) -> Self {
        let zone = Zone::start(anywhere()).await.unwrap();
        zone.a("mta-sts.sink.test", local(1));
        let web = Web::start(&authority.identity(names)).await;
        let clock = ManualClock::at(START);
        let policies = policies(&zone, &web, &authority, &clock, allow_private);
        Self { authority, zone, web, clock, policies }
    }

    fn record(&self, id: &str) {
        self.zone.remove("_mta-sts.sink.test");
        self.zone.txt("_mta-sts.sink.test", &format!("v=STSv1; id={id};"));
    }

    async fn demand(&self, host: &str) -> Demanded {
        demand(&self.policies, host).await
    }

    /// As much time as lets the record be looked at again (it was cached for a second).
    async fn later(&self) {
        self.clock.advance(LOOK_EVERY);
        tokio::time::sleep(Duration::from_millis(1_100)).await;
    }

    /// Results counted today.
    fn counted(&self) -> Vec<(String, u64)> {
        let counted = self.policies.reports().of(day_of(self.clock.now().wall));
        let policies = counted.into_iter().flat_map(|(_, counted)| counted.policies);
        policies.flat_map(|policy| policy.failures).map(|failure| (failure.result, failure.count)).collect()
    }
}

fn policies(zone: &Zone, web: &Web, authority: &Authority, clock: &ManualClock, allow_private: bool) -> Policies {
    policies_at(zone, web.address.port(), authority, clock, allow_private)
}

fn policies_at(zone: &Zone, port: u16, authority: &Authority, clock: &ManualClock, allow_private: bool) -> Policies {
    let mut config = Config::bare(domain("relay.test"));
    let timeout = Duration::from_secs(2);
    config.dns = Dns { servers: vec![zone.addr()], timeout, max_in_flight: 50, trust_anchor: None };
    config.delivery.mta_sts_port = port;
    config.delivery.allow_private_mx = allow_private;
    config.delivery.tls_roots = Some(authority.path().to_owned());
    let routing = Routing::new(&config.server.hostname, &config.delivery, Vec::new(), &[]);
    let resolver = Arc::new(Resolver::new(&config.dns, routing).unwrap());
    Policies::new(&config, resolver, Arc::new(clock.clone()), Arc::default()).unwrap()
}

async fn demand(policies: &Policies, host: &str) -> Demanded {
    demand_for(policies, host, TlsPolicy::default(), TlsWish::None).await
}

async fn demand_for(policies: &Policies, host: &str, configured: TlsPolicy, wish: TlsWish) -> Demanded {
    let host = HostPort { host: Host::Name(domain(host)), port: 25 };
    let domain = domain("sink.test");
    policies.demand(Asked { domain: &domain, host: &host, pinned: false, configured, wish }).await
}

fn verified(host: &str) -> Demanded {
    Ok(TlsDemand::WebPki { names: vec![host.into()] })
}

#[tokio::test]
async fn a_policy_is_fetched_once_and_kept_over_a_restart_that_finds_no_web_host() {
    let world = World::start().await;
    assert_eq!(world.demand("mx.sink.test").await, Ok(TlsDemand::Opportunistic), "no record, no policy");
    assert_eq!(world.web.asked(), 0);

    world.later().await;
    world.record("1");
    world.web.policy("enforce", &["mx.sink.test", "*.backup.sink.test"]);
    let (one, two) = tokio::join!(world.demand("mx.sink.test"), world.demand("a.backup.sink.test"));
    assert_eq!((one, two), (verified("mx.sink.test"), verified("a.backup.sink.test")));
    let excluded = world.demand("evil.test").await.unwrap_err();
    assert_eq!(excluded.result, TlsResult::ValidationFailure);
    assert_eq!(world.web.requests(), ["GET /.well-known/mta-sts.txt HTTP/1.1"], "once for all of them");

    let batch = world.policies.changes();
    let [Op::PutFact(key, value)] = batch.as_slice() else { panic!("{batch:?}") };
    assert_eq!(key, "sts/sink.test");
    assert!(world.policies.changes().is_empty(), "written once");
    let again = policies(&world.zone, &world.web, &world.authority, &world.clock, true);
    assert!(again.recall(&[(key.clone(), value.clone())]).is_empty());
    world.web.say("503 Service Unavailable", "text/plain", "");
    world.record("2");
    assert_eq!(demand(&again, "mx.sink.test").await, verified("mx.sink.test"), "the old one holds");
    assert!(demand(&again, "evil.test").await.is_err());
    world.clock.advance(Duration::from_secs(604_800));
    let over = policies(&world.zone, &world.web, &world.authority, &world.clock, true);
    assert!(over.recall(&[(key.clone(), value.clone())]).is_empty());
    assert_eq!(over.changes(), [Op::RemoveFact(key.clone())], "what is over goes from the disk");
    assert_eq!(over.recall(&[(key.clone(), b"{".to_vec())]).len(), 1, "what cannot be read is said");
}

#[tokio::test]
async fn another_id_brings_another_policy() {
    let world = World::start().await;
    world.record("1");
    world.web.policy("testing", &["other.sink.test"]);
    assert_eq!(world.demand("mx.sink.test").await, Ok(TlsDemand::Opportunistic), "testing keeps no mail back");
    world.record("2");
    world.web.policy("enforce", &["other.sink.test"]);
    assert_eq!(world.demand("mx.sink.test").await, Ok(TlsDemand::Opportunistic), "not looked at with every mail");
    world.later().await;
    // What is known goes for the mail that has it looked at again, and the new one for what comes later.
    wait_until("the new one is known", async || world.demand("mx.sink.test").await.is_err().then_some(())).await;
    world.record("3");
    world.web.policy("none", &[]);
    world.later().await;
    wait_until("it is taken back", async || world.demand("mx.sink.test").await.is_ok().then_some(())).await;
    assert_eq!(world.demand("mx.sink.test").await, Ok(TlsDemand::Opportunistic));
    assert_eq!(world.web.asked(), 3);
}

#[tokio::test]
async fn a_web_host_that_never_answers_holds_mail_up_for_seconds_and_once() {
    let authority = Authority::new();
    let zone = Zone::start(anywhere()).await.unwrap();
    // The system takes connections, and nobody says a word on them.
    let silent = tokio::net::TcpListener::bind(anywhere()).await.unwrap();
    let clock = ManualClock::at(START);
    let policies = policies_at(&zone, silent.local_addr().unwrap().port(), &authority, &clock, true);
    zone.a("mta-sts.sink.test", local(1));
    zone.txt("_mta-sts.sink.test", "v=STSv1; id=1;");
    let began = std::time::Instant::now();
    let both = tokio::join!(demand(&policies, "mx.sink.test"), demand(&policies, "backup.sink.test"));
    assert_eq!(both, (Ok(TlsDemand::Opportunistic), Ok(TlsDemand::Opportunistic)));
    let waited = began.elapsed();
    assert!(waited >= MAIL_WAITS && waited < PATIENCE, "{waited:?}");
    clock.advance(MAIL_WAITS);
    let began = std::time::Instant::now();
    assert_eq!(demand(&policies, "mx.sink.test").await, Ok(TlsDemand::Opportunistic));
    assert!(began.elapsed() < MAIL_WAITS, "the look goes on, and mail has waited enough: {:?}", began.elapsed());
}

#[tokio::test]
async fn requiretls_goes_to_hosts_that_the_policy_names_whatever_the_operator_says() {
    let world = World::start().await;
    let required = async |host: &str| demand_for(&world.policies, host, TlsPolicy::Off, TlsWish::Required).await;
    assert!(required("mx.sink.test").await.unwrap_err().detail.contains("REQUIRETLS"), "nobody vouches for it");
    assert_eq!(required("sink.test").await, verified("sink.test"), "the domain itself");
    world.later().await;
    world.record("1");
    world.web.policy("testing", &["mx.sink.test"]);
    assert_eq!(required("mx.sink.test").await, verified("mx.sink.test"));
    assert!(required("evil.test").await.is_err());
    assert_eq!(world.policies.counts().into_iter().collect::<Vec<_>>(), [(("sts", "testing"), 1)]);
    assert!(world.counted().is_empty(), "nothing was tried yet");
}

#[tokio::test]
async fn policies_in_use_are_kept_fresh_without_mail() {
    let world = World::start().await;
    world.record("1");
    world.web.policy("enforce", &["mx.sink.test"]);
    assert!(world.demand("mx.sink.test").await.is_ok());
    world.policies.freshen().await;
    assert_eq!(world.web.asked(), 1, "fresh enough");
    world.clock.advance(Duration::from_secs(25 * 3600));
    world.policies.freshen().await;
    assert_eq!(world.web.asked(), 2);
    world.policies.freshen().await;
    assert_eq!(world.web.asked(), 2);
}

#[tokio::test]
async fn what_is_no_policy_demands_nothing_and_is_counted() {
    let world = World::start().await;
    let policy = "version: STSv1\nmode: enforce\nmx: other.sink.test\nmax_age: 86400\n";
    let long = format!("{policy}{}", "x: y\n".repeat(20_000));
    let answers = [
        ("301 Moved", "text/plain\r\nLocation: /", policy, "sts-policy-fetch-error"),
        ("404 Not Found", "text/plain", policy, "sts-policy-fetch-error"),
        ("200 OK", "text/html", policy, "sts-policy-invalid"),
        ("200 OK", "text/plain", "version: STSv1\nmode: enforce\n", "sts-policy-invalid"),
        ("200 OK", "text/plain", &long, "sts-policy-invalid"),
    ];
    for (at, (status, kind, body, result)) in answers.into_iter().enumerate() {
        world.clock.advance(Duration::from_secs(24 * 3600));
        world.record(&at.to_string());
        world.web.say(status, kind, body);
        assert_eq!(world.demand("mx.sink.test").await, Ok(TlsDemand::Opportunistic), "{status} {kind}");
        assert_eq!(world.web.asked(), at as u64 + 1, "asked once, nothing followed");
        assert_eq!(world.counted(), [(result.to_owned(), 1)], "{status} {kind}");
    }
    world.web.say("200 OK", "text/plain", policy);
    assert_eq!(world.demand("mx.sink.test").await, Ok(TlsDemand::Opportunistic), "tried again in a while");
    world.later().await;
    assert!(world.demand("mx.sink.test").await.is_err());
}

#[tokio::test]
async fn a_web_host_is_believed_by_its_certificate_only() {
    let elsewhere = World::with(Authority::new(), &["sink.test"], true).await;
    let unknown = World::start().await;
    let stranger = Authority::new();
    let unknown_policies = policies(&unknown.zone, &unknown.web, &stranger, &unknown.clock, true);
    for world in [&elsewhere, &unknown] {
        world.record("1");
        world.web.policy("enforce", &["other.sink.test"]);
    }
    assert_eq!(elsewhere.demand("mx.sink.test").await, Ok(TlsDemand::Opportunistic));
    assert_eq!(elsewhere.counted(), [("sts-webpki-invalid".to_owned(), 1)]);
    assert_eq!(demand(&unknown_policies, "mx.sink.test").await, Ok(TlsDemand::Opportunistic));
    let (_, counted) = unknown_policies.reports().of(day_of(START)).remove(0);
    assert_eq!(counted.policies[0].failures[0].result, "sts-webpki-invalid");
    assert!(unknown.web.requests().is_empty() && elsewhere.web.requests().is_empty(), "nothing was said to them");
}

#[tokio::test]
async fn a_strangers_record_leads_to_no_address_of_our_own() {
    let world = World::with(Authority::new(), &["mta-sts.sink.test"], false).await;
    world.record("1");
    world.web.policy("enforce", &["other.sink.test"]);
    assert_eq!(world.demand("mx.sink.test").await, Ok(TlsDemand::Opportunistic));
    assert_eq!(world.web.asked(), 0);
    assert_eq!(world.counted(), [("sts-policy-fetch-error".to_owned(), 1)]);
}

#[tokio::test]
async fn what_came_of_it_is_counted_by_policy() {
    let world = World::start().await;
    world.record("1");
    world.web.policy("testing", &["mx.sink.test"]);
    let (of, address) = (domain("sink.test"), "192.0.2.1:25".parse().ok());
    let clear = || TlsOutcome::Failed { result: TlsResult::StarttlsNotSupported, detail: String::new() };
    for (host, times) in [("mx.sink.test", 2), ("evil.test", 1)] {
        assert!(world.demand(host).await.is_ok_and(|demand| demand.may_be_clear()));
        let host = HostPort { host: Host::Name(domain(host)), port: 25 };
        let (configured, wish) = (TlsPolicy::default(), TlsWish::None);
        let asked = Asked { domain: &of, host: &host, pinned: false, configured, wish };
        for _ in 0..times {
            let (demand, outcome) = (Some(&TlsDemand::Opportunistic), &clear());
            world.policies.concluded(&Concluded { asked, demand, local: address, remote: address, outcome });
        }
        let pinned = Asked { pinned: true, ..asked };
        let outcome = &TlsOutcome::NotTried;
        world.policies.concluded(&Concluded { asked: pinned, demand: None, local: None, remote: None, outcome });
    }
    let expected = [("starttls-not-supported".to_owned(), 2), ("validation-failure".to_owned(), 1)];
    assert_eq!(world.counted(), expected);
}

/// Receivers at 127.0.0.21 and 127.0.0.22 on the same port: MX records name hosts, not ports.
async fn two_receivers(first: &Identity, second: &Identity) -> (Sink, Sink) {
    let with = |identity: &Identity| SinkOptions { tls: Some(identity.server()), ..SinkOptions::default() };
    loop {
        let one = Sink::start_with(SocketAddr::new(local(21), 0), with(first)).await.unwrap();
        let beside = SocketAddr::new(local(22), one.addr().port());
        if let Ok(two) = Sink::start_with(beside, with(second)).await {
            return (one, two);
        }
    }
}

#[tokio::test]
async fn an_enforced_policy_keeps_mail_from_hosts_that_do_not_keep_to_it_also_after_a_restart() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let names = ["good.test", "bad.test", "forged.test"];
    let web = Web::start(&authority.identity(&["mta-sts.good.test", "mta-sts.bad.test", "mta-sts.forged.test"])).await;
    web.policy("enforce", &["mx.good.test", "mx.bad.test"]);
    let (good, bad) = two_receivers(&authority.identity(&["mx.good.test"]), &stranger.identity(&["mx.bad.test"])).await;
    let zone = Zone::start(anywhere()).await.unwrap();
    for (domain, host, last) in
        [("good.test", "mx.good.test", 21), ("bad.test", "mx.bad.test", 22), ("forged.test", "mx.evil.test", 22)]
    {
        zone.mx(domain, 10, host).unwrap();
        zone.a(host, local(last));
        zone.a(&format!("mta-sts.{domain}"), local(1));
        zone.txt(&format!("_mta-sts.{domain}"), "v=STSv1; id=1;");
    }
    let settings = Settings::new()
        .binding("a", 11, "")
        .pool("active = [\"a\"]")
        .set("dns", "servers", &format!("[\"{}\"]", zone.addr()))
        .set("dns", "timeout", "\"2s\"")
        .set("delivery", "port", &good.addr().port().to_string())
        .set("delivery", "allow_private_mx", "true")
        .set("delivery", "tls_roots", &format!("{:?}", authority.path()))
        .set("delivery", "mta_sts_port", &web.address.port().to_string());
    let mut relay = Relay::start(&settings).await;
    let to = move |at: u64| vec![format!("u@{}", names[at as usize % 3])];
    all_accepted(&relay.load(6).recipients(to).run().await);
    wait_for_messages(&good, 2).await;
    assert!(good.log().iter().all(|taken| taken.tls));
    let waiting = async |relay: &Relay| {
        let entries = relay.queue().await;
        let replies: Vec<String> =
            entries.iter().filter_map(|entry| entry["last_reply"].as_str().map(str::to_owned)).collect();
        (replies.len() == 4).then_some(replies)
    };
    let replies = wait_until("the other four wait", async || waiting(&relay).await).await;
    let of = |what: &str| replies.iter().filter(|reply| reply.contains(what)).count();
    assert_eq!((of("does not name mx.evil.test"), of("tls at ")), (2, 4), "{replies:#?}");
    assert_eq!(bad.messages(), 0);
    assert_eq!(web.asked(), 3, "once for each domain");

    // A graceful stop writes what is known; then neither record nor web host is there any more.
    assert!(relay.term().await.success());
    drop(web);
    names.iter().for_each(|name| zone.remove(&format!("_mta-sts.{name}")));
    relay.restart(&settings).await;
    let seen: Value = serde_json::from_str(&relay.get("/api/v1/policies/forged.test").await).unwrap();
    assert_eq!((&seen["sts"]["mode"], &seen["hosts"][0]["demand"]), (&"enforce".into(), &"no mail".into()), "{seen:#}");
    all_accepted(&relay.load(3).first(6).recipients(to).run().await);
    wait_for_messages(&good, 3).await;
    assert_eq!(bad.messages(), 0);
    let reports: Value = serde_json::from_str(&relay.get("/api/v1/tls-reports?domain=bad.test").await).unwrap();
    let failures = &reports["reports"][0]["policies"][0]["failure-details"];
    assert_eq!(failures[0]["result-type"], "certificate-not-trusted", "{reports:#}");
}
