//! The dispatcher over a spool in memory that can be broken and a connector that does as told.

use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::super::core::acts::{Act, Claim};
use super::acts::{Came, Claims};
use super::*;
use crate::clock::{ManualClock, SystemClock};
use crate::delivery::{Answer, Order, Report, Routing};
use crate::feedback::token::Keys;
use crate::message::{Entry, EntryId, EntryState, Mailbox, Recipient, Wishes};
use crate::outcome::{Reply, Stage};
use crate::store::committer::CommitThread;
use crate::store::memory::MemorySpool;

mod reports;

type Script = Box<dyn Fn(usize, &str) -> Reply + Send + Sync>;

/// Answers the n-th attempt, counted from 0, to a recipient as the script says, and remembers who was tried and with what
/// reverse path and head.
struct Scripted {
    script: Script,
    attempts: AtomicUsize,
    tried: Mutex<BTreeMap<String, usize>>,
    marked: Mutex<Vec<(String, Bytes)>>,
    /// Bodies of mail without a sender, with what was asked for.
    reports: Mutex<Vec<(Wishes, String)>>,
}

impl Connector for Scripted {
    fn attempt(&self, order: Order) -> Pin<Box<dyn Future<Output = Report> + Send + '_>> {
        Box::pin(async move {
            let n = self.attempts.fetch_add(1, Ordering::SeqCst);
            for recipient in &order.recipients {
                *self.tried.lock().entry(recipient.address.to_string()).or_default() += 1;
            }
            let path = order.reverse_path.as_ref().map(ToString::to_string).unwrap_or_default();
            if path.is_empty() {
                let body = String::from_utf8_lossy(&order.body).into_owned();
                self.reports.lock().push((order.wishes.clone(), body));
            }
            self.marked.lock().push((path, order.head.clone()));
            let answers = order.recipients.iter().map(|to| (self.script)(n, to.address.as_str()));
            let answers = answers.map(|reply| Answer::Reply(Stage::EndOfData, reply)).collect();
            let here = Some(std::net::SocketAddr::from(([127, 0, 0, 1], 25)));
            let tls = crate::delivery::TlsReport::default();
            Report {
                local: here,
                remote: here,
                host: None,
                reused: false,
                tls,
                answers,
                dsn_passed: false,
                latency: Duration::ZERO,
            }
        })
    }
}

fn reply(code: u16, text: &str) -> Reply {
    Reply { code, enhanced: None, text: text.into() }
}

const CONFIG: &str = "[server]\nhostname = \"relay.example.net\"\nstate_dir = \"/var/lib/remuda\"\n\
    [[listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"127.0.0.0/8\"]\n\
    [binding.m1]\nbind_address = \"127.0.0.11\"\nehlo_hostname = \"m1.example.net\"\n\
    [pool.main]\nactive = [\"m1\"]\n\
    [[destination_route]]\ndomain = \"*\"\nhosts = [\"127.0.0.1:9\"]\n\
    [queue]\nretry_first = \"10ms\"\nretry_max = \"20ms\"\nmax_attempts_in_flight = 1\n\
    [tenant.acme]\nmatch = { sender_domain = [\"acme.example\"] }\npools = { default = \"main\" }\n";

struct Rig {
    dispatcher: Arc<Dispatcher>,
    spool: Arc<MemorySpool>,
    connector: Arc<Scripted>,
    _thread: CommitThread,
    _stop: tokio::sync::watch::Sender<bool>,
}

impl Rig {
    /// One binding, one attempt at a time; retries at once.
    fn new(spool: Arc<MemorySpool>, script: impl Fn(usize, &str) -> Reply + Send + Sync + 'static) -> Self {
        Self::with(spool, Arc::new(SystemClock::default()), "", script)
    }

    /// As [`Rig::new`], by this clock and with further lines behind those of the tenant.
    fn with(
        spool: Arc<MemorySpool>,
        clock: Arc<dyn Clock>,
        more: &str,
        script: impl Fn(usize, &str) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::of(spool, clock, &format!("{CONFIG}{more}"), script)
    }

    /// By this configuration.
    fn of(
        spool: Arc<MemorySpool>,
        clock: Arc<dyn Clock>,
        config: &str,
        script: impl Fn(usize, &str) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let config = Config::from_toml(config).expect("the configuration is good");
        let keys = Keys::parse(&Keys::file_text([7; 32])).expect("a key");
        let directory = config.feedback.is_some().then(|| Arc::new(Directory::new(keys, &config)));
        let (core, _) = Core::new(&config, &[], &[], 1, clock.now());
        let (committer, thread) = Committer::start(Arc::clone(&spool) as Arc<dyn Spool>, |_| {}).expect("a thread");
        let routing = Routing::new(&config.server.hostname, &config.delivery, Vec::new(), &config.destination_routes);
        let connector = Arc::new(Scripted {
            script: Box::new(script),
            attempts: AtomicUsize::new(0),
            tried: Mutex::default(),
            marked: Mutex::default(),
            reports: Mutex::default(),
        });
        let dispatcher = Dispatcher::new(Parts {
            core,
            clock,
            spool: Arc::clone(&spool) as Arc<dyn Spool>,
            committer,
            connector: Arc::clone(&connector) as Arc<dyn Connector>,
            resolver: Arc::new(Resolver::new(&config.dns, routing).expect("a resolver")),
            classifier: Arc::new(Classifier::shipped()),
            texts: Texts::default(),
            metrics: Arc::new(Metrics::new().expect("metrics")),
            directory,
            config: Arc::new(config),
            seed: 1,
        });
        let (stop, stopped) = tokio::sync::watch::channel(false);
        tokio::spawn(Arc::clone(&dispatcher).run(stopped));
        Self { dispatcher, spool, connector, _thread: thread, _stop: stop }
    }

