//! What is written down of orders: one fact each, `order/NUMBER`, JSON, and `order/last`, the last number that was given:
//! a number never stands for two orders, whatever was cancelled before a restart.

use std::collections::BTreeMap;

use super::{Act, Order, OrderId, Orders};
use crate::reputation::Fact;

/// Prefix of the keys.
pub const PREFIX: &str = "order/";

/// Key of the last number.
const LAST: &str = "order/last";

/// A fact that cannot be read back; the order is not in force.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("order at {key} is not readable and not in force: {what}; give it again")]
pub struct BadOrder {
    /// Its key.
    pub key: String,
    /// What the JSON reader says.
    pub what: String,
}

fn key(id: OrderId) -> String {
    format!("{PREFIX}{}", id.0)
}

impl Orders {
    /// What has to be written for a restart to know these instead of `before`.
    pub fn facts(&self, before: &Self) -> Vec<Fact> {
        let known: BTreeMap<OrderId, &Order> = before.all.iter().map(|order| (order.id, order)).collect();
        let mut facts = Vec::new();
        if self.last != before.last {
            facts.push(Fact::Put(LAST.to_owned(), self.last.to_string().into_bytes()));
        }
        for order in self.all.iter().filter(|order| known.get(&order.id) != Some(order)) {
            // Names, numbers and text always serialise; an empty fact would be reported as unreadable.
            facts.push(Fact::Put(key(order.id), serde_json::to_vec(order).unwrap_or_default()));
        }
        let gone = known.keys().filter(|id| self.get(**id).is_none());
        facts.extend(gone.map(|id| Fact::Remove(key(*id))));
        facts
    }

    /// Orders of an earlier run, and what of them could not be read. Nothing of an earlier run is on the wire, so a
    /// binding that was on its way out is gone.
    pub fn recall(facts: &[(String, Vec<u8>)]) -> (Self, Vec<BadOrder>) {
        let (mut orders, mut bad) = (Self::default(), Vec::new());
        for (key, value) in facts.iter().filter(|(key, _)| key.starts_with(PREFIX)) {
            let unreadable = |error: serde_json::Error| BadOrder { key: key.clone(), what: error.to_string() };
            // Of an order that cannot be read the number is known all the same.
            let number = key.strip_prefix(PREFIX).and_then(|number| number.parse().ok()).unwrap_or(0);
            orders.last = orders.last.max(number);
            if key == LAST {
                match serde_json::from_slice::<u64>(value) {
                    Ok(last) => orders.last = orders.last.max(last),
                    Err(error) => bad.push(unreadable(error)),
                }
                continue;
            }
            match serde_json::from_slice::<Order>(value) {
                Ok(order) => orders.all.push(order),
                Err(error) => bad.push(unreadable(error)),
            }
        }
        orders.all.sort_by_key(|order| order.id);
        for order in &mut orders.all {
            orders.last = orders.last.max(order.id.0);
            if let Act::Remove { draining, .. } = &mut order.act {
                *draining = false;
            }
        }
        (orders, bad)
    }
}
