//! Python: smtplib as a client, aiosmtpd as a receiver that can be told to misbehave.

use std::fs;
use std::io::{BufRead, BufReader, Read as _, Seek as _, SeekFrom};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Door, Letter, Mechanism, Papers, Receiver, Taken, Tls, USER, outcome};

/// Debian's own, which has Debian's aiosmtpd, whatever else is in the path.
const PYTHON: &str = "/usr/bin/python3";

fn script(name: &str) -> PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/peers").join(name)
}

/// Sends a letter; an error is the reply that refused it.
pub(crate) fn send_by_smtplib(door: &Door<'_>, letter: &Letter) -> Result<(), String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("message");
    fs::write(&file, &letter.octets).unwrap();
    let auth = match door.login {
        Mechanism::None => Value::Null,
        Mechanism::Plain => json!(["PLAIN", USER, door.password]),
        Mechanism::Login => json!(["LOGIN", USER, door.password]),
        Mechanism::Scram => panic!("smtplib knows no SCRAM"),
    };
    let tls = match door.tls {
        Tls::None => "none",
        Tls::Offered | Tls::Required => "starttls",
        Tls::Implicit => "implicit",
    };
    let job = json!({
        "port": door.to.port(), "tls": tls, "ca": door.papers.authority(), "auth": auth,
        "from": letter.from, "parameters": letter.parameters, "to": letter.to, "file": file,
        "bdat": door.bdat.then_some(1000.max(letter.octets.len() / 7)), "pipelining": door.pipelining,
    });
    match outcome(Command::new(PYTHON).arg(script("sender.py")).arg(job.to_string())) {
        (true, _) => Ok(()),
        (false, said) => Err(said.trim_end().to_owned()),
    }
}

/// What `receiver.py` is told; see there.
pub(crate) struct Options {
    pub(crate) offers: Vec<String>,
    pub(crate) tls: Tls,
    pub(crate) script: Vec<(&'static str, &'static str, i32)>,
}

/// A running receiver.
pub(crate) struct Python {
    child: Child,
    directory: TempDir,
    address: SocketAddr,
    read: Mutex<(u64, Vec<Taken>)>,
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!(
                "--- receiver.py\n{}",
                fs::read_to_string(self.directory.path().join("said")).unwrap_or_default()
            );
        }
    }
}

impl Python {
    /// Offers these words in its EHLO.
    pub(crate) fn offering(offers: &[&str], tls: Tls, papers: &Papers) -> Self {
        let offers = offers.iter().map(ToString::to_string).collect();
        Self::start(&Options { offers, tls, script: Vec::new() }, papers)
    }

    /// Does these things at these stages, so often (-1: always), and offers what most do.
    pub(crate) fn that(script: &[(&'static str, &'static str, i32)], tls: Tls, papers: &Papers) -> Self {
        let offers = ["8BITMIME", "PIPELINING", "ENHANCEDSTATUSCODES"].map(String::from).to_vec();
        Self::start(&Options { offers, tls, script: script.to_vec() }, papers)
    }

    fn start(options: &Options, papers: &Papers) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let tls = match options.tls {
            Tls::None | Tls::Implicit => None,
            Tls::Offered => Some("offered"),
            Tls::Required => Some("required"),
        };
        let argument = json!({
            "out": directory.path().join("taken"), "offers": options.offers, "tls": tls, "script": options.script,
            "certificate": papers.certificate(), "key": papers.key(),
        });
        let mut child = Command::new(PYTHON)
            .arg(script("receiver.py"))
            .arg(argument.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(directory.path().join("said")).unwrap())
            .spawn()
            .expect("Debian's python3");
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        let said = || fs::read_to_string(directory.path().join("said")).unwrap_or_default();
        let port: u16 = port.trim().parse().unwrap_or_else(|_| panic!("receiver.py (python3-aiosmtpd): {}", said()));
        Self { child, directory, address: SocketAddr::from(([127, 0, 0, 1], port)), read: Mutex::default() }
    }
}

impl Receiver for Python {
    fn name(&self) -> &'static str {
        "aiosmtpd"
    }

    fn addr(&self) -> SocketAddr {
        self.address
    }

    fn taken(&self) -> Vec<Taken> {
        // Each line is read once: some are large, and tests look often.
        let mut known = self.read.lock().unwrap();
        let (at, all) = &mut *known;
        let mut text = Vec::new();
        if let Ok(mut file) = fs::File::open(self.directory.path().join("taken")) {
            file.seek(SeekFrom::Start(*at)).unwrap();
            file.read_to_end(&mut text).unwrap();
        }
        // The last line may be half written.
        for line in text.split_inclusive(|octet| *octet == b'\n').filter(|line| line.ends_with(b"\n")) {
            *at += line.len() as u64;
            all.push(read(&serde_json::from_slice(line).unwrap()));
        }
        all.clone()
    }
}

/// A line, and the file it names.
fn read(line: &Value) -> Taken {
    let string = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let pairs = line["to"].as_array().unwrap().iter();
    Taken {
        from: string(&line["from"]),
        parameters: string(&line["parameters"]),
        to: pairs.map(|pair| (string(&pair[0]), string(&pair[1]))).collect(),
        tls: line["tls"].as_str().map(String::from),
        bdat: line["bdat"] == true,
        octets: fs::read(line["octets"].as_str().unwrap()).unwrap().into(),
    }
}
