//! Programs that others wrote send through us.
//!
//! Python and swaks talk to a door of ours themselves. Postfix, Exim and OpenSMTPD take each letter from our wire first
//! and send it on, the way a mail server uses a smarthost. What came is looked at behind us, at an aiosmtpd that is
//! offered everything.

use std::sync::Mutex;

use super::{What, arrived, once_each, protocol, settings};
use crate::support::peers::wire::{How, Wire};
use crate::support::peers::{
    Door, Exim, Letter, Mechanism, OpenSmtpd, PASSWORD, Papers, Postfix, Python, Receiver, Tls, USER, send_by_smtplib,
    send_by_swaks,
};
use crate::support::{Relay, Users, number, quoted, wait_until};

use What::{Dsn, EightBit, Large, Many, Plain, Utf8, Wishes};

/// One way in.
struct Row {
    tls: Tls,
    login: Mechanism,
    pipelining: bool,
    bdat: bool,
    letters: &'static [What],
}

const fn row(tls: Tls, login: Mechanism, pipelining: bool, bdat: bool, letters: &'static [What]) -> Row {
    Row { tls, login, pipelining, bdat, letters }
}

const PYTHON: &[Row] = &[
    row(Tls::None, Mechanism::None, false, false, &[Plain, EightBit, Large, Many, Utf8, Dsn, Wishes]),
    row(Tls::None, Mechanism::None, true, false, &[Plain, EightBit, Many]),
    row(Tls::None, Mechanism::None, false, true, &[Plain, EightBit, Large, Utf8]),
    row(Tls::None, Mechanism::None, true, true, &[Plain, Many]),
    row(Tls::Required, Mechanism::None, false, false, &[Plain]),
    row(Tls::Required, Mechanism::Plain, true, false, &[Plain, EightBit, Utf8, Dsn]),
    row(Tls::Required, Mechanism::Login, false, true, &[Plain]),
    row(Tls::Implicit, Mechanism::Plain, false, false, &[Plain, Large]),
    row(Tls::Implicit, Mechanism::Login, true, true, &[Plain, Many]),
];

const SWAKS: &[Row] = &[
    row(Tls::None, Mechanism::None, false, false, &[Plain, EightBit, Many]),
    row(Tls::None, Mechanism::None, true, false, &[Plain, EightBit]),
    row(Tls::Required, Mechanism::None, false, false, &[Plain]),
    row(Tls::Required, Mechanism::Plain, true, false, &[Plain, EightBit]),
    row(Tls::Implicit, Mechanism::Login, false, false, &[Plain]),
];

/// It sends no BDAT.
const POSTFIX: &[Row] = &[
    row(Tls::None, Mechanism::None, true, false, &[Plain, EightBit, Large, Many, Utf8, Dsn, Wishes]),
    row(Tls::None, Mechanism::None, false, false, &[Plain, Many]),
    row(Tls::Required, Mechanism::Plain, true, false, &[Plain, EightBit, Large, Utf8, Dsn]),
    row(Tls::Required, Mechanism::Scram, true, false, &[Plain]),
    row(Tls::Offered, Mechanism::Login, true, false, &[Plain]),
    row(Tls::Implicit, Mechanism::Plain, true, false, &[Plain]),
];

const EXIM: &[Row] = &[
    row(Tls::None, Mechanism::None, true, true, &[Plain, EightBit, Large, Many, Utf8, Dsn, Wishes]),
    row(Tls::None, Mechanism::None, false, false, &[Plain, Many]),
    row(Tls::Required, Mechanism::Plain, true, true, &[Plain, EightBit, Large, Utf8]),
    row(Tls::Implicit, Mechanism::Login, true, false, &[Plain]),
];

/// It sends no BDAT, no several commands at once and no UTF-8 in addresses. NOTIFY it takes for one recipient only: what it
/// read of the first is in the way of a NEVER of the second.
const OPENSMTPD: &[Row] = &[
    row(Tls::None, Mechanism::None, false, false, &[Plain, EightBit, Large, Many]),
    row(Tls::Required, Mechanism::Plain, false, false, &[Plain, EightBit]),
    row(Tls::Implicit, Mechanism::Plain, false, false, &[Plain]),
];

/// The relay, what is behind it, and who may log in.
struct Stage {
    receiver: Python,
    relay: Relay,
    papers: Papers,
    /// What has come: its letter and the number of its recipients.
    came: Mutex<Vec<(String, usize)>>,
    _users: Users,
}

impl Stage {
    async fn set() -> Self {
        let papers = Papers::new();
        let offers = ["8BITMIME", "SMTPUTF8", "PIPELINING", "ENHANCEDSTATUSCODES", "DSN", "SIZE 60000000"];
        let receiver = Python::offering(&offers, Tls::None, &papers);
        let users = Users::of(&[(USER, PASSWORD)]);
        let settings = settings()
            .set("server", "users_file", &users.toml())
            .set("tenant.acme", "match", "{ auth_user = [\"acme\"], client = [\"127.0.0.0/8\", \"192.0.2.0/24\"] }")
            .block(format!(
                "[certificate.relay]\ncertificate = {}\nkey = {}\n",
                quoted(&papers.certificate()),
                quoted(&papers.key())
            ))
            .block(tls_listener("starttls"))
            .block(tls_listener("implicit"))
            .block(
                "[[listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"192.0.2.7/32\"]\nproxy_protocol = [\"127.0.0.1/32\"]\n"
                    .into(),
            )
            .block(
                "[[listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"192.0.2.7/32\"]\nxclient = [\"127.0.0.1/32\"]\n".into(),
            )
            .to(receiver.addr());
        let relay = Relay::start(&settings).await;
        Self { receiver, relay, papers, came: Mutex::default(), _users: users }
    }

