//! Broken files and what is said of them; the annotated example; files that no one would write.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use proptest::prelude::*;

use super::{Files, Loaded, Mistakes, SourceFile, check, load};
use crate::config::{
    BackOff, CodeMeaning, Config, Delivery, EhloName, Listener, Queue, Reputation, WarmupRules, WarmupStart, Window,
    raw,
};

const EXAMPLE: &str = include_str!("../../../config/remuda.toml");

/// The smallest good file, in pieces, so that a test can leave one out or write another.
const SERVER: &str = "[server]\nhostname = \"relay.example.net\"\nstate_dir = \"/var/lib/remuda\"\n";
const LISTENER: &str = "[[listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"127.0.0.0/8\"]\n";
const BINDINGS: &str = "[binding.mta1]\nbind_address = \"192.0.2.1\"\n[binding.mta2]\nbind_address = \"192.0.2.2\"\n";
const POOL: &str = "[pool.p]\nactive = [\"mta1\"]\n";
const TENANT: &str = "[tenant.t]\npools = { default = \"p\" }\n";

fn check_text(text: &str) -> Result<Loaded, Mistakes> {
    check(&[SourceFile { path: "remuda.toml".into(), text: text.to_owned() }])
}

/// What is said of the smallest good file with `more` before it; line numbers are those of `more`.
fn complaints(more: &str) -> Vec<String> {
    let mut text = more.to_owned();
    for (header, piece) in [
        ("[server]", SERVER),
        ("[[listener]]", LISTENER),
        ("[binding.mta1]", BINDINGS),
        ("[pool.p]", POOL),
        ("[tenant.t]", TENANT),
    ] {
        if !more.contains(header) {
            text.push_str(piece);
        }
    }
    match check_text(&text) {
        Ok(_) => Vec::new(),
        Err(error) => error.mistakes.iter().map(|m| m.to_string().replace("remuda.toml:", "")).collect(),
    }
}

fn good(text: &str) -> Config {
    check_text(text).unwrap_or_else(|error| panic!("{error}")).config
}

fn minimal() -> String {
    [SERVER, LISTENER, BINDINGS, POOL, TENANT].concat()
}

