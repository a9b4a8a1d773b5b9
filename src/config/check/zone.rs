//! One `[monitor.zone.NAME]`. No message here repeats the DNS name of a zone: it may hold a key.

use std::collections::HashMap;
use std::time::Duration;

use super::Context;
use super::context::place_of;
use super::monitor::HEAVIEST;
use super::sections::name_servers;
use crate::config::defaults::{
    NEGATIVE_NAME, NEGATIVE_PROBE, POSITIVE_NAME, POSITIVE_PROBE, UNWRITTEN_LIMIT, ZONE_WEIGHT,
};
use crate::config::mistake::Place;
use crate::config::raw::{Family, Meaning};
use crate::config::read::{At, Field, Named, OrOff};
use crate::config::{
    CodeMeaning, Families, HEAVY, Monitor, Origins, Probe, Zone, ZoneCode, ZoneKeyFile, ZoneKind, key_path, lists, raw,
};
use crate::message::ZoneName;

impl Context<'_> {
    /// `intervals`: of heavy lists and of light ones.
    pub(super) fn zone(
        &mut self,
        entry: &Named<raw::Zone>,
        raw: &raw::Zone,
        intervals: (Duration, Duration),
        names: &mut HashMap<String, Place>,
    ) -> Option<Zone> {
        let hint = "write the DNS name below which addresses are looked up, such as \"bl.example.org\"";
        let zone = raw.zone.required(&entry.place, "zone", hint, &mut self.out);
        if let Some(at) = zone {
            if let Some(first) = names.get(&at.value.0) {
                let what = format!("the same DNS name as at {}", self.lines.name(first));
                self.out.mistake(&at.place, what, "a listing would count twice");
            }
            names.entry(at.value.0.clone()).or_insert_with(|| at.place.clone());
            if let Some((domain, what)) = lists::died(at.value.bare()) {
                self.out.mistake(&at.place, format!("the list at {domain} is dead: {what}"), "take it out");
            }
        }
        self.within(&raw.weight, -HEAVIEST, HEAVIEST);
        self.not_instant(&raw.interval);
        self.not_zero(&raw.queries_per_day, "no questions a day", "leave it out for no limit, or the list itself");
        let kind = raw.kind.or(ZoneKind::Address);
        let weight = raw.weight.or(ZONE_WEIGHT);
        let codes = raw.codes.items().iter().filter_map(|code| self.zone_code(code, weight)).collect();
        let (positive, negative) = self.probes(raw, kind);
        let key_file = self.key_file(entry, raw);
        let mut made = Zone {
            name: ZoneName::new(&entry.name),
            zone: zone?.value.0.clone(),
            key_file,
            kind,
            families: self.families(raw, kind),
            servers: name_servers(&raw.servers),
            weight,
            codes,
            positive_probe: positive,
            negative_probe: negative,
            random_probe: raw.random_probe.or(true),
            interval: intervals.0,
            queries_per_day: raw.queries_per_day.value().copied().or_else(|| unwritten_limit(&entry.name, raw)),
            aliases: raw.aliases.values().iter().map(|alias| alias.to_lowercase()).collect(),
            operator: raw.operator.or(String::new()).to_lowercase(),
            terms: raw.terms.or(String::new()),
            delisting: raw.delisting.or(String::new()),
        };
        self.aliases(raw);
        let usual = if made.heaviest() >= HEAVY { intervals.0 } else { intervals.0.max(intervals.1) };
        made.interval = raw.interval.or(usual);
        Some(made)
    }

    /// Where the key lies; the place of the key in the name and the file belong together.
    fn key_file(&mut self, entry: &Named<raw::Zone>, raw: &raw::Zone) -> Option<std::path::PathBuf> {
        let is_keyed = raw.zone.value().is_some_and(raw::ZoneDomain::is_keyed);
        match raw.key_file.given() {
            Some(at) if !is_keyed && !raw.zone.is_bad() => {
                let hint = "write {key} as the first label of zone, such as zone = \"{key}.bl.example.org\"";
                self.out.mistake(&at.place, "the name of this list has no place for a key", hint);
                None
            }
            // As with include: relative to the file in which it is written.
            Some(at) => Some(self.lines.directory(&at.place).join(&at.value)),
            None if is_keyed && raw.key_file.is_missing() => {
                let what = "missing: this list is asked with a key of yours";
                self.out.mistake(&entry.place.key("key_file"), what, "write key_file = \"FILE\" with the key in it");
                None
            }
            None => None,
        }
    }

    fn families(&mut self, raw: &raw::Zone, kind: ZoneKind) -> Families {
        if let (ZoneKind::Domain, Some(place)) = (kind, place_of(&raw.families)) {
            self.out.mistake(place, "a list of domains knows no addresses", "leave it out");
        }
        let written = raw.families.values();
        let Some(at) = raw.families.given() else { return Families { ipv4: true, ipv6: false } };
        if at.value.is_written_empty() {
            self.out.mistake(&at.place, "no family: it would never be asked", "write [\"ipv4\", \"ipv6\"]");
        }
        Families { ipv4: written.contains(&Family::Ipv4), ipv6: written.contains(&Family::Ipv6) }
    }

    /// Too short an alias would be found in any reply.
    fn aliases(&mut self, raw: &raw::Zone) {
        for at in raw.aliases.items() {
            if at.value.trim().len() < 3 {
                let what = format!("{:?} would be found in replies that mean something else", at.value);
                self.out.mistake(&at.place, what, "write at least three characters");
            }
        }
    }

    fn probes(&mut self, raw: &raw::Zone, kind: ZoneKind) -> (Option<Probe>, Option<Probe>) {
        let name = |text: &str| Probe::Name(text.to_owned());
        let (positive, negative) = match kind {
            ZoneKind::Address => (POSITIVE_PROBE.into(), NEGATIVE_PROBE.into()),
            ZoneKind::Domain => (name(POSITIVE_NAME), name(NEGATIVE_NAME)),
        };
        for at in [&raw.positive_probe, &raw.negative_probe].into_iter().filter_map(Field::given) {
            let fits = !matches!(
                (&at.value, kind),
                (OrOff::On(Probe::Address(_)), ZoneKind::Domain) | (OrOff::On(Probe::Name(_)), ZoneKind::Address)
            );
            if !fits {
                let what = format!(
                    "not what a list of {} can be asked",
                    if kind == ZoneKind::Domain { "domains" } else { "addresses" }
                );
                let hint = "kind = \"domain\" is for lists of names, kind = \"address\" for lists of addresses";
                self.out.mistake(&at.place, what, hint);
            }
        }
        let positive = probe(&raw.positive_probe, positive);
        let negative = probe(&raw.negative_probe, negative);
        if let (true, Some(place)) = (
            positive.is_some() && positive == negative,
            place_of(&raw.negative_probe).or(place_of(&raw.positive_probe)),
        ) {
            self.out.mistake(place, "one address cannot be both listed and not listed", "");
        }
        (positive, negative)
    }

    fn zone_code(&mut self, At { value: raw, place }: &At<raw::ZoneCode>, zone_weight: f64) -> Option<ZoneCode> {
        let hint = "write octets = \"127.0.0.2-11\"";
        let octets = raw.octets.required(place, "octets", hint, &mut self.out);
        self.not_zero(&raw.mask, "a mask of 0 never matches", "leave it out where codes are no bit masks");
        self.within(&raw.weight, -HEAVIEST, HEAVIEST);
        let meaning = raw.meaning.or(Meaning::Listed);
        if let (true, Some(stray)) = (meaning != Meaning::Listed, place_of(&raw.certain)) {
            self.out.mistake(stray, "only a listing can be certain", "leave it out");
        }
        let weight = match (meaning, raw.weight.given()) {
            (Meaning::Refused, Some(at)) => {
                self.out.mistake(&at.place, "a refusal weighs nothing", "leave it out");
                0.0
            }
            (Meaning::Good, Some(at)) if at.value > 0.0 => {
                self.out.mistake(&at.place, "good words cannot weigh against us", "write 0 or less");
                0.0
            }
            (Meaning::Good, at) => at.map_or(0.0, |at| at.value),
            (_, at) => at.map_or(zone_weight, |at| at.value),
        };
        let meaning = match meaning {
            Meaning::Listed => CodeMeaning::Listed { weight, certain: raw.certain.or(false) },
            Meaning::Refused => CodeMeaning::Refused,
            Meaning::Good => CodeMeaning::Good { weight },
        };
        Some(ZoneCode { octets: octets?.value.0, mask: raw.mask.value().copied(), meaning })
    }
}

fn probe(field: &Field<OrOff<Probe>>, default: Probe) -> Option<Probe> {
    match field.value() {
        None => Some(default),
        Some(OrOff::On(probe)) => Some(probe.clone()),
        Some(OrOff::Off) => None,
    }
}

/// The key files of zones, and where they are written.
pub(super) fn zone_keys(monitor: &Monitor, origins: &Origins) -> Vec<ZoneKeyFile> {
    let of = |zone: &Zone| {
        let path = key_path(["monitor", "zone", zone.name.as_str(), "key_file"]);
        let file = zone.key_file.clone()?;
        Some(ZoneKeyFile { zone: zone.name.clone(), file, at: origins.get(&path).cloned() })
    };
    monitor.zones.iter().filter_map(of).collect()
}

/// The limit of a shipped list that publishes none, as long as we ask it and not a mirror of our own.
fn unwritten_limit(name: &str, raw: &raw::Zone) -> Option<u64> {
    (lists::is_shipped(name) && raw.servers.items().is_empty()).then_some(UNWRITTEN_LIMIT)
}
