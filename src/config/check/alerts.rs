//! `[alerts]`. No message here repeats a URL: it may hold a key.

use std::net::IpAddr;
use std::time::Duration;

use super::Context;
use super::context::{Names, section};
use crate::config::alerts::{AlertName, Credentials, SecretUrl};
use crate::config::mistake::Place;
use crate::config::raw::TargetUrl;
use crate::config::read::{Field, Named, OrOff, Size};
use crate::config::{AlertLimits, Alertmanager, Alerts, Severity, Webhook, raw};

impl Context<'_> {
    pub(super) fn alerts(&mut self, file: &raw::File) -> Alerts {
        let raw = section(&file.alerts);
        let default = Alerts::default();
        for span in [&raw.every, &raw.resend, &raw.timeout, &raw.no_deliveries, &raw.window] {
            self.not_instant(span);
        }
        // An Alertmanager forgets what it was not told again in time.
        let (every, resend) = (raw.every.or(default.every), raw.resend.or(default.resend));
        let repeat = match raw.repeat.value() {
            None => default.repeat,
            Some(OrOff::Off) => None,
            Some(OrOff::On(span)) => Some(*span),
        };
        if let (Some(at), Some(Duration::ZERO)) = (raw.repeat.given(), repeat) {
            self.out.mistake(&at.place, "must be longer than 0", "write repeat = false to be told only once");
        }
        if let Some(at) = raw.runbook.given().filter(|at| url_problem(&at.value).is_some()) {
            self.out.mistake(&at.place, "is no http or https URL", "write \"https://wiki.example.org/remuda#\"");
        }
        let mut alerts = Alerts {
            every,
            clear_after: raw.clear_after.or(default.clear_after),
            resend,
            repeat,
            timeout: raw.timeout.or(default.timeout),
            runbook: raw.runbook.value().cloned(),
            limits: self.alert_limits(&raw),
            ..default
        };
        self.alert_rules(&raw, &mut alerts);
        for (entry, target) in self.named(&raw.alertmanager) {
            alerts.alertmanagers.extend(self.alertmanager(entry, target));
        }
        for (entry, target) in self.named(&raw.webhook) {
            if alerts.alertmanagers.iter().any(|other| other.name == entry.name) {
                let what = format!("an Alertmanager is called {:?} already", entry.name);
                self.out.mistake(&entry.place, what, "metrics tell targets apart by name: give it another");
            }
            alerts.webhooks.extend(self.webhook(entry, target));
        }
        alerts
    }

    fn alert_limits(&mut self, raw: &raw::Alerts) -> AlertLimits {
        let default = AlertLimits::default();
        let shares =
            [&raw.cap_used, &raw.hard_bounce_ratio, &raw.complaint_ratio, &raw.deferral_ratio, &raw.unmatched_ratio];
        shares.into_iter().for_each(|share| self.within(share, 0.0, 1.0));
        self.at_least_one(&raw.min_recipients);
        AlertLimits {
            window: raw.window.or(default.window),
            min_recipients: raw.min_recipients.or(default.min_recipients),
            cap_used: raw.cap_used.or(default.cap_used),
            hard_bounce_ratio: raw.hard_bounce_ratio.or(default.hard_bounce_ratio),
            complaint_ratio: raw.complaint_ratio.or(default.complaint_ratio),
            deferral_ratio: raw.deferral_ratio.or(default.deferral_ratio),
            unmatched_ratio: raw.unmatched_ratio.or(default.unmatched_ratio),
            listing_weight: raw.listing_weight.or(default.listing_weight),
            queue_age: raw.queue_age.or(default.queue_age),
            no_deliveries: raw.no_deliveries.or(default.no_deliveries),
            spool_space: raw.spool_space.or(Size(default.spool_space)).0,
            credential_life: raw.credential_life.or(default.credential_life),
        }
    }

    fn alert_rules(&mut self, raw: &raw::Alerts, alerts: &mut Alerts) {
        let known = Names::new("alert", AlertName::ALL.iter().map(|name| name.as_str()));
        for entry in raw.rule.entries() {
            if !known.refer(&entry.name, &entry.place, &mut self.out) {
                continue;
            }
            let name = AlertName::ALL.iter().find(|name| name.as_str() == entry.name);
            if let (Some(name), Some(rule)) = (name, &entry.value) {
                let usual = name.usual();
                let rule = crate::config::AlertRule {
                    hold: rule.hold.or(usual.hold),
                    severity: rule.severity.or(usual.severity),
                    enabled: rule.enabled.or(true),
                };
                alerts.rules.insert(*name, rule);
            }
        }
    }

    fn alertmanager(&mut self, entry: &Named<raw::Alertmanager>, raw: &raw::Alertmanager) -> Option<Alertmanager> {
        let hint = "write its base URL, such as url = \"http://127.0.0.1:9093\"";
        let url = self.target_url(&raw.url, &raw.allow_plain, &entry.place, hint);
        let credentials = match (raw.user.given(), raw.password_file.given(), raw.bearer_file.given()) {
            (_, Some(_), Some(at)) | (Some(_), _, Some(at)) => {
                let hint = "keep either bearer_file, or user and password_file";
                self.out.mistake(&at.place, "two ways to say who we are", hint);
                Credentials::None
            }
            (Some(user), Some(_), None) => {
                if user.value.contains(':') {
                    self.out.mistake(&user.place, "a user of HTTP Basic has no colon in its name", "");
                }
                let password_file = self.beside(&raw.password_file).unwrap_or_default();
                Credentials::Basic { user: user.value.clone(), password_file }
            }
            (Some(at), None, None) => {
                self.out.mistake(&at.place, "a user without password_file", "add password_file = \"/path\"");
                Credentials::None
            }
            (None, Some(at), None) => {
                self.out.mistake(&at.place, "a password without user", "add user = \"NAME\"");
                Credentials::None
            }
            (None, None, Some(_)) => Credentials::Bearer(self.beside(&raw.bearer_file).unwrap_or_default()),
            (None, None, None) => Credentials::None,
        };
        let ca_file = self.beside(&raw.ca_file);
        Some(Alertmanager { name: entry.name.clone(), url: url?, credentials, ca_file })
    }

    fn webhook(&mut self, entry: &Named<raw::Webhook>, raw: &raw::Webhook) -> Option<Webhook> {
        let hint = "write url = \"https://hooks.example.org/remuda\"";
        let url = self.target_url(&raw.url, &raw.allow_plain, &entry.place, hint);
        let events = raw.events.values();
        if let Some(at) = raw.events.given().filter(|at| at.value.is_written_empty()) {
            self.out.mistake(&at.place, "it would be told nothing", "write [\"firing\", \"resolved\"]");
        }
        let told = |event| events.is_empty() || events.contains(&event);
        Some(Webhook {
            name: entry.name.clone(),
            secret_file: self.beside(&raw.secret_file),
            bearer_file: self.beside(&raw.bearer_file),
            ca_file: self.beside(&raw.ca_file),
            min_severity: raw.min_severity.or(Severity::Warning),
            firing: told(raw::AlertEvent::Firing),
            resolved: told(raw::AlertEvent::Resolved),
            url: url?,
        })
    }

    fn target_url(
        &mut self,
        url: &Field<TargetUrl>,
        allow_plain: &Field<bool>,
        place: &Place,
        hint: &str,
    ) -> Option<SecretUrl> {
        let at = url.required(place, "url", hint, &mut self.out)?;
        let text = &at.value.0;
        match url_problem(text) {
            Some((what, hint)) => self.out.mistake(&at.place, what, hint),
            None if is_plain(text) && !allow_plain.or(false) => {
                let hint = "use https, or write allow_plain = true if nobody can listen in between";
                self.out.mistake(&at.place, "plain http to another host: anybody on the way can read it", hint);
            }
            None => return Some(SecretUrl::new(text.clone())),
        }
        None
    }
}

