//! Events on disk, so that a restart does not forget what happened and who did it.
//!
//! Each event is a fact `event/NUMBER`, written with others within [`PAUSE`] of being noted — that much `kill -9` can take
//! — and removed when the memory lets it go ([`super::events`] decides that, here nothing is decided). What an operator
//! does is written before the answer goes out ([`write`]). Numbers are written down as given by the hundred thousand
//! before they are ([`RESERVED`]), so that none is given twice whatever was lost. A record that cannot be read is set
//! aside under [`ASIDE`] and said in the log; it never keeps the program from starting.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::events::{Change, Event, Events, Kind};
use crate::clock::Wall;
use crate::queue::dispatcher::Dispatcher;
use crate::store::committer::Committer;
use crate::store::{Op, Spool, SpoolError};

/// Kind of the facts.
pub const FACTS: &str = "event/";
/// The last number that may have been given.
pub const RESERVED: &str = "event-numbers/given";
/// Where records lie that could not be read, at most [`ASIDE_MAX`].
pub const ASIDE: &str = "event-aside/";
const ASIDE_MAX: usize = 100;
/// Between an event and its being written, so that many are written at once.
const PAUSE: Duration = Duration::from_millis(500);
/// After it could not be written.
const AGAIN: Duration = Duration::from_secs(5);
/// Between two looks at what is too old.
const TIDY: Duration = Duration::from_secs(600);
/// Changes in one batch.
const BATCH: usize = 1_000;

/// An event as it is written; its number is in the key.
#[derive(Serialize, Deserialize)]
struct Written {
    at: Wall,
    kind: Kind,
    fields: BTreeMap<String, String>,
}

fn key(seq: u64) -> String {
    // So wide that the order of the keys is that of the numbers.
    format!("{FACTS}{seq:020}")
}

fn operation(change: &Change) -> Op {
    match change {
        Change::Reserve(upto) => Op::PutFact(RESERVED.to_owned(), upto.to_string().into_bytes()),
        Change::Remove(seq) => Op::RemoveFact(key(*seq)),
        Change::Put(event) => {
            let fields = event.fields.iter().map(|(name, text)| (name.to_string(), text.clone())).collect();
            let written = Written { at: event.at, kind: event.kind, fields };
            // Numbers and texts under texts: always JSON.
            Op::PutFact(key(event.seq), serde_json::to_vec(&written).unwrap_or_default())
        }
    }
}

fn read(key: &str, value: &[u8]) -> Result<Event, String> {
    let number = key.strip_prefix(FACTS).and_then(|number| number.parse().ok());
    let seq = number.ok_or_else(|| "its key is no number".to_owned())?;
    let Written { at, kind, fields } = serde_json::from_slice(value).map_err(|error| error.to_string())?;
    Ok(Event { seq, at, kind, fields: fields.into_iter().map(|(name, text)| (name.into(), text)).collect() })
}

/// Takes up what the last run left. What cannot be read is set aside; mail is not held up for it.
pub async fn recall(dispatcher: &Dispatcher, committer: &Committer) {
    let spool = dispatcher.spool();
    let facts = spool.facts(FACTS).unwrap_or_else(|error| {
        tracing::error!(%error, "the events of earlier runs cannot be read");
        Vec::new()
    });
    let (mut events, mut moves) = (Vec::new(), Vec::new());
    // A corrupt list is as long as it can be: then what cannot be read is dropped.
    let mut aside = spool.facts(ASIDE).map_or(ASIDE_MAX, |facts| facts.len());
    for (key, value) in facts {
        match read(&key, &value) {
            Ok(event) => events.push(event),
            Err(error) => {
                tracing::error!(key = key.as_str(), %error, "an event of an earlier run cannot be read and is set aside");
                if aside < ASIDE_MAX {
                    moves.push(Op::PutFact(format!("{ASIDE}{key}"), value));
                    aside += 1;
                }
                moves.push(Op::RemoveFact(key));
            }
        }
    }
    if !moves.is_empty()
        && let Err(error) = committer.commit(moves).await
    {
        tracing::warn!(%error, "events that cannot be read are not set aside; tried again at the next start");
    }
    events.sort_unstable_by_key(|event| event.seq);
    dispatcher.events().restore(events, given(spool), dispatcher.now().wall);
    if let Err(error) = write(dispatcher.events(), committer).await {
        tracing::error!(%error, "events cannot be written down; tried again");
    }
}

