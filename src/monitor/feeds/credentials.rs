//! (shell) What is sent to be known: keys from files, tokens from token endpoints.
//!
//! Files are read anew for every use, so a key that was replaced is in force without a restart. A refresh token that
//! rotates is written down before the access token that came with it is used for anything; the exchange runs in a task of
//! its own, which a stop does not cut between the server's answer and our disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use tokio::sync::Mutex;

use super::answer::{Failure, Outcome};
use super::client::{Body, Client};
use super::kept;
use super::oauth::{Google, Granted, KeptToken, Secret, base64url, claim, granted};
use crate::clock::{Clock, Wall};
use crate::config::{Feed, FeedKind};

/// Access tokens are renewed so long before they end.
const MARGIN: u64 = 60;

#[derive(Debug, Default)]
struct Tokens {
    /// In force, until when, and by which of the operator's settings it was got.
    access: Option<(Secret, Wall, u64)>,
    /// One that could not be written down: the only copy there is.
    unsaved: Option<KeptToken>,
    refresh_ends: Option<Wall>,
    /// Which of the operator's secrets was used.
    seed: Option<String>,
}

impl Tokens {
    /// Whatever was said of a token that descends from another secret is over.
    fn descends_from(&mut self, seed: &str) {
        if self.seed.as_deref() != Some(seed) {
            (self.seed, self.refresh_ends) = (Some(seed.to_owned()), None);
        }
    }
}

/// The credentials of one feed.
pub struct Credentials {
    feed: Arc<Feed>,
    token_path: PathBuf,
    clock: Arc<dyn Clock>,
    /// What the files looked like when this was set up.
    marks: Vec<Option<(u64, u64, i64, i64)>>,
    /// Grows with every change of settings or files.
    number: u64,
    /// Shared with those that this one follows: a refresh token that rotates is never used by two at once.
    tokens: Arc<Mutex<Tokens>>,
}

impl Credentials {
    /// Reads nothing yet.
    pub fn new(feed: Arc<Feed>, directory: &Path, clock: Arc<dyn Clock>) -> Self {
        let token_path = directory.join(kept::file_name(&feed.name, "token"));
        let marks = files(&feed).into_iter().map(|(_, path)| kept::mark(path)).collect();
        Self { feed, token_path, clock, marks, number: 0, tokens: Arc::default() }
    }

    /// In the place of `old`, for the same feed: its tokens go on, but for what was got by other settings.
    pub fn after(self, old: &Self) -> Self {
        let number = if self.is_as(old) { old.number } else { old.number + 1 };
        Self { number, tokens: Arc::clone(&old.tokens), ..self }
    }

    /// Whether settings and files are the same as those of `other`.
    pub fn is_as(&self, other: &Self) -> bool {
        let of = |credentials: &Self| (credentials.feed.kind, credentials.feed.auth.clone());
        of(self) == of(other) && self.marks == other.marks
    }

    /// What keeps the operator's secrets from being used, in words without them.
    pub fn troubles(&self) -> Vec<String> {
        let all = files(&self.feed).into_iter();
        all.filter_map(|(key, path)| kept::secret(path, key).err().map(|failure| failure.detail)).collect()
    }

    /// Files that others than their owner can read.
    pub fn exposed(&self) -> Vec<&Path> {
        files(&self.feed).into_iter().map(|(_, path)| path).filter(|path| kept::exposed(path)).collect()
    }

