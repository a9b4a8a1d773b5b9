//! The PROXY protocol: what a balancer says before everything else, so that we know who its client is.
//!
//! Versions 1 (one line of text) and 2 (binary) of HAProxy's specification. [`read`] looks at what has come so far and
//! says what it makes of it: the header, how many octets are missing at least, or that this is none. The shell reads no
//! more than it is told to, so what follows the header — a ClientHello, say — stays where it is.
//!
//! Believed are addresses of TCP over IPv4 and IPv6. What the balancer says of itself (`LOCAL`, its health checks) and what
//! it has no address for (`UNKNOWN`, sockets of Unix) name nobody: the balancer's own address does not stand for such a
//! client, who may be anybody. Everything that follows the
//! addresses in version 2 (TLV) is passed over. A header from whom we do not expect one is never read as one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What version 2 begins with: made so that no protocol of lines takes it for its own.
pub const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Octets of version 2 up to its length.
const FIXED: usize = 16;
/// The shortest line of version 1, which is longer than the signature of version 2.
const SHORTEST: usize = 15;
/// The longest line of version 1, its CRLF included.
const LINE_MAX: usize = 107;
/// Octets behind the fixed part of version 2 that are read: addresses take 36, what balancers add some hundred.
const REST_MAX: usize = 4096;

/// What was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// So many octets more, at least.
    More(usize),
    /// All of it: the client, `None` where none is named.
    Header(Option<SocketAddr>),
    /// No such header, and why.
    Bad(&'static str),
}

/// Reads a header off the beginning of a connection.
pub fn read(octets: &[u8]) -> Read {
    let known = octets.len().min(SIGNATURE.len());
    if octets[..known] == SIGNATURE[..known] && known > 0 {
        return binary(octets);
    }
    let known = octets.len().min(b"PROXY ".len());
    if octets[..known] != b"PROXY "[..known] {
        return Read::Bad("not a header of the PROXY protocol");
    }
    if octets.len() < SHORTEST {
        return Read::More(SHORTEST - octets.len());
    }
    let Some(end) = memchr::memchr(b'\n', octets) else {
        return if octets.len() < LINE_MAX { Read::More(1) } else { Read::Bad("the line is too long") };
    };
    if end + 1 != octets.len() {
        return Read::Bad("octets behind the header");
    }
    match octets[..end].strip_suffix(b"\r").and_then(|line| std::str::from_utf8(line).ok()) {
        Some(line) => text(line),
        None => Read::Bad("the line is no text that ends in CRLF"),
    }
}

/// `PROXY TCP4 192.0.2.7 192.0.2.1 56324 25`
fn text(line: &str) -> Read {
    let mut words = line.split(' ').skip(1);
    let family = words.next();
    if family == Some("UNKNOWN") {
        // What stands behind it is not for us.
        return Read::Header(None);
    }
    let rest: Vec<&str> = words.collect();
    let &[source, target, source_port, target_port] = &rest[..] else {
        return Read::Bad("not as many words as there are");
    };
    let (Some(source_port), Some(_)) = (port(source_port), port(target_port)) else {
        return Read::Bad("a port is none");
    };
    let ip = match family {
        Some("TCP4") => source.parse().ok().zip(target.parse::<Ipv4Addr>().ok()).map(|(ip, _)| IpAddr::V4(ip)),
        Some("TCP6") => source.parse().ok().zip(target.parse::<Ipv6Addr>().ok()).map(|(ip, _)| IpAddr::V6(ip)),
        _ => return Read::Bad("neither TCP4 nor TCP6"),
    };
    ip.map_or(Read::Bad("an address is none"), |ip| Read::Header(Some(SocketAddr::new(ip, source_port))))
}

/// As the specification has it: digits, no zero in front.
fn port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|octet| octet.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain)
}

