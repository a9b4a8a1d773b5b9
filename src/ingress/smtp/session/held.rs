//! The memory that a message takes while it comes in, against the bounds it shares with others.
//!
//! Two bounds: that of all messages (`server.memory`), and within it that of what strangers send. What a client announces is
//! kept free for it before it may begin, so that a message that was let in is not refused half way for want of memory; one
//! that says nothing of its size takes as it grows, and is refused at its end where there was no more.

use crate::ingress::Share;
use crate::ingress::smtp::data::DataReader;

/// What one message holds; given back when dropped.
#[derive(Debug, Default)]
pub(super) struct Held {
    of_all: Option<Share>,
    of_strangers: Option<Share>,
    /// What was announced.
    announced: u64,
}

impl Held {
    /// Nothing yet, of these two bounds where they are.
    pub(super) fn new(of_all: Option<Share>, of_strangers: Option<Share>) -> Self {
        Self { of_all, of_strangers, announced: 0 }
    }

    /// Keeps so many octets free for what will come. Whether they are.
    pub(super) fn announce(&mut self, octets: u64) -> bool {
        self.announced = octets;
        self.grow(octets)
    }

    /// Holds so many octets, and no less than were announced. Whether there is room for them.
    pub(super) fn grow(&mut self, octets: u64) -> bool {
        let octets = octets.max(self.announced);
        // What strangers announce costs them nothing, so it is not kept free in the part that they share.
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
        *self = Self::default();
        reader
    }

    fn resize(&mut self, octets: u64) -> bool {
        self.grow(octets) && self.of_strangers.as_mut().is_none_or(|share| share.resize(octets))
    }

    /// Whether it is part of what strangers share.
    pub(super) fn is_of_strangers(&self) -> bool {
        self.of_strangers.is_some()
    }
}
