//! The marks on outgoing mail, as the receiver sees them and as the key file opens them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use remuda::clock::Wall;
use remuda::config::Config;
use remuda::demo::sink::{Act, Sink, SinkOptions, Taken};
use remuda::feedback::marks;
use remuda::feedback::token::{Attempted, Directory, Keys};
use remuda::message::MessageId;
use remuda::outcome::Stage;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::support::{
    Relay, Settings, all_accepted, anywhere, keeping_sink, local, number, wait_for_messages, wait_until,
};

async fn dsn_sink() -> Sink {
    let options = SinkOptions { dsn: true, keep_bodies: true, ..SinkOptions::default() };
    Sink::start_with(anywhere(), options).await.unwrap()
}

/// `acme` with a return path domain and pool `main` over `a`; `bolt` without one and pool `second` over `b`.
fn settings() -> Settings {
    Settings::new()
        .set("feedback", "addresses", "[\"fbl@relay.test\"]")
        .set("tenant.acme", "return_path_domain", "\"bounces.acme.test\"")
        .set("tenant.bolt", "match", "{ sender_domain = [\"bolt.test\"] }")
        .set("tenant.bolt", "pools", "{ default = \"second\" }")
        .binding("a", 11, "")
        .binding("b", 12, "")
        .pool("active = [\"a\"]")
        .block("[pool.second]\nactive = [\"b\"]\n".into())
}

/// Reads marks with the relay's own key file.
fn directory(relay: &Relay, settings: &Settings) -> Directory {
    let keys = fs::read_to_string(relay.state_dir().join("feedback.keys")).unwrap();
    Directory::new(Keys::parse(&keys).unwrap(), &Config::from_toml(&settings.text(&relay.state_dir())).unwrap())
}

fn open(directory: &Directory, mark: &str) -> Attempted {
    directory.resolve(&directory.keys().open(mark).unwrap(), []).unwrap()
}

fn body(taken: &Taken) -> String {
    String::from_utf8(taken.body.as_deref().unwrap().to_vec()).unwrap()
}

/// The mark that the first line of the message holds; there is no other line like it.
fn header_mark(taken: &Taken) -> String {
    let body = body(taken);
    assert_eq!(body.to_ascii_lowercase().matches("x-remuda-id").count(), 1, "{body}");
    let (first, rest) = body.split_once("\r\n").unwrap();
    assert!(rest.starts_with("Received: from "), "{body}");
    let mark = first.strip_prefix("X-Remuda-Id: ").unwrap_or_else(|| panic!("not first: {body}"));
    assert!(marks::has_shape(mark), "{mark}");
    mark.to_owned()
}

fn parameter<'a>(taken: &'a Taken, name: &str) -> Option<&'a str> {
    let is = |parameter: &'a str| parameter.strip_prefix(name)?.strip_prefix('=');
    taken.parameters.split(' ').find_map(is)
}

/// Sends one message and gives the id that the `250` names.
async fn submit(relay: &Relay, from: &str, to: &str, message: &str) -> MessageId {
    let mut stream = BufReader::new(TcpStream::connect(relay.smtp()).await.unwrap());
    let envelope = format!("MAIL FROM:<{from}>\r\n");
    let recipient = format!("RCPT TO:<{to}>\r\n");
    let text = format!("{message}.\r\n");
    let mut reply = String::new();
    for say in ["", "HELO client.test\r\n", &envelope, &recipient, "DATA\r\n", &text] {
        stream.get_mut().write_all(say.as_bytes()).await.unwrap();
        reply.clear();
        stream.read_line(&mut reply).await.unwrap();
        assert!(reply.starts_with(['2', '3']), "{say:?}: {reply}");
    }
    let id = reply.split(' ').nth(2).unwrap_or_else(|| panic!("no id in {reply}"));
    id.parse().unwrap_or_else(|_| panic!("no id in {reply}"))
}

/// What it was sent with, to the end of the `Received:` line, cut off.
fn behind_trace(body: &str) -> &str {
    let end = body.find("+0000\r\n").unwrap_or_else(|| panic!("no date in {body}")) + "+0000\r\n".len();
    &body[end..]
}