#[test]
fn every_mistake_is_named_with_line_path_and_hint() {
    // (file, its only mistake)
    let table: &[(&str, &str)] = &[
        // TOML itself
        ("[server\n", "1:8: TOML: unclosed table, expected `]`"),
        // keys and types
        ("[queue]\nretry_frist = \"5m\"\n", "2:1: queue.retry_frist: unknown key; did you mean \"retry_first\"?"),
        ("[qeue]\n", "1:2: qeue: unknown key; did you mean \"queue\"?"),
        ("[queue]\nlifetime = 5\n", "2:12: queue.lifetime: a duration needs a unit; write \"5s\" for seconds"),
        (
            "[queue]\nlifetime = true\n",
            "2:12: queue.lifetime: expected a duration such as \"15m\", found true or false",
        ),
        ("[queue]\nsticky_tries = 256\n", "2:16: queue.sticky_tries: 256 is out of range; from 0 to 255"),
        (
            "[queue]\nsticky_tries = \"3\"\n",
            "2:16: queue.sticky_tries: expected a whole number, found a text; write it without quotes",
        ),
        ("[queue]\nretry_factor = inf\n", "2:16: queue.retry_factor: not a finite number"),
        ("queue = 1\n", "1:9: queue: expected a table, found a whole number; write { key = value, … }"),
        ("[[queue]]\n", "1:3: queue: expected a table, found a list; write its header as [name], not [[name]]"),
        ("[dns]\nservers = \"192.0.2.53\"\n", "2:11: dns.servers: expected a list, found a text; put it into [ ]"),
        (
            "[dns]\nservers = [\"192.0.2.53\", \"x\"]\n",
            "2:26: dns.servers[1]: \"x\" is no address of a name server; write \"192.0.2.53\" or \"127.0.0.1:5353\"",
        ),
        (
            "[delivery.timeouts]\nbaner = \"1m\"\n",
            "2:1: delivery.timeouts.baner: unknown key; did you mean \"banner\"?",
        ),
        // missing
        (
            "[server]\nhostname = \"relay.example.net\"\n",
            "1:2: server.state_dir: missing; write an absolute path, such as \"/var/lib/remuda\"",
        ),
        (
            "[[listener]]\ntrust = [\"127.0.0.1\"]\n",
            "1:1: listener[0].address: missing; write address = \"127.0.0.1:2525\"",
        ),
        (
            "listener = []\n# [[listener]]\n",
            "1:1: listener: no listener is configured; add [[listener]] with address = \"127.0.0.1:2525\"",
        ),
        (
            "[binding.mta1]\n",
            "1:10: binding.mta1.bind_address: missing; write the source address of its connections, such as bind_address = \"192.0.2.1\"",
        ),
        ("[pool.p]\n", "1:7: pool.p.active: missing; write active = [\"BINDING\", …]"),
        ("[tenant.t]\n", "1:9: tenant.t.pools: missing; write pools = { default = \"POOL\" }"),
        (
            "[tenant.t]\npools = { x = \"p\" }\n",
            "2:9: tenant.t.pools: has no pool for the stream default; write pools = { default = \"POOL\" }",
        ),
        // injection and signatures
        (
            "[injection]\naddress = \"192.0.2.1:8026\"\n",
            "2:11: injection.address: not loopback: tokens and mail would cross the network readable; add tls = { certificate = \"…\", key = \"…\" }, or write a loopback address such as \"127.0.0.1:8026\"",
        ),
        (
            "[injection]\nmax_bytes_in_flight = \"100MiB\"\n",
            "2:23: injection.max_bytes_in_flight: a message of the largest size would never be taken; max_bytes_in_flight must be at least four times max_message_bytes",
        ),
        (
            "[injection.token.a]\nhash = \"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"\n",
            "1:18: injection.token.a.tenant: missing; write tenant = \"NAME\": whose mail it sends",
        ),
        (
            "[dkim.a]\ndomain = \"a.example\"\nselector = \"s 1\"\nkey = \"k\"\ntenants = [\"t\"]\n",
            "3:12: dkim.a.selector: \"s 1\" is no selector; letters, digits and hyphens, such as \"s1\" or \"2026-11\"",
        ),
        (
            "[dkim.a]\ndomain = \"a.example\"\nselector = \"s\"\nkey = \"k\"\ntenants = [\"t\"]\nheaders = [\"Received\"]\n",
            "6:12: dkim.a.headers[0]: Received changes on the way: the signature would not hold; take it out",
        ),
        // window
        ("[window]\nstart = 0\n", "2:9: window.start: must be at least 1"),
        ("[window]\ndeferral_ratio = 10\n", "2:18: window.deferral_ratio: 10 is out of range; from 0 to 1"),
        ("[window]\nback_off = { pause = \"0s\" }\n", "2:22: window.back_off.pause: must be longer than 0"),
        (
            "[provider.g]\nmx = [\"g.example\"]\nback_off = { add_every = \"0s\" }\n",
            "3:26: provider.g.back_off.add_every: must be longer than 0",
        ),
        // server
        (
            "[server]\nhostname = \"a_b\"\nstate_dir = \"/x\"\n",
            "2:12: server.hostname: \"a_b\" is no host name; write a full host name such as \"mta1.example.net\"",
        ),
        (
            "[server]\nhostname = \"a.example\"\nstate_dir = \"x\"\n",
            "3:13: server.state_dir: \"x\" is a relative path; write an absolute path, such as \"/var/lib/remuda\"",
        ),
        (
            "[server]\nhostname = \"a.example\"\nstate_dir = \"/x\"\nday = { timezone = \"Europe/Berln\" }\n",
            "4:20: server.day.timezone: no time zone \"Europe/Berln\"; write an IANA name such as \"Europe/Berlin\" or \"UTC\" (names other than UTC need the system's tzdata)",
        ),
        (
            "[server]\nhostname = \"a.example\"\nstate_dir = \"/x\"\nday = { starts = \"25:00\" }\n",
            "4:18: server.day.starts: \"25:00\" is no time of day; write hours and minutes, such as \"00:00\"",
        ),
        // listener
        (
            "[[listener]]\naddress = \"127.0.0.1\"\ntrust = [\"::1\"]\n",
            "2:11: listener[0].address: \"127.0.0.1\" is no address with port; add the port, such as \"127.0.0.1:2525\"",
        ),
        (
            "[[listener]]\naddress = \"127.0.0.1:25\"\ntrust = [\"0.0.0.0/0\"]\n",
            "3:9: listener[0].trust: trusts every address: this would be an open relay; name the networks of your own clients, such as \"10.0.0.0/8\"",
        ),
        (
            "[[listener]]\naddress = \"127.0.0.1:25\"\ntrust = [\"0.0.0.0/1\", \"128.0.0.0/1\"]\n",
            "3:9: listener[0].trust: trusts every address: this would be an open relay; name the networks of your own clients, such as \"10.0.0.0/8\"",
        ),
        (
            "[[listener]]\naddress = \"[::]:25\"\ntrust = [\"::ffff:0:0/96\"]\n",
            "3:9: listener[0].trust: trusts every address: this would be an open relay; name the networks of your own clients, such as \"10.0.0.0/8\"",
        ),
        (
            "[[listener]]\naddress = \"127.0.0.1:25\"\ntrust = [\"10.1.2.3/8\"]\n",
            "3:10: listener[0].trust[0]: \"10.1.2.3/8\" is neither a network nor one address; write \"10.0.0.0/8\" for the network or \"10.1.2.3\" for the one address",
        ),
        (
            "[[listener]]\naddress = \"127.0.0.1:25\"\ntrust = [\"::1\"]\n[[listener]]\naddress = \"127.0.0.1:25\"\ntrust = [\"::1\"]\n",
            "5:11: listener[1].address: 127.0.0.1:25 is listened on already, at 2",
        ),
        (
            "[[listener]]\naddress = \"[::]:25\"\nauth = \"required\"\n[server]\nhostname = \"a.example\"\nstate_dir = \"/x\"\nusers_file = \"u\"\n",
            "3:8: listener[0].auth: nobody could log in: AUTH is offered over TLS only; write tls = \"starttls\" and certificates = [\"NAME\"], or auth = \"off\" and name the clients in trust",
        ),
        (
            "[[listener]]\naddress = \"[::1]:25\"\nauth = \"required\"\n[server]\nhostname = \"a.example\"\nstate_dir = \"/x\"\nusers_file = \"u\"\n",
            "3:8: listener[0].auth: nobody could log in: AUTH is offered over TLS only; write tls = \"starttls\" and certificates = [\"NAME\"], or auth_insecure = true, which takes passwords in clear text from this machine",
        ),
        (
            "[[listener]]\naddress = \"[::]:25\"\nauth_insecure = true\n",
            "3:17: listener[0].auth_insecure: passwords would cross the network readable; leave it out and write tls = \"starttls\", or listen on a loopback address, such as \"127.0.0.1:2587\"",
        ),
        (
            "[[listener]]\naddress = \"[::]:25\"\ntls = \"implicit\"\n",
            "3:7: listener[0].tls: TLS needs a certificate; write certificates = [\"NAME\"], and [certificate.NAME] with its certificate and key",
        ),
        (
            "[[listener]]\naddress = \"[::]:25\"\ntls = \"implicit\"\ncertificates = [\"rely\"]\n[certificate.relay]\ncertificate = \"a\"\nkey = \"b\"\n",
            "4:17: listener[0].certificates[0]: no certificate \"rely\"; did you mean \"relay\"?",
        ),
        (
            "[certificate.relay]\ncertificate = \"a\"\n",
            "1:14: certificate.relay.key: missing; write certificate = \"/etc/remuda/tls/chain.pem\" and key = \"/etc/remuda/tls/key.pem\"",
        ),
        (
            "[[listener]]\naddress = \"[::]:25\"\nproxy_protocol = [\"::/0\"]\n",
            "3:18: listener[0].proxy_protocol: takes everybody's word for who the client is: this would be an open relay; name your balancers, such as \"10.0.0.7\"",
        ),
        (
            "[[listener]]\naddress = \"[::]:25\"\nxclient = [\"0.0.0.0/0\"]\n",
            "3:11: listener[0].xclient: takes everybody's word for who the client is: this would be an open relay; name your own mail servers, such as \"10.0.0.7\"",
        ),
        (
            "[tenant.t]\npools = { default = \"p\" }\nsenders = []\n",
            "3:11: tenant.t.senders: allows no sender at all; name them, or leave the key out: then any domain will do",
        ),
        (
            "[[listener]]\naddress = \"[::1]:25\"\nauth_insecure = true\nauth = \"optional\"\n",
            "4:8: listener[0].auth: nobody could log in: server.users_file is missing; write users_file = \"users\" under [server], and make its lines with `remuda user hash NAME`",
        ),
        (
            "[[listener]]\naddress = \"127.0.0.1:25\"\ntrust = [\"::1\"]\ntls = {}\n",
            "4:7: listener[0].tls: expected one of \"off\", \"starttls\", \"required\", \"implicit\", found a table",
        ),
        // assignment
        (
            "[assignment]\ntenant_header = \"X Tenant\"\n",
            "2:17: assignment.tenant_header: \"X Tenant\" is no name of a header",
        ),
        (
            "[assignment]\ndefault_tenant = \"T1\"\n[tenant.t]\npools.default = \"p\"\n",
            "2:18: assignment.default_tenant: no tenant \"T1\"; known: t",
        ),
        (
            "[assignment]\nunknown = \"refused\"\n",
            "2:11: assignment.unknown: \"refused\" is not known here; did you mean \"refuse\"?",
        ),
        (
            "[assignment]\nstream_header = \"x-remuda-tenant\"\n",
            "2:17: assignment.stream_header: tenant_header and stream_header are the same; give them two names",
        ),
        // bindings
        (
            "[binding.\"mta 3\"]\nbind_address = \"192.0.2.3\"\n",
            "1:10: binding.\"mta 3\": a name must not contain ' '; write it with - or _ instead",
        ),
        (
            "[binding.\"a:b\"]\nbind_address = \"192.0.2.3\"\n",
            "1:10: binding.\"a:b\": a name must not contain ':'; write it with - or _ instead",
        ),
        ("[binding.\"\"]\nbind_address = \"192.0.2.3\"\n", "1:10: binding.\"\": a name must not be empty"),
        (
            "[binding.m]\nbind_address = \"0.0.0.0\"\n",
            "2:16: binding.m.bind_address: 0.0.0.0 is every address of the host; write the one address it shall send from: the system must never choose",
        ),
        (
            "[binding.m]\nbind_address = \"192.0.2.3:25\"\n",
            "2:16: binding.m.bind_address: \"192.0.2.3:25\" is no IP address; write the address without a port",
        ),
        (
            "[binding.m]\nbind_address = \"192.0.2.3\"\npublic_address = \"2001:db8::1\"\n",
            "3:18: binding.m.public_address: public_address and bind_address are of different families",
        ),
        (
            "[binding.m]\nbind_address = []\n",
            "2:16: binding.m.bind_address: no address; write bind_address = \"192.0.2.1\"",
        ),
        (
            "[binding.m]\nbind_address = [\"192.0.2.3\", \"192.0.2.4\"]\n",
            "2:30: binding.m.bind_address[1]: 192.0.2.4 is a second IPv4 address; a binding has one of each family; make a binding of its own of it",
        ),
        (
            "[binding.m]\nbind_address = [\"192.0.2.3\", \"2001:db8::3\", \"2001:db8::4\"]\n",
            "2:45: binding.m.bind_address[2]: 2001:db8::4 is a second IPv6 address; a binding has one of each family; make a binding of its own of it",
        ),
        (
            "[binding.m]\nbind_address = [\"192.0.2.3\", \"::\"]\n",
            "2:30: binding.m.bind_address[1]: :: is every address of the host; write the one address it shall send from: the system must never choose",
        ),
        (
            "[binding.m]\nbind_address = [\"192.0.2.3\", \"2001:db8::x\"]\n",
            "2:30: binding.m.bind_address[1]: \"2001:db8::x\" is no IP address; write it as \"192.0.2.1\" or \"2001:db8::1\"",
        ),
        (
            "[binding.m]\nbind_address = [\"192.0.2.3\", \"2001:db8::3\"]\n[binding.n]\nbind_address = [\"192.0.2.4\", \"2001:db8::3\"]\n",
            "4:30: binding.n.bind_address[1]: 2001:db8::3 is the bind_address of binding \"m\" already, at 2; two bindings cannot share an address: they share its reputation",
        ),
        (
            "[binding.m]\nbind_address = \"192.0.2.3\"\npublic_address = [\"192.0.2.3\", \"2001:db8::1\"]\n",
            "3:32: binding.m.public_address[1]: 2001:db8::1 is of IPv6, and bind_address is not; write its inner address of that family in bind_address",
        ),
        (
            "[binding.m]\nbind_address = [\"192.0.2.3\", \"2001:db8::3\"]\npublic_address = [\"192.0.2.3\", \"192.0.2.4\"]\n",
            "3:32: binding.m.public_address[1]: 192.0.2.4 is a second IPv4 address; a binding has one of each family",
        ),
        (
            "[binding.m]\nbind_address = \"192.0.2.3\"\nprefer = \"ipv6\"\n",
            "3:10: binding.m.prefer: the binding has no IPv6 address to prefer; write one of each family: bind_address = [\"192.0.2.1\", \"2001:db8::1\"]",
        ),
        (
            "[binding.m]\nbind_address = [\"192.0.2.3\", \"2001:db8::3\"]\nprefer = \"v6\"\n",
            "3:10: binding.m.prefer: \"v6\" is not known here; write one of \"ipv4\", \"ipv6\"",
        ),
        (
            "[binding.m]\nbind_address = \"192.0.2.3\"\n[binding.n]\nbind_address = \"192.0.2.3\"\n",
            "4:16: binding.n.bind_address: 192.0.2.3 is the bind_address of binding \"m\" already, at 2; two bindings cannot share an address: they share its reputation",
        ),
        (
            "[binding.m]\nbind_address = \"192.0.2.3\"\nehlo_hostname = \"mta_1.example\"\n",
            "3:17: binding.m.ehlo_hostname: \"mta_1.example\" is no host name; write a full host name such as \"mta1.example.net\"",
        ),
        (
            "[binding.m]\nbind_address = \"192.0.2.3\"\nehlo_hostname = \"hostnme\"\n",
            "3:17: binding.m.ehlo_hostname: \"hostnme\" is no full host name (RFC 5321 §2.3.5); did you mean \"hostname\"?",
        ),
        (
            "[binding.m]\nbind_address = \"192.0.2.3\"\nehlo_hostname = \"192.0.2.3\"\n",
            "3:17: binding.m.ehlo_hostname: \"192.0.2.3\" is an address, not a name; write a host name, or \"[192.0.2.3]\" for the bare address",
        ),
        (
            "[binding.m]\nbind_address = \"192.0.2.3\"\ndaily_cap = 0\n",
            "3:13: binding.m.daily_cap: a daily cap of 0 lets nothing through; leave it out for no limit; to stop a binding write suspend_delivery = true",
        ),
        (
            "[binding.m]\nbind_address = \"192.0.2.3\"\nmax_outbound_connections = 0\n",
            "3:28: binding.m.max_outbound_connections: no connections means no mail; leave it out for no limit; to stop a binding write suspend_delivery = true",
        ),
        (
            "[binding.m]\nbind_address = \"192.0.2.3\"\nrate_limit = \"0/s\"\n",
            "3:14: binding.m.rate_limit: rate \"0/s\" lets nothing through; leave the key out for no limit; to stop a binding write suspend_delivery = true",
        ),
        (
            "[binding.m]\nbind_address = \"192.0.2.3\"\nrate_limit = \"1000/d\"\n",
            "3:14: binding.m.rate_limit: rate \"1000/d\" spans more than an hour; a limiter is no calendar: write daily_cap for a limit per day",
        ),
        (
            "[binding.m]\nbind_address = \"192.0.2.3\"\nwarmup = {}\n",
            "3:10: binding.m.warmup: none of started, stage and age is given; started = 2026-11-01 for a new address; stage = 7 or age = \"30d\" for one warmed elsewhere",
        ),
        (
            "[binding.m]\nbind_address = \"192.0.2.3\"\nwarmup = { stage = 1, started = 2026-11-01 }\n",
            "3:20: binding.m.warmup.stage: one of started, stage and age, not two; started = 2026-11-01 for a new address; stage = 7 or age = \"30d\" for one warmed elsewhere",
        ),
        (
            "[binding.m]\nbind_address = \"192.0.2.3\"\nwarmup = { stage = 2, ladder = \"l\" }\n[ladder.l]\nstages = [1, 2]\n",
            "3:20: binding.m.warmup.stage: ladder \"l\" has no stage 2; from 0 to 1; an address that is warm needs no warmup",
        ),
        (
            "[binding.m]\nbind_address = \"192.0.2.3\"\nwarmup = { stage = 2, ladder = \"standrad\" }\n",
            "3:32: binding.m.warmup.ladder: no ladder \"standrad\"; did you mean \"standard\"?",
        ),
        ("[ladder.fast]\nstages = [1]\n", "1:9: ladder.fast: ladder \"fast\" is built in; choose another name"),
        (
            "[ladder.l]\nstages = [200, 100]\n",
            "2:16: ladder.l.stages[1]: 100 is no more than the stage before, 200; stages must climb",
        ),
        (
            "[binding.m]\nbind_address = \"192.0.2.3\"\n[binding.m.provider.gmial]\n[provider.gmail]\nmx = [\"*.google.com\"]\n",
            "3:21: binding.m.provider.gmial: no provider \"gmial\"; did you mean \"gmail\"?",
        ),
        (
            "[binding.m]\nbind_address = \"192.0.2.3\"\ndaily_cap = 10\nprovider.g.daily_cap = 11\n[provider.g]\nmx = [\"*.google.com\"]\n",
            "4:24: binding.m.provider.g.daily_cap: 11 is above the binding's own daily_cap of 10; it could never be used: lower it or leave it out",
        ),
        // pools
        (
            "[pool.p]\nactive = [\"mta1\", \"mat2\"]\n",
            "2:19: pool.p.active[1]: no binding \"mat2\"; did you mean \"mta2\"?",
        ),
        (
            "[pool.p]\nactive = [\"mta1\", { binding = \"mta9\", weight = 2 }]\n",
            "2:31: pool.p.active[1].binding: no binding \"mta9\"; did you mean \"mta1\"?",
        ),
        ("[pool.p]\nactive = []\n", "2:10: pool.p.active: a tier needs at least one binding"),
        (
            "[pool.p]\nactive = [\"mta1\"]\nbackup = [\"mta2\"]\n",
            "3:11: pool.p.backup[0]: expected a list, found a text; put it into [ ]",
        ),
        (
            "[pool.p]\nactive = [\"mta1\"]\nbackup = [[\"mta1\"]]\n",
            "3:12: pool.p.backup[0][0]: binding \"mta1\" stands in this pool already, as pool.p.active[0]; keep one of the two; for a larger share use weight",
        ),
        (
            "[pool.p]\nactive = [{ binding = \"mta1\", weight = 0 }]\n",
            "2:10: pool.p.active: every weight is 0: nothing would ever leave; give at least one of them a weight of 1",
        ),
        (
            "[pool.p]\nactive = [{ binding = \"mta1\", weight = 70_000 }]\n",
            "2:40: pool.p.active[0].weight: 70000 is out of range; from 0 to 65535",
        ),
        (
            "[pool.p]\nactive = [{ weight = 1 }]\n",
            "2:11: pool.p.active[0]: needs either binding or pool; write { binding = \"NAME\", weight = 2 }",
        ),
        (
            "[pool.p]\nactive = [\"mta1\"]\nbackup = [[{ pool = \"q\" }]]\n[pool.q]\nactive = [\"mta2\"]\nbackup = [[{ pool = \"p\" }]]\n",
            "6:12: pool.q.backup[0][0]: pools back one another up in a ring: p → q → p; mail would run in circles: take one of them out",
        ),
        (
            "[pool.p]\nactive = [\"mta1\"]\nbackup = [[{ pool = \"p\" }]]\n",
            "3:12: pool.p.backup[0][0]: pools back one another up in a ring: p → p; mail would run in circles: take one of them out",
        ),
        (
            "[pool.p]\nactive = [\"mta1\", { pool = \"q\" }]\n[pool.q]\nactive = [\"mta2\"]\n",
            "2:19: pool.p.active[1]: a pool can stand only in a backup tier; name its bindings, or put the pool into backup",
        ),
        (
            "[pool.p]\nactive = [\"mta1\"]\nbackup = [[\"mta2\"]]\nmin_active = 2\n",
            "4:14: pool.p.min_active: 2 of 1 active bindings: backups would always be open; at most 1",
        ),
        (
            "[pool.p]\nactive = [\"mta1\"]\nspread = \"weigthed\"\n",
            "3:10: pool.p.spread: \"weigthed\" is not known here; did you mean \"weighted\"?",
        ),
        (
            "[pool.p]\nactive = [\"mta1\"]\nfailover_on = [\"full\"]\n",
            "3:16: pool.p.failover_on[0]: \"full\" is not known here; did you mean \"window_full\"?",
        ),
        // tenants
        ("[tenant.t]\npools = { default = \"q\" }\n", "2:11: tenant.t.pools.default: no pool \"q\"; known: p"),
        (
            "[tenant.t]\npools = { default = \"p\" }\nweight = 0\n",
            "3:10: tenant.t.weight: a tenant of weight 0 would wait for ever; write at least 1",
        ),
        (
            "[tenant.t]\npools = { default = \"p\" }\ndaily_cap = 0\n",
            "3:13: tenant.t.daily_cap: a daily cap of 0 lets nothing through; a limit of nothing is never meant: leave it out for no limit",
        ),
        (
            "[tenant.t]\npools = { default = \"p\" }\nsplit = { default = { q = 1.5 } }\n[pool.q]\nactive = [\"mta2\"]\n",
            "3:23: tenant.t.split.default.q: a share of 1.5; write a share from 0 to 1, such as 0.3",
        ),
        (
            "[tenant.t]\npools = { default = \"p\" }\nsplit = { default = { q = 0.6, r = 0.5 } }\n[pool.q]\nactive = [\"mta2\"]\n[pool.r]\nactive = [\"mta2\"]\n",
            "3:11: tenant.t.split.default: shares add up to 1.1; at most 1",
        ),
        (
            "[tenant.t]\npools = { default = \"p\" }\nsplit = { marketing = { p = 0.5 } }\n",
            "3:11: tenant.t.split.marketing: stream \"marketing\" has no pool; add marketing to pools",
        ),
        (
            "[tenant.t]\npools = { default = \"p\" }\nsplit = { default = { p = 0.5 } }\n",
            "3:23: tenant.t.split.default.p: \"p\" is the stream's own pool; what is not split off goes there anyway",
        ),
        (
            "[tenant.t]\npools = { default = \"p\" }\nstreams = [{ stream = \"default\" }]\n",
            "3:12: tenant.t.streams[0]: a rule without a condition; give sender, sender_domain or header; what no rule matches is default",
        ),
        (
            "[tenant.t]\npools = { default = \"p\" }\nmatch = { header = { \"X Y\" = \"t\" } }\n",
            "3:22: tenant.t.match.header.\"X Y\": \"X Y\" is no name of a header",
        ),
        (
            "[tenant.t]\npools = { default = \"p\" }\nmatch = { client = [\"10.0.0.0/8\"] }\n[tenant.u]\npools = { default = \"p\" }\nmatch = { client = [\"10.0.0.0/8\"] }\n",
            "6:21: tenant.u.match.client[0]: client network 10.0.0.0/8 belongs to tenant \"t\" already, at 3; keep it with one of the two",
        ),
        (
            "[tenant.t]\npools = { default = \"p\" }\nmatch = { sender_domain = [\"A.example\"] }\n[tenant.u]\npools = { default = \"p\" }\nmatch = { sender_domain = [\"a.example\"] }\n",
            "6:28: tenant.u.match.sender_domain[0]: sender domain \"a.example\" belongs to tenant \"t\" already, at 3; keep it with one of the two",
        ),
        (
            "[tenant.t]\npools = { default = \"p\" }\nmatch = { header = { X-T = \"A\" } }\n[tenant.u]\npools = { default = \"p\" }\nmatch = { header = { x-t = \"a \" } }\n",
            "6:22: tenant.u.match.header.x-t: header x-t: a belongs to tenant \"t\" already, at 3; keep it with one of the two",
        ),
        // receivers
        (
            "[provider.g]\nmx = []\n",
            "2:6: provider.g.mx: without patterns nothing ever belongs to it; name its MX hosts, such as mx = [\"*.mail.example.com\"]",
        ),
        (
            "[provider.g]\nmx = [\"mx*.example.com\"]\n",
            "2:7: provider.g.mx[0]: \"mx*.example.com\" is no domain pattern; write \"example.com\", \"*.example.com\" for all names below it, or \"*\"",
        ),
        (
            "[[destination_route]]\ndomain = \"*\"\nhosts = [\"192.0.2.1:x\"]\n",
            "3:10: destination_route[0].hosts[0]: \"192.0.2.1:x\" is no host; write \"mx.example.net\", \"mx.example.net:2525\", \"192.0.2.1:25\" or \"[2001:db8::1]:25\"",
        ),
        (
            "[[destination_route]]\ndomain = \"*\"\nhosts = [\"192.0.2.1\"]\nprovider = \"g\"\n",
            "4:12: destination_route[0].provider: no provider \"g\"",
        ),
        // numbers
        ("[queue]\nretry_first = \"5h\"\n", "2:15: queue.retry_first: retry_first is longer than retry_max"),
        (
            "[queue]\nlifetime = \"1m\"\n",
            "2:12: queue.lifetime: lifetime is shorter than retry_first: mail would be given up before its second try",
        ),
        ("[queue]\nretry_jitter = 0.6\n", "2:16: queue.retry_jitter: 0.6 is out of range; from 0 to 0.5"),
        ("[queue]\nretry_factor = 0.5\n", "2:16: queue.retry_factor: 0.5 is out of range; from 1 to 100"),
        ("[delivery]\nport = 0\n", "2:8: delivery.port: must be at least 1"),
        ("[delivery]\ntimeouts = { rcpt = \"0s\" }\n", "2:21: delivery.timeouts.rcpt: must be longer than 0"),
        ("[warmup]\nadvance_used = 75\n", "2:16: warmup.advance_used: 75 is out of range; from 0.05 to 1"),
        (
            "[warmup]\ncool_after = \"2d\"\n",
            "2:14: warmup.cool_after: shorter than a week: each weekend would cool; from \"7d\"",
        ),
        ("[reputation]\npool_guard = 50\n", "2:14: reputation.pool_guard: 50 is out of range; from 0 to 1"),
        (
            "[reputation]\nsuspend_first = \"2d\"\n",
            "2:17: reputation.suspend_first: suspend_first is longer than suspend_max",
        ),
        // monitor
        (
            "[monitor]\nself_check = \"0s\"\n",
            "2:14: monitor.self_check: must be longer than 0; write false for no check",
        ),
        (
            "[monitor]\nipv6_names = \"demand\"\n",
            "2:14: monitor.ipv6_names: \"demand\" is not known here; write one of \"require\", \"report\"",
        ),
        ("[monitor]\nthrottle_weight = 5\n", "2:19: monitor.throttle_weight: throttle_weight is above suspend_weight"),
        (
            "[monitor.zone.z]\nzone = \"secret key.bl.example\"\n",
            "2:8: monitor.zone.z.zone: not a DNS name; write the name below which addresses are looked up",
        ),
        (
            "[monitor.zone.z]\nzone = \"k.example\"\n[monitor.zone.y]\nzone = \"K.example\"\n",
            "4:8: monitor.zone.y.zone: the same DNS name as at 2; a listing would count twice",
        ),
        (
            "[monitor.zone.z]\nzone = \"bl.example\"\ncodes = [{ octets = \"127.0.0.11-2\" }]\n",
            "3:21: monitor.zone.z.codes[0].octets: \"127.0.0.11-2\" are no return codes; write four octets from 127, each a number, a range or *, such as \"127.0.0.2-11\"",
        ),
        (
            "[monitor.zone.z]\nzone = \"bl.example\"\ncodes = [{ octets = \"127.0.0.2\", meaning = \"good\", weight = 1 }]\n",
            "3:61: monitor.zone.z.codes[0].weight: good words cannot weigh against us; write 0 or less",
        ),
        (
            "[monitor.zone.z]\nzone = \"bl.example\"\ncodes = [{ octets = \"127.0.0.2\", meaning = \"refused\", weight = 1 }]\n",
            "3:64: monitor.zone.z.codes[0].weight: a refusal weighs nothing; leave it out",
        ),
        (
            "[monitor.zone.z]\nzone = \"{key}.bl.example\"\n",
            "1:15: monitor.zone.z.key_file: missing: this list is asked with a key of yours; write key_file = \"FILE\" with the key in it",
        ),
        (
            "[monitor.zone.z]\nzone = \"bl.example\"\nkey_file = \"k\"\n",
            "3:12: monitor.zone.z.key_file: the name of this list has no place for a key; write {key} as the first label of zone, such as zone = \"{key}.bl.example.org\"",
        ),
        (
            "[monitor]\nlists = [\"spamhaus-zne\"]\n",
            "2:10: monitor.lists[0]: no shipped list \"spamhaus-zne\"; did you mean \"spamhaus-zen\"? a list of your own is a [monitor.zone.spamhaus-zne]",
        ),
        (
            "[monitor]\nlists = [\"psbl\", \"psbl\"]\n",
            "2:18: monitor.lists[1]: \"psbl\" is named twice; keep one of the two",
        ),
        (
            "[monitor]\nlists = [\"spamhaus-zen-dqs\"]\n",
            "2:10: monitor.zone.spamhaus-zen-dqs.key_file: missing: this list is asked with a key of yours; write key_file = \"FILE\" with the key in it",
        ),
        (
            "[monitor.zone.z]\nzone = \"dnsbl.sorbs.net\"\n",
            "2:8: monitor.zone.z.zone: the list at sorbs.net is dead: closed on 2024-06-05 and emptied: clean for ever; take it out",
        ),
        (
            "[monitor.zone.z]\nzone = \"ix.dnsbl.manitu.net\"\n",
            "2:8: monitor.zone.z.zone: the list at dnsbl.manitu.net is dead: NiX Spam closed on 2025-01-16 and was emptied: clean for ever; take it out",
        ),
        (
            "[monitor.zone.z]\nzone = \"bl.example\"\nkind = \"domain\"\nfamilies = [\"ipv6\"]\n",
            "4:12: monitor.zone.z.families: a list of domains knows no addresses; leave it out",
        ),
        (
            "[monitor.zone.z]\nzone = \"bl.example\"\nkind = \"domain\"\npositive_probe = \"127.0.0.2\"\n",
            "4:18: monitor.zone.z.positive_probe: not what a list of domains can be asked; kind = \"domain\" is for lists of names, kind = \"address\" for lists of addresses",
        ),
        (
            "[monitor.zone.z]\nzone = \"bl.example\"\naliases = [\"x\"]\n",
            "3:12: monitor.zone.z.aliases[0]: \"x\" would be found in replies that mean something else; write at least three characters",
        ),
        (
            "[monitor.zone.psbl]\nqueries_per_day = 0\n",
            "2:19: monitor.zone.psbl.queries_per_day: no questions a day; leave it out for no limit, or the list itself",
        ),
        (
            "[monitor.zone.z]\nzone = \"bl.example\"\npositive_probe = true\n",
            "3:18: monitor.zone.z.positive_probe: expected an address or a name, found true or false",
        ),
        // the rest
        (
            "[admin]\naddress = \"0.0.0.0:8025\"\n",
            "2:11: admin.address: not loopback: whoever can reach it needs TLS and a token; add tls = { certificate = \"…\", key = \"…\" } and a token (remuda token NAME --role admin prints one), or write a loopback address such as \"127.0.0.1:8025\"",
        ),
        (
            "[admin]\naddress = \"0.0.0.0:8025\"\ntls = { certificate = \"a\", key = \"b\" }\n",
            "2:11: admin.address: not loopback: whoever can reach it needs a token; add tls = { certificate = \"…\", key = \"…\" } and a token (remuda token NAME --role admin prints one), or write a loopback address such as \"127.0.0.1:8025\"",
        ),
        (
            "[admin]\naddress = \"[::]:8025\"\n[admin.token.a]\nhash = \"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"\nrole = \"read\"\n",
            "2:11: admin.address: not loopback: whoever can reach it needs TLS; add tls = { certificate = \"…\", key = \"…\" } and a token (remuda token NAME --role admin prints one), or write a loopback address such as \"127.0.0.1:8025\"",
        ),
        (
            "[admin.token.a]\nhash = \"remuda_s3cret\"\nrole = \"read\"\n",
            "2:8: admin.token.a.hash: is no hash of a token: expected \"sha256:\" and 64 hexadecimal digits; write the line that remuda token prints: the hash, never the token",
        ),
        (
            "[admin]\nhosts = [\"https://relay.example.net\"]\n",
            "2:10: admin.hosts[0]: \"https://relay.example.net\" is no host; write the name in the address bar without scheme and port, such as \"relay.example.net\"",
        ),
        (
            "[admin]\ntls = { certificate = \"a\" }\n",
            "2:7: admin.tls.key: missing; write { certificate = \"/etc/remuda/tls.crt\", key = \"/etc/remuda/tls.key\" }",
        ),
        ("[log]\nformat = \"xml\"\n", "2:10: log.format: \"xml\" is not known here; write one of \"text\", \"json\""),
        (
            "[classify]\nrules = [\"a.toml\", \"a.toml\"]\n",
            "2:20: classify.rules[1]: \"a.toml\" is given twice; keep the first",
        ),
        ("include = \"a.toml\"\n", "1:11: include: expected a list, found a text; put it into [ ]"),
    ];
    let mut wrong = Vec::new();
    for (text, complaint) in table {
        let got = complaints(text);
        if got != [*complaint] {
            wrong.push(format!("{text}\n  expected {complaint}\n  got      {}\n", got.join("\n           ")));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), table.len(), wrong.join("\n"));
}

