//! A JSON Web Token with the signature of an RSA key (RFC 7515 section 3.1), which a token endpoint takes for a proof.
//!
//! Rule: the key is wiped after one signature; the token is a secret, for it is worth an access token. Must not know who claims
//! what.

use data_encoding::BASE64URL_NOPAD;
use ring::{
    rand::SystemRandom,
    signature::{RsaEncoding, RsaKeyPair},
};
use serde_json::Value;
use tokio_rustls::rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};

use crate::secret::Secret;

/// The token with these claims; `None` when the PEM text holds no usable key.
pub(super) fn signed(
    pem: &[u8],
    encoding: &'static dyn RsaEncoding,
    header: &Value,
    claims: &Value,
) -> Option<Secret> {
    let key = PrivatePkcs8KeyDer::from_pem_slice(pem).ok()?;
    let key = RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).ok()?;
    let encoded = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let text = format!("{}.{}", encoded(header), encoded(claims));
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(encoding, &SystemRandom::new(), text.as_bytes(), &mut signature).ok()?;
    Some(Secret::new(format!("{text}.{}", BASE64URL_NOPAD.encode(&signature))))
}
