//! Exim from its Debian package, unpacked by `tests/run` beside the build.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tokio::net::TcpStream;

use super::{Door, Mailbox, Mechanism, Papers, Receiver, Taken, Tls, USER, free_port, give, unpacked};
use crate::support::wait_until;

/// Configuration, spool, log and mail in one directory. A daemon, where there is one, ends with it.
pub(crate) struct Exim {
    directory: TempDir,
    daemon: Option<Child>,
    address: SocketAddr,
    all: Mailbox,
}

impl Drop for Exim {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- Exim's logs\n{}", self.log());
        }
    }
}

/// What goes into the sections of its configuration.
#[derive(Default)]
struct Sections {
    main: String,
    routers: String,
    transports: String,
    authenticators: String,
}

impl Exim {
    /// Sends everything by these four files and users: main, router, transport, authenticators, as `config/clients/exim`
    /// has them. Where they name /etc/exim4, the directory of its configuration is meant.
    pub(crate) fn with_client_files(files: [String; 4], users: &str) -> Self {
        let exim = Self::new();
        let base = exim.base();
        let [main, routers, transports, authenticators] = files.map(|text| text.replace("/etc/exim4", &base));
        let main = format!(
            "primary_hostname = client.test\nqualify_domain = client.test\ndomainlist local_domains = @\n{main}"
        );
        exim.write(&Sections { main, routers, transports, authenticators });
        fs::write(exim.path("remuda.users"), users.replace("/etc/exim4", &base)).unwrap();
        exim
    }

    /// Takes everybody's mail and sends it through a door.
    pub(crate) async fn through(door: &Door<'_>) -> Self {
        let mut exim = Self::new();
        let star = |on: bool| if on { "*" } else { "" };
        let transport = format!(
            "out:\n driver = smtp\n port = {}\n allow_localhost\n hosts_try_chunking = {}\n hosts_avoid_pipelining = {}\n\
             \x20tls_verify_certificates = {}\n tls_try_verify_hosts = {}\n tls_verify_hosts = *\n tls_verify_cert_hostnames =\n\
             \x20hosts_require_tls = {}\n hosts_avoid_tls = {}\n hosts_require_auth = {}\n protocol = {}\n",
            door.to.port(),
            star(door.bdat),
            star(!door.pipelining),
            door.papers.authority().display(),
            star(false),
            star(matches!(door.tls, Tls::Required)),
            star(door.tls == Tls::None),
            star(door.login != Mechanism::None),
            if door.tls == Tls::Implicit { "smtps" } else { "smtp" },
        );
        let login = match door.login {
            Mechanism::Scram => panic!("this Exim knows no SCRAM"),
            Mechanism::None => String::new(),
            Mechanism::Plain => {
                format!("plain:\n driver = plaintext\n public_name = PLAIN\n client_send = ^{USER}^{}\n", door.password)
            }
            Mechanism::Login => {
                format!(
                    "login:\n driver = plaintext\n public_name = LOGIN\n client_send = : {USER} : {}\n",
                    door.password
                )
            }
        };
        exim.write(&Sections {
            main: exim.daemon_main("mta.exim.test", "*", ""),
            routers: format!(
                "out:\n driver = manualroute\n route_list = * {}\n transport = out\n self = send\n",
                door.to.ip()
            ),
            transports: transport,
            authenticators: login,
        });
        exim.listen().await;
        exim
    }

    /// Takes mail for everybody at peer.test into one Maildir; BDAT is offered where `chunking`.
    pub(crate) async fn receiver(tls: Tls, chunking: bool, papers: &Papers) -> Self {
        let mut exim = Self::new();
        let mut more = format!("chunking_advertise_hosts = {}\n", if chunking { "*" } else { "" });
        if tls == Tls::None {
            more += "tls_advertise_hosts =\n";
        } else {
            // It reads the key as its own user.
            for (from, name) in [(papers.certificate(), "certificate.pem"), (papers.key(), "key.pem")] {
                fs::copy(from, exim.path(name)).unwrap();
                give(&exim.path(name), "Debian-exim");
            }
            let base = exim.base();
            more += &format!(
                "tls_certificate = {base}/certificate.pem\ntls_privatekey = {base}/key.pem\ntls_advertise_hosts = *\n"
            );
        }
        if tls == Tls::Required {
            more += "acl_smtp_mail = only_tls\n";
        }
        exim.write(&Sections {
            main: exim.daemon_main("mx.exim.test", "peer.test", &more),
            routers: "all:\n driver = accept\n domains = peer.test\n transport = box\n".into(),
            transports: format!(
                "box:\n driver = appendfile\n directory = {}/mail\n maildir_format\n create_directory\n batch_max = 1000\n\
                 user = Debian-exim\n return_path_add\n envelope_to_add\n",
                exim.base()
            ),
            authenticators: String::new(),
        });
        exim.listen().await;
        exim
    }

    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let all = Mailbox::at(directory.path().join("mail"));
        let exim = Self { directory, daemon: None, address: free_port(), all };
        fs::set_permissions(exim.directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["spool", "log", "mail"] {
            fs::create_dir(exim.path(name)).unwrap();
            give(&exim.path(name), "Debian-exim:Debian-exim");
        }
        // It runs itself anew as its own user, who may not look into the directory of the builds.
        fs::copy(unpacked("exim4/usr/sbin/exim4"), exim.path("exim4")).unwrap();
        exim
    }

