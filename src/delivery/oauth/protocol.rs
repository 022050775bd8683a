//! The words of OAuth 2.0: the authorization address with PKCE, the forms, and what an answer says (RFC 6749, RFC 7636).
//!
//! Rule: pure but for random octets; an answer's tokens are secrets from the first look on, and nothing of an answer
//! is repeated but an error's words. Must not know what a refusal means, nor HTTP.

use data_encoding::BASE64URL_NOPAD;
use ring::{
    digest::{SHA256, digest},
    error::Unspecified,
    rand::{SecureRandom as _, SystemRandom},
};
use serde::{Deserialize, de::DeserializeOwned};
use url::Url;

use crate::secret::Secret;

/// Random octets of a verifier: 43 characters, the fewest that RFC 7636 section 4.1 allows and what it recommends.
const VERIFIER_OCTETS: usize = 32;
/// Random octets of a state. It is good for one consent, and whoever guesses wrongly is not told how.
const STATE_OCTETS: usize = 16;

/// An authorization request: where the browser goes, and what proves that its answer is ours.
pub(super) struct Authorization {
    pub(super) address: Url,
    pub(super) state: String,
    pub(super) verifier: Secret,
}

impl Authorization {
    /// With a new state and a new verifier; fails when the system gives no random octets.
    pub(super) fn new(
        endpoint: &Url,
        client_id: &str,
        redirect: &str,
        (username, scope): (&str, &str),
    ) -> Result<Self, Unspecified> {
        let (state, verifier) = (random::<STATE_OCTETS>()?, random::<VERIFIER_OCTETS>()?);
        let mut address = endpoint.clone();
        address.query_pairs_mut().extend_pairs([
            ("response_type", "code"),
            ("client_id", client_id),
            ("state", &state),
            ("code_challenge", &challenge(&verifier)),
            ("code_challenge_method", "S256"),
            ("redirect_uri", redirect),
            ("scope", scope),
            // Without these two Google gives no refresh token, or only at the first consent.
            ("access_type", "offline"),
            ("prompt", "consent"),
            ("login_hint", username),
        ]);
        Ok(Self { address, state, verifier: Secret::new(verifier) })
    }
}

/// The challenge to a verifier (RFC 7636 section 4.2, S256).
fn challenge(verifier: &str) -> String {
    BASE64URL_NOPAD.encode(digest(&SHA256, verifier.as_bytes()).as_ref())
}

fn random<const OCTETS: usize>() -> Result<String, Unspecified> {
    let mut octets = [0; OCTETS];
    SystemRandom::new().fill(&mut octets)?;
    Ok(BASE64URL_NOPAD.encode(&octets))
}

/// A successful response (RFC 6749 section 5.1), with what Google adds.
#[derive(Debug, Deserialize)]
pub(super) struct TokenResponse {
    pub(super) access_token: Secret,
    /// Required by the RFC; every provider of mail means "Bearer", in one case or another.
    #[serde(rename = "token_type")]
    _token_type: String,
    pub(super) expires_in: Option<u64>,
    pub(super) refresh_token: Option<Secret>,
    pub(super) refresh_token_expires_in: Option<u64>,
    pub(super) scope: Option<String>,
}

/// An error response (RFC 6749 section 5.2).
#[derive(Debug, Deserialize)]
pub(super) struct ErrorResponse {
    pub(super) error: String,
    pub(super) error_description: Option<String>,
}

/// A device authorization response (RFC 8628 section 3.2).
#[derive(Debug, Deserialize)]
pub(super) struct DeviceResponse {
    pub(super) device_code: Secret,
    pub(super) user_code: String,
    /// Some call it URL.
    #[serde(alias = "verification_url")]
    pub(super) verification_uri: String,
    pub(super) expires_in: u64,
    pub(super) interval: Option<u64>,
}

/// What an endpoint has answered.
#[derive(Debug)]
pub(super) enum Reply<T> {
    Granted(T),
    Refused(ErrorResponse),
    /// Neither: a captive portal's page, or an answer that was cut.
    Unreadable,
}

/// Reads an answer with one of the statuses that an endpoint gives.
pub(super) fn read<T: DeserializeOwned>(
    status: u16,
    content_type: Option<&str>,
    body: &[u8],
) -> Reply<T> {
    if status != 200 {
        return json(body).map_or(Reply::Unreadable, Reply::Refused);
    }
    // Media types are the same in any case (RFC 9110 section 8.3.1); parameters may follow.
    let is_json =
        content_type.is_none_or(|given| given.to_ascii_lowercase().starts_with("application/json"));
    json(body).filter(|_| is_json).map_or(Reply::Unreadable, Reply::Granted)
}

