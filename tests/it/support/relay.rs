//! The real binary in a directory of its own.

use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use remuda::demo::injector::Load;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Settings, text, wait_until};

/// A running (or just killed) relay. Dropping it kills the process; in a failing test it prints the end of the log.
pub(crate) struct Relay {
    directory: TempDir,
    child: Child,
    arguments: &'static [&'static str],
    listeners: Vec<SocketAddr>,
    admin: SocketAddr,
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- end of the relay's log");
            for line in &lines[lines.len().saturating_sub(100)..] {
                eprintln!("{line}");
            }
        }
    }
}

impl Relay {
    /// Starts it and waits until it is ready.
    ///
    /// # Panics
    /// When it exits instead, with its log.
    pub(crate) async fn start(settings: &Settings) -> Self {
        Self::start_with(settings, &[]).await
    }

    /// As [`Relay::start`], with further arguments behind `remuda run -c FILE`.
    pub(crate) async fn start_with(settings: &Settings, arguments: &'static [&'static str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("state")).unwrap();
        let child = spawn(&directory, settings, arguments).unwrap();
        let nowhere = super::anywhere();
        let mut relay = Self { directory, child, arguments, listeners: Vec::new(), admin: nowhere };
        relay.wait_until_ready().await;
        relay
    }

    /// Starts it again on the same state, with the same settings or others. One that still runs is killed.
    pub(crate) async fn restart(&mut self, settings: &Settings) {
        self.kill9();
        self.child = spawn(&self.directory, settings, self.arguments).unwrap();
        self.wait_until_ready().await;
    }

    async fn wait_until_ready(&mut self) {
        let path = self.state_dir().join("ports.json");
        let ports = wait_until("the relay is ready", async || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the relay left with {status} instead of getting ready");
            }
            // Written whole and then renamed, or not yet whole: then it is read again.
            serde_json::from_slice::<Value>(&fs::read(&path).ok()?).ok()
        });
        let ports = ports.await;
        let listeners = super::array(&ports, "/listeners").iter();
        self.listeners = listeners.map(|address| address.as_str().unwrap().parse().unwrap()).collect();
        self.admin = text(&ports, "/admin").parse().unwrap();
    }

    /// SIGKILL, now. Does nothing to one that is already gone.
    pub(crate) fn kill9(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    /// Sends it a signal, such as `HUP`.
    pub(crate) fn signal(&self, name: &str) {
        // The shell's own kill: a slim system has no other.
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Its configuration file.
    pub(crate) fn file(&self) -> PathBuf {
        self.directory.path().join("remuda.toml")
    }

    /// Writes other settings into its file, which it has not read yet.
    pub(crate) fn write(&self, settings: &Settings) {
        fs::write(self.file(), settings.text(&self.state_dir())).unwrap();
    }

    /// Has it read these settings, over HTTP, and knows its listeners anew: what it answered.
    pub(crate) async fn reload(&mut self, settings: &Settings) -> Value {
        self.write(settings);
        let (status, answer) = self.post("/api/v1/reload", &Value::Null).await;
        assert_eq!(status, "200", "{answer:#}");
        self.find_listeners();
        answer
    }

    /// Reads again where it listens.
    pub(crate) fn find_listeners(&mut self) {
        let ports: Value = serde_json::from_slice(&fs::read(self.state_dir().join("ports.json")).unwrap()).unwrap();
        let listeners = super::array(&ports, "/listeners").iter();
        self.listeners = listeners.map(|address| address.as_str().unwrap().parse().unwrap()).collect();
    }

    /// Its own operator's token, where it has one.
    pub(crate) fn token(&self) -> Option<String> {
        let token = fs::read_to_string(self.state_dir().join("admin.token")).ok()?;
        Some(token.trim().to_owned())
    }

    /// Status and JSON of one POST; no body where it is null.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> (String, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let token = self.token().map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let json = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
        let head = format!("POST {path} HTTP/1.0\r\nHost: {}\r\n{token}{json}", self.admin);
        let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        let answer = async {
            let mut stream = TcpStream::connect(self.admin).await?;
            stream.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            io::Result::Ok(answer)
        };
        let answer = tokio::time::timeout(super::PATIENCE, answer).await;
        let answer = answer.unwrap_or_else(|_| panic!("no answer to POST {path}"));
        let answer = answer.unwrap_or_else(|e| panic!("POST {path}: {e}"));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).unwrap_or_default().to_owned();
        (status, serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned())))
    }

    /// SIGTERM, and waits for the end.
    pub(crate) async fn term(&mut self) -> ExitStatus {
        self.signal("TERM");
        wait_until("the relay stops", async || self.child.try_wait().unwrap()).await
    }

    /// Runs a second one on the same state until it exits: its status and what it said.
    pub(crate) async fn second(&self, settings: &Settings) -> (ExitStatus, String) {
        let config = self.directory.path().join("second.toml");
        fs::write(&config, settings.text(&self.state_dir())).unwrap();
        let said = self.directory.path().join("second.log");
        let mut child = run(&config, &said, &[]).unwrap();
        let status = wait_until("the second one leaves", async || child.try_wait().unwrap()).await;
        (status, fs::read_to_string(&said).unwrap())
    }

    /// Where it takes mail.
    pub(crate) fn smtp(&self) -> SocketAddr {
        self.listeners[0]
    }

    /// Where its listener `number` takes mail, counted from 0 in the order of the configuration.
    pub(crate) fn listener(&self, number: usize) -> SocketAddr {
        self.listeners[number]
    }

    /// Where its status and metrics are.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// A load of `messages` for it.
    pub(crate) fn load(&self, messages: u64) -> Load {
        Load::new(self.smtp(), messages)
    }

    /// Where its spool and facts are.
    pub(crate) fn state_dir(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// Everything it logged, over all its lives.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("relay.log")).unwrap_or_default()
    }

    /// `GET /api/v1/status`
    pub(crate) async fn status(&self) -> Value {
        serde_json::from_str(&self.get("/api/v1/status").await).unwrap()
    }

    /// `GET /api/v1/queue`: its entries.
    pub(crate) async fn queue(&self) -> Vec<Value> {
        let answer: Value = serde_json::from_str(&self.get("/api/v1/queue?limit=100000").await).unwrap();
        super::array(&answer, "/entries").to_vec()
    }

    /// `GET /metrics`
    pub(crate) async fn metrics(&self) -> String {
        self.get("/metrics").await
    }

    /// Waits until nothing is in the queue.
    pub(crate) async fn wait_until_empty(&self) {
        wait_until("the queue is empty", async || {
            (super::number(&self.status().await, "/queue/messages") == 0).then_some(())
        })
        .await;
    }

    /// The body of a GET that succeeds.
    pub(crate) async fn get(&self, path: &str) -> String {
        let (status, body) = self.ask(path).await;
        assert_eq!(status, "200", "GET {path}: {body}");
        body
    }

    /// Status and body of one GET; HTTP/1.0, so that the end of the connection is the end of the answer.
    pub(crate) async fn ask(&self, path: &str) -> (String, String) {
        let answer = async {
            let mut stream = TcpStream::connect(self.admin).await?;
            stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.admin).as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            io::Result::Ok(answer)
        };
        let answer = tokio::time::timeout(super::PATIENCE, answer).await;
        let answer = answer.unwrap_or_else(|_| panic!("no answer to GET {path}"));
        let answer = answer.unwrap_or_else(|e| panic!("GET {path}: {e}"));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        (head.split(' ').nth(1).unwrap_or_default().to_owned(), body.to_owned())
    }
}

fn spawn(directory: &TempDir, settings: &Settings, arguments: &[&str]) -> io::Result<Child> {
    let state = directory.path().join("state");
    match fs::remove_file(state.join("ports.json")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let config = directory.path().join("remuda.toml");
    fs::write(&config, settings.text(&state))?;
    run(&config, &directory.path().join("relay.log"), arguments)
}

fn run(config: &Path, log: &Path, arguments: &[&str]) -> io::Result<Child> {
    let log = File::options().create(true).append(true).open(log)?;
    Command::new(env!("CARGO_BIN_EXE_remuda"))
        .args(["run", "-c"])
        .arg(config)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
}
