//! What every [`Spool`] must do, as one suite run for each implementation.
//!
//! A subject knows how to open its spool again and again; "again" is a restart. Damage is done through
//! [`Tables::write`], below the records.

use std::sync::Arc;

use bytes::Bytes;

use super::layout::{Key, Table, Tables, Write};
use super::{Batch, Op, Recovery, Spool, SpoolError};
use crate::clock::Wall;
use crate::message::{Entry, EntryId, EntryState, Mailbox, MessageId, Wishes};

/// Something that can be opened as a spool, and again after what was returned is dropped.
pub(crate) trait Subject {
    type Spool: Tables;
    fn open(&self) -> Result<Arc<Self::Spool>, SpoolError>;
}

/// An entry with this id for the body `message`.
pub(crate) fn entry(id: u64, message: u64) -> Entry {
    let address: Mailbox = format!("user{id}@example.org").parse().expect("address");
    Entry {
        id: EntryId(id),
        message: MessageId(message),
        tenant: "acme".into(),
        stream: "default".into(),
        pool: "main".into(),
        domain: "example.org".parse().expect("domain"),
        reverse_path: Some("bounce@acme.example".parse().expect("address")),
        recipients: vec![address.into()],
        arrived: Wall::from_millis(1_700_000_000_000),
        expires: Wall::from_millis(1_700_432_000_000),
        size: 2048,
        eight_bit: false,
        wishes: Wishes::NONE,
        state: EntryState::default(),
    }
}

/// A body that can be told from every other.
pub(crate) fn body(message: u64, octets: usize) -> Bytes {
    let line = format!("body of {message}\r\n");
    line.bytes().cycle().take(octets).collect::<Vec<_>>().into()
}

/// A message with one entry of the same number.
pub(crate) fn message(id: u64, octets: usize) -> Batch {
    vec![Op::PutBody(MessageId(id), body(id, octets)), Op::PutEntry(Box::new(entry(id, id)))]
}

/// The end of such a message.
pub(crate) fn gone(id: u64) -> Batch {
    vec![Op::RemoveEntry(EntryId(id)), Op::RemoveBody(MessageId(id))]
}

fn recovered(spool: &dyn Spool) -> (Vec<u64>, Recovery) {
    let mut ids = Vec::new();
    let recovery = spool.recover(&mut |entry| ids.push(entry.id.0)).expect("recovers");
    assert_eq!(recovery.entries, ids.len() as u64);
    (ids, recovery)
}

fn put_raw(spool: &impl Tables, table: Table, key: &[u8], value: Option<&[u8]>) {
    let write = Write { table, key: Key::from_slice(key), value: value.map(<[u8]>::to_vec) };
    Tables::write(spool, &[write], false).expect("raw write");
}

fn raw(spool: &impl Tables, table: Table, id: u64) -> Vec<u8> {
    spool.get(table, &id.to_be_bytes()).expect("readable").expect("there").to_vec()
}

fn what_is_committed_is_read_back_and_survives_reopening(subject: &impl Subject) {
    let spool = subject.open().expect("opens");
    spool.commit(&[message(1, 0), message(2, 40), message(3, 200_000)]).expect("commits");
    let mut updated = entry(2, 2);
    updated.state.attempts = 3;
    updated.recipients[0].state.last_reply = Some("450 4.2.1 später".into());
    spool.commit(&[vec![Op::PutEntry(Box::new(updated.clone()))], gone(1)]).expect("commits");
    let check = |spool: &dyn Spool| {
        assert_eq!(spool.entry(EntryId(2)).expect("readable"), Some(updated.clone()));
        assert_eq!(spool.entry(EntryId(1)).expect("readable"), None);
        assert_eq!(spool.body(MessageId(1)).expect("readable"), None);
        assert_eq!(spool.body(MessageId(2)).expect("readable"), Some(body(2, 40)));
        assert_eq!(spool.body(MessageId(3)).expect("readable"), Some(body(3, 200_000)));
    };
    check(&*spool);
    drop(spool);
    let spool = subject.open().expect("opens again");
    check(&*spool);
    let (ids, recovery) = recovered(&*spool);
    assert_eq!((ids, recovery.last_id, recovery.orphans), (vec![2, 3], 3, 0));
    assert!(recovery.quarantined.is_empty(), "{recovery:?}");
}

