//! Who is told of what, over the whole way from an attempt to the report that leaves.

use super::*;
use crate::message::wishes::Notify;
use crate::message::{RecipientWishes, TlsWish, wishes};
use crate::telemetry::events::{Event, Kind};

const SENDER: &str = "news@acme.example";

/// An entry for these, each with its NOTIFY.
fn entry(rig: &Rig, sender: Option<&str>, recipients: &[(&str, &str)]) -> Entry {
    let recipient = |(address, notify): &(&str, &str)| {
        let notify: Option<Notify> = (!notify.is_empty()).then(|| notify.parse().expect("NOTIFY"));
        let address: Mailbox = address.parse().expect("a mailbox");
        Recipient { wishes: RecipientWishes { notify, original: None }, ..address.into() }
    };
    let now = rig.dispatcher.now().wall;
    Entry {
        id: EntryId(rig.dispatcher.next_id()),
        message: MessageId(rig.dispatcher.next_id()),
        tenant: "acme".into(),
        stream: "default".into(),
        pool: "main".into(),
        domain: "alpha.example".parse().expect("a domain"),
        reverse_path: sender.map(|sender| sender.parse().expect("a mailbox")),
        recipients: recipients.iter().map(recipient).collect(),
        arrived: now,
        expires: now.plus(Duration::from_secs(5 * 86_400)),
        size: 20,
        eight_bit: false,
        wishes: Wishes { ret: Some(wishes::Return::Full), ..Wishes::NONE },
        state: EntryState::default(),
    }
}

async fn accept(rig: &Rig, entry: Entry) {
    let body = Bytes::from_static(b"Subject: x\r\n\r\nx\r\n");
    rig.dispatcher.accept(entry.message, body, vec![entry]).await.expect("accepted");
}

fn told(rig: &Rig, action: &str) -> u64 {
    rig.dispatcher.metrics().reported_recipients.with_label_values(&[action]).get()
}

