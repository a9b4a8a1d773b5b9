//! Bindings whose address is another host's: through SOCKS5 and through a PROXY header, to a receiver that sees the address.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::support::{Relay, Settings, all_accepted, anywhere, local, sink, text, wait_for_messages, wait_until};

/// A proxy on the far host, which stands for one address there.
struct Proxy {
    address: SocketAddr,
    served: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Connects to `peer` from `source` and carries octets both ways until both have ended.
async fn carry(mut client: TcpStream, source: IpAddr, peer: SocketAddr, hello: &[u8]) -> std::io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(source, 0))?;
    let mut far = socket.connect(peer).await?;
    client.write_all(hello).await?;
    copy_bidirectional(&mut client, &mut far).await.map(drop)
}

async fn socks(mut client: TcpStream, source: IpAddr) -> std::io::Result<()> {
    let mut hello = [0; 3];
    client.read_exact(&mut hello).await?;
    client.write_all(&[5, 0]).await?;
    let mut asked = [0; 10];
    client.read_exact(&mut asked).await?;
    assert_eq!(asked[..4], [5, 1, 0, 1], "an address, never a name");
    let ip = IpAddr::from([asked[4], asked[5], asked[6], asked[7]]);
    let peer = SocketAddr::new(ip, u16::from_be_bytes([asked[8], asked[9]]));
    let IpAddr::V4(v4) = source else { unreachable!("IPv4 only") };
    let answer = [&[5, 0, 0, 1][..], &v4.octets(), &[0, 0]].concat();
    carry(client, source, peer, &answer).await
}

async fn proxy_v2(mut client: TcpStream) -> std::io::Result<()> {
    let mut header = [0; 28];
    client.read_exact(&mut header).await?;
    assert_eq!(header[..16], *b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c");
    let source = IpAddr::from([header[16], header[17], header[18], header[19]]);
    let ip = IpAddr::from([header[20], header[21], header[22], header[23]]);
    let peer = SocketAddr::new(ip, u16::from_be_bytes([header[26], header[27]]));
    carry(client, source, peer, b"").await
}

impl Proxy {
    /// SOCKS5 that connects from `source`; PROXY v2 where there is none.
    async fn start(source: Option<IpAddr>) -> Self {
        let listener = TcpListener::bind(anywhere()).await.unwrap();
        let (address, served) = (listener.local_addr().unwrap(), Arc::new(AtomicU64::new(0)));
        let count = Arc::clone(&served);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                match source {
                    Some(source) => drop(tokio::spawn(socks(client, source))),
                    None => drop(tokio::spawn(proxy_v2(client))),
                }
            }
        });
        Self { address, served, task }
    }
}

#[tokio::test]
async fn the_receiver_sees_the_address_on_the_far_host() {
    let sink = sink().await;
    let (one, two) = (Proxy::start(Some(local(41))).await, Proxy::start(None).await);
    let settings = Settings::new()
        .binding("near", 11, "")
        .binding("far1", 41, &format!("via = {{ socks5 = \"{}\" }}", one.address))
        .binding("far2", 42, &format!("via = {{ proxy_v2 = \"{}\" }}", two.address))
        .pool("active = [\"near\", \"far1\", \"far2\"]")
        .to(sink.addr());
    let relay = Relay::start(&settings).await;
    all_accepted(&relay.load(200).run().await);
    wait_for_messages(&sink, 200).await;
    relay.wait_until_empty().await;
    for last in [11, 41, 42] {
        assert!(sink.source(local(last)).messages > 10, "127.0.0.{last} has its share");
    }
    assert_eq!(sink.by_source().len(), 3, "no address but the bindings'");
    let (first, second) = (one.served.load(Ordering::SeqCst), two.served.load(Ordering::SeqCst));
    assert_eq!(first, sink.source(local(41)).connections);
    assert_eq!(second, sink.source(local(42)).connections);
    let messages = |last| sink.source(local(last)).messages;
    assert!(first < messages(41) && second < messages(42), "connections through a proxy are used again");
    let log = relay.log();
    assert!(log.lines().any(|line| line.contains("binding=far1 local=127.0.0.41")), "{log}");
}

#[tokio::test]
async fn a_dead_proxy_is_its_bindings_trouble_and_the_mail_takes_another() {
    let sink = sink().await;
    let dead = {
        let listener = TcpListener::bind(anywhere()).await.unwrap();
        listener.local_addr().unwrap()
    };
    let settings = Settings::new()
        .binding("far", 41, &format!("via = {{ socks5 = \"{dead}\" }}"))
        .binding("near", 11, "")
        .pool("active = [\"far\", \"near\"]")
        .to(sink.addr());
    let relay = Relay::start(&settings).await;
    all_accepted(&relay.load(10).run().await);
    wait_for_messages(&sink, 10).await;
    relay.wait_until_empty().await;
    assert_eq!(sink.source(local(11)).messages, 10);
    let status = wait_until("the binding is out", async || {
        let status = relay.status().await;
        let health = status["bindings"].as_array()?.iter().find(|b| b["name"] == "far")?.clone();
        (health["health"] == "suspended").then_some(health)
    });
    let far = status.await;
    assert_eq!(text(&far, "/reason"), "unbindable", "{far:#}");
    assert!(relay.log().contains("via socks5 127.0.0.1"), "said in so many words");
}
