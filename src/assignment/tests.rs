//! Whose mail is it: the tables of tenants, streams and pools under test.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::config::{Assignment, Binding, DomainPattern, Member, Pool, TenantMatch};

fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("valid")
}

/// A configuration with the tenants `acme`, `globex` and `rest`, and a default tenant `rest`.
pub(crate) fn config() -> Config {
    Config {
        assignment: Assignment { default_tenant: Some("rest".into()), ..Assignment::default() },
        bindings: vec![Arc::new(Binding::new("mta1", parsed("127.0.0.11")))],
        pools: ["slow", "fast", "new", "shared"].map(pool).into(),
        tenants: tenants(),
        ..Config::bare(parsed("relay.example.net"))
    }
}

fn pool(name: &str) -> Pool {
    Pool::new(name, vec![vec![Member { binding: "mta1".into(), weight: 1 }]])
}

fn tenant(name: &str, matches: TenantMatch, pools: &[(&str, &str)]) -> Tenant {
    let pools = pools.iter().map(|&(stream, pool)| (stream.into(), pool.into())).collect();
    Tenant { matches, pools, ..Tenant::new(name) }
}

fn tenants() -> Vec<Tenant> {
    let rule = |stream: &str| StreamRule { stream: stream.into(), sender: None, sender_domain: None, header: None };
    let acme = TenantMatch {
        auth_user: vec!["acme-app".into()],
        sender_domain: vec![DomainPattern::Exact(parsed("acme.example"))],
        client: vec![parsed("10.1.0.0/16"), parsed("2001:db8:1::/48")],
        header: BTreeMap::from([("X-Customer".to_owned(), "Acme".to_owned())]),
    };
    let globex = TenantMatch {
        auth_user: Vec::new(),
        sender_domain: vec![DomainPattern::Below(parsed("example")), DomainPattern::Below(parsed("eu.globex.org"))],
        client: vec![parsed("10.1.2.0/24"), parsed("10.0.0.0/8")],
        header: BTreeMap::from([("X-Remuda-Customer".to_owned(), "17".to_owned())]),
    };
    let mut acme = tenant("acme", acme, &[("default", "slow"), ("transactional", "fast"), ("marketing", "slow")]);
    acme.streams = vec![
        StreamRule { header: Some(("Precedence".into(), "bulk".into())), ..rule("marketing") },
        StreamRule {
            sender: Some(parsed("reset@acme.example")),
            sender_domain: Some(DomainPattern::Any),
            ..rule("transactional")
        },
    ];
    acme.split = BTreeMap::from([("marketing".into(), vec![("new".into(), 0.5)])]);
    vec![
        acme,
        tenant("globex", globex, &[("default", "shared")]),
        tenant("rest", TenantMatch::default(), &[("default", "slow")]),
    ]
}

/// A message in a nutshell.
#[derive(Clone, Copy)]
struct Given {
    client: &'static str,
    trusted: bool,
    user: Option<&'static str>,
    from: &'static str,
    headers: &'static str,
}

const PLAIN: Given = Given { client: "192.0.2.7", trusted: true, user: None, from: "a@nowhere.org", headers: "" };

fn assign_to(config: &Config, given: Given, to: &[Mailbox]) -> Result<Assigned, Unassigned> {
    let from = (!given.from.is_empty()).then(|| parsed::<Mailbox>(given.from));
    let to: Vec<ForwardPath> = to.iter().cloned().map(ForwardPath::from).collect();
    Assigner::new(config).assign(&Incoming {
        client: parsed(given.client),
        trusted: given.trusted,
        auth_user: given.user,
        reverse_path: from.as_ref(),
        recipients: &to,
        headers: Headers::of(given.headers.as_bytes()),
    })
}

fn assign(given: Given) -> Result<Assigned, Unassigned> {
    assign_to(&config(), given, &[parsed("b@example.org")])
}

