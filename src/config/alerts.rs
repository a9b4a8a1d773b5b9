//! `[alerts]`: whom the program tells by itself that something is wrong, what counts as wrong, and how bad it is.
//!
//! The defaults of a rule stand beside its name, in one table: an alert is a name, how bad it is, how long its condition
//! must hold, and a sentence.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

const fn hours(count: u64) -> Duration {
    minutes(count * 60)
}

/// How bad an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// To be looked at today.
    Warning,
    /// To be looked at now.
    Critical,
}

impl Severity {
    /// All of them, from the mildest.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Critical];

    /// Stable text, as in labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

macro_rules! alerts {
    ($($(#[doc = $doc:literal])+ $name:ident: $severity:ident, $hold:expr;)+) => {
        /// What can be wrong. The names are those of the rules for Prometheus, so that either way of being told reads
        /// the same and one runbook serves both.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum AlertName { $($(#[doc = $doc])+ $name,)+ }

        impl AlertName {
            /// All of them, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Stable text: the label `alertname`, the table `[alerts.rule.NAME]`; in lower case the anchor in the runbook.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// What it means, in a sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim_ascii(),)+ }
            }

            /// What holds of it where the file says nothing.
            pub fn usual(self) -> AlertRule {
                let (severity, hold) = match self { $(Self::$name => (Severity::$severity, $hold),)+ };
                AlertRule { hold, severity, enabled: true }
            }
        }
    };
}

alerts! {
    /// A binding carries no mail at all.
    BindingSuspended: Warning, Duration::ZERO;
    /// A binding carries no mail to one destination.
    RouteSuspended: Warning, minutes(5);
    /// A pool's mail leaves from a backup tier.
    PoolOnBackup: Warning, minutes(5);
    /// No binding of a pool may carry mail.
    PoolWithoutEligibleBinding: Critical, minutes(1);
    /// A list has a binding's address on it, confirmed over time.
    BindingListed: Warning, Duration::ZERO;
    /// A list has a domain on it that bindings go by (EHLO, PTR).
    DomainListed: Warning, Duration::ZERO;
    /// A list does not answer as lists do, so it is not believed.
    ZoneUnhealthy: Warning, hours(1);
    /// The reverse DNS of a binding is proven broken.
    ReverseDnsBroken: Warning, minutes(10);
    /// Name servers give answers that cannot be trusted.
    ResolverDistrusted: Warning, minutes(10);
    /// SPF of a tenant's domains covers no binding of a pool.
    SpfNotCovered: Warning, hours(1);
    /// A daily cap is nearly used up.
    CapNearlyUsed: Info, Duration::ZERO;
    /// The stage of a warm-up has not moved for long.
    WarmupStalled: Info, hours(24 * 7);
    /// Many recipients do not exist.
    HardBounceRatioHigh: Warning, minutes(5);
    /// Many recipients complain.
    ComplaintRatioHigh: Warning, minutes(5);
    /// A receiver puts off much of a binding's mail.
    DeferralRatioHigh: Warning, minutes(10);
    /// Mail of a pool waits for long.
    QueueOld: Warning, minutes(5);
    /// Many replies of a provider are not understood.
    UnmatchedReplies: Info, minutes(30);
    /// A feed has had no news for longer than it should.
    FeedStale: Warning, minutes(5);
    /// A feed cannot be read.
    FeedDown: Warning, hours(6);
    /// A feed does not accept our credentials.
    FeedCredentialsRefused: Warning, minutes(15);
    /// The credentials of a feed expire soon.
    FeedCredentialExpiring: Warning, Duration::ZERO;
    /// The disk of the spool is nearly full.
    SpoolSpaceLow: Critical, minutes(1);
    /// Mail waits and none is delivered.
    NoDeliveries: Critical, minutes(5);
    /// Records of the spool could not be read and were set aside.
    SpoolRecordsSetAside: Warning, Duration::ZERO;
    /// Mail of a tenant is held because a receiver refuses it.
    TenantHeld: Warning, minutes(1);
    /// Counts of daily caps cannot be written to disk, so mail under a cap waits.
    GrantErrors: Critical, minutes(1);
    /// A changed configuration was refused; the old one is in force.
    ConfigReloadFailed: Warning, Duration::ZERO;
    /// More is wrong at once than there is room for among the alerts.
    AlertsLeftOut: Warning, minutes(5);
}

/// `[alerts.rule.NAME]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertRule {
    /// `for`: how long its condition must hold before anybody is told.
    pub hold: Duration,
    /// How bad it is.
    pub severity: Severity,
    /// Whether it is looked for at all.
    pub enabled: bool,
}

/// From where on something counts as wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertLimits {
    /// Span over which the ratios of attempts are taken. Default 1 h.
    pub window: Duration,
    /// Recipients below which no ratio is judged. Default 100.
    pub min_recipients: u64,
    /// Share of a daily cap. Default 0.9.
    pub cap_used: f64,
    /// Share of recipients tried that do not exist. Default 0.05.
    pub hard_bounce_ratio: f64,
    /// Share of recipients delivered in seven days that complained. Default 0.001.
    pub complaint_ratio: f64,
    /// Share of recipients tried that were put off. Default 0.25.
    pub deferral_ratio: f64,
    /// Share of a provider's refusals that no rule understood. Default 0.05.
    pub unmatched_ratio: f64,
    /// Weight of a listing. Default 3.
    pub listing_weight: f64,
    /// Age of waiting mail. Default 4 h.
    pub queue_age: Duration,
    /// Silence in which nothing was delivered. Default 1 h.
    pub no_deliveries: Duration,
    /// Free octets where the spool lies. Default 1 GiB.
    pub spool_space: u64,
    /// Life left in a feed's credentials. Default 5 d.
    pub credential_life: Duration,
}

