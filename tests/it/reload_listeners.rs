//! Listeners move to addresses that overlap with their own, and no client notices.

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::reload::Session;
use crate::support::{Relay, Settings, local, sink, text, wait_for_messages, wait_until};

/// Clients that come, one after the other, each four at a time, and would fail if one of them was turned away.
struct Clients {
    is_over: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    tasks: JoinSet<()>,
}

impl Clients {
    fn of(address: SocketAddr) -> Self {
        let mut this = Self { is_over: Arc::default(), served: Arc::default(), tasks: JoinSet::new() };
        for _ in 0..4 {
            let (is_over, served) = (Arc::clone(&this.is_over), Arc::clone(&this.served));
            this.tasks.spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    let mut session = Session::greeted(address).await;
                    session.says("QUIT", "221").await;
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        this
    }

    /// Until some more were served.
    async fn go_on(&self) {
        let before = self.served.load(Ordering::Relaxed);
        let more = || self.served.load(Ordering::Relaxed) >= before + 50;
        wait_until("fifty clients more", async || (more() || self.tasks.is_empty()).then_some(())).await;
    }

    async fn end(mut self) {
        self.go_on().await;
        self.is_over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("every client was served");
        }
    }
}

/// The file of `settings` with listeners at these addresses, in place of the one that it has.
fn written(relay: &Relay, settings: &Settings, at: &[SocketAddr]) {
    let file = settings.text(&relay.state_dir());
    let one =
        |address: &dyn std::fmt::Display| format!("[[listener]]\naddress = \"{address}\"\ntrust = [\"127.0.0.0/8\"]\n");
    let all: String = at.iter().map(|address| one(address)).collect();
    let first = one(&"127.0.0.1:0");
    assert!(file.contains(&first));
    fs::write(relay.file(), file.replace(&first, &all)).unwrap();
}

async fn move_to(relay: &mut Relay, settings: &Settings, at: &[SocketAddr]) {
    written(relay, settings, at);
    let (status, answer) = relay.post("/api/v1/reload", &Value::Null).await;
    assert_eq!(status, "200", "{answer:#}");
    relay.find_listeners();
    let listeners: Vec<_> = (0..at.len()).map(|n| relay.listener(n)).collect();
    assert_eq!(listeners, at);
}

fn everywhere(port: u16) -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], port))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_moves_to_a_wider_and_to_a_narrower_address_and_nobody_is_turned_away() {
    let sink = sink().await;
    let settings = Settings::new().binding("a", 11, "").pool("active = [\"a\"]").to(sink.addr());
    let mut relay = Relay::start(&settings).await;
    let port = relay.smtp().port();
    let at = |address: IpAddr| SocketAddr::new(address, port);
    let mut session = Session::greeted(relay.smtp()).await;
    session.says("EHLO client.test", "250").await;
    let first = Clients::of(relay.smtp());

    // Two become one that takes what came to both.
    move_to(&mut relay, &settings, &[at(local(1)), at(local(2))]).await;
    let second = Clients::of(at(local(2)));
    move_to(&mut relay, &settings, &[everywhere(port)]).await;
    let third = Clients::of(at(local(3)));
    for clients in [&first, &second, &third] {
        clients.go_on().await;
    }
    // It is the same listener, and its session goes on.
    session.sends("x@acme.example").await;
    wait_for_messages(&sink, 1).await;
    // Back, while clients come, and there again before the sockets that were left are closed.
    third.end().await;
    second.end().await;
    for _ in 0..3 {
        move_to(&mut relay, &settings, &[at(local(1))]).await;
        move_to(&mut relay, &settings, &[everywhere(port)]).await;
    }
    first.end().await;

    // To one of many addresses, at which nobody has listened alone so far.
    let fourth = Clients::of(at(local(4)));
    fourth.go_on().await;
    move_to(&mut relay, &settings, &[at(local(4))]).await;
    fourth.end().await;
    for other in [local(1), local(2), local(5)] {
        let refused = async || TcpStream::connect(at(other)).await.is_err().then_some(());
        wait_until("nobody listens elsewhere any more", refused).await;
    }

    assert!(!relay.log().contains(" ERROR "), "{}", relay.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_cannot_be_made_leaves_the_old_address_served() {
    let sink = sink().await;
    let settings = Settings::new().binding("a", 11, "").pool("active = [\"a\"]").to(sink.addr());
    let mut relay = Relay::start(&settings).await;
    let old = relay.smtp();
    let clients = Clients::of(old);
    let mut session = Session::greeted(old).await;
    session.says("EHLO client.test", "250").await;

    // Another program is at one of the addresses that the wider one has.
    let other = TcpListener::bind(SocketAddr::new(local(7), old.port())).unwrap();
    let wide = everywhere(old.port());
    let free = SocketAddr::new(local(8), 0);
    for body in [json!({ "dry_run": true }), Value::Null] {
        written(&relay, &settings.clone().binding("b", 12, ""), &[free, wide]);
        let (status, answer) = relay.post("/api/v1/reload", &body).await;
        let why = text(&answer, "/detail");
        assert!(status == "409" && why.contains(&wide.to_string()), "{status} {why}");
        clients.go_on().await;
    }
    let bindings = relay.status().await["bindings"].as_array().map(Vec::len);
    assert_eq!(bindings, Some(1), "nothing of the file is in force");
    // Two that cannot stand side by side at the next start do not do so now.
    written(&relay, &settings, &[old, wide]);
    let (status, answer) = relay.post("/api/v1/reload", &Value::Null).await;
    assert!(status == "409", "{status} {answer:#}");

    clients.go_on().await;
    session.sends("x@acme.example").await;
    wait_for_messages(&sink, 1).await;
    drop(other);
    move_to(&mut relay, &settings, &[wide]).await;
    clients.end().await;
    session.sends("x@acme.example").await;
    wait_for_messages(&sink, 2).await;
}
