//! Which limits hold, and which line of the configuration set each.
//!
//! The same levels as in [`super::binding`], walked for the answer instead of for the number: [`limits_of_binding`] for a
//! binding (and a provider), [`limits_of_tenant`] for a tenant. A limit that nothing sets is named as well: "unlimited"
//! is an answer, and the one an operator most wants to know of.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::binding::{ANY, Level, Levels, TOWARDS, WHOLE, WINDOW, pool_limits};
use crate::config::{Binding, Config, Limits, Provider, Rate, Tenant, Warmup, WarmupStart, key_path};
use crate::message::{BindingName, ProviderName, TenantName};

/// One effective limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EffectiveLimit {
    /// Its key, with what it holds for in brackets where it may hold for more than one thing.
    pub name: String,
    /// Its value in words; `unlimited` where nothing sets it.
    pub value: String,
    /// Path of the key that set it, such as `binding.mta1.provider.gmail.daily_cap`; `None` for a default.
    pub key: Option<String>,
    /// File and line of that key, such as `remuda.toml:12`; `None` for a default.
    pub at: Option<String>,
}

/// What is asked for does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// No such binding.
    #[error("no binding {0:?} is configured")]
    Binding(String),
    /// No such provider.
    #[error("no provider {0:?} is configured")]
    Provider(String),
    /// No such tenant.
    #[error("no tenant {0:?} is configured")]
    Tenant(String),
}

struct Found<'a> {
    config: &'a Config,
    limits: Vec<EffectiveLimit>,
}

impl Found<'_> {
    fn add(&mut self, name: &str, value: Option<String>, key: Option<String>) {
        let at = key.as_ref().and_then(|key| self.config.origins.get(key)).map(ToString::to_string);
        let value = value.unwrap_or_else(|| "unlimited".to_owned());
        self.limits.push(EffectiveLimit { name: name.to_owned(), value, key, at });
    }

    /// A value that has a default and whose key counts only where it was written.
    fn add_default(&mut self, name: &str, value: String, key: String) {
        let written = self.config.origins.get(&key).is_some();
        self.add(name, Some(value), written.then_some(key));
    }
}

/// The limits of a binding as a whole, and towards `provider` where one is given (else towards destinations that are
/// none).
///
/// # Errors
/// What does not exist.
pub fn limits_of_binding(
    config: &Config,
    binding: &BindingName,
    provider: Option<&ProviderName>,
) -> Result<Vec<EffectiveLimit>, Unknown> {
    let known = config.bindings.iter().find(|known| known.name == *binding);
    let binding = known.ok_or_else(|| Unknown::Binding(binding.to_string()))?;
    let provider = match provider {
        Some(name) => {
            let known = config.providers.iter().find(|known| known.name == *name);
            Some(known.ok_or_else(|| Unknown::Provider(name.to_string()))?)
        }
        None => None,
    };
    let pool = pool_limits(config).remove(&binding.name).unwrap_or_default();
    let levels = Levels { binding, provider, pool: &pool };
    let mut found = Found { config, limits: Vec::new() };
    for limit in LIMITS.iter().filter(|limit| provider.is_some() || !limit.towards_providers) {
        let set = levels.first(limit.levels, limit.value);
        match set {
            Some((value, level)) => {
                found.add(limit.name, Some(value), key(config, &levels, level, limit.key, limit.value));
            }
            None => match limit.default {
                Some(default) => {
                    let key = key_path(["delivery", limit.key]);
                    found.add_default(limit.name, default(config).to_string(), key);
                }
                None => found.add(limit.name, None, None),
            },
        }
    }
    warmups(&mut found, binding, provider);
    Ok(found.limits)
}

/// The limits of a tenant over all its bindings, and towards `provider` where one is given.
///
/// # Errors
/// What does not exist.
pub fn limits_of_tenant(
    config: &Config,
    tenant: &TenantName,
    provider: Option<&ProviderName>,
) -> Result<Vec<EffectiveLimit>, Unknown> {
    let known = config.tenants.iter().find(|known| known.name == *tenant);
    let Tenant { name, daily_cap, provider_caps, rate_limit, weight, .. } =
        known.ok_or_else(|| Unknown::Tenant(tenant.to_string()))?;
    let mut found = Found { config, limits: Vec::new() };
    let at = |key: &str| key_path(["tenant", name.as_str(), key]);
    found.add("daily_cap (tenant)", daily_cap.map(|cap| cap.to_string()), daily_cap.map(|_| at("daily_cap")));
    if let Some(provider) = provider {
        let cap = provider_caps.get(provider);
        let key = cap.map(|_| key_path(["tenant", name.as_str(), "provider", provider.as_str(), "daily_cap"]));
        found.add("daily_cap (tenant, provider)", cap.map(ToString::to_string), key);
    }
    let rate = rate_limit.map(|rate| Spoken(rate).to_string());
    found.add("rate_limit (tenant)", rate, rate_limit.map(|_| at("rate_limit")));
    found.add_default("weight (tenant)", weight.to_string(), at("weight"));
    Ok(found.limits)
}