    fn daemon_main(&self, hostname: &str, domains: &str, more: &str) -> String {
        format!(
            "primary_hostname = {hostname}\nlocal_interfaces = 127.0.0.1\ndaemon_smtp_ports = {}\npid_file_path = {}/pid\n\
             deliver_drop_privilege\nmessage_size_limit = 60M\nsmtputf8_advertise_hosts = *\ndsn_advertise_hosts = *\n\
             accept_8bitmime\nacl_smtp_rcpt = ours\nacl_smtp_data = fine\nhost_lookup =\nrfc1413_hosts =\nrecipients_max = 1000\n\
             smtp_accept_queue_per_connection = 0\nremote_max_parallel = 4\n{more}\n\
             begin acl\nours:\n accept domains = {domains}\n deny message = not ours\nfine:\n accept\n\
             only_tls:\n deny !encrypted = *\n  message = 5.7.0 TLS first\n accept\n",
            self.address.port(),
            self.base()
        )
    }

    fn write(&self, sections: &Sections) {
        let base = self.base();
        let Sections { main, routers, transports, authenticators } = sections;
        // Lists of access rules are a section of their own, behind all of main.
        let text = format!(
            "exim_path = {base}/exim4\nspool_directory = {base}/spool\nlog_file_path = {base}/log/%slog\n\
             log_selector = +smtp_confirmation +all_parents\nkeep_environment =\n\
             {main}\nbegin routers\n{routers}\nbegin transports\n{transports}\nbegin authenticators\n{authenticators}\n\
             begin retry\n* * F,2h,10m\n"
        );
        fs::write(self.path("exim.conf"), text).unwrap();
    }

    async fn listen(&mut self) {
        let said = fs::File::create(self.path("said")).unwrap();
        let daemon = Command::new(self.path("exim4"))
            .arg("-C")
            .arg(self.path("exim.conf"))
            .args(["-bdf"])
            .stdin(Stdio::null())
            .stdout(said.try_clone().unwrap())
            .stderr(said)
            .spawn()
            .unwrap();
        self.daemon = Some(daemon);
        let address = self.address;
        wait_until("Exim listens", async || {
            if let Some(status) = self.daemon.as_mut().unwrap().try_wait().unwrap() {
                panic!("{status}: {}\n{}", fs::read_to_string(self.path("said")).unwrap_or_default(), self.log());
            }
            TcpStream::connect(address).await.ok().map(drop)
        })
        .await;
    }

    /// Hands it a message and waits for its one try to deliver it.
    pub(crate) fn send(&self, from: &str, to: &str) {
        let mut child = Command::new(self.path("exim4"))
            .arg("-C")
            .arg(self.path("exim.conf"))
            .args(["-odi", "-f", from, to])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let text = format!("From: {from}\nTo: {to}\nSubject: by Exim\n\nhello\n");
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{}\n{said}\n{}", output.status, self.log());
    }

    /// Where its daemon takes mail.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Its logs.
    pub(crate) fn log(&self) -> String {
        let read = |name| fs::read_to_string(self.path("log").join(name)).unwrap_or_default();
        ["mainlog", "rejectlog", "paniclog"].map(read).concat()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn base(&self) -> String {
        self.directory.path().display().to_string()
    }
}

impl Receiver for Exim {
    fn name(&self) -> &'static str {
        "Exim"
    }

    fn addr(&self) -> SocketAddr {
        self.address
    }

    fn taken(&self) -> Vec<Taken> {
        self.all.taken()
    }
}
