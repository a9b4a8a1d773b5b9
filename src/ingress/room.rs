//! Room in memory for messages that come in: for all of them, and for what strangers send.
//!
//! All messages share `server.memory`: one that would exceed it is put off before it begins, so that many large ones at a time
//! cost time and not the process. Whoever may relay may have all of it, by what it sends: what one client merely announces
//! ([`Share::promise`]) keeps a quarter free for it, or one message where that is larger, so that nobody closes the door for
//! all with a few words.
//!
//! A report is taken from anybody, and whole: a few dozen strangers that each begin a large one and never end it would
//! otherwise hold hundreds of megabytes. All of them share one bound, of which one client has a quarter at most, and are put
//! off while it is reached; clients that may relay do not take part in that.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;

/// One client holds at most this part of the room, so that a few slow ones do not close the door for all.
const PART: u64 = 4;

/// The bound that all share.
#[derive(Debug)]
pub struct Room {
    octets: u64,
    /// What one client may hold of it.
    of_one: u64,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    all: u64,
    /// Of those who hold something.
    by_client: HashMap<IpAddr, u64>,
    /// What was promised to each for messages under way.
    promised: HashMap<IpAddr, u64>,
}

impl Room {
    /// Room for that many octets, a quarter of them for one client.
    pub fn new(octets: u64) -> Self {
        Self { octets, of_one: octets / PART, held: Mutex::default() }
    }

    /// Room for that many octets, all of them for whoever comes.
    pub fn undivided(octets: u64) -> Self {
        Self { octets, of_one: octets, held: Mutex::default() }
    }

    /// Whether so many octets fit in now.
    pub fn fits(&self, octets: u64) -> bool {
        self.held.lock().all.saturating_add(octets) <= self.octets
    }

    /// Octets that are held now.
    pub fn held(&self) -> u64 {
        self.held.lock().all
    }

    /// Whether nothing more fits in.
    pub fn is_full(&self) -> bool {
        self.held.lock().all >= self.octets
    }
}

/// One message's share; given back when dropped.
#[derive(Debug)]
pub struct Share {
    room: Arc<Room>,
    client: IpAddr,
    octets: u64,
    promised: u64,
}

impl Share {
    /// An empty one of a client; an IPv6 client counts with its /64, out of which it has as many addresses as it likes.
    pub fn new(room: &Arc<Room>, client: IpAddr) -> Self {
        let client = match client.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
            v4 => v4,
        };
        Self { room: Arc::clone(room), client, octets: 0, promised: 0 }
    }

    /// Promises the client so many octets for this message, until it is dropped: whether that is within what one client may
    /// have by announcing. Nothing is held by that yet.
    pub fn promise(&mut self, octets: u64) -> bool {
        let mut held = self.room.held.lock();
        let others = held.promised.get(&self.client).copied().unwrap_or(0).saturating_sub(self.promised);
        let all = others.saturating_add(octets);
        if others > 0 && all > self.room.octets / PART {
            return false;
        }
        held.promised.insert(self.client, all);
        self.promised = octets;
        true
    }

    /// Whether [`Share::resize`] would find room now.
    pub fn would_grow(&self, octets: u64) -> bool {
        let held = self.room.held.lock();
        let (all, own) = self.after(&held, octets);
        octets <= self.octets || all <= self.room.octets && own <= self.room.of_one
    }

    /// What all and what this client would hold.
    fn after(&self, held: &Held, octets: u64) -> (u64, u64) {
        let own = held.by_client.get(&self.client).copied().unwrap_or(0);
        let own = own.saturating_sub(self.octets).saturating_add(octets);
        (held.all.saturating_sub(self.octets).saturating_add(octets), own)
    }

    /// Makes it `octets` large. Whether there was room; where there was none it is as large as before.
    pub fn resize(&mut self, octets: u64) -> bool {
        let mut held = self.room.held.lock();
        let (all, own) = self.after(&held, octets);
        if octets > self.octets && (all > self.room.octets || own > self.room.of_one) {
            return false;
        }
        held.all = all;
        match own {
            0 => held.by_client.remove(&self.client),
            own => held.by_client.insert(self.client, own),
        };
        self.octets = octets;
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.resize(0);
        let mut held = self.room.held.lock();
        match held.promised.get(&self.client).copied().unwrap_or(0).saturating_sub(self.promised) {
            0 => held.promised.remove(&self.client),
            left => held.promised.insert(self.client, left),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn shares_never_sum_up_to_more_than_the_room_and_come_back() {
        let room = Arc::new(Room::new(100));
        let mut all: Vec<Share> = (1..=4).map(|last| Share::new(&room, client(last))).collect();
        assert!(all.iter_mut().all(|share| share.resize(25)) && room.is_full());
        let mut late = Share::new(&room, client(5));
        assert!(!late.resize(1));
        assert!(all[0].resize(20) && !room.is_full() && late.resize(5) && room.is_full());
        drop((all, late));
        assert!(room.held.lock().all == 0 && room.held.lock().by_client.is_empty());
    }

    #[test]
    fn an_undivided_room_is_for_whoever_comes() {
        let room = Arc::new(Room::undivided(100));
        let mut one = Share::new(&room, client(1));
        assert!(room.fits(100) && !room.fits(101) && one.resize(90) && room.fits(10) && !room.fits(11));
        assert!(!one.resize(101) && room.held() == 90 && one.resize(100) && room.is_full() && !room.fits(1));
    }

    #[test]
    fn announcing_keeps_a_quarter_free_for_a_client_or_one_message() {
        let room = Arc::new(Room::undivided(100));
        let share = |last| Share::new(&room, client(last));
        let (mut one, mut two, mut three) = (share(1), share(1), share(1));
        assert!(one.promise(20) && !two.promise(6) && two.promise(5) && !three.promise(1));
        assert!(three.resize(80) && three.would_grow(100) && !three.would_grow(101), "what arrives has it all");
        assert!(share(2).promise(90), "one message, of another client");
        assert!(share(2).would_grow(20) && !share(2).would_grow(21));
        drop((one, two, three));
        assert!(room.held.lock().promised.is_empty() && room.held() == 0);
    }

    #[test]
    fn one_client_holds_a_quarter_at_most_over_all_its_sessions() {
        let room = Arc::new(Room::new(100));
        let (mut one, mut two) = (Share::new(&room, client(1)), Share::new(&room, client(1)));
        assert!(one.resize(20) && !two.resize(6) && two.resize(5) && !one.resize(21));
        let six = |text: &str| Share::new(&room, text.parse().expect("address"));
        let (mut six_a, mut six_b) = (six("2001:db8::1"), six("2001:db8::2"));
        assert!(six_a.resize(25) && !six_b.resize(1));
        assert!(six("2001:db8:0:1::1").resize(25));
        drop(one);
        assert!(two.resize(25));
    }
}
