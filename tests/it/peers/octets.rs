//! The corpus of `tests/it/corpus` through the relay: octets in are octets out.
//!
//! Each message is sent in one piece, in pieces so small that every border falls everywhere, and by BDAT; what is refused
//! is refused with the reply that the index names, and the session goes on. Behind us it is looked at on the wire of our
//! own receiver, by aiosmtpd, and in the mailboxes of Postfix and Exim.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::settings;
use crate::support::peers::wire::{How, Wire};
use crate::support::peers::{Exim, Letter, Papers, Postfix, Python, Receiver, Taken, Tls};
use crate::support::{Relay, Settings, keeping_sink, wait_for_messages, wait_until};

struct Case {
    name: String,
    /// `None`: it is kept.
    refusal: Option<String>,
    octets: Vec<u8>,
    /// As it comes out.
    wanted: Vec<u8>,
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/corpus")
}

fn corpus() -> Vec<Case> {
    let index = fs::read_to_string(directory().join("index.tsv")).unwrap();
    let cases: Vec<Case> = index.lines().map(case).collect();
    assert!(cases.len() > 80, "{} messages", cases.len());
    cases
}

fn case(line: &str) -> Case {
    let [name, fate, _] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
    let octets = fs::read(directory().join(name)).unwrap();
    let mut wanted = octets.clone();
    if fate == "ended" {
        wanted.extend_from_slice(b"\r\n");
    }
    let refusal = (!["kept", "ended"].contains(&fate)).then(|| fate.to_owned());
    Case { name: name.to_owned(), refusal, octets, wanted }
}

/// The number of a message is its recipient: its header may be anything.
fn letter(number: usize, case: &Case) -> Letter {
    let to = vec![(format!("user{number}@peer.test"), Vec::new())];
    let parameters = if case.octets.is_ascii() { Vec::new() } else { vec!["BODY=8BITMIME"] };
    Letter { to, parameters, octets: case.octets.clone(), ..Letter::plain("x") }
}

/// One session takes all of it; how many it took.
async fn send(relay: &Relay, cases: &[Case], how: How) -> u64 {
    let mut wire = Wire::at(relay.smtp()).await;
    let mut taken = 0;
    for (number, case) in cases.iter().enumerate() {
        // Octet by octet, large ones would take a minute and show nothing more.
        let how = match how {
            How::Pieces(size) if case.octets.len() > 3000 => How::Pieces(size.max(1024) - 1),
            How::Bdat(size) if case.octets.len() > 3000 => How::Bdat(size.max(1024) - 1),
            how => how,
        };
        match (wire.send(&letter(number, case), how).await, &case.refusal) {
            (Ok(()), None) => taken += 1,
            (Err(reply), Some(refusal)) => {
                assert!(reply.starts_with(refusal), "{} by {how:?}: {reply}", case.name);
                wire.say("RSET").await.unwrap();
            }
            (Ok(()), Some(refusal)) => panic!("{} by {how:?} was taken, {refusal} expected", case.name),
            (Err(reply), None) => panic!("{} by {how:?}: {reply}", case.name),
        }
    }
    wire.say("QUIT").await.unwrap();
    taken
}

fn relay_settings() -> Settings {
    // Twenty messages at a time over one connection, each found by its recipient.
    settings().set("delivery", "recipients_per_message", "1")
}

/// RFC 5321 §4.5.2, backwards.
fn unstuffed(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len());
    for (n, octet) in octets.iter().enumerate() {
        let begins = n == 0 || octets[..n].ends_with(b"\r\n");
        if !(begins && *octet == b'.') {
            out.push(*octet);
        }
    }
    out
}

/// What follows our trace field, which is the only thing in front.
fn behind_the_trace<'a>(name: &str, octets: &'a [u8]) -> &'a [u8] {
    assert!(octets.starts_with(b"Received: from client.test "), "{name}");
    let mut end = 0;
    loop {
        end += octets[end..].windows(2).position(|window| window == b"\r\n").unwrap() + 2;
        if !matches!(octets.get(end), Some(b' ' | b'\t')) || octets[..end].ends_with(b"+0000\r\n") {
            return &octets[end..];
        }
    }
}

