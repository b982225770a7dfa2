//! Certificates of test servers: one to trust, and those nobody may trust.

use std::{io, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

/// What is wrong with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing.
    None,
    /// It ended years ago.
    Expired,
    /// It was given to another host.
    OtherHost,
    /// It was signed by nobody but itself.
    SelfSigned,
}

/// Who a server says it is, and the authority that vouches for it.
#[derive(Debug)]
pub struct Identity {
    authority_pem: String,
    certificate: CertificateDer<'static>,
    key: PrivatePkcs8KeyDer<'static>,
}

impl Identity {
    /// A new authority and a certificate for `127.0.0.1` and `localhost` with this flaw.
    pub fn new(flaw: Flaw) -> io::Result<Self> {
        Self::make(flaw).map_err(io::Error::other)
    }

    /// A certificate that is its own authority, as `openssl req -x509` makes them, from the beginning of a year for ten
    /// years.
    pub fn its_own_authority(names: Vec<String>, begun: i32) -> io::Result<Self> {
        let make = || {
            let mut params = CertificateParams::new(names)?;
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            (params.not_before, params.not_after) = (date_time_ymd(begun, 1, 1), date_time_ymd(begun + 10, 1, 1));
            let key = KeyPair::generate()?;
            let certificate = params.self_signed(&key)?;
            let key = PrivatePkcs8KeyDer::from(key.serialize_der());
            Ok::<_, rcgen::Error>(Self {
                authority_pem: certificate.pem(),
                certificate: certificate.der().clone(),
                key,
            })
        };
        make().map_err(io::Error::other)
    }

    /// The authority's certificate, for clients to trust. With [`Flaw::SelfSigned`] it vouches for somebody else.
    #[must_use]
    pub fn authority_pem(&self) -> &str {
        &self.authority_pem
    }

    fn make(flaw: Flaw) -> Result<Self, rcgen::Error> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(rcgen::DnType::CommonName, "Carrel test authority");
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let names = match flaw {
            Flaw::OtherHost => vec!["elsewhere.test".to_owned()],
            _ => vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()],
        };
        let mut params = CertificateParams::new(names)?;
        if flaw == Flaw::Expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2020, 12, 31);
        }
        let key = KeyPair::generate()?;
        let certificate = match flaw {
            Flaw::SelfSigned => params.self_signed(&key)?,
            _ => params.signed_by(&key, &authority)?,
        };
        let authority_pem = authority.pem();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        Ok(Self { authority_pem, certificate: certificate.der().clone(), key })
    }

    /// Takes TLS connections under this name, offering HTTP/2 or not.
    pub(super) fn acceptor(&self, http2: bool) -> io::Result<TlsAcceptor> {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().map_err(io::Error::other)?;
        let key = PrivateKeyDer::Pkcs8(self.key.clone_key());
        let certificates = vec![self.certificate.clone()];
        let mut server = builder.with_no_client_auth().with_single_cert(certificates, key).map_err(io::Error::other)?;
        server.alpn_protocols =
            if http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
        Ok(TlsAcceptor::from(Arc::new(server)))
    }
}
