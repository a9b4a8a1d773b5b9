//! It starts, says where, carries a message, and stops when asked.

use crate::support::{Relay, Settings, all_accepted, arrived_once_each, local, sink, text, wait_for_messages};

#[tokio::test]
async fn relay_starts_and_stops() {
    let sink = sink().await;
    let settings = Settings::new().binding("a", 11, "").pool("active = [\"a\"]").to(sink.addr());
    let mut relay = Relay::start(&settings).await;
    assert_eq!(text(&relay.status().await, "/hostname"), "relay.test");

    all_accepted(&relay.load(1).run().await);
    wait_for_messages(&sink, 1).await;
    arrived_once_each(&sink, [0]);
    let taken = &sink.log()[0];
    assert_eq!((taken.source, &*taken.ehlo, &*taken.reverse_path), (local(11), "a.test", "sender@example.test"));

    assert!(relay.term().await.success());
}

#[tokio::test]
async fn a_graceful_stop_loses_nothing() {
    let sink = sink().await;
    let settings = Settings::new().binding("a", 11, "").pool("active = [\"a\"]").to(sink.addr());
    let mut relay = Relay::start(&settings).await;
    let load = relay.load(500);
    let progress = load.progress();
    let sending = tokio::spawn(load.run());
    crate::support::wait_until("half is accepted", async || {
        (progress.load(std::sync::atomic::Ordering::SeqCst) > 250).then_some(())
    })
    .await;
    assert!(relay.term().await.success());
    let done = sending.await.unwrap();
    relay.restart(&settings).await;
    relay.wait_until_empty().await;
    let ids = sink.ids();
    let lost: Vec<_> = done.accepted.iter().filter(|n| !ids.contains_key(&n.to_string())).collect();
    assert!(lost.is_empty(), "lost {lost:?}");
    // Nobody was killed: what was on the wire was finished, so nothing came twice.
    assert!(ids.values().all(|&times| times == 1), "{ids:?}");
}