/// A limit and where it may be set, most specific first.
struct Limit {
    name: &'static str,
    key: &'static str,
    levels: &'static [Level],
    value: fn(&Limits) -> Option<String>,
    default: Option<fn(&Config) -> u32>,
    towards_providers: bool,
}

fn cap(limits: &Limits) -> Option<String> {
    limits.daily_cap.map(|cap| cap.to_string())
}

fn rate(limits: &Limits) -> Option<String> {
    limits.rate_limit.map(|rate| Spoken(rate).to_string())
}

fn window(limits: &Limits) -> Option<String> {
    limits.max_outbound_connections.map(|n| n.to_string())
}

const LIMITS: [Limit; 8] = [
    Limit {
        name: "daily_cap (total)",
        key: "daily_cap",
        levels: &WHOLE,
        value: cap,
        default: None,
        towards_providers: false,
    },
    Limit {
        name: "rate_limit (total)",
        key: "rate_limit",
        levels: &WHOLE,
        value: rate,
        default: None,
        towards_providers: false,
    },
    Limit {
        name: "max_outbound_connections (total)",
        key: "max_outbound_connections",
        levels: &WHOLE,
        value: window,
        default: None,
        towards_providers: false,
    },
    Limit {
        name: "daily_cap (route)",
        key: "daily_cap",
        levels: &TOWARDS,
        value: cap,
        default: None,
        towards_providers: true,
    },
    Limit {
        name: "rate_limit (route)",
        key: "rate_limit",
        levels: &TOWARDS,
        value: rate,
        default: None,
        towards_providers: true,
    },
    Limit {
        name: "max_outbound_connections (route)",
        key: "max_outbound_connections",
        levels: &WINDOW,
        value: window,
        default: Some(|config| config.delivery.max_outbound_connections),
        towards_providers: false,
    },
    Limit {
        name: "messages_per_connection",
        key: "messages_per_connection",
        levels: &ANY,
        value: |limits| limits.messages_per_connection.map(|n| n.to_string()),
        default: Some(|config| config.delivery.messages_per_connection),
        towards_providers: false,
    },
    Limit {
        name: "recipients_per_message",
        key: "recipients_per_message",
        levels: &ANY,
        value: |limits| limits.recipients_per_message.map(|n| n.to_string()),
        default: Some(|config| config.delivery.recipients_per_message),
        towards_providers: false,
    },
];

/// The key that set a limit. Of the pools of a binding the strictest counts: the one whose value it is.
fn key(
    config: &Config,
    levels: &Levels<'_>,
    level: Level,
    key: &str,
    value: fn(&Limits) -> Option<String>,
) -> Option<String> {
    let binding = levels.binding.name.as_str();
    let provider = levels.provider.map_or("", |provider| provider.name.as_str());
    match level {
        Level::Route => Some(key_path(["binding", binding, "provider", provider, key])),
        Level::Binding => Some(key_path(["binding", binding, key])),
        Level::Provider => Some(key_path(["provider", provider, "binding", key])),
        Level::Pool => {
            let of_pools = value(levels.pool);
            let is_member = |pool: &&crate::config::Pool| {
                pool.tiers.iter().flatten().any(|member| member.binding == levels.binding.name)
            };
            let pool = config.pools.iter().filter(is_member).find(|pool| value(&pool.binding_limits) == of_pools)?;
            Some(key_path(["pool", pool.name.as_str(), "binding", key]))
        }
    }
}

fn warmups(found: &mut Found<'_>, binding: &Binding, provider: Option<&Provider>) {
    let name = binding.name.as_str();
    if let Some(warmup) = &binding.warmup {
        found.add("warmup (total)", Some(ladder(warmup)), written(found.config, &["binding", name, "warmup"]));
    }
    let Some(provider) = provider else { return };
    if let Some(warmup) = binding.provider_warmup.get(&provider.name) {
        let key = written(found.config, &["binding", name, "provider", provider.name.as_str(), "warmup"]);
        found.add("warmup (route)", Some(ladder(warmup)), key);
    } else if let (Some(stages), Some(warmup)) = (&provider.warmup, &binding.warmup) {
        let own = Warmup { ladder: std::sync::Arc::clone(stages), position: warmup.position };
        let key = key_path(["provider", provider.name.as_str(), "warmup"]);
        found.add("warmup (route)", Some(ladder(&own)), Some(key));
    }
}

