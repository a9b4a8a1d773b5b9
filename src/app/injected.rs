//! Mail over HTTP as a part of the program: its socket, and the end of answers that are remembered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::StartError;
use super::intake::Reception;
use crate::clock::Wall;
use crate::config::Config;
use crate::ingress::IngressStats;
use crate::ingress::http::{self, Counter, KEPT, Opened};
use crate::queue::dispatcher::Dispatcher;
use crate::store::{Batch, Op, SpoolError};

/// Between two looks at what is remembered.
const LOOK: Duration = Duration::from_secs(600);

/// Answers looked at in one go.
const AT_A_TIME: usize = 1_000;

/// Where mail over HTTP comes in.
pub(super) struct Injection {
    /// What requests are judged by; there also where nobody listens.
    pub(super) counter: Arc<Counter>,
    /// Where it listens.
    pub(super) address: Option<SocketAddr>,
    served: Option<JoinHandle<()>>,
}

impl Injection {
    /// Takes the socket; nobody is served before `start`.
    pub(super) async fn bind(config: &Config) -> Result<Option<TcpListener>, StartError> {
        let Some(address) = config.injection.address else { return Ok(None) };
        let bound = TcpListener::bind(address).await;
        bound.map(Some).map_err(|source| StartError::Listen { address, source })
    }

    /// Serves whoever comes to `socket`, until `stopped`.
    pub(super) fn start(
        config: &Config,
        socket: Option<TcpListener>,
        reception: &Arc<Reception>,
        stats: &Arc<IngressStats>,
        dispatcher: &Arc<Dispatcher>,
        stopped: watch::Receiver<bool>,
    ) -> Result<Self, StartError> {
        let (intake, clock) = (Arc::clone(reception) as Arc<dyn http::Injecting>, Arc::clone(dispatcher.clock()));
        let counter = Counter::new(config, intake, Arc::clone(stats), Arc::clone(dispatcher.metrics_shared()), clock);
        let counter = Arc::new(counter);
        tokio::spawn(forget(Arc::clone(dispatcher), stopped.clone()));
        let Some(socket) = socket else { return Ok(Self { counter, address: None, served: None }) };
        let address = socket.local_addr().map_err(|error| StartError::Other(error.to_string()))?;
        let opened = http::open(socket, config, Arc::clone(&counter)).map_err(StartError::Other)?;
        tracing::info!(%address, "taking mail over HTTP");
        let served = tokio::spawn(serve(opened, stopped));
        Ok(Self { counter, address: Some(address), served: Some(served) })
    }

    /// Waits until what was begun is answered, at most for `grace`. Whether all was.
    pub(super) async fn ended(&mut self, grace: Duration) -> bool {
        let Some(served) = &mut self.served else { return true };
        let ended = tokio::time::timeout(grace, &mut *served).await.is_ok();
        if !ended {
            served.abort();
        }
        ended
    }
}

async fn serve(opened: Opened, stopped: watch::Receiver<bool>) {
    if let Err(error) = opened.serve(stopped).await {
        tracing::error!(%error, "mail over HTTP is not taken any more");
    }
}

/// Forgets, now and then, what was answered longer ago than `injection.keep_keys`.
async fn forget(dispatcher: Arc<Dispatcher>, mut stopped: watch::Receiver<bool>) {
    loop {
        let now = dispatcher.now().wall;
        let keep = i64::try_from(dispatcher.config().injection.keep_keys.as_millis()).unwrap_or(i64::MAX);
        let oldest = Wall::from_millis(now.as_millis().saturating_sub(keep));
        if let Err(error) = forget_before(&dispatcher, oldest).await {
            tracing::warn!(%error, "answers that are remembered for too long are not removed; tried again");
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
    }
}

/// Removes the facts written before `oldest`, and those that cannot be read, page by page.
async fn forget_before(dispatcher: &Arc<Dispatcher>, oldest: Wall) -> Result<(), SpoolError> {
    let mut after = String::new();
    loop {
        let (reader, from) = (Arc::clone(dispatcher), after.clone());
        let page = tokio::task::spawn_blocking(move || reader.spool().facts_first(KEPT, &from, AT_A_TIME)).await;
        let page = page.map_err(|error| SpoolError::Io(error.to_string()))??;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after.clone_from(last);
        let is_old = |value: &[u8]| http::written_at(value).is_none_or(|at| at < oldest);
        let old: Batch =
            page.into_iter().filter(|(_, value)| is_old(value)).map(|(key, _)| Op::RemoveFact(key)).collect();
        if !old.is_empty() {
            dispatcher.note(old).await?;
        }
    }
}
