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
