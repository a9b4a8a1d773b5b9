//! What reputation knows of a route and no attempt tells: what people complain about, and who lists the address.
//!
//! For whoever predicts what the next mail will meet; nothing is concluded from it here.

use super::health::Subject;
use super::policy::Reputation;
use crate::clock::Wall;

/// What is known of a subject besides answers. All figures are 0 where nothing is known and 1 where automation would
/// suspend; they may be larger.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    /// Whose.
    pub subject: Subject,
    /// Share of complaints, relative to `complaint_suspend`; of a binding: over all its mail.
    pub complaints: f64,
    /// Summed weight of the zones that list it, relative to `suspend_weight` (bindings only).
    pub listed: f64,
}

impl Reputation {
    /// What has changed since the last call; everything after a restart.
    pub fn take_signals(&mut self, now: Wall) -> Vec<Signal> {
        std::mem::take(&mut self.signalled).into_iter().map(|subject| self.signal(subject, now)).collect()
    }

    fn signal(&self, subject: Subject, now: Wall) -> Signal {
        let weight = |listed: &[super::evidence::Listing]| listed.iter().map(|listing| listing.weight).sum::<f64>();
        let (listed, provider) = match &subject {
            Subject::Binding(binding) => (weight(self.listings(binding)) / self.suspend_weight.max(f64::EPSILON), None),
            Subject::Route(_, to) => (0.0, self.providers.get(to)),
        };
        let rules = &self.rules;
        let above = self.complaints.rate(subject.binding(), provider, now, rules) - rules.complaint_prior;
        let complaints = above.max(0.0) / (rules.complaint_suspend - rules.complaint_prior).max(f64::EPSILON);
        Signal { complaints, listed, subject }
    }
}