fn tried(rig: &Rig, address: &str) -> usize {
    rig.connector.tried.lock().get(address).copied().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn senders_are_told_what_they_asked_for() {
    let rig = Rig::new(Arc::default(), |_, to| {
        if to.starts_with("no") { reply(550, "5.1.1 no such user") } else { reply(250, "ok") }
    });
    let recipients = [
        ("a@alpha.example", ""),
        ("b@alpha.example", "SUCCESS"),
        ("c@alpha.example", "FAILURE"),
        ("no1@alpha.example", ""),
        ("no2@alpha.example", "NEVER"),
        ("no3@alpha.example", "SUCCESS,DELAY"),
        ("no4@alpha.example", "FAILURE"),
    ];
    accept(&rig, entry(&rig, Some(SENDER), &recipients)).await;
    rig.until("the report is delivered", |rig| rig.delivered() == 4 && rig.waiting() == 0).await;
    assert_eq!((told(&rig, "relayed"), told(&rig, "failed"), tried(&rig, SENDER)), (1, 2, 1), "one report of all");
    // Nobody wants to know.
    accept(&rig, entry(&rig, Some(SENDER), &[("no5@alpha.example", "NEVER"), ("d@alpha.example", "")])).await;
    rig.until("it is over", |rig| rig.delivered() == 5 && rig.waiting() == 0).await;
    assert_eq!((told(&rig, "failed"), tried(&rig, SENDER)), (2, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_passed_on_is_not_sent_again_for_want_of_space_for_its_report() {
    let spool = Arc::new(MemorySpool::new());
    let full = Arc::clone(&spool);
    let rig = Rig::new(spool, move |_, _| {
        full.set_full(true);
        reply(250, "ok")
    });
    accept(&rig, entry(&rig, Some(SENDER), &[("a@alpha.example", "SUCCESS")])).await;
    rig.until("it is delivered", |rig| rig.delivered() == 1 && rig.waiting() == 0).await;
    assert_eq!((rig.attempts(), told(&rig, "relayed")), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delay_is_told_of_once_also_over_a_restart() {
    let spool = Arc::<MemorySpool>::default();
    let clock = ManualClock::at(Wall::from_millis(1_795_000_000_000));
    let start = || {
        Rig::with(Arc::clone(&spool), Arc::new(clock.clone()), "", |_, to| {
            if to == SENDER { reply(250, "ok") } else { reply(451, "4.3.0 later") }
        })
    };
    let rig = start();
    accept(&rig, entry(&rig, Some(SENDER), &[("a@alpha.example", "DELAY"), ("b@alpha.example", "FAILURE")])).await;
    rig.until("it was tried", |rig| rig.attempts() == 1 && rig.dispatcher.with_core(Core::in_flight) == 0).await;
    clock.advance(Duration::from_secs(3 * 3600));
    let is_settled = |rig: &Rig| rig.dispatcher.with_core(Core::in_flight) == 0;
    rig.until("it was tried again", |rig| rig.attempts() >= 2 && is_settled(rig)).await;
    assert_eq!(told(&rig, "delayed"), 0, "not yet");
    clock.advance(Duration::from_secs(3601));
    rig.until("the sender is told", |rig| rig.delivered() == 1).await;
    assert_eq!((told(&rig, "delayed"), tried(&rig, SENDER)), (1, 1), "of one of the two");
    rig.until("nothing is under way", |rig| rig.dispatcher.with_core(Core::in_flight) == 0).await;
    drop(rig);

    let rig = start();
    rig.recover();
    clock.advance(Duration::from_secs(7200));
    let is_settled = |rig: &Rig| rig.dispatcher.with_core(Core::in_flight) == 0;
    rig.until("it was tried once more", |rig| rig.attempts() >= 1 && is_settled(rig)).await;
    clock.advance(Duration::from_secs(7200));
    rig.until("and again", |rig| rig.attempts() >= 2).await;
    assert_eq!((told(&rig, "delayed"), tried(&rig, SENDER)), (0, 0), "it is on disk that it was told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bounce_that_fails_is_told_to_the_postmaster_and_to_nobody_after_that() {
    const REPORTS: &str = "[reports]\ndouble_bounce = \"postmaster\"\npostmaster = \"pm@alpha.example\"\n";
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    for (more, is_pm_there, attempts, fates) in
        [("", true, 1, [0, 1]), (REPORTS, true, 2, [1, 0]), (REPORTS, false, 2, [1, 1])]
    {
        let rig = Rig::with(Arc::default(), Arc::clone(&clock), more, move |_, to| {
            let is_there = to == "pm@alpha.example" && is_pm_there;
            if is_there { reply(250, "ok") } else { reply(550, "5.1.1 no such user") }
        });
        accept(&rig, entry(&rig, None, &[("gone@alpha.example", "")])).await;
        rig.until("it is over", |rig| rig.waiting() == 0 && rig.attempts() == attempts).await;
        let counted = || {
            let fate = |fate| rig.dispatcher.metrics().double_bounces.with_label_values(&[fate]).get();
            [fate("reported"), fate("dropped")]
        };
        rig.until("it is counted", |_| counted() == fates).await;
        assert_eq!(rig.attempts(), attempts, "{more} {is_pm_there}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_about_mail_with_requiretls_says_nothing_of_it_and_arrives() {
    const REPORTS: &str = "[reports]\ndouble_bounce = \"postmaster\"\npostmaster = \"pm@alpha.example\"\n";
    for (sender, to, tls) in [
        (Some(SENDER), SENDER, TlsWish::Required),
        (None, "pm@alpha.example", TlsWish::Required),
        (Some(SENDER), SENDER, TlsWish::None),
    ] {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let rig = Rig::with(Arc::default(), clock, REPORTS, |_, to| {
            if to.starts_with("no") { reply(550, "5.1.1 no such user") } else { reply(250, "ok") }
        });
        let entry = entry(&rig, sender, &[("no@alpha.example", "")]);
        let envelope_id = "QQ314159".parse().ok();
        accept(&rig, Entry { wishes: Wishes { tls, envelope_id, ..entry.wishes.clone() }, ..entry }).await;
        rig.until("the report is delivered", |rig| rig.delivered() == 1 && rig.waiting() == 0).await;
        let (wishes, body) = rig.connector.reports.lock().last().cloned().expect("one");
        assert_eq!((tried(&rig, to), wishes.tls), (1, TlsWish::None), "the way back need not know it");
        assert!(body.contains("Status: 5.1.1") && body.contains("Original-Envelope-Id: QQ314159"), "{body}");
        assert_eq!(body.contains("Subject: x"), tls == TlsWish::None, "{body}");
        assert_eq!(body.contains("message/rfc822"), tls == TlsWish::None, "{body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_last_attempt_was_is_said_where_it_is_known() {
    for (is_late, said) in [(false, true), (true, false)] {
        let rig =
            Rig::new(
                Arc::default(),
                |_, to| {
                    if to == SENDER { reply(250, "ok") } else { reply(550, "5.1.1 no such user") }
                },
            );
        let mut entry = entry(&rig, Some(SENDER), &[("a@alpha.example", "")]);
        if is_late {
            // Tried three times, we know not when, and its time is over.
            entry.state.attempts = 3;
            entry.recipients[0].state.last_reply = Some("451 4.3.0 later".into());
            entry.expires = entry.arrived;
        }
        accept(&rig, entry).await;
        rig.until("the report is delivered", |rig| rig.delivered() == 1 && rig.waiting() == 0).await;
        let (_, body) = rig.connector.reports.lock().last().cloned().expect("one");
        assert_eq!(body.contains("Last-Attempt-Date: "), said, "{body}");
        assert!(body.contains("Subject: x"), "handed over or read: {body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_message_to_many_domains_is_read_once_for_its_reports() {
    let spool = Arc::<MemorySpool>::default();
    let rig = Rig::new(Arc::clone(&spool), |_, _| reply(250, "ok"));
    let whole = entry(&rig, Some(SENDER), &[("a@alpha.example", "")]);
    let entries: Vec<Entry> = (0..20)
        .map(|n| Entry {
            id: EntryId(rig.dispatcher.next_id()),
            domain: format!("d{n}.example").parse().expect("a domain"),
            wishes: Wishes::NONE,
            expires: whole.arrived,
            ..whole.clone()
        })
        .collect();
    let body = Bytes::from_static(b"Subject: x\r\n\r\nx\r\n");
    rig.dispatcher.accept(whole.message, body, entries).await.expect("accepted");
    rig.until("all are reported", |rig| rig.delivered() == 20 && rig.waiting() == 0).await;
    let reports = rig.connector.reports.lock().clone();
    assert!(reports.len() == 20 && reports.iter().all(|(_, body)| body.contains("Subject: x")));
    // At first there may be as many readers as have a turn. The attempts with the reports read these.
    let read = spool.bodies_read() - 20;
    assert!((1..=8).contains(&read), "read {read} times");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postmaster_is_told_of_so_many_double_bounces_and_no_more() {
    const REPORTS: &str = "[reports]\ndouble_bounce = \"postmaster\"\npostmaster = \"pm@alpha.example\"\n";
    let clock = ManualClock::at(Wall::from_millis(1_795_000_000_000));
    let rig = Rig::with(Arc::default(), Arc::new(clock.clone()), REPORTS, |_, to| {
        if to == "pm@alpha.example" { reply(250, "ok") } else { reply(550, "5.1.1 no such user") }
    });
    for _ in 0..53 {
        accept(&rig, entry(&rig, None, &[("gone@alpha.example", "")])).await;
    }
    let counted = |rig: &Rig| {
        let fate = |fate| rig.dispatcher.metrics().double_bounces.with_label_values(&[fate]).get();
        [fate("reported"), fate("dropped")]
    };
    rig.until("all are over", |rig| counted(rig) == [50, 3] && rig.waiting() == 0).await;
    assert_eq!(tried(&rig, "pm@alpha.example"), 50);
    let notes = |rig: &Rig, note: &str| {
        let is_it = |event: &&Event| event.fields.get("note").is_some_and(|text| text == note);
        rig.dispatcher.events().last(Some(Kind::Note), 1000).iter().filter(is_it).count()
    };
    assert_eq!((notes(&rig, "double_bounce"), notes(&rig, "double_bounces_dropped")), (50, 1));
    clock.advance(Duration::from_secs(3601));
    accept(&rig, entry(&rig, None, &[("gone@alpha.example", "")])).await;
    rig.until("it is told of again", |rig| counted(rig) == [51, 3] && rig.waiting() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bounce_that_waits_for_space_is_kept_aside_once() {
    const MORE: &str = "[reports]\ndouble_bounce = \"postmaster\"\npostmaster = \"pm@alpha.example\"\n\
        [feedback]\naddresses = [\"fbl@relay.example.net\"]\n";
    let home = tempfile::tempdir().expect("a directory");
    let config = format!("{CONFIG}{MORE}").replace("/var/lib/remuda", home.path().to_str().expect("UTF-8"));
    let spool = Arc::new(MemorySpool::new());
    let full = Arc::clone(&spool);
    let clock = ManualClock::at(Wall::from_millis(1_795_000_000_000));
    let rig = Rig::of(Arc::clone(&spool), Arc::new(clock.clone()), &config, move |n, to| {
        full.set_full(n < 3);
        if to == "pm@alpha.example" { reply(250, "ok") } else { reply(550, "5.1.1 no such user") }
    });
    accept(&rig, entry(&rig, None, &[("gone@alpha.example", "")])).await;
    let is_over = |rig: &Rig| {
        // Files of one second have one name.
        clock.advance(Duration::from_secs(2));
        rig.delivered() == 1 && rig.waiting() == 0
    };
    rig.until("the postmaster has it", is_over).await;
    assert_eq!((tried(&rig, "gone@alpha.example"), tried(&rig, "pm@alpha.example")), (4, 1));
    let kept = std::fs::read_dir(home.path().join("unattributed/ours")).expect("a directory").count();
    assert_eq!(kept, 1);
    assert!(rig.dispatcher.kept_aside.lock().is_empty(), "nothing is remembered of what is over");
}
