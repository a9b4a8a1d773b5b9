//! The policy itself (RFC 8461 §3.2), as it is fetched from `https://mta-sts.DOMAIN/.well-known/mta-sts.txt`.
//!
//! ```text
//! version: STSv1
//! mode: enforce
//! mx: mail.example.org
//! mx: *.example.net
//! max_age: 604800
//! ```

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::message::Domain;

/// Octets of a policy at most (RFC 8461 §3.3).
pub const MAX_OCTETS: usize = 64 << 10;
/// The longest max_age, about a year (RFC 8461 §3.2). A longer one counts as this.
pub const MAX_AGE: Duration = Duration::from_secs(31_557_600);
/// Patterns of a policy at most: more are no policy of mail hosts.
const MX_MAX: usize = 256;

/// What to do with a host that does not hold what the policy promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Give it no mail.
    Enforce,
    /// Give it mail, and report.
    Testing,
    /// There is no policy any more.
    None,
}

impl Mode {
    /// As the policy has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Testing => "testing",
            Self::None => "none",
        }
    }
}

/// A name of hosts: one, or all with one label more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum MxPattern {
    /// This host.
    Host(Domain),
    /// `*.DOMAIN`: hosts with exactly one label before it (RFC 8461 §4.1).
    OneBelow(Domain),
}

impl MxPattern {
    /// Whether `host` (lower case) is meant.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Host(domain) => domain.as_str() == host,
            Self::OneBelow(domain) => {
                host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == domain.as_str())
            }
        }
    }
}

impl fmt::Display for MxPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(domain) => write!(f, "{domain}"),
            Self::OneBelow(domain) => write!(f, "*.{domain}"),
        }
    }
}

impl From<MxPattern> for String {
    fn from(pattern: MxPattern) -> Self {
        pattern.to_string()
    }
}

impl TryFrom<String> for MxPattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (name, is_wild) = text.strip_prefix("*.").map_or((text.as_str(), false), |rest| (rest, true));
        let domain = name.to_ascii_lowercase().parse::<Domain>();
        let domain = domain.ok().filter(|domain| !domain.as_str().starts_with('[') && domain.as_str().is_ascii());
        let domain = domain.ok_or_else(|| format!("mx {text:?} is no name of a host"))?;
        Ok(if is_wild { Self::OneBelow(domain) } else { Self::Host(domain) })
    }
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StsPolicy {
    /// What to do.
    pub mode: Mode,
    /// Hosts that may be given mail; empty only where the mode is none.
    pub mx: Vec<MxPattern>,
    /// How long it holds after it was fetched, in whole seconds.
    pub max_age: Duration,
}

impl StsPolicy {
    /// Reads a policy.
    ///
    /// # Errors
    /// In words, what keeps it from being one.
    pub fn parse(octets: &[u8]) -> Result<Self, String> {
        if octets.len() > MAX_OCTETS {
            return Err(format!("the policy is longer than {MAX_OCTETS} octets"));
        }
        let text = std::str::from_utf8(octets).map_err(|_| "the policy is not UTF-8".to_owned())?;
        let (mut version, mut mode, mut max_age, mut mx) = (None, None, None, Vec::new());
        let mut lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).peekable();
        while let Some(line) = lines.next() {
            // Behind the last line end there is nothing.
            if line.is_empty() && lines.peek().is_none() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| format!("{:?} is no field", shortened(line)))?;
            let value = value.trim_matches([' ', '\t']);
            if value.chars().any(char::is_control) {
                return Err(format!("field {:?} has control characters", shortened(name)));
            }
            // What is given twice counts once, as it was given first (§3.2).
            match name {
                "version" => version = version.or(Some(value)),
                "mode" => mode = mode.or(Some(value)),
                "max_age" => max_age = max_age.or(Some(value)),
                "mx" if mx.len() == MX_MAX => return Err(format!("more than {MX_MAX} mx fields")),
                "mx" => mx.push(MxPattern::try_from(value.to_owned())?),
                _ if is_extension(name, value) => {}
                _ => return Err(format!("{:?} is no field", shortened(line))),
            }
        }
        if version != Some("STSv1") {
            return Err("its version is not STSv1".to_owned());
        }
        let mode = match mode {
            Some("enforce") => Mode::Enforce,
            Some("testing") => Mode::Testing,
            Some("none") => Mode::None,
            Some(other) => return Err(format!("there is no mode {:?}", shortened(other))),
            None => return Err("it has no mode".to_owned()),
        };
        let max_age = seconds(max_age.ok_or("it has no max_age")?)?;
        if mx.is_empty() && mode != Mode::None {
            return Err("it names no mx".to_owned());
        }
        Ok(Self { mode, mx, max_age })
    }

    /// Whether the policy allows `host` (in any case, without final dot).
    pub fn allows(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        self.mx.iter().any(|pattern| pattern.matches(&host))
    }

    /// Its lines, as reports quote them (RFC 8460 §4.4).
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec!["version: STSv1".to_owned(), format!("mode: {}", self.mode.as_str())];
        lines.extend(self.mx.iter().map(|pattern| format!("mx: {pattern}")));
        lines.push(format!("max_age: {}", self.max_age.as_secs()));
        lines
    }
}

