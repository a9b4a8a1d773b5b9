//! Who decides: Remuda, or one of the baselines, in the same world.

use serde::Serialize;

use crate::config::{Automation, Config, Spread};
use crate::outcome::Action;

/// Who decides about bindings and mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// The configuration as it is.
    Remuda,
    /// Weighted round robin with [a fixed fuse](super::fuse).
    FixedFuse,
    /// Weighted round robin and no automation at all.
    Nothing,
}

impl Policy {
    /// All of them, in the order of tables.
    pub const ALL: [Self; 3] = [Self::Remuda, Self::FixedFuse, Self::Nothing];

    /// Stable text, as in the JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Remuda => "remuda",
            Self::FixedFuse => "fixed_fuse",
            Self::Nothing => "nothing",
        }
    }

    /// As the head of a column.
    pub fn title(self) -> &'static str {
        match self {
            Self::Remuda => "remuda",
            Self::FixedFuse => "fixed fuse",
            Self::Nothing => "no automation",
        }
    }

    /// Whether it is there to be compared with.
    pub fn is_baseline(self) -> bool {
        self != Self::Remuda
    }

    /// The configuration under which it decides. Limits and manners stay: caps, rates,
    /// paces, windows, warm-up ladders, backups.
    pub fn configured(self, mut config: Config) -> Config {
        if self.is_baseline() {
            config.pools.iter_mut().for_each(|pool| pool.spread = Spread::Weighted);
            config.reputation.automation = Automation::Watch;
        }
        config
    }

    /// What it makes of what a rule asks for beyond the fate of the mail. A receiver's wish for less is heeded by all of
    /// them, since that is manners; what takes out or holds back is left to Remuda.
    pub fn heeds(self, action: Action) -> Action {
        match action {
            Action::BackOff(_) => action,
            _ if self.is_baseline() => Action::None,
            _ => action,
        }
    }
}
