//! The domains of the tenants: SPF for each binding they may leave from, DMARC, DKIM keys.
//!
//! A tenant's domains are those by which it or a stream of it is recognised (`sender_domain`, exact names) and its
//! `return_path_domain`; a tenant that is recognised otherwise has domains that nobody knows here, which is said, and
//! `--domain` names them. Where return paths are rewritten, SPF is asked of that domain, since receivers do the same; DMARC
//! and DKIM belong to the sender's own. Domains are asked about side by side, and one whose name servers do not answer is
//! given up for the other bindings.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use tokio::time::Sleep;

use crate::config::{Binding, Config, DomainPattern, Tenant};
use crate::message::{BindingName, Domain};
use crate::monitor::identity::look::Look;
use crate::monitor::reverse::Found;
use crate::monitor::spf::ask::Outcome;
use crate::signing::keys;

use super::records::{self, Dmarc};
use super::report::{BindingReport, DomainReport, Finding, State, TenantReport};
use super::{TOO_LATE, family, gather};

/// Labels of a name that are walked up for a DMARC record (RFC 9989 §4.10).
const WALK: usize = 8;

/// One domain and who uses it.
#[derive(Clone, Default)]
struct Used {
    tenants: BTreeSet<String>,
    /// As the domain of the reverse path, from these bindings.
    from: BTreeSet<BindingName>,
    /// As the domain of the author.
    author: bool,
    /// It signs by these.
    signs: Vec<Signs>,
}

/// A key of the configuration: its selector, and its public half where its file can be read.
#[derive(Clone)]
struct Signs {
    selector: String,
    file: PathBuf,
    public: Option<Vec<u8>>,
}

/// What is asked of one domain.
struct Questions {
    domain: String,
    /// Number of the binding, the binding and its EHLO name: SPF for each.
    from: Vec<(usize, Arc<Binding>, String)>,
    author: bool,
    selectors: Vec<String>,
    signs: Vec<Signs>,
}

/// Also says of which tenants no domain is known. `more` are domains that the configuration does not name.
pub(super) async fn look(
    look: &Arc<Look>,
    config: &Config,
    bindings: &[Arc<Binding>],
    reports: &mut [BindingReport],
    (more, selectors): (&[Domain], &[String]),
    limit: Pin<&mut Sleep>,
) -> (Vec<DomainReport>, Vec<TenantReport>) {
    let (mut used, nameless) = used(config, more);
    for key in &config.dkim {
        let public = keys::load(key).ok().map(|key| key.pair().public().to_vec());
        let signs = Signs { selector: key.selector.clone(), file: key.key.clone(), public };
        used.entry(key.domain.as_str().to_owned()).or_default().signs.push(signs);
    }
    let questions = used.iter().map(|(domain, used)| {
        let from = bindings.iter().enumerate().filter(|(_, binding)| used.from.contains(&binding.name));
        let ehlo = |at: usize| reports.get(at).and_then(|report| report.ehlo.clone()).unwrap_or_else(|| domain.clone());
        let questions = Questions {
            domain: domain.clone(),
            from: from.map(|(at, binding)| (at, Arc::clone(binding), ehlo(at))).collect(),
            author: used.author,
            selectors: selectors.to_vec(),
            signs: used.signs.clone(),
        };
        let look = Arc::clone(look);
        async move { questions.ask(&look).await }
    });
    let questions = questions.collect();
    let answers = gather(questions, limit).await;
    let mut domains = Vec::new();
    for ((domain, used), answer) in used.into_iter().zip(answers) {
        let late = || vec![Finding::new("dmarc", State::Unknown, TOO_LATE)];
        let (spf, findings) = answer.unwrap_or_else(|| {
            let from = bindings.iter().enumerate().filter(|(_, binding)| used.from.contains(&binding.name));
            let spf = from.map(|(at, _)| (at, Finding::new("spf", State::Unknown, TOO_LATE).about(domain.as_str())));
            (spf.collect(), if used.author { late() } else { Vec::new() })
        });
        for (at, finding) in spf {
            if let Some(report) = reports.get_mut(at) {
                report.findings.push(finding);
            }
        }
        if !findings.is_empty() {
            domains.push(DomainReport { domain, tenants: used.tenants.into_iter().collect(), findings });
        }
    }
    // Domains on the command line stand for those of all such tenants.
    let nameless = if more.is_empty() { nameless } else { Vec::new() };
    (domains, nameless.into_iter().map(without_domain).collect())
}

