//! A changed file comes into force while mail flows: nothing dropped, no session cut, no count lost, all or nothing.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use remuda::demo::sink::{Act, Rule, Sink};
use remuda::outcome::Stage;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::support::{
    PATIENCE, Relay, Settings, all_accepted, array, arrived_once_each, day_with_room, local, named, number, sink, text,
    wait_for_messages, wait_until,
};

/// Everybody's mail is acme's by its sender, so that a second tenant can be told apart.
fn by_sender() -> Settings {
    Settings::new().set("tenant.acme", "match", "{ sender_domain = [\"acme.example\"] }")
}

fn with_bolt(settings: Settings) -> Settings {
    settings.set("tenant.bolt", "match", "{ sender_domain = [\"bolt.example\"] }").set(
        "tenant.bolt",
        "pools",
        "{ default = \"main\" }",
    )
}

fn keys(answer: &Value) -> Vec<&str> {
    array(answer, "/changes").iter().map(|change| text(change, "/key")).collect()
}

/// Reads `settings` by SIGHUP and waits until `what` is in the log once more.
async fn hup(relay: &Relay, settings: &Settings, what: &str) {
    let before = relay.log().matches(what).count();
    relay.write(settings);
    relay.signal("HUP");
    wait_until(what, async || (relay.log().matches(what).count() > before).then_some(())).await;
}

