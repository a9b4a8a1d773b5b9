//! `[monitor]` as a whole; its zones are in [`super::zone`].

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::Context;
use super::context::{place_of, section};
use super::sections::name_servers;
use crate::config::mistake::Place;
use crate::config::read::{At, Field, Named, OrOff};
use crate::config::{Binding, Monitor, Zone, ZoneKind, raw};

/// Weights beyond this are typing errors: 4 suspends.
pub(super) const HEAVIEST: f64 = 100.0;

/// Own addresses that are asked about in every round, besides those that send.
const SENTINELS_MAX: usize = 8;

/// So many addresses may be newly listed at once, however few there are.
const ALWAYS_BELIEVED: usize = 3;

impl Context<'_> {
    pub(super) fn monitor(&mut self, file: &raw::File) -> Monitor {
        let raw = section(&file.monitor);
        let default = Monitor::default();
        self.not_instant(&raw.interval);
        self.not_instant(&raw.light_interval);
        self.not_instant(&raw.timeout);
        self.not_instant(&raw.spf_interval);
        self.not_too_often(&raw.self_check);
        self.within(&raw.jitter, 0.0, 0.5);
        self.at_least_one(&raw.confirmations);
        self.within(&raw.throttle_weight, 0.0, HEAVIEST);
        self.within(&raw.suspend_weight, 0.0, HEAVIEST);
        self.within(&raw.blast_radius, 0.0, 1.0);
        let throttle_weight = raw.throttle_weight.or(default.throttle_weight);
        let suspend_weight = raw.suspend_weight.or(default.suspend_weight);
        self.not_above(
            (throttle_weight, place_of(&raw.throttle_weight)),
            (suspend_weight, place_of(&raw.suspend_weight)),
            "throttle_weight is above suspend_weight",
        );
        let intervals = (raw.interval.or(default.interval), raw.light_interval.or(default.light_interval));
        let mut zones = Vec::new();
        let mut names: HashMap<String, Place> = HashMap::new();
        for (entry, raw) in self.named(&raw.zone) {
            zones.extend(self.zone(entry, raw, intervals, &mut names));
        }
        Monitor {
            interval: intervals.0,
            light_interval: intervals.1,
            jitter: raw.jitter.or(default.jitter),
            timeout: raw.timeout.or(default.timeout),
            confirmations: raw.confirmations.or(default.confirmations),
            confirm_after: raw.confirm_after.or(default.confirm_after),
            throttle_weight,
            suspend_weight,
            blast_radius: raw.blast_radius.or(default.blast_radius),
            sentinels: self.sentinels(&raw),
            fcrdns: raw.fcrdns.or(default.fcrdns),
            spf: raw.spf.or(default.spf),
            spf_interval: raw.spf_interval.or(default.spf_interval),
            ipv6_names: raw.ipv6_names.or(default.ipv6_names),
            self_check: match raw.self_check.value() {
                None => default.self_check,
                Some(OrOff::On(every)) => Some(*every),
                Some(OrOff::Off) => None,
            },
            servers: name_servers(&raw.servers),
            second_servers: name_servers(&raw.second_servers),
            zones,
        }
    }

    fn not_too_often(&mut self, field: &Field<OrOff<Duration>>) {
        if let Some(At { value: OrOff::On(every), place }) = field.given()
            && every.is_zero()
        {
            self.out.mistake(place, "must be longer than 0", "write false for no check");
        }
    }

    fn sentinels(&mut self, raw: &raw::Monitor) -> Vec<IpAddr> {
        let items = raw.sentinels.items();
        if let Some(at) = items.get(SENTINELS_MAX) {
            let what = format!("more than {SENTINELS_MAX} sentinels: every list is asked about each in every round");
            self.out.mistake(&at.place, what, "two or three say as much");
        }
        items.iter().map(|at| at.value).collect()
    }

    /// Where all addresses lie side by side nobody is left to tell a listing of their network from a broken list, and the
    /// blast radius keeps a good one from being believed until replies name it.
    pub(super) fn check_witnesses(&mut self, file: &raw::File, bindings: &[Arc<Binding>], monitor: &Monitor) {
        let matters = |zone: &Zone| zone.kind == ZoneKind::Address && zone.heaviest() >= monitor.throttle_weight;
        if !monitor.sentinels.is_empty() || !monitor.zones.iter().any(matters) {
            return;
        }
        let addresses: BTreeSet<IpAddr> =
            bindings.iter().flat_map(|binding| binding.publics().to_canonical().iter()).collect();
        let wide = |address: &IpAddr| {
            IpNet::new(*address, if address.is_ipv4() { 24 } else { 48 }).ok().map(|network| network.trunc())
        };
        let networks: BTreeSet<IpNet> = addresses.iter().filter_map(wide).collect();
        let Some(at) = file.monitor.given() else { return };
        if addresses.len() > ALWAYS_BELIEVED && networks.len() <= 2 {
            let shown = networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
            let what = format!(
                "all public addresses lie in {shown}: a list that names all of them at once is taken for a broken one, \
                 until a receiver's reply names it"
            );
            let hint = "write sentinels = [\"ADDRESS\"]: one elsewhere that never sends mail";
            self.out.warning(&at.place.key("sentinels"), what, hint);
        }
    }

    /// Says where a list's terms stretch the time between rounds, and by how much.
    pub(super) fn check_budgets(&mut self, file: &raw::File, bindings: &[Arc<Binding>], monitor: &Monitor) {
        let addresses: usize = bindings.iter().map(|binding| binding.publics().iter().count()).sum();
        let entries = file.monitor.value().map_or(&[][..], |raw| raw.zone.entries());
        for zone in monitor.zones.iter().filter(|zone| zone.kind == ZoneKind::Address) {
            let subjects = addresses + monitor.sentinels.len();
            let every = zone.round_every(subjects);
            let Some(place) = stretched(zone, every, entries) else { continue };
            let (per_day, asked) = (zone.queries_per_day.unwrap_or(0), zone.questions(subjects));
            let wanted = asked as f64 * 86_400.0 / zone.interval.as_secs_f64().max(0.001);
            let what = format!(
                "{asked} questions every {} are {wanted:.0} a day, more than the {per_day} of queries_per_day: \
                 rounds will be {} apart",
                minutes(zone.interval),
                minutes(every),
            );
            self.out.warning(&place, what, "ask the list for more and raise queries_per_day, or run a mirror of it");
        }
    }
}

fn stretched(zone: &Zone, every: Duration, entries: &[Named<raw::Zone>]) -> Option<Place> {
    let entry = entries.iter().find(|entry| entry.name == zone.name.as_str());
    entry.filter(|_| every > zone.interval).map(|entry| entry.place.clone())
}

fn minutes(span: Duration) -> String {
    if span.as_secs() < 60 {
        format!("{:.1} s", span.as_secs_f64())
    } else {
        format!("{:.0} min", span.as_secs_f64() / 60.0)
    }
}
