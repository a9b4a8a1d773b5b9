//! The whole relay, from a client's connection to a receiver's `250`, beside Postfix on the same machine.
//!
//! `cargo bench --bench relay -- [MESSAGES] [DIRECTORY]`: 20,000 messages of 2 KB over 20 sessions through the real
//! program, with four bindings in one pool, four tenants and at most 40 connections out, to a receiver in this process;
//! the same once more with `[feedback]`, where every message goes out with a mark and a rewritten return path.
//! Then the injector straight to that receiver, which is what the two of them could do at most, and a quarter of the
//! messages through a Postfix of its own (default settings but for its limits, which are ours) where one is installed
//! and this runs as root. Everything is synced before its `250`; a file system without a disk behind it (tmpfs) tells
//! nothing. On a busy machine CPU per message is the sturdier figure. Exits with 1 when a message is lost or comes twice.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use remuda::demo::injector::{Injected, Load};
use remuda::demo::sink::Sink;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

type Failure = Box<dyn std::error::Error>;

const SESSIONS: usize = 20;
const TENANTS: u64 = 4;
const PATIENCE: Duration = Duration::from_secs(300);

fn load(to: SocketAddr, messages: u64) -> Load {
    Load::new(to, messages)
        .sessions(SESSIONS)
        .reverse_path(|n| format!("sender@tenant{}.test", n % TENANTS))
        .patience(PATIENCE)
}

/// CPU time of a process so far, of all its threads; with `reaped` also of its children that have ended.
fn cpu(pid: u32, reaped: bool) -> Result<Duration, Failure> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // After the name in parentheses, which may hold anything: state is field 3, utime, stime, cutime, cstime 14 to 17.
    let (_, rest) = stat.rsplit_once(')').ok_or("/proc/PID/stat without a name")?;
    let ticks: u64 =
        rest.split_whitespace().skip(11).take(if reaped { 4 } else { 2 }).filter_map(|t| t.parse::<u64>().ok()).sum();
    // SAFETY: `sysconf` only reads.
    let hertz = u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) })?;
    Ok(Duration::from_micros(ticks * 1_000_000 / hertz))
}