/// What is wrong with a URL, and a remedy; neither repeats it.
fn url_problem(url: &str) -> Option<(&'static str, &'static str)> {
    const HINT: &str = "write it as \"https://host.example.org/path\"";
    let Some((scheme, rest)) = url.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https")) else {
        return Some(("is no http or https URL", HINT));
    };
    debug_assert!(!scheme.is_empty());
    if url.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Some(("has spaces or control characters in it", HINT));
    }
    let authority = authority(rest);
    if authority.contains('@') {
        return Some(("holds a user or password", "write these as user and password_file, or bearer_file"));
    }
    let (host, port) = host_and_port(authority);
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0));
    (host.is_empty() || !is_port).then_some(("names no host", HINT))
}

fn authority(rest: &str) -> &str {
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

fn host_and_port(authority: &str) -> (&str, Option<&str>) {
    match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    }
}

/// Whether it goes over http to somewhere else than this host.
fn is_plain(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else { return false };
    let (host, _) = host_and_port(authority(rest));
    let is_here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    !is_here
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    /// What is said of a good file with this behind it; line numbers are those of `more`.
    fn said(more: &str) -> Vec<String> {
        let rest = "[server]\nhostname = \"relay.example.net\"\nstate_dir = \"/var/lib/remuda\"\n\
             [[listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"127.0.0.0/8\"]\n\
             [binding.m1]\nbind_address = \"127.0.0.11\"\nehlo_hostname = \"m1.example.net\"\n\
             [pool.main]\nactive = [\"m1\"]\n[tenant.t]\npools = { default = \"main\" }\n";
        let Err(error) = Config::from_toml(&format!("{more}{rest}")) else { return Vec::new() };
        error.mistakes.iter().map(|mistake| mistake.to_string().replace("remuda.toml:", "")).collect()
    }

    #[test]
    fn mistakes_are_named_with_place_and_remedy() {
        let url = "url = \"https://hooks.example.org/topsecret\"\n";
        for (text, says) in [
            ("[alerts]\nevery = \"0s\"\n".to_owned(), "2:9: alerts.every: must be longer than 0"),
            (
                "[alerts]\nrepeat = \"0s\"\n".to_owned(),
                "2:10: alerts.repeat: must be longer than 0; write repeat = false to be told only once",
            ),
            ("[alerts]\ncap_used = 90\n".to_owned(), "2:12: alerts.cap_used: 90 is out of range; from 0 to 1"),
            (
                "[alerts.rule.QueOld]\n".to_owned(),
                "1:14: alerts.rule.QueOld: no alert \"QueOld\"; did you mean \"QueueOld\"?",
            ),
            (
                "[alerts.rule.QueueOld]\nseverity = \"bad\"\n".to_owned(),
                "2:12: alerts.rule.QueueOld.severity: \"bad\" is not known here; write one of \"critical\", \"warning\", \"info\"",
            ),
            (
                "[alerts.alertmanager.a]\n".to_owned(),
                "1:22: alerts.alertmanager.a.url: missing; write its base URL, such as url = \"http://127.0.0.1:9093\"",
            ),
            (
                format!("[alerts.alertmanager.a]\n{url}user = \"x\"\n"),
                "3:8: alerts.alertmanager.a.user: a user without password_file; add password_file = \"/path\"",
            ),
            (
                format!("[alerts.alertmanager.a]\n{url}[alerts.webhook.a]\n{url}"),
                "3:17: alerts.webhook.a: an Alertmanager is called \"a\" already; metrics tell targets apart by name: give it another",
            ),
            (
                "[alerts.webhook.h]\nurl = \"http://hooks.example.org/topsecret\"\n".to_owned(),
                "2:7: alerts.webhook.h.url: plain http to another host: anybody on the way can read it; use https, or write allow_plain = true if nobody can listen in between",
            ),
            (
                format!("[alerts.webhook.h]\n{url}events = []\n"),
                "3:10: alerts.webhook.h.events: it would be told nothing; write [\"firing\", \"resolved\"]",
            ),
        ] {
            assert_eq!(said(&text), [says], "{text}");
        }
        assert_eq!(said("[alerts.webhook.h]\nurl = \"http://192.0.2.1/\"\nallow_plain = true\n"), Vec::<String>::new());
    }

    #[test]
    fn the_key_in_a_url_is_never_printed() {
        for url in ["ftp://x/topsecret", "https://a:topsecret@example.org", "https:// topsecret"] {
            let said = said(&format!("[alerts.webhook.h]\nurl = \"{url}\"\n"));
            assert!(said.len() == 1 && !said[0].contains("topsecret"), "{said:?}");
        }
        let file = |url: &str| format!("[alerts.webhook.h]\nurl = \"{url}\"\n");
        assert_eq!(said(&file("https://example.org/topsecret")), Vec::<String>::new());
        let masked = SecretUrl::new("https://example.org/topsecret".into());
        assert_eq!(format!("{masked:?}"), "(masked)");
    }

    #[test]
    fn urls_are_judged_without_being_repeated() {
        for (url, says) in [
            ("https://hooks.example.org/T0/key", None),
            ("https://hooks.example.org:8443?x=1", None),
            ("http://[::1]:9093/prefix", None),
            ("ftp://example.org", Some("no http")),
            ("hooks.example.org", Some("no http")),
            ("https://", Some("names no host")),
            ("https:///path", Some("names no host")),
            ("https://example.org:0", Some("names no host")),
            ("https://example.org:x", Some("names no host")),
            ("https://a:b@example.org", Some("holds a user")),
            ("https://exam ple.org", Some("spaces")),
        ] {
            let said = url_problem(url).map(|(what, _)| what);
            match says {
                None => assert_eq!(said, None, "{url}"),
                Some(says) => assert!(said.is_some_and(|said| said.contains(says)), "{url}: {said:?}"),
            }
        }
    }

    #[test]
    fn only_loopback_is_told_in_the_clear() {
        for (url, plain) in [
            ("http://127.0.0.1:9093", false),
            ("http://127.9.9.9", false),
            ("http://[::1]:9093", false),
            ("http://localhost/x", false),
            ("https://example.org", false),
            ("http://example.org", true),
            ("http://192.0.2.1:9093", true),
            ("http://localhost.example.org", true),
            ("http://127.0.0.1.example.org", true),
        ] {
            assert_eq!(is_plain(url), plain, "{url}");
        }
    }

    #[test]
    fn the_example_lists_every_alert_with_what_holds_of_it() {
        let example = include_str!("../../../config/remuda.toml");
        for name in AlertName::ALL {
            let line = example.lines().find(|line| line.starts_with(&format!("#   {} ", name.as_str())));
            let line = line.unwrap_or_else(|| panic!("{} is not listed", name.as_str()));
            let words: Vec<&str> = line.split_whitespace().skip(2).take(2).collect();
            let usual = name.usual();
            assert_eq!(words[0], usual.severity.as_str(), "{line}");
            assert_eq!(crate::config::units::parse_duration(words[1]).ok(), Some(usual.hold), "{line}");
            assert!(line.ends_with(name.meaning()), "{line}");
        }
    }
}
