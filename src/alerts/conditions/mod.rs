//! (pure) Which conditions hold in a [`View`].
//!
//! A condition is the name of an alert, the labels that tell one from another, and words. Where the view cannot tell —
//! no list has been asked yet, too little was counted since the start — it says so ([`Doubt`]): what fires goes on firing,
//! and nothing begins. Without that, every restart would end alerts and begin them again minutes later.
//!
//! Labels are names from the configuration, and destinations of routes. Words may quote what others wrote (replies,
//! answers of lists); [`Condition::new`] makes them visible and short.

mod feeds;
mod mail;
mod pools;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::view::{OutView, View};
use crate::clock::Wall;
use crate::config::{AlertName, Alerts};
use crate::outcome::template::visible;

/// Labels in order of their names.
pub type Labels = BTreeMap<String, String>;

/// Characters of words that are kept.
const WORDS_MAX: usize = 600;

/// Something is so.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// Which alert.
    pub name: AlertName,
    /// What tells it from others of its name.
    pub labels: Labels,
    /// In one line.
    pub summary: String,
    /// With evidence.
    pub description: String,
    /// Where this changes, the condition has begun anew (the stage of a warm-up that is stalled).
    pub episode: String,
}

impl Condition {
    fn new(name: AlertName, labels: &[(&str, &str)], summary: String, description: String) -> Self {
        let labels = labels.iter().filter(|(_, value)| !value.is_empty());
        Self {
            name,
            labels: labels.map(|(key, value)| ((*key).to_owned(), words(value))).collect(),
            summary: words(&summary),
            description: words(&description),
            episode: String::new(),
        }
    }
}

/// It cannot be said of these.
#[derive(Clone, Debug, PartialEq)]
pub struct Doubt {
    /// Which alert.
    pub name: AlertName,
    /// Of those that have these labels; none: of all of the name.
    pub labels: Labels,
}

impl Doubt {
    fn new(name: AlertName, labels: &[(&str, &str)]) -> Self {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), words(value)));
        Self { name, labels: labels.collect() }
    }

    /// Whether it is about the alert with this name and these labels.
    pub fn covers(&self, name: AlertName, labels: &Labels) -> bool {
        self.name == name && self.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
    }
}

/// What a view says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judgement {
    /// What is so.
    pub conditions: Vec<Condition>,
    /// What cannot be told.
    pub doubts: Vec<Doubt>,
}

impl Judgement {
    fn say(&mut self, name: AlertName, labels: &[(&str, &str)], summary: String, description: String) {
        self.conditions.push(Condition::new(name, labels, summary, description));
    }
}

/// What `view` says, by the thresholds and rules of `alerts`.
pub fn of(view: &View, alerts: &Alerts, now: Wall) -> Judgement {
    let mut out = Judgement::default();
    bindings(view, &mut out);
    listings(view, alerts, &mut out);
    domains(view, alerts, &mut out);
    reverse(view, &mut out);
    resolvers(view, &mut out);
    spf(view, alerts, &mut out);
    pools::pools(view, &mut out);
    pools::caps(view, alerts, &mut out);
    pools::warmups(view, &mut out);
    mail::ratios(view, alerts, &mut out);
    mail::waiting(view, alerts, now, &mut out);
    mail::holds(view, &mut out);
    mail::relay(view, alerts, &mut out);
    feeds::feeds(view, alerts, now, &mut out);
    out.conditions.retain(|condition| alerts.rule(condition.name).enabled);
    out
}

fn bindings(view: &View, out: &mut Judgement) {
    for binding in &view.bindings {
        let name = binding.name.as_str();
        if binding.own.suspended && !binding.own.wanted {
            let labels = [("binding", name)];
            let summary = format!("binding {name} is suspended: {}", binding.own.reason);
            out.say(AlertName::BindingSuspended, &labels, summary, because(&binding.own));
        }
        // What is out everywhere is out there as well: one alert says so.
        let routes = binding.routes.iter().filter(|route| route.suspended && !route.wanted && !binding.own.suspended);
        for route in routes {
            let labels = [("binding", name), ("destination", route.destination.as_str())];
            let summary = format!("binding {name} is suspended at {}: {}", route.destination, route.reason);
            out.say(AlertName::RouteSuspended, &labels, summary, because(route));
        }
    }
}

fn because(what: &OutView) -> String {
    let until = match what.until {
        Some(until) => format!("until {until}"),
        None => "until its cause is gone".to_owned(),
    };
    if what.evidence.is_empty() {
        format!("It carries no mail {until}.")
    } else {
        format!("It carries no mail {until}. Evidence: {}", what.evidence)
    }
}

