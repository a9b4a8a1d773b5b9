//! The monitor and its zones. No message here repeats the DNS name of a zone: it may hold a key.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::sections::name_servers;
use super::{Context, Named, place_of, section};
use crate::config::defaults::{NEGATIVE_PROBE, POSITIVE_PROBE, ZONE_WEIGHT};
use crate::config::mistake::Place;
use crate::config::raw::Meaning;
use crate::config::read::{At, Field, OrOff};
use crate::config::{CodeMeaning, Monitor, Zone, ZoneCode, raw};
use crate::message::ZoneName;

/// Weights beyond this are typing errors: 4 suspends.
const HEAVIEST: f64 = 100.0;

impl Context<'_> {
    pub(super) fn monitor(&mut self, file: &raw::File) -> Monitor {
        let raw = section(&file.monitor);
        let default = Monitor::default();
        self.not_instant(&raw.interval);
        self.not_instant(&raw.timeout);
        self.not_too_often(&raw.self_check);
        self.not_instant(&raw.spf_interval);
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
        let mut zones = Vec::new();
        let mut names: HashMap<String, Place> = HashMap::new();
        for (entry, raw) in self.named(&raw.zone) {
            zones.extend(self.zone(entry, raw, &mut names));
        }
        Monitor {
            interval: raw.interval.or(default.interval),
            jitter: raw.jitter.or(default.jitter),
            timeout: raw.timeout.or(default.timeout),
            confirmations: raw.confirmations.or(default.confirmations),
            confirm_after: raw.confirm_after.or(default.confirm_after),
            throttle_weight,
            suspend_weight,
            blast_radius: raw.blast_radius.or(default.blast_radius),
            fcrdns: raw.fcrdns.or(default.fcrdns),
            ipv6_names: raw.ipv6_names.or(default.ipv6_names),
            self_check: match raw.self_check.value() {
                None => default.self_check,
                Some(OrOff::On(every)) => Some(*every),
                Some(OrOff::Off) => None,
            },
            spf: raw.spf.or(default.spf),
            spf_interval: raw.spf_interval.or(default.spf_interval),
            servers: name_servers(&raw.servers),
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

    fn zone(&mut self, entry: &Named<raw::Zone>, raw: &raw::Zone, names: &mut HashMap<String, Place>) -> Option<Zone> {
        let hint = "write the DNS name below which addresses are looked up, such as \"bl.example.org\"";
        let zone = raw.zone.required(&entry.place, "zone", hint, &mut self.out);
        if let Some(at) = zone {
            if let Some(first) = names.get(&at.value.0) {
                let what = format!("the same DNS name as at {}", self.lines.name(first));
                self.out.mistake(&at.place, what, "a listing would count twice");
            }
            names.entry(at.value.0.clone()).or_insert_with(|| at.place.clone());
        }
        self.within(&raw.weight, -HEAVIEST, HEAVIEST);
        let weight = raw.weight.or(ZONE_WEIGHT);
        let codes = raw.codes.items().iter().filter_map(|code| self.zone_code(code, weight)).collect();
        let positive_probe = probe(&raw.positive_probe, POSITIVE_PROBE);
        let negative_probe = probe(&raw.negative_probe, NEGATIVE_PROBE);
        if let (true, Some(place)) = (
            positive_probe.is_some() && positive_probe == negative_probe,
            place_of(&raw.negative_probe).or(place_of(&raw.positive_probe)),
        ) {
            self.out.mistake(place, "one address cannot be both listed and not listed", "");
        }
        Some(Zone {
            name: ZoneName::new(&entry.name),
            zone: zone?.value.0.clone(),
            servers: name_servers(&raw.servers),
            weight,
            codes,
            positive_probe,
            negative_probe,
        })
    }

    fn zone_code(&mut self, At { value: raw, place }: &At<raw::ZoneCode>, zone_weight: f64) -> Option<ZoneCode> {
        let hint = "write octets = \"127.0.0.2-11\"";
        let octets = raw.octets.required(place, "octets", hint, &mut self.out);
        self.not_zero(&raw.mask, "a mask of 0 never matches", "leave it out where codes are no bit masks");
        self.within(&raw.weight, -HEAVIEST, HEAVIEST);
        let meaning = raw.meaning.or(Meaning::Listed);
        if meaning != Meaning::Listed {
            for stray in place_of(&raw.weight).into_iter().chain(place_of(&raw.certain)) {
                self.out.mistake(stray, "only a listing has a weight or can be certain", "leave it out");
            }
        }
        let meaning = match meaning {
            Meaning::Listed => {
                CodeMeaning::Listed { weight: raw.weight.or(zone_weight), certain: raw.certain.or(false) }
            }
            Meaning::Refused => CodeMeaning::Refused,
            Meaning::Good => CodeMeaning::Good,
        };
        Some(ZoneCode { octets: octets?.value.0, mask: raw.mask.value().copied(), meaning })
    }
}

fn probe(field: &Field<OrOff<IpAddr>>, default: IpAddr) -> Option<IpAddr> {
    match field.value() {
        None => Some(default),
        Some(OrOff::On(address)) => Some(*address),
        Some(OrOff::Off) => None,
    }
}
