//! Asking a running relay: where it is, who asks, and what comes back.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::terminal;

/// Options of every verb that talks to a running relay.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Remote {
    /// HTTP address of the relay (`admin.address`).
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8025", env = "REMUDA_ADMIN", global = true)]
    pub(super) admin: String,
    /// File with the token to ask with; without it `REMUDA_TOKEN` is taken.
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) token_file: Option<PathBuf>,
    /// Print the JSON as it is.
    #[arg(long, global = true)]
    pub(super) json: bool,
}

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

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
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
        runtime.block_on(async {
            let admin = &self.admin;
            let no_answer = |error| format!("no answer from {admin}: {error}; is the relay running, is --admin right?");
            let client = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build();
            let url = reqwest::Url::parse_with_params(&format!("http://{admin}{path}"), query)
                .map_err(|error| format!("{admin:?} is no address: {error}"))?;
            let mut request = client.map_err(no_answer)?.request(method, url);
            if let Some(body) = body {
                request = request.json(body);
            }
            let answer = request.send().await.map_err(no_answer)?;
            let (status, text) = (answer.status(), answer.text().await.map_err(no_answer)?);
            if status.is_success() { Ok(text) } else { Err(terminal::visible(text.trim())) }
        })
    }
}