    async fn send(&self, count: usize) {
        for n in 0..count {
            self.send_to(&[&format!("u{n}@alpha.example")]).await;
        }
    }

    /// One message for these, all at one domain.
    async fn send_to(&self, recipients: &[&str]) {
        self.send_from("main", recipients).await;
    }

    /// The same from a pool, which need not be configured.
    async fn send_from(&self, pool: &str, recipients: &[&str]) -> EntryId {
        let recipients = recipients.iter().map(|to| to.parse::<Mailbox>().expect("a mailbox"));
        let now = self.dispatcher.now().wall;
        let entry = Entry {
            id: EntryId(self.dispatcher.next_id()),
            message: MessageId(self.dispatcher.next_id()),
            tenant: "acme".into(),
            stream: "default".into(),
            pool: pool.into(),
            domain: "alpha.example".parse().expect("a domain"),
            reverse_path: Some("news@acme.example".parse().expect("a mailbox")),
            recipients: recipients.map(Recipient::from).collect(),
            arrived: now,
            expires: now.plus(Duration::from_secs(3600)),
            size: 20,
            eight_bit: false,
            wishes: Wishes::NONE,
            state: EntryState::default(),
        };
        let body = Bytes::from_static(b"Subject: x\r\n\r\nx\r\n");
        let id = entry.id;
        self.dispatcher.accept(entry.message, body, vec![entry]).await.expect("accepted");
        id
    }

    fn stranded(&self) -> u64 {
        self.dispatcher.counts().stranded_recipients.load(Ordering::Relaxed)
    }

    /// What recovery finds on disk.
    fn recover(&self) {
        let mut entries = Vec::new();
        let recovery = self.spool.recover(&mut |entry| entries.push(entry)).expect("recovers");
        entries.into_iter().for_each(|entry| self.dispatcher.recover(entry));
        self.dispatcher.recovery_done(recovery.last_id, Vec::new());
    }

    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let patience = tokio::time::timeout(Duration::from_secs(20), async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        patience.await.unwrap_or_else(|_| panic!("not within 20 s: {what}"));
    }

    fn delivered(&self) -> u64 {
        self.dispatcher.counts().delivered.load(Ordering::Relaxed)
    }

    fn waiting(&self) -> usize {
        self.dispatcher.with_core(|core| core.index().depth().0)
    }

