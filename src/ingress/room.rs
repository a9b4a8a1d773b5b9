//! Room in memory for what strangers send.
//!
//! A report is taken from anybody, and whole: a few dozen strangers that each begin a large one and never end it would
//! otherwise hold hundreds of megabytes. All of them share one bound, and are put off while it is reached; clients that may
//! relay do not take part.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The bound that all share.
#[derive(Debug)]
pub struct Room {
    octets: u64,
    held: AtomicU64,
}

impl Room {
    /// Room for that many octets.
    pub fn new(octets: u64) -> Self {
        Self { octets, held: AtomicU64::new(0) }
    }

    /// Whether nothing more fits in.
    pub fn is_full(&self) -> bool {
        self.held.load(Ordering::Relaxed) >= self.octets
    }
}

/// One client's share; given back when dropped.
#[derive(Debug)]
pub struct Share {
    room: Arc<Room>,
    octets: u64,
}

impl Share {
    /// An empty one.
    pub fn new(room: &Arc<Room>) -> Self {
        Self { room: Arc::clone(room), octets: 0 }
    }

    /// Makes it `octets` large. Whether there was room; where there was none it is as large as before.
    pub fn resize(&mut self, octets: u64) -> bool {
        let (mine, room) = (self.octets, self.room.octets);
        let fits = |held: u64| {
            let all = held.saturating_sub(mine).saturating_add(octets);
            (octets <= mine || all <= room).then_some(all)
        };
        let done = self.room.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok();
        if done {
            self.octets = octets;
        }
        done
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.resize(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_never_sum_up_to_more_than_the_room_and_come_back() {
        let room = Arc::new(Room::new(100));
        let (mut one, mut two) = (Share::new(&room), Share::new(&room));
        assert!(one.resize(60) && !two.resize(41) && two.resize(40) && room.is_full());
        assert!(!one.resize(61) && one.resize(50) && !room.is_full());
        drop(one);
        assert!(two.resize(100) && room.is_full());
        drop(two);
        assert_eq!(room.held.load(Ordering::Relaxed), 0);
    }
}
