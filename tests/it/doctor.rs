//! `remuda check --online` against a name server of our own, a receiver on loopback, and each fault planted.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Command, Output};

use hickory_resolver::proto::op::ResponseCode;
use remuda::demo::zone::{Mood, Zone, reversed};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::{Settings, anywhere, array, local, sink, text};

/// RSA keys of which only the length is of interest.
const KEY_1024: &str = "v=DKIM1; p=MIIAojANBgkqhkiG9w0BAQEFAAOCAI8AMIIAigKCAIEA//////////////////////////////////////////////////////////////////////////////////////////////////////////////////////////////////////////////////////////////////////////8CAwEAAQ==";
const KEY_512: &str = "v=DKIM1; p=MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAP////////////////////////////////////////////////////////////////////////////////////8CAwEAAQ==";

fn public() -> IpAddr {
    IpAddr::from([192, 0, 2, 11])
}

/// A world in which nothing is wrong with the binding `a` and the tenant's domain.
async fn good_world() -> Zone {
    let zone = Zone::start(anywhere()).await.unwrap();
    zone.ptr(public(), "a.test").unwrap();
    zone.a("a.test", public());
    for list in ["bl.test", "wl.test"] {
        zone.mood(list, Mood::Dnsbl);
    }
    zone.txt("acme.test", "v=spf1 ip4:192.0.2.0/24 -all");
    zone.txt("_dmarc.acme.test", "v=DMARC1; p=reject");
    zone.txt("s1._domainkey.acme.test", KEY_1024);
    zone
}

fn settings(zone: &Zone) -> Settings {
    Settings::new()
        .set("monitor", "servers", &format!("[\"{}\"]", zone.addr()))
        .set("monitor", "timeout", "\"400ms\"")
        .set("dns", "servers", &format!("[\"{}\"]", zone.addr()))
        .set("monitor.zone.bl", "zone", "\"bl.test\"")
        .set("monitor.zone.bl", "weight", "4.0")
        .set("monitor.zone.wl", "zone", "\"wl.test\"")
        .set("tenant.acme", "match", "{ sender_domain = [\"acme.test\"] }")
        .binding("a", 11, "public_address = \"192.0.2.11\"")
        .pool("active = [\"a\"]")
}

/// Exit code, the JSON document, the table.
struct Said {
    code: Option<i32>,
    json: Value,
    table: String,
}

impl Said {
    /// The finding of `check` about `about` (or whatever it is about), of whatever it belongs to.
    fn finding(&self, check: &str, about: Option<&str>) -> &Value {
        let groups = ["/resolvers", "/zones", "/bindings", "/domains", "/tenants"];
        let all = groups.iter().flat_map(|group| array(&self.json, group)).flat_map(|one| array(one, "/findings"));
        let mut fitting = all.filter(|f| f["check"] == check && about.is_none_or(|about| f["about"] == about));
        fitting.next().unwrap_or_else(|| panic!("no {check} {about:?} in {:#}", self.json))
    }
}

async fn run(settings: &Settings, arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("remuda.toml");
    std::fs::write(&file, settings.text(&directory.path().join("state"))).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_remuda"));
    command.args(["check", "--online", "-c"]).arg(&file).args(arguments);
    tokio::task::spawn_blocking(move || {
        let output = command.output().unwrap();
        drop(directory);
        output
    })
    .await
    .unwrap()
}

/// Looks twice: as a table and as JSON; both must end the same way.
async fn doctor(settings: &Settings, to: SocketAddr, more: &[&str]) -> Said {
    let to = to.to_string();
    looked(settings, &[&["--to", &to, "--wait", "30", "--dkim-selector", "s1"], more].concat()).await
}

