//! `remuda binding`: bindings, and what is done to them.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use super::acts::{Reason, Why, act, moment, order_line, path, said, show, standing};
use super::columns::{Columns, Side, paragraph};
use super::fail;
use super::remote::Remote;
use super::terminal::{columns, visible, visible_json};
use crate::admin::bindings::{BindingList, BindingShown, Removal};
use crate::admin::orders::{Done, OrderList, OrderShown};
use crate::clock::{Clock, Mono, SystemClock};
use crate::config::units::parse_duration;
use Side::{Left, Right};

/// How often a binding on its way out is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// Looks without an answer, one after the other, until it is given up: a relay that restarts is soon back.
const LOST_MAX: u32 = 10;

/// Options.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// All bindings: health, cap, places in pools, what the operator has them do.
    List,
    /// One binding with all that is known of it: windows, routes that are not active, lists, orders, evidence.
    Show {
        /// Which.
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Take a binding out, everywhere or at one destination.
    Suspend(Whole),
    /// Bring a binding back: ends suspensions whatever their cause, a drain, and a removal under way.
    ///
    /// With --for automation does not take it out again for so long.
    Resume(Whole),
    /// Let a binding take no more mail; what is on the wire ends as it would. Resume ends it.
    Drain {
        /// Which.
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        why: Why,
    },
    /// Remove a binding while the relay runs: drain it, wait until nothing of it is on the wire, and take it away.
    ///
    /// Mail that waits leaves by the others of its pools. It stays away, over restarts as well, until the file no longer
    /// has it; the lines to delete are named at the end.
    Remove {
        /// Which.
        #[arg(value_name = "NAME")]
        name: String,
        /// Wait at most so long for the end; the removal goes on by itself.
        #[arg(long, value_name = "SPAN", default_value = "10m")]
        wait: String,
        #[command(flatten)]
        why: Why,
    },
    /// Give a binding another daily cap. What was accepted today counts.
    SetCap {
        /// Which.
        #[arg(value_name = "NAME")]
        name: String,
        /// Recipients a day; none for no cap; default for what the file says.
        #[arg(value_name = "CAP")]
        cap: String,
        #[command(flatten)]
        why: Why,
    },
    /// Put a binding's warm-up on another stage. It goes on from there by itself.
    SetStage {
        /// Which.
        #[arg(value_name = "NAME")]
        name: String,
        /// The stage, from 0, as remuda status has it.
        #[arg(value_name = "STAGE")]
        stage: usize,
        /// Of the warm-up towards this provider.
        #[arg(long, value_name = "PROVIDER")]
        provider: Option<String>,
        #[command(flatten)]
        reason: Reason,
    },
}

/// A binding, as a whole or at one destination.
#[derive(Debug, clap::Args)]
struct Whole {
    /// Which.
    #[arg(value_name = "NAME")]
    name: String,
    /// At this provider (or site, as the status has it) only.
    #[arg(long, value_name = "DESTINATION")]
    at: Option<String>,
    #[command(flatten)]
    why: Why,
}

impl Whole {
    fn act(&self, remote: &Remote, verb: &str) -> ExitCode {
        let body = self.why.body([("destination", self.at.clone().map(Value::from))]);
        act(remote, &path("bindings", &self.name, verb), &body)
    }
}

pub(super) fn main(args: &Args) -> ExitCode {
    let remote = &args.remote;
    match &args.verb {
        Verb::List => show(remote, "/api/v1/bindings", list),
        Verb::Show { name } => show(remote, &path("bindings", name, ""), one),
        Verb::Suspend(whole) => whole.act(remote, "suspend"),
        Verb::Resume(whole) => whole.act(remote, "resume"),
        Verb::Drain { name, why } => act(remote, &path("bindings", name, "drain"), &why.body([])),
        Verb::Remove { name, wait, why } => remove(remote, name, wait, why),
        Verb::SetCap { name, cap, why } => {
            let cap = cap.parse::<u64>().map_or_else(|_| Value::from(cap.clone()), Value::from);
            act(remote, &path("bindings", name, "set-cap"), &why.body([("cap", Some(cap))]))
        }
        Verb::SetStage { name, stage, provider, reason } => {
            let more = [("stage", Some(Value::from(*stage))), ("provider", provider.clone().map(Value::from))];
            act(remote, &path("bindings", name, "set-stage"), &reason.body(more))
        }
    }
}

