//! The client's side of SOCKS5: CONNECT (RFC 1928), with user name and password where there are any (RFC 1929).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::outcome::failure::FailureKind;

const VERSION: u8 = 5;
const NO_LOGIN: u8 = 0;
const PASSWORD: u8 = 2;
/// Octets of a user name or a password (RFC 1929 §2).
const WORD_MAX: usize = 255;

type Refused = (FailureKind, String);

/// Is let in by the proxy. Whatever goes wrong here is between it and us.
pub(super) async fn introduce<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    login: Option<(&str, &str)>,
) -> Result<(), String> {
    let gone = |error: io::Error| format!("the proxy broke off: {error}");
    let method = if login.is_some() { PASSWORD } else { NO_LOGIN };
    send(stream, &[VERSION, 1, method]).await.map_err(gone)?;
    let [version, chosen] = take(stream).await.map_err(gone)?;
    if version != VERSION {
        return Err("the proxy does not speak SOCKS5".to_owned());
    }
    if chosen != method {
        let wants = if login.is_some() { "takes no user name and password" } else { "wants a login" };
        return Err(format!("the proxy {wants}"));
    }
    if let Some((user, password)) = login {
        let said = introduction(user, password)
            .ok_or_else(|| format!("user name and password must have 1 to {WORD_MAX} octets each"))?;
        send(stream, &said).await.map_err(gone)?;
        let [_, status] = take(stream).await.map_err(gone)?;
        if status != 0 {
            return Err("the proxy refuses the login".to_owned());
        }
    }
    Ok(())
}

/// Has the proxy that let us in connect to `peer`. What comes back is the address it says it did that from; unspecified
/// where it does not say.
pub(super) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    peer: SocketAddr,
) -> Result<SocketAddr, Refused> {
    let gone = |error: io::Error| (FailureKind::Bind, format!("the proxy broke off: {error}"));
    send(stream, &request(peer)).await.map_err(gone)?;
    let [version, status, _, kind] = take(stream).await.map_err(gone)?;
    if version != VERSION {
        return Err((FailureKind::Bind, "the proxy does not speak SOCKS5".to_owned()));
    }
    refusal(status).map_or(Ok(()), |(kind, why)| Err((kind, format!("connect to {peer}: {why}"))))?;
    let ip: IpAddr = match kind {
        1 => Ipv4Addr::from(take::<4, _>(stream).await.map_err(gone)?).into(),
        4 => Ipv6Addr::from(take::<16, _>(stream).await.map_err(gone)?).into(),
        // A name (3) says nothing that could be held against the binding; it has to be read to its end.
        3 => {
            let [length] = take(stream).await.map_err(gone)?;
            let mut name = vec![0; usize::from(length)];
            stream.read_exact(&mut name).await.map_err(gone)?;
            Ipv4Addr::UNSPECIFIED.into()
        }
        other => return Err((FailureKind::Bind, format!("the proxy answers with an address of kind {other}"))),
    };
    let port = u16::from_be_bytes(take(stream).await.map_err(gone)?);
    Ok(SocketAddr::new(ip.to_canonical(), port))
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, octets: &[u8]) -> io::Result<()> {
    stream.write_all(octets).await
}

async fn take<const N: usize, S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<[u8; N]> {
    let mut octets = [0; N];
    stream.read_exact(&mut octets).await?;
    Ok(octets)
}

/// RFC 1929 §2; `None` where a word does not fit.
fn introduction(user: &str, password: &str) -> Option<Vec<u8>> {
    let mut out = vec![1];
    for word in [user, password] {
        out.push(u8::try_from(word.len()).ok().filter(|length| *length > 0)?);
        out.extend_from_slice(word.as_bytes());
    }
    Some(out)
}

/// CONNECT (RFC 1928 §4).
fn request(peer: SocketAddr) -> Vec<u8> {
    let mut out = vec![VERSION, 1, 0];
    match peer.ip() {
        IpAddr::V4(ip) => {
            out.push(1);
            out.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(4);
            out.extend_from_slice(&ip.octets());
        }
    }
    out.extend_from_slice(&peer.port().to_be_bytes());
    out
}

