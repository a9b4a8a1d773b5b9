//! What the operator wrote, as values that cannot be wrong.
//!
//! Two kinds of types: `raw` is the file as typed (serde, unknown keys refused), the types here are what it means —
//! units converted, references resolved, defaults filled in. Only `check` makes these from those, and it gathers every
//! mistake with file, line and key path before it gives up. The rest of the program sees only the types here.
//!
//! Each section's types are in a file of their own, by the same names as in `raw` and `check`; [`Config`] is all of them.

mod addresses;
mod admin;
mod alerts;
mod binding;
pub mod check;
mod defaults;
mod delivery;
mod feedback;
mod feeds;
mod injection;
mod listener;
mod lists;
pub mod load;
pub(crate) mod mistake;
mod monitor;
mod origins;
mod pool;
pub mod raw;
pub(crate) mod read;
mod reports;
mod reputation;
mod routing;
mod server;
mod signing;
mod tenant;
pub(crate) mod tree;
pub mod units;
mod warmup;
pub mod written;

pub use addresses::{Addresses, Family, Second};
pub use admin::{Admin, AdminTls, AdminToken, Anonymous, Role};
pub use alerts::{AlertLimits, AlertName, AlertRule, Alertmanager, Alerts, Credentials, SecretUrl, Severity, Webhook};
pub use binding::{Binding, EhloName, Limits, Rate, SocksLogin, Via};
pub use check::{Holds, LaterFile, Loaded, Mistake, Mistakes, NamedFiles, SourceFile, ZoneKeyFile};
pub use delivery::{BackOff, Convert, Delivery, Queue, Timeouts, TlsPolicy, Window};
pub use feedback::Feedback;
pub use feeds::{Feed, FeedAuth, FeedKind, FeedMetric, FeedRows, FeedScope};
pub use injection::{Injection, InjectionToken};
pub use listener::{AuthMode, Certificate, Listener, TlsMode};
pub(crate) use mistake::suggest;
pub use monitor::{CodeMeaning, Families, HEAVY, Ipv6Names, Monitor, Probe, SpfPolicy, Zone, ZoneCode, ZoneKind};
pub use origins::{Origin, Origins};
pub use pool::{FailoverReason, HourShares, Member, Pace, Pool, Spread};
pub use reports::{DoubleBounce, Reports};
pub use reputation::{Automation, Prediction, Reputation};
pub use routing::{DestinationRoute, Dns, DomainPattern, Host, HostPort, Provider, Region};
pub use server::{Assignment, Classify, Day, Log, LogFormat, Server, UnknownPolicy};
pub use signing::DkimKey;
pub use tenant::{SenderCheck, StreamRule, Tenant, TenantMatch};
pub use warmup::{Warmup, WarmupRules, WarmupStart};

use std::sync::Arc;

/// The path of a key, as mistakes and [`Origins`] write it: names are quoted where TOML would ask for it.
pub fn key_path<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    parts.into_iter().fold(String::new(), |path, part| mistake::join(&path, part))
}

/// The whole configuration. Names that refer to something are known to exist.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[server]`
    pub server: Server,
    /// `[[listener]]`, at least one.
    pub listeners: Vec<Listener>,
    /// `[certificate.NAME]`, in the order of the file.
    pub certificates: Vec<Certificate>,
    /// `[assignment]`
    pub assignment: Assignment,
    /// `[binding.NAME]`, in the order of the file.
    pub bindings: Vec<Arc<Binding>>,
    /// `[pool.NAME]`, in the order of the file.
    pub pools: Vec<Pool>,
    /// `[tenant.NAME]`, in the order of the file.
    pub tenants: Vec<Tenant>,
    /// `[provider.NAME]`, in the order of the file; the first whose patterns cover all MX hosts wins.
    pub providers: Vec<Provider>,
    /// `[region.NAME]`, in the order of the file.
    pub regions: Vec<Region>,
    /// `[[destination_route]]`, in the order of the file; the first that matches wins.
    pub destination_routes: Vec<DestinationRoute>,
    /// `[dns]`
    pub dns: Dns,
    /// `[queue]`
    pub queue: Queue,
    /// `[delivery]`
    pub delivery: Delivery,
    /// `[window]`
    pub window: Window,
    /// `[prediction]`
    pub prediction: Prediction,
    /// `[reputation]`
    pub reputation: Reputation,
    /// `[warmup]`
    pub warmup: WarmupRules,
    /// `[monitor]` with its `[monitor.zone.NAME]`
    pub monitor: Monitor,
    /// `[admin]`
    pub admin: Admin,
    /// `[injection]`
    pub injection: Injection,
    /// `[dkim.NAME]`, in the order of the file; a message's signatures stand in it.
    pub dkim: Vec<DkimKey>,
    /// `[log]`
    pub log: Log,
    /// `[classify]`
    pub classify: Classify,
    /// `[feed.NAME]`, in the order of the file.
    pub feeds: Vec<Feed>,
    /// `[alerts]`
    pub alerts: Alerts,
    /// `[feedback]`, where bounces and complaints are taken back
    pub feedback: Option<Feedback>,
    /// `[reports]`
    pub reports: Reports,
    /// Where each key was written
    pub origins: Arc<Origins>,
}
