//! Postfix, as it is installed, with everything it writes in one directory.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tokio::net::TcpStream;

use super::{Door, Mailbox, Mechanism, Papers, Receiver, Taken, Tls, USER, free_port, give};
use crate::support::wait_until;

/// Stopped by its own means when it is dropped.
pub(crate) struct Postfix {
    directory: TempDir,
    address: SocketAddr,
    all: Mailbox,
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let stopped = control(&self.config(), "stop");
        if std::thread::panicking() {
            eprintln!("--- stop: {stopped}\n--- Postfix's log\n{}", self.log());
        }
    }
}

impl Postfix {
    /// Takes mail for `users` at postfix.test into Maildirs, and with `relay_host` sends all other mail there.
    pub(crate) async fn start(users: &[&str], relay_host: Option<SocketAddr>) -> Self {
        let relay_host =
            relay_host.map(|to| format!("mynetworks = 127.0.0.0/8\nrelayhost = [{}]:{}\n", to.ip(), to.port()));
        let mailboxes: Vec<String> = users.iter().map(|u| format!("{{{u}@postfix.test = {u}/}}")).collect();
        let maps = format!(
            "virtual_mailbox_domains = postfix.test\nvirtual_mailbox_maps = inline:{{ {} }}\n{}",
            mailboxes.join(", "),
            relay_host.unwrap_or_default()
        );
        let postfix = Self::new();
        postfix.write(&maps);
        postfix.run().await
    }

    /// Takes everybody's mail, and sends it on as `more` of main.cf says; `files` lie beside it, and
    /// where a text names /etc/postfix, their directory is meant.
    pub(crate) async fn client(more: &str, files: &[(&str, String)]) -> Self {
        let postfix = Self::new();
        let config = postfix.config();
        fs::create_dir_all(&config).unwrap();
        let here = |text: &str| text.replace("/etc/postfix", &config.display().to_string());
        for (name, text) in files {
            fs::write(config.join(name), here(text)).unwrap();
        }
        postfix.write(&format!("mynetworks = 127.0.0.0/8\n{}\n", here(more)));
        postfix.run().await
    }

    /// Takes everybody's mail and sends it through a door.
    pub(crate) async fn through(door: &Door<'_>) -> Self {
        let to = format!("[{}]:{}", door.to.ip(), door.to.port());
        let mut more = format!(
            "relayhost = {to}\nmessage_size_limit = 60000000\nsmtp_tls_CAfile = {}\nsmtp_tls_security_level = {}\n",
            door.papers.authority().display(),
            match door.tls {
                Tls::None => "none",
                Tls::Offered => "may",
                Tls::Required | Tls::Implicit => "encrypt",
            }
        );
        if door.tls == Tls::Implicit {
            more += "smtp_tls_wrappermode = yes\n";
        }
        if !door.pipelining {
            more += "smtp_discard_ehlo_keywords = pipelining\n";
        }
        if door.login != Mechanism::None {
            let mechanism = match door.login {
                Mechanism::Plain => "plain",
                Mechanism::Login => "login",
                _ => "scram-sha-256",
            };
            more += &format!(
                "smtp_sasl_auth_enable = yes\nsmtp_sasl_security_options = noanonymous\nsmtp_sasl_mechanism_filter = {mechanism}\n\
                 smtp_sasl_password_maps = inline:{{ {{ {to} = {USER}:{} }} }}\n",
                door.password
            );
        }
        Self::client(&more, &[]).await
    }