impl Questions {
    /// SPF findings by number of the binding, and those of the domain itself.
    async fn ask(self, look: &Look) -> (Vec<(usize, Finding)>, Vec<Finding>) {
        let (domain, mut spfs, mut unanswered) = (self.domain.as_str(), Vec::new(), false);
        for (at, binding, ehlo) in &self.from {
            // Who did not answer about one binding makes the others wait for as long.
            let finding = if unanswered {
                Finding::new("spf", State::Unknown, "not asked: nobody answered for another binding").about(domain)
            } else {
                let answer = look.spf(domain, binding.public_address, ehlo).await;
                unanswered = answer.outcome == Outcome::TempError;
                spf(domain, binding, answer.outcome, answer.words())
            };
            spfs.push((*at, finding));
        }
        let mut findings = Vec::new();
        if self.author {
            findings.push(dmarc(look, domain).await);
            let own = |selector: &&String| !self.signs.iter().any(|signs| signs.selector == **selector);
            for selector in self.selectors.iter().filter(own) {
                let silent = findings.iter().any(|f| f.state == State::Unknown && f.detail.ends_with("timeout"));
                findings.push(match silent {
                    true => Finding::new("dkim", State::Unknown, "not asked: the domain's name servers are silent")
                        .about(format!("{selector}._domainkey")),
                    false => dkim(look, domain, selector, None).await,
                });
            }
        }
        for signs in &self.signs {
            findings.push(dkim(look, domain, &signs.selector, Some(signs)).await);
        }
        (spfs, findings)
    }
}

impl Signs {
    /// Whether what is published is certainly not its public half.
    fn is_other(&self, published: &[u8]) -> bool {
        // An RSA key is published with or without a wrapping in front.
        self.public.as_deref().is_some_and(|public| !published.ends_with(public))
    }
}

fn without_domain((tenant, returns_as): Nameless) -> TenantReport {
    let seen = match returns_as {
        Some(domain) => {
            format!("its senders' domains are not in the configuration; only SPF of {domain} was looked at")
        }
        None => "its senders' domains are not in the configuration; SPF, DKIM and DMARC were not looked at".to_owned(),
    };
    let finding = Finding::new("domains", State::Unknown, seen).remedy("name one or more with --domain");
    TenantReport { tenant, findings: vec![finding] }
}

/// A tenant of which no sender's domain is known, and the domain of its return paths.
type Nameless = (String, Option<String>);

/// The domains of the tenants, and the tenants of which none is known.
fn used(config: &Config, more: &[Domain]) -> (BTreeMap<String, Used>, Vec<Nameless>) {
    let (mut domains, mut nameless): (BTreeMap<String, Used>, _) = (BTreeMap::new(), Vec::new());
    let mut given = Used { author: true, ..Used::default() };
    for tenant in &config.tenants {
        let rules = tenant.streams.iter().filter_map(|rule| rule.sender_domain.as_ref());
        let patterns = tenant.matches.sender_domain.iter().chain(rules);
        let own: BTreeSet<&str> = patterns
            .filter_map(|pattern| if let DomainPattern::Exact(domain) = pattern { Some(domain.as_str()) } else { None })
            .collect();
        let rewritten = tenant.sends_as(config).map(Domain::as_str);
        if own.is_empty() {
            nameless.push((tenant.name.to_string(), rewritten.map(ToOwned::to_owned)));
            given.tenants.insert(tenant.name.to_string());
            if rewritten.is_none() {
                given.from.extend(leaves_from(config, tenant));
            }
        }
        for domain in own.iter().copied().chain(rewritten) {
            let used = domains.entry(domain.to_owned()).or_default();
            used.tenants.insert(tenant.name.to_string());
            used.author |= own.contains(domain);
            if rewritten.is_none_or(|rewritten| rewritten == domain) {
                used.from.extend(leaves_from(config, tenant));
            }
        }
    }
    if nameless.is_empty() {
        given.from.extend(config.bindings.iter().map(|binding| binding.name.clone()));
    }
    for domain in more {
        let used = domains.entry(domain.as_str().to_owned()).or_default();
        used.tenants.extend(given.tenants.iter().cloned());
        used.from.extend(given.from.iter().cloned());
        used.author = true;
    }
    (domains, nameless)
}

