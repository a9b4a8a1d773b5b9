//! Counts while the world runs.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::disk::{Disk, Seen};
use super::super::internet::Internet;
use super::super::invariants::{Fates, Violation};
use super::waits::Waits;
use super::{BindingDay, Day, Hold, Measures, PoolDay, ProviderDay, Report, Suspension, TenantDay};
use crate::clock::Wall;
use crate::config::Config;
use crate::outcome::{Disposition, Outcome};
use crate::reputation::holds::HoldKey;
use crate::reputation::{Health, HealthChange, HoldChange, HoldState, Subject};
use crate::scheduler::CapUsage;
use crate::scheduler::cap::Owner;

#[derive(Clone, Debug, Default)]
struct Tenant {
    accepted: u64,
    delivered: u64,
    bounced: u64,
    waits: Waits<128>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Pool {
    delivered: u64,
    failed_over: u64,
}

/// The day's counts so far.
#[derive(Clone, Debug, Default)]
struct Today {
    accepted: u64,
    expired: u64,
    unanswered: u64,
    suspended: u64,
    /// Binding × group.
    delivered: Vec<u64>,
    bounced: Vec<u64>,
    deferred: Vec<u64>,
    tenants: Vec<Tenant>,
    pools: Vec<Pool>,
}

/// Counts while the world runs.
pub struct Recorder {
    report: Report,
    today: Today,
    bindings: Vec<String>,
    groups: usize,
    tenants: Vec<String>,
    pools: Vec<String>,
    /// Suspensions that last.
    open: BTreeMap<Subject, usize>,
    /// Holds that last.
    held: BTreeMap<HoldKey, usize>,
}

/// What one recipient's answer meant.
#[derive(Clone, Copy)]
pub struct Told<'a> {
    /// Number of the binding.
    pub binding: u32,
    /// What the site counts as.
    pub group: u16,
    /// The answer.
    pub outcome: &'a Outcome,
    /// Tier of the binding; 0 is active.
    pub tier: usize,
    /// How long the mail had waited.
    pub waited: Duration,
    /// The answer in words.
    pub text: &'a str,
}

impl Recorder {
    /// Nothing counted.
    pub fn new(config: &Config, title: &str, seed: u64) -> Self {
        Self {
            report: Report { title: title.to_owned(), seed, ..Report::default() },
            today: Today::default(),
            bindings: config.bindings.iter().map(|b| b.name.to_string()).collect(),
            groups: 0,
            tenants: config.tenants.iter().map(|t| t.name.to_string()).collect(),
            pools: config.pools.iter().map(|p| p.name.to_string()).collect(),
            open: BTreeMap::new(),
            held: BTreeMap::new(),
        }
    }

    /// There are so many groups of sites now.
    pub fn groups(&mut self, groups: usize) {
        if self.groups != groups || self.today.tenants.is_empty() {
            self.groups = groups;
            self.clear();
        }
    }

    fn clear(&mut self) {
        self.today = Today {
            delivered: vec![0; self.bindings.len() * self.groups],
            bounced: vec![0; self.groups],
            deferred: vec![0; self.groups],
            tenants: vec![Tenant::default(); self.tenants.len()],
            pools: vec![Pool::default(); self.pools.len()],
            suspended: self.open.len() as u64,
            ..Today::default()
        };
    }

    /// Mail was taken in.
    pub fn accepted(&mut self, seen: &Seen, recipients: u64) {
        if !seen.is_report {
            self.today.accepted += recipients;
            self.today.tenants[seen.tenant as usize].accepted += recipients;
        }
    }

    /// A recipient was answered.
    pub fn answered(&mut self, seen: &Seen, told: Told<'_>) {
        let group = usize::from(told.group);
        match told.outcome.disposition {
            Disposition::Delivered => {
                self.today.delivered[told.binding as usize * self.groups + group] += 1;
                let pool = &mut self.today.pools[seen.pool as usize];
                pool.delivered += 1;
                pool.failed_over += u64::from(told.tier > 0);
                if !seen.is_report {
                    let tenant = &mut self.today.tenants[seen.tenant as usize];
                    tenant.delivered += 1;
                    tenant.waits.add(told.waited, 1);
                }
            }
            Disposition::Deferred => {
                self.today.deferred[group] += 1;
                self.today.unanswered += u64::from(told.outcome.cause == Some(crate::outcome::Cause::Network));
            }
            _ => {
                self.today.bounced[group] += 1;
                self.today.tenants[seen.tenant as usize].bounced += 1;
            }
        }
    }

    /// Mail was given up.
    pub fn expired(&mut self, recipients: u64) {
        self.today.expired += recipients;
    }

    /// Mail was refused because its domain takes none.
    pub fn refused(&mut self, seen: &Seen, group: u16, recipients: u64) {
        self.today.bounced[usize::from(group)] += recipients;
        self.today.tenants[seen.tenant as usize].bounced += recipients;
    }

    /// Recipients may have been served twice.
    pub fn duplicated(&mut self, recipients: u64) {
        self.report.duplicates_possible += recipients;
    }

    /// A health changed.
    pub fn changed(&mut self, change: &HealthChange, now: Wall) {
        let suspensions = &mut self.report.suspensions;
        if let Some(open) = self.open.remove(&change.subject) {
            suspensions[open].to = Some(now);
        }
        let Health::Suspended { reason, .. } = change.to else { return };
        let destination = match &change.subject {
            Subject::Route(_, destination) => Some(destination.to_string()),
            Subject::Binding(_) => None,
        };
        self.today.suspended += 1;
        self.open.insert(change.subject.clone(), suspensions.len());
        suspensions.push(Suspension {
            binding: change.subject.binding().to_string(),
            destination,
            reason: reason.as_str(),
            from: now,
            to: None,
            evidence: change.evidence.clone(),
        });
    }

