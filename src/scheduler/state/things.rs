//! What has a number of its own: bindings, tenants and destinations, with everything about them that changes.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::clock::{Mono, Wall};
use crate::config;
use crate::message::{DestinationName, ProviderName, TenantName};
use crate::scheduler::binding::WholeLimits;
use crate::scheduler::cap::AccountId;
use crate::scheduler::pool::Class;
use crate::scheduler::rate::Limiter;
use crate::scheduler::standing::Standing;
use crate::scheduler::window::Window;
use crate::scheduler::{DestinationId, PoolId};

/// A binding and everything about it that changes.
pub(in crate::scheduler) struct Binding {
    pub(in crate::scheduler) config: Arc<config::Binding>,
    /// In the present configuration.
    pub(in crate::scheduler) exists: bool,
    pub(in crate::scheduler) limits: WholeLimits,
    pub(in crate::scheduler) window: Window,
    pub(in crate::scheduler) limiter: Option<Limiter>,
    pub(in crate::scheduler) account: AccountId,
    /// The day's limit comes from the warm-up, not from the cap.
    pub(in crate::scheduler) is_warming: bool,
    pub(in crate::scheduler) standing: Standing,
    /// Destinations where it is not to be counted on, and why.
    pub(in crate::scheduler) shut: Vec<(DestinationId, Class)>,
    /// Places in tiers: pool, tier, seat.
    pub(in crate::scheduler) seats: SmallVec<[(PoolId, u32, u32); 2]>,
    /// Which of the ranges, where others share it.
    pub(in crate::scheduler) range: Option<u32>,
    /// Moments at which it is looked at again, each once and earlier than the one before.
    pub(in crate::scheduler) wall_timers: SmallVec<[Wall; 2]>,
    pub(in crate::scheduler) mono_timer: Option<Mono>,
}

impl Binding {
    /// Whether automation alone may keep it from mail: it is configured, and neither taken out by the operator nor without
    /// its address.
    pub(in crate::scheduler) fn is_there(&self) -> bool {
        self.exists && !self.config.suspend_delivery && !self.standing.is_taken_out()
    }
}

pub(in crate::scheduler) struct Tenant {
    pub(in crate::scheduler) name: TenantName,
    pub(in crate::scheduler) account: AccountId,
    /// By column of the [`RouteTable`](super::RouteTable), where it has a cap towards that provider or had one.
    pub(in crate::scheduler) towards: Vec<Option<AccountId>>,
    pub(in crate::scheduler) limiter: Option<Limiter>,
}

impl Tenant {
    /// Its cap towards the provider of a column.
    pub(in crate::scheduler) fn towards(&self, column: u32) -> Option<AccountId> {
        self.towards.get(column as usize).copied().flatten()
    }
}

pub(in crate::scheduler) struct Destination {
    pub(in crate::scheduler) name: DestinationName,
    pub(in crate::scheduler) provider_name: Option<ProviderName>,
    /// Column in the [`RouteTable`](super::RouteTable); 0 is "no provider".
    pub(in crate::scheduler) column: u32,
    /// Routes here that are not to be counted on.
    pub(in crate::scheduler) routes_out: u32,
    /// Routes that are remembered.
    pub(in crate::scheduler) routes: u32,
}
