//! What holds for a domain, as `GET /api/v1/policies/DOMAIN` and `remuda policy` show it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ruling::{Policy, Ruling};
use super::sts::Kept;
use crate::clock::{Wall, rfc3339};

/// What holds for a domain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PolicyShown {
    /// The domain.
    pub domain: String,
    /// A `[[destination_route]]` leads there: no policy of the receiver is asked for.
    pub is_pinned: bool,
    /// Whether policies of MTA-STS are asked for at all.
    pub mta_sts: bool,
    /// Whether TLSA records are.
    pub dane: bool,
    /// The policy of MTA-STS that holds.
    pub sts: Option<StsShown>,
    /// Why the last fetch of one failed.
    pub sts_failure: Option<String>,
    /// Hosts of the domain, best first.
    pub hosts: Vec<HostShown>,
}

/// A policy of MTA-STS.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StsShown {
    /// Id of the record it was fetched under.
    pub id: String,
    /// `enforce`, `testing` or `none`.
    pub mode: String,
    /// Names of hosts that may be given mail.
    pub mx: Vec<String>,
    /// When it was fetched last.
    #[serde(with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub fetched: Wall,
    /// When it ends if it cannot be fetched again.
    #[serde(with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub until: Wall,
}

impl From<&Kept> for StsShown {
    fn from(kept: &Kept) -> Self {
        Self {
            id: kept.id.clone(),
            mode: kept.policy.mode.as_str().to_owned(),
            mx: kept.policy.mx.iter().map(ToString::to_string).collect(),
            fetched: kept.fetched,
            until: kept.fetched.plus(kept.policy.max_age),
        }
    }
}

/// What a host has to show.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HostShown {
    /// The host.
    pub host: String,
    /// What its domain demands of it: `nothing`, `encrypted`, `verified`, `dane`; `no mail` where it is to be given none.
    pub demand: String,
    /// Whose policy decided: `no-policy-found`, `sts` or `tlsa`.
    pub policy: String,
    /// TLSA records, as they came.
    pub records: Vec<String>,
    /// Why it gets no mail, or would get none if the policy were not in testing.
    pub why: Option<String>,
}

impl HostShown {
    /// Of a ruling.
    pub fn of(host: String, ruling: &Ruling) -> Self {
        let excluded = ruling.demand.as_ref().err().or(ruling.tested.as_ref());
        let records = match &ruling.policy {
            Policy::Tlsa { records, .. } => records.clone(),
            _ => Vec::new(),
        };
        Self {
            host,
            demand: ruling.as_str().to_owned(),
            policy: ruling.policy.as_str().to_owned(),
            records,
            why: excluded.map(|excluded| format!("{}: {}", excluded.result.as_str(), excluded.detail)),
        }
    }
}
