//! Who other homeservers must prove to be. Answers to `FederationPolicyForHTTPS` in `synapse/crypto/context_factory.py`.

use std::sync::Arc;

use myelin_config::FederationTls;
use regex::Regex;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::connector::system_roots;

#[derive(Debug)]
struct Policy {
    provider: Arc<CryptoProvider>,
    /// None: there is nobody to trust.
    verifier: Option<Arc<WebPkiServerVerifier>>,
    verify: bool,
    unverified: Vec<Regex>,
}

/// `get_options`. Versions before 1.2 are never spoken.
pub fn config(tls: &FederationTls) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = if tls.only_1_3 { &[&rustls::version::TLS13][..] } else { rustls::ALL_VERSIONS };
    let roots = Arc::new(roots(tls));
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
    let policy = Policy {
        provider: Arc::clone(&provider),
        // Why there are none is in the log.
        verifier: verifier.ok(),
        verify: tls.verify,
        unverified: tls.unverified.clone(),
    };
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions)?;
    Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(policy)).with_no_client_auth())
}

/// `federation_custom_ca_list`, or the system's.
fn roots(tls: &FederationTls) -> RootCertStore {
    let Some(own) = &tls.authorities else { return system_roots() };
    let mut roots = RootCertStore::empty();
    let (_, ignored) = roots.add_parsable_certificates(own.iter().map(|der| CertificateDer::from(der.as_slice())));
    if ignored > 0 {
        tracing::warn!("{ignored} certificates of federation_custom_ca_list cannot be read");
    }
    roots
}

impl ServerCertVerifier for Policy {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let name = server_name.to_str();
        if !self.verify || self.unverified.iter().any(|glob| glob.is_match(&name)) {
            return Ok(ServerCertVerified::assertion());
        }
        let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let verifier = self.verifier.as_ref().ok_or(unknown)?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