#[test]
fn a_bad_filter_for_the_log_is_refused() {
    let got = complaints("[log]\nfilter = \"remuda=lots\"\n");
    assert_eq!(got.len(), 1, "{got:?}");
    assert!(got[0].starts_with("2:10: log.filter: \"remuda=lots\" is no filter"), "{got:?}");
}

#[test]
fn one_run_finds_all_mistakes_of_all_kinds() {
    let text = r#"
[server]
hostname = "relay example"
state_dir = "spool"
colour = "red"
shape = "round"

[[listener]]
address = "127.0.0.1"
trust = ["0.0.0.0/0"]

[binding.mta1]
bind_address = "0.0.0.0"
daily_cap = 0
rate_limit = "5/d"

[binding.mta2]
bind_adress = "192.0.2.2"

[pool.p]
active = ["mta1", "mat2"]
backup = [[{ pool = "p" }]]
spread = "evenly"

[tenant.t]
pools = { marketing = "q" }
split = { marketing = { p = 2 } }

[queue]
retry_first = 5
retry_jitter = 0.9

[reputation]
pool_guard = "half"

[extra]
"#;
    let error = check_text(text).expect_err("all wrong");
    let paths: Vec<(usize, &str)> = error.mistakes.iter().map(|m| (m.line, m.path.as_str())).collect();
    assert_eq!(
        paths,
        [
            (3, "server.hostname"),
            (4, "server.state_dir"),
            (5, "server.colour"),
            (6, "server.shape"),
            (9, "listener[0].address"),
            (10, "listener[0].trust"),
            (13, "binding.mta1.bind_address"),
            (14, "binding.mta1.daily_cap"),
            (15, "binding.mta1.rate_limit"),
            (17, "binding.mta2.bind_address"),
            (18, "binding.mta2.bind_adress"),
            (21, "pool.p.active[1]"),
            (22, "pool.p.backup[0][0]"),
            (23, "pool.p.spread"),
            (26, "tenant.t.pools"),
            (26, "tenant.t.pools.marketing"),
            (27, "tenant.t.split.marketing.p"),
            (30, "queue.retry_first"),
            (31, "queue.retry_jitter"),
            (34, "reputation.pool_guard"),
            (36, "extra"),
        ],
        "{error}"
    );
    assert_eq!(error.to_string().lines().count(), error.mistakes.len(), "one line each");
}