/// The last number that may have been given.
fn given(spool: &dyn Spool) -> u64 {
    let written = spool.fact(RESERVED).ok().flatten();
    let number = written.as_ref().and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
    number.unwrap_or_else(|| {
        if written.is_some() {
            tracing::error!("the last number of an event cannot be read; numbers go on after the last one kept");
        }
        0
    })
}

/// Writes what is not on disk yet. When it returns without an error, everything noted before is.
///
/// # Errors
/// As [`Committer::commit`]; what was not written is written the next time.
pub async fn write(events: &Events, committer: &Committer) -> Result<(), SpoolError> {
    let _alone = events.writing.lock().await;
    loop {
        let changes = events.take_unwritten(BATCH);
        if changes.is_empty() {
            return Ok(());
        }
        let mut unsure = Unsure { events, changes };
        committer.commit(unsure.changes.iter().map(operation).collect()).await?;
        events.written(&unsure.changes);
        unsure.changes.clear();
    }
}

/// Changes on their way to the disk. Where nobody says that they are there — an error, or whoever waited is gone — they
/// are taken for not written: writing them twice does no harm.
struct Unsure<'a> {
    events: &'a Events,
    changes: Vec<Change>,
}

impl Drop for Unsure<'_> {
    fn drop(&mut self) {
        self.events.not_written(std::mem::take(&mut self.changes));
    }
}

/// Writes what is noted until `stopped` turns true. The last are written by [`write`] at the end of the program.
pub async fn keep(dispatcher: Arc<Dispatcher>, committer: Committer, mut stopped: watch::Receiver<bool>) {
    let mut news = dispatcher.events().news();
    // What was noted before this began to look waits too.
    news.mark_changed();
    loop {
        tokio::select! {
            // An error of a channel means that its sender is gone, which is a stop as well.
            _ = stopped.wait_for(|stop| *stop) => return,
            seen = news.changed() => if seen.is_err() { return },
            () = tokio::time::sleep(TIDY) => dispatcher.events().forget_old(dispatcher.now().wall),
        }
        tokio::time::sleep(PAUSE).await;
        news.mark_unchanged();
        while let Err(error) = write(dispatcher.events(), &committer).await {
            tracing::warn!(%error, "events are not written down; tried again in {} s", AGAIN.as_secs());
            if tokio::time::timeout(AGAIN, stopped.wait_for(|stop| *stop)).await.is_ok() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemorySpool;

    fn at(millis: i64) -> Wall {
        Wall::from_millis(millis)
    }

    #[tokio::test]
    async fn what_was_written_is_read_back_as_it_was() {
        let spool: Arc<dyn Spool> = Arc::new(MemorySpool::new());
        let (committer, thread) = Committer::start(Arc::clone(&spool), |_| {}).expect("a thread");
        let events = Events::default();
        events.restore(Vec::new(), 0, at(0));
        events.note(Kind::Audit, [("actor", "ci".to_owned()), ("reason", "\u{1b}[2J\n\"x\"".to_owned())], at(5));
        write(&events, &committer).await.expect("written");
        events.note(Kind::Note, [("what", "lost".to_owned())], at(6));
        let facts = spool.facts(FACTS).expect("facts");
        let read: Vec<Event> = facts.iter().map(|(key, value)| read(key, value).expect("an event")).collect();
        assert_eq!(read, events.last(Some(Kind::Audit), 9), "and nothing that was not waited for");
        assert_eq!(given(spool.as_ref()), 100_000);
        thread.close();
        assert!(write(&events, &committer).await.is_err());
        assert_eq!(events.take_unwritten(9).len(), 1, "kept for the next time");
    }

    #[test]
    fn nonsense_is_told_from_an_event() {
        for (key, value) in [
            ("event/x", "{\"at\":1,\"kind\":\"note\",\"fields\":{}}"),
            ("event/00000000000000000001", "{\"at\":1,\"kind\":\"nonsense\",\"fields\":{}}"),
            ("event/00000000000000000001", "\u{0}"),
            ("event/00000000000000000001", ""),
        ] {
            assert!(read(key, value.as_bytes()).is_err(), "{key} {value}");
        }
    }
}