async fn comes_out_as_it_went_in(ways: &[How]) {
    let (sink, cases) = (keeping_sink().await, corpus());
    let relay = Relay::start(&relay_settings().to(sink.addr())).await;
    for how in ways {
        let taken = send(&relay, &cases, *how).await;
        wait_for_messages(&sink, taken).await;
        relay.wait_until_empty().await;
        for message in sink.take_log() {
            let number: usize =
                message.recipients[0].trim_start_matches("user").split('@').next().unwrap().parse().unwrap();
            let case = &cases[number];
            let octets = unstuffed(message.body.as_deref().unwrap());
            assert!(
                behind_the_trace(&case.name, &octets) == case.wanted,
                "{} by {how:?} is not what it was",
                case.name
            );
        }
        assert_eq!(sink.messages(), taken, "{how:?}");
        sink.forget();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_corpus_comes_out_as_it_went_in_by_data() {
    comes_out_as_it_went_in(&[How::Data, How::Pieces(1), How::Pieces(7)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_corpus_comes_out_as_it_went_in_by_bdat() {
    comes_out_as_it_went_in(&[How::Bdat(usize::MAX), How::Bdat(13), How::Bdat(4096)]).await;
}

#[test]
#[ignore = "needs python3; tests/run installs it"]
fn the_corpus_is_what_its_script_builds() {
    let fresh = tempfile::tempdir().unwrap();
    let built = Command::new("/usr/bin/python3").arg(directory().join("build.py")).arg(fresh.path()).status();
    assert!(built.unwrap().success());
    let names = |directory: &Path| {
        let files = fs::read_dir(directory).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = files.filter(|name| name != "build.py").collect();
        names.sort();
        names
    };
    assert_eq!(names(fresh.path()), names(&directory()));
    for name in names(fresh.path()) {
        assert!(fs::read(fresh.path().join(&name)).unwrap() == fs::read(directory().join(&name)).unwrap(), "{name}");
    }
}

/// What came to the recipient with this number.
fn to_number(taken: &[Taken], number: usize) -> Option<&Taken> {
    let address = format!("user{number}@peer.test");
    taken.iter().find(|taken| taken.to.iter().any(|(to, _)| *to == address))
}

/// Everything through the relay into `receiver`; `theirs` are messages that it changes itself.
async fn keeps(receiver: &dyn Receiver, theirs: &[&str]) {
    let cases = corpus();
    let relay = Relay::start(&relay_settings().to(receiver.addr())).await;
    let taken = send(&relay, &cases, How::Data).await as usize;
    let what = format!("{taken} messages at {}", receiver.name());
    let all = wait_until(&what, async || Some(receiver.taken()).filter(|all| all.len() >= taken)).await;
    let mut changed = Vec::new();
    for (number, case) in cases.iter().enumerate().filter(|(_, case)| case.refusal.is_none()) {
        let Some(parts) = to_number(&all, number).and_then(Taken::parts) else {
            changed.push(&*case.name);
            continue;
        };
        if parts.after != crate::support::peers::bare(&case.wanted) {
            changed.push(&*case.name);
        }
    }
    assert_eq!(changed, theirs, "{} alters", receiver.name());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs python3-aiosmtpd; tests/run installs it"]
async fn aiosmtpd_finds_the_corpus_as_it_was() {
    let receiver = Python::offering(&["8BITMIME", "PIPELINING", "SIZE 60000000"], Tls::None, &Papers::new());
    keeps(&receiver, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Postfix and root; tests/run installs it"]
async fn postfix_finds_the_corpus_as_it_was() {
    let more = "header_size_limit = 1000000\n";
    // It wants a header, ends what does not look like one with an empty line, and takes white space before colons out.
    let theirs = ["no-header.eml", "one-dot.eml", "one-octet.eml", "header-space-colon.eml", "mbox-from.eml"];
    keeps(&Postfix::receiver(Tls::None, &Papers::new(), more).await, &theirs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Exim and root; tests/run brings it"]
async fn exim_finds_the_corpus_as_it_was() {
    // It ends every header with an empty line, and takes a mailbox's From line out.
    let theirs = ["header-only.eml", "no-header.eml", "empty.eml", "one-dot.eml", "one-octet.eml", "mbox-from.eml"];
    keeps(&Exim::receiver(Tls::None, true, &Papers::new()).await, &theirs).await;
}
