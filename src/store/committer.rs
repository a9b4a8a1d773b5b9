//! Group commit: one sync for all who wait.
//!
//! A thread of its own takes batches from a queue and commits them. While it waits for the disk the queue builds up, and
//! what has built up is the next group: with one session a group is one message and costs one sync, with two hundred it
//! is two hundred messages at the price of one sync, and nobody ever waits for a timer. A thread and not a task, because
//! a sync blocks for milliseconds.
//!
//! A group succeeds or fails as a whole, and everyone in it is told. Only on [`SpoolError::Full`] the batches that take
//! in no mail are tried once more without the others: deliveries must go on when the disk is full, for they empty it.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::{Batch, Op, Spool, SpoolError, adds_mail};
use crate::clock::{Clock, SystemClock};

/// Octets of bodies and facts after which a group is closed.
const MAX_OCTETS: usize = 8 * 1024 * 1024;
/// Operations after which a group is closed.
const MAX_OPS: usize = 2048;
/// What an entry is taken to weigh, in octets: close enough for a limit.
const ENTRY_OCTETS: usize = 600;

/// What is told of each commit to the observer given to [`Committer::start`].
#[derive(Clone, Copy, Debug)]
pub struct Committed {
    /// Batches in the group.
    pub batches: usize,
    /// Operations in them.
    pub ops: usize,
    /// Octets in them, roughly.
    pub octets: usize,
    /// Time in [`Spool::commit`], sync included.
    pub took: Duration,
    /// Whether it succeeded.
    pub ok: bool,
}

/// Totals since the start.
#[derive(Debug, Default)]
pub struct Totals {
    /// Calls of [`Spool::commit`] that succeeded: syncs.
    pub commits: AtomicU64,
    /// Batches in them.
    pub batches: AtomicU64,
    /// Operations in them.
    pub ops: AtomicU64,
    /// Octets in them, roughly.
    pub octets: AtomicU64,
    /// Nanoseconds in [`Spool::commit`], failed ones included.
    pub nanos: AtomicU64,
    /// Calls of [`Spool::commit`] that failed.
    pub failures: AtomicU64,
}

type Observer = Box<dyn Fn(Committed) + Send>;
type Answer = oneshot::Sender<Result<(), SpoolError>>;

struct Waiting {
    batch: Batch,
    octets: usize,
    answer: Answer,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    closed: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
    totals: Totals,
}

/// The way to the commit thread; cheap to clone.
#[derive(Clone)]
pub struct Committer {
    shared: Arc<Shared>,
}

/// The commit thread. Dropping it, like [`CommitThread::close`], commits what waits and ends the thread.
pub struct CommitThread {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// A commit under way. Dropping it does not take the commit back.
#[derive(Debug)]
pub struct Pending(oneshot::Receiver<Result<(), SpoolError>>);

impl Pending {
    /// Waits without a runtime; for threads outside tokio only, such as the shutdown path.
    ///
    /// # Errors
    /// As [`Committer::commit`].
    ///
    /// # Panics
    /// When called from a tokio task.
    pub fn wait(self) -> Result<(), SpoolError> {
        self.0.blocking_recv().unwrap_or_else(|_| Err(closed()))
    }
}

impl Future for Pending {
    type Output = Result<(), SpoolError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or_else(|_| Err(closed())))
    }
}

fn closed() -> SpoolError {
    SpoolError::Io("the spool is closing".into())
}

