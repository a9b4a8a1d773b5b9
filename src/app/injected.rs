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
use crate::ingress::http::{self, Counter, Held, KEPT, Opened};
use crate::queue::dispatcher::Dispatcher;
use crate::store::{Batch, Op, Spool, SpoolError};

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
        tokio::spawn(forget(Arc::clone(dispatcher), Arc::clone(&counter), stopped.clone()));
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
async fn forget(dispatcher: Arc<Dispatcher>, counter: Arc<Counter>, mut stopped: watch::Receiver<bool>) {
    loop {
        let now = dispatcher.now().wall;
        let keep = i64::try_from(dispatcher.config().injection.keep_keys.as_millis()).unwrap_or(i64::MAX);
        let oldest = Wall::from_millis(now.as_millis().saturating_sub(keep));
        if let Err(error) = forget_before(&dispatcher, &counter, oldest).await {
            tracing::warn!(%error, "answers that are remembered for too long are not removed; tried again");
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
    }
}

/// Removes the facts written before `oldest`, and those that cannot be read, page by page.
///
/// A request may come with an old key and write its fact anew. So keys are held while their facts are looked at again and
/// removed; one that somebody works on is left for the next time.
async fn forget_before(dispatcher: &Arc<Dispatcher>, counter: &Arc<Counter>, oldest: Wall) -> Result<(), SpoolError> {
    let mut after = String::new();
    loop {
        let (reader, from) = (Arc::clone(dispatcher), after.clone());
        let page = tokio::task::spawn_blocking(move || reader.spool().facts_first(KEPT, &from, AT_A_TIME)).await;
        let page = page.map_err(|error| SpoolError::Io(error.to_string()))??;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after.clone_from(last);
        let old = page.iter().filter(|(_, value)| is_old(value, oldest));
        let held: Vec<Held> = old.filter_map(|(key, _)| counter.hold(key)).collect();
        if held.is_empty() {
            continue;
        }
        let reader = Arc::clone(dispatcher);
        let looked = tokio::task::spawn_blocking(move || {
            let gone = still_old(reader.spool(), held.iter().map(Held::name), oldest);
            (gone, held)
        });
        let (gone, held) = looked.await.map_err(|error| SpoolError::Io(error.to_string()))?;
        let gone = gone?;
        if !gone.is_empty() {
            dispatcher.note(gone).await?;
        }
        drop(held);
    }
}

fn is_old(value: &[u8], oldest: Wall) -> bool {
    http::written_at(value).is_none_or(|at| at < oldest)
}

/// The removal of those facts that are (still) old.
fn still_old<'a>(spool: &dyn Spool, keys: impl Iterator<Item = &'a str>, oldest: Wall) -> Result<Batch, SpoolError> {
    let mut gone = Batch::new();
    for key in keys {
        if spool.fact(key)?.is_some_and(|value| is_old(&value, oldest)) {
            gone.push(Op::RemoveFact(key.to_owned()));
        }
    }
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemorySpool;

    #[test]
    fn a_fact_that_was_written_anew_stays() {
        let spool = MemorySpool::new();
        let fact = |name: &str, at: i64| {
            let answer = serde_json::json!({ "id": "1", "tenant": "acme", "recipients": [] });
            let kept = serde_json::json!({ "request": "r", "at": Wall::from_millis(at), "answer": answer });
            Op::PutFact(format!("{KEPT}shop:{name}"), kept.to_string().into_bytes())
        };
        let corrupt = Op::PutFact(format!("{KEPT}shop:c"), b"?".to_vec());
        spool.commit(&[vec![fact("a", 1_000), fact("b", 1_000), fact("b", 3_000), corrupt]]).expect("stored");
        let keys = ["a", "b", "c", "d"].map(|name| format!("{KEPT}shop:{name}"));
        let gone = still_old(&spool, keys.iter().map(String::as_str), Wall::from_millis(2_000)).expect("read");
        let removed = |name: &str| Op::RemoveFact(format!("{KEPT}shop:{name}"));
        assert_eq!(gone, [removed("a"), removed("c")]);
    }
}
