//! Tokens as texts: what is asked, what is answered, what files hold.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::clock::Wall;

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` to itself.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the request it is needed in and nothing else.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(masked)")
    }
}

/// What a token endpoint gives (RFC 6749 §5.1).
#[derive(Clone, Debug, PartialEq)]
pub struct Granted {
    /// For the requests.
    pub access: Secret,
    /// Seconds it holds; an hour where nothing is said.
    pub holds_for: u64,
    /// The next refresh token, where this one is used up.
    pub refresh: Option<Secret>,
    /// Seconds the refresh token holds, where that is said.
    pub refresh_holds_for: Option<u64>,
}

/// Reads the answer of a token endpoint.
///
/// # Errors
/// Its error code (RFC 6749 §5.2), or that it is none; without anything secret.
pub fn granted(body: &[u8]) -> Result<Granted, String> {
    let json: Json = serde_json::from_slice(body).map_err(|_| "no JSON from the token endpoint".to_owned())?;
    if let Some(error) = json["error"].as_str() {
        // A code is a word; the description may quote what was sent.
        let code: String = error.chars().filter(|c| c.is_ascii_alphanumeric() || "_-.".contains(*c)).take(60).collect();
        return Err(format!("the token endpoint answered {code}"));
    }
    let text = |key: &str| json[key].as_str().filter(|text| !text.is_empty()).map(Secret::new);
    let seconds = |key: &str| json[key].as_u64().or_else(|| json[key].as_str()?.parse().ok());
    Ok(Granted {
        access: text("access_token").ok_or("no access_token from the token endpoint")?,
        holds_for: seconds("expires_in").unwrap_or(3600),
        refresh: text("refresh_token"),
        refresh_holds_for: seconds("refresh_token_expires_in"),
    })
}

/// A refresh token as it is kept: with a mark of the file it descends from, so that a new file begins a new line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptToken {
    /// Digest of the operator's file.
    pub seed: String,
    /// The token to use next.
    pub refresh_token: Secret,
}

/// Credentials that Google gives as a file.
#[derive(Clone, Debug, PartialEq)]
pub enum Google {
    /// A service account: signs a claim.
    Service {
        /// Who.
        email: String,
        /// PKCS #8, DER.
        key: Vec<u8>,
        /// Which of its keys.
        key_id: Option<String>,
        /// Where claims are turned into tokens.
        token_url: String,
    },
    /// Somebody who has consented.
    User {
        /// OAuth client.
        client_id: String,
        /// Its secret.
        client_secret: Secret,
        /// What the consent gave.
        refresh_token: Secret,
        /// Where it is used.
        token_url: String,
    },
}

const GOOGLE_TOKENS: &str = "https://oauth2.googleapis.com/token";

impl Google {
    /// Reads the file.
    ///
    /// # Errors
    /// What is missing, without anything secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        let json: Json = serde_json::from_str(text).map_err(|_| "is no JSON".to_owned())?;
        let need = |key: &str| json[key].as_str().map(str::to_owned).ok_or(format!("has no {key}"));
        let token_url = json["token_uri"].as_str().unwrap_or(GOOGLE_TOKENS).to_owned();
        match json["type"].as_str() {
            Some("service_account") => Ok(Self::Service {
                email: need("client_email")?,
                key: pem(&need("private_key")?).ok_or("has a private_key that is no PKCS #8 in PEM")?,
                key_id: json["private_key_id"].as_str().map(str::to_owned),
                token_url,
            }),
            Some("authorized_user") => Ok(Self::User {
                client_id: need("client_id")?,
                client_secret: Secret::new(need("client_secret")?),
                refresh_token: Secret::new(need("refresh_token")?),
                token_url,
            }),
            _ => Err("is of neither type service_account nor authorized_user".to_owned()),
        }
    }

    /// Where tokens are got.
    pub fn token_url(&self) -> &str {
        match self {
            Self::Service { token_url, .. } | Self::User { token_url, .. } => token_url,
        }
    }
}

/// Header and claims of a service account's JWT (RFC 7519, RFC 7523 §3), to be signed.
pub fn claim(email: &str, key_id: Option<&str>, scope: &str, audience: &str, now: Wall) -> String {
    let mut header = json!({ "alg": "RS256", "typ": "JWT" });
    if let Some(id) = key_id {
        header["kid"] = json!(id);
    }
    let issued = now.as_millis().div_euclid(1000);
    let claims = json!({ "iss": email, "scope": scope, "aud": audience, "iat": issued, "exp": issued + 3600 });
    format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(claims.to_string().as_bytes()))
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// base64url without padding (RFC 4648 §5).
pub fn base64url(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let at = |n: usize| u32::from(chunk.get(n).copied().unwrap_or(0));
        let word = at(0) << 16 | at(1) << 8 | at(2);
        for n in 0..=chunk.len() {
            out.push(char::from(ALPHABET[(word >> (18 - 6 * n) & 63) as usize]));
        }
    }
    out
}

/// The octets of a base64 text, of either alphabet, spaces and padding left out (RFC 4648 §4).
pub fn from_base64(text: &str) -> Option<Vec<u8>> {
    let (mut out, mut word, mut bits) = (Vec::new(), 0u32, 0);
    for byte in text.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'=') {
        let byte = match byte {
            b'+' => b'-',
            b'/' => b'_',
            other => other,
        };
        let value = ALPHABET.iter().position(|known| *known == byte)?;
        word = word << 6 | u32::try_from(value).ok()?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push(u8::try_from(word >> bits & 255).ok()?);
        }
    }
    Some(out)
}

/// What stands between the lines of a PEM text (RFC 7468).
fn pem(text: &str) -> Option<Vec<u8>> {
    let rest = text.split_once("-----BEGIN PRIVATE KEY-----")?.1;
    from_base64(rest.split_once("-----END PRIVATE KEY-----")?.0).filter(|der| !der.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_goes_there_and_back() {
        for text in ["", "f", "fo", "foo", "foob", "fooba", "foobar"] {
            assert_eq!(from_base64(&base64url(text.as_bytes())).unwrap(), text.as_bytes());
        }
        assert_eq!(base64url(&[0xfb, 0xff]), "-_8");
        assert_eq!(from_base64("+/8=\n"), Some(vec![0xfb, 0xff]));
        assert_eq!(from_base64("*"), None);
    }

    #[test]
    fn errors_of_a_token_endpoint_are_words_without_what_was_sent() {
        let said = granted(br#"{"error":"invalid_grant","error_description":"topsecret is used up"}"#).unwrap_err();
        assert_eq!(said, "the token endpoint answered invalid_grant");
        assert!(granted(b"<html>").is_err() && granted(b"{}").is_err() && granted(b"[]").is_err());
        let good = granted(br#"{"access_token":"topsecret","expires_in":"60","refresh_token":""}"#).unwrap();
        assert_eq!((good.holds_for, &good.refresh), (60, &None));
        assert!(!format!("{good:?}").contains("topsecret"));
    }

    #[test]
    fn a_file_that_is_no_credential_says_what_is_missing() {
        assert_eq!(Google::parse("{}").unwrap_err(), "is of neither type service_account nor authorized_user");
        let user = r#"{"type":"authorized_user","client_id":"c","client_secret":"s"}"#;
        assert_eq!(Google::parse(user).unwrap_err(), "has no refresh_token");
        let service = r#"{"type":"service_account","client_email":"e","private_key":"topsecret"}"#;
        assert!(!Google::parse(service).unwrap_err().contains("topsecret"));
    }
}
