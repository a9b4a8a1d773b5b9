//! `[admin]`: where the HTTP side listens, and who may ask.

use std::net::IpAddr;

use super::Context;
use super::context::section;
use super::sections::is_loopback;
use crate::config::mistake::Place;
use crate::config::read::{At, OrOff};
use crate::config::{Admin, AdminTls, AdminToken, Anonymous, raw};
use crate::message::Domain;

/// Tokens at most: every one is compared at each request.
const TOKENS_MAX: usize = 1_000;

impl Context<'_> {
    pub(super) fn admin(&mut self, file: &raw::File) -> Admin {
        let raw = section(&file.admin);
        let default = Admin::default();
        let address = match raw.address.value() {
            Some(OrOff::On(address)) => Some(*address),
            Some(_) => None,
            None => default.address,
        };
        let is_local = address.is_none_or(|address| is_loopback(address.ip()));
        let tls = self.admin_tls(&raw);
        let tokens = self.admin_tokens(&raw);
        let hosts = raw.hosts.items().iter().filter_map(|at| self.admin_host(at)).collect();
        if let (Some(at), false) = (raw.address.given(), is_local) {
            let lacks_tls = raw.tls.is_missing();
            let lacks_token = raw.token.is_missing() || tokens.is_empty();
            let what = match (lacks_tls, lacks_token) {
                (true, true) => "TLS and a token",
                (true, false) => "TLS",
                (false, true) => "a token",
                (false, false) => "",
            };
            if !what.is_empty() {
                let hint = "add tls = { certificate = \"…\", key = \"…\" } and a token (remuda token NAME --role admin \
                            prints one), or write a loopback address such as \"127.0.0.1:8025\"";
                let address = at.place.clone();
                self.out.mistake(&address, format!("not loopback: whoever can reach it needs {what}"), hint);
            }
        }
        let anonymous = raw.anonymous.or(if is_local { Anonymous::Read } else { Anonymous::None });
        if let Some(at) = raw.anonymous.given().filter(|at| at.value == Anonymous::Read && !is_local) {
            let hint = "leave it out, and give those who look a token of role \"read\"";
            self.out.warning(&at.place, "whoever can reach the address may look at mail, senders and receivers", hint);
        }
        Admin { address, anonymous, hosts, tls, tokens }
    }

    fn admin_tls(&mut self, raw: &raw::Admin) -> Option<AdminTls> {
        let at = raw.tls.given()?;
        let hint = "write { certificate = \"/etc/remuda/tls.crt\", key = \"/etc/remuda/tls.key\" }";
        let certificate = at.value.certificate.required(&at.place, "certificate", hint, &mut self.out);
        let key = at.value.key.required(&at.place, "key", hint, &mut self.out);
        certificate.and(key)?;
        Some(AdminTls { certificate: self.beside(&at.value.certificate)?, key: self.beside(&at.value.key)? })
    }

    fn admin_tokens(&mut self, raw: &raw::Admin) -> Vec<AdminToken> {
        let mut tokens: Vec<(AdminToken, Place)> = Vec::new();
        for (entry, token) in self.named(&raw.token) {
            let hint = "write the line that remuda token prints";
            let hash = token.hash.required(&entry.place, "hash", hint, &mut self.out);
            let hint = "write role = \"read\", \"operate\" or \"admin\"";
            let role = token.role.required(&entry.place, "role", hint, &mut self.out);
            let (Some(hash), Some(role)) = (hash, role) else { continue };
            if let Some((twin, _)) = tokens.iter().find(|(other, _)| other.hash == hash.value.0) {
                let what = format!("the same token as {}: nobody could tell who acted", twin.name);
                self.out.mistake(&hash.place, what, "make another one with remuda token");
            }
            let token = AdminToken { name: entry.name.clone(), hash: hash.value.0, role: role.value };
            tokens.push((token, entry.place.clone()));
        }
        if let Some((_, place)) = tokens.get(TOKENS_MAX) {
            self.out.mistake(place, format!("more than {TOKENS_MAX} tokens"), "");
        }
        tokens.into_iter().map(|(token, _)| token).collect()
    }

    fn admin_host(&mut self, at: &At<String>) -> Option<String> {
        let text = at.value.trim_end_matches('.').to_ascii_lowercase();
        if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return Some(address.to_string());
        }
        if text.parse::<Domain>().is_err() {
            let hint = "write the name in the address bar without scheme and port, such as \"relay.example.net\"";
            self.out.mistake(&at.place, format!("{:?} is no host", at.value), hint);
            return None;
        }
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Anonymous, Config, Role, SourceFile, check};

    const REST: &str = "[server]\nhostname = \"relay.example.net\"\nstate_dir = \"/var/lib/remuda\"\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"127.0.0.0/8\"]\n\
         [binding.m1]\nbind_address = \"127.0.0.11\"\nehlo_hostname = \"m1.example.net\"\n\
         [pool.main]\nactive = [\"m1\"]\n[tenant.t]\npools = { default = \"main\" }\n";
    const HASH: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn config(admin: &str) -> Config {
        let source = SourceFile { path: "remuda.toml".into(), text: format!("{admin}\n{REST}") };
        check::check(&[source]).unwrap_or_else(|mistakes| panic!("{admin}: {mistakes}")).config
    }

    #[test]
    fn whoever_brings_nothing_may_look_on_loopback_only() {
        assert_eq!(config("[admin]").admin.anonymous, Anonymous::Read);
        assert_eq!(config("[admin]\nanonymous = \"none\"").admin.anonymous, Anonymous::None);
        let text = format!(
            "[admin]\naddress = \"192.0.2.1:443\"\ntls = {{ certificate = \"a.crt\", key = \"/k\" }}\n\
             hosts = [\"Status.Example.ORG.\", \"192.0.2.9\"]\n[admin.token.ci]\nhash = \"{HASH}\"\nrole = \"operate\"\n"
        );
        let admin = config(&text).admin;
        assert_eq!(admin.anonymous, Anonymous::None);
        assert_eq!(admin.hosts, ["status.example.org", "192.0.2.9"]);
        assert_eq!((admin.tokens[0].name.as_str(), admin.tokens[0].role), ("ci", Role::Operate));
        assert_eq!(admin.tokens[0].hash[..3], [0xba, 0x78, 0x16]);
        assert_eq!(admin.tls.expect("given").key.display().to_string(), "/k");
    }
}
