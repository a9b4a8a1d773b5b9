//! The truth of a scenario by numbers: who is guilty, where, when.

use std::time::Duration;

use crate::clock::Wall;
use crate::config::Config;
use crate::message::BindingName;
use crate::simulate::scenario::Truth;

/// How long after the truth is over a penalty may still run: that is the way back, and no mistake.
const WAY_BACK: Duration = Duration::from_secs(24 * 3600);

/// [`Truth`] by numbers.
#[derive(Debug)]
pub(super) struct Known {
    names: Vec<BindingName>,
    pub(super) bindings: Vec<bool>,
    /// Named, and innocent.
    pub(super) at_risk: Vec<bool>,
    pub(super) tenants: Vec<bool>,
    /// Where bindings are bad; `None`: everywhere.
    receivers: Option<Vec<String>>,
    /// The same by number of the group.
    groups: Vec<bool>,
    pub(super) from: Wall,
    pub(super) until: Option<Wall>,
}

impl Known {
    /// What a scenario that begins at `start` knows; without a truth nobody is guilty.
    pub(super) fn new(config: &Config, truth: Option<&Truth>, start: Wall) -> Self {
        let nobody = Truth::default();
        let truth = truth.unwrap_or(&nobody);
        let names: Vec<BindingName> = config.bindings.iter().map(|binding| binding.name.clone()).collect();
        Self {
            bindings: names.iter().map(|name| truth.bindings.contains(name)).collect(),
            at_risk: names.iter().map(|name| truth.at_risk.contains(name)).collect(),
            tenants: config.tenants.iter().map(|tenant| truth.tenants.contains(&tenant.name)).collect(),
            receivers: (!truth.receivers.is_empty())
                .then(|| truth.receivers.iter().map(|name| name.as_str().to_owned()).collect()),
            groups: Vec::new(),
            from: start.plus(truth.from),
            until: truth.until.map(|until| start.plus(until)),
            names,
        }
    }

    /// The groups of sites have these names.
    pub(super) fn groups(&mut self, groups: &[String]) {
        let is_bad = |name: &String| match &self.receivers {
            Some(receivers) => receivers.contains(name),
            None => name != "senders",
        };
        self.groups = groups.iter().map(is_bad).collect();
    }

    pub(super) fn number(&self, binding: &BindingName) -> Option<usize> {
        self.names.iter().position(|name| name == binding)
    }

    /// Whether bindings that are bad are bad at this group.
    pub(super) fn is_place(&self, group: u16) -> bool {
        self.groups.get(usize::from(group)).copied().unwrap_or_default()
    }

    /// Whether they are bad at some places only.
    pub(super) fn is_local(&self) -> bool {
        self.receivers.is_some()
    }

    /// Whether the guilty are at it.
    pub(super) fn is_time(&self, now: Wall) -> bool {
        now >= self.from && self.until.is_none_or(|until| now <= until)
    }

    /// Whether the binding is bad at this group (`None`: anywhere) at `now`, or on its way back.
    pub(super) fn is_guilty(&self, binding: usize, group: Option<u16>, now: Wall) -> bool {
        self.until.is_none_or(|until| now <= until.plus(WAY_BACK)) && self.was_guilty(binding, group, now)
    }

    /// The same without an end.
    pub(super) fn was_guilty(&self, binding: usize, group: Option<u16>, now: Wall) -> bool {
        now >= self.from && self.bindings[binding] && group.is_none_or(|group| self.is_place(group))
    }
}
