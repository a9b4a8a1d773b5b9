//! The desk over a spool in memory and a reader that is told what to read.

use std::sync::LazyLock;

use bytes::Bytes;

use super::super::read::{Complaint, Place, Reported};
use super::super::token::{Attempted, Keys};
use super::*;
use crate::clock::{Clock, ManualClock};
use crate::config::Config;
use crate::delivery::{Connector, Order, Report, Resolver, Routing};
use crate::message::{Mailbox, Wishes};
use crate::outcome::Classifier;
use crate::queue::core::Core;
use crate::queue::dispatcher::Parts;
use crate::store::Spool;
use crate::store::committer::{CommitThread, Committer};
use crate::store::memory::MemorySpool;
use crate::telemetry::Metrics;
use crate::telemetry::events;

/// Mail waits: nobody delivers it.
struct Nowhere;

impl Connector for Nowhere {
    fn attempt(&self, _: Order) -> std::pin::Pin<Box<dyn Future<Output = Report> + Send + '_>> {
        Box::pin(std::future::pending())
    }
}

/// `dsn ADDRESS`, `arf MARK`, or anything.
fn reader(body: &[u8], _: &str) -> Mail {
    let text = String::from_utf8_lossy(body).into_owned();
    let mut words = text.split_ascii_whitespace();
    let mut mail = Mail { kind: Kind::NotABounce, recipients: Vec::new(), complaint: None, marks: Vec::new() };
    match (words.next(), words.next()) {
        (Some("dsn"), to) => {
            mail.kind = Kind::Dsn;
            mail.recipients.push(Reported {
                action: Some("failed".into()),
                final_recipient: to.map(str::to_owned),
                diagnostic: Some("550 5.1.1 no such user".into()),
                ..Reported::default()
            });
        }
        (Some("arf"), mark) => {
            mail.kind = Kind::Arf;
            mail.complaint = Some(Complaint { feedback_type: "abuse".into(), incidents: 1, ..Complaint::default() });
            mail.marks.extend(mark.map(|mark| (Place::Header, mark.to_owned())));
        }
        _ => {}
    }
    mail
}

/// Compiled once: that takes longer than all the tests.
static CLASSIFIER: LazyLock<Arc<Classifier>> = LazyLock::new(|| Arc::new(Classifier::shipped()));

struct Rig {
    desk: Arc<Desk>,
    dispatcher: Arc<Dispatcher>,
    spool: Arc<MemorySpool>,
    clock: ManualClock,
    keys: Keys,
    home: tempfile::TempDir,
    _thread: CommitThread,
}

const START: Wall = Wall::from_millis(1_795_000_000_000);

