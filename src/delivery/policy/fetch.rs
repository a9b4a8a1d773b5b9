//! (shell) Fetches the policy of a domain over HTTPS (RFC 8461 §3.3).
//!
//! Names are looked up by the relay's own resolver, certificates held to the same authorities as those of mail hosts. No
//! redirect is followed, only `200` with `text/plain` counts, and time and size are bounded. Addresses of private networks
//! are not connected to on the word of a stranger's DNS.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy as Redirects;
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use tokio::sync::OnceCell;

use super::sts::text::MAX_OCTETS;
use super::sts::{StsPolicy, Unfetched};
use crate::config::{Delivery, Host, HostPort};
use crate::delivery::mx::{Family, Resolver};
use crate::delivery::tls::client::read_roots;
use crate::delivery::tls::demand::TlsResult;
use crate::message::Domain;

/// For one fetch with everything: RFC 8461 §3.3 thinks of a minute, but mail waits for it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Fetches policies.
#[derive(Clone)]
pub struct Fetcher(Arc<Parts>);

struct Parts {
    resolver: Arc<Resolver>,
    roots: Option<PathBuf>,
    port: u16,
    allow_private: bool,
    /// Made when the first policy is fetched: a host without authorities can send all mail that asks for none.
    http: OnceCell<Result<reqwest::Client, String>>,
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetcher").field("port", &self.0.port).finish_non_exhaustive()
    }
}

impl Fetcher {
    /// Asks as `delivery` says: at its port, with its authorities, and at private addresses only where it allows them.
    pub fn new(resolver: &Arc<Resolver>, delivery: &Delivery) -> Self {
        Self(Arc::new(Parts {
            resolver: Arc::clone(resolver),
            roots: delivery.tls_roots.clone(),
            port: delivery.mta_sts_port,
            allow_private: delivery.allow_private_mx,
            http: OnceCell::new(),
        }))
    }

    /// The policy of `domain`.
    ///
    /// # Errors
    /// Why there is none, in the terms of TLSRPT.
    pub async fn fetch(&self, domain: &Domain) -> Result<StsPolicy, Unfetched> {
        let failed = |detail: &str| Unfetched { result: TlsResult::StsPolicyFetchError, detail: detail.to_owned() };
        let http = self.0.http.get_or_init(|| self.client()).await.as_ref().map_err(|why| failed(why))?;
        let asked = tokio::time::timeout(PATIENCE, ask(http, domain)).await;
        asked.unwrap_or_else(|_| Err(failed("no whole answer in time")))
    }

    async fn client(&self) -> Result<reqwest::Client, String> {
        let roots = self.0.roots.clone();
        let read = tokio::task::spawn_blocking(move || read_roots(roots.as_deref())).await;
        let roots = read.unwrap_or_else(|_| Err("the authorities could not be read".to_owned()))?;
        let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let tls = tls.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
        let tls = tls.with_root_certificates(roots).with_no_client_auth();
        let names = Names(Arc::clone(&self.0));
        let builder = reqwest::Client::builder().tls_backend_preconfigured(tls).dns_resolver(names);
        let builder = builder.redirect(Redirects::none()).no_proxy().https_only(true).timeout(PATIENCE);
        let builder = builder.pool_max_idle_per_host(0).user_agent(concat!("remuda/", env!("CARGO_PKG_VERSION")));
        builder.build().map_err(|error| error.to_string())
    }
}

async fn ask(http: &reqwest::Client, domain: &Domain) -> Result<StsPolicy, Unfetched> {
    let failed = |detail: String| Unfetched { result: TlsResult::StsPolicyFetchError, detail };
    let url = format!("https://mta-sts.{domain}/.well-known/mta-sts.txt");
    let mut response = http.get(url).send().await.map_err(|error| unfetched(&error))?;
    let status = response.status().as_u16();
    if status != 200 {
        return Err(failed(format!("mta-sts.{domain} answered {status}")));
    }
    let kind = response.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or("");
    if !kind.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("text/plain") {
        let detail = format!("mta-sts.{domain} answered with no text/plain");
        return Err(Unfetched { result: TlsResult::StsPolicyInvalid, detail });
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| unfetched(&error))? {
        if body.len() + chunk.len() > MAX_OCTETS {
            let detail = format!("the policy is longer than {MAX_OCTETS} octets");
            return Err(Unfetched { result: TlsResult::StsPolicyInvalid, detail });
        }
        body.extend_from_slice(&chunk);
    }
    StsPolicy::parse(&body).map_err(|detail| Unfetched { result: TlsResult::StsPolicyInvalid, detail })
}

/// Whether it was the certificate, and what the innermost cause says.
fn unfetched(error: &reqwest::Error) -> Unfetched {
    if error.is_timeout() {
        return Unfetched { result: TlsResult::StsPolicyFetchError, detail: "no whole answer in time".to_owned() };
    }
    let mut result = TlsResult::StsPolicyFetchError;
    let mut cause: &(dyn std::error::Error + 'static) = error;
    loop {
        if let Some(rustls::Error::InvalidCertificate(_)) = cause.downcast_ref() {
            result = TlsResult::StsWebpkiInvalid;
        }
        // An io::Error hides what it wraps from `source`.
        let wrapped = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        match wrapped.map(|inner| inner as &(dyn std::error::Error + 'static)).or_else(|| cause.source()) {
            Some(inner) => cause = inner,
            None => return Unfetched { result, detail: cause.to_string().chars().take(200).collect() },
        }
    }
}

/// The relay's resolver as reqwest asks it.
struct Names(Arc<Parts>);

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let parts = Arc::clone(&self.0);
        Box::pin(async move {
            let host: Domain = name.as_str().parse()?;
            let host = HostPort { host: Host::Name(host), port: parts.port };
            let (v4, v6) = tokio::join!(
                parts.resolver.addresses(&host, Family::V4, parts.allow_private),
                parts.resolver.addresses(&host, Family::V6, parts.allow_private)
            );
            let addresses: Vec<SocketAddr> = match (v4, v6) {
                (Err(why), Err(_)) => return Err(why.into()),
                (v4, v6) => v4.into_iter().chain(v6).flatten().collect(),
            };
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}