#[test]
fn the_most_explicit_mark_names_the_tenant() {
    let header = |headers| Given { headers, from: "a@x.example", ..PLAIN };
    for (given, tenant) in [
        (PLAIN, "rest"),
        (Given { client: "10.9.9.9", ..PLAIN }, "globex"),
        (Given { client: "10.1.9.9", ..PLAIN }, "acme"),
        (Given { client: "10.1.2.3", ..PLAIN }, "globex"),
        (Given { client: "::ffff:10.1.9.9", ..PLAIN }, "acme"),
        (Given { client: "2001:db8:1::7", ..PLAIN }, "acme"),
        (Given { client: "2001:db8:2::7", ..PLAIN }, "rest"),
        (Given { client: "10.1.2.3", from: "a@ACME.example", ..PLAIN }, "acme"),
        (Given { from: "a@mail.acme.example", ..PLAIN }, "globex"),
        (Given { from: "a@de.eu.globex.org", ..PLAIN }, "globex"),
        (Given { from: "a@eu.globex.org", ..PLAIN }, "rest"),
        (Given { from: "a@example", ..PLAIN }, "rest"),
        (Given { from: "", client: "10.1.9.9", ..PLAIN }, "acme"),
        (Given { from: "a@[192.0.2.1]", ..PLAIN }, "rest"),
        (header("X-Customer: ACME \r\n"), "acme"),
        (header("x-remuda-customer:\r\n 17\r\n"), "globex"),
        (header("X-Customer: other\r\n"), "globex"),
        (header("X-Customer: acme\r\nX-Remuda-Tenant: rest\r\n"), "rest"),
        (header("X-Remuda-Tenant: rest\r\nX-REMUDA-TENANT: rest\r\n"), "rest"),
        (Given { user: Some("acme-app"), headers: "X-Remuda-Tenant: rest\r\n", ..PLAIN }, "acme"),
        (Given { user: Some("nobody"), ..PLAIN }, "rest"),
    ] {
        let found = assign(given).map(|assigned| assigned.tenant.as_str().to_owned());
        assert_eq!(found.as_deref(), Ok(tenant), "{:?} {:?} {:?}", given.client, given.from, given.headers);
    }
}

#[test]
fn a_user_of_no_tenant_sends_for_the_default_or_for_nobody() {
    let marked = Given { client: "10.1.9.9", from: "a@acme.example", headers: "X-Remuda-Tenant: acme\r\n", ..PLAIN };
    let user = Given { trusted: false, user: Some("stray"), ..marked };
    let by = |config: &Config, given| {
        let found = assign_to(config, given, &[parsed("b@example.org")]);
        found.map(|assigned| assigned.tenant.to_string()).map_err(|why| why.to_string())
    };
    assert_eq!(by(&config(), user), Ok("rest".into()));
    assert_eq!(by(&config(), Given { trusted: true, ..user }), Ok("acme".into()), "it could do without the login");
    let mut none = config();
    none.assignment.default_tenant = None;
    assert_eq!(by(&none, user), Err("user \"stray\" belongs to no tenant".into()));
    for trusted in [true, false] {
        let gone = Given { user: Some("token:gone"), trusted, ..marked };
        assert_eq!(by(&config(), gone), Err("user \"token:gone\" belongs to no tenant".into()));
    }
}

#[test]
fn headers_of_strangers_are_not_believed() {
    let given = Given { trusted: false, user: Some("acme-app"), ..PLAIN };
    for headers in ["X-Remuda-Tenant: globex\r\n", "X-Remuda-Tenant: none\r\n", "X-Remuda-Customer: 17\r\n"] {
        assert_eq!(assign(Given { headers, ..given }).expect("by user").tenant.as_str(), "acme");
        assert_eq!(assign(Given { headers, user: None, ..given }).expect("default").tenant.as_str(), "rest");
    }
}

#[test]
fn an_unknown_tenant_is_refused_and_never_defaulted() {
    for (headers, text) in [
        ("X-Remuda-Tenant: nobody\r\n", "unknown tenant \"nobody\""),
        ("X-Remuda-Tenant:\r\n", "unknown tenant \"\""),
        ("X-Remuda-Tenant: ACME\r\n", "unknown tenant \"ACME\""),
        ("X-Remuda-Tenant: é\x07\r\n", "unknown tenant \"??\""),
        (
            "X-Remuda-Tenant: acme\r\nX-Remuda-Tenant: rest\r\n",
            "header X-Remuda-Tenant is given more than once with different values",
        ),
    ] {
        let given = Given { headers, from: "a@acme.example", ..PLAIN };
        assert_eq!(assign(given).expect_err("refused").to_string(), text);
    }
    let mut config = config();
    config.assignment.default_tenant = None;
    let none = assign_to(&config, PLAIN, &[parsed("b@example.org")]);
    assert_eq!(none, Err(Unassigned::Tenant { named: None }));
}

