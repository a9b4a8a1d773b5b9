//! The service as systemd runs it: the unit and the user as they are packaged, with all that the unit takes away from the
//! program, in a machine of its own (`tests/machine`). And a system that has next to nothing installed.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use remuda::demo::injector::Load;
use remuda::demo::sink::{Rule, Sink, SinkOptions};
use remuda::demo::zone::Zone;
use remuda::outcome::Stage;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::{
    Machine, Settings, all_accepted, arrived_once_each, local, number, wait_for_messages, wait_until,
};

const UNIT: &str = "remuda";

/// The port that mail has, which only a capability gives to somebody who is not root; receivers found by DNS.
fn settings(more: &str) -> Settings {
    Settings::new()
        .without("dns")
        .set("admin", "address", "\"127.0.0.1:8025\"")
        .set("admin", "tls", "{ certificate = \"tls.crt\", key = \"tls.key\" }")
        .set("delivery", "allow_private_mx", "true")
        .set("alerts", "every", "\"100ms\"")
        .set("alerts.webhook.chat", "url", "\"http://hooks.test:8081/remuda\"")
        .set("alerts.webhook.chat", "allow_plain", "true")
        .binding("a", 11, more)
        .pool("active = [\"a\"]")
}

/// Writes the configuration as docs/install.md says.
fn configure(machine: &Machine, settings: &Settings) {
    let text = settings.text(Path::new("/var/lib/remuda")).replace("\"127.0.0.1:0\"", "\"127.0.0.1:25\"");
    install(machine, "remuda.toml", text);
}

fn install(machine: &Machine, name: &str, content: impl AsRef<[u8]>) {
    let path = format!("/etc/remuda/{name}");
    machine.write(&path, "640", content);
    machine.run(&["chown", "root:remuda", &path]);
}

/// Puts there what the package brings, and has its script run.
fn install_package(machine: &Machine) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = |path: &str| fs::read(root.join(path)).unwrap();
    machine.write("/usr/bin/remuda", "755", fs::read(env!("CARGO_BIN_EXE_remuda")).unwrap());
    machine.write("/usr/lib/systemd/system/remuda.service", "644", file("config/systemd/remuda.service"));
    machine.write("/usr/lib/sysusers.d/remuda.conf", "644", file("config/systemd/sysusers.d/remuda.conf"));
    machine.write("/opt/postinst", "755", file("config/debian/postinst"));
    machine.run(&["/opt/postinst", "configure"]);
    assert_eq!(machine.run(&["stat", "-c", "%U:%G %a", "/etc/remuda"]), "root:remuda 750\n");
    machine.run(&["systemctl", "daemon-reload"]);
}

/// A certificate that only the service's group may read, made where it is wanted.
fn install_certificate(machine: &Machine) {
    let [key, certificate] = ["/etc/remuda/tls.key", "/etc/remuda/tls.crt"];
    let kind = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    let files = [
        "-subj",
        "/CN=relay.test",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-config",
        "/dev/null",
        "-keyout",
        key,
        "-out",
        certificate,
    ];
    machine.run(&[&["openssl"], &kind[..], &files[..]].concat());
    for path in [key, certificate] {
        machine.run(&["chown", "root:remuda", path]);
        machine.run(&["chmod", "640", path]);
    }
}

/// What `remuda status --json` says there.
fn status(machine: &Machine) -> Value {
    serde_json::from_str(&machine.run(&["remuda", "status", "--json"])).unwrap()
}

async fn load(first: u64, messages: u64) {
    all_accepted(&Load::new(SocketAddr::from(([127, 0, 0, 1], 25)), messages).first(first).run().await);
}

/// Counts the POSTs that come to where `hooks.test` is.
async fn hook() -> Arc<AtomicU64> {
    let listener = TcpListener::bind(SocketAddr::new(local(31), 8081)).await.unwrap();
    let posts = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&posts);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut begin = [0; 5];
            if stream.read_exact(&mut begin).await.is_ok() && begin == *b"POST " {
                seen.fetch_add(1, Ordering::SeqCst);
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
        }
    });
    posts
}

#[test]
#[ignore = "needs root, systemd and openssl; tests/run installs these and says where it cannot be run"]
fn systemd_runs_the_service_as_the_unit_says() {
    let Some(machine) = Machine::boot() else { return };
    install_package(&machine);
    machine.run(&["systemctl", "start", UNIT]);
    let idle = [machine.property(UNIT, "ConditionResult"), machine.property(UNIT, "ActiveState")];
    assert_eq!(idle, ["no", "inactive"], "without a configuration it does not start, which is no failure");

    install_certificate(&machine);
    configure(&machine, &settings(""));
    machine.write("/etc/resolv.conf", "644", "nameserver 127.0.0.1\n");
    machine.run(&["systemctl", "start", UNIT]);
    // Said by the program, so it was waited for.
    let said = machine.property(UNIT, "StatusText");
    assert_eq!(said, "started; taking mail at 127.0.0.1:25");
    it_has_nothing_that_it_does_not_need(&machine);
    machine.in_its_network(async || mail_and_changes(&machine).await);
    machine.run(&["systemctl", "stop", UNIT]);
    let end = ["ActiveState", "Result", "ExecMainStatus"].map(|name| machine.property(UNIT, name));
    assert_eq!(end, ["inactive", "success", "0"]);
}