fn the_last_operation_on_a_key_wins_across_the_batches_of_a_commit(subject: &impl Subject) {
    let spool = subject.open().expect("opens");
    let fact = |value: &str| Op::PutFact("grant/a".into(), value.into());
    spool
        .commit(&[message(1, 10), gone(1), vec![fact("1"), fact("2")], gone(2), message(2, 10), vec![fact("3")]])
        .expect("commits");
    assert_eq!(spool.entry(EntryId(1)).expect("readable"), None);
    assert_eq!(spool.body(MessageId(1)).expect("readable"), None);
    assert_eq!(spool.entry(EntryId(2)).expect("readable"), Some(entry(2, 2)));
    assert_eq!(spool.fact("grant/a").expect("readable"), Some(b"3".to_vec()));
}

fn a_commit_with_an_impossible_operation_leaves_nothing(subject: &impl Subject) {
    let spool = subject.open().expect("opens");
    for name in ["", &"x".repeat(2000)] {
        let bad = vec![Op::PutFact(name.into(), b"1".to_vec())];
        assert!(matches!(spool.commit(&[message(1, 10), bad]), Err(SpoolError::Io(_))), "{name:?}");
    }
    assert_eq!(spool.entry(EntryId(1)).expect("readable"), None);
    assert_eq!(spool.body(MessageId(1)).expect("readable"), None);
    spool
        .commit(&[vec![Op::RemoveFact(String::new()), Op::RemoveFact("x".repeat(70_000))], vec![]])
        .expect("nothing to do is no error");
}

fn facts_come_by_prefix_in_order(subject: &impl Subject) {
    let spool = subject.open().expect("opens");
    let put = |key: &str| Op::PutFact(key.into(), format!("\"{key}\"").into());
    let keys = ["health/mta2", "grant/mta1", "health/mta1", "health/mta1/gmail", "healthy"];
    spool.commit(&[keys.iter().map(|key| put(key)).collect()]).expect("commits");
    spool.commit(&[vec![Op::RemoveFact("grant/mta1".into())]]).expect("commits");
    let names = |prefix| spool.facts(prefix).expect("facts").into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    assert_eq!(names("health/"), ["health/mta1", "health/mta1/gmail", "health/mta2"]);
    assert_eq!(names("grant/"), [""; 0]);
    assert_eq!(names("").len(), 4);
    assert_eq!(spool.fact("healthy").expect("readable"), Some(b"\"healthy\"".to_vec()));
    assert_eq!(spool.fact("health").expect("readable"), None);
    assert_eq!(spool.fact("").expect("readable"), None);
}

fn the_first_facts_come_without_the_rest_and_go_on_behind_any_key(subject: &impl Subject) {
    let spool = subject.open().expect("opens");
    let put = |key: &str| Op::PutFact(key.into(), key.into());
    let keys = ["a/1", "told/1", "told/2", "told/3", "told/4", "tolde", "z/1"];
    spool.commit(&[keys.iter().map(|key| put(key)).collect()]).expect("commits");
    spool.commit(&[vec![Op::RemoveFact("told/3".into())]]).expect("commits");
    let names = |after, limit| {
        let facts = spool.facts_first("told/", after, limit).expect("facts");
        facts
            .into_iter()
            .map(|(key, value)| (key.as_bytes() == value).then_some(key).expect("its value"))
            .collect::<Vec<_>>()
    };
    assert_eq!(names("", 2), ["told/1", "told/2"]);
    assert_eq!(names("", 0), [""; 0]);
    assert_eq!(names("told/1", 9), ["told/2", "told/4"]);
    assert_eq!(names("told/3", 9), ["told/4"], "a key that is gone is a place all the same");
    assert_eq!(names("told/4", 9), [""; 0]);
    assert_eq!(names("z", 9), [""; 0]);
    put_raw(&*spool, Table::Aged, b"told/0", Some(b"rubbish"));
    let corrupt = spool.facts_first("told/", "", 1).expect("readable");
    assert_eq!(corrupt, [("told/0".to_owned(), Vec::new())]);
    assert!(matches!(spool.fact("told/0"), Err(SpoolError::Corrupt { .. })));
    // No start reads them.
    let (_, recovery) = recovered(&*spool);
    assert!(recovery.quarantined.is_empty(), "{recovery:?}");
    assert_eq!(spool.fact("told/2").expect("readable"), Some(b"told/2".to_vec()));
    assert_eq!(spool.facts("told/").expect("readable").len(), 4);
}

