//! Authorities, their certificates, and clients that trust them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, IsCa,
    KeyIdMethod, KeyPair, RevokedCertParams,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::harness::instance::PATIENCE;

static AUTHORITIES: AtomicUsize = AtomicUsize::new(0);

/// Who signs certificates.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    name: String,
}

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub struct Pair {
    pub cert: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let number = AUTHORITIES.fetch_add(1, Ordering::Relaxed);
        let name = format!("authority {number}");
        params.distinguished_name.push(DnType::CommonName, name.clone());
        Authority {
            issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap(),
            name,
        }
    }

    /// Its common name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Its own certificate, as that of a server: what `openssl req -x509` makes.
    pub fn itself(&self) -> Pair {
        Pair { cert: self.pem(), key: self.issuer.key().serialize_pem() }
    }

    /// A certificate for a name, which is its common name too.
    pub fn pair(&self, name: &str) -> Pair {
        self.pair_until(name, 2099)
    }

    /// One that ends with that year.
    pub fn pair_until(&self, name: &str, year: i32) -> Pair {
        self.signs(name, |params| params.not_after = rcgen::date_time_ymd(year, 12, 31))
    }

    /// One with this serial number.
    pub fn pair_numbered(&self, name: &str, serial: u64) -> Pair {
        self.signs(name, |params| params.serial_number = Some(serial.into()))
    }

    fn signs(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        (params.not_before, params.not_after) =
            (rcgen::date_time_ymd(2000, 1, 1), rcgen::date_time_ymd(2099, 12, 31));
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Pair { cert: params.signed_by(&key, &self.issuer).unwrap().pem(), key: key.serialize_pem() }
    }

    /// The list of the certificates that it has revoked, until the end of that year; in PEM and in DER.
    pub fn revokes(&self, serials: &[u64], until: i32) -> (String, Vec<u8>) {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: (*serial).into(),
            revocation_time: rcgen::date_time_ymd(2019, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2019, 1, 1),
            next_update: rcgen::date_time_ymd(until, 12, 31),
            crl_number: 1_u64.into(),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).unwrap();
        (list.pem().unwrap(), list.der().to_vec())
    }

    /// How clients trust it.
    pub fn trust(&self) -> Arc<ClientConfig> {
        Arc::new(ClientConfig::builder().with_root_certificates(self.roots()).with_no_client_auth())
    }

    /// The same, with a certificate to show.
    pub fn trust_as(&self, pair: &Pair) -> Arc<ClientConfig> {
        let chain = vec![CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
        let builder = ClientConfig::builder().with_root_certificates(self.roots());
        Arc::new(builder.with_client_auth_cert(chain, key).unwrap())
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        roots
    }
}

impl Pair {
    /// Writes both into a folder, each by rename, as `NAME.pem` and `NAME.key`.
    pub fn write(&self, folder: &Path, name: &str) {
        for (end, text) in [("pem", &self.cert), ("key", &self.key)] {
            let (new, file) = (folder.join(format!(".{name}.{end}")), folder.join(format!("{name}.{end}")));
            std::fs::write(&new, text).unwrap();
            std::fs::rename(new, file).unwrap();
        }
    }
}

/// A client's end.
pub type Client = StreamOwned<ClientConnection, TcpStream>;

/// A client that has begun TLS.
pub fn begin(port: u16, config: &Arc<ClientConfig>, name: &str) -> std::io::Result<Client> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut connection = ClientConnection::new(config.clone(), name.to_owned().try_into().unwrap()).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    Ok(StreamOwned::new(connection, stream))
}

/// The name that a backend says at first, and an echo.
pub fn talk(client: &mut Client) -> std::io::Result<String> {
    let mut name = Vec::new();
    let mut byte = [0];
    while byte != *b"\n" {
        client.read_exact(&mut byte)?;
        name.push(byte[0]);
    }
    client.write_all(b"ping\n")?;
    let mut back = [0; 5];
    client.read_exact(&mut back)?;
    assert_eq!(&back, b"ping\n");
    Ok(String::from_utf8(name).unwrap().trim_end().to_owned())
}