fn it_has_nothing_that_it_does_not_need(machine: &Machine) {
    let process = machine.property(UNIT, "MainPID");
    let status = machine.run(&["cat", &format!("/proc/{process}/status")]);
    let of = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_else(|| panic!("{key}: {status}"));
        line.trim().to_owned()
    };
    // CAP_NET_BIND_SERVICE is the tenth.
    for set in ["CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(u64::from_str_radix(&of(set), 16), Ok(1 << 10), "{set}");
    }
    assert_eq!([of("NoNewPrivs:"), of("Seccomp:")], ["1", "2"], "{status}");
    assert!(!of("Uid:").starts_with('0'));
    // As it sees the files, though as root.
    for path in ["/etc/remuda/new", "/usr/bin/new", "/var/new"] {
        let (is_made, said) = machine.try_run(&["nsenter", "-t", &process, "-m", "touch", path]);
        assert!(!is_made && !said.contains("nsenter"), "{path}: {said}");
    }
    let modes = machine.run(&["find", "/var/lib/remuda", "-printf", "%y %m %u:%g\n"]);
    let modes: BTreeSet<&str> = modes.lines().collect();
    assert_eq!(modes, BTreeSet::from(["d 700 remuda:remuda", "f 600 remuda:remuda"]));
}

async fn mail_and_changes(machine: &Machine) {
    let zone = Zone::start(SocketAddr::from(([127, 0, 0, 1], 53))).await.unwrap();
    zone.mx("sink.test", 10, "mx.sink.test").unwrap();
    zone.a("mx.sink.test", local(21));
    zone.a("hooks.test", local(31));
    let options = SinkOptions { keep_bodies: true, ..SinkOptions::default() };
    let sink = Sink::start_with(SocketAddr::new(local(21), 25), options).await.unwrap();
    let posts = hook().await;
    load(0, 20).await;
    wait_for_messages(&sink, 20).await;
    assert_eq!(sink.senders(), BTreeSet::from([local(11)]));

    // Before 253 systemd does not wait for the end of a reload; the program says when it is.
    configure(machine, &settings("daily_cap = 1000"));
    machine.run(&["systemctl", "reload", UNIT]);
    let told = |wanted: &str| machine.property(UNIT, "StatusText").starts_with(wanted).then_some(());
    wait_until("the cap is in force", async || told("configuration reloaded, 1 changes")).await;
    assert_eq!(number(&status(machine), "/bindings/0/cap/limit"), 1000);

    // A bad file leaves the old one in force; somebody hears of it, at a name that the system's resolver finds.
    configure(machine, &settings("daily_cap = \"many\""));
    machine.run(&["systemctl", "reload", UNIT]);
    wait_until("it is refused", async || told("reload refused")).await;
    assert_eq!(number(&status(machine), "/bindings/0/cap/limit"), 1000);
    wait_until("somebody is told", async || (posts.load(Ordering::SeqCst) > 0).then_some(())).await;
    configure(machine, &settings("daily_cap = 1000"));

    let busy = sink.add(Rule::reply(Stage::Mail, "451 4.3.2 back in a moment"));
    load(20, 10).await;
    machine.run(&["systemctl", "restart", UNIT]);
    assert_eq!(number(&status(machine), "/queue/messages"), 10, "a restart keeps them");
    wedged(machine).await;
    assert_eq!(number(&status(machine), "/queue/messages"), 10, "so does what is ended by force");
    sink.remove(busy);
    wait_for_messages(&sink, 30).await;
    arrived_once_each(&sink, 0..30);
    let log = machine.run(&["journalctl", "--no-pager", "-u", UNIT]);
    assert!(log.contains("cap") && log.contains("delivered"), "{log}");
}

/// The watchdog is fed as long as the program goes on, and no longer.
async fn wedged(machine: &Machine) {
    assert_eq!(machine.property(UNIT, "WatchdogUSec"), "2min", "the unit wants it");
    machine.write("/etc/systemd/system/remuda.service.d/soon.conf", "644", "[Service]\nWatchdogSec=4s\n");
    machine.run(&["systemctl", "daemon-reload"]);
    machine.run(&["systemctl", "restart", UNIT]);
    let process = machine.property(UNIT, "MainPID");
    let mut fed = BTreeSet::new();
    // Three times in each span: four intervals are longer than one.
    wait_until("it is fed", async || {
        fed.insert(machine.property(UNIT, "WatchdogTimestampMonotonic"));
        (fed.len() > 4).then_some(())
    })
    .await;
    assert_eq!(machine.property(UNIT, "MainPID"), process, "nothing was wrong");
    machine.run(&["kill", "-STOP", &process]);
    wait_until("it is started again", async || {
        let is = ["NRestarts", "ActiveState"].map(|name| machine.property(UNIT, name));
        (is == ["1", "active"]).then_some(())
    })
    .await;
    assert_ne!(machine.property(UNIT, "MainPID"), process);
}

#[tokio::test]
async fn a_system_without_certificate_authorities_is_no_obstacle() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    fs::create_dir(&state).unwrap();
    let file = directory.path().join("remuda.toml");
    let file = file.to_str().unwrap();
    // With everything that asks name servers.
    let settings = Settings::new().set("monitor", "self_check", "\"15m\"").set("monitor", "fcrdns", "true");
    let settings = settings.set("monitor", "spf", "\"report\"").binding("a", 11, "").pool("active = [\"a\"]");
    fs::write(file, settings.text(&state)).unwrap();
    let remuda = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_remuda"));
        command.env("SSL_CERT_FILE", "/nowhere").env("SSL_CERT_DIR", "/nowhere");
        command
    };
    let mut relay = remuda().args(["run", "-c", file]).stdout(Stdio::null()).spawn().unwrap();
    let asked = wait_until("the relay is ready", async || {
        if let Some(status) = relay.try_wait().unwrap() {
            return Some(Err(status));
        }
        let is_ready = state.join("ports.json").exists();
        is_ready.then(|| Ok(remuda().args(["status", "--config", file]).output().unwrap()))
    })
    .await;
    let _ = relay.kill();
    let _ = relay.wait();
    let asked = asked.unwrap();
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
}
