//! `[[event]]`: when, for how long, and the one thing that happens.

use std::time::Duration;

use super::forms::within;
use super::raw::{BlockTable, DeclineTable, DiesTable, EventTable, ListingTable, SourTable};
use super::{Death, Event, Happening, Outage};
use crate::config::mistake::{Findings, Place};
use crate::config::read::{At, Field, List};
use crate::config::suggest;
use crate::message::{BindingName, ProviderName};

pub(super) fn event(table: &EventTable, days: u32, out: &mut Findings) -> Option<Event> {
    let place = &table.place;
    let at = table.at.required(place, "at", "when, such as \"3d 10:00\"", out);
    if let Some(at) = at.filter(|at| at.value.0 >= Duration::from_secs(u64::from(days) * 86_400)) {
        out.mistake(&at.place, format!("the scenario lasts {days} days"), "");
    }
    if let Some(lasts) = table.lasts.given().filter(|lasts| lasts.value.is_zero()) {
        out.mistake(&lasts.place, "must be longer than 0", "leave it out for good");
    }
    let what = happening(table, out);
    if let (Some(Happening::Crash), Some(lasts)) = (&what, table.lasts.given()) {
        out.mistake(&lasts.place, "a crash takes no time", "leave it out");
    }
    Some(Event { at: at?.value.0, lasts: table.lasts.value().copied(), what: what? })
}

/// The one thing that happens.
fn happening(table: &EventTable, out: &mut Findings) -> Option<Happening> {
    let written = [
        !table.block.is_missing(),
        !table.range.is_missing(),
        !table.sour.is_missing(),
        !table.decline.is_missing(),
        !table.outage.is_missing(),
        !table.listing.is_missing(),
        !table.dies.is_missing(),
        !table.suspend.is_missing(),
        !table.quality.is_missing(),
        !table.volume.is_missing(),
        !table.crash.is_missing(),
    ];
    if written.iter().filter(|written| **written).count() != 1 {
        let hint = "write one of block, range, sour, decline, outage, listing, dies, suspend, quality, volume, crash";
        out.mistake(&table.place, "an event is one thing that happens", hint);
        return None;
    }
    if let Some(at) = table.block.given() {
        let (receiver, bindings) = receiver_and_bindings(&at.value, out)?;
        return Some(Happening::Block { receiver, bindings });
    }
    if let Some(at) = table.range.given() {
        let (receiver, bindings) = receiver_and_bindings(&at.value, out)?;
        return Some(Happening::Range { receiver, bindings });
    }
    if let Some(at) = table.sour.given() {
        return sour(&at.value, out);
    }
    if let Some(at) = table.decline.given() {
        return decline(&at.value, out);
    }
    if let Some(at) = table.outage.given() {
        let receiver = required_name(&at.value.0.receiver, &at.value.0.place, "receiver", out);
        return Some(Happening::Outage { receiver: receiver?.into(), how: at.value.0.how.or(Outage::Down) });
    }
    if let Some(at) = table.dies.given() {
        return dies(&at.value, out);
    }
    if let Some(at) = table.listing.given() {
        return listing(&at.value, out);
    }
    if let Some(at) = table.quality.given() {
        let tenant = required_name(&at.value.tenant, &at.value.place, "tenant", out);
        let quality = at.value.figures.quality(out);
        return Some(Happening::Quality { tenant: tenant?.into(), quality });
    }
    if let Some(at) = table.volume.given() {
        let tenant = required_name(&at.value.tenant, &at.value.place, "tenant", out);
        within(&at.value.factor, 0.0, 1000.0, out);
        let factor = at.value.factor.required(&at.value.place, "factor", "how many times its usual volume", out);
        return Some(Happening::Volume { tenant: tenant?.into(), factor: factor?.value });
    }
    if let Some(at) = table.crash.given() {
        if !at.value {
            out.mistake(&at.place, "nothing would happen", "write crash = true or leave the event out");
        }
        return Some(Happening::Crash);
    }
    table.suspend.value().map(|binding| Happening::Suspend { binding: binding.as_str().into() })
}

fn receiver_and_bindings(table: &BlockTable, out: &mut Findings) -> Option<(ProviderName, Vec<BindingName>)> {
    let receiver = required_name(&table.receiver, &table.place, "receiver", out);
    let bindings = bindings(&table.bindings, &table.place, out);
    Some((receiver?.into(), bindings?))
}

fn sour(table: &SourTable, out: &mut Findings) -> Option<Happening> {
    let binding = required_name(&table.binding, &table.place, "binding", out);
    if let Some(at) = table.receivers.given().filter(|at| at.value.is_written_empty()) {
        out.mistake(&at.place, "no receivers", "leave it out for all");
    }
    within(&table.reputation, 0.0, 1.0, out);
    let reputation = table.reputation.required(&table.place, "reputation", "no higher than this, such as 0.1", out);
    let receivers = table.receivers.values().iter().map(ProviderName::new).collect();
    Some(Happening::Sour { binding: binding?.into(), receivers, reputation: reputation?.value })
}

fn decline(table: &DeclineTable, out: &mut Findings) -> Option<Happening> {
    let binding = required_name(&table.binding, &table.place, "binding", out);
    let receiver = required_name(&table.receiver, &table.place, "receiver", out);
    within(&table.per_day, 0.0, 24.0, out);
    let per_day = table.per_day.required(&table.place, "per_day", "how much reputation a day costs, such as 0.25", out);
    Some(Happening::Decline { binding: binding?.into(), receiver: receiver?.into(), per_day: per_day?.value })
}

fn dies(table: &DiesTable, out: &mut Findings) -> Option<Happening> {
    let list = required_name(&table.list, &table.place, "list", out);
    let how = table.how.or(Death::Loud);
    if let Some(at) = table.receivers_believe.given().filter(|at| at.value && !how.answers()) {
        out.mistake(&at.place, "there is no answer to believe", "only loud, parked and refusing lists give one");
    }
    Some(Happening::Dies { zone: list?.into(), how, receivers_believe: table.receivers_believe.or(false) })
}

fn listing(table: &ListingTable, out: &mut Findings) -> Option<Happening> {
    let list = required_name(&table.list, &table.place, "list", out);
    let bindings = bindings(&table.bindings, &table.place, out);
    Some(Happening::Listing { zone: list?.into(), bindings: bindings? })
}

fn required_name<'a>(field: &'a Field<String>, place: &Place, key: &str, out: &mut Findings) -> Option<&'a str> {
    field.required(place, key, "", out).map(|at| at.value.as_str())
}

fn bindings(field: &Field<List<String>>, place: &Place, out: &mut Findings) -> Option<Vec<BindingName>> {
    let hint = "write bindings = [\"mta1\"]";
    let given: &At<List<String>> = field.required(place, "bindings", hint, out)?;
    if given.value.is_written_empty() {
        out.mistake(&given.place, "no bindings", hint);
    }
    Some(field.values().iter().map(BindingName::new).collect())
}

/// An event about the mail of a tenant that sends none does nothing.
pub(super) fn senders_of_events(table: &EventTable, tenants: &[&str], out: &mut Findings) {
    let quality = table.quality.given().and_then(|at| at.value.tenant.given());
    let volume = table.volume.given().and_then(|at| at.value.tenant.given());
    for at in [quality, volume].into_iter().flatten() {
        if !tenants.contains(&at.value.as_str()) {
            let hint = suggest(&at.value, tenants.iter().copied());
            out.mistake(&at.place, format!("tenant {:?} has no traffic here", at.value), hint);
        }
    }
}