impl Rig {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("directory");
        let config = Config::from_toml(&format!(
            "[server]\nhostname = \"relay.example.net\"\nstate_dir = {:?}\n\
             [[listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"127.0.0.0/8\"]\n\
             [binding.m1]\nbind_address = \"127.0.0.11\"\nehlo_hostname = \"m1.example.net\"\n\
             [pool.main]\nactive = [\"m1\"]\n\
             [tenant.acme]\nmatch = {{ sender_domain = [\"acme.example\"] }}\npools = {{ default = \"main\" }}\n\
             return_path_domain = \"bounces.acme.example\"\n\
             [feedback]\naddresses = [\"fbl@relay.example.net\"]\nunattributed_kept = 3\n",
            home.path()
        ))
        .expect("the configuration is good");
        let spool = Arc::new(MemorySpool::new());
        let clock = ManualClock::at(START);
        let (core, _) = Core::new(&config, &[], &[], 1, clock.now());
        let (committer, thread) = Committer::start(Arc::clone(&spool) as Arc<dyn Spool>, |_| {}).expect("a thread");
        let routing = Routing::new(&config.server.hostname, &config.delivery, Vec::new(), &config.destination_routes);
        let keys = Keys::parse(&Keys::file_text([7; 32])).expect("a key");
        let dispatcher = Dispatcher::new(Parts {
            core,
            clock: Arc::new(clock.clone()) as Arc<dyn Clock>,
            spool: Arc::clone(&spool) as Arc<dyn Spool>,
            committer,
            connector: Arc::new(Nowhere),
            resolver: Arc::new(Resolver::new(&config.dns, routing).expect("a resolver")),
            classifier: Arc::clone(&CLASSIFIER),
            texts: crate::outcome::dsn::Texts::default(),
            metrics: Arc::new(Metrics::new().expect("metrics")),
            directory: Some(Arc::new(Directory::new(keys.clone(), &config))),
            config: Arc::new(config),
            seed: 1,
        });
        let mut desk = Desk::new(&dispatcher).expect("reports are taken");
        desk.reader = reader;
        Self { desk: Arc::new(desk), dispatcher, spool, clock, keys, home, _thread: thread }
    }

    /// A message delivered an hour ago, and its mark. Its sender is on disk where `known`.
    async fn delivered(&self, recipients: u8, known: bool) -> (MessageId, String) {
        let message = MessageId(self.dispatcher.next_id());
        self.clock.advance(Duration::from_secs(3600));
        let attempted = Attempted {
            message,
            at: message.time(),
            recipients,
            tenant: "acme".into(),
            pool: "main".into(),
            binding: "m1".into(),
            destination: None,
        };
        if known {
            let sender = Sender { address: "news@acme.example".parse().expect("valid"), tenant: "acme".into() };
            self.dispatcher.note(vec![Op::PutFact(Sender::key(message), sender.to_json())]).await.expect("written");
        }
        (message, self.keys.seal(&attempted))
    }

    async fn report(&self, to: &str, body: &str) -> Result<MessageId, Refusal> {
        let transaction = Transaction {
            listener: 0,
            client: "203.0.113.9:4000".parse().expect("valid"),
            trusted: false,
            helo: "mx.receiver.example".into(),
            esmtp: true,
            reverse_path: None,
            recipients: vec![to.parse::<Mailbox>().expect("valid").into()],
            report: true,
            body: Bytes::from(format!("{body}\r\n")),
            eight_bit: false,
            wishes: Wishes::NONE,
            tls: None,
            auth_user: None,
            submission: false,
        };
        self.desk.take(transaction).await
    }

    /// Verdicts and what became of the mails, in order of the events.
    fn seen(&self) -> Vec<String> {
        let word = |event: &events::Event, name: &str| event.fields.get(name).cloned().unwrap_or_default();
        let events = self.dispatcher.events().last(Some(events::Kind::Report), 100);
        events.iter().map(|event| format!("{} {}", word(event, "verdict"), word(event, "mail"))).collect()
    }

    fn waiting(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        self.spool.recover(&mut |entry| entries.push(entry)).expect("recovers");
        entries
    }

    fn kept(&self, ring: Ring) -> usize {
        std::fs::read_dir(self.home.path().join(ring.directory())).map_or(0, Iterator::count)
    }
}