fn listings(view: &View, alerts: &Alerts, out: &mut Judgement) {
    for zone in &view.zones {
        let labels = [("zone", zone.name.as_str())];
        match zone.health.as_str() {
            "healthy" => {}
            "probing" => out.doubts.push(Doubt::new(AlertName::ZoneUnhealthy, &labels)),
            health => out.say(
                AlertName::ZoneUnhealthy,
                &labels,
                format!("list {} is {health}", zone.name),
                format!("It is not believed, so a listing there would not be seen. {}", zone.reason),
            ),
        }
    }
    for listing in &view.listings {
        let labels = [("binding", listing.binding.as_str()), ("zone", listing.zone.as_str())];
        match listing.listed {
            None => out.doubts.push(Doubt::new(AlertName::BindingListed, &labels)),
            Some(true) if listing.weight >= alerts.limits.listing_weight => out.say(
                AlertName::BindingListed,
                &labels,
                format!("the address of binding {} is listed by {}", listing.binding, listing.zone),
                format!("Return codes {}, weight {}; confirmed over time.", listing.codes, listing.weight),
            ),
            Some(_) => {}
        }
    }
}

/// Domains, and bindings of each, named in one text.
const NAMED_MAX: usize = 5;

fn domains(view: &View, alerts: &Alerts, out: &mut Judgement) {
    for list in &view.domains {
        let labels = [("zone", list.zone.as_str())];
        let heavy = list.listed.iter().filter(|(.., weight)| *weight >= alerts.limits.listing_weight);
        let named: Vec<String> =
            heavy.map(|(domain, bindings, _)| format!("{domain} ({})", first(bindings, NAMED_MAX))).collect();
        if !named.is_empty() {
            out.say(
                AlertName::DomainListed,
                &labels,
                format!("{} lists a domain that bindings go by", list.zone),
                format!(
                    "{}. It would be listed from any address: bindings are throttled for it at most, and others \
                     that use it are refused as well.",
                    first(&named, NAMED_MAX)
                ),
            );
        } else if list.has_unknown {
            out.doubts.push(Doubt::new(AlertName::DomainListed, &labels));
        }
    }
}

/// At most `max` of them, and how many more there are.
fn first(names: &[String], max: usize) -> String {
    let shown = names.iter().take(max).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = names.len().saturating_sub(max);
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

fn reverse(view: &View, out: &mut Judgement) {
    for binding in &view.reverse {
        let labels = [("binding", binding.binding.as_str())];
        match binding.confirmed {
            None => out.doubts.push(Doubt::new(AlertName::ReverseDnsBroken, &labels)),
            Some(true) => {}
            Some(false) => out.say(
                AlertName::ReverseDnsBroken,
                &labels,
                format!("reverse DNS of binding {} is broken", binding.binding),
                binding.detail.clone(),
            ),
        }
    }
}

fn resolvers(view: &View, out: &mut Judgement) {
    let Some(checks) = &view.resolvers else {
        return out.doubts.push(Doubt::new(AlertName::ResolverDistrusted, &[]));
    };
    for seen in checks {
        let labels = [("purpose", seen.purpose.as_str()), ("check", seen.check.as_str())];
        match seen.good {
            None => out.doubts.push(Doubt::new(AlertName::ResolverDistrusted, &labels)),
            Some(true) => {}
            Some(false) => out.say(
                AlertName::ResolverDistrusted,
                &labels,
                format!("the name servers for {} cannot be trusted ({})", seen.purpose, seen.check),
                seen.detail.clone(),
            ),
        }
    }
}

fn spf(view: &View, alerts: &Alerts, out: &mut Judgement) {
    // Soon after a start most is not asked yet; what is unknown for longer may stay so and keeps nothing open.
    let is_fresh = view.window_span < alerts.limits.window;
    for seen in &view.spf {
        let labels = [("tenant", seen.tenant.as_str()), ("pool", seen.pool.as_str())];
        if seen.uncovered > 0 {
            out.say(
                AlertName::SpfNotCovered,
                &labels,
                format!(
                    "SPF of {} domains of tenant {} covers no binding of pool {}",
                    seen.uncovered, seen.tenant, seen.pool
                ),
                "remuda explain and /api/v1/spf name them; their mail fails SPF wherever it leaves.".into(),
            );
        } else if seen.has_unknown && is_fresh {
            out.doubts.push(Doubt::new(AlertName::SpfNotCovered, &labels));
        }
    }
}

/// `text` on one line, with nothing invisible, cut where it gets long.
pub(super) fn words(text: &str) -> String {
    let shown = visible(text.trim().chars().take(WORDS_MAX + 1));
    match shown.char_indices().nth(WORDS_MAX) {
        Some((end, _)) => format!("{}…", &shown[..end]),
        None => shown,
    }
}
