//! One evaluation of SPF (RFC 7208) for a domain, an address and an EHLO name.
//!
//! mail-auth evaluates; the questions go to our own name servers (those of `[monitor]`, else of `[dns]`, else the
//! system's), never through a hosts file or a search list. Before it evaluates, the records are counted here: it takes the
//! first record that can be read, while more than one is a permanent error (§4.5), and so is one that cannot be read
//! (§4.6) or names a network that is none. In included records these mistakes are not seen. A limit on look-ups without
//! an answer (§4.6.4 recommends two) is not applied: receivers that do are stricter than this.
//!
//! Answers are kept for at most [`KEPT`], so that a domain's includes are fetched once for fifty bindings and not fifty
//! times; [`Asker::forget`] drops them, and the next evaluation sees what DNS says now. What is the same for all addresses
//! is found out once ([`Asker::open`]): a domain whose name servers are dead costs one time-out and not fifty.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::Resolver;
use hickory_resolver::config::ResolverConfig;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::RData;
use hickory_resolver::system_conf;
use mail_auth::common::parse::TxtRecordParser as _;
use mail_auth::spf::Spf;
use mail_auth::spf::verify::SpfParameters;
use mail_auth::{MessageAuthenticator, SpfResult};

use super::super::dns::{self, SetupError};
pub use super::outcome::{Answer, Outcome, Reason};
use crate::config::Config;
use crate::delivery::mx::built;

/// Time for a whole evaluation. RFC 7208 §4.6.4 asks for at least 20 s, after which it is a temporary error; the library
/// answers with a permanent one from 20 s on, which would be taken for proof. So it is never given that long.
pub const PATIENCE: Duration = Duration::from_secs(19);

/// Name servers asked.
const SERVERS_MAX: usize = 3;

/// How long an answer may be used again.
const KEPT: Duration = Duration::from_secs(60);

/// Answers kept at most.
const KEPT_MAX: u64 = 1_024;

/// Characters of a record or an explanation that are quoted.
const QUOTED_MAX: usize = 300;

/// A domain's one record, as far as it can be judged without an address.
pub struct Opened {
    domain: String,
    shown: String,
}

/// Asks our name servers.
pub struct Asker {
    authenticator: MessageAuthenticator,
    patience: Duration,
}

impl Asker {
    /// An asker over the servers of `[monitor]`, else of `[dns]`, else the system's. Needs a tokio runtime.
    ///
    /// # Errors
    /// The system's name servers cannot be read, or the resolver cannot be set up.
    pub fn new(config: &Config) -> Result<Self, SetupError> {
        let servers = match config.monitor.servers.is_empty() {
            true => &config.dns.servers,
            false => &config.monitor.servers,
        };
        Self::over(servers, config.monitor.timeout, PATIENCE)
    }

    fn over(servers: &[SocketAddr], timeout: Duration, patience: Duration) -> Result<Self, SetupError> {
        let failed = |why: String| SetupError { what: "SPF".to_owned(), why };
        let mut servers = if servers.is_empty() {
            let (system, _) = system_conf::read_system_conf()
                .map_err(|e| failed(format!("no servers are configured and the system's cannot be read: {e}")))?;
            system.name_servers().to_vec()
        } else {
            servers.iter().map(|server| dns::name_server(*server)).collect()
        };
        servers.truncate(SERVERS_MAX);
        let mut options = dns::options(timeout, servers.len());
        // One resolver holds them all here, and after a silent one goes on to the next with a repetition only.
        options.attempts = options.attempts.max(servers.len().saturating_sub(1));
        options.cache_size = KEPT_MAX;
        (options.positive_max_ttl, options.negative_max_ttl) = (Some(KEPT), Some(KEPT));
        let config = ResolverConfig::from_name_servers(servers);
        let mut builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        let resolver = built(builder).map_err(|e| failed(e.to_string()))?;
        Ok(Self { authenticator: MessageAuthenticator(resolver), patience })
    }

    /// Drops all answers that are kept.
    pub fn forget(&self) {
        self.authenticator.resolver().clear_cache();
    }

    /// Whether `address`, greeting as `ehlo`, may send mail from `postmaster@domain` (the local part matters to macros
    /// only). Takes at most twice [`PATIENCE`]; what is not known by then is [`Outcome::TempError`].
    pub async fn verify(&self, domain: &str, address: IpAddr, ehlo: &str) -> Answer {
        match self.open(domain).await {
            Ok(opened) => self.judge(&opened, address, ehlo).await,
            Err(answer) => answer,
        }
    }

