//! swaks, the tester's client.

use std::process::Command;

use super::{Door, Letter, Mechanism, Tls, USER, outcome};

/// Sends a letter; an error is all it said. It cannot do BDAT, and writes the parameters it is given behind addresses.
pub(crate) fn send_by_swaks(door: &Door<'_>, letter: &Letter, more: &[&str]) -> Result<String, String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("message");
    // It makes CRLF of LF and stuffs dots itself; the end of the last line is its own.
    let text = super::bare(&letter.octets);
    std::fs::write(&file, text.strip_suffix(b"\n").unwrap_or(&text)).unwrap();
    let to: Vec<&str> = letter.to.iter().map(|(address, _)| &**address).collect();
    let mut command = Command::new("swaks");
    command
        .args(["--server", "127.0.0.1", "--port", &door.to.port().to_string(), "--ehlo", "client.test"])
        .args(["--from", &letter.from, "--to", &to.join(",")])
        .args(["--timeout", "60s", "--hide-informational"])
        .arg("--data")
        .arg(format!("@{}", file.display()))
        .args(more);
    match door.tls {
        Tls::None => {}
        Tls::Offered | Tls::Required => {
            command.args(["--tls", "--tls-verify", "--tls-ca-path"]).arg(door.papers.authority());
        }
        Tls::Implicit => {
            command.args(["--tls-on-connect", "--tls-verify", "--tls-ca-path"]).arg(door.papers.authority());
        }
    }
    let mechanism = match door.login {
        Mechanism::None => None,
        Mechanism::Plain => Some("PLAIN"),
        Mechanism::Login => Some("LOGIN"),
        Mechanism::Scram => panic!("swaks knows no SCRAM"),
    };
    if let Some(mechanism) = mechanism {
        command.args(["--auth", mechanism, "--auth-user", USER, "--auth-password", door.password]);
    }
    if door.pipelining {
        command.arg("--pipeline");
    }
    match outcome(&mut command) {
        (true, said) => Ok(said),
        (false, said) => Err(said),
    }
}
