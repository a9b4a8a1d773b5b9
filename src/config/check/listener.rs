//! `[[listener]]` and `[certificate.NAME]`: who may come, over what, and who may say who it is.

use std::net::SocketAddr;

use ipnet::IpNet;

use super::Context;
use super::context::{Names, place_of, section};
use crate::config::defaults::{MAX_MESSAGE_BYTES, MEMORY};
use crate::config::mistake::Place;
use crate::config::read::{At, List, Size};
use crate::config::{AuthMode, Certificate, Listener, TlsMode, raw};

impl Context<'_> {
    pub(super) fn listeners(&mut self, file: &raw::File) -> Vec<Listener> {
        let mut listeners: Vec<(Listener, Place)> = Vec::new();
        for At { value: raw, place } in file.listener.items() {
            let hint = "write address = \"127.0.0.1:2525\"";
            let address = raw.address.required(place, "address", hint, &mut self.out);
            self.check_listener(raw, place);
            self.check_memory(file, raw);
            self.check_auth(file, raw);
            let Some(at) = address else { continue };
            let twin = listeners.iter().find(|(other, _)| other.address == at.value && at.value.port() != 0);
            if let Some((_, first)) = twin {
                let first = self.lines.name(first);
                self.out.mistake(&at.place, format!("{} is listened on already, at {first}", at.value), "");
            }
            let default = Listener::at(at.value);
            let listener = Listener {
                trust: raw.trust.values(),
                max_connections: raw.max_connections.or(default.max_connections),
                max_connections_per_client: raw.max_connections_per_client.or(default.max_connections_per_client),
                max_message_bytes: raw.max_message_bytes.or(Size(default.max_message_bytes)).0,
                max_recipients: raw.max_recipients.or(default.max_recipients),
                max_errors: raw.max_errors.or(default.max_errors),
                idle_timeout: raw.idle_timeout.or(default.idle_timeout),
                busy_idle_timeout: raw.busy_idle_timeout.or(default.busy_idle_timeout),
                mails_per_session: raw.mails_per_session.value().copied().filter(|mails| *mails > 0),
                max_header_bytes: raw.max_header_bytes.or(Size(default.max_header_bytes)).0,
                submission: raw.submission.or(default.submission),
                auth: raw.auth.or(default.auth),
                auth_insecure: raw.auth_insecure.or(default.auth_insecure),
                tls: raw.tls.or(default.tls),
                certificates: self.shown_certificates(file, raw),
                proxy_protocol: raw.proxy_protocol.values(),
                xclient: raw.xclient.values(),
                ..default
            };
            listeners.push((listener, at.place.clone()));
        }
        listeners.into_iter().map(|(listener, _)| listener).collect()
    }

    /// What is written under `[certificate]`; what is in the files is found out when they are read.
    pub(super) fn certificates(&mut self, file: &raw::File) -> Vec<Certificate> {
        let mut certificates = Vec::new();
        for (entry, raw) in self.named(&file.certificate) {
            let hint = "write certificate = \"/etc/remuda/tls/chain.pem\" and key = \"/etc/remuda/tls/key.pem\"";
            let certificate = raw.certificate.required(&entry.place, "certificate", hint, &mut self.out);
            let key = raw.key.required(&entry.place, "key", hint, &mut self.out);
            if certificate.and(key).is_none() {
                continue;
            }
            let (certificate, key) = (self.beside(&raw.certificate), self.beside(&raw.key));
            if let (Some(certificate), Some(key)) = (certificate, key) {
                certificates.push(Certificate { name: entry.name.clone(), certificate, key });
            }
        }
        certificates
    }

    /// The certificates of a listener: there is one where there is TLS, and each is configured.
    fn shown_certificates(&mut self, file: &raw::File, raw: &raw::Listener) -> Vec<String> {
        let known = Names::of("certificate", &file.certificate);
        let mut names: Vec<String> = Vec::new();
        for at in raw.certificates.items() {
            known.refer(&at.value, &at.place, &mut self.out);
            if names.contains(&at.value) {
                self.out.mistake(&at.place, format!("{:?} is given twice", at.value), "keep the first");
            }
            names.push(at.value.clone());
        }
        match raw.tls.given().filter(|at| at.value != TlsMode::Off) {
            Some(at) if names.is_empty() => {
                let hint = "write certificates = [\"NAME\"], and [certificate.NAME] with its certificate and key";
                self.out.mistake(&at.place, "TLS needs a certificate", hint);
            }
            None if !names.is_empty() => {
                if let Some(at) = raw.certificates.given() {
                    let hint = "write tls = \"starttls\", \"required\" or \"implicit\"";
                    self.out.warning(&at.place, "nobody sees them: tls is off", hint);
                }
            }
            _ => {}
        }
        names
    }

    fn check_listener(&mut self, raw: &raw::Listener, place: &Place) {
        for (nets, key, what, hint) in [
            (
                &raw.trust,
                "trust",
                "trusts every address: this would be an open relay",
                "name the networks of your own clients, such as \"10.0.0.0/8\"",
            ),
            (
                &raw.proxy_protocol,
                "proxy_protocol",
                "takes everybody's word for who the client is: this would be an open relay",
                "name your balancers, such as \"10.0.0.7\"",
            ),
            (
                &raw.xclient,
                "xclient",
                "takes everybody's word for who the client is: this would be an open relay",
                "name your own mail servers, such as \"10.0.0.7\"",
            ),
        ] {
            // Two halves make a whole, and so do the IPv4 addresses in their IPv6 dress.
            let is_all = |net: &IpNet| net.prefix_len() == 0 || is_all_of_mapped_ipv4(net);
            if IpNet::aggregate(&nets.values()).iter().any(is_all) {
                self.out.mistake(&nets.place(place, key), what, hint);
            }
        }
        self.at_least_one(&raw.max_errors);
        for field in [&raw.max_connections, &raw.max_connections_per_client, &raw.max_recipients] {
            self.at_least_one(field);
        }
        if let Some(at) = raw.max_recipients.given().filter(|at| (1..100).contains(&at.value)) {
            self.out.warning(&at.place, "RFC 5321 asks for at least 100 recipients", "clients may not expect less");
        }
        if let Some(at) = raw.max_message_bytes.given().filter(|at| at.value.0 < 64 * 1024) {
            self.out.mistake(&at.place, "below 64 KiB, which RFC 5321 asks every server to take", "");
        }
        self.not_instant(&raw.idle_timeout);
        self.not_instant(&raw.busy_idle_timeout);
        if let Some(at) = raw.max_header_bytes.given().filter(|at| at.value.0 < 16 * 1024) {
            self.out.mistake(&at.place, "below 16 KiB, which the headers of ordinary mail have", "");
        }
    }

    /// The largest message must fit in by itself.
    fn check_memory(&mut self, file: &raw::File, raw: &raw::Listener) {
        let memory = &section(&file.server).memory;
        let largest = raw.max_message_bytes.or(Size(MAX_MESSAGE_BYTES)).0;
        if memory.or(Size(MEMORY)).0 < largest
            && let Some(place) = place_of(memory).or(place_of(&raw.max_message_bytes))
        {
            let hint = "write a larger server.memory, or a smaller max_message_bytes for the listener";
            self.out.mistake(place, "the largest message of a listener would not fit into server.memory", hint);
        }
    }

    /// A password goes over the wire as it is, so the wire must be private, or ours.
    fn check_auth(&mut self, file: &raw::File, raw: &raw::Listener) {
        let is_local = |at: &At<SocketAddr>| at.value.ip().to_canonical().is_loopback();
        let is_far = raw.address.given().is_some_and(|address| !is_local(address));
        let insecure = raw.auth_insecure.given().filter(|at| at.value);
        if let Some(at) = insecure.filter(|_| is_far) {
            let hint = "leave it out and write tls = \"starttls\", or listen on a loopback address, such as \"127.0.0.1:2587\"";
            self.out.mistake(&at.place, "passwords would cross the network readable", hint);
        }
        let Some(at) = raw.auth.given().filter(|at| at.value != AuthMode::Off) else { return };
        let has_tls = raw.tls.value().is_some_and(|mode| *mode != TlsMode::Off);
        if !has_tls && insecure.is_none() {
            let hint = if is_far {
                "write tls = \"starttls\" and certificates = [\"NAME\"], or auth = \"off\" and name the clients in trust"
            } else {
                "write tls = \"starttls\" and certificates = [\"NAME\"], or auth_insecure = true, which takes passwords in \
                 clear text from this machine"
            };
            self.out.mistake(&at.place, "nobody could log in: AUTH is offered over TLS only", hint);
        }
        if at.value == AuthMode::Required && raw.trust.value().is_some_and(|trust| !trust.is_written_empty()) {
            let hint = "leave trust out, or write auth = \"optional\": then clients of trust may send without a login";
            self.out.warning(&at.place, "trust lets nobody send here without a login", hint);
        }
        if section(&file.server).users_file.is_missing() {
            let hint = "write users_file = \"users\" under [server], and make its lines with `remuda user hash NAME`";
            self.out.mistake(&at.place, "nobody could log in: server.users_file is missing", hint);
        }
    }

    /// A listener that trusts nobody takes reports, where there are any, and refuses everything else.
    pub(super) fn check_untrusting_listeners(&mut self, file: &raw::File, takes_reports: bool) {
        for At { value: raw, place } in file.listener.items() {
            let trusts_nobody = raw.trust.is_missing() || raw.trust.value().is_some_and(List::is_written_empty);
            let lets_users_in = raw.auth.value().is_some_and(|mode| *mode != AuthMode::Off);
            if trusts_nobody && !takes_reports && !lets_users_in {
                let hint = "name the networks of your clients: trust = [\"127.0.0.0/8\"]";
                self.out.warning(&raw.trust.place(place, "trust"), "trusts nobody: it will refuse all mail", hint);
            }
        }
    }
}

/// `::ffff:0:0/96` and everything that holds it.
fn is_all_of_mapped_ipv4(net: &IpNet) -> bool {
    match net {
        IpNet::V6(net) => {
            net.prefix_len() <= 96 && net.contains(&std::net::Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped())
        }
        IpNet::V4(_) => false,
    }
}
