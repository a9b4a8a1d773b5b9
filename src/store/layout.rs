//! What lies in the tables of an engine: keys, records, recovery and quarantine, the same for every engine.
//!
//! Bodies and entries are keyed by their id, big-endian, so that they lie in order of arrival; facts and quarantined
//! records by name. All operations of one commit are folded into one set of writes, the last one per key winning, and
//! that set is applied by the engine atomically. It is more than the contract asks (each batch atomic), costs nothing,
//! and leaves one question to answer after a failure: is the group there or not.
//!
//! Facts that there may be one of for every message lie apart from the few that say how the relay stands ([`Table::Aged`]),
//! so that a start costs what waits and not what once was.
//!
//! Recovery never reads a body. It takes the body *keys* first (8 octets each), then walks the entries once and looks
//! each one's body up in that list; bodies that no entry asked for are orphans.

use std::collections::HashSet;

use bytes::Bytes;
use smallvec::SmallVec;

use super::{Batch, Op, Quarantined, Recovery, Spool, SpoolError, adds_mail, record};
use crate::message::{Entry, EntryId, MessageId};

/// A key in a table.
pub type Key = SmallVec<[u8; 24]>;

/// Largest key of a fact, in octets.
const MAX_FACT_KEY: usize = 1024;
/// Largest payload: engines hold a length in 32 bits.
const MAX_PAYLOAD: usize = u32::MAX as usize - 64;

/// Kinds of facts that are written for single messages and removed by age, named by the message's id. They lie in a table
/// of their own, which no start walks over: what is corrupt among them is found when it is read.
const AGED: [&str; 3] = ["told/", "sender/", "sent/"];

/// Where facts of this name, or whose names begin like this, lie.
fn facts_table(name: &str) -> Table {
    if AGED.iter().any(|kind| name.starts_with(kind)) { Table::Aged } else { Table::Facts }
}

/// One of the ordered maps an engine keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// Bodies by message id.
    Bodies,
    /// Entries by entry id.
    Entries,
    /// Facts by name.
    Facts,
    /// Facts of the kinds in [`AGED`], by name: there may be millions of them.
    Aged,
    /// Records that could not be used, by `kind/key`.
    Quarantine,
}

/// One change of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Where.
    pub table: Table,
    /// Which record.
    pub key: Key,
    /// The record; `None` removes it.
    pub value: Option<Vec<u8>>,
}

/// What an engine offers: ordered maps of bytes that change together, durably.
pub trait Tables: Send + Sync + 'static {
    /// Applies all `writes` (at most one per key) or none, and returns when they are synced. `adds_mail` says that the
    /// engine should refuse below its low-space floor.
    fn write(&self, writes: &[Write], adds_mail: bool) -> Result<(), SpoolError>;
    /// A record.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, SpoolError>;
    /// All records whose keys start with `prefix`, in order of the keys. `visit` must not call the engine.
    fn scan(&self, table: Table, prefix: &[u8], visit: &mut dyn FnMut(&[u8], Bytes)) -> Result<(), SpoolError>;
    /// The first `limit` records whose keys start with `prefix` and are greater than `after`, in order of the keys. Reads
    /// no others. `visit` must not call the engine.
    fn scan_first(
        &self,
        table: Table,
        prefix: &[u8],
        after: &[u8],
        limit: usize,
        visit: &mut dyn FnMut(&[u8], Bytes),
    ) -> Result<(), SpoolError>;
    /// All keys in order, without reading what they hold.
    fn keys(&self, table: Table, visit: &mut dyn FnMut(&[u8])) -> Result<(), SpoolError>;
    /// The last key that starts with `prefix`, without reading what it holds or looking at the others.
    fn last_key(&self, table: Table, prefix: &[u8]) -> Result<Option<Key>, SpoolError>;
    /// What the engine itself found wrong when it was opened.
    fn found_at_open(&self) -> Vec<Quarantined> {
        Vec::new()
    }
    /// Recovery counted that many bodies of that many octets together: the base for estimating what is garbage.
    fn live_bodies(&self, _count: u64, _octets: u64) {}
    /// See [`Spool::disk_bytes`].
    fn octets_on_disk(&self) -> u64;
    /// See [`Spool::reclaim`].
    fn compact(&self) -> Result<(), SpoolError>;
}

fn id_key(id: u64) -> Key {
    Key::from_slice(&id.to_be_bytes())
}

