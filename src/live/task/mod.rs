//! The task behind [`Live`]: one request after the other, and orders that end by themselves.
//!
//! A change of orders is laid over the file, applied, and written down before it is said to be done; where the disk
//! refuses, what was in force before is applied again. What time has made of orders nobody can be refused: it is applied,
//! and written down as soon as the disk takes it. Besides requests the task has one timer: for orders whose time is
//! over, and for bindings that were told to go and have nothing on the wire any more. What it makes of both is pure
//! ([`due`]).

mod telling;
#[cfg(test)]
mod tests;

pub use self::telling::Around;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::{mpsc, watch};

use super::{Apply, Change, Live, Outcome, Refused, Request, Step, diff, fixed};
use crate::clock::{Clock, Wall};
use crate::config::Config;
use crate::message::BindingName;
use crate::orders::{Ended, Order, Orders, Unfit, says};
use crate::reputation::Fact;
use crate::store::committer::Committer;
use crate::store::{Batch, Op};

/// Requests that may wait; who comes then waits to ask.
const WAITING: usize = 16;
/// Steps of one change.
const STEPS_MAX: usize = 100;
/// Longest sleep: a clock that is set forward is noticed this soon.
const SLEEP_MAX: Duration = Duration::from_secs(30);
/// How often a binding on its way out is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// Pause after an order that ended could not be taken out.
const AGAIN: Duration = Duration::from_secs(5);

/// What the task is made of.
pub struct Parts {
    /// The file that is read anew.
    pub path: Option<PathBuf>,
    /// What it said when the program started.
    pub file: Arc<Config>,
    /// The same with `orders` over it: what is in force.
    pub in_force: Arc<Config>,
    /// Orders of an earlier run that are still in force.
    pub orders: Orders,
    /// The same as they were on disk; those that have ended meanwhile are taken out there.
    pub on_disk: Orders,
    /// Orders of an earlier run that have ended, to be told of.
    pub ended: Vec<Ended>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where orders are written down.
    pub committer: Committer,
    /// Who applies.
    pub apply: Box<dyn Apply>,
    /// Who is told.
    pub around: Arc<dyn Around>,
}

/// Orders of an earlier run, laid over the file as it is now.
pub struct Recalled {
    /// Those that are in force.
    pub orders: Orders,
    /// All that were on disk.
    pub on_disk: Orders,
    /// Those that are not, and why.
    pub ended: Vec<Ended>,
    /// What is in force.
    pub config: Config,
    /// Facts that could not be read, in words.
    pub unreadable: Vec<String>,
}

/// Takes back what an earlier run wrote under [`crate::orders::PREFIX`] and lays it over `file`. What does not fit has
/// ended: a relay that does not start would help nobody. Only a binding that was told to go stays out all the same, and
/// mail waits where its pool has no other.
pub fn recall(facts: &[(String, Vec<u8>)], file: &Config, now: Wall) -> Recalled {
    let (on_disk, bad) = Orders::recall(facts);
    let mut orders = on_disk.clone();
    let mut ended = orders.expire(now);
    ended.extend(orders.settle(file));
    let (mut config, unfit) = orders.over(file, now);
    let (unfit, is_insisted) = orders.insist(unfit);
    if is_insisted {
        config = orders.over(file, now).0;
    }
    ended.extend(orders.drop_unfit(unfit));
    Recalled { orders, on_disk, ended, config, unreadable: bad.iter().map(ToString::to_string).collect() }
}

/// What time has made of the orders: those whose time is over have ended, and bindings on their way out that are off the
/// wire are gone. `None` where nothing has changed.
fn due(orders: &Orders, is_off: impl Fn(&BindingName) -> bool, now: Wall) -> Option<(Orders, Vec<Ended>)> {
    let mut after = orders.clone();
    let ended = after.expire(now);
    let off: Vec<BindingName> = after.going().filter(|binding| is_off(binding)).cloned().collect();
    for binding in &off {
        after.gone(binding);
    }
    (!ended.is_empty() || !off.is_empty()).then_some((after, ended))
}