/// Starts a removal and follows it to its end.
fn remove(remote: &Remote, name: &str, wait: &str, why: &Why) -> ExitCode {
    let wait = match parse_duration(wait) {
        Ok(wait) => wait,
        Err(error) => return fail(format_args!("--wait: {error}")),
    };
    let text = match remote.post(&path("bindings", name, "remove"), &why.body([])) {
        Ok(text) => text,
        Err(error) => match order_of(remote, name) {
            Ok(Some(order)) if !order.draining => return already(remote, name, &order),
            _ => return fail(error),
        },
    };
    let mut removal: Removal = match serde_json::from_str(&text) {
        Ok(removal) => removal,
        Err(error) => return fail(format_args!("{} answered something else: {error}", remote.admin)),
    };
    if !why.once.dry_run && !removal.removed {
        match follow(remote, name, wait) {
            Ok(removed) => removal.removed = removed,
            Err(error) => return fail(error),
        }
    }
    if remote.json {
        let text = serde_json::to_string(&removal).unwrap_or_default();
        println!("{}", visible_json(&text));
    } else {
        print!("{}", removed(name, &removal, columns()));
    }
    if why.once.dry_run || removal.removed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The order by which a binding is to go, or is gone.
fn order_of(remote: &Remote, name: &str) -> Result<Option<OrderShown>, String> {
    let orders: OrderList = remote.read("/api/v1/orders", &[])?;
    Ok(orders.orders.into_iter().find(|order| order.act == "remove" && order.binding.as_deref() == Some(name)))
}

/// It was removed before: what was asked for is so.
fn already(remote: &Remote, name: &str, order: &OrderShown) -> ExitCode {
    let message = gone_already(name, order);
    if remote.json {
        let removal = Removal { done: Done { message, ..Done::default() }, removed: true, ..Removal::default() };
        println!("{}", visible_json(&serde_json::to_string(&removal).unwrap_or_default()));
    } else {
        print!("{}", paragraph(&message, columns()));
    }
    ExitCode::SUCCESS
}

fn gone_already(name: &str, order: &OrderShown) -> String {
    format!("{name} is removed already, by order {} ({}: {})", order.id, order.actor, order.reason)
}

/// Waits until the binding is gone; false where that takes longer. Each change is told on standard error.
fn follow(remote: &Remote, name: &str, wait: Duration) -> Result<bool, String> {
    // Its time begins with it.
    let (clock, mut told, mut lost) = (SystemClock::default(), String::new(), 0);
    loop {
        let order = match order_of(remote, name) {
            Ok(order) => order,
            Err(_) if lost < LOST_MAX => {
                lost += 1;
                std::thread::sleep(LOOK);
                continue;
            }
            Err(error) => return Err(format!("{error}; the removal of {} goes on by itself", visible(name))),
        };
        lost = 0;
        match order {
            None => return Err(format!("{} was taken back by somebody else, and stays", visible(name))),
            Some(order) if !order.draining => return Ok(true),
            Some(_) => {}
        }
        // Gone between the two questions: the next look says so.
        if let Ok(shown) = remote.read::<BindingShown>(&path("bindings", name, ""), &[]) {
            let (attempts, open) = (shown.status.in_use, shown.connections);
            let now = format!("{name} is draining: {attempts} on the wire, {open} connections open");
            if now != told {
                eprintln!("{}", visible(&now));
                told = now;
            }
        }
        if clock.now().mono >= Mono::from_nanos(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX)) {
            return Ok(false);
        }
        std::thread::sleep(LOOK);
    }
}

fn removed(name: &str, removal: &Removal, width: Option<usize>) -> String {
    let mut out = said(&removal.done, width);
    if removal.done.dry_run {
        return out;
    }
    if !removal.removed {
        let text = format!("{name} is still draining, and goes when nothing of it is on the wire: remuda orders");
        out.push_str(&paragraph(&text, width));
        return out;
    }
    out.push_str(&paragraph(
        &format!("{name} is removed. For good it is when the file no longer has it; delete"),
        width,
    ));
    for line in &removal.delete {
        out.push_str(&paragraph(&format!("  {line}"), width));
    }
    out.push_str(&paragraph("and reload: the order then ends by itself.", width));
    out
}

