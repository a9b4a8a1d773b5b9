//! What happens to mail, and whether the relay itself is well.

use std::collections::BTreeMap;

use super::{Doubt, Judgement};
use crate::alerts::view::{LATELY, Tried, View};
use crate::clock::Wall;
use crate::config::{AlertName, Alerts};

/// Reasons of waiting that are our own or the operator's choice: such mail is not stuck.
pub(super) const CHOSEN: [&str; 10] = [
    "cap",
    "pace",
    "warmup",
    "reserved",
    "tenant_held",
    "tenant_held_by_operator",
    "drained",
    "operator_suspended",
    "rate_limited",
    "spf_not_covered",
];

/// Name servers of a single domain that do not answer are that domain's matter; from so many entries on it is ours.
const DNS_MANY: u64 = 10;

pub(super) fn ratios(view: &View, alerts: &Alerts, out: &mut Judgement) {
    let limits = &alerts.limits;
    // Soon after a start too little is counted to end what fired before it.
    if view.window_span < limits.window {
        let counted = [AlertName::HardBounceRatioHigh, AlertName::DeferralRatioHigh, AlertName::UnmatchedReplies];
        out.doubts.extend(counted.map(|name| Doubt::new(name, &[])));
    }
    let percent = |part: u64, of: u64| 100.0 * part as f64 / of.max(1) as f64;
    let is_high = |part: u64, of: u64, limit: f64| of >= limits.min_recipients && part as f64 > limit * of as f64;
    let mut by_binding: BTreeMap<&str, Tried> = BTreeMap::new();
    let mut by_destination: BTreeMap<&str, Tried> = BTreeMap::new();
    for ((binding, destination), tried) in &view.window.attempts {
        for sum in [by_binding.entry(binding).or_default(), by_destination.entry(destination).or_default()] {
            *sum = sum.plus(*tried);
        }
        if is_high(tried.deferred, tried.all, limits.deferral_ratio) {
            let share = percent(tried.deferred, tried.all);
            out.say(
                AlertName::DeferralRatioHigh,
                &[("binding", binding), ("destination", destination)],
                format!("{destination} puts off {share:.0} % of the mail of binding {binding}"),
                format!("{} of {} recipients tried within the window.", tried.deferred, tried.all),
            );
        }
    }
    for (binding, tried) in by_binding {
        if is_high(tried.hard, tried.all, limits.hard_bounce_ratio) {
            let share = percent(tried.hard, tried.all);
            out.say(
                AlertName::HardBounceRatioHigh,
                &[("binding", binding)],
                format!("{share:.1} % of the recipients of binding {binding} do not exist"),
                format!("{} of {} recipients tried within the window: a list is old or bought.", tried.hard, tried.all),
            );
        }
    }
    for line in &view.complaints {
        if is_high(line.complaints, line.accepted, limits.complaint_ratio) {
            let share = percent(line.complaints, line.accepted);
            out.say(
                AlertName::ComplaintRatioHigh,
                &[("binding", &line.binding), ("destination", &line.destination)],
                format!("{share:.2} % complaints at {} about binding {}", line.destination, line.binding),
                format!("{} complaints about {} recipients of the last seven days.", line.complaints, line.accepted),
            );
        }
    }
    for (destination, unmatched) in &view.window.unmatched {
        let tried = by_destination.get(destination.as_str()).copied().unwrap_or_default();
        let refused = tried.deferred + tried.bounced;
        if is_high(*unmatched, refused, limits.unmatched_ratio) {
            out.say(
                AlertName::UnmatchedReplies,
                &[("provider", destination)],
                format!("{:.0} % of the refusals at {destination} are not understood", percent(*unmatched, refused)),
                format!("{unmatched} of {refused}; remuda events --kind unmatched --rule-stub shows them as rules."),
            );
        }
    }
}