    /// Takes mail for everybody at peer.test into one Maildir, with `more` in main.cf.
    pub(crate) async fn receiver(tls: Tls, papers: &Papers, more: &str) -> Self {
        let level = match tls {
            Tls::None => "none",
            Tls::Offered => "may",
            Tls::Required | Tls::Implicit => "encrypt",
        };
        let postfix = Self::new();
        postfix.write(&format!(
            // Reports to senders elsewhere go nowhere.
            "mynetworks =\ndefault_transport = discard:\nvirtual_mailbox_domains = peer.test\nvirtual_mailbox_maps = static:all/\n\
             message_size_limit = 60000000\nvirtual_mailbox_limit = 0\nsmtpd_tls_received_header = yes\n\
             smtpd_tls_security_level = {level}\nsmtpd_tls_cert_file = {}\nsmtpd_tls_key_file = {}\n{more}\n",
            papers.certificate().display(),
            papers.key().display()
        ));
        postfix.run().await
    }

    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let all = Mailbox::at(directory.path().join("mail/all"));
        Self { directory, address: free_port(), all }
    }

    async fn run(self) -> Self {
        let said = control(&self.config(), "start");
        let address = self.address;
        wait_until("Postfix listens", async || TcpStream::connect(address).await.ok().map(drop)).await;
        assert!(!said.contains("fatal"), "{said}");
        self
    }

    /// Where it takes mail.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.address
    }

    /// The messages in the mailbox of `user`.
    pub(crate) fn mailbox(&self, user: &str) -> Vec<String> {
        let messages = Mailbox::at(self.path("mail").join(user)).taken().into_iter();
        messages.map(|taken| String::from_utf8_lossy(&taken.octets).into_owned()).collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn config(&self) -> PathBuf {
        self.path("config")
    }

    /// What it wrote down.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn write(&self, more: &str) {
        fs::set_permissions(self.directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["config", "queue", "data", "mail"] {
            fs::create_dir_all(self.path(name)).unwrap();
        }
        give(&self.path("data"), "postfix");
        give(&self.path("mail"), "nobody");
        let base = self.directory.path().display();
        let port = self.address.port();
        let (uid, gid) = (id("-u", "nobody"), id("-g", "nobody"));
        let main = format!(
            "compatibility_level = 3.6\n\
             queue_directory = {base}/queue\ndata_directory = {base}/data\n\
             maillog_file = {base}/log\nmaillog_file_prefixes = {base}\n\
             myhostname = mx.postfix.test\nmydestination =\ninet_interfaces = 127.0.0.1\ninet_protocols = ipv4\n\
             alias_maps =\nlocal_recipient_maps =\nbiff = no\n\
             smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination\n\
             smtp_host_lookup = native\nsmtp_dns_support_level = disabled\n\
             virtual_mailbox_base = {base}/mail\n\
             virtual_uid_maps = static:{uid}\nvirtual_gid_maps = static:{gid}\nvirtual_minimum_uid = 1\n{}\n",
            // Without networks of its own it would trust those of its interfaces.
            if more.contains("mynetworks") { more.to_owned() } else { format!("mynetworks =\n{more}") }
        );
        let master = format!(
            "127.0.0.1:{port} inet n - n - - smtpd\n\
             pickup unix n - n 60 1 pickup\ncleanup unix n - n - 0 cleanup\nqmgr unix n - n 300 1 qmgr\n\
             tlsmgr unix - - n 1000? 1 tlsmgr\nrewrite unix - - n - - trivial-rewrite\n\
             bounce unix - - n - 0 bounce\ndefer unix - - n - 0 bounce\ntrace unix - - n - 0 bounce\n\
             verify unix - - n - 1 verify\nflush unix n - n 1000? 0 flush\nproxymap unix - - n - - proxymap\n\
             smtp unix - - n - - smtp\nrelay unix - - n - - smtp\nshowq unix n - n - - showq\n\
             error unix - - n - - error\nretry unix - - n - - error\ndiscard unix - - n - - discard\n\
             virtual unix - n n - - virtual\nanvil unix - - n - 1 anvil\nscache unix - - n - 1 scache\n\
             postlog unix-dgram n - n - 1 postlogd\n"
        );
        fs::write(self.config().join("main.cf"), main).unwrap();
        fs::write(self.config().join("master.cf"), master).unwrap();
    }
}

impl Receiver for Postfix {
    fn name(&self) -> &'static str {
        "Postfix"
    }

    fn addr(&self) -> SocketAddr {
        self.address
    }

    fn taken(&self) -> Vec<Taken> {
        self.all.taken()
    }
}

/// `postfix -c DIR VERB`; what it said.
fn control(config: &Path, verb: &str) -> String {
    let output = Command::new("postfix").arg("-c").arg(config).arg(verb).output().expect("postfix");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn id(what: &str, user: &str) -> String {
    let output = Command::new("id").args([what, user]).output().expect("id");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
