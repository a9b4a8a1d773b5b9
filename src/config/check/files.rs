//! Which other files a configuration names: with mistakes in it or without, whoever reads those files wants to know.

use std::path::{Path, PathBuf};

use super::context::section;
use super::later::read_later;
use super::zone::zone_keys;
use super::{Context, Loaded};
use crate::config::mistake::NamedFiles;
use crate::config::{Origin, Origins, defaults, raw};

impl Loaded {
    /// Other files that it names.
    pub fn named_files(&self) -> NamedFiles {
        NamedFiles {
            rules: self.config.classify.rules.clone(),
            rules_at: self.config.origins.get("classify.rules").cloned(),
            key_file: self.config.feedback.as_ref().map(|feedback| feedback.key_file.clone()),
            state_dir: self.config.server.state_dir.clone(),
            users_file: users_file(self.config.server.users_file.as_ref(), &self.config.origins),
            certificates: self.config.certificates.clone(),
            zone_keys: zone_keys(&self.config.monitor, &self.config.origins),
            read_later: read_later(&self.config.alerts, &self.config.feeds, &self.config.origins),
        }
    }
}

impl Context<'_> {
    /// Files that are named in a configuration with mistakes.
    pub(super) fn named_files(&mut self, file: &raw::File, origins: &Origins) -> NamedFiles {
        let state_dir = self.server(file).map(|server| server.state_dir);
        let (assignment, tenants) = (self.assignment(file), self.tenants(file));
        let feedback = self.feedback(file, state_dir.as_deref().unwrap_or(Path::new("")), &assignment, &tenants);
        let reputation = self.reputation(file);
        let (alerts, feeds) = (self.alerts(file), self.feeds(file, &reputation));
        // Beside a state_dir that is not known lies no key file.
        let known = |path: &PathBuf| state_dir.is_some() || !path.as_os_str().eq(defaults::FEEDBACK_KEYS);
        NamedFiles {
            rules: self.classify(file).rules,
            rules_at: origins.get("classify.rules").cloned(),
            key_file: feedback.map(|feedback| feedback.key_file).filter(known),
            state_dir: state_dir.unwrap_or_default(),
            users_file: users_file(self.beside(&section(&file.server).users_file).as_ref(), origins),
            certificates: self.certificates(file),
            zone_keys: zone_keys(&self.monitor(file), origins),
            read_later: read_later(&alerts, &feeds, origins),
        }
    }
}

fn users_file(file: Option<&PathBuf>, origins: &Origins) -> Option<(PathBuf, Option<Origin>)> {
    file.map(|file| (file.clone(), origins.get("server.users_file").cloned()))
}
