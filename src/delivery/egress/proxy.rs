//! The header of HAProxy's PROXY protocol, version 2: which source address the far side shall take.
//!
//! The far side has to be told to do so (in HAProxy `source 0.0.0.0 usesrc clientip` and a server `0.0.0.0:0`); it sends no answer, what comes next is the receiver's banner. The port of the source is 0: it is the far kernel's choice.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncWrite, AsyncWriteExt};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, command PROXY.
const VERSION_AND_COMMAND: u8 = 0x21;

/// Sends the header.
pub(super) async fn announce<S: AsyncWrite + Unpin>(
    stream: &mut S,
    source: IpAddr,
    peer: SocketAddr,
) -> io::Result<()> {
    let header = header(source, peer).ok_or(io::ErrorKind::InvalidInput)?;
    stream.write_all(&header).await
}

/// `None` where the two are of different families.
fn header(source: IpAddr, peer: SocketAddr) -> Option<Vec<u8>> {
    let mut out = SIGNATURE.to_vec();
    out.push(VERSION_AND_COMMAND);
    // TCP over IPv4 or IPv6, and the octets that follow.
    match (source, peer.ip()) {
        (IpAddr::V4(source), IpAddr::V4(peer)) => {
            out.extend_from_slice(&[0x11, 0, 12]);
            out.extend_from_slice(&source.octets());
            out.extend_from_slice(&peer.octets());
        }
        (IpAddr::V6(source), IpAddr::V6(peer)) => {
            out.extend_from_slice(&[0x21, 0, 36]);
            out.extend_from_slice(&source.octets());
            out.extend_from_slice(&peer.octets());
        }
        _ => return None,
    }
    out.extend_from_slice(&0_u16.to_be_bytes());
    out.extend_from_slice(&peer.port().to_be_bytes());
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_names_source_and_destination() {
        let made = |source: &str, peer: &str| header(source.parse().expect("source"), peer.parse().expect("peer"));
        let v4 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xcb\0\x71\x05\0\0\0\x19";
        assert_eq!(made("192.0.2.1", "203.0.113.5:25").as_deref(), Some(&v4[..]));
        let v6 = made("2001:db8::1", "[2001:db8::2]:25").expect("one family");
        assert_eq!((v6.len(), &v6[12..16], v6[31], v6[47]), (52, &[0x21, 0x21, 0, 36][..], 1, 2));
        assert_eq!(made("192.0.2.1", "[2001:db8::2]:25"), None);
    }
}
