//! Who is told of what, over the whole way from an attempt to the report that leaves.

use super::*;
use crate::message::wishes::Notify;
use crate::message::{RecipientWishes, wishes};

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
