//! The memory that a message takes while it comes in, against the bounds it shares with others.
//!
//! Two bounds: that of all messages (`server.memory`), and within it that of what strangers send. What a client announces is
//! kept free for it before it may begin, so that a message that was let in is not refused half way for want of memory, as
//! far as one client may have that ([`Share::promise`]); what goes beyond, and a message whose size nobody said, takes as it
//! grows and is refused at its end where there was no more.
//!
//! What strangers announce costs them nothing, so for them nothing is kept free: they hold what has arrived.

use crate::ingress::Share;
use crate::ingress::smtp::data::DataReader;

/// What one message holds; given back when dropped.
#[derive(Debug, Default)]
pub(super) struct Held {
    of_all: Option<Share>,
    of_strangers: Option<Share>,
    /// Whether it is of a stranger, also when it holds nothing any more.
    is_of_stranger: bool,
    /// What is kept free.
    announced: u64,
}

impl Held {
    /// Nothing yet, of these two bounds where they are.
    pub(super) fn new(of_all: Option<Share>, of_strangers: Option<Share>) -> Self {
        Self { of_all, is_of_stranger: of_strangers.is_some(), of_strangers, announced: 0 }
    }

    /// So many octets will come. Whether there is room for them now; it is kept free where that may be.
    pub(super) fn announce(&mut self, octets: u64) -> bool {
        let Some(of_all) = &mut self.of_all else { return true };
        if !self.is_of_stranger && of_all.promise(octets) {
            self.announced = octets;
            return self.grow(octets);
        }
        of_all.would_grow(octets)
    }

    /// Of the octets that are said to come, those for which a buffer may be made at once: none but what is kept free.
    pub(super) fn expected(&self, octets: Option<u64>) -> Option<u64> {
        octets.filter(|_| self.of_all.is_none() && !self.is_of_stranger || self.announced > 0)
    }

    /// Before a chunk of BDAT: whether the message may grow to so many octets.
    pub(super) fn admits(&self, octets: u64) -> bool {
        self.of_all.as_ref().is_none_or(|share| share.would_grow(octets.max(self.announced)))
    }

    /// Holds so many octets, and no less than were announced. Whether there is room for them.
    fn grow(&mut self, octets: u64) -> bool {
        let octets = octets.max(self.announced);
        self.of_all.as_mut().is_none_or(|share| share.resize(octets))
    }

    /// Gives `reader` its input when there is room for it, or says to it that there is none.
    pub(super) fn feed(&mut self, reader: &mut DataReader, input: &[u8]) -> usize {
        let (most, least) = reader.held_after(input.len());
        if !self.resize(most) && !self.resize(least) {
            return self.refuse(reader).feed(input);
        }
        let taken = reader.feed(input);
        if !self.resize(reader.held()) {
            self.refuse(reader);
        }
        taken
    }

    fn refuse<'a>(&mut self, reader: &'a mut DataReader) -> &'a mut DataReader {
        reader.no_room();
        *self = Self { is_of_stranger: self.is_of_stranger, ..Self::default() };
        reader
    }

    fn resize(&mut self, octets: u64) -> bool {
        self.grow(octets) && self.of_strangers.as_mut().is_none_or(|share| share.resize(octets))
    }

    /// Whether a stranger sends it.
    pub(super) fn is_of_strangers(&self) -> bool {
        self.is_of_stranger
    }
}
