//! How much a postmaster is told of bounces that fail: so many reports an hour for each tenant.
//!
//! A run of mail with a forged sender, or one broken return path, makes as many double bounces as mails, and a mailbox filled
//! with them hides the one that mattered. What is above the limit is counted as dropped, and one note says so. Kept in
//! memory: after a restart the hour begins anew.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::Wall;
use crate::message::TenantName;

/// Reports of double bounces to the postmaster in an hour, for each tenant.
pub(super) const PER_HOUR: u32 = 50;

const HOUR: Duration = Duration::from_secs(3600);

/// The hour of each tenant. As many as there are tenants.
#[derive(Debug, Default)]
pub(super) struct Postmaster {
    hours: HashMap<TenantName, Hour>,
}

#[derive(Clone, Copy, Debug)]
struct Hour {
    began: Wall,
    told: u32,
    is_noted: bool,
}

/// Whether a double bounce that nobody is told of is one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// There is another reason.
    None,
    /// The first in this hour.
    First,
    /// One more.
    Again,
}

impl Postmaster {
    /// Whether the postmaster may be told once more; if so that is counted.
    pub(super) fn may_tell(&mut self, tenant: &TenantName, now: Wall) -> bool {
        let hour = self.hours.entry(tenant.clone()).or_insert(Hour { began: now, told: 0, is_noted: false });
        // A clock set back begins a new hour too: the old one could last for days.
        if now.since(hour.began) >= HOUR || now < hour.began {
            *hour = Hour { began: now, told: 0, is_noted: false };
        }
        let may = hour.told < PER_HOUR;
        hour.told += u32::from(may);
        may
    }

    /// What was counted was not told after all.
    pub(super) fn was_not_told(&mut self, tenant: &TenantName) {
        if let Some(hour) = self.hours.get_mut(tenant) {
            hour.told = hour.told.saturating_sub(1);
        }
    }

    /// Whether the tenant has had its share of this hour; the first to ask is told that it is the first.
    pub(super) fn excess(&mut self, tenant: &TenantName) -> Excess {
        match self.hours.get_mut(tenant).filter(|hour| hour.told >= PER_HOUR) {
            None => Excess::None,
            Some(hour) if hour.is_noted => Excess::Again,
            Some(hour) => {
                hour.is_noted = true;
                Excess::First
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_has_so_many_an_hour_and_the_first_too_many_is_noted_once() {
        let mut postmaster = Postmaster::default();
        let (a, b) = (TenantName::from("a"), TenantName::from("b"));
        let at = |seconds: i64| Wall::from_millis(1_795_000_000_000 + seconds * 1000);
        assert_eq!(postmaster.excess(&a), Excess::None);
        assert!((0..PER_HOUR).all(|n| postmaster.may_tell(&a, at(n.into()))));
        assert!(!postmaster.may_tell(&a, at(3599)) && postmaster.may_tell(&b, at(3599)));
        assert_eq!([postmaster.excess(&a), postmaster.excess(&a)], [Excess::First, Excess::Again]);
        assert_eq!(postmaster.excess(&b), Excess::None);
        postmaster.was_not_told(&a);
        assert!(postmaster.may_tell(&a, at(3599)) && !postmaster.may_tell(&a, at(3599)));
        assert!(postmaster.may_tell(&a, at(3600)), "the next hour");
        assert_eq!(postmaster.excess(&a), Excess::None);
        assert!((1..PER_HOUR).all(|_| postmaster.may_tell(&a, at(3600))) && !postmaster.may_tell(&a, at(3600)));
        assert!(postmaster.may_tell(&a, at(0)), "the clock was set back");
    }
}
