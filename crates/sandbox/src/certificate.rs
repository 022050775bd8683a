//! The sandbox's own certificate authority and the certificates of its TLS ports.
//!
//! Rule: made anew at every start and trusted by nobody who was not given the PEM. A client that
//! sends no SNI meets `invalid2.invalid`, as at Google's front ends (docs/gmail.md section 1.2).
//! Must not know what is said inside TLS.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use tokio_rustls::rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{error::SandboxError, options::Certificate};

/// The authority and what the TLS ports present.
pub(super) struct Certificates {
    /// The authority's certificate, for the client's trust store.
    pub authority_pem: String,
    /// The configuration of both TLS ports.
    pub server: Arc<ServerConfig>,
}

impl Certificates {
    /// Makes an authority, a leaf for `smtp.gmail.com` and loopback, and the one for no SNI.
    pub(super) fn make(require_sni: bool, kind: Certificate) -> Result<Self, SandboxError> {
        let (authority_pem, leaf) = issue_leaf(kind).map_err(certificate_error)?;
        let without_sni =
            if require_sni { self_signed().map_err(certificate_error)? } else { leaf.clone() };
        let provider = Arc::new(ring::default_provider());
        let resolver = BySni {
            leaf: Arc::new(certified(leaf, &provider)?),
            without_sni: Arc::new(certified(without_sni, &provider)?),
        };
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(certificate_error)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
        Ok(Self { authority_pem, server: Arc::new(server) })
    }
}

#[derive(Debug)]
struct BySni {
    leaf: Arc<CertifiedKey>,
    without_sni: Arc<CertifiedKey>,
}

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().is_some();
        Some(Arc::clone(if named { &self.leaf } else { &self.without_sni }))
    }
}

/// A certificate and its private key, both in DER.
#[derive(Clone)]
struct Pair {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

fn issue_leaf(kind: Certificate) -> Result<(String, Pair), rcgen::Error> {
    let (authority_pem, mut issuer) = authority()?;
    if kind == Certificate::OtherAuthority {
        // The client is given the certificate of the first authority, and meets one of the second.
        (_, issuer) = authority()?;
    }
    let names: &[&str] = match kind {
        Certificate::OtherName => &["mail.example.org"],
        Certificate::Right | Certificate::OtherAuthority | Certificate::Expired => {
            &["smtp.gmail.com", "localhost", "127.0.0.1", "::1"]
        }
    };
    let mut leaf =
        CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
    leaf.distinguished_name.push(DnType::CommonName, names[0]);
    if kind == Certificate::Expired {
        leaf.not_before = date_time_ymd(2024, 1, 1);
        leaf.not_after = date_time_ymd(2024, 3, 25);
    }
    let key = KeyPair::generate()?;
    let certificate = leaf.signed_by(&key, &issuer)?.der().to_vec();
    Ok((authority_pem, Pair { certificate, key: key.serialize_der() }))
}

fn authority() -> Result<(String, Issuer<'static, KeyPair>), rcgen::Error> {
    let mut authority = CertificateParams::new(Vec::<String>::new())?;
    authority.distinguished_name.push(DnType::CommonName, "Pillarbox sandbox authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate()?;
    let pem = authority.self_signed(&key)?.pem();
    Ok((pem, Issuer::new(authority, key)))
}

fn self_signed() -> Result<Pair, rcgen::Error> {
    let mut params = CertificateParams::new(vec!["invalid2.invalid".to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, "invalid2.invalid");
    params
        .distinguished_name
        .push(DnType::OrganizationalUnitName, "No SNI provided; please fix your client.");
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?.der().to_vec();
    Ok(Pair { certificate, key: key.serialize_der() })
}

fn certified(
    pair: Pair,
    provider: &tokio_rustls::rustls::crypto::CryptoProvider,
) -> Result<CertifiedKey, SandboxError> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.key));
    CertifiedKey::from_der(vec![CertificateDer::from(pair.certificate)], key, provider)
        .map_err(certificate_error)
}

fn certificate_error(error: impl std::fmt::Display) -> SandboxError {
    SandboxError::Certificate(error.to_string())
}
