//! What the mail of a pool has in common: for the queue, which lets those that wait for the same thing stand in line.

use smallvec::SmallVec;

use super::pool::Class;
use super::refresh::on_wall;
use super::{BindingId, PoolId, Scheduler};
use crate::clock::{Now, Wall};

/// What keeps a binding out of a pool wherever the mail goes, and passes soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Everywhere {
    /// Its rate, or the pace of the day, until then.
    Slowed(Wall),
    /// All its connections are in use.
    Full,
}

impl Scheduler {
    /// The pools a binding is a member of.
    pub fn pools_of(&self, id: BindingId) -> SmallVec<[PoolId; 2]> {
        self.bindings[id.index()].seats.iter().map(|(pool, ..)| *pool).collect()
    }

    /// Whether the binding is out of this pool at every destination for a reason that passes soon. `None` where what keeps it
    /// out is a matter of one route, or lasts.
    pub fn out_everywhere(&self, pool: PoolId, id: BindingId, now: Now) -> Option<Everywhere> {
        let binding = &self.bindings[id.index()];
        let (_, tier, seat) = binding.seats.iter().find(|(in_pool, ..)| *in_pool == pool)?;
        let pool = &self.pools[pool.index()];
        match pool.tiers[*tier as usize].seats[*seat as usize].class {
            Class::Rate => Some(Everywhere::Slowed(on_wall(binding.limiter.as_ref()?.ready(), now))),
            Class::Pace => self.ledger.paced(binding.account, pool.pace, now.wall).err().map(Everywhere::Slowed),
            Class::Window => Some(Everywhere::Full),
            _ => None,
        }
    }
}