async fn looked(settings: &Settings, base: &[&str]) -> Said {
    let json = run(settings, &[base, &["--json"]].concat()).await;
    let table = run(settings, base).await;
    let said = String::from_utf8_lossy(&json.stderr).into_owned();
    assert_eq!(json.status.code(), table.status.code(), "{said}");
    let document = serde_json::from_slice(&json.stdout).unwrap_or_else(|e| panic!("{e}: {said}"));
    Said { code: json.status.code(), json: document, table: String::from_utf8(table.stdout).unwrap() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nothing_is_wrong_everything_is_good() {
    let (zone, sink) = (good_world().await, sink().await);
    let said = doctor(&settings(&zone), sink.addr(), &[]).await;
    assert_eq!(said.code, Some(0), "{}", said.table);
    assert_eq!(text(&said.json, "/verdict"), "good");
    for check in
        ["bind", "route", "port", "ptr", "fcrdns", "single_ptr", "own_name", "ehlo_form", "ehlo", "spf", "listed"]
    {
        assert_eq!(said.finding(check, None)["state"], "good", "{check}");
    }
    for check in ["answers", "speed", "nxdomain", "loopback", "public", "list", "dmarc", "dkim"] {
        assert_eq!(said.finding(check, None)["state"], "good", "{check}");
    }
    assert!(said.table.contains("0 faults, 0 warnings, 0 unknown"), "{}", said.table);
    assert_eq!(sink.messages(), 0, "no mail is sent");
}

/// A fault: what is done to the world, where it must show, in which state, with which word.
type Fault = (&'static str, fn(&Zone), (&'static str, Option<&'static str>), &'static str, &'static str);

const LISTED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

fn retxt(zone: &Zone, name: &str, text: &str) {
    zone.remove(name);
    zone.txt(name, text);
}

fn reptr(zone: &Zone, name: &str) {
    zone.remove(&reversed(public(), "in-addr.arpa"));
    zone.ptr(public(), name).unwrap();
}

const FAULTS: &[Fault] = &[
    ("no PTR", |z| z.remove(&reversed(public(), "in-addr.arpa")), ("ptr", None), "fault", "no PTR record"),
    ("PTR to a name without address", |z| reptr(z, "gone.test"), ("fcrdns", None), "fault", "does not lead back"),
    (
        "PTR to elsewhere",
        |z| {
            reptr(z, "b.test");
            z.a("b.test", IpAddr::from([192, 0, 2, 99]));
        },
        ("fcrdns", None),
        "fault",
        "does not lead back",
    ),
    (
        "two PTRs",
        |z| {
            z.ptr(public(), "b.test").unwrap();
            z.a("b.test", public());
        },
        ("single_ptr", None),
        "warning",
        "2 PTR records",
    ),
    (
        "generic PTR",
        |z| {
            reptr(z, "192-0-2-11.static.provider.test");
            z.a("192-0-2-11.static.provider.test", public());
        },
        ("own_name", None),
        "warning",
        "looks generic",
    ),
    (
        "EHLO name elsewhere",
        |z| {
            reptr(z, "b.test");
            z.a("b.test", public());
            z.remove("a.test");
            z.a("a.test", IpAddr::from([192, 0, 2, 99]));
        },
        ("ehlo", None),
        "warning",
        "leads to 192.0.2.99",
    ),
    (
        "EHLO name without address",
        |z| {
            reptr(z, "b.test");
            z.a("b.test", public());
            z.remove("a.test");
        },
        ("ehlo", None),
        "warning",
        "has no address",
    ),
    (
        "reverse DNS that fails",
        |z| z.mood("in-addr.arpa", Mood::Code(ResponseCode::ServFail)),
        ("ptr", None),
        "unknown",
        "servfail",
    ),
    ("reverse DNS that is silent", |z| z.mood("in-addr.arpa", Mood::Silent), ("ptr", None), "unknown", "timeout"),
    (
        "SPF that does not name the address",
        |z| retxt(z, "acme.test", "v=spf1 ip4:192.0.2.99 -all"),
        ("spf", Some("acme.test")),
        "fault",
        "fail",
    ),
    (
        "SPF that is not sure",
        |z| retxt(z, "acme.test", "v=spf1 ip4:192.0.2.99 ~all"),
        ("spf", Some("acme.test")),
        "warning",
        "softfail",
    ),
    (
        "SPF with a mistake",
        |z| retxt(z, "acme.test", "v=spf1 ip4:192.0.2.999 -all"),
        ("spf", Some("acme.test")),
        "fault",
        "permerror",
    ),
    (
        "SPF with too many look-ups",
        |z| {
            for n in 0..12 {
                z.txt(&format!("i{n}.acme.test"), &format!("v=spf1 include:i{}.acme.test -all", n + 1));
            }
            retxt(z, "acme.test", "v=spf1 include:i0.acme.test -all");
        },
        ("spf", Some("acme.test")),
        "fault",
        "permerror",
    ),
    ("no SPF", |z| retxt(z, "acme.test", "something else"), ("spf", Some("acme.test")), "warning", "none"),
    (
        "SPF that cannot be asked",
        |z| z.mood("acme.test", Mood::Code(ResponseCode::ServFail)),
        ("spf", Some("acme.test")),
        "unknown",
        "temperror",
    ),
    ("no DMARC", |z| z.remove("_dmarc.acme.test"), ("dmarc", None), "warning", "no DMARC record"),
    ("two DMARCs", |z| z.txt("_dmarc.acme.test", "v=DMARC1; p=none"), ("dmarc", None), "fault", "more than one"),
    (
        "DMARC without policy",
        |z| retxt(z, "_dmarc.acme.test", "v=DMARC1; p=maybe"),
        ("dmarc", None),
        "fault",
        "is no policy",
    ),
    (
        "DMARC that cannot be asked",
        |z| z.mood("_dmarc.acme.test", Mood::Code(ResponseCode::ServFail)),
        ("dmarc", None),
        "unknown",
        "servfail",
    ),
    ("no DKIM key", |z| z.remove("s1._domainkey.acme.test"), ("dkim", None), "fault", "no key"),
    ("short DKIM key", |z| retxt(z, "s1._domainkey.acme.test", KEY_512), ("dkim", None), "fault", "512 bit"),
    ("revoked DKIM key", |z| retxt(z, "s1._domainkey.acme.test", "v=DKIM1; p="), ("dkim", None), "fault", "revoked"),
    ("listed", |z| z.listed("bl.test", public(), LISTED), ("listed", Some("bl")), "fault", "unconfirmed"),
    (
        "listed where it weighs little",
        |z| z.listed("wl.test", public(), LISTED),
        ("listed", Some("wl")),
        "warning",
        "weight 1",
    ),
    ("a list that refuses", |z| z.mood("wl.test", Mood::refusing()), ("list", None), "good", "healthy"),
    (
        "resolver that lists take for public",
        |z| z.mood("wl.test", Mood::refusing()),
        ("public", None),
        "warning",
        "127.255.255.254",
    ),
    (
        "a list that lists the world",
        |z| z.mood("bl.test", Mood::lists_everything()),
        ("list", None),
        "warning",
        "lists everything",
    ),
    (
        "resolver that rewrites NXDOMAIN",
        |z| z.mood(".", Mood::Always([203, 0, 113, 80].into())),
        ("nxdomain", None),
        "fault",
        "203.0.113.80",
    ),
    (
        "resolver that takes 127/8 away",
        |z| {
            for list in ["bl.test", "wl.test"] {
                z.mood(list, Mood::Records);
                z.txt(&format!("2.0.0.127.{list}"), "the name is there, its address is not");
            }
        },
        ("loopback", None),
        "fault",
        "test entries of 2 lists",
    ),
    (
        "two lists that died",
        |z| ["bl.test", "wl.test"].iter().for_each(|list| z.mood(list, Mood::Records)),
        ("loopback", None),
        "unknown",
        "may be the lists",
    ),
    (
        "resolver that says nothing of names that are none",
        |z| z.mood(".", Mood::Silent),
        ("nxdomain", None),
        "unknown",
        "no answer",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_planted_fault_shows_in_table_json_and_exit_code() {
    let sink = sink().await;
    for (what, plant, (check, about), state, word) in FAULTS {
        let zone = good_world().await;
        plant(&zone);
        let said = doctor(&settings(&zone), sink.addr(), &[]).await;
        let finding = said.finding(check, *about);
        assert_eq!(finding["state"], *state, "{what}: {finding:#}");
        assert!(text(finding, "/detail").contains(word), "{what}: {finding:#}");
        let counts = |state: &str| said.json["counts"][state].as_u64().unwrap();
        let expected = match (counts("fault"), counts("warning") + counts("unknown")) {
            (0, 0) => 0,
            (0, _) => 3,
            _ => 1,
        };
        assert_eq!(said.code, Some(expected), "{what}");
        if *state != "good" {
            let mark = match *state {
                "fault" => "FAULT: ",
                "warning" => "warning: ",
                _ => "?: ",
            };
            let shows =
                |line: &str| line.starts_with(mark) && line.contains(&format!(" {check}")) && line.contains(word);
            assert!(said.table.lines().any(shows), "{what} is not in\n{}", said.table);
            let nothing_to_do = *state == "unknown";
            assert!(nothing_to_do || finding["remedy"].as_str().is_some_and(|r| !r.is_empty()), "{what}: {finding:#}");
            assert_ne!(said.code, Some(0), "{what}");
        }
        if *state == "unknown" {
            assert_eq!(counts("fault"), 0, "{what}: no answer is no fault\n{}", said.table);
        }
    }
}

/// A port that takes connections, says `greeting` and waits.
async fn greeter(greeting: &'static str) -> SocketAddr {
    let listener = TcpListener::bind(anywhere()).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.write_all(greeting.as_bytes()).await;
                let _ = stream.read_to_end(&mut Vec::new()).await;
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn port_25_is_open_or_it_is_said_how_it_is_not() {
    let zone = good_world().await;
    let closed = TcpListener::bind(anywhere()).await.unwrap();
    let refused = closed.local_addr().unwrap();
    drop(closed);
    let cases = [
        (refused, "30", "refused"),
        // The one who says nothing: the wait is what is seen.
        (greeter("").await, "2", "no greeting within 2 s"),
        (greeter("554 5.7.1 go away \u{1b}[2J\r\n").await, "30", "refused with 554 5.7.1 go away \\u{1b}"),
        (greeter("SSH-2.0-x\r\n").await, "30", "no SMTP"),
    ];
    for (to, wait, word) in cases {
        let said = looked(&settings(&zone), &["--to", &to.to_string(), "--wait", wait]).await;
        let finding = said.finding("port", None);
        assert_eq!(finding["state"], "fault", "{word}: {finding:#}");
        assert!(text(finding, "/detail").to_lowercase().contains(&word.to_lowercase()), "{word}: {finding:#}");
        assert_eq!(said.code, Some(1), "{word}");
        assert!(!said.table.contains('\u{1b}'), "{}", said.table);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_not_here_cannot_be_bound_and_only_looks_at_what_is_asked() {
    let (zone, sink) = (good_world().await, sink().await);
    zone.ptr(IpAddr::from([192, 0, 2, 12]), "away.test").unwrap();
    zone.a("away.test", IpAddr::from([192, 0, 2, 12]));
    let settings = settings(&zone).binding_at("away", "192.0.2.12", "");
    let said = doctor(&settings, sink.addr(), &[]).await;
    assert_eq!(said.code, Some(1));
    let away = array(&said.json, "/bindings").iter().find(|b| b["binding"] == "away").unwrap();
    let state = |check: &str| &array(away, "/findings").iter().find(|f| f["check"] == check).unwrap()["state"];
    assert_eq!((state("bind"), state("route"), state("port")), (&"fault".into(), &"unknown".into(), &"unknown".into()));
    assert_eq!(state("fcrdns"), "good", "the names are looked at all the same");
    assert!(said.table.contains("FAULT: away: bind: bind 192.0.2.12"), "{}", said.table);

    let only = doctor(&settings, sink.addr(), &["--only", "a"]).await;
    assert_eq!((only.code, array(&only.json, "/bindings").len()), (Some(0), 1), "{}", only.table);
    let wrong = run(&settings, &["--only", "awya"]).await;
    assert_eq!(wrong.status.code(), Some(2));
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(said.contains("no binding awya") && said.contains("\"away\""), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_host_no_connection_is_made_and_loopback_is_said_to_lead_nowhere() {
    let zone = good_world().await;
    let output = run(&settings(&zone), &["--json"]).await;
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let said = Said { code: output.status.code(), json, table: String::new() };
    assert_eq!(said.code, Some(3));
    assert_eq!(said.finding("route", None)["state"], "warning");
    let checks: Vec<&Value> = array(&said.json, "/bindings/0/findings").iter().map(|f| &f["check"]).collect();
    assert!(!checks.contains(&&Value::from("port")), "{checks:?}");
    assert_eq!(text(&said.json, "/bindings/0/bind_address"), local(11).to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_of_a_list_is_in_nothing_that_is_printed() {
    let zone = good_world().await;
    let settings = settings(&zone).set("monitor.zone.keyed", "zone", "\"topsecretkey0123456789ab.dq.test\"");
    for mood in [Mood::Records, Mood::Dnsbl, Mood::Code(ResponseCode::ServFail), Mood::refusing()] {
        zone.mood("topsecretkey0123456789ab.dq.test", mood);
        for form in [&["--json"][..], &[]] {
            let output = run(&settings, form).await;
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said).into_owned();
            assert!(said.contains("keyed") && !said.contains("topsecret"), "{said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_whose_domains_nobody_knows_is_said_and_a_domain_can_be_named() {
    let (zone, sink) = (good_world().await, sink().await);
    let settings = settings(&zone).set("tenant.acme", "match", "{ client = [\"127.0.0.0/8\"] }");
    let said = doctor(&settings, sink.addr(), &[]).await;
    assert_eq!(said.code, Some(3), "{}", said.table);
    let finding = said.finding("domains", None);
    assert_eq!(finding["state"], "unknown");
    assert!(text(finding, "/remedy").contains("--domain"));
    assert!(said.table.contains("tenant acme: domains"), "{}", said.table);

    let named = doctor(&settings, sink.addr(), &["--domain", "acme.test"]).await;
    assert_eq!(named.code, Some(0), "{}", named.table);
    assert_eq!(text(&named.json, "/domains/0/domain"), "acme.test");
    for check in ["spf", "dmarc", "dkim"] {
        assert_eq!(named.finding(check, None)["state"], "good", "{check}");
    }
    assert_eq!(array(&named.json, "/tenants").len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_of_domains_are_asked_about_names_and_senders() {
    let (zone, sink) = (good_world().await, sink().await);
    zone.listed_domain("dbl.test", "test", LISTED);
    zone.listed_domain("dbl.test", "a.test", LISTED);
    let settings = settings(&zone)
        .set("monitor.zone.dbl", "zone", "\"dbl.test\"")
        .set("monitor.zone.dbl", "kind", "\"domain\"")
        .set("monitor.zone.dbl", "weight", "4.0");
    let said = doctor(&settings, sink.addr(), &[]).await;
    assert_eq!((said.code, said.finding("listed", Some("dbl a.test"))["state"].as_str()), (Some(1), Some("fault")));
    assert_eq!(said.finding("listed", Some("dbl"))["state"], "good", "the sender's: {:#}", said.json);
    zone.listed_domain("dbl.test", "acme.test", LISTED);
    let said = doctor(&settings, sink.addr(), &[]).await;
    assert_eq!(said.finding("listed", Some("dbl"))["state"], "fault");
    assert!(said.table.contains("FAULT: acme.test: listed dbl"), "{}", said.table);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_may_not_be_asked_today_is_unknown_and_not_left_out() {
    let (zone, sink) = (good_world().await, sink().await);
    let settings = settings(&zone).set("monitor.zone.bl", "queries_per_day", "2");
    let said = doctor(&settings, sink.addr(), &[]).await;
    assert_eq!(said.code, Some(3), "{}", said.table);
    let list = array(&said.json, "/zones").iter().find(|z| z["zone"] == "bl").unwrap();
    assert_eq!(text(list, "/findings/0/state"), "unknown");
    assert!(text(list, "/findings/0/detail").contains("queries_per_day"), "{list:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_name_servers_of_one_domain_hold_up_nobody_and_the_whole_has_a_limit() {
    let (zone, sink) = (good_world().await, sink().await);
    let mut settings = settings(&zone);
    let domains: Vec<String> = (0..40).map(|n| format!("\"d{n}.silent.test\"")).collect();
    zone.mood("silent.test", Mood::Silent);
    settings = settings.set("tenant.acme", "match", &format!("{{ sender_domain = [{}] }}", domains.join(", ")));
    // 40 domains one after the other would take several seconds each.
    let begun = std::time::Instant::now();
    let to = sink.addr().to_string();
    let output = run(&settings, &["--json", "--to", &to, "--limit", "1"]).await;
    let took = begun.elapsed();
    let json = serde_json::from_slice(&output.stdout).unwrap();
    let said = Said { code: output.status.code(), json, table: String::new() };
    assert_eq!(said.code, Some(3));
    assert!(text(said.finding("spf", Some("d39.silent.test")), "/detail").contains("--limit"), "{:#}", said.json);
    assert_eq!(array(&said.json, "/domains").len(), 40, "each is there");
    assert_eq!(said.finding("list", None)["state"], "unknown");
    assert!(took < std::time::Duration::from_secs(20), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_without_ipv6_is_no_shortcoming_of_an_ipv6_binding() {
    let (zone, sink) = (good_world().await, sink().await);
    let six: IpAddr = "2001:db8::11".parse().unwrap();
    zone.ptr(six, "six.test").unwrap();
    zone.a("six.test", six);
    zone.a("mx.test", sink.addr().ip());
    zone.remove("acme.test");
    zone.txt("acme.test", "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all");
    let settings = settings(&zone).binding_at("six", "::1", "public_address = \"2001:db8::11\"");
    let to = format!("mx.test:{}", sink.addr().port());
    let said = looked(&settings, &["--to", &to]).await;
    let checks = |binding: &str| -> Vec<&str> {
        let all = array(&said.json, "/bindings").iter().find(|b| b["binding"] == binding).unwrap();
        array(all, "/findings").iter().map(|f| f["check"].as_str().unwrap()).collect()
    };
    assert!(checks("a").contains(&"port") && !checks("six").contains(&"port"), "{:#}", said.json);
    assert_eq!(said.finding("port", None)["state"], "good", "{}", said.table);
    assert!(!checks("six").contains(&"listed"), "a list of IPv4 says nothing of it");
    let unknown = said.json["counts"]["unknown"].as_u64();
    assert_eq!(unknown, Some(0), "{}", said.table);
}

#[tokio::test]
async fn where_nothing_can_be_looked_at_the_exit_code_is_neither_good_nor_fault() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("remuda.toml");
    std::fs::write(&file, "[server]\nnonsense = 1\n").unwrap();
    let code = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_remuda")).args(arguments).arg("-c").arg(&file).output().unwrap().status.code()
    };
    assert_eq!((code(&["doctor"]), code(&["check", "--online"]), code(&["check"])), (Some(2), Some(2), Some(1)));
}

#[tokio::test]
async fn options_of_online_alone_are_wrong_usage_and_doctor_is_the_same() {
    let remuda =
        |arguments: &'static [&str]| Command::new(env!("CARGO_BIN_EXE_remuda")).args(arguments).output().unwrap();
    let alone = remuda(&["check", "--to", "mx.test"]);
    assert_eq!(alone.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&alone.stderr).contains("--online"));
    for help in [remuda(&["doctor", "--help"]), remuda(&["check", "--help"])] {
        let help = String::from_utf8_lossy(&help.stdout).into_owned();
        for word in ["--only", "--to", "--dkim-selector", "--json", "--wait", "--domain", "--limit"] {
            assert!(help.contains(word), "{word}: {help}");
        }
    }
}

mod peers {
    use super::*;

    /// What is said of an address in a network in which it is alone.
    async fn on_an_island(arguments: &[&str]) -> Said {
        let zone = good_world().await;
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("remuda.toml");
        let settings = settings(&zone).binding_at("island", "192.0.2.12", "");
        std::fs::write(&file, settings.text(&directory.path().join("state"))).unwrap();
        // A network of its own, in which the address exists and nothing leads anywhere; nor do name servers answer.
        let script = "ip link set lo up && ip address add 192.0.2.12/32 dev lo && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["-n", "sh", "-c", script, "sh", env!("CARGO_BIN_EXE_remuda"), "doctor", "--json"]);
        command.args(["--only", "island", "-c"]).arg(&file).args(arguments);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {errors}"));
        let said = Said { code: output.status.code(), json, table: String::new() };
        assert_eq!(said.finding("bind", None)["state"], "good", "{:#}", said.json);
        assert!(text(said.finding("route", None), "/detail").contains("no route towards "));
        assert_eq!(said.finding("ptr", None)["state"], "unknown");
        said
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs root, unshare and ip; tests/run has them"]
    async fn an_address_without_a_route_is_said_to_have_none() {
        let said = on_an_island(&[]).await;
        assert_eq!(said.finding("route", None)["state"], "warning", "perhaps not to nobody's: {:#}", said.json);
        let said = on_an_island(&["--to", "198.51.100.1"]).await;
        assert_eq!(said.finding("route", None)["state"], "fault", "{:#}", said.json);
        assert_eq!(said.code, Some(1));
    }
}
