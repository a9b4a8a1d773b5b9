//! A name server for tests: one UDP socket on loopback that says what it is told to.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, PTR};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use parking_lot::Mutex;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// What to say about a name.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    A(Vec<[u8; 4]>),
    Ptr(&'static str),
    NxDomain,
    NoData,
    ServFail,
    Refused,
    Silence,
}

type Replies = Arc<Mutex<(HashMap<String, Reply>, Reply)>>;

/// Answers until it is dropped.
pub(super) struct Responder {
    pub(super) address: SocketAddr,
    replies: Replies,
    task: JoinHandle<()>,
}

impl Responder {
    /// Says `default` about every name that is not [`set`](Self::set).
    pub(super) async fn start(default: Reply) -> Self {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        let replies: Replies = Arc::new(Mutex::new((HashMap::new(), default)));
        let shared = Arc::clone(&replies);
        let task = tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                if let Some(answer) = answer(&buffer[..length], &shared) {
                    let _ = socket.send_to(&answer, from).await;
                }
            }
        });
        Self { address, replies, task }
    }

    pub(super) fn set(&self, name: &str, reply: Reply) {
        self.replies.lock().0.insert(name.to_owned(), reply);
    }

    pub(super) fn set_default(&self, reply: Reply) {
        self.replies.lock().1 = reply;
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn answer(question: &[u8], replies: &Replies) -> Option<Vec<u8>> {
    let query = Message::from_vec(question).ok()?;
    let asked = query.queries.first()?.clone();
    let reply = {
        let replies = replies.lock();
        replies.0.get(&asked.name().to_string().to_lowercase()).unwrap_or(&replies.1).clone()
    };
    let mut message = Message::response(query.metadata.id, query.metadata.op_code);
    message.metadata.recursion_desired = true;
    message.metadata.recursion_available = true;
    message.add_query(asked.clone());
    let mut record = |data: RData| {
        message.add_answer(Record::from_rdata(asked.name().clone(), 300, data));
    };
    match reply {
        Reply::Silence => return None,
        Reply::A(all) if asked.query_type() == RecordType::A => {
            all.iter().for_each(|&octets| record(RData::A(A(Ipv4Addr::from(octets)))));
        }
        Reply::Ptr(name) => record(RData::PTR(PTR(Name::from_ascii(name).unwrap()))),
        Reply::A(_) | Reply::NoData => {}
        Reply::NxDomain => message.metadata.response_code = ResponseCode::NXDomain,
        Reply::ServFail => message.metadata.response_code = ResponseCode::ServFail,
        Reply::Refused => message.metadata.response_code = ResponseCode::Refused,
    }
    message.to_vec().ok()
}
