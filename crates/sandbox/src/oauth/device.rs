//! Codes that are entered on another device (RFC 8628), as Microsoft gives them.
//!
//! Rule: whoever asks sooner than he was told is told to slow down, and a code is exchanged once. Must not know HTTP.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    MICROSOFT_SCOPE, Parameters,
    grant::{Refusal, refusal},
    tokens::{Expiry, Subject, keep, random},
};
use crate::{
    clock::Moment,
    options::{OAUTH_CLIENT_ID, PUBLIC_CLIENT_ID},
    shared::Shared,
};

/// The codes that nobody has exchanged yet, by the one that is not shown.
#[derive(Debug, Default)]
pub(super) struct Devices {
    waiting: Mutex<HashMap<String, Device>>,
}

#[derive(Clone, Debug)]
struct Device {
    user_code: String,
    client_id: String,
    expiry: Expiry,
    interval: Duration,
    asked: Option<Moment>,
    decision: Option<Decision>,
}

/// What a person has said.
#[derive(Clone, Debug)]
pub(super) enum Decision {
    Agreed(Subject),
    Refused,
}

impl Devices {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Device>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A person enters a code; `false` when it is unknown or has ended.
    pub(super) fn decide(&self, user_code: &str, decision: Decision, now: Moment) -> bool {
        let mut waiting = self.lock();
        let known = waiting.values_mut().find(|device| device.user_code == user_code);
        let Some(device) = known.filter(|device| !device.expiry.remaining(now).is_zero()) else {
            return false;
        };
        device.decision = Some(decision);
        true
    }
}

/// The device authorization endpoint; `page` is where a person enters the code.
pub(super) fn authorize(form: &Parameters, shared: &Shared, page: &str, now: Moment) -> Refusal {
    let given = |name: &str| form.get(name).map_or("", String::as_str);
    let client_id = given("client_id");
    if ![PUBLIC_CLIENT_ID, OAUTH_CLIENT_ID].contains(&client_id) {
        let words = "AADSTS700016: Application with identifier was not found in the directory.";
        return refusal(400, "unauthorized_client", words);
    }
    let scopes: Vec<&str> = given("scope").split(' ').collect();
    if !scopes.contains(&MICROSOFT_SCOPE) {
        let words = "AADSTS70011: The provided value for the input parameter 'scope' is not valid.";
        return refusal(400, "invalid_scope", words);
    }
    let (lifetime, interval) = (shared.options.device_lifetime, shared.options.device_interval);
    let (device_code, user_code) = (random(60), random(9).to_ascii_uppercase());
    let answer = json!({
        "user_code": user_code,
        "device_code": device_code,
        "verification_uri": page,
        "expires_in": lifetime.as_secs(),
        "interval": interval.as_secs(),
        "message": format!("To sign in, use a web browser to open the page {page} and enter the code {user_code}."),
    });
    let device = Device {
        user_code,
        client_id: client_id.to_owned(),
        expiry: Expiry::new(now, lifetime),
        interval,
        asked: None,
        decision: None,
    };
    keep(&mut shared.identity.devices.lock(), device_code, device);
    (200, answer)
}

/// RFC 8628 section 3.5, with Microsoft's numbers.
pub(super) fn exchanged(
    form: &Parameters,
    shared: &Shared,
    now: Moment,
) -> Result<Subject, Refusal> {
    let given = |name: &str| form.get(name).map_or("", String::as_str);
    if given("client_id") == OAUTH_CLIENT_ID && !form.contains_key("client_secret") {
        let words = "AADSTS7000218: The request body must contain the following parameter: 'client_assertion' or \
                     'client_secret'.";
        return Err(refusal(401, "invalid_client", words));
    }
    let mut waiting = shared.identity.devices.lock();
    let known = waiting.get_mut(given("device_code"));
    let Some(device) = known.filter(|device| device.client_id == given("client_id")) else {
        let words = "AADSTS70000: The provided device code is not known.";
        return Err(refusal(400, "bad_verification_code", words));
    };
    if device.expiry.remaining(now).is_zero() {
        let words = "AADSTS70020: The provided value for the input parameter 'device_code' is not valid. This device \
                     code has expired.";
        return Err(refusal(400, "expired_token", words));
    }
    let too_soon = device.asked.is_some_and(|last| now.since(last) < device.interval);
    device.asked = Some(now);
    if too_soon {
        device.interval += SLOWER_BY;
        return Err(slow_down());
    }
    match device.decision.clone() {
        None => Err(refusal(
            400,
            "authorization_pending",
            "AADSTS70016: OAuth 2.0 device flow error. Authorization is pending. Continue polling.",
        )),
        Some(Decision::Refused) => {
            waiting.remove(given("device_code"));
            let words = "The end user denied the authorization request.";
            Err(refusal(400, "authorization_declined", words))
        }
        Some(Decision::Agreed(subject)) => {
            waiting.remove(given("device_code"));
            Ok(subject)
        }
    }
}

pub(super) fn slow_down() -> Refusal {
    let words: Value = "The client is polling too often.".into();
    (400, json!({ "error": "slow_down", "error_description": words }))
}

/// RFC 8628 section 3.5.
const SLOWER_BY: Duration = Duration::from_secs(5);
