//! TLS with hosts on loopback: what is taken, what is refused, and what happens to the mail then.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::super::testing::{Authority, Sink, delivery, script};
use super::tests::{codes, connector, order, plan};
use super::*;
use crate::config::{Host, HostPort, TlsPolicy};
use crate::delivery::plan::MxPlan;
use crate::delivery::tls::demand::{TlsDemand, TlsOutcome, TlsResult, TlsSession, Verified};
use crate::delivery::tls::policy::{Asked, Concluded, Demanding, Excluded};
use crate::message::TlsWish;
use crate::outcome::failure::FailureKind;

const OFFER: (&str, Option<&str>) = ("EHLO", Some("250-sink.test|250-STARTTLS|250 PIPELINING|"));
const DONE: [&str; 1] = ["end_of_data 250"];

fn settings(tls: TlsPolicy, roots: Option<PathBuf>) -> Delivery {
    Delivery { tls, tls_roots: roots, ..delivery() }
}

fn result(report: &Report) -> &'static str {
    report.tls.outcome.as_str()
}

#[tokio::test]
async fn tls_is_taken_where_it_is_offered_whatever_the_certificate() {
    let sink = Sink::start_with(script(&[OFFER]), Some(Authority::new().host(&["other.test"], |_| {}))).await;
    let connector = connector(&settings(TlsPolicy::Opportunistic, None));
    let plan = plan(&[sink.address]);
    for reused in [false, true, true] {
        let report = connector.attempt(order("127.0.0.21", &plan, 2)).await;
        assert_eq!(codes(&report), ["end_of_data 250", "end_of_data 250"]);
        assert_eq!(report.reused, reused, "a ticket that came meanwhile is no reason to give a connection up");
        let TlsOutcome::Session(session) = &report.tls.outcome else { panic!("{:?}", report.tls) };
        let expected = TlsSession {
            version: "TLSv1.3",
            cipher: "TLS_AES_256_GCM_SHA384",
            group: Some("X25519MLKEM768"),
            verified: Verified::No,
        };
        assert_eq!(*session, expected);
    }
    assert_eq!(sink.seen.lock().bodies, ["Subject: x\r\n\r\n.hello\r\n"; 3]);
    let commands = sink.seen.lock().commands.clone();
    assert_eq!(commands[..3], ["EHLO me.test", "STARTTLS", "EHLO me.test"], "what was offered before is asked again");
}

#[tokio::test]
async fn off_means_off() {
    let sink = Sink::start_with(script(&[OFFER]), Some(Authority::new().host(&["127.0.0.1"], |_| {}))).await;
    let connector = connector(&settings(TlsPolicy::Off, None));
    let report = connector.attempt(order("127.0.0.21", &plan(&[sink.address]), 1)).await;
    assert_eq!((codes(&report), result(&report), sink.commands("STARTTLS")), (vec![DONE[0].to_owned()], "none", 0));
}

#[tokio::test]
async fn a_failed_handshake_costs_one_connection_and_no_mail() {
    // Says 220 and then speaks SMTP on.
    let sink = Sink::start(script(&[OFFER])).await;
    let connector = connector(&Delivery { keep_idle: Duration::ZERO, ..settings(TlsPolicy::Opportunistic, None) });
    let plan = plan(&[sink.address]);
    for (tls, connections) in [("validation-failure", 2), ("validation-failure", 4), ("none", 5), ("none", 6)] {
        let report = connector.attempt(order("127.0.0.21", &plan, 1)).await;
        assert_eq!((codes(&report), result(&report)), (vec![DONE[0].to_owned()], tls));
        assert_eq!(sink.connections(), connections);
    }
    assert_eq!(sink.commands("STARTTLS"), 2, "remembered from the second time on");
}

#[tokio::test]
async fn mail_waits_where_tls_fails_and_nothing_else_is_taken() {
    let table = [OFFER, ("MAIL", Some("530 5.7.0 Must issue a STARTTLS command first|"))];
    let sink = Sink::start(script(&table)).await;
    let connector = connector(&Delivery { keep_idle: Duration::ZERO, ..settings(TlsPolicy::Opportunistic, None) });
    let plan = plan(&[sink.address]);
    for attempts in 1..=2 {
        let report = connector.attempt(order("127.0.0.21", &plan, 1)).await;
        assert_eq!((codes(&report), sink.commands("STARTTLS")), (vec!["tls tls".to_owned()], attempts));
    }
    // Who has never failed is taken at its word.
    let plain = Sink::start(script(&table[1..])).await;
    let report = connector.attempt(order("127.0.0.21", &tests::plan(&[plain.address]), 1)).await;
    assert_eq!(codes(&report), ["mail 530"]);
}