fn list(all: &BindingList, width: Option<usize>) -> String {
    let mut table = Columns::new([
        ("binding", Left),
        ("address", Left),
        ("health", Left),
        ("in use", Right),
        ("cap", Right),
        ("pools", Left),
        ("reason", Left),
    ]);
    for shown in &all.bindings {
        let b = &shown.status;
        let cap = b.cap.as_ref().map_or_else(|| "-".to_owned(), |cap| format!("{}/{}", cap.used, cap.limit));
        let pools: Vec<String> =
            shown.pools.iter().map(|seat| format!("{}/{}×{}", seat.pool, seat.tier, seat.weight)).collect();
        let health = standing(&b.health, b.operator.as_deref());
        let (reason, in_use) = (b.reason.as_deref().unwrap_or(""), b.in_use.to_string());
        table.row([
            &b.name,
            &addresses(&b.bind_address, b.second_bind_address.as_deref()),
            &health,
            &in_use,
            &cap,
            &pools.join(" "),
            reason,
        ]);
        if let Some(until) = b.until {
            table.below(&format!("until {}", moment(until)));
        }
        for order in &b.orders {
            table.below(&order_line(order));
        }
    }
    let mut out = table.text(width);
    if !all.removed.is_empty() {
        out.push_str("\nremoved by order\n");
        for order in &all.removed {
            out.push_str(&paragraph(&order_line(order), width));
        }
    }
    out
}

/// One address, or both.
pub(super) fn addresses(first: &str, second: Option<&str>) -> String {
    second.map_or_else(|| first.to_owned(), |second| format!("{first} {second}"))
}

