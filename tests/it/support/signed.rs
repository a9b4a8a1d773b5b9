//! A name server whose root zone is signed, with its key in a file for `dns.trust_anchor`; `unsigned.` below it is not.

use std::future::Future;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use base64ct::{Base64, Encoding as _};
use hickory_server::Server;
use hickory_server::dnssec::NxProofKind;
use hickory_server::net::runtime::Time;
use hickory_server::proto::dnssec::crypto::EcdsaSigningKey;
use hickory_server::proto::dnssec::rdata::DNSKEY;
use hickory_server::proto::dnssec::{Algorithm, DnssecSigner, PublicKey as _, SigningKey as _};
use hickory_server::proto::rr::rdata::tlsa::{CertUsage, Matching, Selector};
use hickory_server::proto::rr::rdata::{A, CNAME, MX, NS, SOA, TLSA};
use hickory_server::proto::rr::{Name, RData, Record, RecordType};
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneHandler, ZoneType};
use tokio::net::{TcpListener, UdpSocket};

/// Records in the making: each goes into the zone its name is in.
#[derive(Default)]
pub(crate) struct Records(Vec<(String, RData)>);

impl Records {
    fn add(mut self, name: &str, data: RData) -> Self {
        self.0.push((name.to_owned(), data));
        self
    }

    pub(crate) fn a(self, name: &str, address: IpAddr) -> Self {
        let IpAddr::V4(address) = address else { panic!("IPv4 only") };
        self.add(name, RData::A(A(address)))
    }

    pub(crate) fn mx(self, name: &str, preference: u16, host: &str) -> Self {
        self.add(name, RData::MX(MX::new(preference, name_of(host))))
    }

    pub(crate) fn alias(self, name: &str, of: &str) -> Self {
        self.add(name, RData::CNAME(CNAME(name_of(of))))
    }

    pub(crate) fn tlsa(self, name: &str, [usage, selector, matching]: [u8; 3], data: &[u8]) -> Self {
        let (usage, selector, matching) = (CertUsage::from(usage), Selector::from(selector), Matching::from(matching));
        self.add(name, RData::TLSA(TLSA::new(usage, selector, matching, data.to_vec())))
    }

    /// Serves them.
    pub(crate) async fn serve(self) -> Signed {
        Signed::start(self).await
    }
}

/// The server.
pub(crate) struct Signed {
    pub(crate) address: SocketAddr,
    anchor: tempfile::NamedTempFile,
    _server: Server<Zones>,
}

impl Signed {
    /// The file with its key.
    pub(crate) fn anchor(&self) -> &std::path::Path {
        self.anchor.path()
    }

    async fn start(records: Records) -> Self {
        let (udp, tcp) = both().await;
        let address = udp.local_addr().unwrap();
        let der = EcdsaSigningKey::generate_pkcs8(Algorithm::ECDSAP256SHA256).unwrap();
        let key = EcdsaSigningKey::from_pkcs8(&der, Algorithm::ECDSAP256SHA256).unwrap();
        let public = key.to_public_key().unwrap();
        let mut anchor = tempfile::NamedTempFile::new().unwrap();
        writeln!(anchor, ". 3600 IN DNSKEY 257 3 13 {}", Base64::encode_string(public.public_bytes())).unwrap();

        let unsigned = Name::from_ascii("unsigned.").unwrap();
        let (below, above): (Vec<_>, Vec<_>) = records
            .0
            .into_iter()
            .map(|(name, data)| (name_of(&name), data))
            .partition(|(name, _)| unsigned.zone_of(name));
        let mut root = zone(Name::root(), above);
        let serial = 1;
        root.upsert_mut(Record::from_rdata(unsigned.clone(), 60, RData::NS(NS(name_of("ns.unsigned")))), serial);
        let signer =
            DnssecSigner::new(DNSKEY::from_key(&public), Box::new(key), Name::root(), Duration::from_secs(86_400));
        root.add_zone_signing_key_mut(signer).unwrap();
        root.secure_zone_mut().unwrap();
        let root = Arc::new(root) as Arc<dyn ZoneHandler>;
        let (mut above, mut catalog) = (Catalog::new(), Catalog::new());
        above.upsert(Name::root().into(), vec![Arc::clone(&root)]);
        catalog.upsert(Name::root().into(), vec![root]);
        catalog.upsert((&unsigned).into(), vec![Arc::new(zone(unsigned.clone(), below)) as Arc<dyn ZoneHandler>]);
        let mut server = Server::new(Zones { above, all: catalog });
        server.register_socket(udp);
        server.register_listener(tcp, Duration::from_secs(5), 32);
        Self { address, anchor, _server: server }
    }
}

/// All zones; what is asked of a delegation itself (DS) is for the zone above.
struct Zones {
    above: Catalog,
    all: Catalog,
}

impl RequestHandler for Zones {
    // What the trait's attribute makes of an async fn.
    fn handle_request<'a, 'b, 'c, R, T>(
        &'a self,
        request: &'b Request,
        response: R,
    ) -> Pin<Box<dyn Future<Output = ResponseInfo> + Send + 'c>>
    where
        R: ResponseHandler + 'c,
        T: Time + 'c,
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        let is_above = request.request_info().is_ok_and(|info| info.query.query_type() == RecordType::DS);
        let catalog = if is_above { &self.above } else { &self.all };
        RequestHandler::handle_request::<R, T>(catalog, request, response)
    }
}

fn zone(origin: Name, records: Vec<(Name, RData)>) -> InMemoryZoneHandler {
    let proof = origin.is_root().then_some(NxProofKind::Nsec);
    let mut zone: InMemoryZoneHandler =
        InMemoryZoneHandler::empty(origin.clone(), ZoneType::Primary, AxfrPolicy::Deny, proof);
    let (mname, rname) = (name_of("ns.unsigned"), name_of("postmaster.unsigned"));
    let soa = SOA::new(mname.clone(), rname, 1, 3600, 600, 86_400, 60);
    zone.upsert_mut(Record::from_rdata(origin.clone(), 60, RData::SOA(soa)), 1);
    zone.upsert_mut(Record::from_rdata(origin, 60, RData::NS(NS(mname))), 1);
    for (name, data) in records {
        zone.upsert_mut(Record::from_rdata(name, 60, data), 1);
    }
    zone
}

async fn both() -> (UdpSocket, TcpListener) {
    loop {
        let udp = UdpSocket::bind(super::anywhere()).await.unwrap();
        // The port may be in use for TCP: choose again.
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            return (udp, tcp);
        }
    }
}

fn name_of(text: &str) -> Name {
    Name::from_ascii(format!("{}.", text.trim_end_matches('.'))).unwrap()
}
