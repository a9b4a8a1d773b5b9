//! Weighted shares are exact, and mail leaves from the address of its binding only.

use std::collections::BTreeSet;

use crate::support::{Relay, Settings, all_accepted, arrived_once_each, local, sink, wait_for_messages};

/// Windows wider than what is in flight, so that nothing but the weights chooses.
const WIDE: &str = "max_outbound_connections = 100";

fn four_bindings() -> Settings {
    Settings::new()
        .set("window", "adaptive", "false")
        .set("queue", "max_attempts_in_flight", "20")
        .set("delivery", "max_outbound_connections", "100")
        .binding("a", 11, WIDE)
        .binding("b", 12, WIDE)
        .binding("c", 13, WIDE)
        .binding("d", 14, WIDE)
        .pool("active = [\"a\", { binding = \"b\", weight = 2 }, \"c\"]\nbackup = [[\"d\"]]")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_messages_leave_in_shares_exact_to_one() {
    let sink = sink().await;
    let relay = Relay::start(&four_bindings().to(sink.addr())).await;
    all_accepted(&relay.load(1000).run().await);
    wait_for_messages(&sink, 1000).await;
    relay.wait_until_empty().await;

    arrived_once_each(&sink, 0..1000);
    for (address, share) in [(local(11), 250), (local(12), 500), (local(13), 250)] {
        let sent = sink.source(address).messages;
        assert!(sent.abs_diff(share) <= 1, "{address} sent {sent} instead of {share}");
    }
    assert_eq!(sink.senders(), BTreeSet::from([local(11), local(12), local(13)]), "the backup carries none");
    for taken in sink.log() {
        let name = match taken.source {
            address if address == local(11) => "a.test",
            address if address == local(12) => "b.test",
            _ => "c.test",
        };
        assert_eq!(&*taken.ehlo, name, "from {}", taken.source);
    }
    assert_eq!(sink.by_source().values().map(|c| c.out_of_turn).sum::<u64>(), 0, "pipelined as RFC 2920 allows");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shares_are_exact_over_many_destinations_of_one_message_each() {
    let sink = sink().await;
    let relay = Relay::start(&four_bindings().to(sink.addr())).await;
    let load = relay.load(400).recipients(|n| vec![format!("user@domain{n}.test")]);
    all_accepted(&load.run().await);
    wait_for_messages(&sink, 400).await;
    for (address, share) in [(local(11), 100), (local(12), 200), (local(13), 100)] {
        let sent = sink.source(address).messages;
        assert!(sent.abs_diff(share) <= 1, "{address} sent {sent} instead of {share}");
    }
}