fn binary(octets: &[u8]) -> Read {
    let Some((fixed, rest)) = octets.split_first_chunk::<FIXED>() else { return Read::More(FIXED - octets.len()) };
    let (version, kind) = (fixed[12], fixed[13]);
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if version >> 4 != 2 {
        return Read::Bad("neither version 1 nor 2");
    }
    if length > REST_MAX {
        return Read::Bad("the header is too long");
    }
    if rest.len() < length {
        return Read::More(length - rest.len());
    }
    if rest.len() > length {
        return Read::Bad("octets behind the header");
    }
    match (version & 0x0f, kind) {
        // LOCAL: whatever follows is to be passed over.
        (0, _) => Read::Header(None),
        (1, 0x11) => match rest.first_chunk::<12>() {
            Some(&[a, b, c, d, _, _, _, _, high, low, ..]) => {
                Read::Header(Some(SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([high, low]))))
            }
            None => Read::Bad("shorter than its addresses"),
        },
        (1, 0x21) => match (rest.first_chunk::<16>(), rest.get(32..34)) {
            (Some(ip), Some(port)) if length >= 36 => {
                let port = u16::from_be_bytes([port[0], port[1]]);
                Read::Header(Some(SocketAddr::new(Ipv6Addr::from(*ip).into(), port)))
            }
            _ => Read::Bad("shorter than its addresses"),
        },
        // No family, or a socket of Unix.
        (1, 0x00 | 0x31) => Read::Header(None),
        (1, _) => Read::Bad("not TCP"),
        _ => Read::Bad("a command there is not"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn v2(command: u8, kind: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).expect("short").to_be_bytes();
        [&SIGNATURE[..], &[0x20 | command, kind], &length, rest].concat()
    }

    fn client(text: &str) -> Read {
        Read::Header(Some(text.parse().expect("an address")))
    }

    #[test]
    fn a_line_names_the_client() {
        for (line, is) in [
            ("PROXY TCP4 192.0.2.7 192.0.2.1 56324 25", client("192.0.2.7:56324")),
            ("PROXY TCP6 2001:db8::7 2001:db8::1 56324 25", client("[2001:db8::7]:56324")),
            ("PROXY UNKNOWN", Read::Header(None)),
            ("PROXY UNKNOWN ffff::1 ffff::2 1 2", Read::Header(None)),
            ("PROXY TCP4 2001:db8::7 2001:db8::1 1 25", Read::Bad("an address is none")),
            ("PROXY TCP4 192.0.2.7 192.0.2 1 25", Read::Bad("an address is none")),
            ("PROXY TCP4 192.0.2.7 192.0.2.1 1 25 9", Read::Bad("not as many words as there are")),
            ("PROXY TCP4  192.0.2.7 192.0.2.1 1 25", Read::Bad("not as many words as there are")),
            ("PROXY TCP4 192.0.2.7 192.0.2.1 65536 25", Read::Bad("a port is none")),
            ("PROXY TCP4 192.0.2.7 192.0.2.1 +1 25", Read::Bad("a port is none")),
            ("PROXY UDP4 192.0.2.7 192.0.2.1 1 25", Read::Bad("neither TCP4 nor TCP6")),
            ("PROXY TCP4 192.0.2.7", Read::Bad("not as many words as there are")),
        ] {
            assert_eq!(read(format!("{line}\r\n").as_bytes()), is, "{line}");
        }
        for (octets, is) in [
            (&b"PROXY TCP4 192.0.2.7 192.0.2.1 1 25\n"[..], Read::Bad("the line is no text that ends in CRLF")),
            (b"EHLO client.example\r\n", Read::Bad("not a header of the PROXY protocol")),
            (b"\x16\x03\x01", Read::Bad("not a header of the PROXY protocol")),
            (b"PROXY UNKNOWN\r\nEHLO x\r\n", Read::Bad("octets behind the header")),
            (&[&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat(), Read::Bad("the line is too long")),
            (b"PRO", Read::More(12)),
            (b"", Read::More(15)),
            (b"PROXY UNKNOWN a", Read::More(1)),
        ] {
            assert_eq!(read(octets), is, "{octets:?}");
        }
    }

    #[test]
    fn a_binary_header_names_the_client_and_what_follows_its_addresses_is_passed_over() {
        let four = [192, 0, 2, 7, 192, 0, 2, 1, 0xdc, 0x04, 0, 25];
        let mut six = [0; 36];
        six[..2].copy_from_slice(&[0x20, 0x01]);
        six[15] = 7;
        six[32..34].copy_from_slice(&[0x10, 0x00]);
        let tlv = [&four[..], &[0x03, 0, 4, 1, 2, 3, 4]].concat();
        for (header, is) in [
            (v2(1, 0x11, &four), client("192.0.2.7:56324")),
            (v2(1, 0x11, &tlv), client("192.0.2.7:56324")),
            (v2(1, 0x21, &six), client("[2001::7]:4096")),
            (v2(0, 0x11, &four), Read::Header(None)),
            (v2(0, 0x00, &[]), Read::Header(None)),
            (v2(1, 0x31, &[0; 216]), Read::Header(None)),
            (v2(1, 0x12, &four), Read::Bad("not TCP")),
            (v2(1, 0x21, &four), Read::Bad("shorter than its addresses")),
            (v2(1, 0x11, &four[..11]), Read::Bad("shorter than its addresses")),
            (v2(2, 0x11, &four), Read::Bad("a command there is not")),
            (v2(1, 0x11, &[0; 5000]), Read::Bad("the header is too long")),
            ([v2(1, 0x11, &four), vec![b'E']].concat(), Read::Bad("octets behind the header")),
        ] {
            assert_eq!(read(&header), is, "{header:?}");
            for n in 1..header.len().min(52) {
                let so_far = read(&header[..n]);
                let is_more = matches!(so_far, Read::More(more) if n + more <= header.len());
                // Of the one that something follows, and of those that are none early on.
                let is_end = so_far == is
                    || matches!(so_far, Read::Header(_)) && matches!(is, Read::Bad("octets behind the header"));
                assert!(is_more || is_end && !matches!(is, Read::Header(_)), "{n} of {header:?}: {so_far:?}");
            }
        }
        let mut other = v2(1, 0x11, &four);
        other[12] = 0x31;
        assert_eq!(read(&other), Read::Bad("neither version 1 nor 2"));
    }

    proptest! {
        #[test]
        fn anything_is_read_to_an_end_and_never_beyond_it(octets in proptest::collection::vec(any::<u8>(), 0..300), kind in 0..3) {
            let start: &[u8] = match kind { 0 => b"", 1 => b"PROXY TCP4 ", _ => SIGNATURE };
            let octets = [start, &octets[..]].concat();
            let mut taken = 0;
            while let Read::More(more) = read(&octets[..taken]) {
                prop_assert!(more > 0 && taken <= FIXED + REST_MAX);
                if taken + more > octets.len() {
                    break;
                }
                taken += more;
            }
        }
    }
}