    /// The key in `secret_file`; `None` where none is configured.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn secret(&self) -> Result<Option<Secret>, Failure> {
        self.feed.auth.secret_file.as_deref().map(|path| kept::secret(path, "secret_file")).transpose()
    }

    /// What the refresh token in use descends from (a digest), and when it ends, as its issuer said; nothing before the
    /// first exchange of this run.
    pub async fn refresh(&self) -> (Option<String>, Option<Wall>) {
        let tokens = self.tokens.lock().await;
        (tokens.seed.clone(), tokens.refresh_ends)
    }

    /// An `Authorization` with an access token that holds; a new one where `anew`, or the old one is over.
    ///
    /// # Errors
    /// Where there is none to be had.
    pub async fn bearer(self: &Arc<Self>, client: &Client, anew: bool) -> Result<Secret, Failure> {
        let now = self.clock.now().wall;
        {
            let mut tokens = self.tokens.lock().await;
            // A clock that was set back would make it hold for longer than it does.
            let holds = |until: Wall| now < until && until.since(now) <= Duration::from_secs(24 * 3600);
            match &tokens.access {
                Some((access, until, by)) if !anew && holds(*until) && *by == self.number => {
                    return Ok(in_header(access));
                }
                _ => tokens.access = None,
            }
        }
        let (me, client) = (Arc::clone(self), client.clone());
        let exchange = tokio::spawn(async move { me.exchange(&client).await });
        exchange.await.unwrap_or_else(|_| Err(Failure::new(Outcome::Credentials, "the exchange of tokens went wrong")))
    }

    async fn exchange(&self, client: &Client) -> Result<Secret, Failure> {
        let mut tokens = self.tokens.lock().await;
        let result = match self.feed.kind {
            FeedKind::Snds => self.rotate_microsoft(client, &mut tokens).await?,
            _ => self.google(client, &mut tokens).await?,
        };
        let now = self.clock.now().wall;
        if let Some(seconds) = result.refresh_holds_for {
            tokens.refresh_ends = Some(now.plus(Duration::from_secs(seconds)));
        }
        let until = now.plus(Duration::from_secs(result.holds_for.saturating_sub(MARGIN)));
        tokens.access = Some((result.access.clone(), until, self.number));
        Ok(in_header(&result.access))
    }

    async fn rotate_microsoft(&self, client: &Client, tokens: &mut Tokens) -> Result<Granted, Failure> {
        let auth = &self.feed.auth;
        let path = auth.token_file.as_deref().ok_or_else(|| missing("token_file"))?;
        let first = kept::secret(path, "token_file")?;
        let url = auth.token_url.as_deref().ok_or_else(|| missing("token_url"))?;
        self.rotate(client, url, first, &auth.client_id, None, tokens).await
    }

    async fn google(&self, client: &Client, tokens: &mut Tokens) -> Result<Granted, Failure> {
        let auth = &self.feed.auth;
        let path = auth.credentials_file.as_deref().ok_or_else(|| missing("credentials_file"))?;
        let bad =
            |what: String| Failure::new(Outcome::Credentials, format!("credentials_file {} {what}", path.display()));
        let google = Google::parse(kept::secret(path, "credentials_file")?.reveal()).map_err(bad)?;
        let url = auth.token_url.as_deref().unwrap_or(google.token_url()).to_owned();
        // What a file says is not checked with the configuration.
        if !url.starts_with("https://") && auth.token_url.is_none() && !auth.allow_plain {
            return Err(bad("names a token_uri without TLS".to_owned()));
        }
        match google {
            Google::Service { email, key, key_id, .. } => {
                let now = self.clock.now().wall;
                tokens.descends_from(&kept::digest(email.as_bytes()));
                let claim = claim(&email, key_id.as_deref(), &auth.oauth_scope, &url, now);
                let signed =
                    signed(&claim, &key).ok_or_else(|| bad("has a private_key that cannot sign".to_owned()))?;
                let form = vec![
                    ("grant_type", Secret::new("urn:ietf:params:oauth:grant-type:jwt-bearer")),
                    ("assertion", signed),
                ];
                ask(client, &url, form, self.clock.now().wall).await
            }
            Google::User { client_id, client_secret, refresh_token, .. } => {
                self.rotate(client, &url, refresh_token, &client_id, Some(client_secret), tokens).await
            }
        }
    }

    /// Uses the newest refresh token that descends from `first`, and writes down the one that follows.
    async fn rotate(
        &self,
        client: &Client,
        url: &str,
        first: Secret,
        client_id: &str,
        client_secret: Option<Secret>,
        tokens: &mut Tokens,
    ) -> Result<Granted, Failure> {
        let seed = kept::digest(first.reveal().as_bytes());
        tokens.descends_from(&seed);
        let unreadable = |error: &dyn std::fmt::Display| {
            let what = format!("{} cannot be read: {error}; it holds the refresh token", self.token_path.display());
            Failure::new(Outcome::Credentials, what)
        };
        let kept = kept::state(&self.token_path).map_err(|error| unreadable(&error))?;
        let kept = kept.map(|bytes| serde_json::from_slice::<KeptToken>(&bytes)).transpose();
        let kept = kept.map_err(|_| unreadable(&"no token in it; move it away and write a new token_file"))?;
        let known = tokens.unsaved.clone().or(kept).filter(|token| token.seed == seed);
        let refresh = known.map_or(first, |token| token.refresh_token);
        let mut form = vec![
            ("grant_type", Secret::new("refresh_token")),
            ("client_id", Secret::new(client_id)),
            ("refresh_token", refresh.clone()),
        ];
        if self.feed.kind == FeedKind::Snds {
            form.push(("scope", Secret::new(self.feed.auth.oauth_scope.as_str())));
        }
        form.extend(client_secret.map(|secret| ("client_secret", secret)));
        let granted = ask(client, url, form, self.clock.now().wall).await?;
        if let Some(next) = granted.refresh.clone().filter(|next| *next != refresh) {
            let next = KeptToken { seed, refresh_token: next };
            // Names and texts always serialise.
            let bytes = serde_json::to_vec(&next).unwrap_or_default();
            tokens.unsaved = Some(next);
            kept::write(&self.token_path, &bytes).map_err(|error| {
                let what =
                    format!("the next refresh token cannot be written to {}: {error}", self.token_path.display());
                Failure::new(Outcome::Credentials, what)
            })?;
            tokens.unsaved = None;
        }
        Ok(granted)
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("feed", &self.feed.name).finish_non_exhaustive()
    }
}

