//! rbldnsd with one zone, `bl.test`.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hickory_resolver::proto::op::{Message, Query};
use hickory_resolver::proto::rr::{Name, RecordType};
use tempfile::TempDir;

use super::{anywhere, wait_until};

/// A running one. Ends with its handle.
pub(crate) struct Rbldnsd {
    child: Child,
    directory: TempDir,
    address: SocketAddr,
}

impl Drop for Rbldnsd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Rbldnsd {
    /// Starts it with nothing listed but the test point, and waits until it answers. It looks for changes each second.
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        // It gives up root and must still read its zone.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        write(&directory, &[]);
        // It cannot be asked for a port of the system's choice; one that was free just now is the next best.
        let address = UdpSocket::bind(anywhere()).unwrap().local_addr().unwrap();
        let bind = format!("{}/{}", address.ip(), address.port());
        let child = Command::new("rbldnsd")
            .args(["-n", "-4", "-q", "-c", "1", "-b", &bind, "-w"])
            .arg(directory.path())
            .arg("bl.test:ip4set:bl.zone")
            .stdin(Stdio::null())
            .spawn()
            .expect("rbldnsd");
        let mut this = Self { child, directory, address };
        wait_until("rbldnsd answers", async || {
            assert!(this.child.try_wait().unwrap().is_none(), "rbldnsd left");
            this.lists("2.0.0.127").await.then_some(())
        })
        .await;
        this
    }

    /// Where it answers.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Lists these and no others, as soon as it looks.
    pub(crate) fn list(&self, addresses: &[&str]) {
        write(&self.directory, addresses);
    }

    /// Whether it answers that an address, written backwards, is listed.
    pub(crate) async fn lists(&self, reversed: &str) -> bool {
        let mut question = Message::query();
        let name = Name::from_ascii(format!("{reversed}.bl.test.")).unwrap();
        question.add_query(Query::query(name, RecordType::A));
        let socket = tokio::net::UdpSocket::bind(anywhere()).await.unwrap();
        if socket.send_to(&question.to_vec().unwrap(), self.address).await.is_err() {
            return false;
        }
        let mut answer = [0; 512];
        match tokio::time::timeout(Duration::from_millis(100), socket.recv(&mut answer)).await {
            Ok(Ok(length)) => Message::from_vec(&answer[..length]).is_ok_and(|answer| !answer.answers.is_empty()),
            _ => false,
        }
    }
}

fn write(directory: &TempDir, listed: &[&str]) {
    let path: PathBuf = directory.path().join("bl.zone");
    let mut text = String::from(
        "$SOA 1 ns.bl.test hostmaster.bl.test 0 1 1 1 1\n$TTL 1\n:127.0.0.2:listed for a test\n127.0.0.2\n",
    );
    listed.iter().for_each(|address| text += &format!("{address}\n"));
    // Renamed into place: rbldnsd must never read half a file.
    let fresh = path.with_extension("fresh");
    fs::write(&fresh, text).unwrap();
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o644)).unwrap();
    fs::rename(&fresh, path).unwrap();
}
