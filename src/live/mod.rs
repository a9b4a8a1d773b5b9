//! The configuration in force, and the only door by which it changes.
//!
//! Whoever wants a change — `SIGHUP`, the API, an order that ends — asks [`Live`], a handle on one task ([`task`]) that
//! takes one request after the other: it reads the file or changes the [orders](crate::orders), lays the orders over the
//! file, compares the result with what is in force ([`diff`]), and has it applied as a whole ([`Apply`]) or not at all.
//! What is not applied leaves everything as it was, and the answer says why.

pub mod diff;
pub mod fixed;
pub mod task;

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use parking_lot::RwLock;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

pub use self::diff::Changed;
use crate::config::Config;
use crate::orders::{NewOrder, Order, OrderId, Orders};

/// One step of a change of orders; those given together come into force together.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Give this order. One that means the same thing (the same binding's cap, say) is replaced.
    Give(NewOrder),
    /// Take this one back.
    Cancel(OrderId),
}

/// What a change came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Outcome {
    /// What is different from before, in the order of the file's sections.
    pub changes: Vec<Changed>,
    /// What the operator should know, in words: mail that waits for a pool that is gone, what needs a restart.
    pub warnings: Vec<String>,
    /// The orders that were given.
    pub orders: Vec<Order>,
    /// Nothing was applied: it was only asked what would be.
    pub is_dry: bool,
}

/// Why a change did not come into force. What was in force still is.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refused {
    /// The file has mistakes, each with place and remedy.
    #[error("the file has mistakes; the configuration in force stays:\n{}", .0.join("\n"))]
    File(Vec<String>),
    /// An order names what is not there, or would do harm.
    #[error("{0}")]
    Order(String),
    /// There is no such order.
    #[error("there is no order {0}")]
    Unknown(u64),
    /// It could not be applied.
    #[error("not applied, the configuration in force stays: {0}")]
    Apply(String),
    /// The relay is going down.
    #[error("the relay is stopping")]
    Stopping,
}

/// What [`Apply`] is asked to bring into force.
pub struct Change {
    /// The configuration that is to be in force.
    pub config: Arc<Config>,
    /// The one that is.
    pub before: Arc<Config>,
    /// What is different.
    pub changes: Vec<Changed>,
    /// Whether the file was read anew; otherwise orders were given, or ended, and no file beside it is looked at.
    pub is_file: bool,
}

/// Work that may take a while.
pub type Work<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Brings a configuration into force: all of it or nothing.
pub trait Apply: Send + 'static {
    /// What applying it would need or do beside the difference: in words for the operator.
    ///
    /// # Errors
    /// In words, where it cannot be applied.
    fn check<'a>(&'a mut self, change: &'a Change) -> Work<'a, Result<Vec<String>, String>>;

    /// Applies it. What can fail is done before anything is touched.
    ///
    /// # Errors
    /// In words; then everything is as before.
    fn apply<'a>(&'a mut self, change: &'a Change) -> Work<'a, Result<Vec<String>, String>>;
}

/// What is asked of the task.
pub(crate) enum Request {
    Reload { is_dry: bool, answer: oneshot::Sender<Result<Outcome, Refused>> },
    Change { steps: Vec<Step>, is_dry: bool, answer: oneshot::Sender<Result<Outcome, Refused>> },
}

/// A handle on the configuration in force.
#[derive(Clone)]
pub struct Live {
    requests: mpsc::Sender<Request>,
    orders: Arc<RwLock<Arc<Orders>>>,
    file: Arc<RwLock<Arc<Config>>>,
    path: Option<PathBuf>,
}

impl Live {
    /// What the file said when it was last brought into force: the configuration without orders.
    pub fn file(&self) -> Arc<Config> {
        Arc::clone(&self.file.read())
    }

    /// The orders in force.
    pub fn orders(&self) -> Arc<Orders> {
        Arc::clone(&self.orders.read())
    }

    /// The file that [`Live::reload`] reads; `None` where the program was started without one.
    pub fn path(&self) -> Option<&PathBuf> {
        self.path.as_ref()
    }

    /// Reads the file anew and brings it into force; with `is_dry` only says what would change.
    ///
    /// # Errors
    /// See [`Refused`]; what was in force stays.
    pub async fn reload(&self, is_dry: bool) -> Result<Outcome, Refused> {
        self.ask(|answer| Request::Reload { is_dry, answer }).await
    }

    /// Changes the orders, all steps or none.
    ///
    /// # Errors
    /// See [`Refused`]; what was in force stays.
    pub async fn change(&self, steps: Vec<Step>, is_dry: bool) -> Result<Outcome, Refused> {
        self.ask(|answer| Request::Change { steps, is_dry, answer }).await
    }

    async fn ask(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<Outcome, Refused>>) -> Request,
    ) -> Result<Outcome, Refused> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(request(answer)).await.map_err(|_| Refused::Stopping)?;
        answered.await.map_err(|_| Refused::Stopping)?
    }
}