#[test]
fn a_name_too_long_for_a_key_of_the_store_is_refused() {
    let tenant = |octets| format!("[tenant.{}]\n", "x".repeat(octets));
    assert!(
        complaints(&tenant(256))
            .iter()
            .any(|line| line.ends_with("a name has at most 255 octets; write a shorter one"))
    );
    assert!(!complaints(&tenant(255)).iter().any(|line| line.contains("255")));
}

#[test]
fn an_empty_file_says_what_a_relay_needs() {
    let error = check_text("").expect_err("nothing there");
    let paths: Vec<&str> = error.mistakes.iter().map(|m| m.path.as_str()).collect();
    assert_eq!(paths, ["listener", "binding", "pool", "tenant", "server.hostname", "server.state_dir"], "{error}");
}

#[test]
fn the_smallest_file_gets_every_default() {
    let config = good(&minimal());
    assert_eq!(format!("{:?}", config.queue), format!("{:?}", Queue::default()));
    let address = config.listeners[0].address;
    let listener = Listener { trust: config.listeners[0].trust.clone(), ..Listener::at(address) };
    assert_eq!(format!("{:?}", config.listeners[0]), format!("{listener:?}"));
    let binding = &config.bindings[0];
    assert_eq!(binding.public_address, binding.bind_address);
    assert_eq!(binding.ehlo_hostname, EhloName::Hostname);
    assert_eq!(config.tenants[0].weight, 1);
    assert_eq!(config.pools[0].tiers[0][0].weight, 1);
    assert_eq!(config.admin.address.map(|address| address.to_string()).as_deref(), Some("127.0.0.1:8025"));
}

