//! Pools, caps and warm-ups.

use super::{Condition, Doubt, Judgement};
use crate::alerts::view::{LATELY, View};
use crate::config::{AlertName, Alerts};

pub(super) fn pools(view: &View, out: &mut Judgement) {
    for pool in &view.pools {
        let name = pool.name.as_str();
        let labels = [("pool", name)];
        if pool.active == 0 && pool.backup == 0 {
            out.say(
                AlertName::PoolWithoutEligibleBinding,
                &labels,
                format!("no binding of pool {name} may carry mail"),
                "All its bindings are suspended, out of use or at their daily cap; its mail waits.".into(),
            );
            continue;
        }
        let failovers = view.lately.failovers.get(name).copied().unwrap_or_default();
        if pool.active < pool.min_active && pool.backup > 0 {
            let description = format!(
                "{} active bindings may carry mail, {} must before the backups stay closed.",
                pool.active, pool.min_active
            );
            out.say(AlertName::PoolOnBackup, &labels, format!("pool {name} is on backup"), description);
        } else if failovers > 0 {
            let summary = format!("some mail of pool {name} leaves from its backups");
            let description = format!("{failovers} attempts within the last minutes left from a backup tier.");
            out.say(AlertName::PoolOnBackup, &labels, summary, description);
        } else if view.lately_span < LATELY {
            out.doubts.push(Doubt::new(AlertName::PoolOnBackup, &labels));
        }
    }
}

pub(super) fn caps(view: &View, alerts: &Alerts, out: &mut Judgement) {
    for cap in &view.caps {
        // A cap of 0 is an operator's way to say "nothing", not one that is being used up.
        let share = cap.used as f64 / cap.limit.max(1) as f64;
        if cap.limit == 0 || share < alerts.limits.cap_used {
            continue;
        }
        let labels = [("of", cap.of), ("name", cap.name.as_str()), ("provider", cap.provider.as_str())];
        let towards = if cap.provider.is_empty() { String::new() } else { format!(" towards {}", cap.provider) };
        out.say(
            AlertName::CapNearlyUsed,
            &labels,
            format!("the daily cap of {} {}{towards} is used to {:.0} %", cap.of, cap.name, share * 100.0),
            format!("{} of {} recipients; the next day begins at {}.", cap.used, cap.limit, cap.resets_at),
        );
    }
}

pub(super) fn warmups(view: &View, out: &mut Judgement) {
    for ladder in view.warmups.iter().filter(|ladder| ladder.stage + 1 < ladder.stages) {
        let labels = [("binding", ladder.binding.as_str()), ("destination", ladder.destination.as_str())];
        let summary = format!("the warm-up of binding {} is stuck at stage {}", ladder.binding, ladder.stage);
        let description = format!(
            "Stage {} of 0 to {} for {}: too little mail to fill its allowance, or too much of it put off.",
            ladder.stage,
            ladder.stages.saturating_sub(1),
            if ladder.destination == "*" { "all destinations" } else { &ladder.destination },
        );
        let condition = Condition::new(AlertName::WarmupStalled, &labels, summary, description);
        out.conditions.push(Condition { episode: ladder.stage.to_string(), ..condition });
    }
}
