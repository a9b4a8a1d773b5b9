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
mod harm;
mod over;

pub use facts::{BadOrder, PREFIX};
pub use harm::{PUT_OFF, PutOff, empties_a_pool};
pub use over::{Laid, Unfit, no_binding, no_pool, no_tenant, says};

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::{Wall, rfc3339};
use crate::config::Config;
use crate::message::{BindingName, PoolName, StreamName, TenantName};

/// Number of an order; never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct OrderId(pub u64);

/// What is ordered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "act", rename_all = "kebab-case")]
#[schema(as = OrderAct)]
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
        /// Attempts of it may still be on the wire: it is drained until they have ended, and goes then.
        #[serde(default)]
        draining: bool,
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
        /// 0 is active, 1 the first backup tier; one more than there are makes a new one. Tiers are counted as the file
        /// has them (and earlier orders made them), empty ones included.
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
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
    #[schema(value_type = String, format = DateTime)]
    pub at: Wall,
    /// When it ends by itself; `None` until cancelled.
    #[serde(with = "rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
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

/// Most orders in force at the same time.
pub const MOST: usize = 1_000;

/// What an order is about: two about the same replace one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum About<'a> {
    /// Whether a binding takes mail at all.
    Use(&'a BindingName),
    /// Its cap.
    Cap(&'a BindingName),
    /// Its place in a pool.
    Place(&'a PoolName, &'a BindingName),
    /// Whether a tenant's mail waits.
    Hold(&'a TenantName),
    /// Where a stream goes.
    Stream(&'a TenantName, &'a StreamName),
}

impl Act {
    /// What it is about.
    pub fn about(&self) -> About<'_> {
        match self {
            Self::Drain { binding } | Self::Remove { binding, .. } => About::Use(binding),
            Self::SetCap { binding, .. } => About::Cap(binding),
            Self::MoveTier { pool, binding, .. } => About::Place(pool, binding),
            Self::HoldTenant { tenant } => About::Hold(tenant),
            Self::AssignTenant { tenant, stream, .. } => About::Stream(tenant, stream),
        }
    }

    /// Stable text, as in the API.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Drain { .. } => "drain",
            Self::Remove { .. } => "remove",
            Self::SetCap { .. } => "set-cap",
            Self::MoveTier { .. } => "move-tier",
            Self::HoldTenant { .. } => "hold-tenant",
            Self::AssignTenant { .. } => "assign-tenant",
        }
    }

    /// The binding it is about.
    pub fn binding(&self) -> Option<&BindingName> {
        match self {
            Self::Drain { binding }
            | Self::Remove { binding, .. }
            | Self::SetCap { binding, .. }
            | Self::MoveTier { binding, .. } => Some(binding),
            Self::HoldTenant { .. } | Self::AssignTenant { .. } => None,
        }
    }

    /// The tenant it is about.
    pub fn tenant(&self) -> Option<&TenantName> {
        match self {
            Self::HoldTenant { tenant } | Self::AssignTenant { tenant, .. } => Some(tenant),
            _ => None,
        }
    }

    /// The pool it is about.
    pub fn pool(&self) -> Option<&PoolName> {
        match self {
            Self::MoveTier { pool, .. } | Self::AssignTenant { pool, .. } => Some(pool),
            _ => None,
        }
    }
}

impl fmt::Display for Act {
    /// In words, for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drain { binding } => write!(f, "drain {binding}"),
            Self::Remove { binding, draining: false } => write!(f, "remove {binding}"),
            Self::Remove { binding, draining: true } => write!(f, "remove {binding} (draining first)"),
            Self::SetCap { binding, cap: Some(cap) } => write!(f, "daily cap of {binding}: {cap}"),
            Self::SetCap { binding, cap: None } => write!(f, "no daily cap for {binding}"),
            Self::MoveTier { pool, binding, tier, weight } => {
                write!(f, "{binding} in tier {tier} of pool {pool}")?;
                weight.map_or(Ok(()), |weight| write!(f, " with weight {weight}"))
            }
            Self::HoldTenant { tenant } => write!(f, "hold the mail of {tenant}"),
            Self::AssignTenant { tenant, stream, pool } => write!(f, "{stream} of {tenant} through pool {pool}"),
        }
    }
}

