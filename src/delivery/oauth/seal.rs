//! The seal of an access token that lies where others may read: only who knows what the token was had with can open it.
//!
//! Rule: the key is derived from what all hosts of the account have and the database has not, and never leaves this file. What is said of
//! the token beside it is sealed with it. Blocks where it reads files. Must not know where the token lies.

use std::{fmt, time::Duration};

use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, KeyType, Salt},
    rand::{SecureRandom as _, SystemRandom},
};
use zeroize::Zeroizing;

use super::{
    client_file::{self, Client, read_secret},
    error::TokenError,
    options::Grant,
    service_account,
    token_file::Stored,
};
use crate::{fleet::KeyId, secret::Secret};

/// What else these secrets are used for gives other keys.
const SALT: &[u8] = b"pillarbox: the access token of all hosts of an account";
/// The form of what is sealed.
const FORM: u8 = 1;
const TAG_LENGTH: usize = 16;

/// What is said of a token beside it, and must not be changed.
#[derive(Clone, Copy, Debug)]
pub(super) struct About<'a> {
    pub(super) account: &'a str,
    pub(super) number: i64,
    /// How long it is good from the moment on in which it was put there.
    pub(super) lasts: Duration,
}

/// A key and the name by which hosts that have the same one find each other's token.
pub(super) struct Seal {
    key: LessSafeKey,
    id: KeyId,
}

impl fmt::Debug for Seal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Seal(***)")
    }
}

/// The length of a key's name.
struct OfAnId;

impl KeyType for OfAnId {
    fn len(&self) -> usize {
        size_of::<KeyId>()
    }
}

impl Seal {
    /// From what a token is had with: `asked` says which one, such as its scope. Blocks.
    pub(super) fn of(
        grant: &Grant,
        asked: [&str; 3],
        stored: Option<&Stored>,
    ) -> Result<Option<Self>, TokenError> {
        let [username, scope, endpoint] = asked;
        let of = |kind, client: &Client, secret: &str| {
            let own = client.secret.as_ref().map_or("", Secret::expose);
            Self::from(&[kind, username, scope, endpoint, client.id.as_str(), own, secret])
        };
        Ok(match (grant, stored) {
            (Grant::Refresh { client, .. }, Some(stored)) => {
                let client = client_file::client(client)?;
                of("refresh", &client, stored.refresh_token.expose())
            }
            (Grant::Refresh { .. }, None) => None,
            (Grant::ServiceAccount { key_file }, _) => {
                let key = service_account::private_key(key_file)?;
                let client = Client { id: String::new(), secret: None };
                of("service account", &client, key.expose())
            }
            (Grant::Application { client, certificate }, _) => {
                let key =
                    certificate.as_ref().map(|file| read_secret(file, "the certificate file"));
                let key = key.transpose()?.unwrap_or_default();
                let client = client_file::client(client)?;
                // Without either there is nothing that the database has not.
                let has_secret = client.secret.is_some() || !key.is_empty();
                has_secret.then(|| of("application", &client, &key)).flatten()
            }
        })
    }

    /// From these texts, of which one at least is a secret that nobody can guess.
    fn from(texts: &[&str]) -> Option<Self> {
        let length = texts.iter().map(|text| size_of::<u64>() + text.len()).sum();
        // Nothing of it is left in a buffer that was too small.
        let mut whole = Zeroizing::new(Vec::with_capacity(length));
        for text in texts {
            whole.extend_from_slice(&(text.len() as u64).to_be_bytes());
            whole.extend_from_slice(text.as_bytes());
        }
        let derived = Salt::new(HKDF_SHA256, SALT).extract(&whole);
        let mut id = KeyId::default();
        derived.expand(&[b"id".as_slice()], OfAnId).ok()?.fill(&mut id).ok()?;
        let key = UnboundKey::from(derived.expand(&[b"key".as_slice()], &CHACHA20_POLY1305).ok()?);
        Some(Self { key: LessSafeKey::new(key), id })
    }

    /// The name of the key, which says nothing of it.
    pub(super) fn id(&self) -> &KeyId {
        &self.id
    }

    /// `None` where the system gives no random numbers.
    pub(super) fn seal(&self, about: About<'_>, token: &Secret) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let text = token.expose().as_bytes();
        let mut octets = Vec::with_capacity(text.len() + TAG_LENGTH);
        octets.extend_from_slice(text);
        let (about, once) = (Aad::from(said(about)), Nonce::assume_unique_for_key(nonce));
        self.key.seal_in_place_append_tag(once, about, &mut octets).ok()?;
        Some([&[FORM][..], &nonce[..], &octets[..]].concat())
    }

    /// `None` where it is not what was sealed, or of something else.
    pub(super) fn open(&self, about: About<'_>, sealed: &[u8]) -> Option<Secret> {
        let (form, rest) = sealed.split_first()?;
        let (nonce, octets) = rest.split_first_chunk::<NONCE_LEN>().filter(|_| *form == FORM)?;
        let mut octets = Zeroizing::new(octets.to_vec());
        let (about, once) = (Aad::from(said(about)), Nonce::assume_unique_for_key(*nonce));
        let text = self.key.open_in_place(once, about, &mut octets).ok()?;
        Some(Secret::new(std::str::from_utf8(text).ok()?.to_owned()))
    }
}

fn said(About { account, number, lasts }: About<'_>) -> Vec<u8> {
    let lasts = u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX);
    [&number.to_be_bytes()[..], &lasts.to_be_bytes(), account.as_bytes()].concat()
}

/// As of two hosts that know the same secret, for tests.
#[cfg(test)]
pub(super) fn of_secret(secret: &str) -> Seal {
    Seal::from(&[secret]).expect("keys can be derived")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABOUT: About<'_> =
        About { account: "you@gmail.com at google", number: 7, lasts: Duration::from_secs(3_300) };

    #[test]
    fn who_knows_the_same_secret_opens_it_and_nobody_else_nor_under_another_name_or_time() {
        let token = Secret::new("ya29.a-token".into());
        let sealed = of_secret("1//refresh").seal(ABOUT, &token).unwrap();
        assert_eq!(of_secret("1//refresh").open(ABOUT, &sealed), Some(token.clone()));
        assert_eq!(of_secret("1//other").open(ABOUT, &sealed), None);
        for about in [
            About { account: "me@gmail.com at google", ..ABOUT },
            About { number: 8, ..ABOUT },
            About { lasts: Duration::from_secs(3_301), ..ABOUT },
        ] {
            assert_eq!(of_secret("1//refresh").open(about, &sealed), None, "{about:?}");
        }
        assert!(!sealed.windows(4).any(|octets| octets == b"ya29"), "it is sealed");
        assert_ne!(of_secret("1//refresh").seal(ABOUT, &token).unwrap(), sealed, "each is another");
        assert_ne!(of_secret("1//refresh").id(), of_secret("1//other").id());
    }

    #[test]
    fn whatever_octet_was_changed_or_cut_off_it_opens_not() {
        let seal = of_secret("1//refresh");
        let sealed = seal.seal(ABOUT, &Secret::new("ya29.a-token".into())).unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(seal.open(ABOUT, &changed), None, "octet {at}");
            assert_eq!(seal.open(ABOUT, &sealed[..at]), None, "{at} octets");
        }
    }

    #[test]
    fn no_secret_is_in_what_is_printed_and_where_two_texts_meet_is_part_of_the_key() {
        assert_eq!(format!("{:?}", of_secret("1//refresh")), "Seal(***)");
        assert_ne!(Seal::from(&["a", "bc"]).unwrap().id(), Seal::from(&["ab", "c"]).unwrap().id());
    }
}