fn seconds(value: &str) -> Result<Duration, String> {
    let is_number = (1..=10).contains(&value.len()) && value.bytes().all(|octet| octet.is_ascii_digit());
    let seconds = value.parse::<u64>().ok().filter(|_| is_number);
    let seconds = seconds.ok_or_else(|| format!("max_age {:?} is no number of seconds", shortened(value)))?;
    Ok(Duration::from_secs(seconds).min(MAX_AGE))
}

fn is_extension(name: &str, value: &str) -> bool {
    (1..=32).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"_-.".contains(&octet))
        && !value.is_empty()
}

/// So much of a stranger's text as an error quotes.
fn shortened(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str =
        "version: STSv1\r\nmode: enforce\r\nmx: Mail.example.org\r\nmx: *.example.net\r\nmax_age: 604800\r\n";

    #[test]
    fn a_policy_is_read_whole() {
        let policy = StsPolicy::parse(GOOD.as_bytes()).unwrap();
        assert_eq!((policy.mode, policy.max_age), (Mode::Enforce, Duration::from_secs(604_800)));
        let lines = ["version: STSv1", "mode: enforce", "mx: mail.example.org", "mx: *.example.net", "max_age: 604800"];
        assert_eq!(policy.lines(), lines);
        assert_eq!(StsPolicy::parse(policy.lines().join("\n").as_bytes()), Ok(policy.clone()));
        let json = serde_json::to_string(&policy).unwrap();
        assert_eq!(serde_json::from_str::<StsPolicy>(&json).unwrap(), policy);
        for (host, allowed) in [
            ("mail.example.org", true),
            ("MAIL.EXAMPLE.ORG", true),
            ("mx1.example.net", true),
            ("example.net", false),
            ("a.b.example.net", false),
            (".example.net", false),
            ("xmail.example.org", false),
            ("mail.example.org.evil.test", false),
            ("", false),
        ] {
            assert_eq!(policy.allows(host), allowed, "{host}");
        }
    }

    #[test]
    fn what_is_not_by_the_grammar_is_no_policy() {
        let with = |from: &str, to: &str| GOOD.replace(from, to);
        for (text, outcome) in [
            (with("\r\n", "\n"), ""),
            (GOOD.trim_end().to_owned(), ""),
            (with("mode: enforce", "mode:testing  "), ""),
            (with("max_age: 604800", "max_age: 9999999999"), ""),
            (with("max_age: 604800", "max_age: 604800\r\nnew-field: anything at all"), ""),
            (with("max_age: 604800", "max_age: 604800\r\nmax_age: never"), ""),
            (with("mode: enforce\r\nmx: Mail.example.org\r\nmx: *.example.net", "mode: none"), ""),
            (with("STSv1", "STSv2"), "version"),
            (with("version: STSv1\r\n", ""), "version"),
            (with("enforce", "Enforce"), "no mode"),
            (with("mode: enforce\r\n", ""), "no mode"),
            (with("max_age: 604800\r\n", ""), "no max_age"),
            (with("604800", "-1"), "max_age"),
            (with("604800", "1w"), "max_age"),
            (with("604800", "99999999999"), "max_age"),
            (with("604800", ""), "max_age"),
            (with("mx: Mail.example.org\r\nmx: *.example.net\r\n", ""), "no mx"),
            (with("*.example.net", "*"), "mx"),
            (with("*.example.net", "a.*.net"), "mx"),
            (with("*.example.net", "[192.0.2.1]"), "mx"),
            (with("*.example.net", "b\u{fc}cher.example"), "mx"),
            (with("mode", "Mode "), "no field"),
            (with("\r\nmode", "\r\n\r\nmode"), "no field"),
            (with("enforce", "enforce\u{7}"), "control"),
            ("<html>".to_owned(), "no field"),
            (String::new(), "version"),
            (format!("{GOOD}{}", "x: y\n".repeat(20_000)), "longer"),
            (format!("{GOOD}{}", "mx: a.example\n".repeat(300)), "more than"),
        ] {
            let read = StsPolicy::parse(text.as_bytes());
            match outcome {
                "" => assert!(read.is_ok(), "{read:?} of {text:.200}"),
                why => assert!(read.as_ref().is_err_and(|error| error.contains(why)), "{read:?}, not {why}"),
            }
        }
        let year = with("604800", "9999999999");
        assert_eq!(StsPolicy::parse(year.as_bytes()).unwrap().max_age, MAX_AGE);
        assert!(StsPolicy::parse(b"version: STSv1\nmode: \xff").is_err());
    }

    proptest! {
        #[test]
        fn no_text_brings_the_reader_down(octets in proptest::collection::vec(any::<u8>(), 0..300), cut in 0..100_usize) {
            let mut mixed = GOOD.as_bytes()[..cut.min(GOOD.len())].to_vec();
            mixed.extend(&octets);
            if let Ok(policy) = StsPolicy::parse(&mixed) {
                prop_assert_eq!(StsPolicy::parse(policy.lines().join("\n").as_bytes()), Ok(policy));
            }
        }
    }
}
