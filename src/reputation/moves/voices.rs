//! Who passed a route last, and who was refused there: what a refusal of one group is set against.
//!
//! Two of each are remembered, so that there is always one that is not the group itself. What counts as "other" differs:
//! any other group that passes speaks for the address, also one of the same tenant; but only another *tenant's* refusal
//! speaks against it, or a tenant would testify against the addresses with its own second domain.

use std::time::Duration;

use crate::clock::Wall;
use crate::message::TenantName;

/// What others heard last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Others {
    Silent,
    Passed,
    Refused,
}

/// The last two who differ.
#[derive(Debug)]
struct LastTwo<T>([Option<(T, Wall)>; 2]);

impl<T> Default for LastTwo<T> {
    fn default() -> Self {
        Self([None, None])
    }
}

impl<T: Clone + PartialEq> LastTwo<T> {
    fn note(&mut self, who: &T, now: Wall) {
        match &mut self.0 {
            [Some((last, at)), _] if last == who => *at = now,
            [last, before] => *before = last.replace((who.clone(), now)),
        }
    }

    fn other_than(&self, who: &T) -> Option<Wall> {
        self.0.iter().flatten().find(|(known, _)| known != who).map(|&(_, at)| at)
    }
}

/// Of one route.
#[derive(Debug, Default)]
pub(in crate::reputation) struct Voices {
    passed: LastTwo<u64>,
    tenants_passed: LastTwo<TenantName>,
    tenants_refused: LastTwo<TenantName>,
}

impl Voices {
    /// Mail of this group was accepted.
    pub(in crate::reputation) fn passed(&mut self, group: u64, tenant: &TenantName, now: Wall) {
        self.passed.note(&group, now);
        self.tenants_passed.note(tenant, now);
    }

    /// Mail of this tenant was refused for the address's sake, and the address was blamed for it.
    pub(in crate::reputation) fn refused(&mut self, tenant: &TenantName, now: Wall) {
        self.tenants_refused.note(tenant, now);
    }

    /// The last word of the others within `window`: to those beside the group, and to those beside its tenant.
    pub(super) fn others(&self, group: u64, tenant: &TenantName, window: Duration, now: Wall) -> (Others, Others) {
        let lately = |at: &Wall| now.since(*at) < window;
        let refused = self.tenants_refused.other_than(tenant).filter(lately);
        let word = |passed: Option<Wall>| match (passed.filter(lately), refused) {
            (None, None) => Others::Silent,
            (passed, refused) if refused > passed => Others::Refused,
            _ => Others::Passed,
        };
        (word(self.passed.other_than(&group)), word(self.tenants_passed.other_than(tenant)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_of_others_counts_and_ones_own_does_not() {
        use Others::{Passed, Refused, Silent};
        let hour = Duration::from_secs(3600);
        let at = |minutes: i64| Wall::from_millis(minutes * 60_000);
        let (own, other): (TenantName, TenantName) = ("own".into(), "other".into());
        // (what happened: tenant, group or 0 for a refusal) → (to the group 1 of own, to own)
        type Row<'a> = (&'a [(&'a TenantName, u64)], (Others, Others));
        let table: [Row<'_>; 9] = [
            (&[], (Silent, Silent)),
            (&[(&own, 1), (&own, 1)], (Silent, Silent)),
            (&[(&own, 2)], (Passed, Silent)),
            (&[(&own, 2), (&own, 1)], (Passed, Silent)),
            (&[(&other, 3), (&own, 1), (&own, 2), (&own, 1)], (Passed, Passed)),
            (&[(&own, 0), (&own, 0)], (Silent, Silent)),
            (&[(&other, 0), (&own, 0)], (Refused, Refused)),
            (&[(&other, 3), (&other, 0)], (Refused, Refused)),
            (&[(&other, 0), (&own, 2)], (Passed, Refused)),
        ];
        for (told, expected) in table {
            let mut voices = Voices::default();
            for (minute, (tenant, group)) in (0..).zip(told) {
                match group {
                    0 => voices.refused(tenant, at(minute)),
                    group => voices.passed(*group, tenant, at(minute)),
                }
            }
            assert_eq!(voices.others(1, &own, hour, at(30)), expected, "{told:?}");
            assert_eq!(voices.others(1, &own, hour, at(90)), (Silent, Silent), "long ago");
        }
    }
}