const RELOADED: &str = "configuration reloaded";
const REFUSED: &str = "configuration not reloaded";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bindings_come_and_go_while_a_client_pumps_mail() {
    let sink = sink().await;
    // Slow enough that mail is on the wire and waits at every change.
    sink.add(Rule::at(Stage::EndOfData, Act::After(Duration::from_millis(5), Box::new(Act::Accept))));
    let base = || Settings::new().set("queue", "max_attempts_in_flight", "8").to(sink.addr());
    let mut relay = Relay::start(&base().binding("a", 11, "").pool("active = [\"a\"]")).await;
    let sending = tokio::spawn(relay.load(1500).run());
    wait_for_messages(&sink, 50).await;
    assert_eq!(sink.senders(), BTreeSet::from([local(11)]));

    let both = base().binding("a", 11, "").binding("b", 12, "").pool("active = [\"a\", \"b\"]");
    let answer = relay.reload(&both).await;
    assert_eq!(keys(&answer), ["binding.b", "pool.main.active"], "{answer:#}");
    wait_until("b carries mail", async || (sink.source(local(12)).messages > 20).then_some(())).await;

    let answer = relay.reload(&base().binding("b", 12, "").pool("active = [\"b\"]")).await;
    assert_eq!(keys(&answer), ["binding.a", "pool.main.active"], "{answer:#}");
    // What was on the wire over a may end.
    let status = relay.status().await;
    assert!(array(&status, "/bindings").iter().all(|binding| binding["name"] != "a"), "{status:#}");
    tokio::time::sleep(Duration::from_millis(200)).await;
    let of_a = sink.source(local(11));
    all_accepted(&sending.await.unwrap());
    wait_for_messages(&sink, 1500).await;
    relay.wait_until_empty().await;
    assert_eq!(
        (sink.source(local(11)).messages, sink.source(local(11)).connections),
        (of_a.messages, of_a.connections)
    );
    arrived_once_each(&sink, 0..1500);
    let counts = &relay.status().await["counts"];
    assert_eq!((number(counts, "/accepted_recipients"), number(counts, "/delivered")), (1500, 1500));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn name_and_address_of_a_binding_are_those_of_the_file_at_the_next_connection() {
    let sink = sink().await;
    let base = || Settings::new().set("delivery", "keep_idle", "\"60s\"").pool("active = [\"a\"]").to(sink.addr());
    let mut relay = Relay::start(&base().binding("a", 11, "")).await;
    all_accepted(&relay.load(20).run().await);
    wait_for_messages(&sink, 20).await;
    relay.wait_until_empty().await;
    assert!(sink.open_connections() > 0, "connections are kept");

    let named = |address: &str, name: &str| {
        base().block(format!("[binding.a]\nbind_address = \"{address}\"\nehlo_hostname = \"{name}\"\n"))
    };
    for (first, address, name) in [(20, "127.0.0.11", "new.test"), (40, "127.0.0.12", "new.test")] {
        let before = sink.log().len();
        relay.reload(&named(address, name)).await;
        wait_until("old connections are retired", async || (sink.open_connections() == 0).then_some(())).await;
        all_accepted(&relay.load(20).first(first).run().await);
        wait_for_messages(&sink, first + 20).await;
        relay.wait_until_empty().await;
        for taken in &sink.log()[before..] {
            assert_eq!((taken.source.to_string().as_str(), &*taken.ehlo), (address, name));
        }
    }
    arrived_once_each(&sink, 0..60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_comes_and_goes_and_its_waiting_mail_with_it() {
    let sink = sink().await;
    let base = || by_sender().binding("a", 11, "").pool("active = [\"a\"]").to(sink.addr());
    let mut relay = Relay::start(&base()).await;
    let bolts = |relay: &Relay, first: u64, count: u64| {
        relay.load(count).first(first).reverse_path(|n| format!("n{n}@bolt.example")).run()
    };
    let refused = bolts(&relay, 0, 3).await;
    assert_eq!(refused.refused.len(), 3, "{refused:?}");
    relay.reload(&with_bolt(base())).await;
    all_accepted(&bolts(&relay, 0, 10).await);
    wait_for_messages(&sink, 10).await;

    let later = sink.add(Rule::reply(Stage::Mail, "451 4.2.0 later"));
    all_accepted(&bolts(&relay, 10, 20).await);
    relay.write(&base());
    let (status, dry) = relay.post("/api/v1/reload", &json!({ "dry_run": true })).await;
    assert_eq!((status.as_str(), dry["is_dry"].as_bool()), ("200", Some(true)), "{dry:#}");
    let warning = text(&dry, "/warnings/0");
    assert!(warning.contains("20 recipients of tenant bolt") && warning.contains("remuda queue move"), "{warning}");
    let again = bolts(&relay, 100, 1).await;
    all_accepted(&again);
    let answer = relay.reload(&base()).await;
    assert_eq!(keys(&answer), ["tenant.bolt"]);
    assert_eq!(bolts(&relay, 200, 3).await.refused.len(), 3, "refused at SMTP time");
    let stranded = |status: &Value| number(status, "/counts/stranded_recipients");
    wait_until("all of it is stranded", async || (stranded(&relay.status().await) == 21).then_some(())).await;
    assert_eq!(number(&relay.status().await, "/queue/messages"), 0);

    // What is stranded survives a crash, and is known afterwards.
    relay.restart(&base()).await;
    assert_eq!(stranded(&relay.status().await), 21);
    sink.remove(later);
    relay.reload(&with_bolt(base())).await;
    wait_for_messages(&sink, 31).await;
    relay.wait_until_empty().await;
    assert_eq!(stranded(&relay.status().await), 0);
    arrived_once_each(&sink, (0..30).chain([100]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_used_of_a_cap_stays_used_and_a_new_one_holds_at_once() {
    let sink = sink().await;
    let (day, _) = day_with_room();
    let base = |cap: u64, more: &str| {
        Settings::new()
            .set("server", "day", &day)
            .binding("a", 11, &format!("daily_cap = {cap}\n{more}"))
            .pool("active = [\"a\"]")
            .to(sink.addr())
    };
    let mut relay = Relay::start(&base(100, "")).await;
    all_accepted(&relay.load(60).run().await);
    wait_for_messages(&sink, 60).await;
    relay.wait_until_empty().await;
    let used = async |relay: &Relay| {
        let status = relay.status().await;
        let cap = &named(&status, "/bindings", "a")["cap"];
        (number(cap, "/used"), number(cap, "/limit"))
    };
    assert_eq!(used(&relay).await, (60, 100));
    relay.reload(&base(80, "max_outbound_connections = 3")).await;
    assert_eq!(used(&relay).await, (60, 80));
    all_accepted(&relay.load(60).first(60).run().await);
    let waits = |left: u64| {
        let relay = &relay;
        async move || {
            let status = relay.status().await;
            let waits = |w: &Value| w["reason"] == "cap" && w["recipients"] == left;
            array(&status, "/queue/waiting").iter().any(waits).then_some(())
        }
    };
    wait_until("forty wait for the cap", waits(40)).await;
    wait_until("twenty more have left", async || (used(&relay).await == (80, 80)).then_some(())).await;
    assert_eq!(sink.messages(), 80);
    hup(&relay, &base(90, ""), RELOADED).await;
    wait_until("thirty wait for the cap", waits(30)).await;
    wait_until("ten more have left", async || (used(&relay).await == (90, 90)).then_some(())).await;
    assert_eq!(sink.messages(), 90);
    // Down again: nothing more leaves, nothing is forgotten.
    hup(&relay, &base(10, ""), RELOADED).await;
    assert_eq!(used(&relay).await, (90, 10));
    hup(&relay, &base(100, ""), RELOADED).await;
    wait_until("twenty wait for the cap", waits(20)).await;
    wait_until("ten more have left", async || (used(&relay).await == (100, 100)).then_some(())).await;
    arrived_once_each(&sink, sink.ids().keys().map(|id| id.parse().unwrap()).collect::<Vec<u64>>());
    assert_eq!(sink.messages(), 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limit_of_a_provider_and_its_hosts_follow_the_file() {
    let (sink, other) = (sink().await, sink().await);
    let (day, _) = day_with_room();
    let base = |cap: u64, to: SocketAddr| {
        Settings::new()
            .set("server", "day", &day)
            .set("provider.big.binding", "daily_cap", &cap.to_string())
            .binding("a", 11, "")
            .pool("active = [\"a\"]")
            .block(format!(
                "[provider.big]\nmx = [\"*.big.test\"]\n[[destination_route]]\ndomain = \"big.test\"\nhosts = [\"{to}\"]\nprovider = \"big\"\n"
            ))
    };
    let mut relay = Relay::start(&base(10, sink.addr())).await;
    all_accepted(&relay.load(40).recipients(|n| vec![format!("u{n}@big.test")]).run().await);
    wait_for_messages(&sink, 10).await;
    relay.reload(&base(25, sink.addr())).await;
    wait_for_messages(&sink, 25).await;
    let answer = relay.reload(&base(40, other.addr())).await;
    assert!(keys(&answer).contains(&"destination_route[big.test].hosts"), "{answer:#}");
    wait_for_messages(&other, 15).await;
    relay.wait_until_empty().await;
    assert_eq!((sink.messages(), other.messages()), (25, 15));
}

/// A session by hand.
pub(crate) struct Session(BufReader<TcpStream>);

impl Session {
    pub(crate) async fn greeted(address: SocketAddr) -> Self {
        let mut session = Self(BufReader::new(TcpStream::connect(address).await.unwrap()));
        assert!(session.reply().await.starts_with("220"));
        session
    }

    async fn reply(&mut self) -> String {
        let reading = async {
            loop {
                let mut line = String::new();
                self.0.read_line(&mut line).await.unwrap();
                if line.as_bytes().get(3) != Some(&b'-') {
                    return line;
                }
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.unwrap()
    }

    pub(crate) async fn says(&mut self, line: &str, code: &str) {
        self.0.get_mut().write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
        let reply = self.reply().await;
        assert!(reply.starts_with(code), "{line}: {reply}");
    }

    pub(crate) async fn sends(&mut self, from: &str) {
        self.says(&format!("MAIL FROM:<{from}>"), "250").await;
        self.says("RCPT TO:<b@there.test>", "250").await;
        self.says("DATA", "354").await;
        self.says("Subject: x\r\n\r\nx\r\n.", "250").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_come_and_go_with_a_session_open() {
    let sink = sink().await;
    let base = || by_sender().binding("a", 11, "").pool("active = [\"a\"]").to(sink.addr());
    let second = "[[listener]]\naddress = \"127.0.0.2:0\"\ntrust = [\"127.0.0.0/8\"]\n";
    let mut relay = Relay::start(&base()).await;
    let old = relay.smtp();
    let mut session = Session::greeted(old).await;
    session.says("EHLO client.test", "250").await;
    relay.reload(&base().block(second.into())).await;
    assert_eq!((relay.smtp(), relay.listener(1).ip()), (old, local(2)), "the first keeps its socket");
    let mut another = Session::greeted(relay.listener(1)).await;
    another.says("EHLO client.test", "250").await;
    another.sends("x@acme.example").await;

    // The file of before, with another address in place of the only listener.
    let file = base().block(second.into()).text(&relay.state_dir());
    let file = file.replace("[[listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"127.0.0.0/8\"]\n", "");
    fs::write(relay.file(), file).unwrap();
    let (status, answer) = relay.post("/api/v1/reload", &Value::Null).await;
    assert_eq!((status.as_str(), keys(&answer)), ("200", vec!["listener[127.0.0.1:0]"]), "{answer:#}");
    relay.find_listeners();
    assert_eq!(relay.smtp().ip(), local(2));
    wait_until("nobody listens there any more", async || TcpStream::connect(old).await.is_err().then_some(())).await;
    session.sends("x@acme.example").await;
    wait_for_messages(&sink, 2).await;
    // Until the grace, five seconds here, is over.
    assert!(session.reply().await.starts_with("421 "));

    // A port that somebody else has: refused, and everything as it was.
    let taken = std::net::TcpListener::bind("127.0.0.3:0").unwrap();
    let third = format!("[[listener]]\naddress = \"{}\"\n", taken.local_addr().unwrap());
    relay.write(&base().block(third).binding("b", 12, ""));
    let (status, answer) = relay.post("/api/v1/reload", &Value::Null).await;
    let why = text(&answer, "/detail");
    assert!(status == "409" && why.contains(&taken.local_addr().unwrap().to_string()), "{status} {why}");
    let now = relay.status().await;
    assert!(array(&now, "/bindings").iter().all(|binding| binding["name"] != "b"), "nothing of it");
    another.sends("x@acme.example").await;
    wait_for_messages(&sink, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_trusted_no_longer_ends_its_message_and_begins_no_other() {
    let sink = sink().await;
    let base = || by_sender().binding("a", 11, "").pool("active = [\"a\"]").to(sink.addr());
    let relay = Relay::start(&base()).await;
    let (mut one, mut two) = (Session::greeted(relay.smtp()).await, Session::greeted(relay.smtp()).await);
    for session in [&mut one, &mut two] {
        session.says("EHLO client.test", "250").await;
    }
    two.says("MAIL FROM:<x@acme.example>", "250").await;
    let file = base().text(&relay.state_dir()).replace("trust = [\"127.0.0.0/8\"]", "trust = [\"192.0.2.0/24\"]");
    fs::write(relay.file(), file).unwrap();
    let (status, answer) = relay.post("/api/v1/reload", &Value::Null).await;
    assert_eq!(status, "200", "{answer:#}");
    one.says("MAIL FROM:<x@acme.example>", "421 4.3.2").await;
    two.says("RCPT TO:<b@there.test>", "250").await;
    two.says("DATA", "354").await;
    two.says("Subject: x\r\n\r\nx\r\n.", "250").await;
    two.says("MAIL FROM:<x@acme.example>", "421 4.3.2").await;
    wait_for_messages(&sink, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_file_leaves_the_old_one_in_force_and_mail_flows() {
    let sink = sink().await;
    let base = || Settings::new().binding("a", 11, "").pool("active = [\"a\"]").to(sink.addr());
    let relay = Relay::start(&base()).await;
    let good = base().text(&relay.state_dir());
    let two_mistakes = good.replace("retry_first", "retry_frist").replace("[\"a\"]", "[\"aa\"]");
    fs::write(relay.file(), &two_mistakes).unwrap();
    let (status, problem) = relay.post("/api/v1/reload", &Value::Null).await;
    let detail = text(&problem, "/detail");
    assert_eq!(status, "422");
    assert!(detail.contains("retry_frist") && detail.contains("no binding \"aa\""), "{detail}");
    assert!(detail.contains("remuda.toml:"), "with their places: {detail}");

    relay.signal("HUP");
    wait_until("both are logged", async || (relay.log().matches(REFUSED).count() >= 2).then_some(())).await;

    // A rule file that is no good refuses as well.
    let rules = relay.state_dir().join("rules.toml");
    fs::write(&rules, "[[rule]]\nnonsense = 1\n").unwrap();
    relay.write(&base().set("classify", "rules", &format!("[{:?}]", rules.display().to_string())).binding("b", 12, ""));
    let (status, problem) = relay.post("/api/v1/reload", &Value::Null).await;
    assert!(["409", "422"].contains(&status.as_str()), "{status}");
    assert!(text(&problem, "/detail").contains("rules.toml"), "{problem:#}");

    all_accepted(&relay.load(30).run().await);
    wait_for_messages(&sink, 30).await;
    assert_eq!(sink.senders(), BTreeSet::from([local(11)]));
    // What needs a restart says so and stays.
    relay.write(&base().set("server", "seed", "8").set("server", "shutdown_grace", "\"6s\""));
    let (status, answer) = relay.post("/api/v1/reload", &Value::Null).await;
    assert_eq!((status.as_str(), keys(&answer)), ("200", vec!["server.shutdown_grace"]));
    assert!(text(&answer, "/warnings/0").starts_with("server.seed needs a restart"), "{answer:#}");
}

fn remuda(relay: &Relay, arguments: &[&str]) -> (bool, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_remuda"));
    command.args(arguments).args(["--admin", &relay.admin().to_string()]);
    if let Some(token) = relay.token() {
        command.env("REMUDA_TOKEN", token);
    }
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_shows_the_difference_and_leaves_with_one_when_it_is_refused() {
    let sink = sink().await;
    let base = || Settings::new().binding("a", 11, "").pool("active = [\"a\"]").to(sink.addr());
    let relay = Relay::start(&base()).await;
    relay.write(&base().binding("b", 12, "").set("queue", "retry_max", "\"3s\""));
    let (done, out, _) = remuda(&relay, &["reload", "--dry-run"]);
    assert!(done && out.contains("+  binding.b"), "{out}");
    assert!(out.contains("~  queue.retry_max") && out.contains("\"2s\" → \"3s\""), "{out}");
    assert!(out.ends_with("2 changes would come into force\n"), "{out}");
    let (done, out, _) = remuda(&relay, &["reload", "--json"]);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert!(done && array(&json, "/changes").len() == 2 && json["is_dry"] == false, "{out}");
    let (done, out, _) = remuda(&relay, &["reload"]);
    assert!(done && out == "nothing changes\n", "{out}");
    fs::write(relay.file(), "[server\n").unwrap();
    let (done, out, error) = remuda(&relay, &["reload"]);
    assert!(!done && out.is_empty() && error.contains("remuda.toml:1:"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_in_the_middle_of_reloads_lose_nothing() {
    let seed = std::env::var("REMUDA_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(20_261_123);
    println!("REMUDA_SEED={seed} repeats the moments of the kills");
    let mut random = StdRng::seed_from_u64(seed);
    const IN_FLIGHT: u64 = 10;
    const ROUNDS: u64 = 6;
    let sink = sink().await;
    let base = || with_bolt(by_sender()).set("queue", "max_attempts_in_flight", &IN_FLIGHT.to_string()).to(sink.addr());
    let full = base().binding("a", 11, "").binding("b", 12, "").pool("active = [\"a\", \"b\"]");
    let shapes = [
        base().binding("b", 12, "").pool("active = [\"b\"]"),
        base().without("tenant.bolt").binding("a", 11, "").pool("active = [\"a\"]"),
        full.clone(),
    ];
    let mut relay = Relay::start(&full).await;
    let (mut accepted, mut unknown) = (BTreeSet::new(), BTreeSet::new());
    for round in 0..ROUNDS {
        let whose = |n: u64| format!("n{n}@{}.example", if n.is_multiple_of(3) { "bolt" } else { "acme" });
        let load = relay.load(300).first(round * 300).reverse_path(whose);
        let progress = load.progress();
        let sending = tokio::spawn(load.run());
        let enough = random.random_range(50..=250);
        let mut turn = 0;
        while progress.load(Ordering::SeqCst) < enough && !sending.is_finished() {
            relay.write(&shapes[turn % shapes.len()]);
            relay.signal("HUP");
            turn += 1;
            tokio::time::sleep(Duration::from_millis(random.random_range(1..30))).await;
        }
        relay.kill9();
        let done = sending.await.unwrap();
        accepted.extend(done.accepted);
        unknown.extend(done.unknown);
        relay.restart(&shapes[round as usize % shapes.len()]).await;
    }
    relay.reload(&full).await;
    wait_until("nothing is stranded", async || {
        let status = relay.status().await;
        (number(&status, "/counts/stranded_recipients") == 0).then_some(())
    })
    .await;
    relay.wait_until_empty().await;
    let ids = sink.ids();
    let lost: Vec<_> = accepted.iter().filter(|n| !ids.contains_key(&n.to_string())).collect();
    assert!(lost.is_empty(), "answered 250 and lost: {lost:?}");
    let known = |id: &String| id.parse().is_ok_and(|n: u64| accepted.contains(&n) || unknown.contains(&n));
    assert!(ids.keys().all(known), "nobody sent some");
    let again: u64 = ids.values().map(|times| times - 1).sum();
    println!("{} accepted, {again} came twice over {ROUNDS} kills", accepted.len());
    assert!(again <= ROUNDS * IN_FLIGHT, "{again} came twice, more than were on the wire");
}

/// A program that listens as a service manager does.
struct Manager {
    socket: UnixDatagram,
    directory: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { socket, directory }
    }

    /// The next word that has `what` in it.
    async fn hears(&self, what: &str) -> String {
        wait_until(what, async || {
            let mut octets = [0; 2048];
            let length = self.socket.recv(&mut octets).ok()?;
            Some(String::from_utf8_lossy(&octets[..length]).into_owned()).filter(|word| word.contains(what))
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_manager_is_told_when_it_is_ready_reloads_lives_and_stops() {
    let (sink, manager): (Sink, _) = (sink().await, Manager::new());
    let directory = tempfile::tempdir().unwrap();
    let (state, file) = (directory.path().join("state"), directory.path().join("remuda.toml"));
    fs::create_dir(&state).unwrap();
    let settings = Settings::new().binding("a", 11, "").pool("active = [\"a\"]").to(sink.addr());
    let text = settings.text(&state);
    fs::write(&file, &text).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_remuda"))
        .args(["run", "-c"])
        .arg(&file)
        .env("NOTIFY_SOCKET", manager.directory.path().join("notify"))
        .env("WATCHDOG_USEC", "300000")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let ready = manager.hears("READY=1").await;
    assert!(ready.contains("STATUS=started; taking mail at 127.0.0.1:"), "{ready}");
    manager.hears("WATCHDOG=1").await;
    manager.hears("WATCHDOG=1").await;
    let kill = |name: &str| {
        let kill = format!("kill -{name} {}", child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    };
    for (text, said) in [(text.replace("[\"a\"]", "[\"aa\"]"), "reload refused"), (text, "configuration reloaded")] {
        fs::write(&file, &text).unwrap();
        kill("HUP");
        let reloading = manager.hears("RELOADING=1").await;
        let moment = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
        assert!(moment.is_some_and(|moment| moment.parse::<u64>().is_ok_and(|at| at > 0)), "{reloading}");
        let ready = manager.hears("READY=1").await;
        assert!(ready.contains(said), "{ready}");
    }
    kill("TERM");
    manager.hears("STOPPING=1").await;
    let status = wait_until("it ends", async || child.try_wait().unwrap()).await;
    assert!(status.success());
}