fn read_id(key: &[u8]) -> Option<u64> {
    key.try_into().ok().map(u64::from_be_bytes)
}

/// How a record is called in reports: its table and its key in readable form.
fn name_of(table: Table, key: &[u8]) -> String {
    // An id has 8 octets; what is longer is rubbish whose beginning says enough.
    let hex = || key.iter().take(32).map(|byte| format!("{byte:02x}")).collect::<String>();
    match (table, read_id(key)) {
        (Table::Bodies, Some(id)) => format!("body/{}", MessageId(id)),
        (Table::Entries, Some(id)) => format!("entry/{}", EntryId(id)),
        (Table::Bodies, None) => format!("body/{}", hex()),
        (Table::Entries, None) => format!("entry/{}", hex()),
        (Table::Facts | Table::Aged, _) => format!("fact/{}", String::from_utf8_lossy(key)),
        (Table::Quarantine, _) => String::from_utf8_lossy(key).into_owned(),
    }
}

fn corrupt(table: Table, key: &[u8], detail: String) -> SpoolError {
    SpoolError::Corrupt { key: name_of(table, key), detail }
}

fn target(op: &Op) -> (Table, Key) {
    match op {
        Op::PutBody(id, _) | Op::RemoveBody(id) => (Table::Bodies, id_key(id.0)),
        Op::PutEntry(entry) => (Table::Entries, id_key(entry.id.0)),
        Op::RemoveEntry(id) => (Table::Entries, id_key(id.0)),
        Op::PutFact(key, _) | Op::RemoveFact(key) => (facts_table(key), Key::from_slice(key.as_bytes())),
    }
}

fn payload_of(op: &Op, key: &[u8]) -> Result<Option<Vec<u8>>, SpoolError> {
    let sealed = |payload: &[u8]| {
        if payload.len() > MAX_PAYLOAD {
            return Err(SpoolError::Io(format!("a record of {} octets is too large to store", payload.len())));
        }
        Ok(Some(record::seal(key, payload)))
    };
    match op {
        Op::PutBody(_, body) => sealed(body),
        Op::PutEntry(entry) => {
            let json = serde_json::to_vec(entry).map_err(|e| SpoolError::Io(format!("entry {}: {e}", entry.id)))?;
            sealed(&json)
        }
        Op::PutFact(name, value) => {
            if name.is_empty() || name.len() > MAX_FACT_KEY {
                return Err(SpoolError::Io(format!("{name:?} cannot be the key of a fact")));
            }
            sealed(value)
        }
        Op::RemoveBody(_) | Op::RemoveEntry(_) | Op::RemoveFact(_) => Ok(None),
    }
}

/// The writes that have the effect of `batches` in order: the last operation on each key.
fn fold(batches: &[Batch]) -> Result<Vec<Write>, SpoolError> {
    let mut seen = HashSet::with_capacity(batches.iter().map(Vec::len).sum());
    let mut writes = Vec::with_capacity(seen.capacity());
    for op in batches.iter().flatten().rev() {
        let (table, key) = target(op);
        // No fact can have such a name, so there is none to remove.
        if matches!(op, Op::RemoveFact(name) if name.is_empty() || name.len() > MAX_FACT_KEY) {
            continue;
        }
        let value = payload_of(op, &key)?;
        if seen.insert((table, key.clone())) {
            writes.push(Write { table, key, value });
        }
    }
    writes.reverse();
    Ok(writes)
}

fn aside(table: Table, key: &[u8], raw: &[u8], detail: &str) -> Write {
    let value = Some(record::pack_quarantined(detail, raw));
    Write { table: Table::Quarantine, key: Key::from_slice(name_of(table, key).as_bytes()), value }
}

/// What a walk over all records found to do.
#[derive(Default)]
struct Findings {
    recovery: Recovery,
    writes: Vec<Write>,
}

impl Findings {
    fn set_aside(&mut self, table: Table, key: &[u8], raw: &[u8], detail: String) {
        self.writes.push(aside(table, key, raw, &detail));
        self.writes.push(Write { table, key: Key::from_slice(key), value: None });
        self.recovery.quarantined.push(Quarantined { key: name_of(table, key), detail });
    }

    fn saw(&mut self, id: u64) {
        self.recovery.last_id = self.recovery.last_id.max(id);
    }
}

/// The bodies there are and which of them an entry asked for.
struct Bodies {
    ids: Vec<u64>,
    wanted: Vec<bool>,
    octets: u64,
}

