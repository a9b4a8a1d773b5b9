//! Programs that others wrote send through us.
//!
//! Python and swaks talk to a door of ours themselves. Postfix, Exim and OpenSMTPD take each letter from our wire first
//! and send it on, the way a mail server uses a smarthost. What came is looked at behind us, at an aiosmtpd that is
//! offered everything.

use super::{What, arrived, protocol, settings};
use crate::support::peers::wire::{How, Wire};
use crate::support::peers::{
    Door, Exim, Letter, Login, OpenSmtpd, PASSWORD, Papers, Postfix, Python, Tls, USER, send_by_smtplib, send_by_swaks,
};
use crate::support::{Relay, Users, quoted};

use What::{Dsn, EightBit, Large, Many, Plain, Utf8};

/// One way in.
struct Row {
    tls: Tls,
    login: Login,
    pipelining: bool,
    bdat: bool,
    letters: &'static [What],
}

const fn row(tls: Tls, login: Login, pipelining: bool, bdat: bool, letters: &'static [What]) -> Row {
    Row { tls, login, pipelining, bdat, letters }
}

const PYTHON: &[Row] = &[
    row(Tls::None, Login::None, false, false, &[Plain, EightBit, Large, Many]),
    row(Tls::None, Login::None, true, false, &[Plain, EightBit, Many]),
];

const SWAKS: &[Row] = &[
    row(Tls::None, Login::None, false, false, &[Plain, EightBit, Many]),
    row(Tls::None, Login::None, true, false, &[Plain, EightBit]),
];

const POSTFIX: &[Row] = &[
    row(Tls::None, Login::None, true, false, &[Plain, EightBit, Large, Many]),
    row(Tls::None, Login::None, false, false, &[Plain, Many]),
];

const EXIM: &[Row] = &[
    row(Tls::None, Login::None, true, false, &[Plain, EightBit, Large, Many]),
    row(Tls::None, Login::None, false, false, &[Plain, Many]),
];

const OPENSMTPD: &[Row] = &[row(Tls::None, Login::None, false, false, &[Plain, EightBit, Large, Many])];

/// The relay, what is behind it, and who may log in.
struct Stage {
    receiver: Python,
    relay: Relay,
    papers: Papers,
    _users: Users,
}

impl Stage {
    async fn set() -> Self {
        let papers = Papers::new();
        let offers = ["8BITMIME", "SMTPUTF8", "PIPELINING", "ENHANCEDSTATUSCODES", "DSN", "SIZE 60000000"];
        let receiver = Python::offering(&offers, Tls::None, &papers);
        let users = Users::of(&[(USER, PASSWORD)]);
        let settings = settings().set("server", "users_file", &users.toml()).to(crate::support::peers::Receiver::addr(&receiver));
        let relay = Relay::start(&settings).await;
        Self { receiver, relay, papers, _users: users }
    }

    fn door(&self, row: &Row) -> Door<'_> {
        let listener = match row.tls {
            Tls::None => 0,
            Tls::Offered | Tls::Required => 1,
            Tls::Implicit => 2,
        };
        let (tls, login, pipelining, bdat) = (row.tls, row.login, row.pipelining, row.bdat);
        Door { to: self.relay.listener(listener), tls, login, pipelining, bdat, papers: &self.papers }
    }

    /// All came, as they were, by the protocol that the trace field names.
    async fn all_came(&self, row: &Row, letters: &[(What, String, Letter)]) {
        for (what, id, letter) in letters {
            for (taken, parts) in arrived(&self.receiver, id, letter).await {
                let word = format!(" with {} id ", protocol(row.tls, row.login, *what));
                assert!(parts.trace.contains(&word), "{id}: {word}: {}", parts.trace);
                for parameter in &letter.parameters {
                    let said = taken.parameters.split(' ').any(|said| said == *parameter);
                    assert!(said, "{id}: {parameter} is passed on: {}", taken.parameters);
                }
                for (address, parameters) in &letter.to {
                    let Some((_, said)) = taken.to.iter().find(|(other, _)| other == address) else { continue };
                    for parameter in parameters {
                        assert!(said.split(' ').any(|word| word == *parameter), "{id}: {address}: {parameter}: {said}");
                    }
                }
            }
        }
    }
}

/// The letters of a row, with names that tell it from all others.
fn letters(client: &str, number: usize, row: &Row) -> Vec<(What, String, Letter)> {
    let named = |what: &What| {
        let id = format!("{client}-{number}-{what:?}");
        (*what, id.clone(), what.letter(&id))
    };
    row.letters.iter().map(named).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs python3-aiosmtpd; tests/run installs it"]
async fn smtplib_sends_by_every_door() {
    let stage = Stage::set().await;
    for (number, row) in PYTHON.iter().enumerate() {
        let letters = letters("smtplib", number, row);
        for (_, id, letter) in &letters {
            send_by_smtplib(&stage.door(row), letter).unwrap_or_else(|said| panic!("{id}: {said}"));
        }
        stage.all_came(row, &letters).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs swaks and python3-aiosmtpd; tests/run installs them"]
async fn swaks_sends_by_every_door() {
    let stage = Stage::set().await;
    for (number, row) in SWAKS.iter().enumerate() {
        let mut letters = letters("swaks", number, row);
        for (_, id, letter) in &mut letters {
            letter.parameters.clear();
            send_by_swaks(&stage.door(row), letter, &[]).unwrap_or_else(|said| panic!("{id}: {said}"));
        }
        stage.all_came(row, &letters).await;
    }
}

/// A mail server takes each letter from the wire, and has us send it.
async fn through_a_server(stage: &Stage, server: std::net::SocketAddr, row: &Row, letters: &[(What, String, Letter)]) {
    for (_, id, letter) in letters {
        let mut wire = Wire::at(server).await;
        wire.send(letter, How::Data).await.unwrap_or_else(|said| panic!("{id}: {said}"));
    }
    stage.all_came(row, letters).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Postfix, libsasl2-modules, python3-aiosmtpd and root; tests/run installs them"]
async fn postfix_sends_by_every_door() {
    let stage = Stage::set().await;
    for (number, row) in POSTFIX.iter().enumerate() {
        let postfix = Postfix::through(&stage.door(row)).await;
        through_a_server(&stage, postfix.addr(), row, &letters("postfix", number, row)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Exim, python3-aiosmtpd and root; tests/run brings them"]
async fn exim_sends_by_every_door() {
    let stage = Stage::set().await;
    for (number, row) in EXIM.iter().enumerate() {
        let exim = Exim::through(&stage.door(row)).await;
        through_a_server(&stage, exim.addr(), row, &letters("exim", number, row)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs OpenSMTPD, python3-aiosmtpd, root and mounts; tests/run brings them"]
async fn opensmtpd_sends_by_every_door() {
    if !OpenSmtpd::possible() {
        return;
    }
    let stage = Stage::set().await;
    for (number, row) in OPENSMTPD.iter().enumerate() {
        let opensmtpd = OpenSmtpd::through(&stage.door(row)).await;
        through_a_server(&stage, opensmtpd.addr(), row, &letters("opensmtpd", number, row)).await;
    }
}
