//! (shell) One POST to one target.
//!
//! Redirects are not followed (a signature is for the URL that was configured), proxies of the environment are not used,
//! an answer is read only as far as an error's first words. No error says a URL, and of what a webhook answers nothing is
//! shown: it may quote the key in its URL.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Certificate, Client, RequestBuilder, Url};

use super::book::Job;
use super::outbox::Outcome;
use super::payload::{self, Origin};
use crate::clock::Wall;
use crate::config::{self, Credentials, SecretUrl};
use crate::outcome::template::visible;

/// Octets of a file that holds a secret.
const SECRET_MAX: u64 = 64 << 10;
/// Octets of an answer that are read.
const ANSWER_MAX: usize = 300;

/// Someone who is told.
pub(super) struct Target {
    name: String,
    url: SecretUrl,
    credentials: Credentials,
    /// Of webhooks.
    secret_file: Option<std::path::PathBuf>,
    ca_file: Option<std::path::PathBuf>,
    /// What the file of authorities looked like when this was set up.
    ca_mark: Option<(u64, i64, i64)>,
    /// Made at the first push: what is wrong with a file is an error of that push, and may be mended while running.
    client: tokio::sync::OnceCell<Client>,
    timeout: Duration,
}

impl Target {
    /// All of them, numbered as in [`super::book::Book`].
    pub(super) fn all(rules: &config::Alerts) -> Vec<Self> {
        let managers = rules.alertmanagers.iter().map(|manager| Self {
            name: manager.name.clone(),
            url: manager.url.clone(),
            credentials: manager.credentials.clone(),
            secret_file: None,
            ca_file: manager.ca_file.clone(),
            ca_mark: mark(manager.ca_file.as_deref()),
            client: tokio::sync::OnceCell::new(),
            timeout: rules.timeout,
        });
        let hooks = rules.webhooks.iter().map(|hook| Self {
            name: hook.name.clone(),
            url: hook.url.clone(),
            credentials: hook.bearer_file.clone().map_or(Credentials::None, Credentials::Bearer),
            secret_file: hook.secret_file.clone(),
            ca_file: hook.ca_file.clone(),
            ca_mark: mark(hook.ca_file.as_deref()),
            client: tokio::sync::OnceCell::new(),
            timeout: rules.timeout,
        });
        managers.chain(hooks).collect()
    }