/// The JSON value at the beginning. What stands behind it is not looked at: a stray octet must not cost a refresh
/// token that replaces the old one.
fn json<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    T::deserialize(&mut serde_json::Deserializer::from_slice(body)).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const GRANTED: &str = r#"{"access_token":"ya29.a","token_type":"Bearer","expires_in":3599,
        "refresh_token":"1//r","refresh_token_expires_in":604799,"scope":"https://mail.google.com/"}"#;

    fn granted(status: u16, content_type: Option<&str>, body: &str) -> Option<TokenResponse> {
        match read(status, content_type, body.as_bytes()) {
            Reply::Granted(response) => Some(response),
            Reply::Refused(_) | Reply::Unreadable => None,
        }
    }

    fn refused(status: u16, body: &str) -> Option<(String, Option<String>)> {
        match read::<TokenResponse>(status, None, body.as_bytes()) {
            Reply::Refused(response) => Some((response.error, response.error_description)),
            Reply::Granted(_) | Reply::Unreadable => None,
        }
    }

    #[test]
    fn the_challenge_is_that_of_the_rfc() {
        // RFC 7636 appendix B.
        assert_eq!(
            challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }

    #[test]
    fn the_authorization_address_has_all_that_google_wants_and_keeps_the_endpoints_own_query() {
        let endpoint = Url::parse("https://accounts.example/auth?tenant=a%26b").unwrap();
        let authorization =
            Authorization::new(&endpoint, "id&1", "http://127.0.0.1:8080", ("mé@gmail.com", "s"))
                .unwrap();
        assert!(authorization.address.as_str().starts_with(endpoint.as_str()));
        let pairs: BTreeMap<_, _> = authorization.address.query_pairs().into_owned().collect();
        let pair = |name: &str| pairs[name].as_str();
        assert_eq!((pair("tenant"), pair("response_type")), ("a&b", "code"));
        assert_eq!((pair("client_id"), pair("login_hint")), ("id&1", "mé@gmail.com"));
        assert_eq!((pair("redirect_uri"), pair("scope")), ("http://127.0.0.1:8080", "s"));
        assert_eq!((pair("access_type"), pair("prompt")), ("offline", "consent"));
        assert_eq!(pair("state"), authorization.state);
        assert_eq!((pair("code_challenge_method"), pair("code_challenge").len()), ("S256", 43));
        assert_eq!(pairs.len(), 11);
    }

    #[test]
    fn no_two_authorizations_share_state_or_verifier() {
        let endpoint = Url::parse("https://accounts.example/auth").unwrap();
        let new =
            || Authorization::new(&endpoint, "id", "http://127.0.0.1:1", ("me", "s")).unwrap();
        let (one, other) = (new(), new());
        assert_ne!(one.state, other.state);
        assert!(one.verifier != other.verifier);
        assert_eq!((one.state.len(), random::<VERIFIER_OCTETS>().unwrap().len()), (22, 43));
        assert!(!one.address.as_str().contains("code_verifier"));
    }

    #[test]
    fn a_token_response_is_read_with_what_google_adds() {
        for content_type in
            [None, Some("application/json"), Some("Application/JSON; charset=utf-8")]
        {
            let response = granted(200, content_type, GRANTED).unwrap();
            assert!(response.access_token == Secret::new("ya29.a".into()));
            assert!(response.refresh_token == Some(Secret::new("1//r".into())));
            assert_eq!(
                (response.expires_in, response.refresh_token_expires_in),
                (Some(3_599), Some(604_799))
            );
            assert_eq!(response.scope.as_deref(), Some("https://mail.google.com/"));
            let shown = format!("{response:?}");
            assert!(!shown.contains("ya29") && !shown.contains("1//r"), "{shown}");
        }
        let least = r#"{"token_type":"bearer","access_token":"t","scope":null,"new":[1]}"#;
        let least = granted(200, None, least).unwrap();
        assert!(
            least.refresh_token.is_none() && least.expires_in.is_none() && least.scope.is_none()
        );
        let stray = format!("{GRANTED}\n}}");
        assert!(granted(200, None, &stray).is_some(), "a stray octet behind it costs no token");
    }

    #[test]
    fn what_is_not_a_token_response_is_not_taken_for_one() {
        for body in [
            "",
            "<html>",
            "{}",
            "null",
            r#"{"access_token":"t"}"#,
            r#"{"token_type":"Bearer"}"#,
            r#"{"access_token":1,"token_type":"Bearer"}"#,
            r#"{"access_token":"t","token_type":"Bearer","expires_in":-1}"#,
            r#"{"access_token":"t","token_type":"Bearer","expires_in":"soon"}"#,
            r#"{"access_token":"t","token_type":"Bea"#,
        ] {
            assert!(granted(200, None, body).is_none(), "{body}");
        }
        for content_type in ["text/html", "application/xml", ""] {
            assert!(granted(200, Some(content_type), GRANTED).is_none(), "{content_type}");
        }
        assert!(granted(400, None, GRANTED).is_none());
    }

    #[test]
    fn a_refusal_is_read_whatever_its_content_type_and_nothing_else_is_one() {
        let words = r#"{"error":"invalid_grant","error_description":"Token has been revoked."}"#;
        assert_eq!(
            refused(400, words),
            Some(("invalid_grant".into(), Some("Token has been revoked.".into())))
        );
        assert_eq!(refused(401, r#"{"error":"x","error_uri":"u"}"#), Some(("x".into(), None)));
        for body in ["", "{}", r#"{"error":{"code":400}}"#, "<html>", r#"{"error":"invalid_gr"#] {
            assert_eq!(refused(400, body), None, "{body}");
        }
        assert_eq!(refused(200, words), None, "a success is not a refusal");
    }
}