/// Whose fault a refusal is (RFC 1928 §6). A general failure (1) may be either's. It is held to be a receiver that could not
/// be reached, for which many proxies have no finer word: one dead receiver must not take a binding out for all the others,
/// while a proxy in trouble only makes mail wait.
fn refusal(status: u8) -> Option<(FailureKind, &'static str)> {
    Some(match status {
        0 => return None,
        1 => (FailureKind::Unreachable, "general failure of the proxy"),
        2 => (FailureKind::Bind, "the proxy does not allow it"),
        3 => (FailureKind::Unreachable, "network unreachable"),
        4 => (FailureKind::Unreachable, "host unreachable"),
        5 => (FailureKind::Refused, "connection refused"),
        6 => (FailureKind::TimedOut, "time to live expired"),
        7 => (FailureKind::Bind, "the proxy makes no connections"),
        8 => (FailureKind::Bind, "the proxy has no addresses of that family"),
        _ => (FailureKind::Bind, "the proxy answers with a code of its own"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A proxy that says `answers`, each after it got as many octets as stand before it.
    async fn asked(peer: &str, login: Option<(&str, &str)>, answers: &[(&[u8], &[u8])]) -> Result<SocketAddr, Refused> {
        let (mut near, mut far) = tokio::io::duplex(1024);
        let answers: Vec<(Vec<u8>, Vec<u8>)> = answers.iter().map(|(a, b)| (a.to_vec(), b.to_vec())).collect();
        let proxy = tokio::spawn(async move {
            for (expected, answer) in answers {
                let mut got = vec![0; expected.len()];
                far.read_exact(&mut got).await.expect("the client goes on");
                assert_eq!(got, expected);
                far.write_all(&answer).await.expect("the client listens");
            }
        });
        let result = match introduce(&mut near, login).await {
            Ok(()) => connect(&mut near, peer.parse().expect("address")).await,
            Err(why) => Err((FailureKind::Bind, why)),
        };
        proxy.await.expect("no surprise at the proxy");
        result
    }

    const V4: &[u8] = b"\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x19";

    #[tokio::test]
    async fn a_connection_is_asked_for_by_address() {
        let hello: (&[u8], &[u8]) = (b"\x05\x01\x00", b"\x05\x00");
        let done = asked("192.0.2.1:25", None, &[hello, (V4, b"\x05\x00\x00\x01\x7f\x00\x00\x05\x10\x00")]).await;
        assert_eq!(done, Ok("127.0.0.5:4096".parse().expect("address")));
        let v6 = b"\x05\x01\x00\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x19";
        let named = b"\x05\x00\x00\x03\x02ab\x00\x01";
        let done = asked("[2001:db8::1]:25", None, &[hello, (v6, named)]).await;
        assert_eq!(done, Ok("0.0.0.0:1".parse().expect("address")));
    }

    #[tokio::test]
    async fn a_login_is_given_where_there_is_one_and_never_repeated_in_words() {
        let hello: (&[u8], &[u8]) = (b"\x05\x01\x02", b"\x05\x02");
        let login = Some(("me", "secret"));
        let said = b"\x01\x02me\x06secret";
        let done = asked("192.0.2.1:25", login, &[hello, (said, b"\x01\x00"), (V4, b"\x05\0\0\x01\0\0\0\0\0\0")]).await;
        assert!(done.expect("let in").ip().is_unspecified());
        let (kind, why) = asked("192.0.2.1:25", login, &[hello, (said, b"\x01\x01")]).await.expect_err("refused");
        assert_eq!(kind, FailureKind::Bind);
        assert!(why.contains("login") && !why.contains("secret"), "{why}");
        for (method, words) in [(b"\x05\xff", "wants a login"), (b"\x04\x00", "SOCKS5")] {
            let (kind, why) =
                asked("192.0.2.1:25", None, &[(b"\x05\x01\x00", method)]).await.expect_err("not that way");
            assert!(kind == FailureKind::Bind && why.contains(words), "{why}");
        }
    }

    #[tokio::test]
    async fn what_the_proxy_says_of_the_receiver_is_the_receivers() {
        for (status, expected) in [
            (1, FailureKind::Unreachable),
            (2, FailureKind::Bind),
            (4, FailureKind::Unreachable),
            (5, FailureKind::Refused),
            (6, FailureKind::TimedOut),
            (8, FailureKind::Bind),
            (99, FailureKind::Bind),
        ] {
            let answer = [5, status, 0, 1];
            let steps: [(&[u8], &[u8]); 2] = [(b"\x05\x01\x00", b"\x05\x00"), (V4, &answer)];
            let (kind, why) = asked("192.0.2.1:25", None, &steps).await.expect_err("refused");
            assert_eq!(kind, expected, "{why}");
        }
    }
}
