//! Steady mail of three tenants to everybody.
//!
//! Whose the message of a number is and where it goes follows from the number alone, so that a run is like another.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::receivers::NOBODY;
use crate::demo::injector::Load;

/// Messages per second at first.
pub(super) const RATE: u32 = 10;

/// Mail goes out in small loads, this often.
const TICK: Duration = Duration::from_millis(250);

/// Senders, and how many of a hundred messages are theirs.
const SENDERS: [(&str, u64); 4] =
    [("receipts@acme.example", 25), ("news@acme.example", 25), ("shop@bolt.example", 30), ("desk@coral.example", 20)];

/// Receivers' domains, likewise.
const DOMAINS: [(&str, u64); 6] = [
    ("alpha.example", 40),
    ("beta.example", 15),
    ("gamma.example", 20),
    ("delta.example", 20),
    ("small.example", 4),
    ("omega.example", 1),
];

/// Different recipients at each domain.
const USERS: u64 = 500;

/// One message in so many goes to nobody.
const UNKNOWN_EVERY: u64 = 100;

/// What is wished of it, and what became of it.
pub(super) struct Traffic {
    rate: AtomicU32,
    is_paused: AtomicBool,
    /// Numbers given out.
    pub(super) sent: AtomicU64,
    /// Answered 250.
    pub(super) accepted: AtomicU64,
    /// Sent without an answer: the relay may or may not have them.
    pub(super) unknown: AtomicU64,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            rate: AtomicU32::new(RATE),
            is_paused: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
        }
    }
}

impl Traffic {
    /// From now on so many messages per second.
    pub(super) fn set_rate(&self, per_second: u32) {
        self.rate.store(per_second, Ordering::Relaxed);
    }

    pub(super) fn pause(&self, is_paused: bool) {
        self.is_paused.store(is_paused, Ordering::Relaxed);
    }

    /// In words.
    pub(super) fn text(&self) -> String {
        let state = if self.is_paused.load(Ordering::Relaxed) { "paused" } else { "on" };
        format!("{state}, {} messages per second", self.rate.load(Ordering::Relaxed))
    }

    /// Sends to `relay` until told to stop; what is on the wire then is finished.
    pub(super) async fn run(self: Arc<Self>, relay: SocketAddr, mut stop: watch::Receiver<bool>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // In quarters of a message, since a tick is a quarter of a second.
        let mut due = 0;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                // An error means that the world is gone, which is a stop as well.
                _ = stop.wait_for(|stop| *stop) => return,
            }
            if self.is_paused.load(Ordering::Relaxed) {
                due = 0;
                continue;
            }
            due += self.rate.load(Ordering::Relaxed);
            self.send(relay, u64::from(due / 4)).await;
            due %= 4;
        }
    }

    async fn send(&self, relay: SocketAddr, count: u64) {
        if count == 0 {
            return;
        }
        let first = self.sent.fetch_add(count, Ordering::SeqCst);
        let load = Load::new(relay, count)
            .first(first)
            .sessions(4)
            .size(2048)
            .patience(Duration::from_secs(20))
            .reverse_path(|n| sender(n).into())
            .recipients(|n| vec![recipient(n)]);
        let done = load.run().await;
        self.accepted.fetch_add(done.accepted.len() as u64, Ordering::SeqCst);
        self.unknown.fetch_add(done.unknown.len() as u64, Ordering::SeqCst);
    }
}

/// A number between 0 and 99 that looks like chance (SplitMix64), unlike that of another `salt`.
fn hundredth(n: u64, salt: u64) -> u64 {
    let mixed = n.wrapping_add(salt << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) % 100
}

fn pick<'a>(from: &[(&'a str, u64)], mut at: u64) -> &'a str {
    for (name, share) in from {
        match at.checked_sub(*share) {
            Some(rest) => at = rest,
            None => return name,
        }
    }
    from.last().map_or("", |(name, _)| name)
}

fn sender(n: u64) -> &'static str {
    pick(&SENDERS, hundredth(n, 1))
}

fn recipient(n: u64) -> String {
    let domain = pick(&DOMAINS, hundredth(n, 2));
    match n % UNKNOWN_EVERY {
        0 => format!("{NOBODY}@{domain}"),
        _ => format!("user{}@{domain}", n % USERS),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn shares_are_what_they_say_for_each_sender_and_receiver_together() {
        let mut of: BTreeMap<(&str, String), u64> = BTreeMap::new();
        for n in 0..100_000 {
            let to = recipient(n);
            let domain = to.split_once('@').unwrap().1;
            *of.entry((sender(n), domain.to_owned())).or_default() += 1;
        }
        for (from, share) in SENDERS {
            for (domain, part) in DOMAINS {
                let (wanted, is) = (share * part * 10, of[&(from, domain.to_owned())]);
                assert!(is.abs_diff(wanted) < wanted / 4 + 100, "{from} to {domain}: {is}, not {wanted}");
            }
        }
        assert_eq!((0..10_000).filter(|n| recipient(*n).starts_with("nobody@")).count(), 100);
    }
}
