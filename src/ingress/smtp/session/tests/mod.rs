//! Scripts of whole sessions, and what plays them.

mod chunks;
mod extensions;
mod grounds;
mod lines;
mod login;
mod reports;
mod transaction;
mod tunnel;

use super::*;
use crate::config::AuthMode;
use crate::ingress::TlsFacts;
use crate::ingress::{Addressee, Credentials, Proof};
use crate::message::{Mailbox, MessageId};

fn terms(trust: &str) -> Arc<Terms> {
    terms_with(trust, AuthMode::Off)
}

fn terms_with(trust: &str, auth: AuthMode) -> Arc<Terms> {
    terms_of(Listener {
        trust: vec![trust.parse().expect("valid")],
        max_connections: 10,
        max_connections_per_client: 10,
        max_message_bytes: 2000,
        max_recipients: 2,
        max_errors: 4,
        auth,
        auth_insecure: true,
        ..Listener::at("127.0.0.1:0".parse().expect("valid"))
    })
}

fn terms_of(listener: Listener) -> Arc<Terms> {
    Arc::new(Terms { index: 0, hostname: "relay.example.net".parse().expect("valid"), listener })
}

/// Says of every mail that there is no room for it, or none; takes reports at report.example.
struct Desk {
    full: bool,
}

const ROOM: Desk = Desk { full: false };

impl Admission for Desk {
    fn ready(&self) -> Result<(), Refusal> {
        if self.full { Err(Refusal::storage()) } else { Ok(()) }
    }

    fn addressee(&self, to: &Mailbox) -> Result<Addressee, Refusal> {
        match (to.domain_str(), to.local_part()) {
            ("report.example", "nobody") => Err(Refusal::new(550, 1, 1, "no such address")),
            ("report.example", _) => Ok(Addressee::Reports { max_bytes: 100 }),
            _ => Ok(Addressee::Elsewhere),
        }
    }
}

fn session(trust: &str) -> Session {
    Session::new(terms(trust), "192.0.2.7:4000".parse().expect("valid"))
}

/// Plays a script. `C:` lines that follow one another go in one piece, with CRLF; `\n`, `\r`, `\0` and `\t` in
/// them are escapes, and a trailing `\c` leaves the CRLF out. `S:` lines are the replies to the group, complete.
/// `=` lines are what the shell meanwhile does: `stop`, `idle`, `early`, or how it answers the next message:
/// `full`. Behind EHLO and HELO the client waits. Returns the transactions that were handed over.
fn play(trust: &str, script: &str) -> Vec<Transaction> {
    play_with(session(trust), script)
}

/// As [`play`], as the client of a listener with AUTH on this host. The user `tim` has the password `x`; `ben` is put off.
fn play_auth(mode: AuthMode, script: &str) -> Vec<Transaction> {
    play_with(Session::new(terms_with(NONE, mode), "127.0.0.1:4000".parse().expect("valid")), script)
}

fn checked(credentials: &Credentials) -> Result<String, Refusal> {
    match (credentials.user.as_str(), &credentials.proof) {
        ("tim", Proof::Password(password)) if password.expose() == b"x" => Ok("tim".into()),
        ("tim", Proof::Checked(true)) => Ok("tim".into()),
        ("ben", _) => Err(Refusal::new(454, 7, 0, "try again later")),
        _ => Err(Refusal::new(535, 7, 8, "wrong")),
    }
}

fn play_with(mut session: Session, script: &str) -> Vec<Transaction> {
    let mut input = BytesMut::new();
    let mut out = Vec::new();
    let mut handed = Vec::new();
    let mut full = false;
    let mut expected = String::new();
    let lines: Vec<&str> = script.lines().map(str::trim_start).filter(|line| !line.is_empty()).collect();
    for (n, line) in lines.iter().enumerate() {
        let (kind, rest) = line.split_at(line.len().min(2));
        match kind {
            "= " => match rest {
                "early" => drop(session.greet(true, &mut out)),
                "greet" => drop(session.greet(false, &mut out)),
                "stop" => drop(session.stop(&mut out)),
                "tls" => session.tls_is_ready(true),
                "idle" => session.idle_timeout(&mut out),
                "full" => full = true,
                other => panic!("no such act: {other}"),
            },
            "C:" => {
                let text = rest.strip_prefix(' ').unwrap_or(rest);
                let (text, end) = text.strip_suffix("\\c").map_or((text, "\r\n"), |text| (text, ""));
                let text = text.replace("\\n", "\n").replace("\\r", "\r").replace("\\0", "\0").replace("\\t", "\t");
                input.extend_from_slice(text.as_bytes());
                input.extend_from_slice(end.as_bytes());
            }
            "S:" => expected.push_str(&format!("{}\r\n", rest.trim_start())),
            _ => panic!("no such line: {line}"),
        }
        let next = lines.get(n + 1).map_or("", |next| &next[..next.len().min(2)]);
        // What a client may do only when it was answered.
        let is_hello = ["EHLO ", "HELO "].iter().any(|verb| rest.trim_start().starts_with(verb));
        if kind == "C:" && (next != "C:" || is_hello) {
            loop {
                match session.advance(&mut input, &Desk { full }, &mut out) {
                    Effect::Deliver(transaction) => {
                        handed.push(*transaction);
                        session.answered(if full { Err(Refusal::storage()) } else { Ok(MessageId(7)) }, &mut out);
                    }
                    Effect::Authenticate(credentials) => session.authenticated(checked(&credentials), &mut out),
                    Effect::StartTls => session.encrypted(&TlsFacts {
                        version: "TLSv1.3",
                        cipher: "TLS_AES_256_GCM_SHA384".into(),
                        group: None,
                        binding: None,
                    }),
                    Effect::Reseat => session.reseated(session.client().port() != 421, &mut out),
                    _ => break,
                }
            }
        }
        if next != "S:" && (kind == "S:" || next.is_empty()) {
            let replies = String::from_utf8(std::mem::take(&mut out)).expect("ASCII");
            assert_eq!(replies, std::mem::take(&mut expected), "before line {}: {next}", n + 1);
        }
    }
    handed
}

const ALL: &str = "0.0.0.0/0";
const NONE: &str = "10.0.0.0/8";
