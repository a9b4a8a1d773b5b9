//! What was accepted a moment ago, kept at hand for its first attempt.
//!
//! Most mail is tried within milliseconds of its `250`; reading back what was just written would be waste. So entries
//! and bodies stay here until their first attempt takes them, as long as they fit. Nothing depends on it: what is not
//! here is read from the spool, where everything is. When room is needed the oldest go, since what has waited long
//! will wait longer. An entry leaves when it is taken, so what is here is always what is on disk.

use std::collections::BTreeMap;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::message::{Entry, EntryId};

/// What an entry is taken to weigh besides its body and its recipients, in octets.
const ENTRY_OCTETS: usize = 600;
const RECIPIENT_OCTETS: usize = 150;

/// Entries with their bodies, up to a number of octets.
#[derive(Debug)]
pub struct Fresh {
    room: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    octets: usize,
    // Ids grow with time: the first is the oldest.
    entries: BTreeMap<EntryId, (Entry, Bytes)>,
}

impl Held {
    fn remove(&mut self, id: EntryId) -> Option<(Entry, Bytes)> {
        let taken = self.entries.remove(&id)?;
        self.octets -= weight(&taken.0, &taken.1);
        Some(taken)
    }
}

/// Entries that share a body count it each: too much rather than too little.
fn weight(entry: &Entry, body: &Bytes) -> usize {
    ENTRY_OCTETS + RECIPIENT_OCTETS * entry.recipients.len() + body.len()
}

impl Fresh {
    /// Room for `octets`.
    pub fn new(octets: usize) -> Self {
        Self { room: octets, held: Mutex::default() }
    }

    /// Keeps an entry that is on disk, if it can have room at all. No attempt may have begun.
    pub fn put(&self, entry: Entry, body: Bytes) {
        let weight = weight(&entry, &body);
        if weight > self.room {
            return;
        }
        let mut held = self.held.lock();
        while held.octets + weight > self.room {
            let Some(oldest) = held.entries.keys().next().copied() else { break };
            held.remove(oldest);
        }
        held.remove(entry.id);
        held.octets += weight;
        held.entries.insert(entry.id, (entry, body));
    }

    /// The entry and its body, for the one who is about to change or remove it.
    pub fn take(&self, id: EntryId) -> Option<(Entry, Bytes)> {
        self.held.lock().remove(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Wall;
    use crate::message::{EntryState, Mailbox, MessageId, Wishes};

    fn entry(id: u64) -> Entry {
        Entry {
            id: EntryId(id),
            message: MessageId(id),
            tenant: "acme".into(),
            stream: "default".into(),
            pool: "main".into(),
            domain: "example.org".parse().unwrap(),
            reverse_path: None,
            recipients: vec!["a@example.org".parse::<Mailbox>().unwrap().into()],
            arrived: Wall::from_millis(0),
            expires: Wall::from_millis(1),
            size: 0,
            eight_bit: false,
            wishes: Wishes::NONE,
            state: EntryState::default(),
        }
    }

    fn held(fresh: &Fresh) -> Vec<u64> {
        fresh.held.lock().entries.keys().map(|id| id.0).collect()
    }

    #[test]
    fn what_is_taken_is_gone_and_leaves_its_room() {
        let fresh = Fresh::new(10_000);
        fresh.put(entry(1), Bytes::from_static(b"body"));
        assert_eq!(fresh.take(EntryId(1)), Some((entry(1), Bytes::from_static(b"body"))));
        assert_eq!(fresh.take(EntryId(1)), None);
        assert_eq!(fresh.held.lock().octets, 0);
    }

    #[test]
    fn the_oldest_make_room_and_what_can_have_none_stays_out() {
        let fresh = Fresh::new(3 * 1750);
        let body = Bytes::from(vec![0; 1000]);
        for id in 1..=5 {
            fresh.put(entry(id), body.clone());
        }
        assert_eq!(held(&fresh), [3, 4, 5]);
        fresh.put(entry(6), Bytes::from(vec![0; 6000]));
        assert_eq!(held(&fresh), [3, 4, 5]);
        fresh.put(entry(5), body);
        let left = held(&fresh).len();
        assert_eq!(fresh.held.lock().octets, left * 1750);
    }
}