    fn door(&self, row: &Row) -> Door<'_> {
        let listener = match row.tls {
            Tls::None => 0,
            Tls::Offered | Tls::Required => 1,
            Tls::Implicit => 2,
        };
        let (tls, login, pipelining, bdat) = (row.tls, row.login, row.pipelining, row.bdat);
        let to = self.relay.listener(listener);
        Door { to, tls, login, password: PASSWORD, pipelining, bdat, papers: &self.papers }
    }

    /// All came, as they were, by the protocol that the trace field names.
    async fn all_came(&self, row: &Row, letters: &[(What, String, Letter)]) {
        for (what, id, letter) in letters {
            for (taken, parts) in arrived(&self.receiver, id, letter).await {
                let word = format!(" with {} id ", protocol(row.tls, row.login, *what));
                assert!(parts.trace.contains(&word), "{id}: {word}: {}", parts.trace);
                assert!(parts.before.is_empty(), "{id}: {}", String::from_utf8_lossy(&parts.before));
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
            self.came.lock().unwrap().push((id.clone(), letter.to.len()));
        }
    }

    /// Nothing is left to come, and nothing came twice.
    async fn once_each(&self) {
        self.relay.wait_until_empty().await;
        let came = self.came.lock().unwrap();
        once_each(&self.receiver, came.iter().map(|(id, recipients)| (&**id, *recipients)));
    }
}

fn tls_listener(mode: &str) -> String {
    format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"127.0.0.0/8\"]\nauth = \"optional\"\ntls = \"{mode}\"\n\
         certificates = [\"relay\"]\n"
    )
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
    stage.once_each().await;
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
    stage.once_each().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs swaks and python3-aiosmtpd; tests/run installs them"]
async fn swaks_speaks_for_another_client_by_proxy_and_xclient() {
    let stage = Stage::set().await;
    let row = row(Tls::None, Mechanism::None, false, false, &[Plain]);
    let proxied = |version: &'static str, family: &'static str| {
        let source = ["--proxy-source", "192.0.2.7", "--proxy-source-port", "4000"];
        let to = ["--proxy-dest", "192.0.2.1", "--proxy-dest-port", "25"];
        [&["--proxy-version", version, "--proxy-family", family][..], &source[..], &to[..]].concat()
    };
    let version_2 = [proxied("2", "AF_INET"), vec!["--proxy-protocol", "STREAM", "--proxy-command", "PROXY"]].concat();
    let xclient = vec!["--xclient-addr", "192.0.2.7", "--xclient-name", "client.example.test"];
    for (listener, arguments) in [(3, proxied("1", "TCP4")), (3, version_2), (4, xclient)] {
        let id = format!("for-another-{}", arguments[..2].join(""));
        let door = Door { to: stage.relay.listener(listener), ..stage.door(&row) };
        // Only that address may relay here.
        let letter = Letter::plain(&id);
        send_by_swaks(&door, &letter, &arguments).unwrap_or_else(|said| panic!("{arguments:?}: {said}"));
        let (_, parts) = arrived(&stage.receiver, &id, &letter).await.remove(0);
        assert!(parts.trace.contains("[192.0.2.7]"), "{arguments:?}: {}", parts.trace);
        let another = |word: &&'static str| if *word == "192.0.2.7" { "192.0.2.8" } else { *word };
        let arguments: Vec<&str> = arguments.iter().map(another).collect();
        let refused = send_by_swaks(&door, &letter, &arguments).expect_err("for nobody else");
        assert!(refused.contains("550 5.7.1"), "{arguments:?}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Postfix, libsasl2-modules, swaks, python3-aiosmtpd and root; tests/run installs them"]
async fn a_wrong_password_is_refused_and_the_right_one_is_taken_after_a_pause() {
    let stage = Stage::set().await;
    let by = |login, id: &str| (row(Tls::Required, login, true, false, &[Plain]), Letter::plain(id));
    let wrong = |row: &Row| Door { password: "another password", ..stage.door(row) };
    // Who was refused just now has to wait, and is told so.
    let refused = |said: &str| said.contains("535 5.7.8") || said.contains("454 4.7.0");

    let (row, letter) = by(Mechanism::Plain, "wrong-smtplib");
    let said = send_by_smtplib(&wrong(&row), &letter).expect_err("refused");
    assert!(said.contains("535 5.7.8"), "{said}");
    let (row, letter) = by(Mechanism::Login, "wrong-swaks");
    let said = send_by_swaks(&wrong(&row), &letter, &[]).expect_err("refused");
    assert!(refused(&said), "{said}");
    let (row, letter) = by(Mechanism::Scram, "wrong-postfix");
    let postfix = Postfix::through(&wrong(&row)).await;
    Wire::at(postfix.addr()).await.send(&letter, How::Data).await.unwrap();
    wait_until("Postfix is refused", async || {
        postfix.log().lines().any(|line| line.contains("SASL authentication failed") && refused(line)).then_some(())
    })
    .await;

    let (row, letter) = by(Mechanism::Plain, "right");
    wait_until("the end of the pause", async || send_by_smtplib(&stage.door(&row), &letter).ok()).await;
    stage.all_came(&row, &[(Plain, "right".into(), letter)]).await;
    stage.once_each().await;
    assert_eq!(number(&stage.relay.status().await, "/counts/delivered"), 1, "nothing of the others");
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
    stage.once_each().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Exim, python3-aiosmtpd and root; tests/run brings them"]
async fn exim_sends_by_every_door() {
    let stage = Stage::set().await;
    for (number, row) in EXIM.iter().enumerate() {
        let exim = Exim::through(&stage.door(row)).await;
        through_a_server(&stage, exim.addr(), row, &letters("exim", number, row)).await;
    }
    stage.once_each().await;
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
    stage.once_each().await;
}
