//! Which limits hold for a binding, and which line of the configuration set them.
//!
//! Most specific wins, limit by limit: binding + provider, then binding, then pool, then provider, then default.
//! What a level says about caps, rates and windows holds for what that level *is*: `[binding]` and `[pool] binding` limit
//! the binding as a whole, `[binding.….provider]` and `[provider] binding` limit it towards one provider. Both hold at
//! the same time. Limits of one connection or transaction have a single value, taken from the first level that sets it.
//!
//! A binding in several pools with different limits has one connection window and one cap, so the strictest pool counts.

use std::collections::HashMap;
use std::time::Duration;

use crate::config::{BackOff, Binding, Config, Limits, Provider, Rate};
use crate::message::BindingName;

/// Limits of a binding towards one provider, or towards any other destination.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct RouteLimits {
    pub(super) window: u32,
    /// Size of the window where nothing is known of the route; at most `window`.
    pub(super) start: u32,
    pub(super) is_adaptive: bool,
    /// What a receiver's wish for less begins.
    pub(super) back_off: BackOff,
    pub(super) rate: Option<Rate>,
    pub(super) cap: Option<u64>,
    pub(super) messages_per_connection: u32,
    pub(super) recipients_per_message: u32,
}

/// Limits of a binding as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct WholeLimits {
    pub(super) window: Option<u32>,
    pub(super) rate: Option<Rate>,
    pub(super) cap: Option<u64>,
}

/// Where a limit may be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Route,
    Binding,
    Pool,
    Provider,
}

use Level::{Binding as OfBinding, Pool as OfPool, Provider as OfProvider, Route as OfRoute};

/// What each level says about one binding (and one provider).
pub(super) struct Levels<'a> {
    pub(super) binding: &'a Binding,
    pub(super) provider: Option<&'a Provider>,
    pub(super) pool: &'a Limits,
}

impl Levels<'_> {
    fn limits(&self, level: Level) -> Option<&Limits> {
        match level {
            Level::Route => self.provider.and_then(|provider| self.binding.provider.get(&provider.name)),
            Level::Binding => Some(&self.binding.limits),
            Level::Pool => Some(self.pool),
            Level::Provider => self.provider.map(|provider| &provider.binding_limits),
        }
    }

    /// The first of `levels` that sets a field.
    pub(super) fn first<T>(&self, levels: &[Level], field: impl Fn(&Limits) -> Option<T>) -> Option<(T, Level)> {
        levels.iter().find_map(|&level| Some((field(self.limits(level)?)?, level)))
    }

    fn value<T>(&self, levels: &[Level], field: impl Fn(&Limits) -> Option<T>) -> Option<T> {
        self.first(levels, field).map(|(value, _)| value)
    }
}

pub(super) const WHOLE: [Level; 2] = [OfBinding, OfPool];
pub(super) const TOWARDS: [Level; 2] = [OfRoute, OfProvider];
pub(super) const WINDOW: [Level; 3] = [OfRoute, OfProvider, OfPool];
pub(super) const ANY: [Level; 4] = [OfRoute, OfBinding, OfPool, OfProvider];

/// The strictest of what the pools of each binding say.
pub(super) fn pool_limits(config: &Config) -> HashMap<BindingName, Limits> {
    let mut limits: HashMap<BindingName, Limits> = HashMap::new();
    for pool in &config.pools {
        for member in pool.tiers.iter().flatten() {
            let known = limits.entry(member.binding.clone()).or_default();
            *known = strictest(known, &pool.binding_limits);
        }
    }
    limits
}

fn strictest(a: &Limits, b: &Limits) -> Limits {
    fn least<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
        match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
    let rate = match (a.rate_limit, b.rate_limit) {
        (Some(a), Some(b)) => Some(if interval(a) >= interval(b) { a } else { b }),
        (a, b) => a.or(b),
    };
    Limits {
        daily_cap: least(a.daily_cap, b.daily_cap),
        max_outbound_connections: least(a.max_outbound_connections, b.max_outbound_connections),
        rate_limit: rate,
        messages_per_connection: least(a.messages_per_connection, b.messages_per_connection),
        recipients_per_message: least(a.recipients_per_message, b.recipients_per_message),
    }
}

