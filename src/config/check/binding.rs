//! Bindings, their limits, ladders and warm-up.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Context;
use super::context::{host_name, section};
use crate::config::defaults::{LADDER, LADDERS};
use crate::config::mistake::{Place, suggest};
use crate::config::read::{At, Named, OneOrMore};
use crate::config::{
    Addresses, Binding, EhloName, Family, Limits, Monitor, Second, Warmup, WarmupRules, WarmupStart, raw,
};
use crate::message::{BindingName, ProviderName};

/// Shortest [`WarmupRules::cool_after`].
const COOL_AFTER_MIN: Duration = Duration::from_secs(7 * 86_400);

pub(super) type Ladders = HashMap<String, Arc<[u64]>>;

impl Context<'_> {
    pub(super) fn bindings(&mut self, file: &raw::File, ladders: &Ladders) -> Vec<Arc<Binding>> {
        let mut addresses: HashMap<IpAddr, (String, Place)> = HashMap::new();
        let mut bindings = Vec::new();
        for (entry, raw) in self.named(&file.binding) {
            let hint = "write the source address of its connections, such as bind_address = \"192.0.2.1\"";
            // Asked at the name: the table itself may begin with a sub-table far below.
            let written = raw.bind_address.required(&entry.place, "bind_address", hint, &mut self.out);
            for at in written.iter().flat_map(|written| &written.value.items) {
                self.check_source_address(at.value, &at.place);
                let first = addresses.entry(at.value).or_insert_with(|| (entry.name.clone(), at.place.clone()));
                if first.0 != entry.name {
                    let (name, line) = (&first.0, self.lines.name(&first.1));
                    let what = format!("{} is the bind_address of binding {name:?} already, at {line}", at.value);
                    self.out.mistake(
                        &at.place,
                        what,
                        "two bindings cannot share an address: they share its reputation",
                    );
                }
            }
            let sources = written.and_then(|written| self.of_each_family("bind_address", written));
            let binding = self.binding(entry, raw, sources, ladders);
            bindings.extend(binding.map(Arc::new));
        }
        bindings
    }

    fn binding(
        &mut self,
        entry: &Named<raw::Binding>,
        raw: &raw::Binding,
        sources: Option<Addresses>,
        ladders: &Ladders,
    ) -> Option<Binding> {
        let publics = self.public_addresses(raw, sources);
        let prefer = self.prefer(raw, sources);
        let limits = self.limits(&raw.limits);
        let provider = self.provider_limits(raw, &limits);
        let provider_warmup = self.provider_warmup(raw, ladders);
        let warmup =
            raw.warmup.value().and_then(|warmup| self.warmup(warmup, raw.warmup.given()?.place.clone(), ladders));
        if let Some(at) = raw.region.given() {
            self.check_name(&at.value, &at.place);
        }
        let ehlo_hostname = self.ehlo_hostname(raw);
        let via = self.via(raw);
        let sources = sources?;
        let public = |bound: IpAddr| publics.and_then(|publics| publics.of(Family::of(bound))).unwrap_or(bound);
        Some(Binding {
            name: BindingName::new(&entry.name),
            bind_address: sources.first(),
            public_address: public(sources.first()),
            second: sources.second().map(|bound| Second { bind_address: bound, public_address: public(bound) }),
            prefer: prefer.unwrap_or(Family::of(sources.first())),
            ehlo_hostname: ehlo_hostname?,
            limits,
            provider,
            warmup,
            provider_warmup,
            suspend_delivery: raw.suspend_delivery.or(false),
            region: raw.region.value().cloned(),
            via,
        })
    }

    /// At most one address of each family.
    fn of_each_family(&mut self, key: &str, written: &At<OneOrMore<IpAddr>>) -> Option<Addresses> {
        let Some(first) = written.value.items.first() else {
            self.out.mistake(&written.place, "no address", format!("write {key} = \"192.0.2.1\""));
            return None;
        };
        let mut found = Addresses::from(first.value);
        for at in &written.value.items[1..] {
            let family = Family::of(at.value);
            if found.of(family).is_some() {
                let what =
                    format!("{} is a second {} address; a binding has one of each family", at.value, family.name());
                let hint = if key == "bind_address" { "make a binding of its own of it" } else { "" };
                self.out.mistake(&at.place, what, hint);
            } else {
                found = Addresses::new(first.value, Some(at.value));
            }
        }
        Some(found)
    }

    /// Those that are written, each of a family that it is bound in.
    fn public_addresses(&mut self, raw: &raw::Binding, sources: Option<Addresses>) -> Option<Addresses> {
        let written = raw.public_address.given()?;
        let sources = sources?;
        let is_plain = !written.value.is_list && sources.second().is_none();
        for at in &written.value.items {
            let family = Family::of(at.value);
            if sources.of(family).is_none() {
                let what = match is_plain {
                    true => "public_address and bind_address are of different families".to_owned(),
                    false => format!("{} is of {}, and bind_address is not", at.value, family.name()),
                };
                let hint = if is_plain { "" } else { "write its inner address of that family in bind_address" };
                self.out.mistake(&at.place, what, hint);
            } else if at.value.is_unspecified() || at.value.is_multicast() {
                self.out.mistake(&at.place, format!("{} is no address of a host", at.value), "");
            }
        }
        self.of_each_family("public_address", written)
    }

    fn prefer(&mut self, raw: &raw::Binding, sources: Option<Addresses>) -> Option<Family> {
        let at = raw.prefer.given()?;
        let family = match at.value {
            raw::Family::Ipv4 => Family::V4,
            raw::Family::Ipv6 => Family::V6,
        };
        if sources.is_some_and(|sources| sources.of(family).is_none()) {
            let what = format!("the binding has no {} address to prefer", family.name());
            self.out.mistake(
                &at.place,
                what,
                "write one of each family: bind_address = [\"192.0.2.1\", \"2001:db8::1\"]",
            );
        }
        Some(family)
    }

    fn check_source_address(&mut self, address: IpAddr, place: &Place) {
        if address.is_unspecified() {
            let hint = "write the one address it shall send from: the system must never choose";
            self.out.mistake(place, format!("{address} is every address of the host"), hint);
        } else if address.is_multicast() || address == IpAddr::V4(std::net::Ipv4Addr::BROADCAST) {
            self.out.mistake(place, format!("{address} cannot be the source of a connection"), "");
        } else if let IpAddr::V6(v6) = address
            && let Some(v4) = v6.to_ipv4_mapped()
        {
            self.out.mistake(place, format!("{address} is an IPv4 address in IPv6 dress"), format!("write \"{v4}\""));
        }
    }

    /// `"hostname"`, `"message"` or a full host name.
    fn ehlo_hostname(&mut self, raw: &raw::Binding) -> Option<EhloName> {
        let Some(at) = raw.ehlo_hostname.given() else { return Some(EhloName::Hostname) };
        match at.value.as_str() {
            "hostname" => Some(EhloName::Hostname),
            "message" => Some(EhloName::Message),
            text => {
                let name = host_name(at, &mut self.out)?;
                if !name.as_str().contains(['.', ':']) {
                    let near = suggest(text, ["hostname", "message"]);
                    let hint = if near.ends_with('?') {
                        near
                    } else {
                        "write it with its domain, such as \"mta1.example.net\"".to_owned()
                    };
                    self.out.mistake(&at.place, format!("{text:?} is no full host name (RFC 5321 §2.3.5)"), hint);
                    return None;
                }
                Some(EhloName::Literal(name))
            }
        }
    }

    /// Limits towards single providers; none may promise more than the binding as a whole has.
    fn provider_limits(&mut self, raw: &raw::Binding, whole: &Limits) -> BTreeMap<ProviderName, Limits> {
        let mut limits = BTreeMap::new();
        for entry in raw.provider.entries() {
            if !self.providers.refer(&entry.name, &entry.place, &mut self.out) {
                continue;
            }
            let Some(raw) = &entry.value else { continue };
            let raw = &raw.limits;
            let here = self.limits(raw);
            if let (Some(cap), Some(all), Some(at)) = (here.daily_cap, whole.daily_cap, raw.daily_cap.given())
                && cap > all
            {
                let what = format!("{cap} is above the binding's own daily_cap of {all}");
                self.out.mistake(&at.place, what, "it could never be used: lower it or leave it out");
            }
            if let (Some(count), Some(all), Some(at)) =
                (here.max_outbound_connections, whole.max_outbound_connections, raw.max_outbound_connections.given())
                && count > all
            {
                let what = format!("{count} is above the binding's own max_outbound_connections of {all}");
                self.out.mistake(&at.place, what, "it could never be reached: lower it or leave it out");
            }
            limits.insert(ProviderName::new(&entry.name), here);
        }
        limits
    }

    /// Warm-ups towards single providers.
    fn provider_warmup(&mut self, raw: &raw::Binding, ladders: &Ladders) -> BTreeMap<ProviderName, Warmup> {
        let mut warmups = BTreeMap::new();
        for entry in raw.provider.entries() {
            let Some(At { value, place }) = entry.value.as_ref().and_then(|raw| raw.warmup.given()) else { continue };
            let warmup = self.warmup(value, place.clone(), ladders);
            warmups.extend(warmup.map(|warmup| (ProviderName::new(&entry.name), warmup)));
        }
        warmups
    }

    /// Limits as such; a limit of nothing is never what was meant.
    pub(super) fn limits(&mut self, raw: &raw::Limits) -> Limits {
        let stop = "leave it out for no limit; to stop a binding write suspend_delivery = true";
        self.not_zero(&raw.daily_cap, "a daily cap of 0 lets nothing through", stop);
        self.not_zero(&raw.max_outbound_connections, "no connections means no mail", stop);
        for field in [&raw.messages_per_connection, &raw.recipients_per_message] {
            self.not_zero(field, "must be at least 1", "leave it out for the default");
        }
        Limits {
            daily_cap: raw.daily_cap.value().copied(),
            max_outbound_connections: raw.max_outbound_connections.value().copied(),
            rate_limit: raw.rate_limit.value().copied(),
            messages_per_connection: raw.messages_per_connection.value().copied(),
            recipients_per_message: raw.recipients_per_message.value().copied(),
        }
    }

    /// The built-in ladders and the file's own.
    pub(super) fn ladders(&mut self, file: &raw::File) -> Ladders {
        let mut ladders: Ladders =
            LADDERS.iter().map(|(name, stages)| ((*name).to_owned(), Arc::from(*stages))).collect();
        for (entry, raw) in self.named(&file.ladder) {
            if LADDERS.iter().any(|(name, _)| *name == entry.name) {
                self.out.mistake(&entry.place, format!("ladder {:?} is built in", entry.name), "choose another name");
            }
            let hint = "write accepted recipients per day, such as stages = [200, 500, 1000]";
            raw.stages.required(&entry.place, "stages", hint, &mut self.out);
            if let Some(at) = raw.stages.given().filter(|at| at.value.is_written_empty()) {
                self.out.mistake(&at.place, "a ladder needs at least one stage", hint);
            }
            let items = raw.stages.items();
            if let Some(first) = items.first().filter(|at| at.value == 0) {
                self.out.mistake(&first.place, "a stage of 0 lets nothing through", hint);
            }
            for pair in items.windows(2).filter(|pair| pair[1].value <= pair[0].value) {
                let what = format!("{} is no more than the stage before, {}", pair[1].value, pair[0].value);
                self.out.mistake(&pair[1].place, what, "stages must climb");
            }
            ladders.insert(entry.name.clone(), raw.stages.values().into());
        }
        ladders
    }

    pub(super) fn warmup_rules(&mut self, file: &raw::File) -> WarmupRules {
        let raw = section(&file.warmup);
        let default = WarmupRules::default();
        self.within(&raw.advance_used, 0.05, 1.0);
        self.within(&raw.advance_delivered, 0.0, 1.0);
        self.within(&raw.step_back_blamed, 0.0, 1.0);
        self.within(&raw.growth_beyond, 1.05, 10.0);
        if let Some(at) = raw.cool_after.given().filter(|at| at.value < COOL_AFTER_MIN) {
            self.out.mistake(&at.place, "shorter than a week: each weekend would cool", "from \"7d\"");
        }
        WarmupRules {
            advance_used: raw.advance_used.or(default.advance_used),
            advance_delivered: raw.advance_delivered.or(default.advance_delivered),
            step_back_blamed: raw.step_back_blamed.or(default.step_back_blamed),
            cool_after: raw.cool_after.or(default.cool_after),
            growth_beyond: raw.growth_beyond.or(default.growth_beyond),
        }
    }

    fn warmup(&mut self, raw: &raw::Warmup, place: Place, ladders: &Ladders) -> Option<Warmup> {
        let name = raw.ladder.or(LADDER.to_owned());
        if let Some(at) = raw.ladder.given() {
            self.ladders.refer(&at.value, &at.place, &mut self.out);
        }
        let is_bad = [raw.started.is_bad(), raw.stage.is_bad(), raw.age.is_bad()].contains(&true);
        let started = raw.started.given().map(|at| (WarmupStart::Started(at.value.0), &at.place));
        let stage = raw.stage.given().map(|at| (WarmupStart::Stage(at.value), &at.place));
        let age = raw.age.given().map(|at| {
            let days = u32::try_from(at.value.as_secs() / 86_400).unwrap_or(u32::MAX);
            (WarmupStart::Age(days), &at.place)
        });
        let mut given = [started, stage, age].into_iter().flatten();
        let hint = "started = 2026-11-01 for a new address; stage = 7 or age = \"30d\" for one warmed elsewhere";
        let position = given.next().map(|(position, _)| position);
        if let Some((_, second)) = given.next() {
            self.out.mistake(second, "one of started, stage and age, not two", hint);
        } else if position.is_none() && !is_bad {
            self.out.mistake(&place, "none of started, stage and age is given", hint);
        }
        let ladder = ladders.get(&name)?;
        if let Some(at) = raw.stage.given().filter(|at| !ladder.is_empty() && at.value >= ladder.len()) {
            let what = format!("ladder {name:?} has no stage {}", at.value);
            let hint = format!("from 0 to {}; an address that is warm needs no warmup", ladder.len() - 1);
            self.out.mistake(&at.place, what, hint);
        }
        Some(Warmup { ladder: Arc::clone(ladder), position: position? })
    }

    /// A list can say nothing of an address that the world never sees.
    pub(super) fn check_public_addresses(&mut self, file: &raw::File, bindings: &[Arc<Binding>], monitor: &Monitor) {
        if monitor.zones.is_empty() {
            return;
        }
        let places: HashMap<&str, &Place> =
            file.binding.entries().iter().map(|entry| (entry.name.as_str(), &entry.place)).collect();
        let publics = bindings.iter().flat_map(|binding| binding.publics().iter().map(move |public| (binding, public)));
        for (binding, public) in publics.filter(|(_, public)| !is_public(*public)) {
            let Some(place) = places.get(binding.name.as_str()) else { continue };
            let what = format!("{public} is not seen from outside: DNSBL and PTR checks say nothing");
            let hint = "write public_address = the address behind which it appears";
            self.out.warning(place, what, hint);
        }
    }
}

/// Addresses of documentation count as public: they stand for public ones.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => !(v4.is_private() || v4.is_loopback() || v4.is_link_local() || is_shared(v4)),
        IpAddr::V6(v6) => !(v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local()),
    }
}

/// `100.64.0.0/10`, between a provider's NAT and its customers (RFC 6598).
fn is_shared(address: std::net::Ipv4Addr) -> bool {
    address.octets()[0] == 100 && address.octets()[1] & 0b1100_0000 == 64
}
