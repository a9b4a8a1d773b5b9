//! Why a reply means what it means, in words: `remuda classify --explain`.
//!
//! Nothing here judges. The classifier tells which rule decided and what it drew from it ([`weigh`](super::weigh) notes
//! each consequence as it draws it); this looks once more at the conditions of that rule and of those that would have come
//! next, and finds the pieces of text they rest on.

use std::fmt;

use super::classify::{Classifier, Context, Decision, Seen, SetAside};
use super::rules::Rule;
use super::template::visible;
use super::{Action, Cause, Disposition, NextBinding, Outcome, Reply};
use crate::config::units::show_duration;

/// Rules shown that would have come next.
const NEXT: usize = 3;

/// How one reply was judged. Displayed as a few lines of text without colour.
#[derive(Debug)]
pub struct Explanation<'a> {
    reply: &'a Reply,
    context: Context<'a>,
    seen: Seen<'a>,
    outcome: Outcome,
    decision: Option<Decision<'a>>,
    followed: Vec<&'static str>,
    next: Vec<&'a Rule>,
}

impl Classifier {
    /// Judges `reply` and keeps the reasons.
    pub fn explain<'a>(&'a self, reply: &'a Reply, context: Context<'a>) -> Explanation<'a> {
        let mut followed = Vec::new();
        let (outcome, decision) = self.judge(reply, context, &mut |why| followed.push(why));
        let seen = Seen::of(reply);
        let decided = decision.as_ref().map(|decision| decision.rule.id.as_str());
        let mut next = Vec::new();
        if decided.is_some() {
            let later = self.holding(&seen, context).map(|(rule, _)| rule);
            next.extend(later.filter(|rule| Some(rule.id.as_str()) != decided).take(NEXT));
        }
        Explanation { reply, context, seen, outcome, decision, followed, next }
    }
}

impl Explanation<'_> {
    /// What it is all about.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    fn read_as(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  read as   code {}", self.reply.code)?;
        match (self.reply.enhanced, self.seen.enhanced) {
            (Some(enhanced), _) => write!(f, ", enhanced code {enhanced}")?,
            (None, Some(enhanced)) => write!(f, ", enhanced code {enhanced} (in brackets)")?,
            (None, None) => f.write_str(", no enhanced code")?,
        }
        write!(f, ", at {}", self.context.stage.as_str())?;
        if let Some(provider) = self.context.provider {
            write!(f, ", from {provider}")?;
        }
        writeln!(f)?;
        if *self.seen.text != *self.reply.text.as_bytes() {
            writeln!(f, "  text      {}", shown(&self.seen.text))?;
        }
        Ok(())
    }

    fn held(&self, rule: &Rule) -> Vec<String> {
        let mut held = Vec::new();
        if let Some(code) = rule.codes.iter().find(|code| code.matches(self.seen.code)) {
            held.push(format!("code {code}"));
        }
        let enhanced = self.seen.enhanced.and_then(|seen| rule.enhanced.iter().find(|wanted| wanted.matches(seen)));
        if let Some(enhanced) = enhanced {
            held.push(format!("enhanced code {enhanced}"));
        }
        if !rule.stages.is_empty() {
            held.push(format!("stage {}", self.context.stage.as_str()));
        }
        if let (false, Some(provider)) = (rule.providers.is_empty(), self.context.provider) {
            held.push(format!("provider {provider}"));
        }
        let text = self.seen.text_for(rule);
        if let Some(piece) = rule.piece(text) {
            held.push(format!("the pattern matches \"{}\"", shown(&text[piece])));
        }
        if rule.not.is_some() {
            held.push("nothing that the rule excludes".to_owned());
        }
        held
    }

    fn decided(&self, decision: &Decision<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = decision.rule;
        let own = if rule.own { ", your own" } else { "" };
        writeln!(f, "  rule      {} ({}{own})", rule.id, rule.place())?;
        if !rule.source.is_empty() {
            writeln!(f, "  source    {}", rule.source)?;
        }
        writeln!(f, "  because   {}", self.held(rule).join("; "))?;
        match decision.set_aside {
            Some(SetAside::Quoted(begins)) => {
                writeln!(f, "  quoted    \"{}\"", shown(&self.seen.text[begins..]))?;
            }
            Some(SetAside::Another(address)) => writeln!(f, "  not ours  {address}")?,
            None => {}
        }
        write!(f, "  it says   {}, scope {}", rule.cause.as_str(), rule.scope.as_str())?;
        if rule.counts_against_ip {
            f.write_str(", counts against the IP")?;
        }
        if rule.action != Action::None {
            write!(f, ", {}", lasting(rule.action))?;
        }
        writeln!(f)
    }

    fn outcome_line(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = &self.outcome;
        write!(f, "  so        {}", outcome.disposition.as_str())?;
        if let Some(cause) = outcome.cause {
            write!(f, ": {}, scope {}", cause.as_str(), outcome.scope.as_str())?;
            let evidence =
                if outcome.counts_against_ip { "counts against the IP" } else { "no evidence against the IP" };
            write!(f, ", {evidence}")?;
        }
        if outcome.disposition == Disposition::Deferred {
            f.write_str(match outcome.next_binding {
                NextBinding::Prefer => "; next try from the same binding",
                NextBinding::Other => "; next try from another binding",
                NextBinding::Any => "; next try from any binding",
            })?;
            if let Some(wait) = outcome.retry_after {
                write!(f, " after {}", show_duration(wait))?;
            }
        }
        if outcome.action != Action::None {
            write!(f, "; {}", lasting(outcome.action))?;
        }
        writeln!(f)
    }
}

fn lasting(action: Action) -> String {
    let length = action.length().map(|length| format!(" for {}", show_duration(length))).unwrap_or_default();
    format!("{}{length}", action.as_str())
}

/// Octets of a reply as they may stand on a terminal: what is not simply shown is written out (`\u{202e}`).
pub(super) fn shown(text: &[u8]) -> String {
    const MOST: usize = 400;
    let text = String::from_utf8_lossy(text);
    let mut shown = visible(text.chars().take(MOST));
    if text.chars().nth(MOST).is_some() {
        shown.push('…');
    }
    shown
}

impl fmt::Display for Explanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", shown(self.reply.to_string().as_bytes()))?;
        self.read_as(f)?;
        match &self.decision {
            Some(decision) => self.decided(decision, f)?,
            None if self.outcome.cause.is_none() => writeln!(f, "  rule      none is asked: accepted")?,
            None => writeln!(f, "  rule      none matches: {}", self.outcome.rule)?,
        }
        self.outcome_line(f)?;
        for why in &self.followed {
            writeln!(f, "            - {why}")?;
        }
        if self.outcome.cause == Some(Cause::Unknown) {
            writeln!(f, "            - the text blames nobody: a rule of your own could tell more")?;
        }
        for (number, rule) in self.next.iter().enumerate() {
            let head = if number == 0 { "then" } else { "" };
            write!(
                f,
                "  {head:<8}  {} ({}): {}, scope {}",
                rule.id,
                rule.place(),
                rule.cause.as_str(),
                rule.scope.as_str()
            )?;
            let text = self.seen.text_for(rule);
            match rule.piece(text) {
                Some(piece) => writeln!(f, ", by \"{}\"", shown(&text[piece]))?,
                None => writeln!(f, ", by {}", self.held(rule).join("; "))?,
            }
        }
        Ok(())
    }
}