#[test]
fn header_beats_rules_beats_default_stream() {
    let acme = |from, headers| Given { client: "10.1.9.9", from, headers, ..PLAIN };
    for (given, stream, pool) in [
        (acme("x@acme.example", ""), "default", "slow"),
        (acme("RESET@acme.example", ""), "transactional", "fast"),
        (acme("reset@acme.example", "Precedence:  BULK\r\n"), "marketing", "new"),
        (acme("", ""), "default", "slow"),
        (acme("", "X-Remuda-Stream: transactional\r\nPrecedence: bulk\r\n"), "transactional", "fast"),
        (acme("reset@acme.example", "X-Remuda-Stream: default\r\n"), "default", "slow"),
    ] {
        let to: Mailbox = parsed("c0@example.org");
        let assigned = assign_to(&config(), given, &[to]).expect("assigned");
        assert_eq!(assigned.stream.as_str(), stream, "{:?} {:?}", given.from, given.headers);
        if stream != "marketing" {
            assert_eq!(assigned.groups[0].pool.as_str(), pool);
        }
    }
}

#[test]
fn a_stream_without_pool_is_refused() {
    let given = Given { headers: "X-Remuda-Stream: transactional\r\n", from: "a@x.example", ..PLAIN };
    let stream = Unassigned::Stream { tenant: "globex".into(), stream: "transactional".into() };
    assert_eq!(assign(given), Err(stream));
}

#[test]
fn recipients_are_grouped_by_pool_and_domain() {
    let to: Vec<Mailbox> =
        (0..200).map(|n| parsed(&format!("u{n}@{}.org", if n % 2 == 0 { "even" } else { "Odd" }))).collect();
    let given = Given { from: "a@acme.example", headers: "X-Remuda-Stream: marketing\r\n", ..PLAIN };
    let assigned = assign_to(&config(), given, &to).expect("assigned");
    let mut pairs: Vec<_> = assigned.groups.iter().map(|group| (group.pool.as_str(), group.domain.as_str())).collect();
    pairs.sort_unstable();
    assert_eq!(pairs, [("new", "even.org"), ("new", "odd.org"), ("slow", "even.org"), ("slow", "odd.org")]);
    assert!(assigned.groups.iter().all(|group| group.recipients.iter().all(|to| to.address.domain() == group.domain)));
    let mut all: Vec<_> =
        assigned.groups.iter().flat_map(|group| group.recipients.iter().map(|to| to.address.clone())).collect();
    all.sort();
    let mut to = to;
    to.sort();
    assert_eq!(all, to);
    let literal = assign_to(&config(), PLAIN, &[parsed("x@[192.0.2.1]")]).expect("assigned");
    assert_eq!(literal.groups[0].domain.as_str(), "[192.0.2.1]");
}

#[test]
fn control_headers_are_ours_and_listed_once() {
    let mut config = config();
    let rule = &mut config.tenants[0].streams[0];
    rule.header = Some(("X-Remuda-Kind".into(), "bulk".into()));
    config.tenants[2].matches.header.insert("x-remuda-customer".into(), "18".into());
    let assigner = Assigner::new(&config);
    let names = ["X-Remuda-Tenant", "X-Remuda-Stream", "X-Remuda-Customer", "X-Remuda-Kind"];
    assert_eq!(assigner.control_headers(), names);
}

#[test]
fn a_split_follows_the_order_of_the_file() {
    let text = "[server]\nhostname = \"relay.example.net\"\nstate_dir = \"/var/lib/remuda\"\n\
        [[listener]]\naddress = \"127.0.0.1:0\"\n\
        [binding.m]\nbind_address = \"192.0.2.1\"\nehlo_hostname = \"m.example.net\"\n\
        [pool.p]\nactive = [\"m\"]\n[pool.a]\nactive = [\"m\"]\n[pool.z]\nactive = [\"m\"]\n\
        [tenant.t]\npools = { default = \"p\" }\nsplit = { default = { z = 0.1, a = 0.2 } }\n";
    let config = Config::from_toml(text).expect("good");
    let order: Vec<_> = config.tenants[0].split["default"].iter().map(|(pool, _)| pool.as_str()).collect();
    assert_eq!(order, ["z", "a"]);
}
