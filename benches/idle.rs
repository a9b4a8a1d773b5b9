//! What idle SMTP connections cost in memory: the real program, 10,000 clients that say nothing more.
//!
//! The program runs as a process of its own; what is printed is how much its resident memory has grown for each connection, as
//! Linux counts it (`/proc/PID/statm`; the kernel's own buffers are not in it): behind the greeting, behind EHLO, and behind one
//! whole message each. Needs a limit of file descriptors above the number of clients, on both sides.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const CLIENTS: usize = 10_000;

const CONFIG: &str = r#"
[server]
hostname = "relay.test"
state_dir = "STATE"
max_sessions = 20000
[admin]
address = "127.0.0.1:0"
[log]
filter = "warn"
[dns]
servers = ["127.0.0.1:9"]
[monitor]
fcrdns = false
spf = "off"
self_check = false
[[listener]]
address = "127.0.0.1:0"
trust = ["127.0.0.0/8"]
max_connections = 20000
max_connections_per_client = 20000
idle_timeout = "1h"
[binding.a]
bind_address = "127.0.0.11"
ehlo_hostname = "a.test"
[pool.main]
active = ["a"]
[tenant.acme]
match = { client = ["127.0.0.0/8"] }
pools = { default = "main" }
[[destination_route]]
domain = "*"
hosts = ["127.0.0.1:9"]
"#;

/// The program; it ends with the measurement.
struct Relay(Child);

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Relay {
    /// Octets of resident memory.
    fn resident(&self) -> u64 {
        let statm = fs::read_to_string(format!("/proc/{}/statm", self.0.id())).expect("Linux");
        let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
        pages * 4096
    }
}

/// Says `text` and reads replies up to the one that is the last of them.
fn say(client: &mut BufReader<TcpStream>, text: &str, last: &str) {
    client.get_mut().write_all(text.as_bytes()).expect("sent");
    let mut line = String::new();
    while !line.starts_with(last) {
        line.clear();
        assert!(client.read_line(&mut line).expect("answered") > 0, "closed while waiting for {last}");
    }
}

fn main() {
    let directory = tempfile::tempdir().expect("a directory");
    let state = directory.path().join("state");
    fs::create_dir(&state).expect("made");
    let file = directory.path().join("remuda.toml");
    fs::write(&file, CONFIG.replace("STATE", &state.display().to_string())).expect("written");
    let mut program = Command::new(env!("CARGO_BIN_EXE_remuda"));
    let child = program.arg("run").arg("-c").arg(&file).stderr(Stdio::null()).stdout(Stdio::null()).spawn();
    let relay = Relay(child.expect("started"));
    let address: SocketAddr = loop {
        std::thread::sleep(Duration::from_millis(50));
        let Ok(text) = fs::read_to_string(state.join("ports.json")) else { continue };
        let Ok(ports) = serde_json::from_str::<serde_json::Value>(&text) else { continue };
        break ports["listeners"][0].as_str().expect("an address").parse().expect("an address");
    };
    let before = relay.resident();
    let mut clients: Vec<BufReader<TcpStream>> = Vec::with_capacity(CLIENTS);
    for _ in 0..CLIENTS {
        let mut client = BufReader::with_capacity(512, TcpStream::connect(address).expect("connected"));
        say(&mut client, "", "220 ");
        clients.push(client);
    }
    let shown = |what: &str| {
        let each = relay.resident().saturating_sub(before) / CLIENTS as u64;
        println!("{what}: {each} octets for each of {CLIENTS} connections");
    };
    shown("greeted");
    clients.iter_mut().for_each(|client| say(client, "EHLO client.test\r\n", "250 "));
    shown("behind EHLO");
    let body = format!("Subject: x\r\n\r\n{}\r\n.\r\n", "x".repeat(900));
    for client in &mut clients[..1000] {
        say(client, "MAIL FROM:<s@example.test>\r\nRCPT TO:<u@example.test>\r\nDATA\r\n", "354 ");
        say(client, &body, "250 2.6.0");
    }
    shown("behind a message by every tenth, the queue's own memory included");
}
