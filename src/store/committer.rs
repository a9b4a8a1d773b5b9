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
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::{Batch, Op, Spool, SpoolError, adds_mail};

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
        let shared =
            Arc::new(Shared { queue: Mutex::default(), filled: Condvar::new(), totals: Totals::default() });
        let worker = Worker { spool, shared: Arc::clone(&shared), observer: Box::new(observer) };
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
    /// Refuses further batches, commits those that wait, ends the thread.
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
        let started = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| self.spool.commit(batches)))
            .unwrap_or_else(|_| Err(SpoolError::Io("the spool panicked; see the log".into())));
        let took = started.elapsed();
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
