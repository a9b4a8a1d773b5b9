//! `[feedback]`, and the tenants that take part in it.

use std::path::{Path, PathBuf};

use super::Context;
use super::context::{is_header_name, section};
use crate::config::defaults::{
    FEEDBACK_ACCEPT_FOR, FEEDBACK_HEADER, FEEDBACK_KEYS, FEEDBACK_REPORT_BYTES, FEEDBACK_UNATTRIBUTED_KEPT,
};
use crate::config::mistake::Place;
use crate::config::read::{Field, Size};
use crate::config::{Assignment, DomainPattern, Feedback, Tenant, raw};

impl Context<'_> {
    /// What `[feedback]` says; `state_dir` is where the keys lie unless they are told to lie elsewhere.
    pub(super) fn feedback(
        &mut self,
        file: &raw::File,
        state_dir: &Path,
        assignment: &Assignment,
        tenants: &[Tenant],
    ) -> Option<Feedback> {
        if file.feedback.is_missing() {
            self.check_return_paths_without_feedback(file);
            return None;
        }
        let raw = section(&file.feedback);
        self.not_instant(&raw.accept_for);
        if let Some(at) = raw.max_report_bytes.given().filter(|at| at.value.0 < 64 * 1024) {
            self.out.mistake(&at.place, "below 64 KiB: many bounces quote more than that", "leave it out for 10 MiB");
        }
        let header = raw.header.or(FEEDBACK_HEADER.to_owned());
        if let Some(at) = raw.header.given() {
            if !is_header_name(&at.value) {
                self.out.mistake(&at.place, format!("{:?} is no name of a header", at.value), "");
            }
            let taken = [&assignment.tenant_header, &assignment.stream_header];
            if taken.iter().any(|name| name.eq_ignore_ascii_case(&at.value)) {
                self.out.mistake(&at.place, "this header names tenant or stream already", "give it a name of its own");
            }
        }
        if raw.addresses.items().is_empty() && tenants.iter().all(|tenant| tenant.return_path_domain.is_none()) {
            let hint = "add addresses = [\"fbl@relay.example.net\"], or return_path_domain to a tenant";
            let place = file.feedback.place(&Place::default(), "feedback");
            self.out.mistake(&place, "no report could ever arrive: no address and no return path", hint);
        }
        self.check_return_paths_of_their_own(file, tenants);
        Some(Feedback {
            addresses: raw.addresses.values(),
            header,
            key_file: match raw.key_file.given() {
                // As with include: relative to the file in which it is written.
                Some(at) => self.lines.directory(&at.place).join(&at.value),
                None => PathBuf::from(state_dir).join(FEEDBACK_KEYS),
            },
            accept_for: raw.accept_for.or(FEEDBACK_ACCEPT_FOR),
            max_report_bytes: raw.max_report_bytes.or(Size(FEEDBACK_REPORT_BYTES)).0,
            unattributed_kept: raw.unattributed_kept.or(FEEDBACK_UNATTRIBUTED_KEPT),
        })
    }

    /// At a return path domain no address exists but return paths: mail to anybody else there would be refused.
    fn check_return_paths_of_their_own(&mut self, file: &raw::File, tenants: &[Tenant]) {
        for entry in file.tenant.entries() {
            let Some(Field::Given(at)) = entry.value.as_ref().map(|raw| &raw.return_path_domain) else { continue };
            let domain = at.value.as_str();
            // A pattern (`*.example.com`) says what may be sent from, not that there are mailboxes at each name.
            let names = |pattern: &DomainPattern| matches!(pattern, DomainPattern::Exact(name) if *name == at.value);
            let sends = |tenant: &&Tenant| tenant.matches.sender_domain.iter().any(names);
            if let Some(tenant) = tenants.iter().find(sends) {
                let what = format!(
                    "tenant {:?} sends as {domain}, but at a return path domain every other address is refused",
                    tenant.name.as_str()
                );
                let hint = "use a sub-domain for nothing else, such as bounces.example.com";
                self.out.mistake(&at.place, what, hint);
            }
        }
    }

    /// A rewritten return path without anybody who reads it would throw bounces away.
    fn check_return_paths_without_feedback(&mut self, file: &raw::File) {
        for entry in file.tenant.entries() {
            if let Some(Field::Given(at)) = entry.value.as_ref().map(|raw| &raw.return_path_domain) {
                let hint = "add a [feedback] section, and let the MX of that domain lead to a [[listener]]";
                self.out.mistake(&at.place, "return paths are rewritten, but [feedback] is missing", hint);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn said(sender_domain: &str, return_path_domain: &str) -> Option<String> {
        let text = format!(
            "[server]\nhostname = \"relay.example.net\"\nstate_dir = \"/var/lib/remuda\"\n\
             [[listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"127.0.0.0/8\"]\n\
             [binding.m1]\nbind_address = \"127.0.0.11\"\nehlo_hostname = \"m1.example.net\"\n\
             [pool.main]\nactive = [\"m1\"]\n\
             [tenant.bolt]\nmatch = {{ sender_domain = [{sender_domain:?}] }}\npools = {{ default = \"main\" }}\n\
             [tenant.acme]\nmatch = {{ auth_user = [\"acme\"] }}\npools = {{ default = \"main\" }}\n\
             return_path_domain = {return_path_domain:?}\n\
             [feedback]\naddresses = [\"fbl@relay.example.net\"]\n"
        );
        Config::from_toml(&text).err().map(|error| error.to_string())
    }

    #[test]
    fn a_return_path_domain_is_nobodys_sender_domain() {
        let said_of_own = said("acme.example", "acme.example").expect("a mistake");
        assert!(
            said_of_own.contains("tenant.acme.return_path_domain: tenant \"bolt\" sends as acme.example"),
            "{said_of_own}"
        );
        assert!(said_of_own.contains("use a sub-domain"), "{said_of_own}");
        for (sender_domain, return_path_domain) in [
            ("acme.example", "bounces.acme.example"),
            ("*.acme.example", "bounces.acme.example"),
            ("acme.example", "relay.example.net"),
        ] {
            assert_eq!(said(sender_domain, return_path_domain), None, "{sender_domain}");
        }
    }
}
