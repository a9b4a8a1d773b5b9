//! What tests do by hand: scripted receivers, single messages, a trace of every answer.

use std::time::Duration;

use super::World;
use crate::clock::Wall;
use crate::delivery::plan::NoPlan;
use crate::message::BindingName;
use crate::outcome::{Disposition, EnhancedCode};
use crate::simulate::agenda::Event;
use crate::simulate::internet::{Script, SiteId};
use crate::simulate::invariants::Invariants;
use crate::simulate::scenario::Quality;

/// What a test wants to know of an answered recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traced {
    /// When the answer was known.
    pub at: Wall,
    /// Which binding carried it.
    pub binding: BindingName,
    /// Which receiver.
    pub receiver: String,
    /// What became of it.
    pub disposition: Disposition,
}

/// What somebody sends by hand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Handed {
    pub(super) tenant: u32,
    pub(super) site: SiteId,
    pub(super) quality: Quality,
}

impl World {
    /// A receiver that does what a test has written down, under this name (and at `NAME.example`).
    pub fn script(&mut self, name: &str, script: Script) {
        self.internet.script(name, script, &self.config);
        self.name_groups();
        self.invariants = Invariants::new(&self.config, self.internet.sites(), self.now().wall);
    }

    /// The receiver's domain takes no mail (RFC 7505).
    pub fn takes_no_mail(&mut self, receiver: &str) {
        let enhanced = EnhancedCode { class: 5, subject: 1, detail: 10 };
        for site in self.internet.by_name(receiver) {
            let refusal = Err(NoPlan::Permanent { enhanced, text: "null MX".into() });
            self.internet.set_planned(site, refusal);
        }
    }

    /// Notes every answer from now on, for [`World::trace`].
    pub fn keep_trace(&mut self) {
        self.trace = Some(Vec::new());
    }

    /// What was noted.
    pub fn trace(&self) -> &[Traced] {
        self.trace.as_deref().unwrap_or_default()
    }

    /// One message to one recipient of `receiver`, `after` the present. Unknown names send nothing.
    pub fn send(&mut self, after: Duration, tenant: &str, receiver: &str) {
        let number = self.config.tenants.iter().position(|known| known.name.as_str() == tenant);
        let (Some(number), Some(&site)) = (number, self.internet.by_name(receiver).first()) else { return };
        let quality = Quality { invalid: 0.0, complaints: 0.0, traps: 0.0, spamminess: 0.0 };
        self.handed.push(Handed { tenant: number as u32, site, quality });
        self.agenda.plan(self.now().wall.plus(after), Event::Handed(self.handed.len() - 1));
    }
}
