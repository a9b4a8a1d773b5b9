//! Orders whose end, or whose place in another file, would leave a pool without a binding.
//!
//! A binding that was told to go (drained or removed) never comes back by itself: its address may be listed or sold. So
//! where an order ends by which another binding carries the pool's mail, that end is put off ([`Orders::put_off`]); and
//! where no order can be put off (the file is another one, after a restart) the binding stays out all the same
//! ([`Orders::insist`]) and the pool's mail waits. Whoever gives an order anew is refused instead.

use std::time::Duration;

use super::{About, Act, Ended, Order, Orders, Unfit};
use crate::clock::Wall;
use crate::config::Config;

/// How long an end is put off; then it is tried again.
pub const PUT_OFF: Duration = Duration::from_secs(10 * 60);

/// An order whose time is over and that stays in force for a while.
#[derive(Clone, Debug, PartialEq)]
pub struct PutOff {
    /// Which, with its new end.
    pub order: Order,
    /// Why, in words.
    pub why: String,
}

/// Whether an order takes a binding out and would leave a pool without one.
pub fn empties_a_pool(unfit: &Unfit) -> bool {
    unfit.is_harmful && matches!(unfit.order.act, Act::Drain { .. } | Act::Remove { .. })
}

impl Orders {
    /// Keeps those of `ended` in force without whose like a binding that was told to go would be the last of its pool.
    /// Gives those that have ended all the same, and those that were put off.
    pub fn put_off(&mut self, ended: Vec<Ended>, file: &Config, now: Wall) -> (Vec<Ended>, Vec<PutOff>) {
        let Some(harm) = self.first_harm(file, now) else { return (ended, Vec::new()) };
        let mut stays = Vec::new();
        let (may_stay, mut ended): (Vec<Ended>, Vec<Ended>) =
            ended.into_iter().partition(|ended| matches!(ended.order.act, Act::MoveTier { .. }));
        for Ended { mut order, why } in may_stay {
            order.until = Some(now.plus(PUT_OFF));
            self.all.push(order.clone());
            stays.push((order, why));
        }
        self.all.sort_by_key(|order| order.id);
        let helps = self.first_harm(file, now).is_none();
        let mut put_off = Vec::new();
        for (order, why) in stays {
            let without: Vec<Order> = self.all.iter().filter(|known| known.id != order.id).cloned().collect();
            let with = std::mem::replace(&mut self.all, without);
            if helps && self.first_harm(file, now).is_some() {
                self.all = with;
                put_off.push(PutOff { order, why: harm.why.clone() });
            } else {
                ended.push(Ended { order, why });
            }
        }
        (ended, put_off)
    }

    fn first_harm(&self, file: &Config, now: Wall) -> Option<Unfit> {
        self.over(file, now).1.into_iter().find(empties_a_pool)
    }

    /// Lays those of `unfit` that take a binding out from now on also where that leaves a pool without one: it gets no
    /// weight, and the pool's mail waits. Gives the others, and whether there were any.
    pub fn insist(&mut self, unfit: Vec<Unfit>) -> (Vec<Unfit>, bool) {
        let (insisted, others): (Vec<Unfit>, Vec<Unfit>) = unfit.into_iter().partition(empties_a_pool);
        let is_insisted = !insisted.is_empty();
        self.insisted.extend(insisted.into_iter().map(|unfit| unfit.order.id));
        (others, is_insisted)
    }

    /// Those that hold although they may leave a pool without a binding.
    pub fn insisted(&self) -> impl Iterator<Item = &Order> {
        self.all.iter().filter(|order| self.insisted.contains(&order.id))
    }

    /// Why an order of this kind cannot be given now, if it cannot: a binding that is being removed is not drained
    /// instead, which would keep it.
    pub fn forbids(&self, act: &Act) -> Option<String> {
        let Act::Drain { binding } = act else { return None };
        let order = self.about(About::Use(binding)).filter(|order| matches!(order.act, Act::Remove { .. }))?;
        let id = order.id.0;
        Some(format!(
            "{binding} is being removed by order {id} and takes no more mail: a drain would keep it. To keep it, take that \
             order back first: remuda orders cancel {id}"
        ))
    }
}