#[tokio::test]
async fn a_bounce_goes_on_to_the_sender_and_its_copy_does_not() {
    let rig = Rig::new();
    let (_, mark) = rig.delivered(1, true).await;
    let to = format!("b-{mark}@bounces.acme.example");
    assert_eq!(rig.desk.addressee(&to.parse().expect("valid")), Ok(Addressee::Reports { max_bytes: 10 << 20 }));
    let id = rig.report(&to, "dsn bob@x.example").await.expect("taken");
    rig.report(&to, "dsn Bob@X.example").await.expect("taken");
    assert_eq!(rig.seen(), ["booked passed_on", "duplicate noted"]);
    let [entry] = &rig.waiting()[..] else { panic!("one mail") };
    assert_eq!((entry.message, entry.reverse_path.as_ref()), (id, None));
    assert_eq!(entry.recipients[0].address.as_str(), "news@acme.example");
    assert_eq!((entry.tenant.as_str(), entry.stream.as_str(), entry.pool.as_str()), ("acme", "default", "main"));
    let body = rig.spool.body(id).expect("readable").expect("there");
    let body = String::from_utf8_lossy(&body);
    assert!(body.starts_with("Received: from mx.receiver.example ([203.0.113.9])\r\n\tby relay.example.net"), "{body}");
    assert!(body.ends_with("\r\ndsn bob@x.example\r\n"), "{body}");
    assert_eq!(entry.size, body.len() as u64);
    let accepted = &rig.dispatcher.counts().accepted_recipients;
    assert_eq!(accepted.load(std::sync::atomic::Ordering::Relaxed), 1);
    let metrics = rig.dispatcher.metrics().encode().expect("encodes");
    for line in [
        "remuda_reports_total{kind=\"dsn\",verdict=\"booked\"} 1",
        "remuda_reports_total{kind=\"dsn\",verdict=\"duplicate\"} 1",
        "remuda_late_bounces_total{binding=\"m1\",cause=\"invalid_recipient\",destination=\"other\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
    assert!(!metrics.contains('@') && !format!("{:?}", rig.dispatcher.events().last(None, 9)).contains("bob"));
}

#[tokio::test]
async fn copies_that_arrive_together_count_once() {
    let rig = Rig::new();
    let (_, mark) = rig.delivered(1, true).await;
    let body = format!("arf {mark}");
    let both = tokio::join!(rig.report("fbl@relay.example.net", &body), rig.report("fbl@relay.example.net", &body));
    assert!(both.0.is_ok() && both.1.is_ok());
    let mut seen = rig.seen();
    seen.sort();
    assert_eq!(seen, ["booked kept", "duplicate noted"]);
}

#[tokio::test]
async fn without_space_nothing_is_told_and_the_reporter_comes_again() {
    let rig = Rig::new();
    let (message, mark) = rig.delivered(1, true).await;
    let to = format!("b-{mark}@bounces.acme.example");
    rig.spool.set_full(true);
    let refused = rig.report(&to, "dsn bob@x.example").await.expect_err("full");
    assert_eq!((refused.code, refused.enhanced.to_string().as_str()), (452, "4.3.1"));
    assert_eq!(rig.spool.fact(&Told::key(message)), Ok(None));
    assert!(rig.seen().is_empty() && rig.waiting().is_empty());
    rig.spool.set_full(false);
    rig.report(&to, "dsn bob@x.example").await.expect("taken");
    assert_eq!(rig.seen(), ["booked passed_on"]);
}

#[tokio::test]
async fn a_sender_that_is_not_known_is_waited_for_only_while_it_may_become_known() {
    let rig = Rig::new();
    let (_, mark) = rig.delivered(1, false).await;
    let to = format!("b-{mark}@bounces.acme.example");
    rig.report(&to, "dsn bob@x.example").await.expect("taken");
    rig.report(&to, "out of office").await.expect("taken");
    assert_eq!(rig.seen(), ["booked kept", "not_a_bounce kept_aside"]);
    assert_eq!([Ring::Reports, Ring::Ours, Ring::Strangers].map(|ring| rig.kept(ring)), [1, 1, 0]);

    let young = MessageId(rig.dispatcher.next_id());
    let attempted = Attempted {
        message: young,
        at: young.time(),
        recipients: 1,
        tenant: "acme".into(),
        pool: "main".into(),
        binding: "m1".into(),
        destination: None,
    };
    let to = format!("b-{}@bounces.acme.example", rig.keys.seal(&attempted));
    assert_eq!(rig.report(&to, "dsn bob@x.example").await.map_err(|refusal| refusal.code), Err(451));
    assert_eq!(rig.spool.fact(&Told::key(young)), Ok(None));
}

#[tokio::test]
async fn a_sender_that_is_ourselves_gets_nothing() {
    let rig = Rig::new();
    let (message, mark) = rig.delivered(1, false).await;
    let to = format!("b-{mark}@bounces.acme.example");
    for address in [to.as_str(), "FBL@relay.example.net"] {
        let sender = Sender { address: address.parse().expect("valid"), tenant: "acme".into() };
        let fact = Op::PutFact(Sender::key(message), sender.to_json());
        rig.dispatcher.note(vec![fact]).await.expect("written");
        rig.report(&to, "hello").await.expect("taken");
    }
    assert_eq!((rig.waiting().len(), rig.kept(Ring::Ours)), (0, 2));
}

#[tokio::test]
async fn what_is_not_ours_is_refused_at_the_door_or_kept_aside() {
    let rig = Rig::new();
    let (_, mark) = rig.delivered(1, true).await;
    let forged = Keys::parse(&Keys::file_text([8; 32])).expect("a key");
    let opened = rig.desk.directory.keys().open(&mark).expect("ours");
    let attempted = rig.desk.directory.resolve(&opened, []).expect("known");
    let forged = forged.seal(&attempted);
    let at_door = |to: String| rig.desk.addressee(&to.parse().expect("valid"));
    assert_eq!(at_door(format!("b-{forged}@bounces.acme.example")).map_err(|r| r.code), Err(550));
    assert_eq!(at_door("who@bounces.acme.example".into()).map_err(|r| r.code), Err(550));
    assert_eq!(at_door("who@elsewhere.example".into()), Ok(Addressee::Elsewhere));
    rig.report("fbl@relay.example.net", &format!("arf {forged}")).await.expect("taken");
    rig.report("postmaster@bounces.acme.example", &format!("arf {mark}")).await.expect("taken");
    rig.report("fbl@relay.example.net", "arf").await.expect("taken");
    assert_eq!(
        rig.seen(),
        ["refused refused", "forged kept_aside", "not_a_bounce kept_aside", "unresolvable kept_aside"]
    );
    rig.report("fbl@relay.example.net", "spam").await.expect("taken");
    rig.report("fbl@relay.example.net", "spam").await.expect("taken");
    assert_eq!(rig.kept(Ring::Strangers), 3, "as many as configured");
    assert_eq!(rig.kept(Ring::Ours), 1, "the postmaster's");
}

#[tokio::test]
async fn refusals_are_counted_one_by_one_and_shown_once_a_minute() {
    let rig = Rig::new();
    let guess = |n: u32| {
        let to: Mailbox = format!("guess{n}@bounces.acme.example").parse().expect("valid");
        rig.desk.addressee(&to).expect_err("not ours")
    };
    (0..100).for_each(|n| assert_eq!(guess(n).code, 550));
    let numbers = || {
        let events = rig.dispatcher.events().last(Some(events::Kind::Report), 9);
        events.iter().map(|event| event.fields["no_such_address"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(numbers(), ["1"]);
    rig.clock.advance(Duration::from_secs(60));
    rig.desk.refused.show(&rig.dispatcher, rig.dispatcher.now().wall);
    rig.desk.refused.show(&rig.dispatcher, rig.dispatcher.now().wall);
    assert_eq!(numbers(), ["1", "99"]);
    let metrics = rig.dispatcher.metrics().encode().expect("encodes");
    let line = "remuda_reports_total{kind=\"unknown\",verdict=\"no_such_address\"} 100";
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test]
async fn a_return_path_is_ours_at_any_domain_and_goes_by_the_tenant_that_sent() {
    let rig = Rig::new();
    let (message, mark) = rig.delivered(1, true).await;
    let to = format!("b-{mark}@former.acme.example");
    assert!(matches!(rig.desk.addressee(&to.parse().expect("valid")), Ok(Addressee::Reports { .. })));
    rig.report(&to, "dsn bob@x.example").await.expect("taken");
    // Whoever sent it is no tenant any more.
    let sender = Sender { address: "news@acme.example".parse().expect("valid"), tenant: "gone".into() };
    rig.dispatcher.note(vec![Op::PutFact(Sender::key(message), sender.to_json())]).await.expect("written");
    rig.report(&to, "dsn ann@x.example").await.expect("taken");
    assert_eq!(rig.seen(), ["booked passed_on", "unresolvable kept_aside"]);
}

#[tokio::test]
async fn the_event_of_a_late_bounce_says_what_was_read_and_names_nobody() {
    let rig = Rig::new();
    let (_, mark) = rig.delivered(1, true).await;
    rig.report(&format!("b-{mark}@bounces.acme.example"), "dsn bob@x.example").await.expect("taken");
    let event = rig.dispatcher.events().last(Some(events::Kind::Report), 1).remove(0);
    assert_eq!((event.fields["counts"].as_str(), event.fields["cause"].as_str()), ("false", "invalid_recipient"));
    assert!(event.fields["reply"].starts_with("550 5.1.1 no such user"), "{event:?}");
    assert!(!event.fields["rule"].is_empty() && !format!("{event:?}").contains("bob"), "{event:?}");
}

#[tokio::test]
async fn control_headers_do_not_leave_with_mail_passed_on() {
    let rig = Rig::new();
    let (_, mark) = rig.delivered(1, true).await;
    let mail =
        "X-Remuda-Id: forged\r\nX-Remuda-Tenant: bolt\r\nReturn-Path: <x@y.example>\r\nSubject: hello\r\n\r\nyes";
    let id = rig.report(&format!("b-{mark}@bounces.acme.example"), mail).await.expect("taken");
    let body = rig.spool.body(id).expect("readable").expect("there");
    let body = String::from_utf8_lossy(&body);
    assert!(body.contains("Subject: hello\r\n\r\nyes") && body.starts_with("Received:"), "{body}");
    assert!(!body.contains("X-Remuda") && !body.contains("Return-Path"), "{body}");
}

#[tokio::test]
async fn a_mail_that_cannot_be_kept_is_not_taken() {
    let rig = Rig::new();
    std::fs::write(rig.home.path().join("unattributed"), b"in the way").expect("written");
    let refused = rig.report("fbl@relay.example.net", "spam").await.expect_err("no place");
    assert_eq!(refused.code, 451);
    assert!(rig.seen().is_empty());
}

#[tokio::test]
async fn unreadable_memory_counts_as_told() {
    let rig = Rig::new();
    let (message, mark) = rig.delivered(1, true).await;
    rig.dispatcher.note(vec![Op::PutFact(Told::key(message), b"rubbish".to_vec())]).await.expect("written");
    rig.report("fbl@relay.example.net", &format!("arf {mark}")).await.expect("taken");
    assert_eq!(rig.seen(), ["duplicate noted"]);
}

#[tokio::test]
async fn facts_of_old_messages_go_in_small_steps_and_young_ones_stay() {
    let rig = Rig::new();
    let day = Duration::from_secs(86_400);
    let message = |at: Wall, n: u64| MessageId(((at.as_millis() as u64) << 20) + n);
    let mut facts: Batch = (0..2500).map(|n| Op::PutFact(Told::key(message(START, n)), b"{}".to_vec())).collect();
    facts.push(Op::PutFact(Told::key(message(START.plus(day), 0)), b"{}".to_vec()));
    facts.push(Op::PutFact("health/binding/m1".into(), b"{}".to_vec()));
    rig.dispatcher.note(facts).await.expect("written");
    let mut after = String::new();
    // 30 d for reports and 5 d in the queue.
    rig.clock.advance(35 * day);
    assert_eq!(rig.desk.forget_old(Told::PREFIX, &mut after).await, 0);
    rig.clock.advance(Duration::from_secs(60));
    let mut removed = Vec::new();
    for _ in 0..4 {
        removed.push(rig.desk.forget_old(Told::PREFIX, &mut after).await);
    }
    assert_eq!(removed, [1000, 1000, 500, 0]);
    assert_eq!(rig.spool.facts(Told::PREFIX).expect("readable").len(), 1);
    assert_eq!(rig.spool.fact("health/binding/m1"), Ok(Some(b"{}".to_vec())));
    rig.clock.advance(day);
    assert_eq!(rig.desk.forget_old(Told::PREFIX, &mut after).await, 1);
}