#[tokio::test]
async fn a_refused_starttls_is_no_reason_to_hang_up() {
    for (reply, expected, connections) in [("454 4.7.0 not now|", DONE[0], 1), ("421 4.3.2 bye|", "tls 421", 1)] {
        let sink = Sink::start(script(&[OFFER, ("STARTTLS", Some(reply))])).await;
        let connector = connector(&settings(TlsPolicy::Opportunistic, None));
        let report = connector.attempt(order("127.0.0.21", &plan(&[sink.address]), 1)).await;
        assert_eq!((codes(&report), sink.connections()), (vec![expected.to_owned()], connections), "{reply}");
    }
}

#[tokio::test]
async fn words_slipped_in_before_the_handshake_count_for_nothing() {
    let table = [OFFER, ("STARTTLS", Some("220 go|250-evil|250 SIZE 1|"))];
    for (tls, expected) in [(TlsPolicy::Opportunistic, DONE[0]), (TlsPolicy::Required, "tls tls")] {
        let sink = Sink::start_with(script(&table), Some(Authority::new().host(&["127.0.0.1"], |_| {}))).await;
        let connector = connector(&settings(tls, None));
        let report = connector.attempt(order("127.0.0.21", &plan(&[sink.address]), 1)).await;
        assert_eq!((codes(&report), result(&report)), (vec![expected.to_owned()], "validation-failure"));
    }
}

#[tokio::test]
async fn required_never_goes_in_the_clear_and_blames_the_host() {
    let authority = Authority::new();
    let (plain, good) =
        (Sink::start(script(&[])).await, Sink::start_with(script(&[OFFER]), Some(authority.host(&[], |_| {}))).await);
    let broken = Sink::start(script(&[OFFER])).await;
    let connector = connector(&settings(TlsPolicy::Required, None));
    let report = connector.attempt(order("127.0.0.21", &plan(&[plain.address, broken.address, good.address]), 1)).await;
    assert_eq!(
        (codes(&report), result(&report)),
        (vec![DONE[0].to_owned()], "encrypted"),
        "the next host may do better"
    );
    for (sink, expected) in [(&plain, "starttls-not-supported"), (&broken, "validation-failure")] {
        for is_news in [true, false] {
            let report = connector.attempt(order("127.0.0.21", &plan(&[sink.address]), 1)).await;
            assert_eq!((codes(&report), result(&report)), (vec!["tls tls".to_owned()], expected));
            let [Answer::Failure(failure)] = report.answers.as_slice() else { panic!("{report:?}") };
            assert!(failure.kind == FailureKind::Tls && failure.detail.contains("127.0.0.1"), "{failure}");
            // The first attempt met both once already.
            assert!(!report.tls.is_news || is_news);
        }
        assert_eq!(sink.commands("MAIL"), 0);
    }
}

#[tokio::test]
async fn verified_takes_a_certificate_of_an_authority_for_the_hosts_name_and_no_other() {
    let (authority, other) = (Authority::new(), Authority::new());
    let roots = authority.file();
    let past = |params: &mut rcgen::CertificateParams| params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let in_cn_only = |params: &mut rcgen::CertificateParams| {
        params.distinguished_name.push(rcgen::DnType::CommonName, "127.0.0.1");
    };
    for (host, expected) in [
        (authority.host(&["127.0.0.1"], |_| {}), "verified"),
        (authority.host(&["mx.other.test", "127.0.0.1"], |_| {}), "verified"),
        (authority.host(&["mx.other.test"], in_cn_only), "certificate-host-mismatch"),
        (authority.host(&["127.0.0.2"], |_| {}), "certificate-host-mismatch"),
        (authority.host(&["127.0.0.1"], past), "certificate-expired"),
        (other.host(&["127.0.0.1"], |_| {}), "certificate-not-trusted"),
    ] {
        let sink = Sink::start_with(script(&[OFFER]), Some(host)).await;
        let connector = connector(&settings(TlsPolicy::Verified, Some(roots.path().to_owned())));
        let report = connector.attempt(order("127.0.0.21", &plan(&[sink.address]), 1)).await;
        assert_eq!(result(&report), expected, "{report:?}");
        let answer = if expected == "verified" { DONE[0] } else { "tls tls" };
        assert_eq!((codes(&report), sink.connections()), (vec![answer.to_owned()], 1));
    }
}