/// Bindings of all pools a tenant's mail may go to, backups included.
fn leaves_from(config: &Config, tenant: &Tenant) -> BTreeSet<BindingName> {
    let split = tenant.split.values().flatten().map(|(pool, _)| pool);
    let pools: BTreeSet<_> = tenant.pools.values().chain(split).collect();
    let members =
        config.pools.iter().filter(|pool| pools.contains(&pool.name)).flat_map(|pool| pool.tiers.iter().flatten());
    members.map(|member| member.binding.clone()).collect()
}

fn spf(domain: &str, binding: &Binding, outcome: Outcome, reason: Option<String>) -> Finding {
    let state = match outcome {
        Outcome::Pass => State::Good,
        Outcome::Fail | Outcome::PermError => State::Fault,
        Outcome::SoftFail | Outcome::Neutral | Outcome::None => State::Warning,
        Outcome::TempError => State::Unknown,
    };
    let detail = match reason {
        Some(reason) => format!("{}: {reason}", outcome.as_str()),
        None => outcome.as_str().to_owned(),
    };
    let address = binding.public_address.to_canonical();
    let mechanism = format!("ip{}:{address}", family(address));
    let remedy = match outcome {
        Outcome::None => format!("publish TXT \"v=spf1 {mechanism} ~all\" at {domain}"),
        Outcome::PermError => format!("mend the SPF record of {domain}: one record, at most ten look-ups, no mistake"),
        Outcome::TempError => "ask again; if it stays, see the domain's name servers".to_owned(),
        _ => format!("add {mechanism} to the SPF record of {domain}"),
    };
    Finding::new("spf", state, detail).about(domain).remedy(remedy)
}

async fn dmarc(look: &Look, domain: &str) -> Finding {
    let absent = || {
        Finding::new("dmarc", State::Warning, "there is no DMARC record").remedy(format!(
            "publish TXT \"v=DMARC1; p=none; rua=mailto:…\" at _dmarc.{domain}: large receivers ask for it"
        ))
    };
    let mut labels: Vec<&str> = domain.split('.').collect();
    for step in 0..WALK {
        let at = labels.join(".");
        let name = format!("_dmarc.{at}");
        match look.texts(&name).await {
            Found::Failed(why) => return Finding::new("dmarc", State::Unknown, format!("{name}: {why}")),
            Found::Absent => {}
            Found::Records(texts) => match records::dmarc(&texts) {
                Dmarc::Absent => {}
                Dmarc::Many => {
                    return Finding::new("dmarc", State::Fault, format!("{name} has more than one DMARC record"))
                        .remedy("keep one: receivers ignore all where there are several");
                }
                Dmarc::Wrong(what) => {
                    return Finding::new("dmarc", State::Fault, format!("{name}: {what}"))
                        .remedy("write \"v=DMARC1; p=none\", p=quarantine or p=reject");
                }
                Dmarc::Policy { own, below } => {
                    let policy = if step == 0 { own } else { below };
                    let from = if step == 0 { String::new() } else { format!(", from {name}") };
                    return Finding::good("dmarc", format!("policy {policy}{from}"));
                }
            },
        }
        // The top level has no policy for others.
        if labels.len() <= 2 {
            break;
        }
        labels.remove(0);
    }
    absent()
}

/// `signs` is the key of the configuration whose record it should be.
async fn dkim(look: &Look, domain: &str, selector: &str, signs: Option<&Signs>) -> Finding {
    let name = format!("{selector}._domainkey.{domain}");
    let about = format!("{selector}._domainkey");
    let finding = match look.texts(&name).await {
        Found::Failed(why) => Finding::new("dkim", State::Unknown, why),
        Found::Absent => Finding::new("dkim", State::Fault, "there is no key")
            .remedy(format!("publish the public key as TXT at {name}, or sign with a selector that has one")),
        Found::Records(texts) => match records::dkim(&texts) {
            Ok(key) if signs.is_some_and(|signs| signs.is_other(&key.octets)) => {
                let file = signs.map(|signs| signs.file.display().to_string()).unwrap_or_default();
                Finding::new("dkim", State::Fault, format!("{key}, but another one than in {file}: signatures fail"))
                    .remedy(format!("publish what remuda dkim record {domain} {selector} {file} prints"))
            }
            Ok(key) if key.testing => Finding::new("dkim", State::Warning, format!("{key}, marked as a test (t=y)"))
                .remedy("take t=y out: receivers may treat the mail as unsigned"),
            Ok(key) => Finding::good("dkim", key.to_string()),
            Err(what) => Finding::new("dkim", State::Fault, what)
                .remedy(format!("publish an RSA key of 2048 bit (1024 at least) or an Ed25519 key at {name}")),
        },
    };
    finding.about(about)
}
