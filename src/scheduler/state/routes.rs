//! What stands between a binding and a destination: limits by configuration, and what is remembered of the route.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::message::ProviderName;
use crate::scheduler::binding::RouteLimits;
use crate::scheduler::cap::AccountId;
use crate::scheduler::pool::Class;
use crate::scheduler::rate::Limiter;
use crate::scheduler::standing::Standing;
use crate::scheduler::window::{Sizing, Window};
use crate::scheduler::{BindingId, DestinationId};

/// A binding at a destination, remembered only while there is something to remember.
#[derive(Default)]
pub(in crate::scheduler) struct Route {
    pub(in crate::scheduler) window: Window,
    pub(in crate::scheduler) sizing: Sizing,
    pub(in crate::scheduler) limiter: Option<Limiter>,
    pub(in crate::scheduler) account: Option<AccountId>,
    pub(in crate::scheduler) standing: Standing,
    /// Why it is not to be counted on; kept by [`Scheduler::refresh_route`](super::Scheduler::refresh_route).
    pub(in crate::scheduler) class: Class,
}

/// Effective limits per binding × (no provider, each provider).
#[derive(Default)]
pub(in crate::scheduler) struct RouteTable {
    pub(in crate::scheduler) columns: usize,
    pub(in crate::scheduler) limits: Vec<RouteLimits>,
    pub(in crate::scheduler) providers: HashMap<ProviderName, u32>,
}

impl RouteTable {
    pub(in crate::scheduler) fn limits(&self, binding: BindingId, column: u32) -> &RouteLimits {
        &self.limits[binding.index() * self.columns + column as usize]
    }
}

/// Routes by binding and destination.
#[derive(Default)]
pub(in crate::scheduler) struct Routes(pub(in crate::scheduler) HashMap<u64, Route, BuildHasherDefault<PairHasher>>);

impl Routes {
    pub(in crate::scheduler) fn get(&self, binding: BindingId, destination: DestinationId) -> Option<&Route> {
        self.0.get(&pair(binding, destination))
    }

    pub(in crate::scheduler) fn get_mut(
        &mut self,
        binding: BindingId,
        destination: DestinationId,
    ) -> Option<&mut Route> {
        self.0.get_mut(&pair(binding, destination))
    }
}

pub(in crate::scheduler) fn pair(binding: BindingId, destination: DestinationId) -> u64 {
    u64::from(binding.0) << 32 | u64::from(destination.0)
}

pub(in crate::scheduler) fn unpair(key: u64) -> (BindingId, DestinationId) {
    (BindingId((key >> 32) as u32), DestinationId(key as u32))
}

/// Keys are pairs of our own dense numbers: one multiplication spreads them, and nobody outside can choose them.
#[derive(Default)]
pub(in crate::scheduler) struct PairHasher(u64);

impl Hasher for PairHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}