#[tokio::test]
async fn a_mark_names_the_attempt_in_every_place_the_receiver_gives_back() {
    let (big, rest) = (dsn_sink().await, keeping_sink().await);
    let settings = settings().provider("big", "big.test", big.addr()).to(rest.addr());
    let relay = Relay::start(&settings).await;
    let forged = "x-remuda-id: forged\r\n";
    let text = "Subject: one\r\n\r\n..a dot\r\nlast\r\n";
    let to_big = submit(&relay, "News@acme.test", "ann@big.test", &format!("{forged}{text}")).await;
    let to_rest = submit(&relay, "news@bolt.test", "bob@other.test", text).await;
    wait_for_messages(&big, 1).await;
    wait_for_messages(&rest, 1).await;
    let directory = directory(&relay, &settings);

    // Opted in, to a receiver that offers DSN: all three places, one mark.
    let taken = &big.log()[0];
    let mark = header_mark(taken);
    assert_eq!(*taken.reverse_path, format!("b-{mark}@bounces.acme.test"), "SPF looks at the tenant's domain");
    assert_eq!((parameter(taken, "ENVID"), parameter(taken, "RET")), (Some(mark.as_str()), Some("HDRS")));
    let size = (taken.size - 1).to_string();
    assert_eq!(parameter(taken, "SIZE"), Some(size.as_str()), "head and body, without the stuffed dot");
    assert_eq!(behind_trace(&body(taken)), text, "nothing else is touched");
    let attempted = open(&directory, &mark);
    let names = (attempted.tenant.as_str(), attempted.pool.as_str(), attempted.binding.as_str());
    assert_eq!(names, ("acme", "main", "a"));
    assert_eq!((attempted.destination, attempted.recipients), (Some("big".into()), 1));
    assert_eq!((attempted.message, taken.source), (to_big, local(11)));
    assert_eq!(attempted.at, Wall::from_millis(to_big.time().as_millis()), "the first minute");

    // Not opted in, no DSN: the header alone.
    let taken = &rest.log()[0];
    let mark = header_mark(taken);
    assert_eq!(&*taken.reverse_path, "news@bolt.test");
    assert_eq!((parameter(taken, "ENVID"), parameter(taken, "RET")), (None, None));
    assert_eq!(behind_trace(&body(taken)), text);
    let attempted = open(&directory, &mark);
    let names = (attempted.tenant.as_str(), attempted.pool.as_str(), attempted.binding.as_str());
    assert_eq!((names, attempted.message), (("bolt", "second", "b"), to_rest));
    assert_eq!(attempted.destination, None, "no provider; its site is not among the names given here");
    let keys = fs::metadata(relay.state_dir().join("feedback.keys")).unwrap();
    assert_eq!(keys.permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn each_attempt_says_which_binding_made_it() {
    let sink = dsn_sink().await;
    let settings = settings()
        .block("[pool.both]\nactive = [\"a\", \"b\"]\n".into())
        .set("tenant.acme", "pools", "{ default = \"both\" }")
        .set("queue", "retry_first", "\"50ms\"")
        .set("queue", "retry_max", "\"100ms\"")
        .set("queue", "sticky_tries", "1")
        .to(sink.addr());
    let relay = Relay::start(&settings).await;
    // Refused messages leave no trace in the receiver's log, but their return path has passed by.
    let tried = Arc::new(Mutex::new(BTreeSet::new()));
    let witness = Arc::clone(&tried);
    sink.policy(move |moment| {
        let data = moment.stage == Stage::EndOfData;
        data.then(|| witness.lock().unwrap().insert((moment.source, moment.reverse_path.to_owned())));
        (data && moment.source == local(11)).then(|| Act::Reply("451 4.3.0 try again later".into()))
    });
    all_accepted(&relay.load(10).reverse_path(|_| "news@acme.test".into()).run().await);
    wait_for_messages(&sink, 10).await;
    let directory = directory(&relay, &settings);
    for taken in sink.log() {
        let mark = header_mark(&taken);
        assert_eq!(parameter(&taken, "ENVID"), Some(mark.as_str()));
        assert_eq!(*taken.reverse_path, format!("b-{mark}@bounces.acme.test"));
    }
    let mut ways = BTreeMap::<MessageId, BTreeSet<IpAddr>>::new();
    for (source, path) in tried.lock().unwrap().iter() {
        let (local_part, _) = path.split_once('@').unwrap();
        let attempted = open(&directory, marks::of_return_path(local_part).unwrap());
        let binding = if *source == local(11) { "a" } else { "b" };
        assert_eq!(attempted.binding.as_str(), binding, "{attempted:?}");
        ways.entry(attempted.message).or_default().insert(*source);
    }
    assert_eq!(ways.len(), 10);
    assert!(ways.values().any(|sources| sources.len() == 2), "some message was tried over both: {ways:?}");
}

/// Tries of each recipient, by the MAIL FROM they were made with.
type Tries = Arc<Mutex<BTreeMap<String, Vec<String>>>>;

/// A receiver that defers who is not `spared` at the first try with each MAIL FROM, and for as long as it is `shut`.
fn greylist(sink: &Sink, spared: &'static str, shut: &Arc<AtomicBool>) -> Tries {
    let tries = Tries::default();
    let (witness, shut) = (Arc::clone(&tries), Arc::clone(shut));
    sink.policy(move |moment| {
        let to = moment.recipients.first().filter(|_| moment.stage == Stage::Rcpt)?;
        let mut tries = witness.lock().unwrap();
        let tries = tries.entry(to.to_string()).or_default();
        let stranger = !tries.iter().any(|path| path == moment.reverse_path);
        tries.push(moment.reverse_path.to_owned());
        let defer = (stranger || shut.load(Ordering::Relaxed)) && !to.starts_with(spared);
        defer.then(|| Act::Reply("451 4.7.1 Greylisted, please try again later".into()))
    });
    tries
}

#[tokio::test]
async fn greylisting_by_return_path_lets_the_second_attempt_in() {
    let sink = dsn_sink().await;
    let tries = greylist(&sink, "ann@", &Arc::default());
    let settings = settings().to(sink.addr());
    let relay = Relay::start(&settings).await;
    let to = || ["ann", "bob", "cid"].map(|local| format!("{local}@other.test")).to_vec();
    all_accepted(&relay.load(1).reverse_path(|_| "news@acme.test".into()).recipients(move |_| to()).run().await);
    wait_for_messages(&sink, 2).await;
    relay.wait_until_empty().await;
    let taken = sink.log();
    let to: Vec<_> = taken.iter().map(|taken| taken.recipients.len()).collect();
    assert_eq!(to, [1, 2], "one was let in at once, the others at their second try");
    assert_eq!(taken[0].reverse_path, taken[1].reverse_path, "although fewer were left");
    for (who, tries) in tries.lock().unwrap().iter() {
        assert_eq!(tries.len(), if who.starts_with("ann@") { 1 } else { 2 }, "{who}: {tries:?}");
    }
    // Header field and envelope id tell the attempts apart.
    let directory = directory(&relay, &settings);
    let of = |taken: &Taken| {
        let mark = header_mark(taken);
        assert_eq!(parameter(taken, "ENVID"), Some(mark.as_str()));
        open(&directory, &mark).recipients
    };
    assert_eq!((of(&taken[0]), of(&taken[1])), (3, 2));
    let (local_part, _) = taken[1].reverse_path.split_once('@').unwrap();
    assert_eq!(open(&directory, marks::of_return_path(local_part).unwrap()).recipients, 3);
}

#[tokio::test]
async fn a_restart_keeps_the_return_path_of_what_waits() {
    let sink = dsn_sink().await;
    let shut = Arc::new(AtomicBool::new(true));
    let tries = greylist(&sink, "ann@", &shut);
    let settings = settings().to(sink.addr());
    let mut relay = Relay::start(&settings).await;
    let to = || ["ann", "bob"].map(|local| format!("{local}@other.test")).to_vec();
    all_accepted(&relay.load(1).reverse_path(|_| "news@acme.test".into()).recipients(move |_| to()).run().await);
    wait_until("the first attempt is on disk", async || {
        relay.queue().await.iter().any(|entry| number(entry, "/attempts") > 0).then_some(())
    })
    .await;
    relay.restart(&settings).await;
    shut.store(false, Ordering::Relaxed);
    wait_for_messages(&sink, 2).await;
    relay.wait_until_empty().await;
    let tries = tries.lock().unwrap();
    let paths: BTreeSet<_> = tries.values().flatten().collect();
    assert_eq!(paths.len(), 1, "{tries:?}");
    assert_eq!((tries["ann@other.test"].len(), tries["bob@other.test"].len() > 1), (1, true), "{tries:?}");
}

#[tokio::test]
async fn a_report_of_our_own_is_marked_and_keeps_its_null_reverse_path() {
    let sink = dsn_sink().await;
    sink.unknown_user("nobody");
    let settings = settings().to(sink.addr());
    let relay = Relay::start(&settings).await;
    let id = submit(&relay, "news@acme.test", "nobody@other.test", "Subject: x\r\n\r\nx\r\n").await;
    wait_for_messages(&sink, 1).await;
    let taken = &sink.log()[0];
    assert_eq!(&*taken.reverse_path, "");
    assert_eq!(taken.recipients, ["news@acme.test".into()], "told to the sender, not to the rewritten path");
    let body = body(taken);
    let (first, _) = body.split_once("\r\n").unwrap();
    let mark = first.strip_prefix("X-Remuda-Id: ").unwrap();
    assert_eq!(parameter(taken, "ENVID"), Some(mark));
    let attempted = open(&directory(&relay, &settings), mark);
    assert_eq!(attempted.tenant.as_str(), "acme");
    assert_ne!(attempted.message, id, "a message of its own");
    assert!(
        !body.contains("b-") || !body.contains("@bounces.acme.test"),
        "the rewritten path is shown nowhere:\n{body}"
    );
    wait_until("the log names the sender", async || relay.log().contains("nobody@other.test").then_some(())).await;
    assert!(relay.log().contains("news@acme.test") && !relay.log().contains("bounces.acme.test"));
}

#[tokio::test]
async fn a_restart_reads_the_keys_it_made_and_a_spoilt_file_is_refused() {
    let sink = keeping_sink().await;
    let settings = settings().to(sink.addr());
    let mut relay = Relay::start(&settings).await;
    submit(&relay, "news@acme.test", "ann@other.test", "Subject: x\r\n\r\nx\r\n").await;
    wait_for_messages(&sink, 1).await;
    let before = header_mark(&sink.log()[0]);
    relay.restart(&settings).await;
    open(&directory(&relay, &settings), &before);
    relay.kill9();
    let keys = relay.state_dir().join("feedback.keys");
    fs::write(&keys, "0123\n").unwrap();
    let (status, said) = relay.second(&settings).await;
    assert!(!status.success());
    assert!(said.contains("feedback.key_file") && said.contains("line 1: a key is 64 hexadecimal digits"), "{said}");
    assert_eq!(fs::read_to_string(&keys).unwrap(), "0123\n");
}

#[tokio::test]
async fn without_feedback_nothing_is_marked() {
    let sink = dsn_sink().await;
    let settings = Settings::new().binding("a", 11, "").pool("active = [\"a\"]").to(sink.addr());
    let relay = Relay::start(&settings).await;
    let text = "X-Remuda-Id: the sender's own\r\nSubject: x\r\n\r\nx\r\n";
    submit(&relay, "news@acme.test", "ann@other.test", text).await;
    wait_for_messages(&sink, 1).await;
    let taken = &sink.log()[0];
    assert!(body(taken).starts_with("Received: "));
    assert_eq!(behind_trace(&body(taken)), text);
    assert_eq!((&*taken.reverse_path, parameter(taken, "ENVID")), ("news@acme.test", None));
    assert!(!relay.state_dir().join("feedback.keys").exists());
    relay.wait_until_empty().await;
    assert_eq!(number(&relay.status().await, "/counts/delivered"), 1);
}
