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
    /// What has changed since the last call.
    pub fn take_signals(&mut self, now: Wall) -> Vec<Signal> {
        let mut changed = std::mem::take(&mut self.signalled);
        // A complaint about a route's mail is one about its binding's.
        let bindings: Vec<Subject> = changed.iter().map(|of| Subject::Binding(of.binding().clone())).collect();
        changed.extend(bindings);
        changed.into_iter().map(|subject| self.signal(subject, now)).collect()
    }

    /// All that is known, for after a restart.
    pub fn signals(&self, now: Wall) -> Vec<Signal> {
        let shares = self.complaints.shares(self.rules.complaint_days, now);
        let complained = shares.iter().filter(|(_, share)| share.complaints > 0);
        let routes = complained.filter_map(|((binding, to), _)| Some(Subject::Route(binding.clone(), to.clone()?)));
        let bindings = self.bindings.keys().map(|binding| Subject::Binding(binding.clone()));
        let all = bindings.chain(routes).map(|subject| self.signal(subject, now));
        all.filter(|signal| signal.complaints > 0.0 || signal.listed > 0.0).collect()
    }

    fn signal(&self, subject: Subject, now: Wall) -> Signal {
        let days = self.rules.complaint_days;
        let (listed, share) = match &subject {
            Subject::Binding(binding) => {
                let weight: f64 = self.listings(binding).iter().map(|listing| listing.weight.max(0.0)).sum();
                let cells = std::iter::once(None).chain(self.providers.iter().map(Some));
                let shares = cells.map(|to| self.complaints.share(binding, to, days, now));
                let sum = shares.fold((0, 0), |(c, a), share| (c + share.complaints, a + share.accepted));
                (weight / self.suspend_weight.max(f64::EPSILON), sum)
            }
            Subject::Route(binding, to) => {
                let share = self.complaints.share(binding, self.providers.get(to), days, now);
                (0.0, (share.complaints, share.accepted))
            }
        };
        Signal { complaints: self.complained(share), listed, subject }
    }

    /// How far a share of complaints has come from what is usual to where automation would suspend. A few complaints in
    /// little mail are no share yet: as many recipients as the prior is worth are added, of whom the usual share complained.
    fn complained(&self, (complaints, accepted): (u64, u64)) -> f64 {
        let (usual, worth) = (self.rules.complaint_prior, self.rules.complaint_prior_weight);
        let share = (complaints as f64 + usual * worth) / (accepted as f64 + worth).max(1.0);
        ((share - usual) / (self.rules.complaint_suspend - usual).max(f64::EPSILON)).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Wall;
    use crate::message::ZoneName;
    use crate::reputation::Evidence;
    use crate::reputation::evidence::Listing;
    use crate::reputation::fixtures::config;

    const NOW: Wall = Wall::from_millis(1_800_000_000_000);

    fn reputation() -> Reputation {
        let mut config = config(&["m1", "m2"], &[("p", &["m1", "m2"])]);
        config.providers.push(crate::config::Provider::new("gmail", Vec::new()));
        Reputation::new(&config, NOW)
    }

    fn complaint(incidents: u32) -> Evidence {
        let (binding, destination) = ("m1".into(), Some("gmail".into()));
        Evidence::Complaint { binding, destination, tenant: "acme".into(), at: NOW, incidents }
    }

    #[test]
    fn complaints_are_told_of_the_route_and_of_its_binding_and_only_once() {
        let mut reputation = reputation();
        assert_eq!(reputation.take_signals(NOW), []);
        reputation.observe(&complaint(1), NOW);
        let told = reputation.take_signals(NOW);
        let subjects: Vec<&Subject> = told.iter().map(|signal| &signal.subject).collect();
        let (binding, route) = (Subject::Binding("m1".into()), Subject::Route("m1".into(), "gmail".into()));
        assert_eq!(subjects, [&binding, &route]);
        // One complaint is not 100 % of nothing: (1 + 1) / 2000 is a fifth of the way from 0.05 % to 0.3 %.
        assert!(told.iter().all(|signal| (signal.complaints - 0.2).abs() < 0.01), "{told:?}");
        assert_eq!(reputation.take_signals(NOW), []);
        assert_eq!(reputation.signals(NOW), told, "and all of it after a restart");
        reputation.observe(&complaint(20), NOW);
        assert!(reputation.take_signals(NOW).iter().all(|signal| signal.complaints > 1.0));
    }

    #[test]
    fn listings_are_told_relative_to_the_weight_that_suspends() {
        let mut reputation = reputation();
        let weight = reputation.suspend_weight / 2.0;
        let zone = ZoneName::new("zone.example");
        let listing = Listing { zone, weight, certain: false, codes: "127.0.0.2".into() };
        let evidence = |listed| Evidence::Listings { binding: "m2".into(), listed, first_seen: None, last_clean: None };
        reputation.observe(&evidence(vec![listing]), NOW);
        let told = |reputation: &mut Reputation| -> Vec<f64> {
            reputation.take_signals(NOW).iter().map(|signal| signal.listed).collect()
        };
        assert_eq!(told(&mut reputation), [0.5]);
        reputation.observe(&evidence(Vec::new()), NOW);
        assert_eq!(told(&mut reputation), [0.0], "that it ended is told as well");
    }
}
