//! Log lines: `key=value` text or one JSON object a line, on standard error, through `tracing`.
//!
//! For `tracing` a field named `message` is the text of the line, and its text format prints it bare. Here a message is
//! also what mail is, so that only one that comes first is the text; another is a key with a value like any.

use std::error::Error;
use std::fmt;

use tracing::field::{Field, Visit};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::{MakeVisitor, VisitFmt, VisitOutput};
use tracing_subscriber::fmt::format::{DefaultVisitor, Writer};

use crate::config::{Log, LogFormat};

/// Sets the process's log up. Says in words why a filter is wrong; a second call has no effect.
pub fn init(log: &Log) -> Result<(), String> {
    let filter = EnvFilter::try_new(&log.filter).map_err(|e| format!("log.filter {:?}: {e}", log.filter))?;
    // hickory logs the names it asks for, and the name of a keyed DNSBL zone is a secret.
    let filter = ["hickory_resolver=off", "hickory_net=off", "hickory_proto=off"]
        .iter()
        .filter_map(|directive| directive.parse().ok())
        .fold(filter, EnvFilter::add_directive);
    // The storage engine speaks of its files at level info; that is noise unless asked for.
    let quiet = if log.filter.contains("fjall") { [].as_slice() } else { ["fjall=warn", "lsm_tree=warn"].as_slice() };
    let filter = quiet.iter().filter_map(|d| d.parse().ok()).fold(filter, EnvFilter::add_directive);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let done = match log.format {
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init(),
        LogFormat::Text => builder.with_ansi(false).fmt_fields(TextFields).try_init(),
    };
    // Only a second initialisation fails; the first one's settings stay.
    drop(done);
    Ok(())
}

/// Makes the text of a line's fields.
struct TextFields;

impl<'a> MakeVisitor<Writer<'a>> for TextFields {
    type Visitor = TextVisitor<'a>;

    fn make_visitor(&self, target: Writer<'a>) -> TextVisitor<'a> {
        TextVisitor { usual: DefaultVisitor::new(target, true), result: Ok(()) }
    }
}

struct TextVisitor<'a> {
    usual: DefaultVisitor<'a>,
    result: fmt::Result,
}

/// Whether a field is a message that is not the text of its line: `tracing` puts the text first.
fn is_mail(field: &Field) -> bool {
    field.name() == "message" && field.index() > 0
}

impl Visit for TextVisitor<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if is_mail(field) {
            // Something came before it, so that it needs its space.
            self.result = self.result.and_then(|()| write!(self.usual.writer(), " message={value:?}"));
        } else {
            self.usual.record_debug(field, value);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if is_mail(field) {
            self.record_debug(field, &value);
        } else {
            self.usual.record_str(field, value);
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.usual.record_error(field, value);
    }
}

impl VisitOutput<fmt::Result> for TextVisitor<'_> {
    fn finish(self) -> fmt::Result {
        self.result.and_then(|()| self.usual.finish())
    }
}

impl VisitFmt for TextVisitor<'_> {
    fn writer(&mut self) -> &mut dyn fmt::Write {
        self.usual.writer()
    }
}