impl Bodies {
    fn list(tables: &impl Tables, findings: &mut Findings) -> Result<Self, SpoolError> {
        let (mut ids, mut strange) = (Vec::new(), Vec::new());
        tables.keys(Table::Bodies, &mut |key| match read_id(key) {
            Some(id) => ids.push(id),
            None => strange.push(Key::from_slice(key)),
        })?;
        for key in strange {
            let raw = tables.get(Table::Bodies, &key)?.unwrap_or_default();
            findings.set_aside(Table::Bodies, &key, &raw, "key is no message id".into());
        }
        let wanted = vec![false; ids.len()];
        Ok(Self { ids, wanted, octets: 0 })
    }

    fn want(&mut self, entry: &Entry) -> bool {
        // Keys come in order, so the list is sorted.
        let Ok(at) = self.ids.binary_search(&entry.message.0) else { return false };
        if !std::mem::replace(&mut self.wanted[at], true) {
            self.octets = self.octets.saturating_add(entry.size);
        }
        true
    }

    fn orphans(&self) -> impl Iterator<Item = u64> {
        self.ids.iter().zip(&self.wanted).filter(|(_, wanted)| !**wanted).map(|(id, _)| *id)
    }
}

fn recover(tables: &impl Tables, visit: &mut dyn FnMut(Entry)) -> Result<Recovery, SpoolError> {
    let mut findings = Findings::default();
    findings.recovery.quarantined = tables.found_at_open();
    let mut bodies = Bodies::list(tables, &mut findings)?;
    for &id in &bodies.ids {
        findings.saw(id);
    }
    let mut unreadable = false;
    tables.scan(Table::Entries, b"", &mut |key, raw| {
        if let Some(id) = read_id(key) {
            findings.saw(id);
        }
        match record::entry(key, &raw) {
            Ok(entry) if bodies.want(&entry) => {
                findings.recovery.entries += 1;
                visit(entry);
            }
            Ok(entry) => {
                findings.saw(entry.message.0);
                let detail = format!("body {} is missing", entry.message);
                findings.set_aside(Table::Entries, key, &raw, detail);
            }
            Err(detail) => {
                unreadable = true;
                findings.set_aside(Table::Entries, key, &raw, detail);
            }
        }
    })?;
    tables.scan(Table::Facts, b"", &mut |key, raw| {
        if let Err(detail) = record::unseal(key, &raw) {
            findings.set_aside(Table::Facts, key, &raw, detail);
        }
    })?;
    tables.keys(Table::Quarantine, &mut |key| {
        let id = std::str::from_utf8(key).ok().and_then(|name| name.split_once('/')).map(|(_, id)| id);
        if let Some(Ok(id)) = id.map(str::parse::<EntryId>) {
            findings.saw(id.0);
        }
    })?;
    for kind in AGED {
        if let Some(id) = last_message(tables, kind)? {
            findings.saw(id.0);
        }
    }
    clear_orphans(tables, &bodies, unreadable, &mut findings);
    let live = bodies.wanted.iter().filter(|wanted| **wanted).count();
    tables.live_bodies(live as u64, bodies.octets);
    if !findings.writes.is_empty() {
        tables.write(&findings.writes, false)?;
    }
    Ok(findings.recovery)
}

/// The last message of which there is a fact of this kind. Its mail is long gone; but no other message may get its id,
/// also where the clock had been ahead: what was told about the one would be believed of the other.
fn last_message(tables: &impl Tables, kind: &str) -> Result<Option<MessageId>, SpoolError> {
    let key = tables.last_key(Table::Aged, kind.as_bytes())?;
    let id = key.as_deref().and_then(|key| std::str::from_utf8(key.get(kind.len()..)?).ok());
    Ok(id.and_then(|id| id.parse().ok()))
}

/// Removes bodies without entries; when some entry was `unreadable`, sets them aside instead: one of them is its.
fn clear_orphans(tables: &impl Tables, bodies: &Bodies, unreadable: bool, findings: &mut Findings) {
    for id in bodies.orphans() {
        let key = id_key(id);
        if !unreadable {
            findings.recovery.orphans += 1;
            findings.writes.push(Write { table: Table::Bodies, key, value: None });
        } else if let Ok(Some(raw)) = tables.get(Table::Bodies, &key) {
            let detail = "no entry names this body, but some entries could not be read".to_owned();
            findings.set_aside(Table::Bodies, &key, &raw, detail);
        }
    }
}

