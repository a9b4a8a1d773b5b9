//! The file as typed: every section and every key there is, and what kind of value each takes.
//!
//! One file for each part of the configuration; together they are the only list of keys. What they read is still a wish:
//! units are converted, but references may lead nowhere and combinations may make no sense; [`super::check`] turns it into
//! values that cannot be wrong.

mod admin;
mod alerts;
mod binding;
mod delivery;
mod feedback;
mod feeds;
mod forms;
mod listener;
mod monitor;
mod pool;
mod reputation;
mod routing;
mod server;
mod tenant;

pub(super) use self::admin::Admin;
pub(super) use self::alerts::{AlertEvent, Alertmanager, Alerts, Webhook};
pub(super) use self::binding::{Binding, Ladder, Limits, Via, Warmup, WarmupRules};
pub(super) use self::delivery::{BackOff, Delivery, Queue, Timeouts, Window};
pub(super) use self::feedback::Feedback;
pub(super) use self::feeds::Feed;
pub(crate) use self::forms::Date;
pub(super) use self::forms::{Host, Octets, TargetUrl, TimeOfDay, TokenHash, ZoneDomain};
pub(super) use self::listener::Listener;
pub(super) use self::monitor::{Family, Meaning, Monitor, Zone, ZoneCode};
pub(super) use self::pool::{Member, Pool};
pub(super) use self::reputation::{Prediction, Reputation};
pub(super) use self::routing::{DestinationRoute, Dns, Provider, Region};
pub(super) use self::server::{Assignment, Classify, Day, Log, Server};
pub(super) use self::tenant::{Tenant, TenantMatch};

use super::mistake::{Findings, Place};
use super::read::{List, Map, Readable, table};
use super::tree::{Node, Table, Value};

table!(pub(in crate::config) File {
    #[allow(dead_code, reason = "known here, but followed and taken out before the files are laid over one another")]
    include: List<String>,
    server: Server,
    listener: List<Listener>,
    assignment: Assignment,
    binding: Map<Binding>,
    pool: Map<Pool>,
    tenant: Map<Tenant>,
    provider: Map<Provider>,
    region: Map<Region>,
    ladder: Map<Ladder>,
    destination_route: List<DestinationRoute>,
    dns: Dns,
    queue: Queue,
    delivery: Delivery,
    window: Window,
    prediction: Prediction,
    reputation: Reputation,
    warmup: WarmupRules,
    monitor: Monitor,
    feed: Map<Feed>,
    alerts: Alerts,
    admin: Admin,
    log: Log,
    classify: Classify,
    feedback: Feedback,
});

impl File {
    /// Reads the tables of all files laid over one another.
    pub(super) fn from_tree(table: Table, out: &mut Findings) -> Self {
        let node = Node { file: 0, offset: 0, value: Value::Table(table) };
        Self::read(&node, &Place::default(), out).unwrap_or_default()
    }
}

/// The path of every key that may be written, in the order of declaration. `NAME` stands for a name of the operator's
/// choice, `[]` for an item of a list, as in `binding.NAME.provider.NAME.daily_cap` or `listener[].address`.
pub fn known_keys() -> Vec<String> {
    let mut keys = Vec::new();
    File::keys("", &mut keys);
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_listed_with_their_paths() {
        let keys = known_keys();
        for key in [
            "include",
            "listener[].address",
            "listener[].trust",
            "binding.NAME.daily_cap",
            "binding.NAME.provider.NAME.daily_cap",
            "pool.NAME.active",
            "pool.NAME.active[].weight",
            "pool.NAME.backup",
            "pool.NAME.backup[][].pool",
            "tenant.NAME.match.header.NAME",
            "tenant.NAME.split.NAME.NAME",
            "tenant.NAME.streams[].header.NAME",
            "monitor.zone.NAME.codes[].octets",
            "delivery.timeouts.end_of_data",
        ] {
            assert!(keys.iter().any(|known| known == key), "{key} in {keys:#?}");
        }
        let unique: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(unique.len(), keys.len(), "no key twice");
    }
}