    /// Fetches the domain's record. An error is the answer for every address. Takes at most [`PATIENCE`].
    pub(super) async fn open(&self, domain: &str) -> Result<Opened, Answer> {
        let late = |_| Err(Answer::without_record(Outcome::TempError, Reason::Slow));
        let record = tokio::time::timeout(self.patience, self.record(domain)).await.unwrap_or_else(late)?;
        let shown = quoted(&record);
        if Spf::parse(&record).is_err() || !has_good_addresses(&record) {
            let (outcome, reason) = (Outcome::PermError, Some(Reason::Syntax));
            return Err(Answer { outcome, reason, said: None, record: Some(shown) });
        }
        Ok(Opened { domain: domain.to_owned(), shown })
    }

    /// What the record says of one address. Takes at most [`PATIENCE`].
    pub(super) async fn judge(&self, opened: &Opened, address: IpAddr, ehlo: &str) -> Answer {
        let sender = format!("postmaster@{}", opened.domain);
        let asked = SpfParameters::verify_mail_from(address, ehlo, ehlo, &sender);
        let record = Some(opened.shown.clone());
        let Ok(output) = tokio::time::timeout(self.patience, self.authenticator.verify_spf(asked)).await else {
            return Answer { outcome: Outcome::TempError, reason: Some(Reason::Slow), said: None, record };
        };
        let (outcome, reason) = match output.result() {
            SpfResult::Pass => (Outcome::Pass, None),
            SpfResult::Fail => (Outcome::Fail, Some(Reason::NotAllowed)),
            SpfResult::SoftFail => (Outcome::SoftFail, Some(Reason::Soft)),
            SpfResult::Neutral => (Outcome::Neutral, Some(Reason::Silent)),
            SpfResult::TempError => (Outcome::TempError, Some(Reason::Elsewhere)),
            SpfResult::PermError => (Outcome::PermError, Some(Reason::Include)),
            // There is a record that can be read: it has gone since.
            SpfResult::None => (Outcome::TempError, Some(Reason::Changed)),
        };
        let said = output.explanation().filter(|_| outcome == Outcome::Fail).map(|said| quoted(said.as_bytes()));
        Answer { outcome, reason, said, record }
    }

    /// The one record of the domain (§4.4, §4.5).
    async fn record(&self, domain: &str) -> Result<Vec<u8>, Answer> {
        let name = format!("{}.", domain.trim_end_matches('.'));
        let found = match self.authenticator.resolver().txt_lookup(name).await {
            Ok(found) => found,
            Err(error) => return Err(unanswered(&error)),
        };
        let mut records = found.answers().iter().filter_map(|record| match &record.data {
            RData::TXT(txt) => Some(txt.txt_data.concat()).filter(|text| is_spf(text)),
            _ => None,
        });
        let Some(record) = records.next() else {
            return Err(Answer::without_record(Outcome::None, Reason::NoRecord));
        };
        match records.count() {
            0 => Ok(record),
            more => {
                let reason = Some(Reason::Several(u16::try_from(more + 1).unwrap_or(u16::MAX)));
                Err(Answer { outcome: Outcome::PermError, reason, said: None, record: Some(quoted(&record)) })
            }
        }
    }
}

/// Whether a TXT record is one of SPF's (§4.5): the version alone, or followed by a space.
fn is_spf(text: &[u8]) -> bool {
    let (version, rest) = text.split_at(text.len().min(6));
    version.eq_ignore_ascii_case(b"v=spf1") && rest.first().is_none_or(|c| *c == b' ')
}

/// Whether all networks of a record are such (§5.6): the library takes the last octet of `192.0.2.300` for 44.
fn has_good_addresses(record: &[u8]) -> bool {
    let text = String::from_utf8_lossy(record).to_ascii_lowercase();
    let mut terms = text.split_ascii_whitespace().map(|term| term.trim_start_matches(['+', '-', '~', '?']));
    terms.all(|term| {
        let (network, most) = match (term.strip_prefix("ip4:"), term.strip_prefix("ip6:")) {
            (Some(network), _) => (network, 32),
            (_, Some(network)) => (network, 128),
            _ => return true,
        };
        let (address, length) = network.split_once('/').unwrap_or((network, "0"));
        let is_address = address.parse().is_ok_and(|address: IpAddr| address.is_ipv4() == (most == 32));
        is_address && length.parse().is_ok_and(|length: u8| length <= most)
    })
}

fn unanswered(error: &NetError) -> Answer {
    let code = match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain => return Answer::without_record(Outcome::None, Reason::NoDomain),
            ResponseCode::NoError => return Answer::without_record(Outcome::None, Reason::NoRecord),
            code => code,
        },
        NetError::Dns(DnsError::ResponseCode(code)) => *code,
        NetError::Timeout => return Answer::without_record(Outcome::TempError, Reason::Unanswered),
        other => return Answer::without_record(Outcome::TempError, Reason::Failed(other.as_metrics_label())),
    };
    Answer::without_record(Outcome::TempError, Reason::Code(code_word(code)))
}

