//! Who failed to log in too often waits: without it a password could be guessed as fast as the machine can hash.
//!
//! Failures are counted three ways: of a client at one user (few are allowed), of a user over all clients (guessing from
//! many places), of a client over all users (trying many names). Beyond what is allowed each further failure doubles a
//! pause, up to [`PAUSE_MAX`]; an hour without any forgets them. A client that lately logged in as the user is held up
//! only by its own failures at it, and one in the listener's `trust` only by its own at all, so that nobody locks them out
//! of their account by guessing at it from elsewhere. A client that is neither has to wait while others guess.
//!
//! On loopback one address stands for everybody on the machine: there no client's failures over all users are counted,
//! and whoever asks first looks at the password ([`super::Users::verify`]).
//!
//! The book is bounded. Where it is full, names that nobody has make room first, the one touched longest ago before others,
//! and logins last: an attacker with many addresses can make it forget failures, but each of those has only so many tries
//! first, and with invented names nothing. (Invented names are counted as others are, since who is not made to wait would
//! know that there is no such user.)

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::clock::Mono;
use crate::ingress::Caller;

/// Failures without a pause: of a client at a user, of a user, of a client.
const ALLOWED: [u32; 3] = [5, 20, 50];
/// The first pause.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest one.
pub const PAUSE_MAX: Duration = Duration::from_secs(5 * 60);
/// After this long without a failure there was none.
const FORGET: Duration = Duration::from_secs(60 * 60);
/// How long a login vouches for the client.
const VOUCHED: Duration = Duration::from_secs(24 * 60 * 60);
/// Entries.
const ENTRIES_MAX: usize = 8192;

/// Whose failures are counted together. Names are kept as numbers: what is typed there may be a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Pair(IpAddr, u64),
    User(u64),
    Client(IpAddr),
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    failures: u32,
    /// Whether it says something of a client, or of a user who is there.
    real: bool,
    /// Of the last failure, or of the last login.
    at: Mono,
    /// Of the last login.
    vouched: Option<Mono>,
}

impl Entry {
    fn is_vouched(&self, now: Mono) -> bool {
        self.vouched.is_some_and(|at| now.since(at) < VOUCHED)
    }
}

/// The book of failures.
#[derive(Debug, Default)]
pub struct Brake {
    entries: HashMap<Key, Entry>,
}

/// The name's number; `seed` is the process's own.
pub fn name_key(name: &str, seed: u64) -> u64 {
    use std::hash::{Hash, Hasher};
    let mut hasher = siphasher::sip::SipHasher13::new_with_keys(seed, seed.rotate_left(32));
    name.hash(&mut hasher);
    hasher.finish()
}

/// Who is one client: an address, or an IPv6 network of which one customer has all addresses.
fn whole(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) if address.is_loopback() => client,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        address => address,
    }
}

impl Brake {
    /// How long `caller` has to wait before it may try to be `user`; zero lets it try.
    pub fn pause(&self, caller: Caller, user: u64, now: Mono) -> Duration {
        let keys = keys(caller.ip, user);
        let is_vouched = self.entries.get(&keys[0]).is_some_and(|entry| entry.is_vouched(now));
        let counts = |(key, _): &(&Key, u32)| match key {
            Key::Pair(..) => true,
            Key::User(_) => !is_vouched && !caller.trusted,
            Key::Client(_) => !is_vouched,
        };
        let left = |(key, allowed): (&Key, u32)| {
            let entry = self.entries.get(key)?;
            Some(pause(entry.failures, allowed).saturating_sub(now.since(entry.at)))
        };
        keys.iter().zip(ALLOWED).filter(counts).filter_map(left).max().unwrap_or_default()
    }

    /// A login failed; `known` says whether there is such a user.
    pub fn failed(&mut self, client: IpAddr, user: u64, known: bool, now: Mono) {
        for key in keys(client, user) {
            if matches!(key, Key::Client(client) if client.is_loopback()) {
                continue;
            }
            self.make_room(key, now);
            let entry = self.entries.entry(key).or_insert(Entry { failures: 0, real: false, at: now, vouched: None });
            entry.real |= known || matches!(key, Key::Client(_));
            let before = if now.since(entry.at) >= FORGET { 0 } else { entry.failures };
            entry.failures = before.saturating_add(1);
            entry.at = now;
        }
    }

    /// A login succeeded: the client's failures at this user are forgiven, what others did is not.
    pub fn succeeded(&mut self, client: IpAddr, user: u64, now: Mono) {
        let pair = keys(client, user)[0];
        self.make_room(pair, now);
        self.entries.insert(pair, Entry { failures: 0, real: true, at: now, vouched: Some(now) });
    }

    fn make_room(&mut self, key: Key, now: Mono) {
        if self.entries.len() < ENTRIES_MAX || self.entries.contains_key(&key) {
            return;
        }
        self.entries.retain(|_, entry| now.since(entry.at) < FORGET || entry.is_vouched(now));
        if self.entries.len() >= ENTRIES_MAX {
            let oldest = self
                .entries
                .iter()
                .min_by_key(|(key, entry)| (entry.is_vouched(now), entry.real, matches!(key, Key::User(_)), entry.at))
                .map(|(key, _)| *key);
            oldest.map(|key| self.entries.remove(&key));
        }
    }
}

fn keys(client: IpAddr, user: u64) -> [Key; 3] {
    let client = whole(client);
    [Key::Pair(client, user), Key::User(user), Key::Client(client)]
}