/// What is to be done about orders that do not fit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Strictness {
    /// The change is refused: it is about them.
    Refuse,
    /// Those about what is not there any more end; the change is refused where one would do harm.
    EndTheNeedless,
    /// They end, but for those that keep a binding out.
    End,
}

struct Task {
    parts: Parts,
    shown: Arc<RwLock<Arc<Orders>>>,
    file: Arc<RwLock<Arc<Config>>>,
    /// The last attempt to take out what was due, or to write it down, failed.
    rests: bool,
}

/// Starts the task; it ends when `stopped` turns true.
pub fn start(mut parts: Parts, mut stopped: watch::Receiver<bool>) -> Live {
    let (requests, mut asked) = mpsc::channel(WAITING);
    let shown = Arc::new(RwLock::new(Arc::new(parts.orders.clone())));
    let file = Arc::new(RwLock::new(Arc::clone(&parts.file)));
    let live = Live { requests, orders: Arc::clone(&shown), file: Arc::clone(&file), path: parts.path.clone() };
    let ended = std::mem::take(&mut parts.ended);
    let mut task = Task { parts, shown, file, rests: false };
    tokio::spawn(async move {
        task.tell_ended(&ended);
        task.tell_insisted(&Orders::default());
        task.write_down().await;
        loop {
            let pause = task.pause();
            let request = tokio::select! {
                request = asked.recv() => match request {
                    Some(request) => Some(request),
                    None => return,
                },
                () = tokio::time::sleep(pause) => None,
                _ = stopped.wait_for(|stop| *stop) => return,
            };
            match request {
                Some(request) => task.serve(request).await,
                None => task.tick().await,
            }
        }
    });
    live
}

fn read(path: &Path) -> Result<(Config, Vec<String>), Refused> {
    let loaded = Config::load(path)
        .map_err(|mistakes| Refused::File(mistakes.mistakes.iter().map(ToString::to_string).collect()))?;
    Ok((loaded.config, loaded.warnings.iter().map(|warning| format!("warning: {warning}")).collect()))
}

impl Task {
    async fn serve(&mut self, request: Request) {
        // Nobody may wait for the answer any more: what was asked is done all the same.
        match request {
            Request::Reload { is_dry, answer } => drop(answer.send(self.reload(is_dry).await)),
            Request::Change { steps, is_dry, answer } => drop(answer.send(self.change(steps, is_dry).await)),
        }
    }

    fn now(&self) -> Wall {
        self.parts.clock.now().wall
    }

    /// How long until there may be something to do.
    fn pause(&self) -> Duration {
        let next = self.parts.orders.next_end().map_or(SLEEP_MAX, |at| at.since(self.now()));
        let look = if self.parts.orders.going().next().is_some() { LOOK } else { SLEEP_MAX };
        if self.rests {
            return AGAIN;
        }
        next.min(look).clamp(Duration::from_millis(1), SLEEP_MAX)
    }

    async fn reload(&mut self, is_dry: bool) -> Result<Outcome, Refused> {
        let done = self.reload_file(is_dry).await;
        if !is_dry {
            let now = self.now();
            self.parts.around.reloaded(done.is_ok(), now);
            if let Err(refused) = &done {
                self.tell_refused("reload", refused);
            }
        }
        done
    }

    async fn reload_file(&mut self, is_dry: bool) -> Result<Outcome, Refused> {
        let Some(path) = self.parts.path.clone() else {
            return Err(Refused::Apply("the relay was started without a file".into()));
        };
        let loaded = tokio::task::spawn_blocking(move || read(&path)).await;
        let (file, warnings) = loaded.map_err(|error| Refused::Apply(error.to_string()))??;
        let file = Arc::new(file);
        let mut orders = self.parts.orders.clone();
        let ended = orders.settle(&file);
        let mut outcome =
            self.turn(Arc::clone(&file), orders, ended, ("reload", Strictness::EndTheNeedless, is_dry)).await?;
        outcome.warnings.splice(0..0, warnings);
        Ok(outcome)
    }

