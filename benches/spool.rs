//! What the spool costs: commits a second with 20 and 200 writers of 2 KB messages, a drain in random order with the
//! space it gives back, and recovery of many entries.
//!
//! `cargo bench --bench spool -- [ENTRIES] [DIRECTORY]`: 200,000 entries to recover, in a directory under the current
//! one. Nothing is asserted; the figures are for people. A file system without a disk behind it (tmpfs) tells nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use remuda::clock::Wall;
use remuda::message::{Entry, EntryId, EntryState, Mailbox, MessageId, Wishes};
use remuda::store::committer::{Committed, Committer};
use remuda::store::fjall::{FjallOptions, FjallSpool};
use remuda::store::{Batch, Op, Spool};

type Failure = Box<dyn std::error::Error>;

const BODY: usize = 2048;
const SPAN: Duration = Duration::from_secs(4);

fn message(id: u64, body: &Bytes) -> Result<Batch, Failure> {
    let entry = Entry {
        id: EntryId(id),
        message: MessageId(id),
        tenant: "acme".into(),
        stream: "transactional".into(),
        pool: "main".into(),
        domain: "example.org".parse()?,
        reverse_path: Some("bounce@acme.example".parse()?),
        recipients: vec![format!("user{id}@example.org").parse::<Mailbox>()?.into()],
        arrived: Wall::from_millis(1_700_000_000_000),
        expires: Wall::from_millis(1_700_432_000_000),
        size: BODY as u64,
        eight_bit: false,
        wishes: Wishes::NONE,
        state: EntryState::default(),
    };
    Ok(vec![Op::PutBody(MessageId(id), body.clone()), Op::PutEntry(Box::new(entry))])
}

fn gone(id: u64) -> Batch {
    vec![Op::RemoveEntry(EntryId(id)), Op::RemoveBody(MessageId(id))]
}

fn disk(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(listing) = std::fs::read_dir(path) else { return 0 };
    listing
        .flatten()
        .map(|file| match file.metadata() {
            Ok(data) if data.is_dir() => disk(&file.path()),
            Ok(data) => data.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}

fn cpu() -> Duration {
    // SAFETY: all zero is a valid `rusage`, and the call fills it.
    let usage = unsafe {
        let mut usage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let span = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
    span(usage.ru_utime) + span(usage.ru_stime)
}

/// Writers that each wait for their commit; with `drain` each message is removed again, without waiting.
fn throughput(path: &Path, writers: u64, drain: bool) -> Result<(), Failure> {
    let spool = Arc::new(FjallSpool::open(path, FjallOptions::default())?);
    let slowest = Arc::new(AtomicU64::new(0));
    let observer = {
        let slowest = Arc::clone(&slowest);
        move |c: Committed| {
            slowest.fetch_max(c.took.as_micros() as u64, Ordering::Relaxed);
        }
    };
    let (committer, thread) = Committer::start(spool, observer)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (started, before) = (Instant::now(), cpu());
    let mut tasks = Vec::new();
    for writer in 0..writers {
        let committer = committer.clone();
        tasks.push(runtime.spawn(async move {
            let body = Bytes::from(vec![b'x'; BODY]);
            let mut count = 0;
            while started.elapsed() < SPAN {
                let id = 1 + writer + writers * count;
                let Ok(batch) = message(id, &body) else { return count };
                if let Err(error) = committer.commit(batch).await {
                    eprintln!("{error}");
                    return count;
                }
                if drain {
                    drop(committer.submit(gone(id)));
                }
                count += 1;
            }
            count
        }));
    }
    let mut total = 0;
    for task in tasks {
        total += runtime.block_on(task)?;
    }
    thread.close();
    let (took, cpu) = (started.elapsed().as_secs_f64(), cpu() - before);
    let commits = committer.totals().commits.load(Ordering::Relaxed);
    println!(
        "{writers:>4} writers{}: {:>7.0} messages/s, {:>6.0} syncs/s, {:.1} µs CPU a message, slowest commit {:.1} ms, {} MB on disk",
        if drain { ", removing" } else { "" },
        total as f64 / took,
        commits as f64 / took,
        cpu.as_secs_f64() * 1e6 / total as f64,
        slowest.load(Ordering::Relaxed) as f64 / 1e3,
        disk(path) / 1_000_000,
    );
    Ok(())
}

fn recovery(path: &Path, entries: u64) -> Result<(), Failure> {
    let body = Bytes::from(vec![b'x'; BODY]);
    let spool = FjallSpool::open(path, FjallOptions::default())?;
    for first in (1..=entries).step_by(1000) {
        let batches = (first..(first + 1000).min(entries + 1)).map(|id| message(id, &body));
        spool.commit(&batches.collect::<Result<Vec<_>, _>>()?)?;
    }
    drop(spool);
    println!("{entries} entries: {} MB on disk", disk(path) / 1_000_000);
    let started = Instant::now();
    let spool = FjallSpool::open(path, FjallOptions::default())?;
    let opened = started.elapsed();
    let mut sum = 0;
    let found = spool.recover(&mut |entry| sum += entry.size)?;
    println!(
        "recovery of {} entries: {:.2} s to open (journal replay), {:.2} s to walk",
        found.entries,
        opened.as_secs_f64(),
        (started.elapsed() - opened).as_secs_f64()
    );
    let started = Instant::now();
    for id in (1..=entries).step_by(97) {
        spool.entry(EntryId(id))?;
    }
    println!("one entry: {:.1} µs", started.elapsed().as_secs_f64() * 1e6 / entries.div_ceil(97) as f64);

    let started = Instant::now();
    // A stride that is prime to the number of entries visits all, in no order that helps.
    let stride = (0..).map(|n| 7919 + n).find(|n| !entries.is_multiple_of(*n)).unwrap_or(1);
    let order: Vec<u64> = (0..entries).map(|n| n * stride % entries + 1).collect();
    for ids in order.chunks(500) {
        spool.commit(&ids.iter().map(|&id| gone(id)).collect::<Vec<_>>())?;
    }
    println!("drained at {:.0} messages/s", entries as f64 / started.elapsed().as_secs_f64());
    println!("{} MB on disk when drained", disk(path) / 1_000_000);
    spool.reclaim()?;
    println!("{} MB after compaction", disk(path) / 1_000_000);
    Ok(())
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let entries = arguments.next().map_or(Ok(200_000), |text| text.parse())?;
    let place = PathBuf::from(arguments.next().unwrap_or_else(|| ".".into()));
    for (writers, drain) in [(20, false), (200, false), (20, true), (200, true)] {
        let home = tempfile::tempdir_in(&place)?;
        throughput(home.path(), writers, drain)?;
    }
    let home = tempfile::tempdir_in(&place)?;
    recovery(home.path(), entries)
}