#[test]
fn a_binding_has_one_address_of_each_family_and_the_first_is_preferred() {
    let shown = |lines: &str| {
        let config = good(&minimal().replace("bind_address = \"192.0.2.2\"", lines));
        let binding = &config.bindings[1];
        format!("{} seen as {}, {} first", binding.sources(), binding.publics(), binding.prefer.name())
    };
    for (lines, expected) in [
        ("bind_address = [\"192.0.2.2\"]", "192.0.2.2 seen as 192.0.2.2, IPv4 first"),
        ("bind_address = \"2001:db8::2\"", "2001:db8::2 seen as 2001:db8::2, IPv6 first"),
        (
            "bind_address = [\"10.0.0.2\", \"2001:db8::2\"]\npublic_address = \"192.0.2.2\"",
            "10.0.0.2 and 2001:db8::2 seen as 192.0.2.2 and 2001:db8::2, IPv4 first",
        ),
        (
            "bind_address = [\"fd00::2\", \"10.0.0.2\"]\npublic_address = [\"192.0.2.2\", \"2001:db8::2\"]",
            "fd00::2 and 10.0.0.2 seen as 2001:db8::2 and 192.0.2.2, IPv6 first",
        ),
        (
            "bind_address = [\"192.0.2.2\", \"2001:db8::2\"]\nprefer = \"ipv6\"",
            "192.0.2.2 and 2001:db8::2 seen as 192.0.2.2 and 2001:db8::2, IPv6 first",
        ),
    ] {
        assert_eq!(shown(lines), expected, "{lines}");
    }
}

#[test]
fn a_pool_in_a_backup_tier_is_unfolded_and_keeps_first_places() {
    let text = minimal().replace(
        POOL,
        r#"
[pool.p]
active = ["mta1"]
backup = [["mta2", { pool = "q" }], [{ pool = "r" }], ["b5"]]
[pool.q]
active = [{ binding = "b3", weight = 3 }, "mta1"]
backup = [["b4"]]
[pool.r]
active = ["b4", "b3"]
[binding.b3]
bind_address = "192.0.2.3"
[binding.b4]
bind_address = "192.0.2.4"
[binding.b5]
bind_address = "192.0.2.5"
"#,
    );
    let config = good(&text);
    let tiers: Vec<Vec<String>> = config.pools[0]
        .tiers
        .iter()
        .map(|tier| tier.iter().map(|member| format!("{}×{}", member.binding, member.weight)).collect())
        .collect();
    assert_eq!(tiers, [vec!["mta1×1"], vec!["mta2×1", "b3×3"], vec!["b4×1"], vec!["b5×1"]]);
}

#[test]
fn order_of_the_file_is_kept() {
    let text = minimal() + "[provider.z]\nmx = [\"*.z.example\"]\n[provider.a]\nmx = [\"*\"]\n";
    let config = good(&text);
    assert_eq!(config.providers.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["z", "a"]);
}

#[test]
fn warnings_do_not_keep_it_from_loading() {
    let text = minimal().replace("trust = [\"127.0.0.0/8\"]", "").replace("relay.example.net", "relay").replace(
        TENANT,
        "[tenant.t]\npools = { default = \"p\" }\nmatch = { auth_user = [\"u\"], header = { X-T = \"t\" } }\n\
         [[destination_route]]\ndomain = \"*\"\nhosts = [\"192.0.2.9\"]\n\
         [[destination_route]]\ndomain = \"*.example\"\nhosts = [\"192.0.2.9\"]\n\
         [monitor.zone.z]\nzone = \"bl.example\"\n[binding.inner]\nbind_address = \"10.0.0.1\"\n",
    );
    let loaded = check_text(&text).unwrap_or_else(|error| panic!("{error}"));
    let paths: Vec<&str> = loaded.warnings.iter().map(|warning| warning.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "server.hostname",
            "listener[0].trust",
            "tenant.t.match.auth_user",
            "tenant.t.match.header",
            "destination_route[1].domain",
            "binding.inner"
        ]
    );
}