/// The key below which a table was written: its first that has a line.
fn written(config: &Config, table: &[&str]) -> Option<String> {
    let path = |key| key_path(table.iter().copied().chain([key]));
    let keys = ["started", "stage", "age", "ladder"].map(path);
    keys.into_iter().find(|key| config.origins.get(key).is_some())
}

fn ladder(warmup: &Warmup) -> String {
    let (first, last) = (warmup.ladder.first().copied().unwrap_or(0), warmup.ladder.last().copied().unwrap_or(0));
    let from = match warmup.position {
        WarmupStart::Started(day) => format!("from {day} on"),
        WarmupStart::Stage(stage) => format!("entered at stage {stage}"),
        WarmupStart::Age(days) => format!("entered at the age of {days} days"),
    };
    format!("{} stages from {first} to {last} a day, {from}", warmup.ladder.len())
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

    const FILE: &str = r#"[server]
hostname = "relay.example.net"
state_dir = "/var/lib/remuda"
[[listener]]
address = "127.0.0.1:0"
trust = ["127.0.0.0/8"]
[delivery]
messages_per_connection = 70
[binding.mta1]
bind_address = "192.0.2.1"
rate_limit = "20/s"
warmup = { ladder = "fast", stage = 3 }
[binding.mta1.provider.gmail]
daily_cap = 500
[binding.mta-2]
bind_address = "192.0.2.2"
[pool.big]
active = ["mta1"]
binding = { daily_cap = 16_000 }
[pool.small]
active = ["mta1", "mta-2"]
[pool.small.binding]
daily_cap = 1_000
[tenant.acme]
pools = { default = "big" }
daily_cap = 7_000
[tenant.acme.provider.gmail]
daily_cap = 300
[provider.gmail]
mx = ["*.google.com"]
warmup = "cautious"
binding = { max_outbound_connections = 10 }
"#;

    fn config() -> Config {
        Config::from_toml(FILE).unwrap_or_else(|mistakes| panic!("{mistakes}"))
    }

    fn shown(limits: &[EffectiveLimit]) -> Vec<String> {
        let at = |limit: &EffectiveLimit| limit.at.clone().unwrap_or_else(|| "default".into());
        limits.iter().map(|limit| format!("{} = {} ({})", limit.name, limit.value, at(limit))).collect()
    }

    #[test]
    fn each_limit_is_named_with_its_value_and_the_line_that_set_it() {
        let limits = limits_of_binding(&config(), &"mta1".into(), Some(&"gmail".into())).expect("known");
        assert_eq!(
            shown(&limits),
            [
                "daily_cap (total) = 1000 (remuda.toml:23)",
                "rate_limit (total) = 20/s (remuda.toml:11)",
                "max_outbound_connections (total) = unlimited (default)",
                "daily_cap (route) = 500 (remuda.toml:14)",
                "rate_limit (route) = unlimited (default)",
                "max_outbound_connections (route) = 10 (remuda.toml:32)",
                "messages_per_connection = 70 (remuda.toml:8)",
                "recipients_per_message = 100 (default)",
                "warmup (total) = 15 stages from 1000 to 10000000 a day, entered at stage 3 (remuda.toml:12)",
                "warmup (route) = 31 stages from 50 to 1250000 a day, entered at stage 3 (remuda.toml:31)",
            ]
        );
        let elsewhere = limits_of_binding(&config(), &"mta1".into(), None).expect("known");
        assert!(elsewhere.iter().all(|limit| !limit.name.contains("cap (route)")), "{elsewhere:#?}");
    }

    #[test]
    fn a_tenants_limits_are_named_likewise() {
        let limits = limits_of_tenant(&config(), &"acme".into(), Some(&"gmail".into())).expect("known");
        assert_eq!(
            shown(&limits),
            [
                "daily_cap (tenant) = 7000 (remuda.toml:26)",
                "daily_cap (tenant, provider) = 300 (remuda.toml:28)",
                "rate_limit (tenant) = unlimited (default)",
                "weight (tenant) = 1 (default)",
            ]
        );
    }

    #[test]
    fn what_does_not_exist_is_said() {
        let config = config();
        let said = |wrong: Result<Vec<EffectiveLimit>, Unknown>| wrong.expect_err("unknown").to_string();
        assert_eq!(said(limits_of_binding(&config, &"mta9".into(), None)), "no binding \"mta9\" is configured");
        let gmial = Some(&"gmial".into());
        assert_eq!(said(limits_of_binding(&config, &"mta1".into(), gmial)), "no provider \"gmial\" is configured");
        assert_eq!(said(limits_of_tenant(&config, &"bolt".into(), None)), "no tenant \"bolt\" is configured");
    }
}
