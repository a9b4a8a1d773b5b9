//! SIGTERM under load: what is on the wire is finished, the rest waits on disk, and nothing of the day's caps is lost.

use std::sync::atomic::Ordering;
use std::time::Duration;

use remuda::demo::sink::{Act, Rule};
use remuda::outcome::Stage;

use crate::support::{Relay, Settings, local, named, number, sink, wait_until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_graceful_stop_under_load_loses_nothing_and_nothing_comes_twice() {
    let sink = sink().await;
    let settings = Settings::new().binding("a", 11, "").pool("active = [\"a\"]").to(sink.addr());
    let mut relay = Relay::start(&settings).await;
    let load = relay.load(500);
    let progress = load.progress();
    let sending = tokio::spawn(load.run());
    wait_until("half is accepted", async || (progress.load(Ordering::SeqCst) > 250).then_some(())).await;
    assert!(relay.term().await.success());
    let done = sending.await.unwrap();
    // The end of the load met the stop: either a session was told 421, or its connection ended.
    assert!(done.accepted.len() < 500, "the stop came too late to prove anything");

    relay.restart(&settings).await;
    relay.wait_until_empty().await;
    let ids = sink.ids();
    let lost: Vec<_> = done.accepted.iter().filter(|n| !ids.contains_key(&n.to_string())).collect();
    assert!(lost.is_empty(), "lost {lost:?}");
    // Nobody was killed: what was on the wire was finished, so nothing came twice.
    assert!(ids.values().all(|&times| times == 1), "{ids:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unspent_grants_of_a_cap_come_back_with_a_graceful_stop() {
    let sink = sink().await;
    // Slow enough that mail is on the wire when the signal comes.
    let slowly = Act::After(Duration::from_millis(20), Box::new(Act::Accept));
    sink.add(Rule::at(Stage::EndOfData, slowly));
    let settings = Settings::new()
        .set("server", "day", &crate::support::day_with_room().0)
        .set("queue", "max_attempts_in_flight", "5")
        .binding("a", 11, "daily_cap = 200")
        .pool("active = [\"a\"]")
        .to(sink.addr());
    let mut relay = Relay::start(&settings).await;
    crate::support::all_accepted(&relay.load(300).run().await);
    for least in [30, 80, 120] {
        wait_until("some more arrive", async || (sink.messages() >= least).then_some(())).await;
        assert!(relay.term().await.success());
        let at_rest = sink.source(local(11)).recipients;
        assert!(at_rest < 200, "the stop came too late to prove anything");
        // With everything refused for now, what is counted after the start is what was counted before.
        let refuse = sink.add(Rule::reply(Stage::Banner, "421 4.3.2 back in a moment"));
        relay.restart(&settings).await;
        let cap = named(&relay.status().await, "/bindings", "a")["cap"].clone();
        assert_eq!(number(&cap, "/used"), at_rest, "{cap:#}");
        sink.remove(refuse);
    }
    wait_until("the whole cap is used in spite of three stops", async || {
        (sink.source(local(11)).recipients >= 200).then_some(())
    })
    .await;
    wait_until("the rest waits for the cap", async || {
        let status = relay.status().await;
        let waits = |w: &serde_json::Value| w["reason"] == "cap" && w["recipients"] == 100;
        crate::support::array(&status, "/queue/waiting").iter().any(waits).then_some(())
    })
    .await;
    assert_eq!(sink.source(local(11)).recipients, 200);
    assert!(sink.ids().values().all(|&times| times == 1));
}