#[test]
fn signatures_that_end_while_mail_waits_are_worth_a_warning() {
    for (queue, expire, remedy) in [
        ("", "5d", Some("6d")),
        ("", "143h", Some("6d")),
        ("", "6d", None),
        ("", "14d", None),
        ("lifetime = \"10h\"", "40h", Some("2d")),
        ("lifetime = \"10h\"\nbounce_lifetime = \"1h\"", "34h", None),
        ("lifetime = \"1d\"\nbounce_lifetime = \"9d\"", "9d", Some("10d")),
    ] {
        let key = "[dkim.k]\ndomain = \"a.example\"\nselector = \"s\"\nkey = \"k\"\ntenants = [\"t\"]\n";
        let text = format!("{}{key}expire = \"{expire}\"\n[queue]\n{queue}\n", minimal());
        let loaded = check_text(&text).unwrap_or_else(|error| panic!("{error}"));
        let said = loaded.warnings.iter().find(|warning| warning.path == "dkim.k.expire").map(ToString::to_string);
        match (&said, remedy) {
            (Some(said), Some(remedy)) => assert!(said.contains(&format!("expire = \"{remedy}\"")), "{said}"),
            (said, remedy) => assert_eq!((said, remedy), (&None, None), "{queue} {expire}"),
        }
    }
}

#[test]
fn addresses_side_by_side_without_a_sentinel_are_worth_a_warning() {
    let herd = |third: &[u8]| -> String {
        let binding =
            |(n, third): (usize, &u8)| format!("[binding.h{n}]\nbind_address = \"192.0.{third}.{}\"\n", 20 + n);
        third.iter().enumerate().map(binding).collect()
    };
    let zone = |weight: f64| format!("[monitor.zone.z]\nzone = \"bl.example\"\nweight = {weight:.1}\n");
    for (third, monitor, warned) in [
        (&[2, 2, 2, 2][..], zone(3.0), true),
        (&[2, 2, 7, 7], zone(3.0), true),
        (&[2, 2, 7, 8], zone(3.0), false),
        (&[2], zone(3.0), false),
        (&[2, 2, 2, 2], zone(2.0), false),
        (&[2, 2, 2, 2], format!("[monitor]\nsentinels = [\"198.51.100.9\"]\n{}", zone(3.0)), false),
    ] {
        let text = minimal() + &herd(third) + &monitor;
        let loaded = check_text(&text).unwrap_or_else(|error| panic!("{error}"));
        let found = loaded.warnings.iter().any(|warning| warning.path == "monitor.sentinels");
        assert_eq!(found, warned, "{third:?} {monitor}");
    }
}

#[test]
fn a_broken_binding_is_no_second_mistake_where_it_is_named() {
    assert_eq!(complaints("[binding.mta1]\nbind_address = 5\n").len(), 1);
    assert_eq!(complaints("[pool.p]\nactive = 5\n").len(), 1);
    assert_eq!(complaints("[tenant.t]\npools = { default = 5 }\n").len(), 1);
    assert_eq!(complaints("[provider.g]\nmx = [5]\n").len(), 1);
}

