//! How often a client may be wrong. Pure.
//!
//! [`BURST`] wrong tokens at once, then one in [`EVERY`]. An address counts by itself, IPv6 by its /64, which is what one
//! host has. Memory is bounded: whoever failed longest ago is forgotten first, which gives away less than refusing those
//! who were never wrong.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::clock::Mono;

/// Wrong tokens at once.
const BURST: u32 = 10;
/// After which one more is forgiven.
const EVERY: Duration = Duration::from_secs(6);
/// Clients remembered.
const CLIENTS: usize = 4096;
/// Failures that are worth an event each hour, whoever they are from; all are counted.
const NEWS: u32 = 60;
const HOUR: Duration = Duration::from_secs(3600);

#[derive(Clone, Copy, Debug)]
struct Failed {
    /// Failures not yet forgiven, at `at`.
    count: u32,
    at: Mono,
}

impl Failed {
    /// As it is at `now`, and when one more is forgiven.
    fn at(self, now: Mono) -> Self {
        let forgiven = now.since(self.at).as_nanos() / EVERY.as_nanos();
        let forgiven = u32::try_from(forgiven).unwrap_or(u32::MAX);
        if forgiven >= self.count {
            return Self { count: 0, at: now };
        }
        let step = u64::from(forgiven) * u64::try_from(EVERY.as_nanos()).unwrap_or(u64::MAX);
        Self { count: self.count - forgiven, at: Mono::from_nanos(self.at.as_nanos().saturating_add(step)) }
    }
}

/// Who was wrong lately.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    clients: HashMap<Option<IpAddr>, Failed>,
    /// Events of this hour, and when it began.
    news: (u32, Mono),
}

/// Who counts as one client.
pub(crate) fn key(client: Option<IpAddr>) -> Option<IpAddr> {
    client.map(|client| match client.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    })
}

impl Failures {
    /// How long `client` has to wait before it is heard again; `None` where it is heard.
    pub(crate) fn wait(&self, client: Option<IpAddr>, now: Mono) -> Option<Duration> {
        let failed = self.clients.get(&key(client))?.at(now);
        (failed.count >= BURST).then(|| EVERY.saturating_sub(now.since(failed.at)).max(Duration::from_secs(1)))
    }

    /// Notes that `client` was wrong. Whether that is worth an event: the first time in a while, and when it goes too far.
    pub(crate) fn failed(&mut self, client: Option<IpAddr>, now: Mono) -> bool {
        let client = key(client);
        if !self.clients.contains_key(&client) && self.clients.len() >= CLIENTS {
            self.clients.retain(|_, failed| failed.at(now).count > 0);
            if self.clients.len() >= CLIENTS
                && let Some(oldest) = self.clients.iter().min_by_key(|(_, failed)| failed.at).map(|(key, _)| *key)
            {
                self.clients.remove(&oldest);
            }
        }
        let failed = self.clients.entry(client).or_insert(Failed { count: 0, at: now });
        *failed = failed.at(now);
        if failed.count == 0 {
            failed.at = now;
        }
        failed.count = failed.count.saturating_add(1).min(BURST);
        let is_turn = failed.count == 1 || failed.count == BURST;
        is_turn && self.is_room_for_news(now)
    }

    fn is_room_for_news(&mut self, now: Mono) -> bool {
        if now.since(self.news.1) >= HOUR {
            self.news = (0, now);
        }
        self.news.0 += 1;
        self.news.0 <= NEWS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn ten_wrong_tokens_are_heard_then_one_in_six_seconds() {
        let mut failures = Failures::default();
        let client = Some("192.0.2.1".parse().expect("an address"));
        let news: Vec<bool> = (0..10).map(|_| failures.failed(client, at(0))).collect();
        assert_eq!(news.iter().filter(|news| **news).count(), 2, "the first and the last one");
        assert_eq!(failures.wait(client, at(0)), Some(Duration::from_secs(6)));
        assert_eq!(failures.wait(client, at(5)), Some(Duration::from_secs(1)));
        assert_eq!(failures.wait(client, at(6)), None);
        failures.failed(client, at(6));
        assert_eq!(failures.wait(client, at(6)), Some(Duration::from_secs(6)), "one for one");
        assert_eq!(failures.wait(Some("192.0.2.2".parse().expect("an address")), at(6)), None, "others are heard");
        assert_eq!(failures.wait(client, at(70)), None);
        assert!(failures.failed(client, at(1_000)), "long after it is news again");
    }

    #[test]
    fn one_host_has_one_count_whichever_of_its_addresses_it_uses() {
        let mut failures = Failures::default();
        for n in 0..10 {
            failures.failed(Some(format!("2001:db8::{n}").parse().expect("an address")), at(0));
        }
        let wait = |text: &str| failures.wait(Some(text.parse().expect("an address")), at(0)).is_some();
        assert_eq!((wait("2001:db8::ffff"), wait("2001:db8:0:1::1")), (true, false));
    }

    #[test]
    fn memory_and_news_are_bounded() {
        let mut failures = Failures::default();
        let mut news = 0;
        for n in 0..10_000_u32 {
            news += u32::from(failures.failed(Some(IpAddr::from(n.to_be_bytes())), at(1)));
        }
        assert_eq!((failures.clients.len(), news), (CLIENTS, NEWS));
    }
}
