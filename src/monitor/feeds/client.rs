//! (shell) One request over HTTP with everything bounded: time, size, redirects.
//!
//! A redirect is followed to the same host only, and three times at most: whatever header carries the credentials, it goes
//! nowhere else. Errors name no address, since a key may be in it.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;

use super::answer::{Answer, Failure, Outcome};
use super::oauth::Secret;

/// Redirects that are followed, on the same host.
const MOST_REDIRECTS: usize = 3;

/// What is sent.
#[derive(Clone, Debug)]
pub enum Body {
    /// GET.
    None,
    /// POST of JSON.
    Json(String),
    /// POST of a form, for token endpoints.
    Form(Vec<(&'static str, Secret)>),
}

/// A client for one feed.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    most: u64,
}

impl Client {
    /// `timeout` bounds a request with its whole answer, `most` the octets of its body.
    ///
    /// # Errors
    /// Where TLS cannot be set up.
    pub fn new(timeout: Duration, most: u64) -> Result<Self, Failure> {
        let redirects = Policy::custom(|attempt| {
            let is_same = attempt.previous().first().is_some_and(|first| first.origin() == attempt.url().origin());
            match is_same && attempt.previous().len() <= MOST_REDIRECTS {
                true => attempt.follow(),
                false => attempt.stop(),
            }
        });
        let http = reqwest::Client::builder()
            .timeout(timeout)
            .redirect(redirects)
            .no_proxy()
            .user_agent(concat!("remuda/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|_| Failure::new(Outcome::Unreachable, "TLS cannot be set up; are CA certificates installed?"))?;
        Ok(Self { http, most })
    }

    /// Asks once.
    ///
    /// # Errors
    /// Where no whole answer came; an answer that refuses is an answer.
    pub async fn ask(&self, url: &str, header: Option<(&str, &Secret)>, body: Body) -> Result<Answer, Failure> {
        let url =
            reqwest::Url::parse(url).map_err(|_| Failure::new(Outcome::Refused, "no address that can be asked"))?;
        let mut headers = HeaderMap::new();
        if let Some((name, secret)) = header {
            let odd = |_| Failure::new(Outcome::Credentials, "the secret does not fit into a header");
            let mut value = HeaderValue::from_str(secret.reveal()).map_err(odd)?;
            value.set_sensitive(true);
            let name = name.parse::<HeaderName>();
            headers.insert(name.map_err(|_| Failure::new(Outcome::Credentials, "no name of a header"))?, value);
        }
        let request = match body {
            Body::None => self.http.get(url),
            Body::Json(json) => self.http.post(url).header("Content-Type", "application/json").body(json),
            Body::Form(pairs) => {
                let pairs: Vec<(&str, &str)> = pairs.iter().map(|(key, secret)| (*key, secret.reveal())).collect();
                self.http.post(url).form(&pairs)
            }
        };
        let mut response = request.headers(headers).send().await.map_err(failure)?;
        let text = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let mut answer = Answer {
            status: response.status().as_u16(),
            content_type: text("content-type").unwrap_or_default(),
            retry_after: text("retry-after"),
            body: Vec::new(),
        };
        while let Some(chunk) = response.chunk().await.map_err(failure)? {
            if (answer.body.len() + chunk.len()) as u64 > self.most {
                return Err(Failure::new(Outcome::TooLarge, format!("more than {} octets", self.most)));
            }
            answer.body.extend_from_slice(&chunk);
        }
        Ok(answer)
    }
}

fn failure(error: reqwest::Error) -> Failure {
    let error = error.without_url();
    if error.is_timeout() {
        return Failure::new(Outcome::Timeout, "no whole answer in time");
    }
    // The innermost cause says it: "Connection refused".
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    Failure::new(Outcome::Unreachable, cause.to_string())
}
