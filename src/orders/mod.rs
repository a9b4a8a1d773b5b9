//! What the operator orders while the relay runs. Pure.
//!
//! An [`Order`] changes what the file says — a binding is drained or gone, has another cap, stands in another tier, a
//! tenant's mail waits or goes through another pool — for a while or until it is cancelled. Orders are laid over the
//! configuration of the file ([`Orders::over`]); what comes out is the configuration in force, and it comes into force by
//! the same door as a file that was read anew ([`crate::live`]). So an order survives a reload and a restart, two of them
//! have one meaning whatever came first, and what ends by itself leaves nothing behind.
//!
//! Suspending and resuming a binding are no orders: that is a matter of health, which has a memory of its own
//! ([`crate::reputation::Evidence::OperatorSuspend`]).

mod facts;
mod over;

pub use facts::PREFIX;
pub use over::Unfit;

use serde::{Deserialize, Serialize};

use crate::clock::{Wall, rfc3339};
use crate::message::{BindingName, PoolName, StreamName, TenantName};

/// Number of an order; never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OrderId(pub u64);

/// What is ordered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "kebab-case")]
pub enum Act {
    /// No new attempt through this binding; what is on the wire ends as it would.
    Drain {
        /// Which.
        binding: BindingName,
    },
    /// The binding is gone, as if the file did not have it.
    Remove {
        /// Which.
        binding: BindingName,
    },
    /// Another daily cap.
    SetCap {
        /// Of which binding.
        binding: BindingName,
        /// Recipients a day; `None` for no cap.
        cap: Option<u64>,
    },
    /// A binding stands in another tier of a pool, or is new there.
    MoveTier {
        /// The pool.
        pool: PoolName,
        /// The binding.
        binding: BindingName,
        /// 0 is active, 1 the first backup tier; one more than there are makes a new one.
        tier: usize,
        /// Its weight there; `None` keeps what it has, or 1.
        weight: Option<u32>,
    },
    /// The tenant's mail is taken in and waits.
    HoldTenant {
        /// Whose.
        tenant: TenantName,
    },
    /// New mail of a tenant's stream goes through another pool.
    AssignTenant {
        /// Whose.
        tenant: TenantName,
        /// Which stream.
        stream: StreamName,
        /// Through which pool.
        pool: PoolName,
    },
}

/// An order that is in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// Its number.
    pub id: OrderId,
    /// What is ordered.
    #[serde(flatten)]
    pub act: Act,
    /// Why, in the operator's words.
    pub reason: String,
    /// Who ordered it.
    pub actor: String,
    /// When.
    #[serde(with = "rfc3339")]
    pub at: Wall,
    /// When it ends by itself; `None` until cancelled.
    #[serde(with = "rfc3339::option")]
    pub until: Option<Wall>,
}

/// An order to be given.
#[derive(Clone, Debug, PartialEq)]
pub struct NewOrder {
    /// What.
    pub act: Act,
    /// Why.
    pub reason: String,
    /// Who.
    pub actor: String,
    /// Until when; `None` until cancelled.
    pub until: Option<Wall>,
}

/// All orders in force, oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Orders {
    last: u64,
    all: Vec<Order>,
}

impl Orders {
    /// Oldest first.
    pub fn all(&self) -> &[Order] {
        &self.all
    }
}
