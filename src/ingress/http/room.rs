//! Memory for requests: how much all may hold together, and how much one token while its requests come in.
//!
//! A request holds what came of it, not what it announces: whoever announces much and sends nothing takes nothing. While it
//! comes in, which may take minutes, it counts against its token's part; so a few that stand still do not shut the door for
//! the others. Once it is whole it holds what it takes to make mail of it, which takes moments: for that it waits where there
//! is no room now.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// One token's requests hold at most this part while they come in.
const PART: u64 = 4;

/// The bounds of all.
#[derive(Debug)]
pub(super) struct Room {
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Debug)]
struct State {
    octets: u64,
    /// What one token may hold of it while it sends.
    of_one: u64,
    held: u64,
    coming: HashMap<String, u64>,
}

impl Room {
    /// `octets` for all; `largest` is the largest body there may be, which everybody has room for.
    pub(super) fn new(octets: u64, largest: u64) -> Self {
        let state = State { octets, of_one: part(octets, largest), held: 0, coming: HashMap::new() };
        Self { state: Mutex::new(state), freed: Notify::new() }
    }

    /// Other bounds; what is held stays held.
    pub(super) fn change(&self, octets: u64, largest: u64) {
        let mut state = self.state.lock();
        (state.octets, state.of_one) = (octets, part(octets, largest));
        drop(state);
        self.freed.notify_waiters();
    }
}

fn part(octets: u64, largest: u64) -> u64 {
    (octets / PART).max(largest)
}

/// What one request holds; given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    room: Arc<Room>,
    token: String,
    octets: u64,
    comes: bool,
}

impl Share {
    /// Nothing yet.
    pub(super) fn new(room: &Arc<Room>, token: &str) -> Self {
        Self { room: Arc::clone(room), token: token.to_owned(), octets: 0, comes: true }
    }

    /// Whether so many octets of a request would fit in now.
    pub(super) fn fits(&self, octets: u64) -> bool {
        self.room.state.lock().has(&self.token, octets.saturating_sub(self.octets))
    }

    /// Holds `octets` of a request that is coming in. Whether there was room; where there was none it holds as much as before.
    pub(super) fn grow(&mut self, octets: u64) -> bool {
        if octets <= self.octets {
            return true;
        }
        let more = octets - self.octets;
        let mut state = self.room.state.lock();
        if !state.has(&self.token, more) {
            return false;
        }
        state.held += more;
        *state.coming.entry(self.token.clone()).or_default() += more;
        self.octets = octets;
        true
    }

    /// Holds `octets` for a request that came whole, all there are at most; waits for them as long as `patience`. Whether
    /// there was room.
    pub(super) async fn hold(&mut self, octets: u64, patience: Duration) -> bool {
        self.whole();
        let room = Arc::clone(&self.room);
        let granted = async {
            loop {
                let freed = room.freed.notified();
                tokio::pin!(freed);
                // What is freed from here on is heard of.
                freed.as_mut().enable();
                if self.resize(octets) {
                    return;
                }
                freed.await;
            }
        };
        tokio::time::timeout(patience, granted).await.is_ok()
    }

    /// Nothing more comes: what it holds is no longer of what its token sends.
    fn whole(&mut self) {
        if std::mem::take(&mut self.comes) {
            self.room.state.lock().leave(&self.token, self.octets);
        }
    }

    fn resize(&mut self, octets: u64) -> bool {
        let mut state = self.room.state.lock();
        // The largest there may be could take more than all: then it is alone.
        let octets = octets.min(state.octets).max(self.octets.min(octets));
        let all = state.held - self.octets + octets;
        let is_less = octets < self.octets;
        if octets > self.octets && all > state.octets {
            return false;
        }
        state.held = all;
        self.octets = octets;
        drop(state);
        if is_less {
            self.room.freed.notify_waiters();
        }
        true
    }
}

impl State {
    /// Whether there is room for `more` of what this token sends.
    fn has(&self, token: &str, more: u64) -> bool {
        let own = self.coming.get(token).copied().unwrap_or_default();
        self.held.saturating_add(more) <= self.octets && own.saturating_add(more) <= self.of_one
    }

    /// So much of what this token sends came whole, or will not come.
    fn leave(&mut self, token: &str, octets: u64) {
        if let Some(coming) = self.coming.get_mut(token) {
            *coming = coming.saturating_sub(octets);
            if *coming == 0 {
                self.coming.remove(token);
            }
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.whole();
        self.resize(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOT: Duration = Duration::ZERO;

    #[test]
    fn one_token_holds_a_quarter_while_it_sends_and_always_one_largest() {
        let room = Arc::new(Room::new(100, 10));
        let (mut one, mut two, mut other) = (Share::new(&room, "a"), Share::new(&room, "a"), Share::new(&room, "b"));
        assert!(one.grow(20) && two.grow(5) && !two.grow(6) && other.grow(25));
        drop(one);
        assert!(two.grow(25) && !two.fits(26));
        room.change(100, 60);
        assert!(two.grow(60) && !other.grow(41) && other.grow(40));
        drop((two, other));
        let state = room.state.lock();
        assert!(state.held == 0 && state.coming.is_empty());
    }

    #[tokio::test]
    async fn what_came_whole_waits_for_room_and_is_its_tokens_no_more() {
        let room = Arc::new(Room::new(100, 10));
        let (mut one, mut two) = (Share::new(&room, "a"), Share::new(&room, "a"));
        assert!(one.grow(25) && one.hold(75, NOT).await && two.grow(25));
        assert!(!two.hold(75, NOT).await, "nor does it lose what it has");
        assert_eq!(room.state.lock().held, 100);
        let waits = tokio::spawn(async move {
            let had = two.hold(300, Duration::from_secs(60)).await;
            (had, two)
        });
        while room.state.lock().coming.contains_key("a") {
            tokio::task::yield_now().await;
        }
        drop(one);
        let (had, two) = waits.await.expect("no panic");
        assert!(had && room.state.lock().held == 100, "all there is");
        drop(two);
        assert_eq!(room.state.lock().held, 0);
    }
}
