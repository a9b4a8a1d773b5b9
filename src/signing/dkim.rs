//! One signature, by mail-auth: the only place that knows that library's way of signing.
//!
//! The header is canonicalised `relaxed`, since hosts on the way fold and trim, the body `simple`: of a body that ends in a
//! line of nothing but spaces the library (0.13.3) makes another `relaxed` form than RFC 6376 §3.4.4 says, and others would
//! not verify it. No length of the body is given (`l=`), which would let strangers append to it (§8.2). Of the fields a key names, all that are there are signed; `From` stands
//! in `h=` once more than in the message, so that none can be added (§5.4.2). Fields that are not there are not spoken for:
//! a host that completes the mail with a `Date:` would otherwise break the signature.
//!
//! The moment of signing (`t=`) is the library's to read from the clock.

use mail_auth::common::crypto::{Algorithm, DkimKey as Secret, Sha256, SigningKey};
use mail_auth::common::headers::{HeaderWriter, Writable};
use mail_auth::dkim::{Canonicalization, DkimSigner};

use super::keys::Loaded;
use crate::config::DkimKey;
use crate::message::header::Headers;

/// A key on loan: the library wants one of its own for each signer, and whose fields differ from message to message needs
/// a signer for each.
struct Lent<'a>(&'a Secret);

impl SigningKey for Lent<'_> {
    type Hasher = Sha256;

    fn sign(&self, input: impl Writable) -> mail_auth::Result<Vec<u8>> {
        self.0.sign(input)
    }

    fn algorithm(&self) -> Algorithm {
        self.0.algorithm()
    }
}

/// The field with the signature of `message` by `key`, with its CRLF.
///
/// # Errors
/// In words of the library, which hold nothing of the key.
pub fn sign(key: &Loaded, message: &[u8]) -> Result<String, String> {
    let rules = key.rules();
    let signer = DkimSigner::from_key(Lent(key.secret()))
        .domain(rules.domain.as_str())
        .selector(rules.selector.as_str())
        .headers(fields(rules, Headers::of(message)))
        .body_canonicalization(Canonicalization::Simple)
        .expiration(rules.expire.map_or(0, |span| span.as_secs()));
    signer.sign(message).map(|signature| signature.to_header()).map_err(|error| error.to_string())
}

/// Names for `h=`: those of the key that are in the message, and `From` once more. A name that stands twice in what the
/// library is given is taken once for the fields there are and once for a field that is not.
fn fields(rules: &DkimKey, headers: Headers<'_>) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(rules.headers.len() + 2);
    for name in &rules.headers {
        let is_new = !names.iter().any(|known| known.eq_ignore_ascii_case(name));
        if is_new && !name.eq_ignore_ascii_case("From") && headers.count(name) > 0 {
            names.push(name.clone());
        }
    }
    names.extend(["From".to_owned(), "From".to_owned()]);
    names
}