    /// Whether it is told in the same way as `other`. (Files with secrets are read at each push.)
    pub(super) fn is_as(&self, other: &Self) -> bool {
        (&self.name, &self.url, &self.credentials) == (&other.name, &other.url, &other.credentials)
            && (&self.secret_file, &self.ca_file) == (&other.secret_file, &other.ca_file)
            && (self.ca_mark, self.timeout) == (other.ca_mark, other.timeout)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Sends `job`; how it went, and in words what went wrong.
    pub(super) async fn push(
        &self,
        job: &Job,
        origin: &Origin,
        rules: &config::Alerts,
        now: Wall,
    ) -> (Outcome, Option<String>) {
        let request = match self.request(job, origin, rules, now).await {
            Ok(request) => request,
            Err(why) => return (Outcome::Unready, Some(why)),
        };
        match request.send().await {
            Err(error) => (Outcome::Failed, Some(words(&error.without_url()))),
            Ok(answer) => {
                let retry_after = answer.headers().get(RETRY_AFTER).and_then(|value| retry_after(value, now));
                let status = answer.status();
                let outcome = Outcome::of_status(status.as_u16(), retry_after);
                if outcome == Outcome::Accepted {
                    return (outcome, None);
                }
                let said = match job {
                    Job::States(_) => format!(": {}", beginning(answer).await),
                    Job::Delivery(_) => String::new(),
                };
                (outcome, Some(format!("HTTP status {}{said}", status.as_u16())))
            }
        }
    }

    async fn request(
        &self,
        job: &Job,
        origin: &Origin,
        rules: &config::Alerts,
        now: Wall,
    ) -> Result<RequestBuilder, String> {
        let client = self.client.get_or_try_init(async || self.client()).await?;
        let (url, body) = match job {
            Job::States(push) => {
                let base = self.url.expose().trim_end_matches('/');
                let ends_at = now.plus(rules.resend.saturating_mul(3));
                (format!("{base}/api/v2/alerts"), payload::states(push, origin, ends_at))
            }
            Job::Delivery(delivery) => (self.url.expose().to_owned(), payload::delivery(delivery, origin)),
        };
        let url = Url::parse(&url).map_err(|error| format!("url: {error}"))?;
        let mut request = client.post(url).header(CONTENT_TYPE, "application/json");
        if let Job::Delivery(delivery) = job {
            request = request.header("Remuda-Delivery", &delivery.id);
            if let Some(file) = &self.secret_file {
                let secret = secret(file, "secret_file")?;
                request = request.header("Remuda-Signature", payload::signature(secret.as_bytes(), &body, now));
            }
        }
        Ok(self.authorized(request)?.body(body))
    }

    fn authorized(&self, request: RequestBuilder) -> Result<RequestBuilder, String> {
        match &self.credentials {
            Credentials::None => Ok(request),
            Credentials::Basic { user, password_file } => {
                Ok(request.basic_auth(user, Some(secret(password_file, "password_file")?)))
            }
            Credentials::Bearer(file) => {
                let token = secret(file, "bearer_file")?;
                let value = HeaderValue::from_str(&format!("Bearer {token}"));
                // The error's text would not say the token, but it says nothing else either.
                let mut value = value.map_err(|_| "bearer_file: has characters that no header can carry".to_owned())?;
                value.set_sensitive(true);
                Ok(request.header(AUTHORIZATION, value))
            }
        }
    }

    fn client(&self) -> Result<Client, String> {
        let builder = Client::builder()
            .user_agent(concat!("remuda/", env!("CARGO_PKG_VERSION")))
            .timeout(self.timeout)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        let builder = if let Some(file) = &self.ca_file {
            let wrong = |what: &dyn std::fmt::Display| format!("ca_file {}: {what}", file.display());
            let pem = std::fs::read(file).map_err(|error| wrong(&error))?;
            let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| wrong(&error))?;
            builder.tls_certs_merge(certificates)
        } else if self.url.expose().starts_with("http://") {
            // Nobody is believed where nobody is asked: a system without authorities is no obstacle to plain http.
            builder.tls_certs_only([])
        } else {
            builder
        };
        builder.build().map_err(|error| words(&error.without_url()))
    }
}

/// Tells one state of a file from another.
fn mark(file: Option<&Path>) -> Option<(u64, i64, i64)> {
    let seen = std::fs::metadata(file?).ok()?;
    Some((seen.size(), seen.mtime(), seen.mtime_nsec()))
}

/// The first line of a file.
fn secret(file: &Path, key: &str) -> Result<String, String> {
    use std::io::Read;
    let wrong = |what: &dyn std::fmt::Display| format!("{key} {}: {what}", file.display());
    let mut text = String::new();
    let open = std::fs::File::open(file).map_err(|error| wrong(&error))?;
    open.take(SECRET_MAX).read_to_string(&mut text).map_err(|error| wrong(&error))?;
    let line = text.lines().next().unwrap_or_default().trim();
    if line.is_empty() { Err(wrong(&"is empty")) } else { Ok(line.to_owned()) }
}

/// RFC 9110 §10.2.3: seconds, or a date.
fn retry_after(value: &HeaderValue, now: Wall) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(Wall::from(at.timestamp()).since(now))
}

/// An error with what lies below it.
fn words(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut below = std::error::Error::source(error);
    while let Some(cause) = below {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        below = cause.source();
    }
    visible(text.chars().take(ANSWER_MAX))
}

/// The first words of an answer.
async fn beginning(mut answer: reqwest::Response) -> String {
    let mut read = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        read.extend_from_slice(&chunk[..chunk.len().min(ANSWER_MAX)]);
        if read.len() >= ANSWER_MAX {
            break;
        }
    }
    read.truncate(ANSWER_MAX);
    visible(String::from_utf8_lossy(&read).trim().chars())
}

#[cfg(test)]
#[path = "push_tests.rs"]
mod tests;
