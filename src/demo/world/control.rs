//! Where wishes come in: a socket on loopback, its address in a file of the demo's directory.
//!
//! Whoever can connect to loopback may wish; a wish changes the made-up world and never the relay, which has doors and
//! keys of its own.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::wish::{Answer, LONGEST, Wish, line};

/// The file with the address.
pub const FILE: &str = "control.address";

/// Time for a wish and its answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Wishes at the same time.
const AT_ONCE: usize = 8;

/// Listens, and has `grant` answer each wish until the task is aborted.
pub(super) async fn serve(grant: impl Fn(Wish) -> Answer + Send + Sync + 'static) -> io::Result<(SocketAddr, Task)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let (grant, room) = (Arc::new(grant), Arc::new(Semaphore::new(AT_ONCE)));
    let task = tokio::spawn(async move {
        while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
            let Ok((stream, _)) = listener.accept().await else {
                // Out of descriptors: wait for one instead of spinning.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let grant = Arc::clone(&grant);
            tokio::spawn(async move {
                // Who hangs up or says nothing gets no answer.
                drop(tokio::time::timeout(PATIENCE, converse(stream, &*grant)).await);
                drop(permit);
            });
        }
    });
    Ok((address, Task(task)))
}

/// Ends with its handle.
pub(super) struct Task(tokio::task::JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn converse(stream: TcpStream, grant: &(impl Fn(Wish) -> Answer + ?Sized)) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let text = read(&mut stream).await?;
    let answer = match serde_json::from_str(&text) {
        Ok(wish) => grant(wish),
        Err(error) => Err(format!("that is no wish: {error}")),
    };
    stream.get_mut().write_all(line(&answer).as_bytes()).await
}

async fn read(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut text = String::new();
    stream.take(LONGEST as u64).read_line(&mut text).await?;
    Ok(text)
}

/// Asks the world whose directory this is for something.
pub async fn wish(directory: &Path, wish: &Wish) -> Answer {
    let file = directory.join(FILE);
    let hint = "is a demo running there (remuda demo --stay --dir …)?";
    let address = std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}; {hint}", file.display()))?;
    let address: SocketAddr =
        address.trim().parse().map_err(|_| format!("{} holds no address; {hint}", file.display()))?;
    let asked = async {
        let mut stream = BufReader::new(TcpStream::connect(address).await?);
        stream.get_mut().write_all(line(wish).as_bytes()).await?;
        read(&mut stream).await
    };
    let answer = tokio::time::timeout(PATIENCE, asked).await.map_err(|_| format!("no answer from {address}"))?;
    let answer = answer.map_err(|e| format!("no answer from {address}: {e}; {hint}"))?;
    serde_json::from_str(&answer).map_err(|e| format!("{address} answered something else: {e}"))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wish_is_granted_or_refused_in_words_and_nonsense_does_no_harm() {
        let directory = tempfile::tempdir().unwrap();
        let nobody = wish(directory.path(), &Wish::Show).await.unwrap_err();
        assert!(nobody.contains("is a demo running there"), "{nobody}");

        let grant = |wish| match wish {
            Wish::Rate { per_second } => Ok(format!("{per_second} a second")),
            _ => Err("no\nnot that".into()),
        };
        let (address, task) = serve(grant).await.unwrap();
        std::fs::write(directory.path().join(FILE), format!("{address}\n")).unwrap();
        assert_eq!(wish(directory.path(), &Wish::Rate { per_second: 7 }).await, Ok("7 a second".into()));
        assert_eq!(wish(directory.path(), &Wish::Show).await, Err("no\nnot that".into()));

        let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
        stream.get_mut().write_all(b"{\"\xff\n").await.unwrap();
        assert_eq!(read(&mut stream).await.unwrap(), "", "not even text: hung up on");
        let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
        stream.get_mut().write_all(b"QUIT\r\n").await.unwrap();
        assert!(read(&mut stream).await.unwrap().contains("that is no wish"));
        assert!(wish(directory.path(), &Wish::PauseTraffic).await.is_err_and(|no| no.starts_with("no\n")));

        drop(task);
        std::fs::write(directory.path().join(FILE), "nowhere").unwrap();
        assert!(wish(directory.path(), &Wish::Show).await.unwrap_err().contains("holds no address"));
    }
}
