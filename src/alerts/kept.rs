//! (pure) What is written down of alerts, so that a restart neither tells them anew nor forgets to end them.
//!
//! One fact each, `alert/` and a digest of what identifies it (labels may be longer than a key). Words change with every
//! look; they are written along, but a change of words alone writes nothing.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::conditions::{Condition, Labels};
use super::ledger::{Alert, Identity, Stage};
use crate::clock::Wall;
use crate::config::{AlertName, Alerts};

/// Prefix of the keys.
pub const PREFIX: &str = "alert/";

/// Key of the fact that says when mail was last delivered: silence is measured over restarts.
pub const LAST_DELIVERY: &str = "alert/last-delivery";

/// The fact of that key.
pub fn last_delivery(at: Wall) -> Vec<u8> {
    // A number always serialises.
    serde_json::to_vec(&at).unwrap_or_default()
}

/// Reads it back.
pub fn read_last_delivery(bytes: &[u8]) -> Option<Wall> {
    serde_json::from_slice(bytes).ok()
}

/// An alert on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    name: String,
    labels: Labels,
    episode: String,
    since: Wall,
    stage: Stage,
    /// Webhooks that were told that it fires, and when.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub told: BTreeMap<String, Wall>,
    /// It is over since then, and these webhooks have not been told.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ended: BTreeMap<String, Wall>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    summary: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    description: String,
}

impl Kept {
    /// Of this alert.
    pub fn of(alert: &Alert) -> Self {
        let Condition { name, labels, summary, description, episode } = alert.condition.clone();
        Self {
            name: name.as_str().to_owned(),
            labels,
            episode,
            since: alert.since,
            stage: alert.stage,
            told: BTreeMap::new(),
            ended: BTreeMap::new(),
            summary,
            description,
        }
    }

    /// What must be on disk; words left out.
    pub fn mark(&self) -> Self {
        Self { summary: String::new(), description: String::new(), ..self.clone() }
    }

    /// As JSON.
    pub fn bytes(&self) -> Vec<u8> {
        // Texts and numbers always serialise.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads it back; `None` where it cannot be read or this program knows no such alert any more.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let kept: Self = serde_json::from_slice(bytes).ok()?;
        AlertName::ALL.iter().any(|name| name.as_str() == kept.name).then_some(kept)
    }

    /// The alert, as bad as `rules` say.
    pub fn alert(&self, rules: &Alerts) -> Option<Alert> {
        let name = *AlertName::ALL.iter().find(|name| name.as_str() == self.name)?;
        let condition = Condition {
            name,
            labels: self.labels.clone(),
            summary: self.summary.clone(),
            description: self.description.clone(),
            episode: self.episode.clone(),
        };
        Some(Alert { condition, severity: rules.rule(name).severity, since: self.since, stage: self.stage })
    }
}

/// Key of an alert's fact.
pub fn key(identity: &Identity) -> String {
    let sum = digest(&SHA256, identity.as_str().as_bytes());
    let hex: String = sum.as_ref().iter().take(16).map(|octet| format!("{octet:02x}")).collect();
    format!("{PREFIX}{hex}")
}