#[tokio::test]
async fn without_authorities_only_verified_mail_waits_and_says_why_until_they_are_there() {
    let authority = Authority::new();
    let sink = Sink::start_with(script(&[OFFER]), Some(authority.host(&["127.0.0.1"], |_| {}))).await;
    let empty = tempfile::NamedTempFile::new().expect("file");
    let roots = Some(empty.path().to_owned());
    let connector = |tls| connector(&settings(tls, roots.clone()));
    let plan = plan(&[sink.address]);
    let report = connector(TlsPolicy::Required).attempt(order("127.0.0.21", &plan, 1)).await;
    assert_eq!(result(&report), "encrypted");
    let verified = connector(TlsPolicy::Verified);
    let report = verified.attempt(order("127.0.0.21", &plan, 1)).await;
    let [Answer::Failure(failure)] = report.answers.as_slice() else { panic!("{report:?}") };
    assert!(failure.kind == FailureKind::Tls && failure.detail.contains("tls_roots"), "{failure}");
    // They are there now, and nobody has to tell.
    std::fs::copy(authority.file().path(), empty.path()).expect("written");
    let report = verified.attempt(order("127.0.0.21", &plan, 1)).await;
    assert_eq!((codes(&report), result(&report)), (vec![DONE[0].to_owned()], "verified"));
}

#[tokio::test]
async fn a_host_that_no_longer_offers_tls_is_told_once() {
    let offers = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let (inner, flag) = (script(&[]), Arc::clone(&offers));
    let changing = move |line: &str| {
        let offering = line.starts_with("EHLO") && flag.load(Ordering::SeqCst);
        if offering { Some("250-sink\r\n250 STARTTLS\r\n".to_owned()) } else { inner(line) }
    };
    let sink = Sink::start_with(Arc::new(changing), Some(Authority::new().host(&[], |_| {}))).await;
    let connector = connector(&Delivery { keep_idle: Duration::ZERO, ..settings(TlsPolicy::Opportunistic, None) });
    for (offered, gone) in [(true, false), (false, true), (false, false)] {
        offers.store(offered, Ordering::SeqCst);
        let report = connector.attempt(order("127.0.0.21", &plan(&[sink.address]), 1)).await;
        assert_eq!((codes(&report), report.tls.offer_gone), (vec![DONE[0].to_owned()], gone));
    }
}

fn with_wish(wish: TlsWish, plan: &Arc<MxPlan>) -> Order {
    let mut order = order("127.0.0.21", plan, 1);
    order.wishes.tls = wish;
    order
}

