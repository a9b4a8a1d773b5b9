//! Asking a running relay: where it is, who asks, and what comes back.
//!
//! On the relay's own machine nothing has to be said: where it listens, whether by TLS and with which certificate stands
//! in its configuration, and whoever may read its state directory finds a token there ([`crate::admin::auth::local`]).

mod pinned;
mod target;

use std::path::PathBuf;
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::target::Target;
use super::terminal;
use crate::admin::audit::UNWRITTEN;
use crate::admin::problem::Problem;

/// What stands for the relay that this machine is configured for.
const HERE: &str = "local";

/// Options of every verb that talks to a running relay.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Remote {
    /// The relay's HTTP side: HOST:PORT or a URL; "local" is the relay whose configuration this machine has, else
    /// 127.0.0.1:8025.
    #[arg(long, value_name = "ADDRESS", default_value = HERE, env = "REMUDA_ADMIN", global = true, help_heading = "Which relay")]
    pub(super) admin: String,
    /// File with the token to ask with; without it `REMUDA_TOKEN` is taken, else the token in the relay's state directory.
    #[arg(long, value_name = "FILE", global = true, help_heading = "Which relay")]
    pub(super) token_file: Option<PathBuf>,
    /// Configuration of the relay, where it says how to reach it; /etc/remuda/remuda.toml if that can be read.
    #[arg(long, value_name = "FILE", env = "REMUDA_CONFIG", global = true, help_heading = "Which relay")]
    pub(super) config: Option<PathBuf>,
    /// Certificate (PEM) that the relay shows, where no authority of the system vouches for it.
    #[arg(long, value_name = "FILE", global = true, help_heading = "Which relay")]
    pub(super) certificate: Option<PathBuf>,
    /// Print the JSON as it is.
    #[arg(long, global = true)]
    pub(super) json: bool,
}

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a stream may say nothing; it says something every fifteen seconds.
const SILENCE: Duration = Duration::from_secs(45);

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// In words, for a terminal.
    pub(super) words: String,
    /// What the relay said, where it said something.
    pub(super) problem: Option<Problem>,
}

impl From<String> for Failure {
    fn from(words: String) -> Self {
        Self { words, problem: None }
    }
}

impl Remote {
    /// Asks; the text of the answer, or in words what went wrong.
    pub(super) fn get(&self, path: &str, query: &[(&str, String)]) -> Result<String, String> {
        self.send(Method::GET, path, query, None::<&()>)
    }

    /// Asks and reads the answer.
    pub(super) fn read<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> Result<T, String> {
        let text = self.get(path, query)?;
        serde_json::from_str(&text).map_err(|error| format!("{} answered something else: {error}", self.admin))
    }

    /// Does something; the text of the answer, or in words what went wrong.
    pub(super) fn post(&self, path: &str, body: &impl Serialize) -> Result<String, String> {
        self.send(Method::POST, path, &[], Some(body))
    }

    /// Any method.
    pub(super) fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        body: Option<&impl Serialize>,
    ) -> Result<String, String> {
        self.exchange(method, path, query, body).map_err(|failure| failure.words)
    }

    /// Any method; what went wrong also as the relay said it.
    pub(super) fn exchange(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        body: Option<&impl Serialize>,
    ) -> Result<String, Failure> {
        runtime()?.block_on(async {
            let target = Target::of(self)?;
            let mut request =
                target.request(&target.client(|client| client.timeout(PATIENCE))?, method, path, query)?;
            if let Some(body) = body {
                request = request.json(body);
            }
            let answer = sent(&target, request).await?;
            if answer.headers().contains_key(UNWRITTEN) {
                eprintln!("remuda: done, but the relay could not write down yet that it was you: see its log");
            }
            answer.text().await.map_err(|error| no_answer(&target, &error))
        })
    }

    /// An answer that goes on and on, read on `runtime`.
    pub(super) async fn stream(&self, path: &str, query: &[(&str, String)]) -> Result<Response, Failure> {
        let target = Target::of(self)?;
        let client = target.client(|client| client.connect_timeout(PATIENCE).read_timeout(SILENCE))?;
        sent(&target, target.request(&client, Method::GET, path, query)?).await
    }
}

/// Where requests are made from.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())
}

fn no_answer(target: &Target, error: &reqwest::Error) -> Failure {
    // What lies below says what it was: refused, not resolved, another certificate.
    let mut causes = vec![error.to_string()];
    let mut below = std::error::Error::source(error);
    while let Some(cause) = below {
        causes.push(cause.to_string());
        below = cause.source();
    }
    let why = terminal::visible(&causes.join(": "));
    Failure::from(format!("no answer from {}: {why}; is the relay running, is --admin right?", target.shown))
}

/// What a relay said, safe to show; a file with mistakes has one on each line.
fn line_by_line(said: &str) -> String {
    said.lines().map(terminal::visible).collect::<Vec<_>>().join("\n")
}

/// The answer, where it is what was asked for.
async fn sent(target: &Target, request: RequestBuilder) -> Result<Response, Failure> {
    let answer = request.send().await.map_err(|error| no_answer(target, &error))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let text = answer.text().await.map_err(|error| no_answer(target, &error))?;
    let problem: Option<Problem> = serde_json::from_str(&text).ok();
    let said = problem.as_ref().map_or(text.trim(), |problem| problem.detail.as_str());
    let mut words = if said.is_empty() { format!("{} answered {status}", target.shown) } else { line_by_line(said) };
    if status == StatusCode::UNAUTHORIZED && !target.has_token() {
        words += &format!("\n{}", target.how_to_get_a_token());
    }
    Err(Failure { words, problem })
}

impl Target {
    /// A client for it.
    fn client(&self, set: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder) -> Result<Client, Failure> {
        let mut builder = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        if let Some(trust) = self.trust()? {
            builder = builder.tls_backend_preconfigured(trust);
        } else if self.base.starts_with("http://") {
            // Nobody is believed where nobody is asked: a system without authorities can look at its own relay.
            builder = builder.tls_certs_only([]);
        }
        set(builder).build().map_err(|error| no_answer(self, &error))
    }

    fn request(
        &self,
        client: &Client,
        method: Method,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<RequestBuilder, Failure> {
        let url = reqwest::Url::parse_with_params(&format!("{}{path}", self.base), query)
            .map_err(|error| Failure::from(format!("{:?} is no address: {error}", self.shown)))?;
        let request = client.request(method, url);
        Ok(match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_relay_says_keeps_its_lines_and_nothing_else_that_moves_a_cursor() {
        assert_eq!(
            line_by_line("the file has mistakes\na: \u{1b}[2J\rb"),
            "the file has mistakes\na: \\u{1b}[2J\\u{d}b"
        );
    }
}
