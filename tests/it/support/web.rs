//! A web host with a policy of MTA-STS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::authority::Identity;

/// Answers every request over HTTPS with the same.
pub(crate) struct Web {
    pub(crate) address: SocketAddr,
    answer: Arc<Mutex<String>>,
    asked: Arc<AtomicU64>,
    paths: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for Web {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Web {
    pub(crate) async fn start(identity: &Identity) -> Self {
        let listener = TcpListener::bind(super::anywhere()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(identity.server());
        let (answer, asked) = (Arc::<Mutex<String>>::default(), Arc::<AtomicU64>::default());
        let paths = Arc::<Mutex<Vec<String>>>::default();
        let (said, count, seen) = (Arc::clone(&answer), Arc::clone(&asked), Arc::clone(&paths));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let (acceptor, said, seen) = (acceptor.clone(), Arc::clone(&said), Arc::clone(&seen));
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut request = Vec::new();
                    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                        let mut octets = [0; 1024];
                        match stream.read(&mut octets).await {
                            Ok(read @ 1..) => request.extend_from_slice(&octets[..read]),
                            _ => return,
                        }
                    }
                    let line = String::from_utf8_lossy(&request).lines().next().unwrap_or("").to_owned();
                    seen.lock().push(line);
                    let answer = said.lock().clone();
                    let _ = stream.write_all(answer.as_bytes()).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        Self { address, answer, asked, paths, task }
    }

    /// Answers with this from now on.
    pub(crate) fn say(&self, status: &str, kind: &str, body: &str) {
        let length = body.len();
        *self.answer.lock() = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
    }

    /// Answers with a policy of this mode for these hosts.
    pub(crate) fn policy(&self, mode: &str, mx: &[&str]) {
        let mx: String = mx.iter().map(|host| format!("mx: {host}\r\n")).collect();
        let body = format!("version: STSv1\r\nmode: {mode}\r\n{mx}max_age: 604800\r\n");
        self.say("200 OK", "text/plain; charset=utf-8", &body);
    }

    /// Connections so far.
    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    /// First lines of the requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.paths.lock().clone()
    }
}