pub(super) fn waiting(view: &View, alerts: &Alerts, now: Wall, out: &mut Judgement) {
    let mut by_pool: BTreeMap<&str, (Wall, u64, &str)> = BTreeMap::new();
    for group in &view.waiting {
        let (oldest, count, reason) = by_pool.entry(&group.pool).or_insert((group.oldest, 0, &group.reason));
        if group.oldest < *oldest {
            (*oldest, *reason) = (group.oldest, &group.reason);
        }
        *count += group.count;
    }
    for (pool, (oldest, count, reason)) in by_pool {
        let age = now.since(oldest);
        if age > alerts.limits.queue_age {
            out.say(
                AlertName::QueueOld,
                &[("pool", pool)],
                format!("mail of pool {pool} waits for {} h", age.as_secs() / 3_600),
                format!("The oldest of {count} entries came at {oldest} and waits because of {reason}."),
            );
        }
    }
    let for_dns: u64 = view.waiting.iter().filter(|group| group.reason == "dns").map(|group| group.count).sum();
    let is_ours = |reason: &str| !CHOSEN.contains(&reason) && (reason != "dns" || for_dns > DNS_MANY);
    let stuck = view.waiting.iter().filter(|group| is_ours(&group.reason));
    let stuck = stuck.filter(|group| now.since(group.oldest) > alerts.limits.no_deliveries);
    let entries: u64 = stuck.map(|group| group.count).sum();
    if entries > 0 && now.since(view.last_delivery) > alerts.limits.no_deliveries {
        out.say(
            AlertName::NoDeliveries,
            &[],
            format!("nothing was delivered for {} min", now.since(view.last_delivery).as_secs() / 60),
            format!("{entries} entries wait, and not for a cap of ours. Is port 25 open, does DNS answer?"),
        );
    }
}

pub(super) fn holds(view: &View, out: &mut Judgement) {
    // Many holds of one tenant at one place (its streams, its domains) are one alert.
    let mut held: BTreeMap<(&str, &str), (u64, &str)> = BTreeMap::new();
    for hold in &view.holds {
        held.entry((&hold.tenant, &hold.destination)).or_insert((0, &hold.evidence)).0 += 1;
    }
    for ((tenant, destination), (count, evidence)) in held {
        out.say(
            AlertName::TenantHeld,
            &[("tenant", tenant), ("destination", destination)],
            format!("mail of tenant {tenant} is held at {destination}"),
            format!("{count} holds. Evidence: {evidence}"),
        );
    }
}

pub(super) fn relay(view: &View, alerts: &Alerts, out: &mut Judgement) {
    const MIB: u64 = 1 << 20;
    match view.free_space {
        None => out.doubts.push(Doubt::new(AlertName::SpoolSpaceLow, &[])),
        Some(free) if free < alerts.limits.spool_space => out.say(
            AlertName::SpoolSpaceLow,
            &[],
            format!("{} MiB are free where the spool lies", free / MIB),
            "Below server.low_space_floor new mail is refused with 452.".into(),
        ),
        Some(_) => {}
    }
    if view.set_aside > 0 {
        out.say(
            AlertName::SpoolRecordsSetAside,
            &[],
            format!("{} records of the spool could not be read", view.set_aside),
            "They were set aside, and are not lost: remuda status names them.".into(),
        );
    }
    if view.left_out > 0 {
        out.say(
            AlertName::AlertsLeftOut,
            &[],
            format!("{} conditions found no room among the alerts", view.left_out),
            "The worst are told and these are not: remuda status shows everything. Once there is room they follow."
                .into(),
        );
    }
    if view.lately.grant_errors == 0 && view.lately_span < LATELY {
        out.doubts.push(Doubt::new(AlertName::GrantErrors, &[]));
    }
    if view.lately.grant_errors > 0 {
        out.say(
            AlertName::GrantErrors,
            &[],
            "counts of daily caps cannot be written to disk".into(),
            format!("{} writes failed within the last minutes; mail under a cap waits.", view.lately.grant_errors),
        );
    }
    if let Some(why) = &view.reload_failed {
        out.say(
            AlertName::ConfigReloadFailed,
            &[],
            "a changed configuration was refused; the old one is in force".into(),
            why.clone(),
        );
    }
}