fn recovery_sets_aside_what_it_cannot_use_and_goes_on(subject: &impl Subject) {
    let spool = subject.open().expect("opens");
    spool.commit(&(1..=6).map(|id| message(id, 2000)).collect::<Vec<_>>()).expect("commits");
    let mut flipped = raw(&*spool, Table::Entries, 2);
    flipped[40] ^= 1;
    put_raw(&*spool, Table::Entries, &2u64.to_be_bytes(), Some(&flipped));
    let mut newer = raw(&*spool, Table::Entries, 3);
    newer[0] = 7;
    put_raw(&*spool, Table::Entries, &3u64.to_be_bytes(), Some(&newer));
    put_raw(&*spool, Table::Bodies, &4u64.to_be_bytes(), None);
    put_raw(&*spool, Table::Entries, b"odd key", Some(b""));
    put_raw(&*spool, Table::Facts, b"health/x", Some(b"rubbish"));
    spool.commit(&[vec![Op::PutFact("health/y".into(), b"1".to_vec())]]).expect("commits");

    assert!(matches!(spool.entry(EntryId(2)), Err(SpoolError::Corrupt { .. })));
    assert!(matches!(spool.fact("health/x"), Err(SpoolError::Corrupt { .. })));
    // That there was one is told, with nothing in it.
    let facts = [("health/x".to_owned(), Vec::new()), ("health/y".to_owned(), b"1".to_vec())];
    assert_eq!(spool.facts("health/").expect("readable"), facts);

    let (ids, recovery) = recovered(&*spool);
    assert_eq!(ids, [1, 5, 6]);
    let kinds: Vec<&str> = recovery.quarantined.iter().map(|record| &*record.key).collect();
    let name = |id: u64| format!("entry/{}", EntryId(id));
    for key in [&name(2), &name(3), &name(4), "fact/health/x"] {
        assert!(kinds.contains(&key), "{key} in {recovery:?}");
    }
    let text = format!("{:?}", recovery.quarantined);
    assert!(text.contains("checksum") && text.contains("version 7") && text.contains("is missing"), "{text}");

    // A second start finds nothing new, and what was set aside is still there.
    let (ids, second) = recovered(&*spool);
    assert_eq!((ids, second.quarantined.len(), second.orphans), (vec![1, 5, 6], 0, 0));
    let kept = spool.quarantine().expect("lists");
    assert_eq!(kept.len(), recovery.quarantined.len());
    // The bodies of the unreadable entries are not thrown away as orphans.
    assert!(kept.iter().any(|record| record.key == format!("body/{}", MessageId(2))), "{kept:?}");
    assert_eq!(second.last_id, 6);
}

fn recovery_removes_bodies_without_entries(subject: &impl Subject) {
    let spool = subject.open().expect("opens");
    let orphan = vec![Op::PutBody(MessageId(9), body(9, 3000))];
    spool.commit(&[message(1, 10), orphan]).expect("commits");
    let (ids, recovery) = recovered(&*spool);
    assert_eq!((ids, recovery.orphans, recovery.last_id), (vec![1], 1, 9));
    assert_eq!(spool.body(MessageId(9)).expect("readable"), None);
    assert_eq!(spool.body(MessageId(1)).expect("readable"), Some(body(1, 10)));
}

