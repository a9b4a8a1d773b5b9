//! A file of users, and a client that logs in.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::PATIENCE;

/// A file of users whose lines the program itself made.
pub(crate) struct Users {
    directory: TempDir,
}

impl Users {
    /// With these names and passwords.
    pub(crate) fn of(users: &[(&str, &str)]) -> Self {
        let file = Self { directory: tempfile::tempdir().unwrap() };
        file.write(&users.iter().map(|(name, password)| line(name, password)).collect::<String>());
        file
    }

    /// Replaces the whole file, aside and renamed.
    pub(crate) fn write(&self, text: &str) {
        let aside = self.directory.path().join("users.new");
        fs::write(&aside, text).unwrap();
        fs::set_permissions(&aside, fs::Permissions::from_mode(0o640)).unwrap();
        fs::rename(aside, self.path()).unwrap();
    }

    /// What is in it.
    pub(crate) fn text(&self) -> String {
        fs::read_to_string(self.path()).unwrap()
    }

    /// Where it is.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("users")
    }

    /// The same as TOML text.
    pub(crate) fn toml(&self) -> String {
        quoted(&self.path())
    }
}

/// A path as TOML text.
pub(crate) fn quoted(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}

/// `remuda user hash NAME`: what it prints for `password`.
pub(crate) fn line(name: &str, password: &str) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_remuda"))
        .args(["user", "hash", name])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    writeln!(child.stdin.take().unwrap(), "{password}").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "remuda user hash {name}: {}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// A client that says what it is told to.
pub(crate) struct Talker(BufReader<TcpStream>);

impl Talker {
    /// Connected and greeted.
    pub(crate) async fn at(address: SocketAddr) -> Self {
        let mut talker = Self(BufReader::new(TcpStream::connect(address).await.unwrap()));
        let greeting = talker.reply().await;
        assert!(greeting.starts_with("220 "), "{greeting}");
        talker
    }

    /// Says a line; the last line of the reply. Empty at the end of the connection.
    pub(crate) async fn say(&mut self, line: &str) -> String {
        self.0.get_mut().write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
        self.reply().await
    }

    /// The last line of the next reply.
    pub(crate) async fn reply(&mut self) -> String {
        loop {
            let mut line = String::new();
            tokio::time::timeout(PATIENCE, self.0.read_line(&mut line)).await.expect("in time").unwrap();
            if line.as_bytes().get(3) != Some(&b'-') {
                return line.trim_end().to_owned();
            }
        }
    }
}