#[tokio::test]
async fn requiretls_goes_only_where_it_is_promised_on() {
    let authority = Authority::new();
    let roots = Some(authority.file());
    let path = roots.as_ref().map(|file| file.path().to_owned());
    let host = || Some(authority.host(&["127.0.0.1"], |_| {}));
    let promise = ("EHLO", Some("250-sink.test|250-STARTTLS|250 REQUIRETLS|"));
    let (plain, without) = (Sink::start(script(&[])).await, Sink::start_with(script(&[OFFER]), host()).await);
    let good = Sink::start_with(script(&[promise]), host()).await;
    let untrusted = Sink::start_with(script(&[promise]), Some(Authority::new().host(&["127.0.0.1"], |_| {}))).await;
    let connector = connector(&settings(TlsPolicy::Opportunistic, path));
    let code = |report: &Report| match report.answers.as_slice() {
        [Answer::Reply(_, reply)] => reply.enhanced.map(|code| code.to_string()).unwrap_or_default(),
        other => format!("{other:?}"),
    };
    for (hosts, expected) in [
        (vec![plain.address], "5.7.10"),
        (vec![without.address], "5.7.30"),
        (vec![plain.address, without.address], "5.7.30"),
    ] {
        let report = connector.attempt(with_wish(TlsWish::Required, &plan(&hosts))).await;
        assert_eq!((code(&report).as_str(), codes(&report)), (expected, vec!["mail 550".to_owned()]));
    }
    // What is refused for now, a host whose address nobody knows now, or one that was not asked keeps the mail alive.
    let later = Sink::start(script(&[promise, ("STARTTLS", Some("454 4.7.0 not now|"))])).await;
    let report = connector.attempt(with_wish(TlsWish::Required, &plan(&[later.address]))).await;
    assert_eq!(codes(&report), ["tls tls"]);
    let mut unknown = MxPlan::clone(&plan(&[plain.address]));
    let nowhere = Host::Name("gone.test".parse().expect("domain"));
    for at in [0, 1] {
        unknown.hosts.insert(at, vec![HostPort { host: nowhere.clone(), port: 25 }]);
        let report = connector.attempt(with_wish(TlsWish::Required, &Arc::new(unknown.clone()))).await;
        assert_eq!(codes(&report), ["connect no_address"]);
        unknown.hosts.remove(at);
    }
    let few = Delivery { max_addresses: 1, ..settings(TlsPolicy::Opportunistic, None) };
    let both = plan(&[plain.address, good.address]);
    let report = tests::connector(&few).attempt(with_wish(TlsWish::Required, &both)).await;
    assert_eq!(codes(&report), ["tls tls"]);
    // As does one that may come to its senses.
    let report = connector.attempt(with_wish(TlsWish::Required, &plan(&[untrusted.address, without.address]))).await;
    assert_eq!(codes(&report), ["tls tls"]);
    let all = plan(&[plain.address, without.address, good.address]);
    let report = connector.attempt(with_wish(TlsWish::Required, &all)).await;
    assert_eq!((codes(&report), result(&report)), (vec![DONE[0].to_owned()], "verified"));
    assert_eq!((good.commands("MAIL FROM:<> REQUIRETLS"), plain.commands("MAIL"), without.commands("MAIL")), (1, 0, 0));
}

#[tokio::test]
async fn connections_are_used_again_only_under_the_same_demand() {
    let authority = Authority::new();
    let roots = authority.file();
    let promise = ("EHLO", Some("250-sink.test|250-STARTTLS|250 REQUIRETLS|"));
    let sink = Sink::start_with(script(&[promise]), Some(authority.host(&["127.0.0.1"], |_| {}))).await;
    let connector = connector(&settings(TlsPolicy::Opportunistic, Some(roots.path().to_owned())));
    let plan = plan(&[sink.address]);
    for (wish, reused, tls) in [
        (TlsWish::None, false, "encrypted"),
        (TlsWish::Required, false, "verified"),
        (TlsWish::Required, true, "verified"),
        (TlsWish::None, true, "encrypted"),
        (TlsWish::Dispensable, true, "encrypted"),
    ] {
        let report = connector.attempt(with_wish(wish, &plan)).await;
        assert_eq!((report.reused, result(&report)), (reused, tls), "{wish:?}");
    }
    assert_eq!((sink.connections(), sink.commands("MAIL FROM:<> REQUIRETLS")), (2, 2));
}

/// Excludes one port, demands the same of the others, and remembers what it was told.
#[derive(Debug)]
struct Policies {
    excluded: u16,
    demand: TlsDemand,
    told: Mutex<Vec<String>>,
}

impl Policies {
    fn demanding(demand: TlsDemand, excluded: u16) -> Self {
        Self { excluded, demand, told: Mutex::default() }
    }
}

impl Demands for Policies {
    fn demand<'a>(&'a self, asked: Asked<'a>) -> Demanding<'a> {
        let excluded = asked.host.port == self.excluded;
        Box::pin(async move {
            assert_eq!(asked.domain.as_str(), "sink.test");
            let detail = "not in the policy".to_owned();
            let refused = Excluded { result: TlsResult::ValidationFailure, detail };
            if excluded { Err(refused) } else { Ok(self.demand.clone()) }
        })
    }