    async fn change(&mut self, steps: Vec<Step>, is_dry: bool) -> Result<Outcome, Refused> {
        if steps.len() > STEPS_MAX {
            return Err(Refused::Order(format!("at most {STEPS_MAX} orders at once")));
        }
        let now = self.now();
        let mut orders = self.parts.orders.clone();
        let mut given: Vec<Order> = Vec::new();
        for step in steps {
            if let Step::Give(new) = &step
                && let Some(why) = orders.forbids(&new.act)
            {
                return Err(Refused::Order(why));
            }
            match step {
                Step::Give(new) if says(&new.act, &self.parts.file) => {
                    // Nothing but an order that says otherwise stands in the way of what the file says.
                    let known = orders.about(new.act.about()).map(|order| order.id);
                    drop(known.and_then(|id| orders.cancel(id)));
                }
                Step::Give(new) => given.push(orders.give(new, now).map_err(Refused::Order)?),
                Step::Cancel(id) => drop(orders.cancel(id).ok_or(Refused::Unknown(id.0))?),
            }
        }
        let file = Arc::clone(&self.parts.file);
        let mut outcome = self.turn(file, orders, Vec::new(), ("orders", Strictness::Refuse, is_dry)).await?;
        outcome.orders = given;
        Ok(outcome)
    }

    /// Takes out what is due. What cannot be is tried again.
    async fn tick(&mut self) {
        let around = Arc::clone(&self.parts.around);
        let (file, now) = (Arc::clone(&self.parts.file), self.now());
        let Some((mut orders, ended)) = due(&self.parts.orders, |b| around.is_off_the_wire(b), now) else {
            return self.write_down().await;
        };
        let (ended, put_off) = orders.put_off(ended, &file, now);
        let done = self.turn(file, orders, ended, ("time", Strictness::End, false)).await;
        match done {
            Ok(_) => self.tell_put_off(&put_off),
            Err(refused) => {
                if !self.rests {
                    tracing::error!(%refused, "an order whose time is over stays in force; it is tried again");
                    self.tell_refused("time", &refused);
                }
                self.rests = true;
            }
        }
    }

    /// Writes down what is in force, where the disk does not know it yet.
    async fn write_down(&mut self) {
        let orders = self.parts.orders.clone();
        let written = write(self.parts.committer.clone(), orders.facts(&self.parts.on_disk)).await;
        match written {
            Ok(()) => self.parts.on_disk = orders,
            Err(ref error) if !self.rests => {
                tracing::error!(error, "orders in force are not as on disk; they are written as soon as it takes them");
            }
            Err(_) => {}
        }
        self.rests = written.is_err();
    }

