//! The rules of every request and of every answer, whatever it is about.
//!
//! Rule: a request for another name than the page's is refused before anything is looked at; no answer may be framed, kept
//! by a cache, or fetch anything from elsewhere.

use axum::{
    extract::{Request, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, REFERRER_POLICY,
            X_CONTENT_TYPE_OPTIONS, X_DNS_PREFETCH_CONTROL, X_FRAME_OPTIONS,
        },
    },
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use super::{assets, layout, site::Site};

/// Only what the page itself has; no script and no style within a document, so that a text which broke out of its place
/// could do nothing.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; \
                      base-uri 'none'";

/// The same for a request by this name of ours, whose documents may run the one script that there is and follow the
/// relay. It is named whole: whatever else could be fetched from here, such as a part of a message, is no script.
fn policy(host: Option<&str>) -> HeaderValue {
    // An address in brackets cannot be written there (CSP level 3, section 2.3.1).
    let host = host.filter(|host| !host.starts_with('['));
    let said = host.map_or_else(
        || POLICY.to_owned(),
        |host| format!("{POLICY}; script-src {host}{}; connect-src 'self'", assets::script()),
    );
    HeaderValue::try_from(said).unwrap_or(HeaderValue::from_static(POLICY))
}

/// The same for a document that frames one of ours, and for the one that is framed: of that nothing may be fetched, run, sent
/// or left, whatever somebody has written into it.
const OF_FRAMING: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; img-src 'self'; frame-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
);
const OF_FRAMED: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; frame-ancestors 'self'; base-uri 'none'; sandbox",
);

const OF_FILE: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'; sandbox",
);

/// The part of an answer in a frame, which it says along with itself; without one it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// It frames another one of ours.
    Frames,
    /// It is framed by ours, and was written by a stranger.
    IsFramed,
    /// It is a file of a stranger, which is kept and not shown.
    IsFile,
}

/// What every answer says. `same-origin` instead of `no-referrer`: with the latter a browser gives the origin of our own
/// forms as `null`, and they could not be told from those of others.
const SAID: [(HeaderName, HeaderValue); 5] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];

/// Stands before all answers.
pub(super) async fn stand(State(site): State<Site>, request: Request, next: Next) -> Response {
    let host = asked_for(&request).filter(|host| site.place.is_called(host)).map(str::to_owned);
    let mut answer = match host {
        Some(_) => for_people(next.run(request).await),
        None => layout::plain(
            StatusCode::MISDIRECTED_REQUEST,
            "This is not the name of this page",
            &format!("It answers to {} alone; see page_url in relay.toml.", site.place.origin),
        )
        .into_response(),
    };
    answer.headers_mut().insert(CONTENT_SECURITY_POLICY, policy(host.as_deref()));
    for (name, value) in SAID {
        answer.headers_mut().insert(name, value);
    }
    let framing = answer.extensions().get().copied();
    let heads = answer.headers_mut();
    match framing {
        None => {}
        Some(Framing::Frames) => drop(heads.insert(CONTENT_SECURITY_POLICY, OF_FRAMING)),
        Some(Framing::IsFile) => drop(heads.insert(CONTENT_SECURITY_POLICY, OF_FILE)),
        Some(Framing::IsFramed) => {
            heads.insert(CONTENT_SECURITY_POLICY, OF_FRAMED);
            heads.insert(X_FRAME_OPTIONS, HeaderValue::from_static("SAMEORIGIN"));
            heads.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
            heads.insert(X_DNS_PREFETCH_CONTROL, HeaderValue::from_static("off"));
        }
    }
    answer.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    answer
}

/// A refusal that was not made for people, such as that of a time limit, as a document.
fn for_people(answer: Response) -> Response {
    let status = answer.status();
    let kind = answer.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let is_document = kind.is_some_and(|kind| kind.starts_with(b"text/html"));
    if is_document || !(status.is_client_error() || status.is_server_error()) {
        return answer;
    }
    let (title, words) = match status {
        StatusCode::SERVICE_UNAVAILABLE => (
            "The relay took too long to answer",
            "Load the page again in a minute. If that helps nothing, pillarbox status on its host says what is wrong.",
        ),
        StatusCode::METHOD_NOT_ALLOWED => ("This cannot be done here", "See the start page."),
        _ => ("Not understood", "This address was not made by this page."),
    };
    layout::plain(status, title, words).into_response()
}

/// The host that a request is for, which it names once.
fn asked_for(request: &Request) -> Option<&str> {
    let named = only(request.headers(), &HOST)?;
    // A request may name the host in its first line as well; a proxy's does.
    match request.uri().authority() {
        Some(authority) if authority.as_str() != named => None,
        _ => Some(named),
    }
}

/// The value of a field that is there once.
pub(super) fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut all = headers.get_all(name).iter();
    let value = all.next()?;
    if all.next().is_some() { None } else { value.to_str().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_that_was_made_for_programs_is_a_document_with_its_status() {
        let late =
            (StatusCode::SERVICE_UNAVAILABLE, axum::Json("the queue took too long to answer"));
        for (answer, status) in [
            (late.into_response(), StatusCode::SERVICE_UNAVAILABLE),
            (StatusCode::METHOD_NOT_ALLOWED.into_response(), StatusCode::METHOD_NOT_ALLOWED),
            ((StatusCode::BAD_REQUEST, "odd").into_response(), StatusCode::BAD_REQUEST),
        ] {
            let answer = for_people(answer);
            let kind = answer.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
            assert_eq!((answer.status(), kind), (status, Some(&b"text/html; charset=utf-8"[..])));
        }
        let other = for_people("text".into_response());
        assert_eq!(other.status(), StatusCode::OK);
    }
}