fn interval(rate: Rate) -> Duration {
    rate.per / rate.count.get()
}

/// Limits of `binding` as a whole.
pub(super) fn whole(binding: &Binding, pool: &Limits) -> WholeLimits {
    let levels = Levels { binding, provider: None, pool };
    WholeLimits {
        window: levels.value(&WHOLE, |limits| limits.max_outbound_connections),
        rate: levels.value(&WHOLE, |limits| limits.rate_limit),
        cap: levels.value(&WHOLE, |limits| limits.daily_cap),
    }
}

/// Limits of `binding` towards `provider`, or towards destinations that are none.
pub(super) fn route(config: &Config, binding: &Binding, pool: &Limits, provider: Option<&Provider>) -> RouteLimits {
    let levels = Levels { binding, provider, pool };
    let default = &config.delivery;
    let value = |field: fn(&Limits) -> Option<u32>, default: u32| levels.value(&ANY, field).unwrap_or(default);
    let window = levels.value(&WINDOW, |limits| limits.max_outbound_connections);
    let window = window.unwrap_or(default.max_outbound_connections);
    RouteLimits {
        window,
        start: if config.window.adaptive { config.window.start.min(window) } else { window },
        is_adaptive: config.window.adaptive,
        back_off: provider.and_then(|provider| provider.back_off).unwrap_or(config.window.back_off),
        rate: levels.value(&TOWARDS, |limits| limits.rate_limit),
        cap: levels.value(&TOWARDS, |limits| limits.daily_cap),
        messages_per_connection: value(|limits| limits.messages_per_connection, default.messages_per_connection).max(1),
        recipients_per_message: value(|limits| limits.recipients_per_message, default.recipients_per_message).max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::testing::{TestConfig, rate};

    fn config() -> Config {
        TestConfig::default()
            .binding("mta1", |binding| {
                binding.limits.rate_limit = Some(rate(20, 1));
                binding.limits.messages_per_connection = Some(30);
                let own = Limits { daily_cap: Some(500), ..Limits::default() };
                binding.provider.insert("gmail".into(), own);
            })
            .binding("mta2", |_| {})
            .provider("gmail", |limits| {
                limits.daily_cap = Some(90_000);
                limits.max_outbound_connections = Some(10);
                limits.messages_per_connection = Some(50);
            })
            .pool("big", &[&[("mta1", 1), ("mta2", 1)]], |pool| pool.binding_limits.daily_cap = Some(16_000))
            .pool("small", &[&[("mta1", 1)]], |pool| pool.binding_limits.daily_cap = Some(1_000))
            .build()
    }

    #[test]
    fn the_most_specific_level_wins_limit_by_limit() {
        let config = config();
        let of_pools = pool_limits(&config);
        let gmail = &config.providers[0];
        let [mta1, mta2] = [&config.bindings[0], &config.bindings[1]];
        let (pools1, pools2) = (&of_pools[&mta1.name], &of_pools[&mta2.name]);

        assert_eq!(whole(mta1, pools1), WholeLimits { window: None, rate: Some(rate(20, 1)), cap: Some(1_000) });
        assert_eq!(whole(mta2, pools2), WholeLimits { window: None, rate: None, cap: Some(16_000) });
        let towards = route(&config, mta1, pools1, Some(gmail));
        assert_eq!((towards.cap, towards.window, towards.messages_per_connection), (Some(500), 10, 30));
        let towards = route(&config, mta2, pools2, Some(gmail));
        assert_eq!((towards.cap, towards.window, towards.messages_per_connection), (Some(90_000), 10, 50));
        let elsewhere = route(&config, mta2, pools2, None);
        assert_eq!((elsewhere.cap, elsewhere.window, elsewhere.messages_per_connection), (None, 20, 100));
    }
}