    /// Brings `file` with `orders` over it into force, and writes the orders down.
    async fn turn(
        &mut self,
        file: Arc<Config>,
        mut orders: Orders,
        mut ended: Vec<Ended>,
        (by, strictness, is_dry): (&'static str, Strictness, bool),
    ) -> Result<Outcome, Refused> {
        let (mut config, unfit) = orders.over(&file, self.now());
        if let Some(no) = unfit.iter().find(|unfit| refuses(unfit, strictness)) {
            return Err(Refused::Order(in_the_way(no, strictness)));
        }
        let (unfit, is_insisted) = orders.insist(unfit);
        if is_insisted {
            config = orders.over(&file, self.now()).0;
        }
        ended.extend(orders.drop_unfit(unfit));
        let stays = fixed::keep(&self.parts.in_force, &mut config);
        let changes = diff::between(&self.parts.in_force, &config);
        let is_file = !Arc::ptr_eq(&file, &self.parts.file);
        let change = Change { config: Arc::new(config), before: Arc::clone(&self.parts.in_force), changes, is_file };
        let mut warnings: Vec<String> = ended.iter().map(in_words).chain(stays).collect();
        let own = warnings.len();
        warnings.extend(self.parts.apply.check(&change).await.map_err(Refused::Apply)?);
        if !is_dry {
            // What was checked is said again by whoever applies, if it still holds.
            warnings.truncate(own);
            warnings.extend(self.parts.apply.apply(&change).await.map_err(Refused::Apply)?);
            let before = Arc::clone(&*self.shown.read());
            if strictness == Strictness::End {
                self.adopt(file, Arc::clone(&change.config), orders);
                self.write_down().await;
            } else {
                if let Err(error) = write(self.parts.committer.clone(), orders.facts(&self.parts.on_disk)).await {
                    return Err(self.go_back(change, file, orders, &error).await);
                }
                self.parts.on_disk.clone_from(&orders);
                self.adopt(file, Arc::clone(&change.config), orders);
            }
            self.tell_applied(by, &change);
            self.tell_insisted(&before);
            self.tell_ended(&ended);
        }
        Ok(Outcome { changes: change.changes, warnings, orders: Vec::new(), is_dry })
    }

    fn adopt(&mut self, file: Arc<Config>, config: Arc<Config>, orders: Orders) {
        *self.file.write() = Arc::clone(&file);
        (self.parts.file, self.parts.in_force) = (file, config);
        *self.shown.write() = Arc::new(orders.clone());
        self.parts.orders = orders;
    }

    /// The orders are not on disk: what was in force before is applied again.
    async fn go_back(&mut self, change: Change, file: Arc<Config>, orders: Orders, error: &str) -> Refused {
        let changes = diff::between(&change.config, &change.before);
        let (config, before) = (Arc::clone(&change.before), Arc::clone(&change.config));
        let back = Change { config, before, changes, is_file: change.is_file };
        // Whether they are on disk is not known for certain: a restart must not find them there.
        drop(write(self.parts.committer.clone(), self.parts.orders.facts(&orders)).await);
        match self.parts.apply.apply(&back).await {
            Ok(_) => Refused::Apply(format!("the orders could not be written to disk: {error}")),
            Err(why) => {
                self.adopt(file, change.config, orders);
                self.rests = true;
                tracing::error!(
                    error,
                    why,
                    "orders are in force and not on disk; they are written as soon as it takes them"
                );
                Refused::Apply(format!(
                    "the orders could not be written to disk ({error}), and what was before could not be applied again \
                     ({why}): they are in force, and written as soon as the disk takes them"
                ))
            }
        }
    }
}

async fn write(committer: Committer, facts: Vec<Fact>) -> Result<(), String> {
    if facts.is_empty() {
        return Ok(());
    }
    let op = |fact| match fact {
        Fact::Put(key, value) => Op::PutFact(key, value),
        Fact::Remove(key) => Op::RemoveFact(key),
    };
    let batch: Batch = facts.into_iter().map(op).collect();
    committer.commit(batch).await.map_err(|error| error.to_string())
}

fn refuses(unfit: &Unfit, strictness: Strictness) -> bool {
    match strictness {
        Strictness::Refuse => true,
        Strictness::EndTheNeedless => unfit.is_harmful,
        Strictness::End => false,
    }
}

fn in_the_way(no: &Unfit, strictness: Strictness) -> String {
    let Unfit { order, why, .. } = no;
    if strictness == Strictness::Refuse {
        return why.clone();
    }
    format!(
        "order {} ({}) stands in the way: {why}. Or take it back: remuda orders cancel {}",
        order.id.0, order.act, order.id.0
    )
}

fn in_words(ended: &Ended) -> String {
    format!("order {} ({}) ends: {}", ended.order.id.0, ended.order.act, ended.why)
}
