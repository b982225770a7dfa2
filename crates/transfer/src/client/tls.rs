//! Who is trusted, and what is agreed on in the handshake.
//!
//! The system's own judgement of certificates (rustls-platform-verifier) and the authorities given beside it. It is set up
//! with the first connection that needs it: reading the system's certificates takes longer than a small download, and a
//! machine that has none can still use plain HTTP and what is trusted explicitly.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use rustls_platform_verifier::Verifier;
use tokio_rustls::TlsConnector;

use super::{
    pinned::Pinned,
    wire::{Ahead, Wire},
};
use crate::rules::patience::Setback;

/// Which protocols are offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offer {
    Http1,
    Http2,
    Either,
}

impl Offer {
    fn protocols(self) -> Vec<Vec<u8>> {
        let (two, one) = (b"h2".to_vec(), b"http/1.1".to_vec());
        match self {
            Self::Http1 => vec![one],
            Self::Http2 => vec![two],
            Self::Either => vec![two, one],
        }
    }
}

#[derive(Debug)]
pub(super) struct Tls {
    extra_roots: Vec<CertificateDer<'static>>,
    /// Made when first needed; its clones share the sessions to resume.
    config: Mutex<Option<ClientConfig>>,
}

impl Tls {
    pub(super) fn new(extra_roots_pem: &[Vec<u8>]) -> Result<Self, rustls::pki_types::pem::Error> {
        let mut extra_roots = Vec::new();
        for pem in extra_roots_pem {
            let before = extra_roots.len();
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate?;
                // One that can't be read would make every connection fail, those to others included.
                if RootCertStore::empty().add(certificate.clone()).is_ok() {
                    extra_roots.push(certificate);
                }
            }
            if extra_roots.len() == before {
                return Err(rustls::pki_types::pem::Error::NoItemsFound);
            }
        }
        Ok(Self { extra_roots, config: Mutex::default() })
    }

    /// Shakes hands; whether HTTP/2 was agreed on.
    pub(super) async fn wrap(&self, wire: Wire, name: &str, offer: Offer) -> Result<(Wire, bool), Setback> {
        let mut config = self.config().map_err(|error| Setback::Tls(error.to_string()))?;
        config.alpn_protocols = offer.protocols();
        let name = ServerName::try_from(name.to_owned()).map_err(|error| Setback::Tls(error.to_string()))?;
        let shaken = TlsConnector::from(Arc::new(config)).connect(name, Ahead::new(wire)).await;
        let stream = shaken.map_err(|error| failure(&error))?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok((Wire::Tls(Box::new(stream)), http2))
    }

    fn config(&self) -> Result<ClientConfig, rustls::Error> {
        let mut made = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = &*made {
            return Ok(config.clone());
        }
        let provider = CryptoProvider::get_default()
            .map_or_else(|| Arc::new(rustls::crypto::ring::default_provider()), Arc::clone);
        let system = self.verifier(Arc::clone(&provider))?;
        let verifier = Arc::new(Pinned { system, given: self.extra_roots.clone() });
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        Ok(made.insert(config).clone())
    }

    #[cfg(not(target_os = "android"))]
    fn verifier(&self, provider: Arc<CryptoProvider>) -> Result<Verifier, rustls::Error> {
        Verifier::new_with_extra_roots(self.extra_roots.iter().cloned(), provider)
    }

    /// Android judges by itself, and authorities are added in its settings.
    #[cfg(target_os = "android")]
    fn verifier(&self, provider: Arc<CryptoProvider>) -> Result<Verifier, rustls::Error> {
        if !self.extra_roots.is_empty() {
            tracing::warn!("on Android, further authorities are those of the system's settings");
        }
        Verifier::new(provider)
    }
}

/// What TLS refused is an error of its own; what the network did is not.
fn failure(error: &std::io::Error) -> Setback {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(tls) => Setback::Tls(tls.to_string()),
        None => Setback::Unreachable(error.to_string()),
    }
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