fn one(shown: &BindingShown, width: Option<usize>) -> String {
    let b = &shown.status;
    let mut out = String::new();
    let mut line = |text: String| out.push_str(&paragraph(&text, width));
    let bound = addresses(&b.bind_address, b.second_bind_address.as_deref());
    let seen = addresses(&shown.public_address, shown.second_public_address.as_deref());
    line(format!("{}: {bound} as {}", b.name, shown.ehlo));
    if seen != bound {
        line(format!("  seen from outside as {seen}"));
    }
    if let Some(prefer) = &shown.prefer {
        line(format!("  goes by {prefer} first"));
    }
    let reason = b.reason.as_deref().map_or_else(String::new, |reason| format!(" ({reason})"));
    let until = b.until.map_or_else(String::new, |at| format!(" until {}", moment(at)));
    line(format!("  health: {}{reason}{until}", b.health));
    if let Some(evidence) = &b.evidence {
        line(format!("  why: {evidence}"));
    }
    if let Some(operator) = &b.operator {
        line(format!("  operator: {operator}"));
    }
    if shown.suspend_delivery {
        line("  the file says suspend_delivery = true".to_owned());
    }
    let most = shown.window.map_or_else(String::new, |window| format!(" of {window}"));
    line(format!("  on the wire: {}{most}, connections open: {}", b.in_use, shown.connections));
    if let Some(cap) = &b.cap {
        line(format!("  cap: {} of {} today, until {}", cap.used, cap.limit, moment(cap.resets_at)));
    }
    for w in &b.warmup {
        let to = w.provider.as_deref().map_or_else(String::new, |provider| format!(" at {provider}"));
        line(format!(
            "  warm-up{to}: stage {} (0 to {}), {} of {} today",
            w.stage,
            w.stages.saturating_sub(1),
            w.accepted,
            w.allowance
        ));
    }
    for seat in &shown.pools {
        line(format!("  pool {}: tier {}, weight {}", seat.pool, seat.tier, seat.weight));
    }
    for r in &b.routes {
        let reason = r.reason.as_deref().map_or_else(String::new, |reason| format!(" ({reason})"));
        let until = r.until.map_or_else(String::new, |at| format!(" until {}", moment(at)));
        line(format!("  at {}: {}{reason}{until}", r.destination, r.health));
        if let Some(evidence) = &r.evidence {
            line(format!("    why: {evidence}"));
        }
        if let Some(window) = &r.window {
            line(format!("    connections: {} of {} (at most {})", window.in_use, window.limit, window.ceiling));
        }
    }
    for listing in &shown.listings {
        let state = if listing.state == 1 { "listed" } else { "unknown" };
        let words = format!("  {}: {state} {} {}", listing.zone, listing.codes, listing.text);
        line(words.trim_end().to_owned());
    }
    for order in &b.orders {
        line(format!("  {}", order_line(order)));
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown() -> BindingShown {
        serde_json::from_value(json!({
            "name": "m1", "bind_address": "192.0.2.1", "health": "suspended", "reason": "operator",
            "until": "2026-11-20T12:00:00.000Z", "evidence": "ann: moved\u{1b}[2J", "in_use": 2,
            "cap": {"limit": 500, "used": 20, "reserved": 0, "granted": 20, "resets_at": "2026-11-21T00:00:00.000Z"},
            "warmup": [{"provider": null, "stage": 1, "stages": 8, "allowance": 500, "accepted": 20}],
            "routes": [{"destination": "gmail", "health": "throttled", "reason": "deferrals", "until": null,
                "evidence": "x", "window": {"in_use": 1, "limit": 2, "ceiling": 10, "paused_until": null}}],
            "operator": "draining",
            "orders": [{"id": 4, "act": "drain", "words": "drain m1", "binding": "m1", "reason": "moved", "actor": "ann",
                "at": "2026-11-20T11:00:00.000Z", "until": null}],
            "public_address": "198.51.100.1", "ehlo": "m1.example.net", "region": null, "suspend_delivery": false,
            "pools": [{"pool": "main", "tier": 1, "weight": 0}], "connections": 3, "window": 10,
            "listings": [{"zone": "zen", "state": 1, "codes": "127.0.0.2", "text": "see x"},
                {"zone": "dead", "state": 2, "codes": "", "text": ""}]
        }))
        .expect("an answer")
    }

    #[test]
    fn one_binding_is_shown_with_all_that_stands_in_its_way() {
        assert_eq!(
            one(&shown(), None),
            "m1: 192.0.2.1 as m1.example.net\n\
             \x20 seen from outside as 198.51.100.1\n\
             \x20 health: suspended (operator) until 2026-11-20T12:00:00Z\n\
             \x20 why: ann: moved\\u{1b}[2J\n\
             \x20 operator: draining\n\
             \x20 on the wire: 2 of 10, connections open: 3\n\
             \x20 cap: 20 of 500 today, until 2026-11-21T00:00:00Z\n\
             \x20 warm-up: stage 1 (0 to 7), 20 of 500 today\n\
             \x20 pool main: tier 1, weight 0\n\
             \x20 at gmail: throttled (deferrals)\n\
             \x20   why: x\n\
             \x20   connections: 1 of 2 (at most 10)\n\
             \x20 zen: listed 127.0.0.2 see x\n\
             \x20 dead: unknown\n\
             \x20 order 4: drain m1, by ann: moved\n"
        );
    }

    #[test]
    fn a_list_fits_and_names_orders_below_their_bindings() {
        let gone = OrderShown { id: 9, words: "remove m9".into(), actor: "ann".into(), ..OrderShown::default() };
        let text = list(&BindingList { bindings: vec![shown()], removed: vec![gone] }, Some(60));
        assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
        assert!(text.contains("order 4: drain m1") && text.contains("order 9: remove m9"), "{text}");
    }

    #[test]
    fn a_binding_removed_before_is_said_to_be_so() {
        let order = OrderShown { id: 9, actor: "ann".into(), reason: "moved".into(), ..OrderShown::default() };
        assert_eq!(gone_already("m1", &order), "m1 is removed already, by order 9 (ann: moved)");
    }

    #[test]
    fn a_removal_ends_with_the_lines_to_delete() {
        let done = Done { changed: true, message: "remove m1".into(), ..Done::default() };
        let mut removal =
            Removal { done, removed: true, delete: vec!["the table [binding.m1]".into()], ..Removal::default() };
        assert!(removed("m1", &removal, None).contains("delete\n  the table [binding.m1]\n"));
        removal.removed = false;
        assert!(removed("m1", &removal, None).contains("still draining"));
    }
}