/// A file system in a table.
struct Table(&'static [(&'static str, &'static str)]);

impl Files for Table {
    fn read(&mut self, path: &Path) -> io::Result<String> {
        let found = self.0.iter().find(|(name, _)| Path::new(name) == path);
        found.map(|(_, text)| (*text).to_owned()).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn list(&mut self, directory: &Path) -> io::Result<Vec<String>> {
        let below = self.0.iter().filter_map(|(name, _)| Path::new(name).strip_prefix(directory).ok());
        Ok(below.filter(|name| name.components().count() == 1).map(|name| name.display().to_string()).collect())
    }
}

#[test]
fn a_key_in_two_files_names_both_places() {
    let mut files = Table(&[
        (
            "etc/remuda.toml",
            "include = [\"d/*.toml\"]\n[queue]\nlifetime = \"4d\"\n[binding.a]\nbind_address = \"192.0.2.1\"\n",
        ),
        ("etc/d/1.toml", "[queue]\nretry_max = \"1h\"\nlifetime = \"5d\"\n[binding.a]\nbind_address = \"192.0.2.1\"\n"),
    ]);
    let error = load(Path::new("etc/remuda.toml"), &mut files).expect_err("lifetime twice").to_string();
    let twice = "etc/d/1.toml:3:1: queue.lifetime: already given at etc/remuda.toml:3; keep one of the two";
    assert!(error.contains(twice), "{error}");
    assert!(error.contains("etc/d/1.toml:5:1: binding.a.bind_address: already given at etc/remuda.toml:5"), "{error}");
    assert!(error.contains("pool: no pool is configured"), "other mistakes are found in the same run: {error}");
}

#[test]
fn includes_that_cannot_be_followed_say_so() {
    let mut files =
        Table(&[("remuda.toml", "include = [\"gone.toml\", \"a.toml\", \"./a.toml\"]\n"), ("a.toml", "x = \n")]);
    let error = load(Path::new("remuda.toml"), &mut files).expect_err("three mistakes").to_string();
    let lines: Vec<&str> = error.lines().collect();
    assert!(lines[0].starts_with("remuda.toml:1:12: include[0]: cannot read gone.toml: "), "{error}");
    assert_eq!(lines[1], "remuda.toml:1:35: include[2]: ./a.toml is included twice; keep one of the two");
    assert!(lines[2].starts_with("a.toml:1:"), "{error}");
    assert_eq!(lines.len(), 3, "{error}");
}

#[test]
fn files_that_include_one_another_end() {
    let mut files = Table(&[("a.toml", "include = [\"b.toml\"]\n"), ("b.toml", "include = [\"a.toml\"]\n")]);
    let error = load(Path::new("a.toml"), &mut files).expect_err("a ring").to_string();
    assert!(error.starts_with("b.toml:1:12: include[0]: a.toml is included twice"), "{error}");
}

#[test]
fn every_mistake_of_a_feed_is_named_with_its_remedy() {
    let wqs = "kind = \"wqs\"\nsecret_file = \"k\"\n";
    let json = "kind = \"json\"\nurl = \"https://a.example/x\"\n";
    let metric = "[feed.f.metric.m]\nvalue = \"/v\"\n";
    // (lines of [feed.f], its only mistake)
    let table: &[(String, &str)] = &[
        (
            String::new(),
            "1:7: feed.f.kind: missing; write kind = \"snds\", \"snds_csv\", \"postmaster\", \"wqs\", \"json\" or \"csv\"",
        ),
        ("kind = \"sndz\"\n".into(), "2:8: feed.f.kind: \"sndz\" is not known here; did you mean \"snds\"?"),
        ("kind = \"wqs\"\n".into(), "1:7: feed.f.secret_file: missing; write the file that holds the DQS key"),
        (
            "kind = \"snds\"\ntoken_file = \"t\"\nprovider = \"m\"\n[provider.m]\nmx = [\"*.m.example\"]\n".into(),
            "1:7: feed.f.client_id: missing; write the OAuth client with which the refresh token was got",
        ),
        (
            format!("{wqs}url = \"http://a.example/topsecret\"\n"),
            "4:7: feed.f.url: plain HTTP shows the key to everybody on the way; write https://, or allow_plain = true where you know the way there is safe",
        ),
        (
            format!("{wqs}url = \"https://topsecret@a.example/\"\n"),
            "4:7: feed.f.url: user and password must not stand in an address; write them into secret_file",
        ),
        (
            format!("{wqs}url = \"a.example\"\n"),
            "4:7: feed.f.url: this is no web address; write it as \"https://feeds.example.org/reputation\"",
        ),
        (
            format!("{wqs}url = \"https://a.example/?key=topsecret\"\n"),
            "4:7: feed.f.url: this kind of feed appends its own paths: no query can stand here; write the address without it; a key belongs in secret_file",
        ),
        (
            format!("{wqs}domains = [\"a.example\"]\n"),
            "4:11: feed.f.domains: domains means nothing to a feed of kind wqs; leave it out; it is for postmaster",
        ),
        (format!("{wqs}provider = \"nobody\"\n"), "4:12: feed.f.provider: no provider \"nobody\""),
        (
            "kind = \"snds\"\ntoken_file = \"t\"\nclient_id = \"c\"\n".into(),
            "1:7: feed.f.provider: missing: what Microsoft says would throttle towards everybody; write the [provider] of its MX hosts, such as provider = \"microsoft\"",
        ),
        (
            "kind = \"snds_csv\"\nsecret_file = \"k\"\nurl = \"https://a.example/snds\"\n".into(),
            "1:7: feed.f.provider: missing: what Microsoft says would throttle towards everybody; write the [provider] of its MX hosts, such as provider = \"microsoft\"",
        ),
        (
            "kind = \"postmaster\"\ncredentials_file = \"c\"\n".into(),
            "1:7: feed.f.provider: missing: what Google says would throttle towards everybody; write the [provider] of its MX hosts, such as provider = \"gmail\"",
        ),
        (format!("{wqs}blast_radius = 2\n"), "4:16: feed.f.blast_radius: 2 is out of range; from 0 to 1"),
        (
            format!("{wqs}daily_budget = 1\n"),
            "4:16: feed.f.daily_budget: too small to ask for one address: a list is asked for its test address first; write at least 2, or leave it out for 1000",
        ),
        (format!("{wqs}interval = \"0s\"\n"), "4:12: feed.f.interval: must be longer than 0"),
        (
            format!("{wqs}[feed.f.metric.red]\nwarn_above = 1\n"),
            "4:16: feed.f.metric.red: a feed of kind wqs has no metric \"red\"; known: listed",
        ),
        (
            format!("{json}{metric}"),
            "1:7: feed.f.scope: missing; write scope = { address = \"/ip\" }, or range, domain, tenant or binding",
        ),
        (
            format!("{json}scope = {{ address = \"/a\", domain = \"/d\" }}\n{metric}"),
            "4:9: feed.f.scope: names 2 kinds of subject instead of one; write scope = { address = \"/ip\" }, or range, domain, tenant or binding",
        ),
        (
            format!("{json}scope = {{ address = \"ip\" }}\n{metric}"),
            "4:21: feed.f.scope.address: \"ip\" is no JSON pointer; write \"/name\", or \"/outer/inner\"; empty is the document itself",
        ),
        (
            format!("{json}scope = {{ address = \"/ip\" }}\n"),
            "1:7: feed.f.metric: no metric: nothing would be kept; add [feed.f.metric.NAME] with value = \"…\" and throttle_above = …",
        ),
        (
            format!("{json}scope = {{ address = \"/ip\" }}\n{metric}warn_above = 3\nthrottle_above = 2\n"),
            "8:18: feed.f.metric.m.throttle_above: warn_above is above throttle_above",
        ),
        (
            "kind = \"postmaster\"\ncredentials_file = \"c\"\ncarried_by = { \"a.example\" = [\"mta9\"] }\nprovider = \"m\"\n[provider.m]\nmx = [\"*.m.example\"]\n".into(),
            "4:31: feed.f.carried_by.\"a.example\"[0]: no binding \"mta9\"; did you mean \"mta1\"?",
        ),
    ];
    for (lines, mistake) in table {
        let found = complaints(&format!("[feed.f]\n{lines}"));
        assert_eq!(found, [*mistake], "{lines}");
        assert!(!found[0].contains("topsecret"));
    }
    let config = good(
        &(minimal()
            + "[feed.f]\nkind = \"csv\"\nurl = \"https://a.example/x?key=topsecret\"\nscope = { binding = \"b\" }\n[feed.f.metric.m]\nvalue = \"v\"\n"),
    );
    assert!(config.feeds[0].url.contains("topsecret") && !format!("{config:?}").contains("topsecret"));
}

#[test]
fn a_feed_that_forgets_before_it_hears_again_is_warned_of() {
    let warnings = |lines: &str| {
        let text = minimal() + "[provider.m]\nmx = [\"*.m.example\"]\n[feed.f]\n" + lines;
        let loaded = check_text(&text).unwrap_or_else(|error| panic!("{error}"));
        loaded.warnings.iter().map(ToString::to_string).filter(|text| text.contains("feed.f")).collect::<Vec<_>>()
    };
    let snds = "kind = \"snds\"\ntoken_file = \"t\"\nclient_id = \"c\"\nprovider = \"m\"\n";
    assert_eq!(warnings(snds), [""; 0]);
    let short = warnings(&format!("{snds}max_age = \"2d\"\n"));
    assert!(
        short.len() == 1 && short[0].contains("feed.f.max_age: shorter than interval and the two days"),
        "{short:?}"
    );
    let wqs = "kind = \"wqs\"\nsecret_file = \"k\"\n";
    assert_eq!(warnings(&format!("{wqs}max_age = \"7h\"\n")), [""; 0]);
    assert_eq!(warnings(&format!("{wqs}interval = \"1d\"\nmax_age = \"7h\"\n")).len(), 1);
}

#[test]
fn the_key_of_a_list_is_never_printed() {
    let text =
        minimal() + "[monitor.zone.z]\nzone = \"topsecret.dq.example\"\npositive_probe = 3\nweight = \"topsecret\"\n";
    let error = check_text(&text).expect_err("two mistakes");
    assert!(!format!("{error}{error:?}").contains("topsecret.dq"), "{error}");
    let config = good(&(minimal() + "[monitor.zone.z]\nzone = \"topsecret.dq.example\"\n"));
    assert_eq!(config.monitor.zones[0].zone, "topsecret.dq.example");
    assert!(!format!("{config:?}").contains("topsecret"));
}

// --- the annotated example ---

fn is_key_line(line: &str) -> bool {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    line.split_once(" = ").is_some_and(|(key, _)| !key.is_empty() && key.chars().all(word))
}

/// The example with every commented key and header put in force.
fn uncommented() -> String {
    let mut text = String::new();
    for line in EXAMPLE.lines() {
        match line.strip_prefix("# ").filter(|rest| is_key_line(rest) || rest.starts_with('[') && rest.ends_with(']')) {
            Some(rest) => text.push_str(rest),
            None => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

#[test]
fn the_example_loads_without_a_word() {
    let loaded = check_text(EXAMPLE).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(loaded.warnings, []);
    let config = loaded.config;
    assert_eq!(config.pools[1].tiers.len(), 2);
    assert_eq!(config.providers[0].binding_limits.daily_cap, Some(90_000));
    assert_eq!(config.providers[0].back_off, Some(BackOff::GMAIL), "as Google publishes it");
    let warmup = config.bindings[3].warmup.as_ref().expect("mta3 is warming up");
    assert_eq!(warmup.position, WarmupStart::Started(jiff::civil::date(2026, 11, 1)));
    assert_eq!(warmup.ladder[..3], [200, 500, 1_000]);
    let names: Vec<&str> = config.monitor.zones.iter().map(|zone| zone.name.as_str()).collect();
    assert_eq!(names, ["spamcop", "own", "spamhaus-zen", "psbl", "dnswl"]);
    let spamhaus = &config.monitor.zones[2];
    assert_eq!(spamhaus.codes[0].meaning, CodeMeaning::Refused);
    assert_eq!(spamhaus.codes[1].meaning, CodeMeaning::Listed { weight: 4.0, certain: true });
}

#[test]
fn what_the_example_shows_in_comments_exists_and_defaults_are_the_true_ones() {
    let plain = good(EXAMPLE);
    let full = check_text(&uncommented()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(full.warnings, []);
    let full = full.config;
    assert_eq!(format!("{:?}", full.queue), format!("{:?}", Queue::default()));
    // Where the authorities are is no matter of a default.
    let delivery = Delivery { tls_roots: None, ..full.delivery.clone() };
    assert_eq!(format!("{delivery:?}"), format!("{:?}", Delivery::default()));
    assert_eq!(full.window, Window::default());
    let [shown, bare] = [&full.feeds[0], &full.feeds[1]];
    let timing = |feed: &crate::config::Feed| {
        (
            feed.interval,
            feed.timeout,
            feed.max_bytes,
            feed.half_life,
            feed.max_age,
            feed.auth.allow_plain,
            feed.blast_radius,
        )
    };
    assert_eq!(timing(shown), timing(bare), "feeds");
    assert_eq!((full.feeds[3].daily_budget, &full.feeds[3].lists[..]), (1000, &["zen".to_owned()][..]));
    assert_eq!(format!("{:?}", full.reputation), format!("{:?}", Reputation::default()));
    assert_eq!(full.warmup, WarmupRules::default());
    assert_eq!(format!("{:?}", full.listeners), format!("{:?}", plain.listeners));
    assert_eq!((full.admin.address, full.admin.anonymous), (plain.admin.address, plain.admin.anonymous));
    let limits = |config: &Config| {
        let mut limits = config.injection.clone();
        (limits.address, limits.tls) = (None, None);
        limits.tokens.clear();
        format!("{limits:?}")
    };
    assert_eq!(limits(&full), limits(&plain));
    let with_defaults = "[dkim.a]\ndomain = \"a.example\"\nselector = \"s\"\nkey = \"k\"\ntenants = [\"t\"]\n";
    let bare = good(&(minimal() + with_defaults));
    assert_eq!((&full.dkim[0].headers, full.dkim[0].subdomains), (&bare.dkim[0].headers, bare.dkim[0].subdomains));
    assert_eq!(format!("{:?}", full.log), format!("{:?}", plain.log));
    assert_eq!(full.dns.timeout, plain.dns.timeout);
    assert_eq!(full.dns.max_in_flight, plain.dns.max_in_flight);
    assert_eq!(full.server.shutdown_grace, plain.server.shutdown_grace);
    assert_eq!(full.server.low_space_floor, plain.server.low_space_floor);
    assert_eq!((full.server.max_sessions, full.server.memory), (plain.server.max_sessions, plain.server.memory));
    assert_eq!(full.assignment.tenant_header, plain.assignment.tenant_header);
    assert_eq!(full.assignment.stream_header, plain.assignment.stream_header);
    assert_eq!(full.assignment.unknown, plain.assignment.unknown);
    assert_eq!(format!("{:?}", full.pools[0]), format!("{:?}", plain.pools[0]));
    assert_eq!(full.bindings[0].public_address, plain.bindings[0].public_address);
    let of_two = |config: &Config| {
        let binding = config.bindings.iter().find(|binding| binding.second.is_some()).expect("shown");
        (binding.publics(), binding.prefer)
    };
    assert_eq!(of_two(&full), of_two(&plain));
    let own = |config: &Config| {
        let zone = config.monitor.zones.iter().find(|zone| zone.name.as_str() == "own").expect("shown").clone();
        format!("{:?} {:?} {}", zone.positive_probe, zone.negative_probe, zone.random_probe)
    };
    assert_eq!(own(&full), own(&plain));
    let without = |mut monitor: crate::config::Monitor| {
        monitor.servers.clear();
        monitor.second_servers.clear();
        monitor.zones.clear();
        format!("{monitor:?}")
    };
    assert_eq!(without(full.monitor), without(plain.monitor));
    let without = |mut alerts: crate::config::Alerts| {
        (alerts.runbook, alerts.alertmanagers, alerts.webhooks) = (None, Vec::new(), Vec::new());
        format!("{alerts:?}")
    };
    assert_eq!(without(full.alerts), without(crate::config::Alerts::default()));
}

#[test]
fn alternatives_in_the_example_load_as_well() {
    let full = uncommented();
    let lines: Vec<&str> = full.lines().collect();
    let mut tried = 0;
    for (at, line) in lines.iter().enumerate() {
        let Some(other) = line.strip_prefix("# or: ").filter(|rest| is_key_line(rest)) else { continue };
        let key = other.split(" = ").next().unwrap_or_default();
        let instead = lines[..at].iter().rposition(|l| l.trim_start_matches("# ").starts_with(&format!("{key} = ")));
        let instead = instead.unwrap_or_else(|| panic!("{line} stands for nothing"));
        let mut changed = lines.clone();
        changed[instead] = other;
        good(&changed.join("\n"));
        tried += 1;
    }
    assert!(tried >= 2, "only {tried} found");
}

/// Where every key of a TOML value leads, in the form of `known_keys`.
fn shown_keys(path: &str, value: &toml::Value, known: &BTreeSet<String>, shown: &mut BTreeSet<String>) {
    shown.insert(path.to_owned());
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                let dot = if path.is_empty() { "" } else { "." };
                let exact = format!("{path}{dot}{key}");
                let is_key = |path: &str| {
                    let below = |end: &str| format!("{path}{end}");
                    known.iter().any(|k| k == path || k.starts_with(&below(".")) || k.starts_with(&below("[")))
                };
                let path = if is_key(&exact) { exact } else { format!("{path}{dot}NAME") };
                shown_keys(&path, value, known, shown);
            }
        }
        toml::Value::Array(list) => list.iter().for_each(|item| shown_keys(&format!("{path}[]"), item, known, shown)),
        _ => {}
    }
}

#[test]
fn the_example_shows_every_key_there_is() {
    let known: BTreeSet<String> = raw::known_keys().into_iter().collect();
    let mut shown = BTreeSet::new();
    // The alternatives count as shown; each is proved to load above.
    let mut texts = vec![uncommented()];
    texts.extend(EXAMPLE.lines().filter_map(|line| line.strip_prefix("# or: ")).filter(|l| is_key_line(l)).map(|l| {
        let header = match l.split(" = ").next() {
            Some("warmup") => "[binding.x]",
            Some("scope") => "[feed.x]",
            _ => "[admin]",
        };
        // A binding's warm-up, and the same towards one provider.
        let towards = if l.starts_with("warmup") { format!("[binding.x.provider.x]\n{l}\n") } else { String::new() };
        format!("{header}\n{l}\n{towards}")
    }));
    for text in texts {
        let value: toml::Value = toml::from_str(&text).expect("TOML");
        shown_keys("", &value, &known, &mut shown);
    }
    // A tier of pools has the same form in active, where it is refused.
    let missing: Vec<&String> =
        known.iter().filter(|key| !shown.contains(*key) && *key != "pool.NAME.active[].pool").collect();
    assert!(missing.is_empty(), "not shown in config/remuda.toml: {missing:#?}");
}

// --- files that no one would write ---

#[test]
fn deep_and_long_files_do_not_overflow_the_stack() {
    let deep_key = format!("{} = 1\n", vec!["a"; 50_000].join("."));
    let deep_list = format!("a = {}{}\n", "[".repeat(50_000), "]".repeat(50_000));
    let mut chain = minimal();
    for i in 0..3_000 {
        chain.push_str(&format!("[pool.c{i}]\nactive = [\"mta1\"]\nbackup = [[{{ pool = \"c{}\" }}]]\n", i + 1));
    }
    for text in [deep_key, deep_list, chain] {
        assert!(check_text(&text).is_err());
    }
}

#[test]
fn a_herd_renamed_is_reported_in_full_and_without_delay() {
    let mut text = minimal();
    let names: Vec<String> = (0..3_000).map(|i| format!("\"x{i}\"")).collect();
    text.push_str(&format!("[pool.all]\nactive = [{}]\n", names.join(", ")));
    for i in 0..3_000 {
        text.push_str(&format!("[binding.b{i}]\nbind_address = \"10.1.{}.{}\"\n", i / 250, i % 250 + 1));
    }
    let error = check_text(&text).expect_err("no such bindings");
    assert_eq!(error.mistakes.len(), 3_000);
    assert!(error.mistakes[0].hint.starts_with("did you mean"), "{}", error.mistakes[0]);
    assert_eq!(error.mistakes[2_999].hint, "", "nine million comparisons are not made");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_panics(text in "\\PC{0,80}|([a-z.\\[\\]{}=\", \n0-9]{0,120})") {
        let _ = check_text(&text);
    }

    /// The example with a piece cut out and another put in somewhere: close enough to a good file to get past the parser.
    #[test]
    fn no_damaged_example_panics(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0usize..40, "|0|-1|1e999|\"\"|\\[\\]|\\{\\}|true|\"x:y\"|99999999999999999999|2026-13-01|::1"), 1..4)
    ) {
        let mut text: Vec<char> = EXAMPLE.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n").chars().collect();
        for (at, length, piece) in cuts {
            let at = at.index(text.len());
            let end = (at + length).min(text.len());
            text.splice(at..end, piece.chars());
        }
        let text: String = text.into_iter().collect();
        if let Err(error) = check_text(&text) {
            prop_assert!(!error.mistakes.is_empty());
            prop_assert!(error.mistakes.iter().all(|m| m.line >= 1 && m.column >= 1 && m.line <= text.lines().count() + 1));
        }
    }

    /// One value of the example replaced by one of another type: the file stays TOML, so every section's checks run.
    #[test]
    fn no_wrong_value_panics(at in any::<prop::sample::Index>(), piece in "0|-1|1e999|\"\"|\\[\\]|\\{\\}|true|\"x:y\"|2026-11-01|9223372036854775807|\\[\\[\"mta1\"\\]\\]|\\{a=1\\}") {
        let text = uncommented();
        let lines: Vec<&str> = text.lines().collect();
        let keys: Vec<usize> = (0..lines.len()).filter(|i| is_key_line(lines[*i]) && !lines[*i].ends_with('[')).collect();
        let chosen = keys[at.index(keys.len())];
        let key = lines[chosen].split(" = ").next().unwrap_or_default();
        let replaced = format!("{key} = {piece}");
        let mut changed = lines.clone();
        changed[chosen] = &replaced;
        if let Err(error) = check_text(&changed.join("\n")) {
            prop_assert!(error.mistakes.iter().all(|m| !m.path.is_empty()), "{}", error);
        }
    }
}

#[test]
fn a_way_through_a_proxy_is_one_way_with_all_it_needs() {
    let via = |via: &str| complaints(&format!("[binding.mta1]\nbind_address = \"192.0.2.1\"\nvia = {via}\n"));
    assert_eq!(via("{ socks5 = \"198.51.100.7:1080\" }"), [""; 0]);
    assert_eq!(via("{ proxy_v2 = \"far.example.net:2525\", source = \"192.0.2.9\" }"), [""; 0]);
    assert_eq!(via("{ socks5 = \"[2001:db8::7]:1080\", user = \"u\", password_file = \"p\" }"), [""; 0]);
    for (table, words) in [
        ("{ }", "neither socks5 nor proxy_v2"),
        ("{ source = \"192.0.2.9\" }", "neither socks5 nor proxy_v2"),
        ("{ socks5 = \"198.51.100.7\" }", "the port is missing"),
        ("{ socks5 = \"a.example:1\", proxy_v2 = \"b.example:2\" }", "not both"),
        ("{ socks5 = \"a.example:1\", user = \"u\" }", "via.password_file: missing"),
        ("{ socks5 = \"a.example:1\", password_file = \"p\" }", "via.user: missing"),
        ("{ proxy_v2 = \"a.example:1\", user = \"u\" }", "knows no login"),
        ("{ socks5 = \"a.example:1\", user = \"\", password_file = \"p\" }", "1 to 255 octets"),
    ] {
        let said = via(table);
        assert!(said.len() == 1 && said[0].contains(words), "{table}: {said:?}");
    }
}

#[test]
fn tls_out_is_one_of_four_words_wherever_it_may_stand() {
    let hold = |more: &str| complaints(more);
    for word in ["off", "opportunistic", "required", "verified"] {
        assert_eq!(hold(&format!("[delivery]\ntls = \"{word}\"\n")), [""; 0]);
        assert_eq!(hold(&format!("[provider.a]\nmx = [\"*.a.example\"]\ntls = \"{word}\"\n")), [""; 0]);
        let route =
            format!("[[destination_route]]\ndomain = \"a.example\"\nhosts = [\"b.example\"]\ntls = \"{word}\"\n");
        assert_eq!(hold(&route), [""; 0]);
    }
    let said = hold("[delivery]\ntls = \"require\"\n");
    assert!(said.len() == 1 && said[0].contains("required"), "{said:?}");
}