fn ids_of_messages_that_left_only_facts_are_not_given_again(subject: &impl Subject) {
    let spool = subject.open().expect("opens");
    let fact = |kind: &str, id: u64| Op::PutFact(format!("{kind}/{}", MessageId(id)), b"1".to_vec());
    spool.commit(&[message(5, 10), vec![Op::PutFact("zebra/x".into(), b"1".to_vec())]]).expect("commits");
    let last_id = |spool: &dyn Spool| recovered(spool).1.last_id;
    assert_eq!(last_id(&*spool), 5);
    assert_eq!(Tables::last_key(&*spool, Table::Aged, b"told/"), Ok(None));
    spool.commit(&[[3, 90, 40].map(|id| fact("sender", id)).into()]).expect("commits");
    assert_eq!(last_id(&*spool), 90);
    spool
        .commit(&[vec![fact("told", 200), fact("told", 31), Op::RemoveFact(format!("sender/{}", MessageId(90)))]])
        .expect("commits");
    let key = format!("sender/{}", MessageId(40));
    assert_eq!(Tables::last_key(&*spool, Table::Aged, b"sender/").expect("lists").as_deref(), Some(key.as_bytes()));
    assert_eq!(last_id(&*spool), 200);
    drop(spool);
    let spool = subject.open().expect("opens again");
    assert_eq!(last_id(&*spool), 200);
    // What is no id says nothing, and does no harm.
    spool.commit(&[vec![Op::PutFact("told/zz".into(), b"1".to_vec())]]).expect("commits");
    assert_eq!(last_id(&*spool), 40);
}

fn a_corrupt_body_is_found_when_it_is_read_and_can_be_set_aside(subject: &impl Subject) {
    let spool = subject.open().expect("opens");
    let shared = vec![
        Op::PutBody(MessageId(1), body(1, 5000)),
        Op::PutEntry(Box::new(entry(11, 1))),
        Op::PutEntry(Box::new(entry(12, 1))),
    ];
    spool.commit(&[shared]).expect("commits");
    let mut damaged = raw(&*spool, Table::Bodies, 1);
    damaged[3000] ^= 0x80;
    put_raw(&*spool, Table::Bodies, &1u64.to_be_bytes(), Some(&damaged));
    let error = spool.body(MessageId(1)).expect_err("corrupt");
    assert!(matches!(&error, SpoolError::Corrupt { key, .. } if key.starts_with("body/")), "{error}");

    assert_eq!(spool.set_aside(EntryId(11), "checksum"), Ok(true));
    assert_eq!(spool.set_aside(EntryId(11), "checksum"), Ok(false));
    assert_eq!(spool.entry(EntryId(11)).expect("readable"), None);
    assert_eq!(spool.entry(EntryId(12)).expect("readable"), Some(entry(12, 1)));
    let keys: Vec<String> = spool.quarantine().expect("lists").into_iter().map(|record| record.key).collect();
    assert_eq!(keys, [format!("body/{}", MessageId(1)), format!("entry/{}", EntryId(11))]);
}

fn reclaiming_changes_nothing_that_can_be_read(subject: &impl Subject) {
    let spool = subject.open().expect("opens");
    spool.commit(&(1..=50).map(|id| message(id, 3000)).collect::<Vec<_>>()).expect("commits");
    spool.commit(&(1..=49).map(gone).collect::<Vec<_>>()).expect("commits");
    spool.reclaim().expect("reclaims");
    let (ids, recovery) = recovered(&*spool);
    assert_eq!((ids, recovery.orphans), (vec![50], 0));
    assert_eq!(spool.body(MessageId(50)).expect("readable"), Some(body(50, 3000)));
    assert!(spool.disk_bytes() > 0);
}

/// Runs the suite, each part with a subject of its own.
pub(crate) fn run<S: Subject>(fresh: impl Fn() -> S) {
    what_is_committed_is_read_back_and_survives_reopening(&fresh());
    the_last_operation_on_a_key_wins_across_the_batches_of_a_commit(&fresh());
    a_commit_with_an_impossible_operation_leaves_nothing(&fresh());
    facts_come_by_prefix_in_order(&fresh());
    the_first_facts_come_without_the_rest_and_go_on_behind_any_key(&fresh());
    recovery_sets_aside_what_it_cannot_use_and_goes_on(&fresh());
    recovery_removes_bodies_without_entries(&fresh());
    ids_of_messages_that_left_only_facts_are_not_given_again(&fresh());
    a_corrupt_body_is_found_when_it_is_read_and_can_be_set_aside(&fresh());
    reclaiming_changes_nothing_that_can_be_read(&fresh());
}
