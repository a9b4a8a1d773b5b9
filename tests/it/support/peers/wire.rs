//! A client that sends exactly the octets it is given, however odd, and in whatever pieces.

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::Letter;
use crate::support::PATIENCE;

/// How the text goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// DATA, in one piece.
    Data,
    /// DATA, so many octets in each write.
    Pieces(usize),
    /// BDAT, so many octets in each chunk.
    Bdat(usize),
}

/// A connection in the clear.
pub(crate) struct Wire(BufReader<TcpStream>);

impl Wire {
    /// Connected, greeted, and EHLO said.
    pub(crate) async fn at(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut wire = Self(BufReader::new(stream));
        wire.expect('2').await.unwrap();
        wire.say("EHLO client.test").await.unwrap();
        wire
    }

    /// A whole transaction; an error is the reply that refused it. RSET after a refusal is the caller's.
    pub(crate) async fn send(&mut self, letter: &Letter, how: How) -> Result<(), String> {
        let line = |verb: &str, path: &str, parameters: &[&str]| {
            [&[&*format!("{verb}:<{path}>")], parameters].concat().join(" ")
        };
        self.say(&line("MAIL FROM", &letter.from, &letter.parameters)).await?;
        for (address, parameters) in &letter.to {
            self.say(&line("RCPT TO", address, parameters)).await?;
        }
        let octets = match how {
            How::Bdat(size) => return self.chunks(&letter.octets, size).await,
            How::Data | How::Pieces(_) => stuffed(&letter.octets),
        };
        self.write(b"DATA\r\n").await;
        self.expect('3').await?;
        let size = if let How::Pieces(size) = how { size } else { octets.len() };
        for piece in octets.chunks(size) {
            self.write(piece).await;
        }
        self.expect('2').await
    }

    async fn chunks(&mut self, octets: &[u8], size: usize) -> Result<(), String> {
        let mut rest = octets;
        loop {
            let (chunk, behind) = rest.split_at(size.min(rest.len()));
            let last = if behind.is_empty() { " LAST" } else { "" };
            self.write(&[format!("BDAT {}{last}\r\n", chunk.len()).as_bytes(), chunk].concat()).await;
            self.expect('2').await?;
            if behind.is_empty() {
                return Ok(());
            }
            rest = behind;
        }
    }

    /// Says a line and wants a reply of 2xx.
    pub(crate) async fn say(&mut self, line: &str) -> Result<(), String> {
        self.write(format!("{line}\r\n").as_bytes()).await;
        self.expect('2').await
    }

    /// Octets as they are.
    pub(crate) async fn write(&mut self, octets: &[u8]) {
        // A peer that has said no may have closed; its reply tells.
        let _ = self.0.get_mut().write_all(octets).await;
    }

    /// Says nothing more.
    pub(crate) async fn shut(&mut self) {
        self.0.get_mut().shutdown().await.unwrap();
    }

    /// The last line of the next reply, if it begins so; else it is the error. Empty at the end of the connection.
    pub(crate) async fn expect(&mut self, digit: char) -> Result<(), String> {
        let reply = self.reply().await;
        if reply.starts_with(digit) { Ok(()) } else { Err(reply) }
    }

    /// The last line of the next reply. Empty at the end of the connection.
    pub(crate) async fn reply(&mut self) -> String {
        loop {
            let mut line = String::new();
            let read = tokio::time::timeout(PATIENCE, self.0.read_line(&mut line)).await.expect("a reply in time");
            if read.is_err() || line.as_bytes().get(3) != Some(&b'-') {
                return line.trim_end().to_owned();
            }
        }
    }
}

/// RFC 5321 §4.5.2, with the final dot. What does not end in CRLF is ended.
fn stuffed(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len() + 16);
    let mut rest = octets;
    while !rest.is_empty() {
        if rest[0] == b'.' && (out.is_empty() || out.ends_with(b"\r\n")) {
            out.push(b'.');
        }
        std::io::BufRead::read_until(&mut rest, b'\n', &mut out).unwrap();
    }
    if !octets.is_empty() && !octets.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}
