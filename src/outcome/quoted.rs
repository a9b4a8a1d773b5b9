//! A reply quoted inside a reply.
//!
//! Forwarders, gateways and address verifiers pass on what the next server told them: `550 5.1.0 Remote host said: 554
//! 5.7.1 client host [203.0.113.9] blocked using …`. The client that was blocked there is the forwarder, not we; counted
//! against our binding, one careless forwarder would suspend a good IP. So the words of others are set aside where a rule
//! blames an IP. For everything else they count: a full mailbox is full whoever says so.
//!
//! A quotation is a second SMTP reply code behind words that introduce somebody else's answer. A code alone is none:
//! many servers repeat their own (`550 550 5.7.1 …`, `Error: 554 …`).

use super::rules::Pattern;

/// Finds where the quotation begins.
#[derive(Debug)]
pub(super) struct Quotation(Pattern);

/// A code behind a mark that opens a quotation, or with an enhanced code behind it: either tells it from a mere number.
macro_rules! code {
    () => {
        concat!(
            r#"(?: ?[:="'(\[<>-][^a-z0-9]{0,4}(?:smtp;? ?)?#?[245][0-9][0-9](?:[ -]+["'<(\[#]?[a-z0-9]|['"]?$)"#,
            r"| #?[245][0-9][0-9][ -]+#?[245]\.[0-9])"
        )
    };
}

const INTRODUCTIONS: [&str; 5] = [
    // host mx.example[192.0.2.1] said: 550 …
    concat!(r"\b(?:said|says|saying)\b(?: ?\([^()]*\))?", code!()),
    // the server responded with: "550 …"
    concat!(r"\b(?:responded|replied|answered)\b(?: (?:with|us|me|by|code|error|status))*", code!()),
    // Remote server returned '550 …', downstream relay error: 550 …
    concat!(
        r"\b(?:remote|downstream|upstream|next[ -]hop|backend|back-end|destination|target|final|forward(?:ing|ed|er)?|smart ?host)",
        r"\b[^;]{0,100}?\b(?:respon[a-z]+|repl[a-z]+|answer[a-z]*|return[a-z]*|error|reject[a-z]*|refus[a-z]*|report[a-z]*|result[a-z]*|fail[a-z]*|gave|status)\b",
        r"(?: (?:with|was|is|by|code|message|from [^ ]+|after [^ ]+ ?[^ ]*))*",
        code!()
    ),
    // SMTP error from remote mail server after RCPT TO:<@>: host mx.example [192.0.2.1]: 550 …
    concat!(
        r"\b(?:error|response|reply|answer|message|refusal|rejection) (?:was |received |came )?(?:from|by|of) [^;]{0,160}?",
        code!()
    ),
    // Sendmail's transcript, Exchange's last error details.
    r#"(?:<<<|\bled=)[ "']{0,2}[245][0-9][0-9][ -]"#,
];

impl Quotation {
    pub(super) fn new() -> Self {
        Self(Pattern::new(INTRODUCTIONS.map(|one| format!("(?:{one})")).join("|")))
    }

    /// Where in `text` (normalised, without its own code) the words of another server are introduced.
    pub(super) fn begins(&self, text: &[u8]) -> Option<usize> {
        self.0.find(text).map(|found| found.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own_words(text: &str) -> &str {
        let quotation = Quotation::new();
        &text[..quotation.begins(text.as_bytes()).unwrap_or(text.len())]
    }

    #[test]
    fn what_others_said_is_found() {
        for (text, own) in [
            ("Remote host said: 554 5.7.1 Service unavailable; client host [203.0.113.9] blocked", "Remote host "),
            (
                "undeliverable address: host mx.example[192.0.2.1] said: 550 5.7.1 blocked",
                "undeliverable address: host mx.example[192.0.2.1] ",
            ),
            (
                "Forwarding to @ refused, remote host said: 552-5.2.2 over quota 552 5.2.2 gsmtp",
                "Forwarding to @ refused, remote host ",
            ),
            ("Failed: the server responded with \"550 5.7.1 blocked\"", "Failed: the server "),
            ("Remote Server returned '550 5.7.1 <blocked>'", ""),
            ("downstream relay error: 554 Your IP is blocked", ""),
            (
                "SMTP error from remote mail server after RCPT TO:<@>: host mx.example [192.0.2.1]: 550 5.7.1 no",
                "SMTP ",
            ),
            (
                "... while talking to mx.example.: >>> DATA <<< 550 5.7.1 blocked",
                "... while talking to mx.example.: >>> DATA ",
            ),
            ("4.4.317 cannot connect [{LED=550 5.7.1 blocked};{MSG=}]", "4.4.317 cannot connect [{"),
        ] {
            assert_eq!(own_words(text), own, "{text}");
        }
    }

    #[test]
    fn own_words_are_no_quotation() {
        for text in [
            "550 5.7.1 Service unavailable; client host [203.0.113.9] blocked using zen.spamhaus.org",
            "Error: 554 5.7.1 Client host rejected",
            "Your mail server 203.0.113.9 was rejected. Error 550-17",
            "The remote host 203.0.113.9 is listed at spamhaus",
            "5.7.1 our policy says 500 messages are enough",
            "said no",
            "remote host 203.0.113.9 refused: see https://example.com/554",
            "",
        ] {
            assert_eq!(own_words(text), text);
        }
    }
}