/// Name and payload of a fact; no payload where the record is corrupt, nothing where not even the name can be read.
fn fact(key: &[u8], raw: &[u8]) -> Option<(String, Vec<u8>)> {
    let name = std::str::from_utf8(key);
    match (name, record::unseal(key, raw)) {
        (Ok(name), Ok(payload)) => Some((name.to_owned(), payload.to_vec())),
        (name, read) => {
            let detail = read.err().unwrap_or_else(|| "key is not text".into());
            tracing::error!(fact = name_of(Table::Facts, key), detail, "corrupt fact");
            name.ok().map(|name| (name.to_owned(), Vec::new()))
        }
    }
}

fn set_aside(tables: &impl Tables, id: EntryId, detail: &str) -> Result<bool, SpoolError> {
    let key = id_key(id.0);
    let Some(raw) = tables.get(Table::Entries, &key)? else { return Ok(false) };
    let mut writes = vec![aside(Table::Entries, &key, &raw, detail)];
    writes.push(Write { table: Table::Entries, key: key.clone(), value: None });
    if let Ok(entry) = record::entry(&key, &raw) {
        let body = id_key(entry.message.0);
        // A body that the engine cannot even read cannot be kept either; the entry must come out all the same.
        if let Ok(Some(raw)) = tables.get(Table::Bodies, &body) {
            writes.push(aside(Table::Bodies, &body, &raw, detail));
        }
    }
    tables.write(&writes, false)?;
    Ok(true)
}

impl<T: Tables> Spool for T {
    fn commit(&self, batches: &[Batch]) -> Result<(), SpoolError> {
        let writes = fold(batches)?;
        if writes.is_empty() {
            return Ok(());
        }
        self.write(&writes, batches.iter().any(|batch| adds_mail(batch)))
    }

    fn body(&self, id: MessageId) -> Result<Option<Bytes>, SpoolError> {
        let key = id_key(id.0);
        let Some(raw) = self.get(Table::Bodies, &key)? else { return Ok(None) };
        record::unseal(&key, &raw).map_err(|detail| corrupt(Table::Bodies, &key, detail))?;
        Ok(Some(raw.slice(record::HEADER..)))
    }

    fn entry(&self, id: EntryId) -> Result<Option<Entry>, SpoolError> {
        let key = id_key(id.0);
        let Some(raw) = self.get(Table::Entries, &key)? else { return Ok(None) };
        record::entry(&key, &raw).map(Some).map_err(|detail| corrupt(Table::Entries, &key, detail))
    }

    fn fact(&self, name: &str) -> Result<Option<Vec<u8>>, SpoolError> {
        let key = name.as_bytes();
        if key.is_empty() || key.len() > MAX_FACT_KEY {
            return Ok(None);
        }
        let table = facts_table(name);
        let Some(raw) = self.get(table, key)? else { return Ok(None) };
        let payload = record::unseal(key, &raw).map_err(|detail| corrupt(table, key, detail))?;
        Ok(Some(payload.to_vec()))
    }

    fn facts(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, SpoolError> {
        let mut facts = Vec::new();
        self.scan(facts_table(prefix), prefix.as_bytes(), &mut |key, raw| facts.extend(fact(key, &raw)))?;
        Ok(facts)
    }

    fn facts_first(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<(String, Vec<u8>)>, SpoolError> {
        let mut facts = Vec::new();
        let (table, prefix, after) = (facts_table(prefix), prefix.as_bytes(), after.as_bytes());
        self.scan_first(table, prefix, after, limit, &mut |key, raw| facts.extend(fact(key, &raw)))?;
        Ok(facts)
    }

    fn recover(&self, visit: &mut dyn FnMut(Entry)) -> Result<Recovery, SpoolError> {
        recover(self, visit)
    }

    fn set_aside(&self, id: EntryId, detail: &str) -> Result<bool, SpoolError> {
        set_aside(self, id, detail)
    }

    fn quarantine(&self) -> Result<Vec<Quarantined>, SpoolError> {
        let mut list = Vec::new();
        self.scan(Table::Quarantine, b"", &mut |key, packed| {
            let (detail, _) = record::unpack_quarantined(&packed);
            list.push(Quarantined { key: name_of(Table::Quarantine, key), detail });
        })?;
        Ok(list)
    }

    fn disk_bytes(&self) -> u64 {
        self.octets_on_disk()
    }

    fn reclaim(&self) -> Result<(), SpoolError> {
        self.compact()
    }
}