impl Order {
    /// Whether it is in force.
    fn holds(&self, now: Wall) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// An order that ended otherwise than by being cancelled or replaced.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// Which.
    pub order: Order,
    /// Why, in words.
    pub why: String,
}

/// All orders in force, oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Orders {
    last: u64,
    all: Vec<Order>,
    /// Those that hold although they may leave a pool without a binding.
    insisted: BTreeSet<OrderId>,
}

impl Orders {
    /// Oldest first.
    pub fn all(&self) -> &[Order] {
        &self.all
    }

    /// The order of that number.
    pub fn get(&self, id: OrderId) -> Option<&Order> {
        self.all.iter().find(|order| order.id == id)
    }

    /// The order about this, if there is one.
    pub fn about(&self, about: About<'_>) -> Option<&Order> {
        self.all.iter().find(|order| order.act.about() == about)
    }

    /// Those about a binding, oldest first.
    pub fn of_binding<'a>(&'a self, binding: &'a BindingName) -> impl Iterator<Item = &'a Order> {
        self.all.iter().filter(move |order| order.act.binding() == Some(binding))
    }

    /// Those about a tenant, oldest first.
    pub fn of_tenant<'a>(&'a self, tenant: &'a TenantName) -> impl Iterator<Item = &'a Order> {
        self.all.iter().filter(move |order| order.act.tenant() == Some(tenant))
    }

    /// Gives an order a number and puts it into force at `now`; one about the same is replaced.
    ///
    /// # Errors
    /// In words: there are too many.
    pub fn give(&mut self, new: NewOrder, now: Wall) -> Result<Order, String> {
        self.all.retain(|order| order.act.about() != new.act.about());
        if self.all.len() >= MOST {
            return Err(format!("{MOST} orders are in force: write what is to stay into the file, and reload"));
        }
        self.last += 1;
        let NewOrder { act, reason, actor, until } = new;
        let order = Order { id: OrderId(self.last), act, reason, actor, at: now, until };
        self.all.push(order.clone());
        Ok(order)
    }

    /// Takes one back; `None` where there is none of that number.
    pub fn cancel(&mut self, id: OrderId) -> Option<Order> {
        let at = self.all.iter().position(|order| order.id == id)?;
        Some(self.all.remove(at))
    }

    /// Takes out those whose time is over, and says which.
    pub fn expire(&mut self, now: Wall) -> Vec<Ended> {
        self.end_where(|order| (!order.holds(now)).then(|| "its time is over".to_owned()))
    }

    /// Takes out those that the file has made needless since: it says the same, or no longer has what they are about.
    pub fn settle(&mut self, file: &Config) -> Vec<Ended> {
        self.end_where(|order| over::needless(&order.act, file))
    }

    /// Takes out those that do not fit.
    pub fn drop_unfit(&mut self, unfit: Vec<Unfit>) -> Vec<Ended> {
        self.all.retain(|order| unfit.iter().all(|unfit| unfit.order.id != order.id));
        unfit.into_iter().map(|Unfit { order, why, .. }| Ended { order, why }).collect()
    }

    fn end_where(&mut self, why: impl Fn(&Order) -> Option<String>) -> Vec<Ended> {
        let mut ended = Vec::new();
        self.all.retain(|order| match why(order) {
            None => true,
            Some(why) => {
                ended.push(Ended { order: order.clone(), why });
                false
            }
        });
        ended
    }

    /// When the next one ends by itself.
    pub fn next_end(&self) -> Option<Wall> {
        self.all.iter().filter_map(|order| order.until).min()
    }

    /// Bindings that go as soon as nothing of theirs is on the wire.
    pub fn going(&self) -> impl Iterator<Item = &BindingName> {
        self.all.iter().filter_map(|order| match &order.act {
            Act::Remove { binding, draining: true } => Some(binding),
            _ => None,
        })
    }

    /// Nothing of this binding is on the wire any more: if it was to go, it goes. True where that was so.
    pub fn gone(&mut self, name: &BindingName) -> bool {
        let mut went = false;
        for order in &mut self.all {
            if let Act::Remove { binding, draining } = &mut order.act
                && binding == name
            {
                went |= std::mem::replace(draining, false);
            }
        }
        went
    }

    /// In words.
    #[cfg(test)]
    fn acts(&self) -> Vec<String> {
        self.all.iter().map(|order| order.act.to_string()).collect()
    }
}

#[cfg(test)]
mod tests;