impl Default for AlertLimits {
    fn default() -> Self {
        Self {
            window: hours(1),
            min_recipients: 100,
            cap_used: 0.9,
            hard_bounce_ratio: 0.05,
            complaint_ratio: 0.001,
            deferral_ratio: 0.25,
            unmatched_ratio: 0.05,
            listing_weight: 3.0,
            queue_age: hours(4),
            no_deliveries: hours(1),
            spool_space: 1 << 30,
            credential_life: hours(24 * 5),
        }
    }
}

/// `[alerts]`
#[derive(Clone, Debug)]
pub struct Alerts {
    /// Time between two looks at the conditions. Default 15 s.
    pub every: Duration,
    /// How long a condition must be gone before its alert ends. Default 1 min.
    pub clear_after: Duration,
    /// Time after which Alertmanagers are told again what fires. Default 1 min; an alert of a relay that has died ends by
    /// itself after three times as long.
    pub resend: Duration,
    /// Time after which webhooks are told again of what still fires; `None`: never. Default 24 h.
    pub repeat: Option<Duration>,
    /// Time for one push. Default 10 s.
    pub timeout: Duration,
    /// Where people read what to do: the alert's name follows in lower case, as anchor.
    pub runbook: Option<String>,
    /// Thresholds.
    pub limits: AlertLimits,
    /// One for every name.
    pub rules: BTreeMap<AlertName, AlertRule>,
    /// `[alerts.alertmanager.NAME]`; each is told everything.
    pub alertmanagers: Vec<Alertmanager>,
    /// `[alerts.webhook.NAME]`
    pub webhooks: Vec<Webhook>,
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(15),
            clear_after: minutes(1),
            resend: minutes(1),
            repeat: Some(hours(24)),
            timeout: Duration::from_secs(10),
            runbook: None,
            limits: AlertLimits::default(),
            rules: AlertName::ALL.iter().map(|name| (*name, name.usual())).collect(),
            alertmanagers: Vec::new(),
            webhooks: Vec::new(),
        }
    }
}

impl Alerts {
    /// The rule of a name.
    pub fn rule(&self, name: AlertName) -> AlertRule {
        self.rules.get(&name).cloned().unwrap_or_else(|| name.usual())
    }
}

/// A URL that may hold a key: its `Debug` is masked, and nothing else shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretUrl(String);

impl SecretUrl {
    /// Wraps it.
    pub fn new(url: String) -> Self {
        Self(url)
    }

    /// For making requests, and for nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(masked)")
    }
}

/// How a target knows that it is us. The files are read at each push, so that they can be replaced.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Credentials {
    /// It does not ask.
    #[default]
    None,
    /// HTTP Basic (RFC 7617).
    Basic {
        /// Name.
        user: String,
        /// First line of this file.
        password_file: PathBuf,
    },
    /// `Authorization: Bearer` (RFC 6750) with the first line of this file.
    Bearer(PathBuf),
}

/// `[alerts.alertmanager.NAME]`: an Alertmanager, API v2.
#[derive(Clone, Debug, PartialEq)]
pub struct Alertmanager {
    /// Name in logs and metrics.
    pub name: String,
    /// Base URL, before `/api/v2/alerts`.
    pub url: SecretUrl,
    /// How it knows us.
    pub credentials: Credentials,
    /// PEM file with the authorities to believe beside the system's.
    pub ca_file: Option<PathBuf>,
}

/// `[alerts.webhook.NAME]`: a URL that is told of every change.
#[derive(Clone, Debug, PartialEq)]
pub struct Webhook {
    /// Name in logs and metrics.
    pub name: String,
    /// Where to POST.
    pub url: SecretUrl,
    /// First line of this file signs; `None`: not signed.
    pub secret_file: Option<PathBuf>,
    /// `Authorization: Bearer` with the first line of this file.
    pub bearer_file: Option<PathBuf>,
    /// PEM file with the authorities to believe beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Told nothing below this. Default warning.
    pub min_severity: Severity,
    /// Told when something begins. Default yes.
    pub firing: bool,
    /// Told when it is over. Default yes.
    pub resolved: bool,
}
