//! The sections that refer to little else: server, listeners, assignment, dns, queue, delivery, reputation, log, classify.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use super::Context;
use super::context::{host_name, is_header_name, place_of, section};
use crate::config::defaults::{LOW_SPACE_FLOOR, SHUTDOWN_GRACE};
use crate::config::mistake::Place;
use crate::config::read::{At, Field, List, NameServer, Size};
use crate::config::{Assignment, AuthMode, Classify, Day, Delivery, Dns, Listener, Log, Queue, Server, Timeouts, raw};
use crate::message::TenantName;

impl Context<'_> {
    pub(super) fn server(&mut self, file: &raw::File) -> Option<Server> {
        let place = file.server.place(&Place::default(), "server");
        if let Field::Bad = file.server {
            return None;
        }
        let raw = section(&file.server);
        let hint = "write the full name of this host, such as \"relay.example.net\"";
        let hostname = raw.hostname.required(&place, "hostname", hint, &mut self.out).and_then(|at| {
            let text = At { value: at.value.as_str().to_owned(), place: at.place.clone() };
            host_name(&text, &mut self.out)
        });
        if let (Some(name), Some(at)) = (&hostname, raw.hostname.given())
            && !name.as_str().contains('.')
        {
            let hint = "receivers refuse such a name in EHLO: write the full name, such as \"relay.example.net\"";
            self.out.warning(&at.place, format!("{name:?} has no dot"), hint);
        }
        let hint = "write an absolute path, such as \"/var/lib/remuda\"";
        let state_dir = raw.state_dir.required(&place, "state_dir", hint, &mut self.out);
        if let Some(at) = state_dir.filter(|at| !Path::new(&at.value).is_absolute()) {
            self.out.mistake(&at.place, format!("{:?} is a relative path", at.value), hint);
        }
        let state_dir = state_dir.map(|at| PathBuf::from(&at.value));
        Some(Server {
            day: self.day(&section(&raw.day)),
            hostname: hostname?,
            state_dir: state_dir?,
            shutdown_grace: raw.shutdown_grace.or(SHUTDOWN_GRACE),
            low_space_floor: raw.low_space_floor.or(Size(LOW_SPACE_FLOOR)).0,
            seed: raw.seed.value().copied(),
            users_file: self.beside(&raw.users_file),
        })
    }

    fn day(&mut self, raw: &raw::Day) -> Day {
        let default = Day::default();
        let timezone = raw.timezone.given().and_then(|at| {
            let zone = jiff::tz::TimeZone::get(&at.value).ok();
            if zone.is_none() {
                let hint = "write an IANA name such as \"Europe/Berlin\" or \"UTC\" (names other than UTC need the \
                            system's tzdata)";
                self.out.mistake(&at.place, format!("no time zone {:?}", at.value), hint);
            }
            zone
        });
        Day {
            timezone: timezone.unwrap_or(default.timezone),
            starts: raw.starts.value().map_or(default.starts, |time| time.0),
        }
    }

    pub(super) fn listeners(&mut self, file: &raw::File) -> Vec<Listener> {
        let mut listeners: Vec<(Listener, Place)> = Vec::new();
        for At { value: raw, place } in file.listener.items() {
            let hint = "write address = \"127.0.0.1:2525\"";
            let address = raw.address.required(place, "address", hint, &mut self.out);
            self.check_listener(raw, place);
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
                auth: raw.auth.or(default.auth),
                ..default
            };
            listeners.push((listener, at.place.clone()));
        }
        listeners.into_iter().map(|(listener, _)| listener).collect()
    }

    fn check_listener(&mut self, raw: &raw::Listener, place: &Place) {
        let trust: Vec<IpNet> = raw.trust.values();
        // Two halves make a whole, and so do the IPv4 addresses in their IPv6 dress.
        if IpNet::aggregate(&trust).iter().any(|net| net.prefix_len() == 0 || is_all_of_mapped_ipv4(net)) {
            let hint = "name the networks of your own clients, such as \"10.0.0.0/8\"";
            let trust_place = raw.trust.place(place, "trust");
            self.out.mistake(&trust_place, "trusts every address: this would be an open relay", hint);
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
    }

    /// A password goes over the wire as it is, so the wire must be ours.
    fn check_auth(&mut self, file: &raw::File, raw: &raw::Listener) {
        let Some(at) = raw.auth.given().filter(|at| at.value != AuthMode::Off) else { return };
        let is_local = |at: &At<SocketAddr>| at.value.ip().to_canonical().is_loopback();
        if raw.address.given().is_some_and(|address| !is_local(address)) {
            let hint = "listen on a loopback address, such as \"127.0.0.1:2587\", or write auth = \"off\" and name the \
                        clients in trust";
            self.out.mistake(&at.place, "passwords would cross the network readable: listeners have no TLS yet", hint);
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

    pub(super) fn assignment(&mut self, file: &raw::File) -> Assignment {
        let raw = section(&file.assignment);
        let default = Assignment::default();
        for field in [&raw.tenant_header, &raw.stream_header] {
            if let Some(at) = field.given().filter(|at| !is_header_name(&at.value)) {
                self.out.mistake(&at.place, format!("{:?} is no name of a header", at.value), "");
            }
        }
        let tenant_header = raw.tenant_header.or(default.tenant_header);
        let stream_header = raw.stream_header.or(default.stream_header);
        if let (true, Some(place)) = (
            tenant_header.eq_ignore_ascii_case(&stream_header),
            place_of(&raw.stream_header).or(place_of(&raw.tenant_header)),
        ) {
            self.out.mistake(place, "tenant_header and stream_header are the same", "give them two names");
        }
        let default_tenant = raw.default_tenant.given();
        let default_tenant = default_tenant.filter(|at| self.tenants.refer(&at.value, &at.place, &mut self.out));
        Assignment {
            tenant_header,
            stream_header,
            default_tenant: default_tenant.map(|at| TenantName::new(&at.value)),
            unknown: raw.unknown.or(default.unknown),
        }
    }

    pub(super) fn dns(&mut self, file: &raw::File) -> Dns {
        let raw = section(&file.dns);
        let default = Dns::default();
        self.not_instant(&raw.timeout);
        self.at_least_one(&raw.max_in_flight);
        Dns {
            servers: name_servers(&raw.servers),
            timeout: raw.timeout.or(default.timeout),
            max_in_flight: raw.max_in_flight.or(default.max_in_flight),
        }
    }

    pub(super) fn queue(&mut self, file: &raw::File) -> Queue {
        let raw = section(&file.queue);
        let default = Queue::default();
        for field in [&raw.retry_first, &raw.retry_max, &raw.lifetime, &raw.bounce_lifetime] {
            self.not_instant(field);
        }
        self.within(&raw.retry_factor, 1.0, 100.0);
        self.within(&raw.retry_jitter, 0.0, 0.5);
        self.at_least_one(&raw.max_attempts_in_flight);
        let queue = Queue {
            retry_first: raw.retry_first.or(default.retry_first),
            retry_factor: raw.retry_factor.or(default.retry_factor),
            retry_max: raw.retry_max.or(default.retry_max),
            retry_jitter: raw.retry_jitter.or(default.retry_jitter),
            lifetime: raw.lifetime.or(default.lifetime),
            bounce_lifetime: raw.bounce_lifetime.or(default.bounce_lifetime),
            sticky_tries: raw.sticky_tries.or(default.sticky_tries),
            max_attempts_in_flight: raw.max_attempts_in_flight.or(default.max_attempts_in_flight),
        };
        let first = (queue.retry_first, place_of(&raw.retry_first));
        self.not_above(first, (queue.retry_max, place_of(&raw.retry_max)), "retry_first is longer than retry_max");
        self.not_above(
            first,
            (queue.lifetime, place_of(&raw.lifetime)),
            "lifetime is shorter than retry_first: mail would be given up before its second try",
        );
        self.not_above(
            first,
            (queue.bounce_lifetime, place_of(&raw.bounce_lifetime)),
            "bounce_lifetime is shorter than retry_first: bounces would be given up before their second try",
        );
        queue
    }

    pub(super) fn delivery(&mut self, file: &raw::File) -> Delivery {
        let raw = section(&file.delivery);
        let default = Delivery::default();
        self.at_least_one(&raw.port);
        self.at_least_one(&raw.max_addresses);
        for field in [&raw.max_outbound_connections, &raw.messages_per_connection, &raw.recipients_per_message] {
            self.at_least_one(field);
        }
        self.not_instant(&raw.max_connection_age);
        Delivery {
            port: raw.port.or(default.port),
            allow_private_mx: raw.allow_private_mx.or(default.allow_private_mx),
            max_addresses: raw.max_addresses.or(default.max_addresses),
            max_outbound_connections: raw.max_outbound_connections.or(default.max_outbound_connections),
            messages_per_connection: raw.messages_per_connection.or(default.messages_per_connection),
            recipients_per_message: raw.recipients_per_message.or(default.recipients_per_message),
            keep_idle: raw.keep_idle.or(default.keep_idle),
            max_connection_age: raw.max_connection_age.or(default.max_connection_age),
            tls: raw.tls.or(default.tls),
            tls_roots: self.beside(&raw.tls_roots),
            timeouts: self.timeouts(&section(&raw.timeouts)),
        }
    }

    fn timeouts(&mut self, raw: &raw::Timeouts) -> Timeouts {
        let default = Timeouts::default();
        let mut read = |field: &Field<std::time::Duration>, default| {
            self.not_instant(field);
            field.or(default)
        };
        Timeouts {
            connect: read(&raw.connect, default.connect),
            banner: read(&raw.banner, default.banner),
            command: read(&raw.command, default.command),
            mail: read(&raw.mail, default.mail),
            rcpt: read(&raw.rcpt, default.rcpt),
            data: read(&raw.data, default.data),
            block: read(&raw.block, default.block),
            end_of_data: read(&raw.end_of_data, default.end_of_data),
            quit: read(&raw.quit, default.quit),
        }
    }

    pub(super) fn log(&mut self, file: &raw::File) -> Log {
        let raw = section(&file.log);
        let default = Log::default();
        if let Some(at) = raw.filter.given()
            && let Err(error) = tracing_subscriber::EnvFilter::builder().parse(&at.value)
        {
            let hint = "write \"info\", or \"info,remuda::delivery=debug\"";
            self.out.mistake(&at.place, format!("{:?} is no filter: {error}", at.value), hint);
        }
        Log { format: raw.format.or(default.format), filter: raw.filter.or(default.filter) }
    }

    pub(super) fn classify(&mut self, file: &raw::File) -> Classify {
        let raw = section(&file.classify);
        let mut rules: Vec<PathBuf> = Vec::new();
        for At { value, place } in raw.rules.items() {
            // As with include: relative to the file in which it is written.
            let path = self.lines.directory(place).join(value);
            if value.is_empty() {
                self.out.mistake(place, "the name of a file must not be empty", "");
            } else if rules.contains(&path) {
                self.out.mistake(place, format!("{value:?} is given twice"), "keep the first");
            } else {
                rules.push(path);
            }
        }
        Classify { rules, unmatched_kept: raw.unmatched_kept.or(Classify::default().unmatched_kept) }
    }
}

pub(super) fn name_servers(field: &Field<List<NameServer>>) -> Vec<SocketAddr> {
    field.items().iter().map(|at| at.value.0).collect()
}

pub(super) fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
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