fn pause(failures: u32, allowed: u32) -> Duration {
    match failures.checked_sub(allowed) {
        None | Some(0) => Duration::ZERO,
        Some(beyond) => PAUSE.saturating_mul(1 << (beyond - 1).min(20)).min(PAUSE_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::from_nanos(seconds * 1_000_000_000)
    }

    fn client(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn seconds(brake: &Brake, from: u8, user: u64, now: u64) -> u64 {
        brake.pause(client(from).into(), user, at(now)).as_secs()
    }

    #[test]
    fn the_pause_of_a_client_at_a_user_doubles_up_to_its_limit() {
        let mut brake = Brake::default();
        let mut pauses = Vec::new();
        for _ in 0..16 {
            brake.failed(client(1), 1, true, at(10));
            pauses.push(seconds(&brake, 1, 1, 10));
        }
        assert_eq!(pauses, [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(seconds(&brake, 1, 1, 110), 200, "it runs off");
        assert_eq!(seconds(&brake, 1, 2, 10), 0, "another user, the same client");
        assert_eq!(seconds(&brake, 2, 1, 10), 0, "the same user, another client");
    }

    #[test]
    fn a_user_guessed_at_from_many_places_and_a_client_with_many_names_wait() {
        let mut brake = Brake::default();
        (1..=21).for_each(|from| brake.failed(client(from), 1, true, at(1)));
        assert_eq!(seconds(&brake, 200, 1, 1), 1, "a place that never tried");
        let mut brake = Brake::default();
        (1..=52).for_each(|user| brake.failed(client(1), user, true, at(1)));
        assert_eq!((seconds(&brake, 1, 999, 1), seconds(&brake, 2, 999, 1)), (2, 0));
    }

    #[test]
    fn who_logged_in_lately_is_held_up_by_nobody_else() {
        let mut brake = Brake::default();
        brake.succeeded(client(9), 1, at(0));
        (1..=40).for_each(|from| brake.failed(client(from), 1, true, at(5)));
        assert_eq!((seconds(&brake, 9, 1, 5), seconds(&brake, 77, 1, 5) > 0), (0, true));
        let day = VOUCHED.as_secs();
        (1..=40).for_each(|from| brake.failed(client(from), 1, true, at(day)));
        assert!(seconds(&brake, 9, 1, day) > 0, "that was long ago");
        brake.succeeded(client(9), 1, at(day));
        (0..6).for_each(|_| brake.failed(client(9), 1, true, at(day)));
        assert_eq!(seconds(&brake, 9, 1, day), 1, "its own failures count");
        brake.succeeded(client(9), 1, at(day + 1));
        assert_eq!(seconds(&brake, 9, 1, day + 1), 0, "and are forgiven");
    }

    #[test]
    fn a_trusted_client_is_held_up_by_its_own_failures_only() {
        let mut brake = Brake::default();
        (1..=40).for_each(|from| brake.failed(client(from), 1, true, at(5)));
        let trusted = |brake: &Brake, from| brake.pause(Caller { ip: client(from), trusted: true }, 1, at(5));
        assert!(seconds(&brake, 99, 1, 5) > 0 && trusted(&brake, 99).is_zero());
        (0..6).for_each(|_| brake.failed(client(99), 1, true, at(5)));
        assert_eq!(trusted(&brake, 99).as_secs(), 1);
        (0..52).for_each(|user| brake.failed(client(98), 100 + user, true, at(5)));
        assert!(!trusted(&brake, 98).is_zero(), "it tries many names");
    }

    #[test]
    fn invented_names_make_nobody_forgotten_and_logins_go_last() {
        let mut brake = Brake::default();
        brake.succeeded(client(9), 1, at(0));
        (0..30).for_each(|_| brake.failed(client(1), 1, true, at(0)));
        for n in 0..9_000u32 {
            brake.failed(client(2), u64::from(n) + 10, false, at(1));
        }
        assert!(seconds(&brake, 1, 1, 1) > 0 && seconds(&brake, 77, 1, 1) > 0, "failures at a user who is there stand");
        for n in 0..9_000u32 {
            brake.failed(IpAddr::from(n.to_be_bytes()), 1, true, at(2));
        }
        assert!(seconds(&brake, 77, 1, 2) > 0);
        assert_eq!(seconds(&brake, 9, 1, 2), 0, "who logged in is still known");
    }

    #[test]
    fn an_hour_without_failures_forgets_them() {
        let mut brake = Brake::default();
        (0..20).for_each(|_| brake.failed(client(1), 1, true, at(0)));
        brake.failed(client(1), 1, true, at(3600));
        assert_eq!(seconds(&brake, 1, 1, 3600), 0);
    }

    #[test]
    fn a_network_of_ipv6_is_one_client_and_the_book_stays_small() {
        let mut brake = Brake::default();
        let address = |last: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, last]);
        (0..6).for_each(|n| brake.failed(address(n), 1, true, at(0)));
        assert!(brake.pause(address(99).into(), 1, at(0)) > Duration::ZERO);
        assert_eq!(brake.pause(IpAddr::from([0x2001, 0xdb8, 0, 2, 0, 0, 0, 1]).into(), 2, at(0)), Duration::ZERO);
        for n in 0..20_000u32 {
            brake.failed(IpAddr::from(n.to_be_bytes()), u64::from(n), true, at(1));
        }
        assert!(brake.entries.len() <= ENTRIES_MAX);
    }

    #[test]
    fn one_program_with_a_wrong_name_brakes_no_other_on_its_machine() {
        for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            let (mut brake, client): (_, IpAddr) = (Brake::default(), address.parse().expect("an address"));
            (1..=200).for_each(|user| brake.failed(client, user, true, at(1)));
            assert_eq!(brake.pause(client.into(), 999, at(1)), Duration::ZERO, "{address}");
        }
    }

    #[test]
    fn names_are_kept_as_numbers_that_differ_between_processes() {
        assert_ne!(name_key("acme", 1), name_key("acme", 2));
        assert_ne!(name_key("acme", 1), name_key("acne", 1));
    }
}
