//! (pure) Alerts and targets as people and programs see them: `/api/v1/alerts`, `remuda alerts`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::conditions::Labels;
use crate::clock::{Wall, rfc3339};
use crate::config::{AlertName, Severity};

/// `GET /api/v1/alerts`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = AlertSnapshot)]
pub struct Snapshot {
    /// When it was taken.
    #[serde(with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub at: Wall,
    /// When the conditions were last looked at.
    #[serde(with = "rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub looked_at: Option<Wall>,
    /// Pending, firing, clearing.
    pub alerts: Vec<AlertShown>,
    /// Conditions beyond the most that are kept.
    pub left_out: usize,
    /// Whom the program tells.
    pub targets: Vec<TargetShown>,
}

/// What metrics tell: no words, since they are asked often.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// How many fire, by name and severity; none where none does.
    pub firing: BTreeMap<(AlertName, Severity), usize>,
    /// Conditions beyond the most that are kept.
    pub left_out: usize,
    /// Whom the program tells.
    pub targets: Vec<TargetShown>,
}

/// One alert.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AlertShown {
    /// Its name.
    pub name: String,
    /// critical, warning, info.
    pub severity: String,
    /// pending, firing, clearing.
    pub state: String,
    /// Since when its condition holds.
    #[serde(with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub since: Wall,
    /// Since when it fires.
    #[serde(with = "rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub fired_at: Option<Wall>,
    /// What tells it from others.
    #[schema(value_type = BTreeMap<String, String>)]
    pub labels: Labels,
    /// In one line.
    pub summary: String,
    /// With evidence.
    pub description: String,
    /// What to do.
    pub runbook_url: Option<String>,
    /// Targets that know of it.
    pub told: Vec<String>,
}

/// One target.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TargetShown {
    /// Its configured name.
    pub name: String,
    /// alertmanager or webhook.
    pub kind: String,
    /// When it last took something.
    #[serde(with = "rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_success: Option<Wall>,
    /// Seconds since then, or since the start.
    pub age_seconds: u64,
    /// Pushes in a row that failed.
    pub failures: u32,
    /// Deliveries (webhook) or ended alerts (Alertmanager) that it has not taken yet.
    pub waiting: usize,
    /// Deliveries refused, given up or pushed out since the start.
    pub lost: u64,
    /// It answered 410 and is left alone until a restart.
    pub is_gone: bool,
    /// Why the last push failed.
    pub last_error: Option<String>,
}
