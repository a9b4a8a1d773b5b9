//! The spool in memory: for the simulation and for tests.
//!
//! The same records, recovery and quarantine as on disk, over ordered maps. It is as durable as its value: a test that
//! plays a crash drops everything but the spool and recovers from it. Errors can be injected.

use std::collections::BTreeMap;

use bytes::Bytes;
use parking_lot::Mutex;

use super::SpoolError;
use super::layout::{Key, Table, Tables, Write};

/// A spool that forgets everything when it is dropped.
#[derive(Default)]
pub struct MemorySpool {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    records: BTreeMap<(Table, Vec<u8>), Bytes>,
    full: bool,
    broken: Option<String>,
    commits: u64,
    bodies_read: u64,
}

impl MemorySpool {
    /// An empty spool.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on, commits that take in mail fail with [`SpoolError::Full`] (`true`), or no longer (`false`).
    pub fn set_full(&self, full: bool) {
        self.state.lock().full = full;
    }

    /// From now on, every commit fails with [`SpoolError::Io`] and this text, or (`None`) no longer.
    pub fn set_broken(&self, why: Option<&str>) {
        self.state.lock().broken = why.map(str::to_owned);
    }

    /// Commits that were applied.
    pub fn commits(&self) -> u64 {
        self.state.lock().commits
    }

    /// Bodies that were read.
    pub fn bodies_read(&self) -> u64 {
        self.state.lock().bodies_read
    }
}

impl Tables for MemorySpool {
    fn write(&self, writes: &[Write], adds_mail: bool) -> Result<(), SpoolError> {
        let mut state = self.state.lock();
        if let Some(why) = &state.broken {
            return Err(SpoolError::Io(why.clone()));
        }
        if adds_mail && state.full {
            return Err(SpoolError::Full("injected".into()));
        }
        for write in writes {
            let key = (write.table, write.key.to_vec());
            match &write.value {
                Some(value) => state.records.insert(key, Bytes::from(value.clone())),
                None => state.records.remove(&key),
            };
        }
        state.commits += 1;
        Ok(())
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, SpoolError> {
        let mut state = self.state.lock();
        state.bodies_read += u64::from(table == Table::Bodies);
        Ok(state.records.get(&(table, key.to_vec())).cloned())
    }

    fn scan(&self, table: Table, prefix: &[u8], visit: &mut dyn FnMut(&[u8], Bytes)) -> Result<(), SpoolError> {
        let state = self.state.lock();
        let from = state.records.range((table, prefix.to_vec())..);
        for ((_, key), value) in from.take_while(|((t, key), _)| *t == table && key.starts_with(prefix)) {
            visit(key, value.clone());
        }
        Ok(())
    }

    fn scan_first(
        &self,
        table: Table,
        prefix: &[u8],
        after: &[u8],
        limit: usize,
        visit: &mut dyn FnMut(&[u8], Bytes),
    ) -> Result<(), SpoolError> {
        let state = self.state.lock();
        let from = state.records.range((table, prefix.max(after).to_vec())..);
        let ours = from.take_while(|((t, key), _)| *t == table && key.starts_with(prefix));
        for ((_, key), value) in ours.filter(|((_, key), _)| key.as_slice() > after).take(limit) {
            visit(key, value.clone());
        }
        Ok(())
    }

    fn keys(&self, table: Table, visit: &mut dyn FnMut(&[u8])) -> Result<(), SpoolError> {
        self.scan(table, b"", &mut |key, _| visit(key))
    }

    fn last_key(&self, table: Table, prefix: &[u8]) -> Result<Option<Key>, SpoolError> {
        let state = self.state.lock();
        let from = state.records.range((table, prefix.to_vec())..);
        let ours = from.take_while(|((t, key), _)| *t == table && key.starts_with(prefix));
        Ok(ours.last().map(|((_, key), _)| Key::from_slice(key)))
    }

    fn octets_on_disk(&self) -> u64 {
        self.state.lock().records.iter().map(|((_, key), value)| (key.len() + value.len()) as u64).sum()
    }

    fn compact(&self) -> Result<(), SpoolError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::contract::{self, Subject, gone, message};
    use super::super::{Spool, SpoolError};
    use super::*;
    use crate::message::EntryId;

    impl Subject for Arc<MemorySpool> {
        type Spool = MemorySpool;
        fn open(&self) -> Result<Arc<MemorySpool>, SpoolError> {
            Ok(Arc::clone(self))
        }
    }

    #[test]
    fn keeps_the_contract() {
        contract::run(Arc::<MemorySpool>::default);
    }

    #[test]
    fn injected_errors_leave_nothing_and_go_away() {
        let spool = MemorySpool::new();
        spool.set_full(true);
        assert!(matches!(spool.commit(&[message(1, 10)]), Err(SpoolError::Full(_))));
        spool.commit(&[gone(1)]).expect("removals go on");
        spool.set_full(false);
        spool.set_broken(Some("cable"));
        assert_eq!(spool.commit(&[gone(1)]), Err(SpoolError::Io("cable".into())));
        assert_eq!(spool.entry(EntryId(1)), Ok(None));
        spool.set_broken(None);
        spool.commit(&[message(1, 10)]).expect("works again");
        assert_eq!(spool.commits(), 2);
    }
}