    fn concluded(&self, seen: &Concluded<'_>) {
        self.told.lock().push(format!("{} {}", seen.asked.host.port, seen.outcome.as_str()));
    }
}

#[tokio::test]
async fn policies_are_asked_of_each_host_and_told_what_came_of_it() {
    let tls = || Some(Authority::new().host(&["127.0.0.1"], |_| {}));
    let (first, plain) = (Sink::start_with(script(&[OFFER]), tls()).await, Sink::start(script(&[])).await);
    let last = Sink::start_with(script(&[OFFER]), tls()).await;
    let policies = Arc::new(Policies::demanding(TlsDemand::Encrypted, first.address.port()));
    let connector = DirectConnector {
        demands: Arc::clone(&policies) as Arc<dyn Demands>,
        ..connector(&settings(TlsPolicy::Opportunistic, None))
    };
    let hosts = [first.address, plain.address, last.address];
    let report = connector.attempt(order("127.0.0.21", &plan(&hosts), 1)).await;
    assert_eq!((codes(&report), report.remote), (vec![DONE[0].to_owned()], Some(last.address)));
    let port = |at: SocketAddr| HostPort { host: Host::Address(at.ip()), port: at.port() }.port;
    let expected = [
        format!("{} validation-failure", port(first.address)),
        format!("{} starttls-not-supported", port(plain.address)),
        format!("{} encrypted", port(last.address)),
    ];
    assert_eq!(*policies.told.lock(), expected);
    assert_eq!((first.connections(), plain.commands("MAIL")), (0, 0));
    for is_news in [true, false] {
        let report = connector.attempt(order("127.0.0.21", &plan(&hosts[..1]), 1)).await;
        assert_eq!(codes(&report), ["tls tls"], "no host is left");
        assert_eq!(report.tls.is_news, is_news, "of the domain, once an hour");
    }
}

#[tokio::test]
async fn what_a_policy_in_testing_has_against_a_certificate_is_told_and_the_mail_goes() {
    let authority = Authority::new();
    let roots = authority.file();
    let old = |params: &mut rcgen::CertificateParams| params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    for (host, verified) in [
        (authority.host(&["mx.sink.test"], |_| {}), Verified::WebPki),
        (authority.host(&["127.0.0.1"], |_| {}), Verified::Doubtful(TlsResult::CertificateHostMismatch)),
        (authority.host(&["mx.sink.test"], old), Verified::Doubtful(TlsResult::CertificateExpired)),
        (Authority::new().host(&["mx.sink.test"], |_| {}), Verified::Doubtful(TlsResult::CertificateNotTrusted)),
    ] {
        let sink = Sink::start_with(script(&[OFFER]), Some(host)).await;
        let watched = TlsDemand::Watched { names: vec![Arc::from("mx.sink.test")], may_be_clear: true };
        let settings = settings(TlsPolicy::Opportunistic, Some(roots.path().to_owned()));
        let connector = DirectConnector { demands: Arc::new(Policies::demanding(watched, 0)), ..connector(&settings) };
        let report = connector.attempt(order("127.0.0.21", &plan(&[sink.address]), 1)).await;
        assert_eq!((codes(&report), sink.connections()), (vec![DONE[0].to_owned()], 1));
        let TlsOutcome::Session(session) = &report.tls.outcome else { panic!("{report:?}") };
        assert_eq!(session.verified, verified);
    }
}

#[tokio::test]
async fn sessions_in_the_clear_since_tls_failed_lately_are_told_too() {
    let sink = Sink::start(script(&[OFFER])).await;
    let policies = Arc::new(Policies::demanding(TlsDemand::Opportunistic, 0));
    let settings = Delivery { keep_idle: Duration::ZERO, ..settings(TlsPolicy::Opportunistic, None) };
    let demands = Arc::clone(&policies) as Arc<dyn Demands>;
    let connector = DirectConnector { demands, ..connector(&settings) };
    for _ in 0..3 {
        let report = connector.attempt(order("127.0.0.21", &plan(&[sink.address]), 1)).await;
        assert_eq!(codes(&report), DONE);
    }
    let told: Vec<String> =
        policies.told.lock().iter().filter_map(|told| Some(told.split_once(' ')?.1.into())).collect();
    assert_eq!(told, ["validation-failure", "validation-failure", "none"]);
}
