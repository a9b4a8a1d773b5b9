//! Tenants: their marks, pools per stream, splits and rules.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Context;
use super::context::{host_name, is_header_name, section};
use crate::config::defaults::WEIGHT;
use crate::config::mistake::{Place, suggest};
use crate::config::read::{At, Field, Map, Named};
use crate::config::{DomainPattern, Listener, SenderCheck, StreamRule, Tenant, TenantMatch, raw};
use crate::message::{Domain, PoolName, ProviderName, StreamName, TenantName};

/// Which tenant has a mark, and where it says so.
type Marks = HashMap<String, (String, Place)>;

impl Context<'_> {
    pub(super) fn tenants(&mut self, file: &raw::File) -> Vec<Tenant> {
        let mut marks = Marks::new();
        let mut tenants = Vec::new();
        for (entry, raw) in self.named(&file.tenant) {
            let matches = section(&raw.matches);
            self.check_marks(entry, &matches, &mut marks);
            let hint = "a limit of nothing is never meant: leave it out for no limit";
            self.not_zero(&raw.daily_cap, "a daily cap of 0 lets nothing through", hint);
            self.not_zero(&raw.weight, "a tenant of weight 0 would wait for ever", "write at least 1");
            tenants.push(Tenant {
                name: TenantName::new(&entry.name),
                matches: self.tenant_match(&matches),
                pools: self.stream_pools(entry, raw),
                split: self.split(raw),
                streams: self.stream_rules(raw),
                daily_cap: raw.daily_cap.value().copied(),
                rate_limit: raw.rate_limit.value().copied(),
                provider_caps: self.provider_caps(raw),
                weight: raw.weight.or(WEIGHT),
                priority: self.priorities(raw),
                engaged: self.engaged(raw),
                region: self.region(&raw.region),
                return_path_domain: self.return_path_domain(&raw.return_path_domain),
                dkim: self.tenant_dkim(&file.dkim, raw),
                spf: raw.spf.value().copied(),
                hold: raw.hold.or(false),
                senders: self.senders(raw),
                sender_check: raw.sender_check.or(SenderCheck::Envelope),
            });
        }
        tenants
    }

    /// Domains that senders may have.
    fn senders(&mut self, raw: &raw::Tenant) -> Vec<DomainPattern> {
        if let (Some(at), true) = (raw.sender_check.given(), raw.senders.is_missing()) {
            let hint = "write senders = [\"acme.example\", \"*.acme.example\"]";
            self.out.warning(&at.place, "no senders are named, so none is asked", hint);
        }
        if let Some(at) = raw.senders.given().filter(|at| at.value.is_written_empty()) {
            let hint = "name them, or leave the key out: then any domain will do";
            self.out.mistake(&at.place, "allows no sender at all", hint);
        }
        raw.senders.values()
    }

    /// Caps towards single providers; none may promise more than the tenant as a whole has.
    fn provider_caps(&mut self, raw: &raw::Tenant) -> BTreeMap<ProviderName, u64> {
        let mut caps = BTreeMap::new();
        for entry in raw.provider.entries() {
            if !self.providers.refer(&entry.name, &entry.place, &mut self.out) {
                continue;
            }
            let Some(at) = entry.value.as_ref().and_then(|raw| raw.daily_cap.given()) else { continue };
            let hint = "a limit of nothing is never meant: leave it out for no limit";
            if at.value == 0 {
                self.out.mistake(&at.place, "a daily cap of 0 lets nothing through", hint);
            } else if let Some(all) = raw.daily_cap.value().filter(|all| at.value > **all) {
                let what = format!("{} is above the tenant's own daily_cap of {all}", at.value);
                self.out.mistake(&at.place, what, "it could never be used: lower it or leave it out");
            }
            caps.insert(ProviderName::new(&entry.name), at.value);
        }
        caps
    }

    fn priorities(&mut self, raw: &raw::Tenant) -> BTreeMap<StreamName, u8> {
        let mut priorities = BTreeMap::new();
        for entry in raw.priority.entries() {
            self.refer_stream(raw, &entry.name, &entry.place);
            let Some(priority) = entry.value else { continue };
            if priority > 9 {
                self.out.mistake(&entry.place, format!("a priority of {priority}"), "from 0 to 9, higher goes first");
            }
            priorities.insert(StreamName::new(&entry.name), priority);
        }
        priorities
    }

    fn engaged(&mut self, raw: &raw::Tenant) -> BTreeSet<StreamName> {
        for at in raw.engaged.items() {
            self.refer_stream(raw, &at.value, &at.place);
        }
        raw.engaged.items().iter().map(|at| StreamName::new(&at.value)).collect()
    }

    fn return_path_domain(&mut self, field: &Field<Domain>) -> Option<Domain> {
        let at = field.given()?;
        host_name(&At { value: at.value.as_str().to_owned(), place: at.place.clone() }, &mut self.out)
    }

    fn tenant_match(&mut self, raw: &raw::TenantMatch) -> TenantMatch {
        TenantMatch {
            auth_user: raw.auth_user.values(),
            sender_domain: raw.sender_domain.values(),
            client: raw.client.values(),
            header: self.headers(&raw.header).into_iter().collect(),
        }
    }

    /// Header names and values; names that are none are reported.
    fn headers(&mut self, map: &Field<Map<String>>) -> Vec<(String, String)> {
        let mut headers = Vec::new();
        for entry in map.entries() {
            if !is_header_name(&entry.name) {
                self.out.mistake(&entry.place, format!("{:?} is no name of a header", entry.name), "");
            }
            headers.extend(entry.value.iter().map(|value| (entry.name.clone(), value.trim().to_owned())));
        }
        headers
    }

    /// Two tenants with the same mark: whose mail it is would be a matter of chance.
    fn check_marks(&mut self, entry: &Named<raw::Tenant>, raw: &raw::TenantMatch, marks: &mut Marks) {
        let mut found: Vec<(String, &Place)> = Vec::new();
        found.extend(raw.auth_user.items().iter().map(|at| (format!("user {:?}", at.value), &at.place)));
        found.extend(raw.client.items().iter().map(|at| (format!("client network {}", at.value), &at.place)));
        for at in raw.sender_domain.items() {
            found.push((format!("sender domain {:?}", show_pattern(&at.value)), &at.place));
        }
        for header in raw.header.entries() {
            let value = header.value.as_deref().unwrap_or("").trim().to_lowercase();
            found.push((format!("header {}: {value}", header.name.to_lowercase()), &header.place));
        }
        for (mark, place) in found {
            match marks.get(&mark) {
                None => {
                    marks.insert(mark, (entry.name.clone(), place.clone()));
                }
                Some((other, first)) if *other != entry.name => {
                    let line = self.lines.name(first);
                    let what = format!("{mark} belongs to tenant {other:?} already, at {line}");
                    self.out.mistake(place, what, "keep it with one of the two");
                }
                Some(_) => self.out.mistake(place, format!("{mark} is given twice"), "keep one of the two"),
            }
        }
    }

    fn stream_pools(&mut self, entry: &Named<raw::Tenant>, raw: &raw::Tenant) -> BTreeMap<StreamName, PoolName> {
        let hint = "write pools = { default = \"POOL\" }";
        raw.pools.required(&entry.place, "pools", hint, &mut self.out);
        if let Some(at) = raw.pools.given()
            && !at.value.0.iter().any(|stream| stream.name == "default")
        {
            self.out.mistake(&at.place, "has no pool for the stream default", hint);
        }
        for stream in raw.pools.entries() {
            if let Some(pool) = &stream.value {
                self.pools.refer(pool, &stream.place, &mut self.out);
            }
        }
        let pools = self.named(&raw.pools).into_iter();
        pools.map(|(stream, pool)| (StreamName::new(&stream.name), PoolName::new(pool))).collect()
    }

    fn split(&mut self, raw: &raw::Tenant) -> BTreeMap<StreamName, Vec<(PoolName, f64)>> {
        let mut split = BTreeMap::new();
        for (stream, shares) in self.named(&raw.split) {
            self.refer_stream(raw, &stream.name, &stream.place);
            let mut targets = Vec::new();
            for target in &shares.0 {
                self.pools.refer(&target.name, &target.place, &mut self.out);
                if pool_of(raw, &stream.name) == Some(target.name.as_str()) {
                    let hint = "what is not split off goes there anyway";
                    self.out.mistake(&target.place, format!("{:?} is the stream's own pool", target.name), hint);
                }
                let Some(share) = target.value else { continue };
                if !(0.0..=1.0).contains(&share) {
                    self.out.mistake(
                        &target.place,
                        format!("a share of {share}"),
                        "write a share from 0 to 1, such as 0.3",
                    );
                }
                targets.push((PoolName::new(&target.name), share));
            }
            let sum: f64 = targets.iter().map(|(_, share)| share).sum();
            // 0.1 + 0.2 + 0.7 is a little more than 1 in binary.
            if sum > 1.0 + 1e-9 && targets.iter().all(|(_, share)| (0.0..=1.0).contains(share)) {
                self.out.mistake(&stream.place, format!("shares add up to {sum}"), "at most 1");
            }
            split.insert(StreamName::new(&stream.name), targets);
        }
        split
    }

    fn stream_rules(&mut self, raw: &raw::Tenant) -> Vec<StreamRule> {
        let mut rules = Vec::new();
        for At { value: rule, place } in raw.streams.items() {
            let hint = "write the stream it chooses, such as stream = \"transactional\"";
            let stream = rule.stream.required(place, "stream", hint, &mut self.out);
            if let Some(at) = stream {
                self.refer_stream(raw, &at.value, &at.place);
            }
            let mut headers = self.headers(&rule.header);
            if let Some(at) = rule.header.given().filter(|at| at.value.0.len() != 1) {
                self.out.mistake(&at.place, "a rule asks for one header", "write header = { NAME = \"value\" }");
            }
            if rule.sender.is_missing() && rule.sender_domain.is_missing() && rule.header.is_missing() {
                let hint = "give sender, sender_domain or header; what no rule matches is default";
                self.out.mistake(place, "a rule without a condition", hint);
            }
            let Some(stream) = stream else { continue };
            rules.push(StreamRule {
                stream: StreamName::new(&stream.value),
                sender: rule.sender.value().cloned(),
                sender_domain: rule.sender_domain.value().cloned(),
                header: headers.pop(),
            });
        }
        rules
    }

    /// A stream exists where it has a pool.
    fn refer_stream(&mut self, raw: &raw::Tenant, stream: &str, place: &Place) {
        let known = || raw.pools.entries().iter().map(|entry| entry.name.as_str());
        if raw.pools.given().is_some() && !known().any(|name| name == stream) {
            let hint = match suggest(stream, known()) {
                near if near.ends_with('?') => near,
                _ => format!("add {stream} to pools"),
            };
            self.out.mistake(place, format!("stream {stream:?} has no pool"), hint);
        }
    }

    /// Users mark mail only where there are any.
    fn check_users(&mut self, file: &raw::File) {
        if !section(&file.server).users_file.is_missing() {
            return;
        }
        for entry in file.tenant.entries() {
            let users = entry.value.as_ref().and_then(|raw| raw.matches.value()).map(|matches| &matches.auth_user);
            if let Some(Field::Given(at)) = users {
                let hint = "name a users_file under [server], and write auth = \"optional\" at a [[listener]]";
                self.out.warning(&at.place, "nobody can log in, so no user is ever known", hint);
            }
        }
    }

    /// Headers are believed only from trusted clients.
    pub(super) fn check_trusted_headers(&mut self, file: &raw::File, listeners: &[Listener]) {
        self.check_users(file);
        if listeners.iter().any(|listener| !listener.trust.is_empty()) {
            return;
        }
        for entry in file.tenant.entries() {
            let header = entry.value.as_ref().and_then(|raw| raw.matches.value()).map(|matches| &matches.header);
            if let Some(Field::Given(at)) = header {
                let hint = "add trust to a [[listener]]";
                self.out.warning(&at.place, "no listener trusts anybody, so no header is believed", hint);
            }
        }
    }
}

fn pool_of<'f>(raw: &'f raw::Tenant, stream: &str) -> Option<&'f str> {
    raw.pools.entries().iter().find(|entry| entry.name == stream)?.value.as_deref()
}

fn show_pattern(pattern: &DomainPattern) -> String {
    match pattern {
        DomainPattern::Exact(domain) => domain.to_string(),
        DomainPattern::Below(domain) => format!("*.{domain}"),
        DomainPattern::Any => "*".to_owned(),
    }
}