    fn attempts(&self) -> usize {
        self.connector.attempts.load(Ordering::SeqCst)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_takes_no_writes_stops_attempts_and_nothing_is_sent_twice() {
    let spool = Arc::new(MemorySpool::new());
    let breaks = Arc::clone(&spool);
    let rig = Rig::new(spool, move |n, _| {
        if n == 3 {
            breaks.set_broken(Some("input/output error"));
        }
        reply(250, "ok")
    });
    rig.send(3).await;
    rig.until("three are delivered", |rig| rig.delivered() == 3).await;
    // The fourth is delivered, but its removal cannot be written.
    rig.send(1).await;
    rig.until("the disk is missed", |rig| rig.attempts() == 4).await;
    assert_eq!((rig.delivered(), rig.waiting()), (3, 1), "not counted before it is on disk");
    rig.spool.set_broken(None);
    rig.until("it is written after all", |rig| rig.delivered() == 4 && rig.waiting() == 0).await;
    rig.send(3).await;
    rig.until("attempts go on", |rig| rig.delivered() == 7).await;
    assert_eq!(rig.attempts(), 7, "each was sent once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_goes_wrong_gives_its_lease_back_and_the_mail_is_tried_again() {
    let rig = Rig::new(Arc::default(), |n, _| if n == 0 { panic!("planted") } else { reply(250, "ok") });
    rig.send(2).await;
    rig.until("both are delivered", |rig| rig.delivered() == 2).await;
    assert_eq!((rig.waiting(), rig.dispatcher.with_core(Core::in_flight), rig.attempts()), (0, 0, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_failed_waits_until_there_is_space_for_the_report() {
    let spool = Arc::new(MemorySpool::new());
    let full = Arc::clone(&spool);
    let rig = Rig::new(spool, move |n, to| {
        if n == 0 {
            full.set_full(true);
        }
        if to.starts_with("u0@") { reply(550, "5.1.1 no such user") } else { reply(250, "ok") }
    });
    rig.send(1).await;
    rig.until("it was refused twice", |rig| rig.attempts() >= 2).await;
    assert_eq!(rig.dispatcher.counts().bounced.load(Ordering::Relaxed), 0, "nobody is dropped without a report");
    assert_eq!(rig.waiting(), 1);
    rig.spool.set_full(false);
    rig.until("bounced, and the report is delivered", |rig| rig.waiting() == 0).await;
    let counts = rig.dispatcher.counts();
    let all = [&counts.bounced, &counts.dsn, &counts.delivered].map(|count| count.load(Ordering::Relaxed));
    assert_eq!(all, [1, 1, 1], "bounced once, reported once, the report delivered");
}

const REWRITTEN: &str =
    "return_path_domain = \"bounces.acme.example\"\n[feedback]\naddresses = [\"fbl@relay.example.net\"]\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_return_path_stays_the_same_over_minutes_partial_deliveries_and_a_restart() {
    let spool = Arc::<MemorySpool>::default();
    let clock = ManualClock::at(Wall::from_millis(1_795_000_000_000));
    let start =
        |script: fn(usize, &str) -> Reply| Rig::with(Arc::clone(&spool), Arc::new(clock.clone()), REWRITTEN, script);
    let rig = start(|n, to| match (n, to.starts_with("ann@")) {
        (0, true) => reply(250, "ok"),
        _ => reply(451, "4.7.1 greylisted, try again later"),
    });
    rig.send_to(&["ann@alpha.example", "bob@alpha.example", "cid@alpha.example"]).await;
    for attempts in 1..=3 {
        let settled = |rig: &Rig| rig.attempts() == attempts && rig.dispatcher.with_core(Core::in_flight) == 0;
        rig.until("an attempt is settled", settled).await;
        clock.advance(Duration::from_secs(600));
    }
    rig.until("the fourth attempt is settled", |rig| {
        rig.attempts() == 4 && rig.dispatcher.with_core(Core::in_flight) == 0
    })
    .await;
    let mut marked = rig.connector.marked.lock().clone();
    drop(rig);

    let rig = start(|_, _| reply(250, "ok"));
    rig.recover();
    clock.advance(Duration::from_secs(600));
    rig.until("the rest is delivered", |rig| rig.delivered() == 2 && rig.waiting() == 0).await;
    marked.extend(rig.connector.marked.lock().iter().cloned());
    let tried = rig.connector.tried.lock().clone();
    assert_eq!(tried.keys().collect::<Vec<_>>(), ["bob@alpha.example", "cid@alpha.example"], "ann had hers");

    let (paths, heads): (HashSet<String>, HashSet<Bytes>) = marked.into_iter().unzip();
    assert_eq!(paths.len(), 1, "{paths:?}");
    assert!(paths.iter().all(|path| path.starts_with("b-") && path.ends_with("@bounces.acme.example")), "{paths:?}");
    assert_eq!(heads.len(), 5, "each attempt has its own header field");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bounce_of_stranded_mail_is_reported_from_a_pool_that_is_there() {
    let rig = Rig::new(Arc::default(), |_, _| reply(250, "ok"));
    let id = rig.send_from("gone", &["ann@alpha.example"]).await;
    assert_eq!((rig.stranded(), rig.waiting()), (1, 0));
    let bounce = Act::Bounce { reason: "that pool is history".into(), is_reported: true };
    let acted = rig.dispatcher.act(vec![id], bounce, Duration::from_secs(9)).await;
    assert_eq!((acted.came, acted.stopped), (vec![(id, Came::Done)], None));
    rig.until("the report is delivered", |rig| rig.delivered() == 1 && rig.waiting() == 0).await;
    let told: Vec<String> = rig.connector.tried.lock().keys().cloned().collect();
    assert_eq!((told, rig.stranded()), (vec!["news@acme.example".to_owned()], 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stranded_mail_whose_pool_came_back_while_an_act_had_it_goes_on_when_that_comes_to_nothing() {
    let rig = Rig::new(Arc::default(), |_, _| reply(250, "ok"));
    let id = rig.send_from("spare", &["ann@alpha.example"]).await;
    let now = rig.dispatcher.now();
    let claimed = rig.dispatcher.core.lock().claim(id, &Arc::new(Act::Release), now);
    assert_eq!(claimed, Claim::Claimed);
    let more = format!("{CONFIG}[pool.spare]\nactive = [\"m1\"]\n");
    let config = Arc::new(Config::from_toml(&more).expect("the configuration is good"));
    // What comes back was looked for at once, and passed over what the act has.
    drop(rig.dispatcher.core.lock().reconfigure(&rig.dispatcher.config(), &config, now));
    let wanted = rig.dispatcher.with_core(|core| core.wanted_back(None)).expect("it is stranded");
    assert!(wanted.ids.is_empty(), "{wanted:?}");
    assert_eq!((rig.stranded(), rig.waiting()), (1, 0), "the act has it");
    // Its record could not be read, say.
    drop(Claims { dispatcher: &rig.dispatcher, ids: vec![id] });
    rig.until("it is delivered", |rig| rig.delivered() == 1).await;
    assert_eq!((rig.stranded(), rig.waiting()), (0, 0));
}
