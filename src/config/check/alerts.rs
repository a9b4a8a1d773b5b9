//! `[alerts]`.

use super::{Context, section};
use crate::config::{Alerts, raw};

impl Context<'_> {
    pub(super) fn alerts(&mut self, file: &raw::File) -> Alerts {
        let raw = section(&file.alerts);
        Alerts { alertmanagers: raw.alertmanagers.values() }
    }
}
