//! Log lines: `key=value` text or one JSON object a line, on standard error, through `tracing`.
//!
//! For `tracing` a field named `message` is the text of the line, and its text format prints it bare. Here a message is
//! also what mail is, so that only one that comes first is the text; another is a key with a value like any.

use std::error::Error;
use std::fmt;

use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::{MakeVisitor, VisitFmt, VisitOutput};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{DefaultVisitor, Writer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};

/// Sets the process's log up. Says in words why a filter is wrong; a second call has no effect.
pub fn init(log: &Log) -> Result<(), String> {
    // Only a second initialisation fails; the first one's settings stay.
    drop(subscriber(log, std::io::stderr)?.try_init());
    Ok(())
}

/// The same, to `file` instead of standard error.
pub fn init_into(log: &Log, file: impl std::io::Write + Send + 'static) -> Result<(), String> {
    drop(subscriber(log, std::sync::Mutex::new(file))?.try_init());
    Ok(())
}

/// Writes lines to `writer`.
fn subscriber<W>(log: &Log, writer: W) -> Result<Box<dyn Subscriber + Send + Sync>, String>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(&log.filter).map_err(|e| format!("log.filter {:?}: {e}", log.filter))?;
    // The storage engine speaks of its files at level info; that is noise unless asked for.
    let quiet = if log.filter.contains("fjall") { [].as_slice() } else { ["fjall=warn", "lsm_tree=warn"].as_slice() };
    let filter = quiet.iter().filter_map(|d| d.parse().ok()).fold(filter, EnvFilter::add_directive);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let is_safe = filter_fn(|metadata| !tells_keys(metadata.target()));
    Ok(match log.format {
        LogFormat::Json => Box::new(
            builder.json().flatten_event(true).with_current_span(false).with_span_list(false).finish().with(is_safe),
        ),
        LogFormat::Text => Box::new(builder.with_ansi(false).fmt_fields(TextFields).finish().with(is_safe)),
    })
}

/// hickory logs the names it asks for, and the name of a keyed DNSBL zone is a secret. A directive of the operator's that
/// is more specific would win over one of ours, so this stands outside the filter.
fn tells_keys(target: &str) -> bool {
    target.starts_with("hickory")
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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
            self.0.lock().write(octets)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn no_filter_makes_the_resolver_tell_the_names_it_asks() {
        for format in [LogFormat::Text, LogFormat::Json] {
            for filter in ["trace", "hickory_resolver::name_server_pool=debug,info", "hickory_net=trace"] {
                let kept = Kept::default();
                let log = Log { format, filter: filter.to_owned() };
                let writer = kept.clone();
                let made = subscriber(&log, move || writer.clone()).unwrap();
                tracing::subscriber::with_default(made, || {
                    tracing::error!(target: "hickory_resolver::name_server_pool", "asking secretkey.bl.example");
                    tracing::debug!(target: "hickory_net::udp", "asking secretkey.bl.example");
                    tracing::error!(target: "hickory_net", "here");
                    tracing::error!("told");
                });
                let text = String::from_utf8(kept.0.lock().clone()).unwrap();
                assert!(!text.contains("secretkey") && !text.contains("here"), "{filter}: {text}");
                assert_eq!(text.contains("told"), filter != "hickory_net=trace", "{filter}: {text}");
            }
        }
    }
}