    /// A hold began, was prolonged, probes or ended. One that a probe prolonged is the same hold.
    pub fn held(&mut self, change: &HoldChange, now: Wall) {
        let holds = &mut self.report.holds;
        match change.to {
            HoldState::Released => {
                if let Some(open) = self.held.remove(&change.key) {
                    holds[open].to = Some(now);
                }
            }
            HoldState::Probing => {}
            HoldState::Held { .. } => {
                if let Some(&open) = self.held.get(&change.key) {
                    holds[open].times += 1;
                    return;
                }
                self.held.insert(change.key.clone(), holds.len());
                let HoldKey { tenant, sender_domain, stream, destination } = &change.key;
                holds.push(Hold {
                    tenant: tenant.to_string(),
                    sender_domain: sender_domain.as_ref().map(ToString::to_string),
                    stream: stream.as_ref().map(ToString::to_string),
                    destination: destination.to_string(),
                    from: now,
                    to: None,
                    times: 1,
                    evidence: change.evidence.clone(),
                });
            }
        }
    }

    /// The day ends. `health` gives a binding's health by number, `stage` its stage of warm-up.
    pub fn day(
        &mut self,
        date: jiff::civil::Date,
        disk: &Disk,
        internet: &Internet,
        usage: &[CapUsage],
        state: impl Fn(usize) -> (&'static str, Option<usize>),
        now: Wall,
    ) {
        let groups = internet.groups();
        let (waiting, oldest) = waiting(disk, self.tenants.len(), self.pools.len(), now);
        let today = &self.today;
        let by_group = |binding: usize| &today.delivered[binding * self.groups..(binding + 1) * self.groups];
        let limit = |name: &str| {
            let own = usage.iter().find(|of| matches!(&of.owner, Owner::Binding(b) if b.as_str() == name));
            own.and_then(|of| of.limit)
        };
        let binding = |(n, name): (usize, &String)| {
            let (health, warmup_stage) = state(n);
            let counts = groups.iter().zip(by_group(n)).filter(|(_, count)| **count > 0);
            let day = BindingDay {
                delivered: by_group(n).iter().sum(),
                limit: limit(name),
                warmup_stage,
                health,
                providers: counts.map(|(group, count)| (group.clone(), *count)).collect(),
            };
            (name.clone(), day)
        };
        let provider = |(n, name): (usize, &String)| {
            let delivered = (0..self.bindings.len()).map(|binding| by_group(binding)[n]).sum();
            let day = ProviderDay { delivered, bounced: today.bounced[n], deferred: today.deferred[n] };
            (name.clone(), day)
        };
        let tenant = |((name, tenant), waiting): ((&String, &Tenant), &u64)| {
            let day = TenantDay {
                accepted: tenant.accepted,
                delivered: tenant.delivered,
                bounced: tenant.bounced,
                waiting: *waiting,
                wait_median_seconds: tenant.waits.quantile(0.5),
                wait_p99_seconds: tenant.waits.quantile(0.99),
            };
            (name.clone(), day)
        };
        let pool = |((name, pool), waiting): ((&String, &Pool), &u64)| {
            let day = PoolDay { delivered: pool.delivered, failed_over: pool.failed_over, waiting: *waiting };
            (name.clone(), day)
        };
        let day = Day {
            date,
            accepted: today.accepted,
            delivered: today.delivered.iter().sum(),
            bounced: today.bounced.iter().sum(),
            expired: today.expired,
            deferred: today.deferred.iter().sum(),
            unanswered: today.unanswered,
            failed_over: today.pools.iter().map(|pool| pool.failed_over).sum(),
            waiting: disk.waiting().iter().sum(),
            oldest_seconds: oldest.as_secs(),
            suspended: today.suspended,
            bindings: self.bindings.iter().enumerate().map(binding).collect(),
            providers: groups.iter().enumerate().map(provider).collect(),
            tenants: self.tenants.iter().zip(&today.tenants).zip(&waiting.0).map(tenant).collect(),
            pools: self.pools.iter().zip(&today.pools).zip(&waiting.1).map(pool).collect(),
        };
        self.report.days.push(day);
        self.clear();
    }

    /// The report so far; `fates` are those of mail and of reports.
    pub fn report(&self, fates: [Fates; 2], measures: Measures, violations: (&[Violation], u64)) -> Report {
        let [mail, reports] = fates;
        let (kept, violation_count) = violations;
        Report { mail, reports, measures, violations: kept.to_vec(), violation_count, ..self.report.clone() }
    }
}

/// Recipients that wait, by tenant and by pool, and how long the oldest has.
fn waiting(disk: &Disk, tenants: usize, pools: usize, now: Wall) -> ((Vec<u64>, Vec<u64>), Duration) {
    let (mut by_tenant, mut by_pool) = (vec![0; tenants], vec![0; pools]);
    let mut oldest = Duration::ZERO;
    for stored in disk.entries() {
        let recipients = stored.entry.recipients.len() as u64;
        by_tenant[stored.seen.tenant as usize] += recipients;
        by_pool[stored.seen.pool as usize] += recipients;
        oldest = oldest.max(now.since(stored.entry.arrived));
    }
    ((by_tenant, by_pool), oldest)
}
