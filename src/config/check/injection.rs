//! `[injection]`: where mail comes in over HTTP, and who may send.

use super::Context;
use super::context::section;
use super::sections::is_loopback;
use crate::config::mistake::Place;
use crate::config::read::{Field, OrOff, Size};
use crate::config::{AdminTls, Injection, InjectionToken, raw};
use crate::message::TenantName;

/// Tokens at most: every one is compared at each request.
const TOKENS_MAX: usize = 10_000;

impl Context<'_> {
    pub(super) fn injection(&mut self, file: &raw::File) -> Injection {
        let raw = section(&file.injection);
        let default = Injection::default();
        let address = match raw.address.value() {
            Some(OrOff::On(address)) => Some(*address),
            _ => default.address,
        };
        for field in [&raw.max_connections, &raw.max_connections_per_client, &raw.max_recipients] {
            self.at_least_one(field);
        }
        if let Some(at) = raw.max_message_bytes.given().filter(|at| at.value.0 < 64 * 1024) {
            self.out.mistake(&at.place, "below 64 KiB, which RFC 5321 asks every server to take", "");
        }
        self.not_instant(&raw.keep_keys);
        let injection = Injection {
            address,
            tls: self.injection_tls(&raw.tls),
            max_connections: raw.max_connections.or(default.max_connections),
            max_connections_per_client: raw.max_connections_per_client.or(default.max_connections_per_client),
            max_message_bytes: raw.max_message_bytes.or(Size(default.max_message_bytes)).0,
            max_recipients: raw.max_recipients.or(default.max_recipients),
            max_bytes_in_flight: raw.max_bytes_in_flight.or(Size(default.max_bytes_in_flight)).0,
            keep_keys: raw.keep_keys.or(default.keep_keys),
            tokens: self.injection_tokens(&raw),
        };
        let room = raw.max_bytes_in_flight.given().map(|at| &at.place);
        let message = raw.max_message_bytes.given().map(|at| &at.place);
        // As JSON a message takes a third more, and is there up to three times on its way to the disk.
        if let Some(place) =
            room.or(message).filter(|_| injection.max_bytes_in_flight / 4 < injection.max_message_bytes)
        {
            let hint = "max_bytes_in_flight must be at least four times max_message_bytes";
            self.out.mistake(place, "a message of the largest size would never be taken", hint);
        }
        self.check_injection_door(&raw, &injection);
        injection
    }

    fn check_injection_door(&mut self, raw: &raw::Injection, injection: &Injection) {
        let (Some(at), Some(address)) = (raw.address.given(), injection.address) else { return };
        if !is_loopback(address.ip()) && raw.tls.is_missing() {
            let hint = "add tls = { certificate = \"…\", key = \"…\" }, or write a loopback address such as \"127.0.0.1:8026\"";
            self.out.mistake(&at.place, "not loopback: tokens and mail would cross the network readable", hint);
        }
        if injection.tokens.is_empty() {
            let hint = "make one: remuda token NAME --role send --tenant TENANT";
            self.out.warning(&at.place, "nobody can send here: there is no [injection.token.NAME]", hint);
        }
    }

    fn injection_tls(&mut self, field: &Field<raw::AdminTls>) -> Option<AdminTls> {
        let at = field.given()?;
        let hint = "write { certificate = \"/etc/remuda/tls.crt\", key = \"/etc/remuda/tls.key\" }";
        let certificate = at.value.certificate.required(&at.place, "certificate", hint, &mut self.out);
        let key = at.value.key.required(&at.place, "key", hint, &mut self.out);
        certificate.and(key)?;
        Some(AdminTls { certificate: self.beside(&at.value.certificate)?, key: self.beside(&at.value.key)? })
    }

    fn injection_tokens(&mut self, raw: &raw::Injection) -> Vec<InjectionToken> {
        let mut tokens: Vec<(InjectionToken, Place)> = Vec::new();
        for (entry, token) in self.named(&raw.token) {
            let hint = "write the lines that remuda token NAME --role send --tenant TENANT prints";
            let hash = token.hash.required(&entry.place, "hash", hint, &mut self.out);
            let hint = "write tenant = \"NAME\": whose mail it sends";
            let tenant = token.tenant.required(&entry.place, "tenant", hint, &mut self.out);
            let (Some(hash), Some(tenant)) = (hash, tenant) else { continue };
            if !self.tenants.refer(&tenant.value, &tenant.place, &mut self.out) {
                continue;
            }
            if let Some((twin, _)) = tokens.iter().find(|(other, _)| other.hash == hash.value.0) {
                let what = format!("the same token as {}: nobody could tell who sent", twin.name);
                self.out.mistake(&hash.place, what, "make another one with remuda token");
            }
            let token = InjectionToken {
                name: entry.name.clone(),
                tenant: TenantName::new(&tenant.value),
                hash: hash.value.0,
                networks: token.networks.values(),
                rate_limit: token.rate_limit.value().copied(),
            };
            tokens.push((token, entry.place.clone()));
        }
        if let Some((_, place)) = tokens.get(TOKENS_MAX) {
            self.out.mistake(place, format!("more than {TOKENS_MAX} tokens"), "");
        }
        tokens.into_iter().map(|(token, _)| token).collect()
    }
}
