//! Mail programs that others wrote, each with configuration, queue, log and mailboxes in a directory of its own.
//!
//! Postfix is installed; Exim and OpenSMTPD, which cannot be installed beside it, are unpacked by `tests/run`. Python's
//! smtplib sends, and aiosmtpd receives, by the two scripts beside this file. [`wire`] is our own client for octets that
//! no program would send. Ports are chosen by the system; what is started is ended by its id.

mod exim;
mod letter;
mod mailbox;
mod opensmtpd;
mod papers;
mod postfix;
mod python;
mod swaks;
pub(crate) mod wire;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) use exim::Exim;
pub(crate) use letter::{Letter, Parts, Taken, bare};
use mailbox::Mailbox;
pub(crate) use opensmtpd::OpenSmtpd;
pub(crate) use papers::Papers;
pub(crate) use postfix::Postfix;
pub(crate) use python::{Python, send_by_smtplib};
pub(crate) use swaks::send_by_swaks;

/// TLS at a receiver, or what a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tls {
    /// Not there.
    None,
    /// A receiver offers STARTTLS.
    Offered,
    /// STARTTLS, and nothing goes without.
    Required,
    /// TLS from the first octet.
    Implicit,
}

/// How a client logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mechanism {
    /// Not at all.
    None,
    /// AUTH PLAIN.
    Plain,
    /// AUTH LOGIN.
    Login,
    /// AUTH SCRAM-SHA-256, which only Postfix knows.
    Scram,
}

/// The user of every client that logs in.
pub(crate) const USER: &str = "acme";
/// Its password.
pub(crate) const PASSWORD: &str = "one-long-password";

/// Where a client sends, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Door<'a> {
    /// Listener of the relay.
    pub(crate) to: SocketAddr,
    /// What it asks for.
    pub(crate) tls: Tls,
    /// Who it is.
    pub(crate) login: Mechanism,
    /// By which password.
    pub(crate) password: &'a str,
    /// Several commands at once.
    pub(crate) pipelining: bool,
    /// The message by BDAT.
    pub(crate) bdat: bool,
    /// Whom to believe.
    pub(crate) papers: &'a Papers,
}

/// A program that takes mail for everybody at peer.test.
pub(crate) trait Receiver {
    /// Its name.
    fn name(&self) -> &'static str;
    /// Where it listens.
    fn addr(&self) -> SocketAddr;
    /// What it has taken so far.
    fn taken(&self) -> Vec<Taken>;
}

/// Whether it ended with success, and what it said.
pub(crate) fn outcome(command: &mut Command) -> (bool, String) {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}; tests/run brings it"));
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// Below where `tests/run` unpacks packages: beside the build.
fn unpacked(path: &str) -> PathBuf {
    let builds = Path::new(env!("CARGO_BIN_EXE_remuda")).ancestors().nth(2).unwrap();
    let path = builds.join("peers").join(path);
    assert!(path.exists(), "{} is missing; tests/run fetches it", path.display());
    path
}

/// These programs cannot be asked for a port of the system's choice; one that was free just now is the next best.
pub(crate) fn free_port() -> SocketAddr {
    TcpListener::bind(super::anywhere()).unwrap().local_addr().unwrap()
}

/// Gives a path to a user.
fn give(path: &Path, user: &str) {
    let status = Command::new("chown").arg(user).arg(path).status().expect("chown");
    assert!(status.success(), "needs root: chown {user} {}", path.display());
}
