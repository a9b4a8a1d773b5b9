//! From a bound address to the remote MX.
//!
//! [`mx`] finds the hosts of a recipient domain and their addresses ([`plan`], [`site`] and [`breaker`] decide, pure),
//! [`happy`] (pure) says in which order, [`connect`] binds the binding's source address and connects ([`egress`] where that
//! address is another host's), [`greeting`], [`session`] and [`dot`] (pure) are the client's side of the dialogue, [`convert`]
//! (pure) makes eight-bit mail fit for hosts that cannot take it, [`learned`] (pure) remembers what hosts taught, [`policy`]
//! and [`tls`] say what is demanded of its safety, [`client`] runs it over a socket, [`reuse`] keeps idle connections by
//! route, [`direct`] puts them
//! together. [`Connector`] stands between the queue and all of it, so that the simulation can take its place.

pub mod breaker;
pub mod client;
pub mod connect;
pub mod convert;
pub mod direct;
pub mod dot;
pub mod egress;
pub mod greeting;
pub mod happy;
pub mod learned;
pub mod mx;
pub mod ourselves;
pub mod plan;
pub mod policy;
pub mod reuse;
pub mod session;
pub mod site;
#[cfg(test)]
mod testing;
pub mod tls;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::config::{Binding, Config};
use crate::message::{ForwardPath, Mailbox, MessageId, ProviderName, Wishes};
use crate::outcome::{Failure, FailureKind, Reply, Stage};

pub use direct::DirectConnector;
pub use mx::{Resolver, Servers};
pub use plan::{MxPlan, NoPlan, Planned, Routing};
pub use policy::Policies;
pub use tls::TlsReport;

/// Everything one attempt needs.
#[derive(Clone, Debug)]
pub struct Order {
    /// For logs.
    pub message: MessageId,
    /// The binding that carries it: its `bind_address` is the only source address allowed.
    pub binding: Arc<Binding>,
    /// The name to give in EHLO, already resolved from the binding's setting.
    pub ehlo: String,
    /// Where to.
    pub plan: Arc<MxPlan>,
    /// The provider, where the destination is one.
    pub provider: Option<ProviderName>,
    /// As the receiver is to see it, which may be the sender's own rewritten; `None` is the null reverse path.
    pub reverse_path: Option<Mailbox>,
    /// At least one.
    pub recipients: Vec<ForwardPath>,
    /// Header fields of our own to be sent before `body`, with CRLF line ends; may be empty.
    pub head: Bytes,
    /// Envelope id for receivers that offer DSN (RFC 3461 §4.4): letters and digits only.
    pub envelope_id: Option<String>,
    /// Message as it is stored, with CRLF line ends, before dot-stuffing.
    pub body: Bytes,
    /// `BODY=8BITMIME` is needed.
    pub eight_bit: bool,
    /// What the client asked for with MAIL.
    pub wishes: Wishes,
    /// Messages after which the connection is closed.
    pub messages_per_connection: u32,
    /// Makes our own signatures again where the message has to be converted; `None` where there are none.
    pub resign: Option<Arc<dyn convert::Resign>>,
}

/// What became of an attempt.
#[derive(Clone, Debug)]
pub struct Report {
    /// Local address of the connection; `None` when none was made.
    pub local: Option<SocketAddr>,
    /// Remote address; `None` when none was tried.
    pub remote: Option<SocketAddr>,
    /// Name of the host tried last.
    pub host: Option<String>,
    /// Whether an idle connection was used again.
    pub reused: bool,
    /// TLS with that host.
    pub tls: TlsReport,
    /// Answers to the recipients of the order, in order. Those behind the last one were not reached: they wait as if they
    /// had not been part of the order.
    pub answers: Vec<Answer>,
    /// The host took what was asked for in terms of DSN, and with it the duty to report (RFC 3461 §5.2.2).
    pub dsn_passed: bool,
    /// From the start of the attempt to its last reply.
    pub latency: Duration,
}

impl Report {
    /// Whether the receiver may have taken the message although we do not know: the connection went after the final dot.
    pub fn is_fate_unknown(&self) -> bool {
        self.answers.iter().any(|answer| {
            matches!(answer, Answer::Failure(f) if f.stage == Stage::EndOfData
                && matches!(f.kind, FailureKind::Reset | FailureKind::TimedOut | FailureKind::Protocol))
        })
    }
}

/// The answer that decided over one recipient.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A reply and where it came.
    Reply(Stage, Reply),
    /// None came.
    Failure(Failure),
}

/// Makes attempts. Never fails: whatever happens is in the report's answers.
pub trait Connector: Send + Sync + 'static {
    /// Carries out `order`.
    fn attempt(&self, order: Order) -> Pin<Box<dyn Future<Output = Report> + Send + '_>>;
    /// Closes the idle connections of a binding that is out.
    fn retire(&self, _binding: &crate::message::BindingName) {}
    /// Takes over another configuration: connections that are not as it has them are closed when they idle.
    fn reconfigure(&self, _config: &Config) {}
    /// Messages after which this destination was found to end a connection, as long as that is believed.
    fn learned_messages(&self, _destination: &crate::message::DestinationName) -> Option<u32> {
        None
    }
    /// Connections of a binding that are open, idle ones included.
    fn open(&self, _binding: &crate::message::BindingName) -> usize {
        0
    }
}
