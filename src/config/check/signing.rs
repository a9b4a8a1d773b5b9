//! `[dkim.NAME]`, and the tenants that name its keys.

use std::collections::HashMap;
use std::time::Duration;

use super::Context;
use super::context::is_header_name;
use crate::config::mistake::Place;
use crate::config::read::{At, Field, List, Map};
use crate::config::units::show_duration;
use crate::config::{DkimKey, Queue, defaults, raw};
use crate::message::{Domain, TenantName};

/// Signatures of one message at most: receivers look at a few, and each costs.
const PER_TENANT: usize = 5;

/// How long a signature has to be good after mail has waited as long as it may.
const AFTER_DELIVERY: Duration = Duration::from_secs(24 * 3600);

/// Fields that a host on the way may change or add, or that are gone when the mail arrives (RFC 6376 §5.4.1).
const NEVER: [&str; 4] = ["Return-Path", "Received", "DKIM-Signature", "Bcc"];

impl Context<'_> {
    /// `queue` says how long signed mail may wait.
    pub(super) fn dkim_keys(&mut self, file: &raw::File, queue: &Queue) -> Vec<DkimKey> {
        let mut keys = Vec::new();
        let mut selectors: HashMap<(String, String), String> = HashMap::new();
        for (entry, raw) in self.named(&file.dkim) {
            let place = &entry.place;
            let hint = "write the domain that signs, such as domain = \"acme.example\"";
            let domain = raw.domain.required(place, "domain", hint, &mut self.out);
            let hint = "write the selector of its record, such as selector = \"s1\"";
            let selector = raw.selector.required(place, "selector", hint, &mut self.out);
            let hint = "write the file with the private key; remuda dkim keygen makes one";
            raw.key.required(place, "key", hint, &mut self.out);
            let tenants = self.dkim_tenants(&raw.tenants);
            let headers = self.dkim_headers(&raw.headers);
            self.not_instant(&raw.expire);
            self.check_expire(&raw.expire, queue);
            let (Some(domain), Some(selector), Some(key)) = (domain, selector, self.beside(&raw.key)) else { continue };
            self.check_dkim_name(domain, selector);
            let name = (domain.value.as_str().to_owned(), selector.value.to_ascii_lowercase());
            if let Some(twin) = selectors.insert(name, entry.name.clone()) {
                let what = format!("the same record as dkim.{twin}: only one of the two keys can be there");
                self.out.mistake(&selector.place, what, "give it a selector of its own");
            }
            keys.push(DkimKey {
                name: entry.name.clone(),
                domain: domain.value.clone(),
                selector: selector.value.to_ascii_lowercase(),
                key,
                tenants,
                subdomains: raw.subdomains.or(false),
                headers,
                expire: raw.expire.value().copied(),
            });
        }
        self.check_unused_keys(file, &keys);
        keys
    }

    /// Mail is signed when it is taken in: what is delivered at the end of its lifetime must be good even then, and for
    /// whom it is forwarded to or who looks into it later.
    fn check_expire(&mut self, expire: &Field<Duration>, queue: &Queue) {
        let waits = queue.lifetime.max(queue.bounce_lifetime);
        let least = waits.saturating_add(AFTER_DELIVERY);
        if let Some(at) = expire.given().filter(|at| at.value < least) {
            let waits = show_duration(waits);
            let what =
                format!("mail may wait for {waits}: what comes late would come with a signature that has expired");
            let hint = format!("write expire = \"{}\" or longer, or take it out", show_duration(least));
            self.out.warning(&at.place, what, hint);
        }
    }

    /// Both are names in the DNS, and stand in the signature as they are.
    fn check_dkim_name(&mut self, domain: &At<Domain>, selector: &At<String>) {
        if domain.value.as_str().starts_with('[') {
            self.out.mistake(&domain.place, "an address cannot sign", "write the name of a domain");
        } else if selector.value.parse::<Domain>().is_err() || selector.value.starts_with('[') {
            let hint = "letters, digits and hyphens, such as \"s1\" or \"2026-11\"";
            self.out.mistake(&selector.place, format!("{:?} is no selector", selector.value), hint);
        }
    }

    fn dkim_tenants(&mut self, field: &Field<List<String>>) -> Vec<TenantName> {
        let known = |at: &&At<String>| self.tenants.refer(&at.value, &at.place, &mut self.out);
        field.items().iter().filter(known).map(|at| TenantName::new(&at.value)).collect()
    }

    fn dkim_headers(&mut self, field: &Field<List<String>>) -> Vec<String> {
        if field.is_missing() {
            return defaults::DKIM_HEADERS.map(ToOwned::to_owned).to_vec();
        }
        for at in field.items() {
            if !is_header_name(&at.value) || at.value.contains(';') {
                self.out.mistake(&at.place, format!("{:?} is no name of a header", at.value), "");
            } else if NEVER.iter().any(|name| name.eq_ignore_ascii_case(&at.value)) {
                let what = format!("{} changes on the way: the signature would not hold", at.value);
                self.out.mistake(&at.place, what, "take it out");
            }
        }
        field.values()
    }

    fn check_unused_keys(&mut self, file: &raw::File, keys: &[DkimKey]) {
        let named = |key: &DkimKey| {
            let raws = file.tenant.entries().iter().filter_map(|entry| entry.value.as_ref());
            raws.flat_map(|raw| raw.dkim.items()).any(|at| at.value == key.name)
        };
        for key in keys.iter().filter(|key| key.tenants.is_empty() && !named(key)) {
            let place = Place::default().key("dkim").key(&key.name);
            let hint = "add tenants = [\"NAME\"] to it, or its name to a tenant's dkim";
            self.out.warning(&place, "signs nothing: no tenant has it", hint);
        }
    }

    /// The keys that sign all mail of a tenant.
    pub(super) fn tenant_dkim(&mut self, file_keys: &Field<Map<raw::DkimKey>>, raw: &raw::Tenant) -> Vec<String> {
        let known: Vec<&str> = file_keys.entries().iter().map(|entry| entry.name.as_str()).collect();
        for at in raw.dkim.items() {
            if !known.contains(&at.value.as_str()) {
                let hint = self.out.suggest_name(&at.value, &known);
                self.out.mistake(&at.place, format!("no dkim key {:?}", at.value), hint);
            }
        }
        if let Some(at) = raw.dkim.items().get(PER_TENANT) {
            self.out.mistake(&at.place, format!("more than {PER_TENANT} signatures"), "receivers look at a few only");
        }
        raw.dkim.values()
    }
}
