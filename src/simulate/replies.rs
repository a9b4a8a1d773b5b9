//! Lines that receivers say, as the program reads them.
//!
//! Every line goes through the real parser and the shipped rules, once: receivers repeat themselves, and a month of mail
//! has a few hundred different lines.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::BytesMut;

use crate::message::ProviderName;
use crate::outcome::{Classifier, Context, Failure, FailureKind, Outcome, ReplyParser, Stage};

/// Number of a line that was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineId(u32);

/// A line and its meaning.
#[derive(Clone, Debug)]
pub struct Line {
    /// As logged and reported.
    pub text: String,
    /// What it means.
    pub outcome: Outcome,
}

/// Who said it, and to whom.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// Where in the dialogue.
    pub stage: Stage,
    /// The provider that said it, with its number.
    pub provider: Option<&'a ProviderName>,
    /// Number of the receiver.
    pub site: u16,
    /// Address it was said to.
    pub own: [IpAddr; 2],
}

/// Everything that was ever said.
#[derive(Debug)]
pub struct Replies {
    classifier: Arc<Classifier>,
    lines: Vec<Line>,
    /// Most texts are constants; their address tells them apart without reading them.
    constants: HashMap<(*const u8, usize, u16, Stage), LineId>,
    made: HashMap<String, Vec<(u16, Stage, LineId)>>,
    silence: LineId,
}

impl Default for Replies {
    /// Read by the shipped rules.
    fn default() -> Self {
        Self::read_by(Arc::new(Classifier::shipped()))
    }
}

impl Replies {
    /// Nothing said yet; `classifier` will read it.
    pub fn read_by(classifier: Arc<Classifier>) -> Self {
        let failure = Failure { kind: FailureKind::TimedOut, stage: Stage::Connect, detail: "no answer".into() };
        let line = Line { text: failure.to_string(), outcome: classifier.failure(&failure) };
        let lines = vec![line];
        Self { classifier, lines, constants: HashMap::new(), made: HashMap::new(), silence: LineId(0) }
    }

    /// Nothing came at all.
    pub fn silence(&self) -> LineId {
        self.silence
    }

    /// What was said.
    pub fn line(&self, id: LineId) -> &Line {
        &self.lines[id.0 as usize]
    }

    /// The number of a line.
    pub fn id(&mut self, text: Cow<'static, str>, said: Said<'_>) -> LineId {
        match text {
            Cow::Borrowed(constant) => {
                let key = (constant.as_ptr(), constant.len(), said.site, said.stage);
                if let Some(&id) = self.constants.get(&key) {
                    return id;
                }
                let id = self.read(constant, said);
                self.constants.insert(key, id);
                id
            }
            // A text that was made holds the address it was said to, so own addresses need not be part of the key.
            Cow::Owned(made) => {
                let known = self.made.get(&made).map_or(&[][..], Vec::as_slice);
                if let Some((.., id)) = known.iter().find(|(site, stage, _)| (*site, *stage) == (said.site, said.stage))
                {
                    return *id;
                }
                let id = self.read(&made, said);
                self.made.entry(made).or_default().push((said.site, said.stage, id));
                id
            }
        }
    }

    fn read(&mut self, text: &str, said: Said<'_>) -> LineId {
        let outcome = match ReplyParser::default().feed(&mut BytesMut::from(format!("{text}\r\n").as_str())) {
            Ok(Some(reply)) => {
                let context = Context { stage: said.stage, provider: said.provider, own: &said.own };
                self.classifier.reply(&reply, context)
            }
            Ok(None) | Err(_) => self.classifier.failure(&Failure {
                kind: FailureKind::Protocol,
                stage: said.stage,
                detail: "no SMTP reply".into(),
            }),
        };
        self.lines.push(Line { text: text.to_owned(), outcome });
        LineId((self.lines.len() - 1) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Disposition;

    #[test]
    fn a_line_is_read_once_and_means_what_the_rules_say() {
        let mut replies = Replies::default();
        let own = [IpAddr::from([192, 0, 2, 1]); 2];
        let said = Said { stage: Stage::Rcpt, provider: None, site: 0, own };
        let unknown = replies.id(Cow::Borrowed("550 5.1.1 user unknown"), said);
        assert_eq!(replies.line(unknown).outcome.disposition, Disposition::Bounced);
        assert_eq!(replies.id(Cow::Owned("550 5.1.1 user unknown".to_owned()), said).0, unknown.0 + 1);
        assert_eq!(replies.id(Cow::Borrowed("550 5.1.1 user unknown"), said), unknown);
        assert_eq!(replies.line(replies.silence()).outcome.rule.as_ref(), "failure.timed_out");
        let odd = replies.id(Cow::Borrowed("no reply at all"), said);
        assert_eq!(replies.line(odd).outcome.disposition, Disposition::Deferred);
    }
}