async fn poll<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> Result<T, Failure> {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return Ok(found);
        }
        if Instant::now() > until {
            return Err(format!("in vain: waiting until {what}").into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What one run through a relay showed.
struct Measured {
    injected: Injected,
    delivered_per_second: f64,
    cpu_per_message: Duration,
    lost: usize,
    repeated: u64,
}

/// Sends `messages` through the relay at `to` and waits until the sink has them. `cpu` is asked before and after.
async fn measure(
    to: SocketAddr,
    messages: u64,
    sink: &Sink,
    cpu: impl Fn() -> Result<Duration, Failure>,
) -> Result<Measured, Failure> {
    sink.forget();
    let before = cpu()?;
    let started = Instant::now();
    let injected = load(to, messages).run().await;
    let accepted = injected.accepted.len() as u64;
    if accepted != messages {
        let first = injected.refused.first().map(|(_, reply)| reply.as_str());
        return Err(format!("{accepted} of {messages} accepted: {first:?} {:?}", injected.errors).into());
    }
    poll("the sink has everything", async || (sink.messages() >= messages).then_some(())).await?;
    let elapsed = started.elapsed();
    // What settles after the receiver's 250 is part of the price, and a message sent twice would come now.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let spent = cpu()?.saturating_sub(before);
    let ids = sink.ids();
    Ok(Measured {
        delivered_per_second: messages as f64 / elapsed.as_secs_f64(),
        cpu_per_message: spent / u32::try_from(messages)?,
        lost: (0..messages).filter(|n| !ids.contains_key(&n.to_string())).count(),
        repeated: ids.values().map(|times| times - 1).sum(),
        injected,
    })
}

fn print(name: &str, m: &Measured) {
    println!(
        "{name:<9} {:>10.0} {:>11.0} {:>11} {:>9.1} {:>9.1} {:>5} {:>6}",
        m.injected.rate(),
        m.delivered_per_second,
        m.cpu_per_message.as_micros(),
        m.injected.latency(0.5).as_secs_f64() * 1e3,
        m.injected.latency(0.99).as_secs_f64() * 1e3,
        m.lost,
        m.repeated,
    );
}

/// The program, with its configuration and state in a directory of its own.
struct Remuda {
    _directory: TempDir,
    child: Child,
    smtp: SocketAddr,
    admin: SocketAddr,
}

impl Drop for Remuda {
    fn drop(&mut self) {
        // One that is gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Remuda {
    async fn start(below: &Path, sink: SocketAddr, marks: bool) -> Result<Self, Failure> {
        let directory = tempfile::tempdir_in(below)?;
        let state = directory.path().join("state");
        fs::create_dir(&state)?;
        let config = directory.path().join("remuda.toml");
        fs::write(&config, configuration(&state, sink, marks))?;
        let log = File::create(directory.path().join("log"))?;
        let mut child = Command::new(env!("CARGO_BIN_EXE_remuda"))
            .args(["run", "-c"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let ports = poll("the relay is ready", async || match child.try_wait() {
            Ok(None) => serde_json::from_slice::<Value>(&fs::read(state.join("ports.json")).ok()?).ok(),
            _ => Some(Value::Null),
        });
        let ports = ports.await?;
        let address = |at: &str| -> Result<SocketAddr, Failure> {
            let log = || format!("the relay did not start: {:?}", fs::read_to_string(directory.path().join("log")));
            Ok(ports.pointer(at).and_then(Value::as_str).ok_or_else(log)?.parse()?)
        };
        let (smtp, admin) = (address("/listeners/0")?, address("/admin")?);
        Ok(Self { _directory: directory, child, smtp, admin })
    }

    async fn commits(&self) -> Result<f64, Failure> {
        let mut stream = TcpStream::connect(self.admin).await?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let value = answer.lines().find_map(|line| line.strip_prefix("remuda_spool_commits "));
        Ok(value.ok_or("no remuda_spool_commits in /metrics")?.trim().parse()?)
    }

    fn peak_memory(&self) -> Result<String, Failure> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        Ok(peak.ok_or("no VmHWM")?.trim().to_owned())
    }
}

fn configuration(state: &Path, sink: SocketAddr, marks: bool) -> String {
    let mut text = format!(
        "[server]\nhostname = \"relay.test\"\nstate_dir = {:?}\n[admin]\naddress = \"127.0.0.1:0\"\n\
         [log]\nfilter = \"warn\"\n[dns]\nservers = [\"127.0.0.1:9\"]\n[monitor]\nfcrdns = false\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"127.0.0.0/8\"]\n\
         [[destination_route]]\ndomain = \"*\"\nhosts = [\"{sink}\"]\n\
         [pool.main]\nactive = [\"b1\", \"b2\", \"b3\", \"b4\"]\n",
        state.display().to_string()
    );
    for n in 1..=4 {
        text += &format!(
            "[binding.b{n}]\nbind_address = \"127.0.0.1{n}\"\nehlo_hostname = \"b{n}.test\"\n\
             max_outbound_connections = 10\n"
        );
    }
    for n in 0..TENANTS {
        text += &format!(
            "[tenant.tenant{n}]\nmatch = {{ sender_domain = [\"tenant{n}.test\"] }}\npools = {{ default = \"main\" }}\n"
        );
        if marks {
            text += &format!("return_path_domain = \"bounces.tenant{n}.test\"\n");
        }
    }
    if marks {
        text += "[feedback]\n";
    }
    text
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<ExitCode, Failure> {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let messages: u64 = arguments.next().map_or(Ok(20_000), |text| text.parse())?;
    let directory = arguments.next().unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").to_owned());
    let directory = Path::new(&directory);
    fs::create_dir_all(directory)?;
    let sink = Sink::start((Ipv4Addr::LOCALHOST, 0).into()).await?;

    println!("{messages} messages of 2 KB, {SESSIONS} sessions in, at most 40 out");
    println!(
        "{:<9} {:>10} {:>11} {:>11} {:>9} {:>9} {:>5} {:>6}",
        "", "accepted/s", "delivered/s", "CPU us/msg", "p50 ms", "p99 ms", "lost", "twice"
    );
    let relay = Remuda::start(directory, sink.addr(), false).await?;
    let commits = relay.commits().await?;
    let ours = measure(relay.smtp, messages, &sink, || cpu(relay.child.id(), false)).await?;
    let commits = relay.commits().await? - commits;
    print("remuda", &ours);
    let sources = sink.by_source();
    let memory = relay.peak_memory()?;
    drop(relay);

    let relay = Remuda::start(directory, sink.addr(), true).await?;
    let marked = measure(relay.smtp, messages, &sink, || cpu(relay.child.id(), false)).await?;
    print("+ marks", &marked);
    drop(relay);

    let process = std::process::id();
    let floor = measure(sink.addr(), messages, &sink, || cpu(process, false)).await?;
    print("none", &floor);
    let theirs = match postfix::Postfix::start(directory, sink.addr()).await {
        Ok(postfix) => {
            let theirs = measure(postfix.smtp, (messages / 4).max(1), &sink, || postfix.cpu()).await?;
            print("postfix", &theirs);
            Some(theirs)
        }
        Err(why) => {
            println!("postfix   not measured: {why}");
            None
        }
    };

    println!("\nremuda: peak memory {memory}, {:.3} group commits per message", commits / messages as f64);
    for (source, counts) in sources {
        println!("remuda: {source} carried {} over {} connections", counts.messages, counts.connections);
    }
    println!("none: injector straight to the sink, CPU of the two together");
    if let Some(theirs) = theirs {
        println!(
            "postfix: CPU of master, its children alive and reaped; {} messages\nratios: {:.1} x delivered/s, CPU 1 : {:.1}",
            theirs.injected.accepted.len(),
            ours.delivered_per_second / theirs.delivered_per_second,
            theirs.cpu_per_message.as_secs_f64() / ours.cpu_per_message.as_secs_f64().max(1e-9),
        );
    }
    let whole = [&ours, &marked].iter().all(|run| run.lost == 0 && run.repeated == 0);
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

mod postfix {
    use std::fs::{self, Permissions};
    use std::net::{SocketAddr, TcpListener};
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::process::Command;
    use std::time::Duration;

    use tempfile::TempDir;
    use tokio::net::TcpStream;

    use super::{Failure, cpu, poll};

    /// A Postfix with configuration, queue, data and log in a directory of its own; stopped by its own means.
    pub(super) struct Postfix {
        directory: TempDir,
        pub(super) smtp: SocketAddr,
    }

    impl Drop for Postfix {
        fn drop(&mut self) {
            // Nobody is left to tell.
            let _ = self.control("stop");
        }
    }

    impl Postfix {
        /// Sends all mail from this machine to `sink`.
        pub(super) async fn start(below: &Path, sink: SocketAddr) -> Result<Self, Failure> {
            // SAFETY: only reads.
            if unsafe { libc::geteuid() } != 0 {
                return Err("it needs root".into());
            }
            Command::new("postconf").arg("mail_version").output().map_err(|_| "it is not installed")?;
            let directory = tempfile::tempdir_in(below)?;
            // It cannot be asked for a port of the system's choice; one that was free just now is the next best.
            let smtp = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
            let postfix = Self { directory, smtp };
            postfix.write(sink)?;
            let said = postfix.control("start")?;
            let up = poll("Postfix listens", async || TcpStream::connect(smtp).await.ok().map(drop));
            tokio::time::timeout(Duration::from_secs(20), up).await.map_err(|_| said)??;
            Ok(postfix)
        }

        /// CPU time of the master and of everything it started, alive or reaped.
        pub(super) fn cpu(&self) -> Result<Duration, Failure> {
            let master: u32 = fs::read_to_string(self.directory.path().join("queue/pid/master.pid"))?.trim().parse()?;
            let mut spent = cpu(master, true)?;
            for process in fs::read_dir("/proc")?.flatten() {
                let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
                // Gone meanwhile: then the master has reaped it, or will have next time.
                let Ok(stat) = fs::read_to_string(process.path().join("stat")) else { continue };
                let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1));
                if parent == Some(&master.to_string()) {
                    spent += cpu(pid, true).unwrap_or_default();
                }
            }
            Ok(spent)
        }

        fn control(&self, verb: &str) -> Result<String, Failure> {
            let output =
                Command::new("postfix").arg("-c").arg(self.directory.path().join("config")).arg(verb).output()?;
            Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
        }

        fn write(&self, sink: SocketAddr) -> Result<(), Failure> {
            let base = self.directory.path();
            fs::set_permissions(base, Permissions::from_mode(0o755))?;
            for name in ["config", "queue", "data"] {
                fs::create_dir(base.join(name))?;
            }
            if !Command::new("chown").arg("postfix").arg(base.join("data")).status()?.success() {
                return Err("chown to the user postfix failed".into());
            }
            let main = format!(
                "compatibility_level = 3.6\nqueue_directory = {0}/queue\ndata_directory = {0}/data\n\
                 maillog_file = {0}/log\nmaillog_file_prefixes = {0}\n\
                 myhostname = relay.test\nmydestination =\ninet_interfaces = 127.0.0.1\ninet_protocols = ipv4\n\
                 mynetworks = 127.0.0.0/8\nrelayhost = [{1}]:{2}\nalias_maps =\nlocal_recipient_maps =\nbiff = no\n\
                 smtp_host_lookup = native\nsmtp_dns_support_level = disabled\n\
                 default_process_limit = 100\nsmtp_destination_concurrency_limit = 40\n",
                base.display(),
                sink.ip(),
                sink.port()
            );
            let master = format!(
                "127.0.0.1:{} inet n - n - - smtpd\n\
                 pickup unix n - n 60 1 pickup\ncleanup unix n - n - 0 cleanup\nqmgr unix n - n 300 1 qmgr\n\
                 tlsmgr unix - - n 1000? 1 tlsmgr\nrewrite unix - - n - - trivial-rewrite\n\
                 bounce unix - - n - 0 bounce\ndefer unix - - n - 0 bounce\ntrace unix - - n - 0 bounce\n\
                 verify unix - - n - 1 verify\nflush unix n - n 1000? 0 flush\nproxymap unix - - n - - proxymap\n\
                 smtp unix - - n - - smtp\nrelay unix - - n - - smtp\nshowq unix n - n - - showq\n\
                 error unix - - n - - error\nretry unix - - n - - error\ndiscard unix - - n - - discard\n\
                 anvil unix - - n - 1 anvil\nscache unix - - n - 1 scache\npostlog unix-dgram n - n - 1 postlogd\n",
                self.smtp.port()
            );
            fs::write(base.join("config/main.cf"), main)?;
            fs::write(base.join("config/master.cf"), master)?;
            Ok(())
        }
    }
}
