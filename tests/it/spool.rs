//! A record that went bad while the relay was down is set aside and reported; all other mail goes out.

use fjall::{Database, KeyspaceCreateOptions, PersistMode};
use remuda::demo::sink::Rule;
use remuda::outcome::Stage;

use crate::support::{Relay, Settings, all_accepted, array, keeping_sink, number, wait_for_messages, wait_until};

/// Turns over one bit in the middle of the `nth` record of a table, behind the relay's back.
fn flip_a_bit(relay: &Relay, table: &str, nth: usize) {
    flip(relay, table, |n, _| n == nth);
}

fn flip(relay: &Relay, table: &str, which: impl Fn(usize, &[u8]) -> bool) {
    let db = Database::builder(relay.state_dir().join("spool")).open().unwrap();
    let records = db.keyspace(table, KeyspaceCreateOptions::default).unwrap();
    let all = records.iter().map(|record| record.into_inner().unwrap()).enumerate();
    let (_, (key, value)) = all.into_iter().find(|(n, (key, _))| which(*n, key)).unwrap();
    let mut value = value.to_vec();
    let middle = value.len() / 2;
    value[middle] ^= 0b100;
    records.insert(&*key, value).unwrap();
    db.persist(PersistMode::SyncAll).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn corrupt_records_are_set_aside_and_the_rest_is_delivered() {
    let sink = keeping_sink().await;
    sink.add(Rule::reply(Stage::Rcpt, "450 4.2.0 later"));
    let settings = Settings::new().binding("a", 11, "").pool("active = [\"a\"]").to(sink.addr());
    let mut relay = Relay::start(&settings).await;
    all_accepted(&relay.load(20).run().await);
    assert!(relay.term().await.success());
    flip_a_bit(&relay, "entries", 3);
    flip_a_bit(&relay, "entries", 11);

    sink.clear();
    relay.restart(&settings).await;
    wait_for_messages(&sink, 18).await;
    relay.wait_until_empty().await;
    assert_eq!(sink.ids().len(), 18);
    assert!(sink.ids().values().all(|&times| times == 1));
    let status = relay.status().await;
    let set_aside = array(&status, "/spool/quarantined");
    // With each entry its body, which only that entry could have named: it may be all that is left of the message.
    let of = |kind| set_aside.iter().filter(|q| q.as_str().is_some_and(|q| q.starts_with(kind))).count();
    assert_eq!((of("entry/"), of("body/"), set_aside.len()), (2, 2, 4), "{set_aside:?}");
    let log = relay.log();
    for record in set_aside {
        let key = record.as_str().unwrap().split(':').next().unwrap();
        assert!(log.contains(key), "the log names {key}");
    }
    assert_eq!(number(&status, "/counts/bounced"), 0);
    assert!(relay.metrics().await.contains("remuda_spool_quarantined_records 4"));

    // It still takes mail, and a second start neither finds the records again nor forgets them.
    all_accepted(&relay.load(1).first(20).run().await);
    wait_for_messages(&sink, 19).await;
    assert!(relay.term().await.success());
    relay.restart(&settings).await;
    assert_eq!(number(&relay.status().await, "/queue/messages"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_corrupt_body_stops_its_own_message_only() {
    let sink = keeping_sink().await;
    sink.add(Rule::reply(Stage::Rcpt, "450 4.2.0 later"));
    let settings = Settings::new().binding("a", 11, "").pool("active = [\"a\"]").to(sink.addr());
    let mut relay = Relay::start(&settings).await;
    all_accepted(&relay.load(20).run().await);
    assert!(relay.term().await.success());
    flip_a_bit(&relay, "bodies", 7);

    sink.clear();
    relay.restart(&settings).await;
    wait_for_messages(&sink, 19).await;
    relay.wait_until_empty().await;
    assert_eq!((sink.ids().len(), sink.messages()), (19, 19), "no half of it, nothing twice");
    let status = relay.status().await;
    assert!(!array(&status, "/spool/quarantined").is_empty(), "{status:#}");
    assert_eq!((number(&status, "/counts/bounced"), number(&status, "/counts/delivered")), (0, 19));
    assert_eq!(array(&status, "/bindings")[0]["health"], "active");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cap_whose_count_is_unreadable_counts_as_used_up_today() {
    let sink = keeping_sink().await;
    let settings = Settings::new()
        .set("server", "day", &crate::support::day_with_room().0)
        .binding("a", 11, "daily_cap = 100")
        .pool("active = [\"a\"]")
        .to(sink.addr());
    let mut relay = Relay::start(&settings).await;
    all_accepted(&relay.load(30).run().await);
    wait_for_messages(&sink, 30).await;
    relay.wait_until_empty().await;
    assert!(relay.term().await.success());
    flip(&relay, "facts", |_, key| key == b"grant/binding/a");

    relay.restart(&settings).await;
    assert!(relay.log().contains("counts as used up for today"), "{}", relay.log());
    all_accepted(&relay.load(5).first(30).run().await);
    wait_until("they wait for the cap", async || {
        let status = relay.status().await;
        array(&status, "/queue/waiting").iter().any(|w| w["reason"] == "cap" && w["count"] == 5).then_some(())
    })
    .await;
    // Mended on disk: another start reads it, and still nothing leaves.
    relay.kill9();
    relay.restart(&settings).await;
    wait_until("they still wait for the cap", async || {
        let status = relay.status().await;
        array(&status, "/queue/waiting").iter().any(|w| w["reason"] == "cap" && w["count"] == 5).then_some(())
    })
    .await;
    assert_eq!(sink.messages(), 30);
}