impl Committer {
    /// Starts the thread that commits to `spool`. `observer` is called on it after every commit.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(
        spool: Arc<dyn Spool>,
        observer: impl Fn(Committed) + Send + 'static,
    ) -> io::Result<(Self, CommitThread)> {
        let shared = Arc::new(Shared { queue: Mutex::default(), filled: Condvar::new(), totals: Totals::default() });
        let worker =
            Worker { spool, shared: Arc::clone(&shared), observer: Box::new(observer), clock: SystemClock::default() };
        let thread = std::thread::Builder::new().name("remuda-commit".into()).spawn(move || worker.run())?;
        Ok((Self { shared: Arc::clone(&shared) }, CommitThread { shared, thread: Some(thread) }))
    }

    /// Hands `batch` in; it is committed whether or not the answer is waited for. Batches are committed in the order
    /// in which they were handed in, except that on a full disk those that take in mail fail and others do not.
    pub fn submit(&self, batch: Batch) -> Pending {
        let (answer, pending) = oneshot::channel();
        let octets = batch.iter().map(octets_of).sum();
        let mut queue = self.shared.queue.lock();
        if queue.closed {
            // The receiver is in our hands: it cannot be gone.
            let _ = answer.send(Err(closed()));
        } else {
            queue.waiting.push_back(Waiting { batch, octets, answer });
            drop(queue);
            self.shared.filled.notify_one();
        }
        Pending(pending)
    }

    /// Commits `batch`; on return it is on disk.
    ///
    /// # Errors
    /// What [`Spool::commit`] said of the group, or [`SpoolError::Io`] when the committer is closed.
    pub async fn commit(&self, batch: Batch) -> Result<(), SpoolError> {
        self.submit(batch).await
    }

    /// [`Committer::commit`] for threads outside tokio; see [`Pending::wait`].
    ///
    /// # Errors
    /// As [`Committer::commit`].
    pub fn commit_blocking(&self, batch: Batch) -> Result<(), SpoolError> {
        self.submit(batch).wait()
    }

    /// Batches that wait for the next commit.
    pub fn waiting(&self) -> usize {
        self.shared.queue.lock().waiting.len()
    }

    /// Totals since the start.
    pub fn totals(&self) -> &Totals {
        &self.shared.totals
    }
}

impl CommitThread {
    /// Refuses further batches, commits those that wait, ends the thread. Blocks as long as that takes.
    pub fn close(self) {}
}

impl Drop for CommitThread {
    fn drop(&mut self) {
        self.shared.queue.lock().closed = true;
        self.shared.filled.notify_one();
        if let Some(thread) = self.thread.take() {
            // It catches panics of the spool; one of the observer is its own affair and was printed.
            let _ = thread.join();
        }
    }
}

fn octets_of(op: &Op) -> usize {
    match op {
        Op::PutBody(_, body) => body.len(),
        Op::PutEntry(_) => ENTRY_OCTETS,
        Op::PutFact(key, value) => key.len() + value.len(),
        Op::RemoveBody(_) | Op::RemoveEntry(_) | Op::RemoveFact(_) => 16,
    }
}

/// Closes the queue when the thread ends, also by a panic of the observer: nobody may wait for it in vain.
struct Closing<'a>(&'a Shared);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        let mut queue = self.0.queue.lock();
        queue.closed = true;
        queue.waiting.clear();
    }
}

struct Worker {
    spool: Arc<dyn Spool>,
    shared: Arc<Shared>,
    observer: Observer,
    clock: SystemClock,
}

impl Worker {
    fn run(self) {
        let _closing = Closing(&self.shared);
        while let Some(group) = self.next_group() {
            self.serve(group);
        }
    }

    /// All that waits, up to the limits; `None` when the queue is closed and empty.
    fn next_group(&self) -> Option<Vec<Waiting>> {
        let mut queue = self.shared.queue.lock();
        while queue.waiting.is_empty() {
            if queue.closed {
                return None;
            }
            self.shared.filled.wait(&mut queue);
        }
        let (mut ops, mut octets, mut count) = (0, 0, 0);
        for waiting in &queue.waiting {
            ops += waiting.batch.len();
            octets += waiting.octets;
            // The first always goes, however large.
            if count > 0 && (ops > MAX_OPS || octets > MAX_OCTETS) {
                break;
            }
            count += 1;
        }
        Some(queue.waiting.drain(..count).collect())
    }

    fn serve(&self, group: Vec<Waiting>) {
        let octets = group.iter().map(|waiting| waiting.octets).sum();
        let (batches, answers): (Vec<Batch>, Vec<Answer>) =
            group.into_iter().map(|waiting| (waiting.batch, waiting.answer)).unzip();
        let result = self.commit(&batches, octets);
        let adding: Vec<bool> = batches.iter().map(|batch| adds_mail(batch)).collect();
        let mixed = adding.contains(&true) && adding.contains(&false);
        let others = match &result {
            Err(SpoolError::Full(_)) if mixed => {
                let rest: Vec<Batch> =
                    batches.into_iter().zip(&adding).filter(|(_, adds)| !**adds).map(|(batch, _)| batch).collect();
                let octets = rest.iter().flatten().map(octets_of).sum();
                self.commit(&rest, octets)
            }
            _ => result.clone(),
        };
        for (answer, adds) in answers.into_iter().zip(adding) {
            // Whoever dropped the receiving end did not want to know.
            let _ = answer.send(if adds { result.clone() } else { others.clone() });
        }
    }

