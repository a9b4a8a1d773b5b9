//! Which limits hold for a binding, and which line of the configuration set them.
//!
//! Most specific wins, limit by limit: binding + provider, then binding, then pool, then provider, then default.
//! What a level says about caps, rates and windows holds for what that level *is*: `[binding]` and `[pool] binding` limit
//! the binding as a whole, `[binding.….provider]` and `[provider] binding` limit it towards one provider. Both hold at
//! the same time. Limits of one connection or transaction have a single value, taken from the first level that sets it.
//!
//! A binding in several pools with different limits has one connection window and one cap, so the strictest pool counts.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use crate::config::{BackOff, Binding, Config, Limits, Provider, Rate};
use crate::message::{BindingName, ProviderName};

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

/// One effective limit, for `remuda explain limits`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct EffectiveLimit {
    /// Key as in the configuration, with `total` or `route` where both exist.
    pub name: &'static str,
    /// Its value in words; `unlimited` where nothing sets it.
    pub value: String,
    /// The level it comes from, such as `binding.mta1.provider.gmail` or `default`.
    pub from: String,
}

/// Where a limit may be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Route,
    Binding,
    Pool,
    Provider,
}

use Level::{Binding as OfBinding, Pool as OfPool, Provider as OfProvider, Route as OfRoute};

/// What each level says about one binding (and one provider).
struct Levels<'a> {
    binding: &'a Binding,
    provider: Option<&'a Provider>,
    pool: &'a Limits,
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
    fn first<T>(&self, levels: &[Level], field: impl Fn(&Limits) -> Option<T>) -> Option<(T, Level)> {
        levels.iter().find_map(|&level| Some((field(self.limits(level)?)?, level)))
    }

    fn value<T>(&self, levels: &[Level], field: impl Fn(&Limits) -> Option<T>) -> Option<T> {
        self.first(levels, field).map(|(value, _)| value)
    }

    fn place(&self, level: Level) -> String {
        let name = &self.binding.name;
        let provider = self.provider.map_or("", |provider| provider.name.as_str());
        match level {
            Level::Route => format!("binding.{name}.provider.{provider}"),
            Level::Binding => format!("binding.{name}"),
            Level::Pool => format!("the pools of {name}"),
            Level::Provider => format!("provider.{provider}.binding"),
        }
    }
}

const WHOLE: [Level; 2] = [OfBinding, OfPool];
const TOWARDS: [Level; 2] = [OfRoute, OfProvider];
const WINDOW: [Level; 3] = [OfRoute, OfProvider, OfPool];
const ANY: [Level; 4] = [OfRoute, OfBinding, OfPool, OfProvider];

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

/// The effective limits of a binding, and towards a provider where one is given, each with the level that set it.
/// `None` when the configuration has no such binding or provider.
pub fn explain_limits(
    config: &Config,
    binding: &BindingName,
    provider: Option<&ProviderName>,
) -> Option<Vec<EffectiveLimit>> {
    let binding = config.bindings.iter().find(|known| known.name == *binding)?;
    let provider = match provider {
        Some(name) => Some(config.providers.iter().find(|known| known.name == *name)?),
        None => None,
    };
    let pool = pool_limits(config).remove(&binding.name).unwrap_or_default();
    let levels = Levels { binding, provider, pool: &pool };
    let default = &config.delivery;
    let mut limits = Vec::new();
    let mut add = |name, found: Option<(String, Level)>, default: Option<u32>| {
        let from = found.as_ref().map_or("default".to_owned(), |&(_, level)| levels.place(level));
        let value = found.map(|(value, _)| value).or(default.map(|value| value.to_string()));
        limits.push(EffectiveLimit { name, value: value.unwrap_or("unlimited".into()), from });
    };
    let first = |places: &[Level], field: &dyn Fn(&Limits) -> Option<String>| levels.first(places, field);
    let cap = |limits: &Limits| limits.daily_cap.map(|cap| cap.to_string());
    let rate = |limits: &Limits| limits.rate_limit.map(|rate| Spoken(rate).to_string());
    let window = |limits: &Limits| limits.max_outbound_connections.map(|n| n.to_string());
    add("daily_cap (total)", first(&WHOLE, &cap), None);
    add("rate_limit (total)", first(&WHOLE, &rate), None);
    add("max_outbound_connections (total)", first(&WHOLE, &window), None);
    if provider.is_some() {
        add("daily_cap (route)", first(&TOWARDS, &cap), None);
        add("rate_limit (route)", first(&TOWARDS, &rate), None);
    }
    add("max_outbound_connections (route)", first(&WINDOW, &window), Some(default.max_outbound_connections));
    let messages = |limits: &Limits| limits.messages_per_connection.map(|n| n.to_string());
    add("messages_per_connection", first(&ANY, &messages), Some(default.messages_per_connection));
    let recipients = |limits: &Limits| limits.recipients_per_message.map(|n| n.to_string());
    add("recipients_per_message", first(&ANY, &recipients), Some(default.recipients_per_message));
    Some(limits)
}

/// A rate as the operator writes it.
struct Spoken(Rate);

impl fmt::Display for Spoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.count;
        match self.0.per.as_secs() {
            1 => write!(f, "{count}/s"),
            60 => write!(f, "{count}/min"),
            3600 => write!(f, "{count}/h"),
            _ => write!(f, "{count} per {:?}", self.0.per),
        }
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

    #[test]
    fn explanations_name_value_and_level() {
        let config = config();
        let lines = explain_limits(&config, &"mta1".into(), Some(&"gmail".into())).expect("known");
        let line =
            |name: &str| lines.iter().find(|line| line.name == name).map(|l| (l.value.as_str(), l.from.as_str()));
        assert_eq!(line("daily_cap (total)"), Some(("1000", "the pools of mta1")));
        assert_eq!(line("daily_cap (route)"), Some(("500", "binding.mta1.provider.gmail")));
        assert_eq!(line("rate_limit (total)"), Some(("20/s", "binding.mta1")));
        assert_eq!(line("rate_limit (route)"), Some(("unlimited", "default")));
        assert_eq!(line("max_outbound_connections (route)"), Some(("10", "provider.gmail.binding")));
        assert_eq!(line("recipients_per_message"), Some(("100", "default")));
        assert_eq!(explain_limits(&config, &"mta9".into(), None), None);
    }
}
