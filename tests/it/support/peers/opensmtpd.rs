//! OpenSMTPD from its Debian package, unpacked by `tests/run` beside the build.
//!
//! Its directories and users are compiled into it. So it runs in a name space of mounts of its own, where these are
//! empty, and where two users more are in the list of users: nothing of it stays on the system.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tokio::net::TcpStream;

use super::{Door, Mailbox, Mechanism, Papers, Receiver, Taken, Tls, USER, free_port, give, unpacked};
use crate::support::wait_until;

/// The way into the name space: `$1` is the directory of the test, `$2` where the package is unpacked.
const INSIDE: &str = r#"
set -e
for directory in /var/spool /var/lib /usr/libexec /run; do mount -t tmpfs tmpfs $directory; done
mkdir -p /var/spool/smtpd /usr/libexec/opensmtpd /var/lib/opensmtpd/empty
chmod 711 /var/spool/smtpd
cp -a "$2/usr/libexec/opensmtpd/." /usr/libexec/opensmtpd/
cp /etc/passwd /etc/group "$1"
cat >>"$1/passwd" <<END
opensmtpd:x:61001:61001::/var/lib/opensmtpd/empty:/bin/false
opensmtpq:x:61002:61002::/var/lib/opensmtpd/empty:/bin/false
mailbox:x:65534:65534::$1/mail:/bin/false
END
printf 'opensmtpd:x:61001:\nopensmtpq:x:61002:\n' >>"$1/group"
mount --bind "$1/passwd" /etc/passwd
mount --bind "$1/group" /etc/group
exec "$2/usr/sbin/smtpd" -d -f "$1/smtpd.conf"
"#;

/// A running one; ends with its handle.
pub(crate) struct OpenSmtpd {
    child: Child,
    directory: TempDir,
    address: SocketAddr,
    all: Mailbox,
}

impl Drop for OpenSmtpd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- OpenSMTPD's log\n{}", self.log());
        }
    }
}

impl OpenSmtpd {
    /// Whether this machine lets a test mount: `tests/run` finds out, and where it does, a test must. Where it does not,
    /// its summary says that OpenSMTPD was left out.
    pub(crate) fn possible() -> bool {
        let may = Command::new("unshare").args(["--mount", "mount", "-t", "tmpfs", "tmpfs", "/run"]).output();
        let may = may.is_ok_and(|output| output.status.success());
        assert!(may || std::env::var_os("REMUDA_TEST_MOUNT").is_none(), "a name space of mounts was possible before");
        if !may {
            eprintln!("no name space of mounts here: OpenSMTPD is left out");
        }
        may
    }

    /// Takes everybody's mail and sends it through a door. It knows neither pipelining nor BDAT, and takes the mechanism
    /// that it likes best.
    pub(crate) async fn through(door: &Door<'_>) -> Self {
        let (directory, address) = (tempfile::tempdir().unwrap(), free_port());
        let base = directory.path().display().to_string();
        let protocol = match door.tls {
            Tls::None => "smtp+notls",
            Tls::Offered => "smtp",
            Tls::Required => "smtp+tls",
            Tls::Implicit => "smtps",
        };
        let (label, auth) = if door.login == Mechanism::None { ("", "") } else { ("us@", " auth <secrets>") };
        fs::write(directory.path().join("secrets"), format!("us {USER}:{}\n", door.password)).unwrap();
        let verify = if door.tls == Tls::None { "" } else { " tls no-verify" };
        let config = format!(
            "table secrets file:{base}/secrets\nsmtp max-message-size \"60M\"\n\
             listen on 127.0.0.1 port {} hostname mta.opensmtpd.test\n\
             action \"out\" relay host \"{protocol}://{label}{}\"{verify}{auth}\n\
             match from any for any action \"out\"\n",
            address.port(),
            door.to
        );
        Self::start(directory, address, &config).await
    }

    /// Takes mail for everybody at peer.test into one Maildir.
    pub(crate) async fn receiver(tls: Tls, papers: &Papers) -> Self {
        let (directory, address) = (tempfile::tempdir().unwrap(), free_port());
        let base = directory.path().display().to_string();
        let tls = match tls {
            Tls::None => "",
            Tls::Offered => " tls pki here",
            Tls::Required => " tls-require pki here",
            Tls::Implicit => " smtps pki here",
        };
        let config = format!(
            "pki here cert \"{}\"\npki here key \"{}\"\nsmtp max-message-size \"60M\"\n\
             listen on 127.0.0.1 port {}{tls} hostname mx.opensmtpd.test\n\
             action \"in\" maildir \"{base}/mail\" virtual {{ \"@\" = mailbox }}\n\
             match from any for domain \"peer.test\" action \"in\"\n",
            papers.certificate().display(),
            papers.key().display(),
            address.port(),
        );
        let config = if tls.is_empty() { config.lines().skip(2).map(|l| format!("{l}\n")).collect() } else { config };
        Self::start(directory, address, &config).await
    }

    async fn start(directory: TempDir, address: SocketAddr, config: &str) -> Self {
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(directory.path().join("mail")).unwrap();
        give(&directory.path().join("mail"), "nobody");
        fs::write(directory.path().join("smtpd.conf"), config).unwrap();
        let log = fs::File::create(directory.path().join("log")).unwrap();
        let child = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", INSIDE, "sh"])
            .arg(directory.path())
            .arg(unpacked("opensmtpd"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let all = Mailbox::at(directory.path().join("mail"));
        let mut this = Self { child, directory, address, all };
        wait_until("OpenSMTPD listens", async || {
            if let Some(status) = this.child.try_wait().unwrap() {
                panic!("{status}: {}", this.log());
            }
            TcpStream::connect(address).await.ok().map(drop)
        })
        .await;
        this
    }

    /// Where it takes mail.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.address
    }

    /// What it said.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl Receiver for OpenSmtpd {
    fn name(&self) -> &'static str {
        "OpenSMTPD"
    }

    fn addr(&self) -> SocketAddr {
        self.address
    }

    fn taken(&self) -> Vec<Taken> {
        self.all.taken()
    }
}