fn code_word(code: ResponseCode) -> &'static str {
    match code {
        ResponseCode::ServFail => "SERVFAIL",
        ResponseCode::Refused => "REFUSED",
        _ => "with an error",
    }
}

/// A stranger's text, fit for logs and terminals.
fn quoted(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.chars().take(QUOTED_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::zone::{Mood, Zone};

    async fn zone() -> (Zone, Asker) {
        let zone = Zone::start("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let asker = Asker::over(&[zone.addr()], Duration::from_millis(400), Duration::from_secs(3)).unwrap();
        (zone, asker)
    }

    #[tokio::test]
    async fn every_result_of_the_standard_is_told_apart() {
        let (zone, asker) = zone().await;
        zone.a("mx.example.org", "192.0.2.9".parse().unwrap());
        zone.mx("example.org", 10, "mx.example.org").unwrap();
        zone.mx("mxs.example.org", 10, "mx.example.org").unwrap();
        for (name, text) in [
            ("plain", "v=spf1 ip4:192.0.2.1 -all"),
            ("soft", "v=spf1 ip4:192.0.2.1 ~all"),
            ("open", "v=spf1 ip4:192.0.2.1 ?all"),
            ("mute", "v=spf1 ip4:192.0.2.1"),
            ("upper", "V=SPF1 IP4:192.0.2.0/24 -ALL"),
            ("include", "v=spf1 include:plain.example.org -all"),
            ("redirect", "v=spf1 redirect=plain.example.org"),
            ("dangling", "v=spf1 include:nowhere.example.org -all"),
            ("broken", "v=spf1 ip4:192.0.2.300 -all"),
            ("wide", "v=spf1 ip4:192.0.2.0/33 -all"),
            ("mixed", "v=spf1 ip4:2001:db8::1 -all"),
            ("loop", "v=spf1 include:loop.example.org -all"),
            ("mxs", "v=spf1 mx -all"),
            ("six", "v=spf1 ip6:2001:db8::/32 -all"),
            ("macro", "v=spf1 exists:%{ir}.ok.%{d2} -all"),
            ("ehlo", "v=spf1 a:%{h} -all"),
            ("other", "google-site-verification=1"),
            ("near", "v=spf10 ip4:192.0.2.1"),
            ("bare", "v=spf1"),
            ("told", "v=spf1 -all exp=why.example.org"),
            ("why", "go away\u{7} %{i}"),
        ] {
            zone.txt(&format!("{name}.example.org"), text);
        }
        zone.txt("two.example.org", "v=spf1 ip4:192.0.2.1 -all");
        zone.txt("two.example.org", "v=spf1 -all");
        zone.txt("behind.example.org", "v=spf1 ip4:192.0.2.300 -all");
        zone.txt("behind.example.org", "something else");
        zone.a("1.2.0.192.ok.example.org", "127.0.0.2".parse().unwrap());
        zone.a("mta1.example.net", "192.0.2.1".parse().unwrap());
        zone.txt("slow.example.org", "v=spf1 include:x.silent.example.org -all");
        zone.mood("silent.example.org", Mood::Silent);
        zone.txt("failing.example.org", "v=spf1 a:x.sick.example.org -all");
        zone.txt("failing2.example.org", "v=spf1 include:x.sick.example.org -all");
        zone.mood("sick.example.org", Mood::Code(ResponseCode::ServFail));
        zone.mood("refusing.example.org", Mood::Code(ResponseCode::Refused));

        use Outcome::*;
        for (domain, address, expected) in [
            ("plain", "192.0.2.1", Pass),
            ("plain", "192.0.2.2", Fail),
            ("plain", "2001:db8::1", Fail),
            ("soft", "192.0.2.2", SoftFail),
            ("open", "192.0.2.2", Neutral),
            ("mute", "192.0.2.2", Neutral),
            ("bare", "192.0.2.2", Neutral),
            ("upper", "192.0.2.77", Pass),
            ("include", "192.0.2.1", Pass),
            ("include", "192.0.2.2", Fail),
            ("redirect", "192.0.2.1", Pass),
            ("dangling", "192.0.2.1", PermError),
            ("broken", "192.0.2.1", PermError),
            ("behind", "192.0.2.1", PermError),
            ("wide", "192.0.2.1", PermError),
            ("mixed", "192.0.2.1", PermError),
            ("two", "192.0.2.1", PermError),
            ("loop", "192.0.2.1", PermError),
            ("mxs", "192.0.2.9", Pass),
            ("mxs", "192.0.2.8", Fail),
            ("six", "2001:db8::77", Pass),
            ("six", "192.0.2.1", Fail),
            ("macro", "192.0.2.1", Pass),
            ("macro", "192.0.2.2", Fail),
            ("ehlo", "192.0.2.1", Pass),
            ("other", "192.0.2.1", None),
            ("near", "192.0.2.1", None),
            ("nowhere", "192.0.2.1", None),
            ("slow", "192.0.2.1", TempError),
            ("failing", "192.0.2.1", TempError),
            ("failing2", "192.0.2.1", TempError),
            ("x.sick", "192.0.2.1", TempError),
            ("x.silent", "192.0.2.1", TempError),
            ("x.refusing", "192.0.2.1", TempError),
        ] {
            let name = format!("{domain}.example.org");
            let answer = asker.verify(&name, address.parse().unwrap(), "mta1.example.net").await;
            assert_eq!(answer.outcome, expected, "{domain} from {address}: {answer:?}");
            assert_eq!(answer.reason.is_none(), expected == Pass, "{answer:?}");
        }
        let told = asker.verify("told.example.org", "192.0.2.1".parse().unwrap(), "mta1.example.net").await;
        assert_eq!(told.words().as_deref(), Some("the domain says: go away  192.0.2.1"));
    }

    /// Says of every name that it includes the one below it, `delay` after it was asked.
    async fn dawdler(delay: Duration) -> SocketAddr {
        use hickory_resolver::proto::op::{Message, OpCode};
        use hickory_resolver::proto::rr::{Record, rdata::TXT};
        let socket = std::sync::Arc::new(tokio::net::UdpSocket::bind(("127.0.0.1", 0)).await.unwrap());
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let question = Message::from_vec(&buffer[..length]).unwrap();
                let query = question.queries[0].clone();
                let mut reply = Message::response(question.metadata.id, OpCode::Query);
                let text = format!("v=spf1 include:x.{} -all", query.name().to_ascii().trim_end_matches('.'));
                let data = RData::TXT(TXT::new(vec![text]));
                reply.add_answer(Record::from_rdata(query.name().clone(), 1, data)).add_query(query);
                let socket = std::sync::Arc::clone(&socket);
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    socket.send_to(&reply.to_vec().unwrap(), from).await.unwrap();
                });
            }
        });
        address
    }

    #[tokio::test]
    async fn what_takes_as_long_as_the_library_allows_is_no_proof() {
        // Nine look-ups of 2.3 s are within ten and beyond 20 s.
        let server = dawdler(Duration::from_millis(2_300)).await;
        let asker = Asker::over(&[server], Duration::from_secs(10), PATIENCE).unwrap();
        let answer = asker.verify("example.org", "192.0.2.1".parse().unwrap(), "mta1.example.net").await;
        assert_eq!((answer.outcome, answer.reason), (Outcome::TempError, Some(Reason::Slow)));
    }

    #[tokio::test]
    async fn a_second_name_server_answers_where_the_first_is_silent() {
        let (zone, _) = zone().await;
        zone.txt("example.org", "v=spf1 include:other.example.org -all");
        zone.txt("other.example.org", "v=spf1 ip4:192.0.2.1 -all");
        let silent = tokio::net::UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
        for servers in [[silent.local_addr().unwrap(), zone.addr()], [zone.addr(), silent.local_addr().unwrap()]] {
            let asker = Asker::over(&servers, Duration::from_millis(800), PATIENCE).unwrap();
            let answer = asker.verify("example.org", "192.0.2.1".parse().unwrap(), "mta1.example.net").await;
            assert_eq!(answer.outcome, Outcome::Pass, "{servers:?}: {answer:?}");
        }
    }

    #[tokio::test]
    async fn a_change_is_seen_once_what_was_kept_is_dropped() {
        let (zone, asker) = zone().await;
        zone.txt("example.org", "v=spf1 ip4:192.0.2.1 -all");
        let verify = || asker.verify("example.org", "192.0.2.2".parse().unwrap(), "mta1.example.net");
        assert_eq!(verify().await.outcome, Outcome::Fail);
        zone.remove("example.org");
        zone.txt("example.org", "v=spf1 ip4:192.0.2.2 -all");
        asker.forget();
        assert_eq!(verify().await.outcome, Outcome::Pass);
    }

    #[tokio::test]
    async fn names_that_are_none_are_answered_and_never_a_panic() {
        let (_zone, asker) = zone().await;
        let long = "a".repeat(300);
        for domain in ["", ".", "..", "[192.0.2.1]", "no-dot", &long, "ex ample.org", "\u{0}", "-.-", "é.example"] {
            let answer = asker.verify(domain, "192.0.2.1".parse().unwrap(), "").await;
            assert!(matches!(answer.outcome, Outcome::None | Outcome::TempError), "{domain:?}: {answer:?}");
        }
    }
}
