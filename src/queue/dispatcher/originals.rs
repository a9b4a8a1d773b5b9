//! What a report returns of the message it is about, and how it is come by.
//!
//! An attempt hands over the body it has sent. Where none was made the body is read, away from the threads that move mail
//! and by a few tasks at a time: a domain that expires ends hundreds of entries at once, and each would hold a whole
//! message for the sake of its header. The headers read last are remembered, since what ends together is often one message
//! to many domains.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::Dispatcher;
use crate::message::MessageId;
use crate::outcome::dsn::Extent;

/// How much of a message is read for its header.
pub(super) const HEADER_MAX: usize = 16 * 1024;
/// Headers remembered.
const HEADERS_KEPT: usize = 16;
/// Tasks that read bodies for reports at the same time.
const READERS: usize = 8;

/// Turns to read, and what was read last.
#[derive(Debug)]
pub(super) struct Originals {
    turns: Semaphore,
    headers: Mutex<VecDeque<(MessageId, Bytes)>>,
}

impl Default for Originals {
    fn default() -> Self {
        Self { turns: Semaphore::new(READERS), headers: Mutex::default() }
    }
}

impl Originals {
    /// Waits for a turn to read. One that has it must not ask for another.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // Nobody closes it.
        self.turns.acquire().await.ok()
    }

    /// What is known without reading.
    fn known(&self, id: MessageId, extent: Extent) -> Option<Bytes> {
        match extent {
            Extent::Nothing => Some(Bytes::new()),
            Extent::Headers => self.headers.lock().iter().find(|(known, _)| *known == id).map(|(_, head)| head.clone()),
            Extent::Full => None,
        }
    }

    /// As much of a body as is of use; a header is remembered. Without either a report is poorer, but still a report.
    fn take(&self, id: MessageId, extent: Extent, body: Option<Bytes>) -> Bytes {
        let Some(body) = body else { return Bytes::new() };
        if extent == Extent::Full {
            return body;
        }
        // A copy: a slice would keep the whole in memory.
        let head = Bytes::copy_from_slice(&body[..body.len().min(HEADER_MAX)]);
        let mut headers = self.headers.lock();
        if headers.len() >= HEADERS_KEPT {
            headers.pop_front();
        }
        headers.push_back((id, head.clone()));
        head
    }
}

impl Dispatcher {
    /// The body of a message, away from the threads that move mail. Have a turn.
    ///
    /// # Errors
    /// Those of the spool, in words.
    pub(super) async fn body_of(&self, id: MessageId) -> Result<Option<Bytes>, String> {
        let spool = Arc::clone(&self.spool);
        let read = tokio::task::spawn_blocking(move || spool.body(id)).await.map_err(|gone| gone.to_string())?;
        read.map_err(|error| error.to_string())
    }

    /// What a report to this extent is made of.
    pub(super) async fn original(&self, id: MessageId, extent: Extent) -> Bytes {
        if let Some(known) = self.originals.known(id, extent) {
            return known;
        }
        let _turn = self.originals.turn().await;
        // Whoever had the turn before may have read it.
        if let Some(known) = self.originals.known(id, extent) {
            return known;
        }
        let body = self.body_of(id).await.unwrap_or_default();
        self.originals.take(id, extent, body)
    }

    /// The same, blocking.
    pub(super) fn original_now(&self, id: MessageId, extent: Extent) -> Bytes {
        if let Some(known) = self.originals.known(id, extent) {
            return known;
        }
        self.originals.take(id, extent, self.spool.body(id).ok().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_read_last_are_known_and_no_more_than_a_few() {
        let originals = Originals::default();
        let body = Bytes::from(vec![b'x'; 3 * HEADER_MAX]);
        assert_eq!(originals.take(MessageId(1), Extent::Full, Some(body.clone())), body);
        assert_eq!(originals.take(MessageId(2), Extent::Headers, None), Bytes::new());
        assert_eq!(originals.known(MessageId(1), Extent::Headers), None, "a whole is not remembered");
        assert_eq!(originals.known(MessageId(2), Extent::Headers), None, "nor what was not read");
        for n in 0..=HEADERS_KEPT as u64 {
            assert_eq!(originals.take(MessageId(n), Extent::Headers, Some(body.clone())).len(), HEADER_MAX);
        }
        assert_eq!(originals.headers.lock().len(), HEADERS_KEPT);
        assert_eq!(originals.known(MessageId(0), Extent::Headers), None);
        assert_eq!(originals.known(MessageId(1), Extent::Headers).map(|head| head.len()), Some(HEADER_MAX));
        assert_eq!(originals.known(MessageId(1), Extent::Full), None, "a header is no message");
    }
}
