//! kill -9 at any moment: every message answered `250` is delivered, and only what was on the wire comes twice.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::support::{Relay, Settings, sink, wait_until};

const ROUNDS: u64 = 20;
const PER_ROUND: u64 = 300;
const IN_FLIGHT: u64 = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_kills_under_load_lose_nothing_that_was_answered_250() {
    let seed = std::env::var("REMUDA_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(20_261_122);
    println!("REMUDA_SEED={seed} repeats the moments of the kills");
    let mut random = StdRng::seed_from_u64(seed);

    let sink = sink().await;
    let settings = Settings::new()
        .set("queue", "max_attempts_in_flight", &IN_FLIGHT.to_string())
        .binding("a", 11, "")
        .binding("b", 12, "")
        .pool("active = [\"a\", \"b\"]")
        .to(sink.addr());
    let mut relay = Relay::start(&settings).await;
    let (mut accepted, mut unknown) = (BTreeSet::new(), BTreeSet::new());
    for round in 0..ROUNDS {
        let load = relay.load(PER_ROUND).first(round * PER_ROUND).size(1500);
        let progress = load.progress();
        let sending = tokio::spawn(load.run());
        // Some kills while clients send, some after, while mail still leaves.
        let enough = random.random_range(1..=PER_ROUND);
        let later = sink.messages() + random.random_range(0..PER_ROUND / 2);
        let wait_for_mail = random.random_bool(0.5);
        wait_until("the moment of the kill", async || {
            let sent = progress.load(Ordering::SeqCst) >= enough || sending.is_finished();
            (sent && (!wait_for_mail || sink.messages() >= later)).then_some(())
        })
        .await;
        relay.kill9();
        let done = sending.await.unwrap();
        assert!(done.refused.is_empty(), "{:?}", done.refused.first());
        accepted.extend(done.accepted);
        unknown.extend(done.unknown);
        relay.restart(&settings).await;
    }
    relay.wait_until_empty().await;

    let ids = sink.ids();
    let lost: Vec<_> = accepted.iter().filter(|n| !ids.contains_key(&n.to_string())).collect();
    assert!(lost.is_empty(), "answered 250 and lost: {lost:?}");
    let known = |id: &String| id.parse().is_ok_and(|n: u64| accepted.contains(&n) || unknown.contains(&n));
    let invented: Vec<_> = ids.keys().filter(|id| !known(id)).collect();
    assert!(invented.is_empty(), "nobody sent {invented:?}");
    let again: u64 = ids.values().map(|times| times - 1).sum();
    println!("{} accepted, {} unknown, {again} came twice over {ROUNDS} kills", accepted.len(), unknown.len());
    assert!(again <= ROUNDS * IN_FLIGHT, "{again} came twice, more than were on the wire");
    assert!(accepted.len() as u64 > ROUNDS * PER_ROUND / 10, "the load hardly started: {}", accepted.len());
}
