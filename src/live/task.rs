//! The task behind [`Live`]: one request after the other, and orders that end by themselves.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::{mpsc, watch};

use super::{Apply, Change, Live, Outcome, Refused, Request, Step, diff, fixed};
use crate::clock::Clock;
use crate::config::Config;
use crate::orders::Orders;
use crate::store::committer::Committer;

/// Requests that may wait; who comes then waits to ask.
const WAITING: usize = 16;

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
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where orders are written down.
    pub committer: Committer,
    /// Who applies.
    pub apply: Box<dyn Apply>,
}

struct Task {
    parts: Parts,
    shown: Arc<RwLock<Arc<Orders>>>,
}

/// Starts the task; it ends when `stopped` turns true.
pub fn start(parts: Parts, mut stopped: watch::Receiver<bool>) -> Live {
    let (requests, mut asked) = mpsc::channel(WAITING);
    let shown = Arc::new(RwLock::new(Arc::new(parts.orders.clone())));
    let live = Live { requests, orders: Arc::clone(&shown), path: parts.path.clone() };
    let mut task = Task { parts, shown };
    tokio::spawn(async move {
        loop {
            let request = tokio::select! {
                request = asked.recv() => request,
                _ = stopped.wait_for(|stop| *stop) => None,
            };
            let Some(request) = request else { return };
            task.serve(request).await;
        }
    });
    live
}

fn read(path: &Path) -> Result<Config, Refused> {
    let loaded = Config::load(path).map_err(|mistakes| Refused::File(vec![mistakes.to_string()]))?;
    Ok(loaded.config)
}

impl Task {
    async fn serve(&mut self, request: Request) {
        // Nobody may wait for the answer any more: what was asked is done all the same.
        match request {
            Request::Reload { is_dry, answer } => drop(answer.send(self.reload(is_dry).await)),
            Request::Change { steps, is_dry, answer } => drop(answer.send(self.change(steps, is_dry).await)),
        }
    }

    async fn reload(&mut self, is_dry: bool) -> Result<Outcome, Refused> {
        let Some(path) = self.parts.path.clone() else {
            return Err(Refused::Apply("the relay was started without a file".into()));
        };
        let file = Arc::new(read(&path)?);
        let outcome = self.turn(Arc::clone(&file), self.parts.orders.clone(), is_dry).await?;
        if !is_dry {
            self.parts.file = file;
        }
        Ok(outcome)
    }

    async fn change(&mut self, _steps: Vec<Step>, is_dry: bool) -> Result<Outcome, Refused> {
        let orders = self.parts.orders.clone();
        self.turn(Arc::clone(&self.parts.file), orders, is_dry).await
    }

    /// Brings `file` with `orders` over it into force.
    async fn turn(&mut self, file: Arc<Config>, orders: Orders, is_dry: bool) -> Result<Outcome, Refused> {
        let (mut config, _unfit) = orders.over(&file, self.parts.clock.now().wall);
        let stays = fixed::keep(&self.parts.in_force, &mut config);
        let changes = diff::between(&self.parts.in_force, &config);
        let change = Change { config: Arc::new(config), before: Arc::clone(&self.parts.in_force), changes };
        let mut warnings = stays;
        warnings.extend(self.parts.apply.check(&change).await.map_err(Refused::Apply)?);
        if !is_dry {
            warnings.extend(self.parts.apply.apply(&change).await.map_err(Refused::Apply)?);
            self.parts.in_force = Arc::clone(&change.config);
            *self.shown.write() = Arc::new(orders.clone());
            self.parts.orders = orders;
        }
        Ok(Outcome { changes: change.changes, warnings, orders: Vec::new(), is_dry })
    }
}
