//! Turns of tenants: nobody waits while others are served beyond their share.
//!
//! Mail from one pool to one destination is one line. When recipients of a tenant are served, every other tenant with mail
//! in that line was passed over by so many. By its weight each is due after at most (weights of the others ÷ its own)
//! entries of the largest kind. A tenant that was passed over by [`PATIENCE`] times as much, and [`SLACK`], is looked at:
//! where its mail stands still for a reason of its own (a cap, a rate, a hold, a retry) that is no matter; where it is
//! ready, and is found ready and passed over as much again, it starves.

use std::collections::HashMap;

use super::super::disk::Seen;
use super::super::internet::SiteId;
use super::Found;
use crate::clock::Wall;
use crate::config::Config;
use crate::queue::core::Core;
use crate::scheduler::{DestinationId, PoolId, TenantId};

/// Times its share that a tenant may be passed over.
const PATIENCE: u64 = 4;

/// Entries by which it may always be passed over: what was just woken goes first.
const SLACK: u64 = 64;

/// Recipients after which a tenant that waits for its own reasons is looked at again.
const REST: u64 = 5_000;

#[derive(Clone, Debug, Default)]
struct Turn {
    waiting: u64,
    passed: u64,
    /// Recipients to let go by before the next look.
    rest: u64,
    /// Looks in a row that found it ready.
    ready: u32,
}

/// All lines.
pub struct Turns {
    weights: Vec<u64>,
    /// Recipients of the largest entry so far.
    largest: u64,
    lines: HashMap<(u32, SiteId), Vec<Turn>>,
}

impl Turns {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            weights: config.tenants.iter().map(|t| u64::from(t.weight.max(1))).collect(),
            largest: 1,
            lines: HashMap::new(),
        }
    }

    pub(super) fn clear(&mut self) {
        self.lines.clear();
    }

    fn line(&mut self, seen: &Seen) -> &mut Vec<Turn> {
        let tenants = self.weights.len();
        self.lines.entry((seen.pool, seen.site)).or_insert_with(|| vec![Turn::default(); tenants])
    }

    /// An entry waits.
    pub(super) fn waits(&mut self, seen: &Seen) {
        self.line(seen)[seen.tenant as usize].waiting += 1;
    }

    /// An entry is gone without having been served.
    pub(super) fn gone(&mut self, seen: &Seen) {
        let turn = &mut self.line(seen)[seen.tenant as usize];
        turn.waiting = turn.waiting.saturating_sub(1);
    }

    /// An entry is served.
    pub(super) fn served(
        &mut self,
        seen: &Seen,
        served: (DestinationId, u32),
        core: &Core,
        found: &mut Found,
        now: Wall,
    ) {
        self.gone(seen);
        let (to, recipients) = (served.0, u64::from(served.1));
        self.largest = self.largest.max(recipients);
        let largest = self.largest;
        let served = seen.tenant as usize;
        let weights = &self.weights;
        let Some(line) = self.lines.get_mut(&(seen.pool, seen.site)) else { return };
        (line[served].passed, line[served].ready, line[served].rest) = (0, 0, 0);
        let all: u64 = line.iter().zip(weights).filter(|(turn, _)| turn.waiting > 0).map(|(_, weight)| *weight).sum();
        for (tenant, turn) in line.iter_mut().enumerate().filter(|(n, turn)| *n != served && turn.waiting > 0) {
            turn.passed += recipients;
            let due = largest * (SLACK + PATIENCE * (all + weights[served]) / weights[tenant]);
            if turn.passed < due.max(turn.rest) {
                continue;
            }
            let is_ready = ready(core, (PoolId(seen.pool), to, TenantId(tenant as u32)));
            (turn.passed, turn.rest) = (0, if is_ready { 0 } else { (turn.rest * 2).clamp(REST, 100 * REST) });
            turn.ready = if is_ready { turn.ready + 1 } else { 0 };
            if turn.ready >= 2 {
                let (pool, site) = (seen.pool, seen.site.0);
                found.add("starved", now, || {
                    format!("tenant {tenant} was passed over by {due} recipients twice in pool {pool} to site {site}")
                });
            }
        }
    }
}

/// Whether mail of the tenant in this line could leave now.
fn ready(core: &Core, (pool, to, tenant): (PoolId, DestinationId, TenantId)) -> bool {
    let mut line = core
        .index()
        .iter()
        .filter(|(_, waiting)| waiting.tenant == tenant && waiting.pool == pool && core.where_to(waiting) == Ok(to));
    line.any(|(_, waiting)| core.index().why(waiting).0 == "ready")
}