/// The files with the operator's secrets, by key.
fn files(feed: &Feed) -> Vec<(&'static str, &Path)> {
    let auth = &feed.auth;
    let all = [
        ("secret_file", &auth.secret_file),
        ("token_file", &auth.token_file),
        ("credentials_file", &auth.credentials_file),
    ];
    all.into_iter().filter_map(|(key, path)| Some((key, path.as_deref()?))).collect()
}

fn missing(key: &str) -> Failure {
    Failure::new(Outcome::Credentials, format!("{key} is not configured"))
}

fn in_header(access: &Secret) -> Secret {
    Secret::new(format!("Bearer {}", access.reveal()))
}

/// Asks a token endpoint. 400 and 401 carry its reason.
async fn ask(client: &Client, url: &str, form: Vec<(&'static str, Secret)>, now: Wall) -> Result<Granted, Failure> {
    let answer = client.ask(url, None, Body::Form(form)).await?;
    let credentials = |what: String| Failure::new(Outcome::Credentials, what);
    match answer.status {
        200..=299 | 400 | 401 => granted(&answer.body).map_err(credentials),
        _ => Err(match answer.document(now) {
            // Nothing of this kind is a document.
            Ok(_) => credentials("the token endpoint answered something else".to_owned()),
            Err(failure) => {
                Failure { detail: format!("the token endpoint {}", failure.detail), is_forbidden: false, ..failure }
            }
        }),
    }
}

/// The claim with its signature (RFC 7518 §3.3).
fn signed(claim: &str, key: &[u8]) -> Option<Secret> {
    let key = RsaKeyPair::from_pkcs8(key).ok()?;
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), claim.as_bytes(), &mut signature).ok()?;
    Some(Secret::new(format!("{claim}.{}", base64url(&signature))))
}