    fn commit(&self, batches: &[Batch], octets: usize) -> Result<(), SpoolError> {
        let ops = batches.iter().map(Vec::len).sum();
        let started = self.clock.now().mono;
        let result = catch_unwind(AssertUnwindSafe(|| self.spool.commit(batches)))
            .unwrap_or_else(|_| Err(SpoolError::Io("the spool panicked; see the log".into())));
        let took = self.clock.now().mono.since(started);
        let totals = &self.shared.totals;
        let add = |total: &AtomicU64, more: u64| total.fetch_add(more, Ordering::Relaxed);
        add(&totals.nanos, u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        if result.is_ok() {
            add(&totals.commits, 1);
            add(&totals.batches, batches.len() as u64);
            add(&totals.ops, ops as u64);
            add(&totals.octets, octets as u64);
        } else {
            add(&totals.failures, 1);
        }
        (self.observer)(Committed { batches: batches.len(), ops, octets, took, ok: result.is_ok() });
        result
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::sync::mpsc;

    use super::super::contract::{gone, message};
    use super::super::layout::{Key, Table, Tables, Write};
    use super::super::memory::MemorySpool;
    use super::*;
    use crate::message::EntryId;

    /// A spool whose commits wait until they are let through, as a disk would make them.
    #[derive(Default)]
    struct Slow {
        inner: MemorySpool,
        gate: Mutex<Option<mpsc::Receiver<()>>>,
        panics: AtomicBool,
    }

    impl Tables for Slow {
        fn write(&self, writes: &[Write], adds_mail: bool) -> Result<(), SpoolError> {
            if let Some(gate) = &*self.gate.lock() {
                // A closed gate lets through.
                let _ = gate.recv();
            }
            assert!(!self.panics.load(Ordering::Relaxed), "injected");
            self.inner.write(writes, adds_mail)
        }
        fn get(&self, table: Table, key: &[u8]) -> Result<Option<bytes::Bytes>, SpoolError> {
            self.inner.get(table, key)
        }
        fn scan(&self, t: Table, p: &[u8], visit: &mut dyn FnMut(&[u8], bytes::Bytes)) -> Result<(), SpoolError> {
            self.inner.scan(t, p, visit)
        }
        fn scan_first(
            &self,
            table: Table,
            prefix: &[u8],
            after: &[u8],
            limit: usize,
            visit: &mut dyn FnMut(&[u8], bytes::Bytes),
        ) -> Result<(), SpoolError> {
            self.inner.scan_first(table, prefix, after, limit, visit)
        }
        fn keys(&self, table: Table, visit: &mut dyn FnMut(&[u8])) -> Result<(), SpoolError> {
            self.inner.keys(table, visit)
        }
        fn last_key(&self, table: Table, prefix: &[u8]) -> Result<Option<Key>, SpoolError> {
            self.inner.last_key(table, prefix)
        }
        fn octets_on_disk(&self) -> u64 {
            self.inner.octets_on_disk()
        }
        fn compact(&self) -> Result<(), SpoolError> {
            self.inner.compact()
        }
    }

    fn start(spool: &Arc<Slow>) -> (Committer, CommitThread, mpsc::Receiver<Committed>) {
        let (tell, told) = mpsc::channel();
        let spool: Arc<dyn Spool> = Arc::clone(spool) as Arc<dyn Spool>;
        let (committer, thread) = Committer::start(spool, move |c| tell.send(c).unwrap_or(())).expect("a thread");
        (committer, thread, told)
    }

    /// A committer that is held in a first commit, so that what is handed in meanwhile waits together.
    fn held() -> (Arc<Slow>, mpsc::Sender<()>, Committer, CommitThread, mpsc::Receiver<Committed>) {
        let spool = Arc::new(Slow::default());
        let (open, gate) = mpsc::channel();
        *spool.gate.lock() = Some(gate);
        let (committer, thread, told) = start(&spool);
        drop(committer.submit(message(1_000_000, 1)));
        while committer.waiting() > 0 {
            std::thread::yield_now();
        }
        (spool, open, committer, thread, told)
    }

    #[test]
    fn what_builds_up_during_a_commit_is_the_next_group() {
        let (spool, open, committer, thread, told) = held();
        let pending: Vec<Pending> = (1..=100).map(|id| committer.submit(message(id, 100))).collect();
        drop(open);
        for answer in pending {
            answer.wait().expect("committed");
        }
        assert_eq!(spool.inner.commits(), 2);
        assert_eq!(committer.totals().batches.load(Ordering::Relaxed), 101);
        thread.close();
        let sizes: Vec<usize> = told.iter().map(|c| c.batches).collect();
        assert_eq!(sizes, [1, 100]);
    }

    #[test]
    fn a_group_ends_at_its_limits_but_a_large_batch_goes_alone() {
        let (_spool, open, committer, thread, told) = held();
        for id in 1..=3 {
            drop(committer.submit(message(id, MAX_OCTETS / 2)));
        }
        drop(committer.submit(message(4, MAX_OCTETS * 2)));
        for id in 0..MAX_OPS as u64 {
            drop(committer.submit(gone(10 + id)));
        }
        drop(open);
        thread.close();
        let sizes: Vec<usize> = told.iter().map(|c| c.batches).collect();
        assert_eq!(sizes, [1, 1, 1, 1, 1, MAX_OPS / 2, MAX_OPS / 2]);
    }

    #[test]
    fn when_the_disk_is_full_mail_is_refused_and_removals_go_on() {
        let (spool, open, committer, _thread, _told) = held();
        spool.inner.set_full(true);
        let refused = committer.submit(message(1, 10));
        let done = committer.submit(gone(7));
        let also_refused = committer.submit(message(2, 10));
        drop(open);
        assert!(matches!(refused.wait(), Err(SpoolError::Full(_))));
        assert_eq!(done.wait(), Ok(()));
        assert!(matches!(also_refused.wait(), Err(SpoolError::Full(_))));
        spool.inner.set_full(false);
        assert_eq!(committer.commit_blocking(message(1, 10)), Ok(()));
    }

    #[test]
    fn an_error_is_told_to_everyone_in_the_group_and_to_nobody_after_it() {
        let (spool, open, committer, _thread, _told) = held();
        spool.inner.set_broken(Some("cable"));
        let pending = [committer.submit(message(1, 10)), committer.submit(gone(7))];
        drop(open);
        for answer in pending {
            assert_eq!(answer.wait(), Err(SpoolError::Io("cable".into())));
        }
        spool.inner.set_broken(None);
        assert_eq!(committer.commit_blocking(message(1, 10)), Ok(()));
        assert_eq!(committer.totals().failures.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn closing_commits_what_waits_and_refuses_what_comes_later() {
        let (spool, open, committer, thread, _told) = held();
        drop((1..=5).map(|id| committer.submit(message(id, 10))).collect::<Vec<_>>());
        drop(open);
        thread.close();
        assert_eq!(Spool::entry(&spool.inner, EntryId(5)).expect("readable").map(|e| e.id), Some(EntryId(5)));
        assert!(matches!(committer.commit_blocking(gone(1)), Err(SpoolError::Io(_))));
    }

    #[test]
    fn a_panic_of_the_spool_is_an_error_and_the_thread_lives() {
        let spool = Arc::new(Slow::default());
        let (committer, _thread, _told) = start(&spool);
        spool.panics.store(true, Ordering::Relaxed);
        assert!(matches!(committer.commit_blocking(gone(1)), Err(SpoolError::Io(_))));
        spool.panics.store(false, Ordering::Relaxed);
        assert_eq!(committer.commit_blocking(gone(1)), Ok(()));
    }

    #[test]
    fn an_observer_that_panics_leaves_nobody_waiting() {
        let spool = Arc::new(MemorySpool::new());
        let (committer, thread) = Committer::start(spool, |_| panic!("injected")).expect("a thread");
        assert!(committer.commit_blocking(gone(1)).is_err());
        assert!(committer.commit_blocking(gone(2)).is_err());
        thread.close();
    }

    #[tokio::test]
    async fn tasks_wait_without_holding_a_thread() {
        let (_spool, open, committer, _thread, _told) = held();
        let tasks: Vec<_> = (1..=50)
            .map(|id| {
                let committer = committer.clone();
                tokio::spawn(async move { committer.commit(message(id, 10)).await })
            })
            .collect();
        drop(open);
        for task in tasks {
            assert_eq!(task.await.expect("no panic"), Ok(()));
        }
    }
}
