//! A consent on another device: a code is shown, and the endpoint asked until somebody has entered it (RFC 8628).
//!
//! Rule: asked no sooner than the endpoint wants, and not beyond the code's end; trouble of the network costs growing
//! waits and not the code. The device's own code is a secret, the one to be entered is not. Must not know HTTP.

use std::time::Duration;

use super::{
    client_file::Client,
    error::{Kind, TokenError, shown},
    exchange::{Exchange, Granted, Polled},
    protocol::DeviceResponse,
};
use crate::{clock::Clock, secret::Secret};

/// Between two questions when the endpoint does not say (RFC 8628 section 3.2).
const INTERVAL_DEFAULT: Duration = Duration::from_secs(5);
const INTERVAL_MIN: Duration = Duration::from_secs(1);
/// Nobody who has just consented waits longer for it to be noticed.
const INTERVAL_MAX: Duration = Duration::from_secs(60);
/// What "slow_down" adds (RFC 8628 section 3.5).
const SLOWER_BY: Duration = Duration::from_secs(5);
/// The longest that a code is waited for; Microsoft's are good for 15 minutes.
const LIFETIME_MAX: Duration = Duration::from_secs(3_600);

/// A consent that is waited for.
pub(crate) struct Device {
    client: Client,
    code: Secret,
    user_code: String,
    address: String,
    lifetime: Duration,
    interval: Duration,
}

impl Device {
    /// Gets a code.
    pub(crate) async fn begin(exchange: &Exchange, client: Client) -> Result<Self, TokenError> {
        let response = exchange.device_code(&client).await?;
        Ok(Self::of(response, client))
    }

    fn of(response: DeviceResponse, client: Client) -> Self {
        let interval = response.interval.map_or(INTERVAL_DEFAULT, Duration::from_secs);
        Self {
            client,
            code: response.device_code,
            user_code: shown(&response.user_code, &[]),
            address: shown(&response.verification_uri, &[]),
            lifetime: Duration::from_secs(response.expires_in).min(LIFETIME_MAX),
            interval: interval.clamp(INTERVAL_MIN, INTERVAL_MAX),
        }
    }

    /// What a person opens in a browser, wherever.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// What is entered there.
    pub(crate) fn user_code(&self) -> &str {
        &self.user_code
    }

    /// How long the code is good.
    pub(crate) fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// Waits until somebody has entered the code and consented.
    pub(crate) async fn granted(self, exchange: &Exchange) -> Result<Granted, TokenError> {
        let poll = async || exchange.poll(&self.client, &self.code).await;
        let command = exchange.issuer().command();
        self.wait(exchange.clock().as_ref(), command, poll).await
    }

    async fn wait<G>(
        &self,
        clock: &dyn Clock,
        command: &str,
        mut poll: impl AsyncFnMut() -> Result<Polled<G>, TokenError>,
    ) -> Result<G, TokenError> {
        let running = || Duration::from_millis(clock.now().since_boot_ms);
        let end = running().saturating_add(self.lifetime);
        let mut interval = self.interval;
        let mut trouble = None;
        loop {
            let left = end.saturating_sub(running());
            if left.is_zero() {
                return Err(expired(self.lifetime, trouble, command));
            }
            clock.sleep(interval.min(left)).await;
            trouble = None;
            match poll().await {
                Ok(Polled::Granted(granted)) => return Ok(granted),
                Ok(Polled::Pending) => {}
                Ok(Polled::SlowDown) => interval += SLOWER_BY,
                Err(error) if error.kind == Kind::Temporary => {
                    // RFC 8628 section 3.5 wants growing waits.
                    interval = (interval * 2).min(interval.max(INTERVAL_MAX));
                    trouble = Some(error.reason);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl std::fmt::Debug for Device {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Device").field("address", &self.address).finish_non_exhaustive()
    }
}

fn expired(lifetime: Duration, trouble: Option<String>, command: &str) -> TokenError {
    let minutes = lifetime.as_secs().div_ceil(60);
    let reason = match trouble {
        None => format!("nobody entered the code within {minutes} min"),
        Some(trouble) => {
            format!("nothing was heard of a consent within {minutes} min, at last: {trouble}")
        }
    };
    TokenError::local(reason, format!("Run `{command}` again; it gives a new code."))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;
    use crate::clock::{ManualClock, Moment, Timestamp};

    const PENDING: Result<Polled<&str>, TokenError> = Ok(Polled::Pending);
    const SLOW_DOWN: Result<Polled<&str>, TokenError> = Ok(Polled::SlowDown);

    /// A clock on which no wait takes any time but its own.
    #[derive(Debug)]
    struct Leaping(ManualClock);

    #[async_trait]
    impl Clock for Leaping {
        fn now(&self) -> Moment {
            self.0.now()
        }

        async fn sleep(&self, duration: Duration) {
            self.0.advance(duration);
        }
    }

    fn device(interval: Option<u64>, expires_in: u64) -> Device {
        let response = DeviceResponse {
            device_code: Secret::new("hidden".into()),
            user_code: "ABCDEFGHI".into(),
            verification_uri: "https://microsoft.example/link".into(),
            expires_in,
            interval,
        };
        Device::of(response, Client { id: "1".into(), secret: None })
    }

    /// What came of it, and the seconds after which it was asked. Without further answers: not yet.
    async fn asked(
        device: &Device,
        answers: Vec<Result<Polled<&'static str>, TokenError>>,
    ) -> (Result<&'static str, TokenError>, Vec<u64>) {
        let clock = Leaping(ManualClock::new(Timestamp(1_700_000_000_000)));
        let began = clock.now().since_boot_ms;
        let (times, answers) = (Mutex::new(Vec::new()), Mutex::new(answers.into_iter()));
        let poll = async || {
            times.lock().unwrap().push((clock.now().since_boot_ms - began) / 1_000);
            answers.lock().unwrap().next().unwrap_or(PENDING)
        };
        let granted = device.wait(&clock, "pillarbox auth microsoft", poll).await;
        (granted, times.into_inner().unwrap())
    }

    #[tokio::test]
    async fn it_is_asked_as_often_as_the_endpoint_wants_until_somebody_has_consented() {
        let answers = vec![PENDING, PENDING, Ok(Polled::Granted("token"))];
        assert_eq!(asked(&device(Some(7), 900), answers).await, (Ok("token"), vec![7, 14, 21]));
        let at_once = vec![Ok(Polled::Granted("token"))];
        assert_eq!(asked(&device(None, 900), at_once.clone()).await.1, [5]);
        assert_eq!(asked(&device(Some(0), 900), at_once).await.1, [1]);
    }

    #[tokio::test]
    async fn who_is_told_to_slow_down_waits_five_seconds_longer_from_then_on() {
        let answers = vec![SLOW_DOWN, PENDING, SLOW_DOWN, Ok(Polled::Granted("token"))];
        let (granted, times) = asked(&device(Some(5), 900), answers).await;
        assert_eq!((granted, times), (Ok("token"), vec![5, 15, 25, 40]));
    }

    #[tokio::test]
    async fn trouble_of_the_network_costs_growing_waits_and_not_the_code() {
        let down = || Err(TokenError::temporary("no connection"));
        let answers = vec![down(), down(), PENDING, Ok(Polled::Granted("token"))];
        let (granted, times) = asked(&device(Some(5), 900), answers).await;
        assert_eq!((granted, times), (Ok("token"), vec![5, 15, 35, 55]));
        let (granted, _) = asked(&device(Some(5), 12), vec![down(), down(), down()]).await;
        assert!(granted.unwrap_err().reason.contains("no connection"));
    }

    #[tokio::test]
    async fn after_the_codes_end_nobody_asks_and_a_new_one_is_had_with_the_command() {
        let (granted, times) = asked(&device(Some(5), 12), Vec::new()).await;
        let error = granted.unwrap_err();
        assert_eq!((error.kind, times), (Kind::Local, vec![5, 10, 12]));
        assert!(error.reason.contains("nobody entered the code within 1 min"), "{error:?}");
        assert!(error.remedy.contains("`pillarbox auth microsoft`"), "{error:?}");
        // An endpoint cannot have it wait for days.
        let (_, times) = asked(&device(Some(600), 1_000_000), Vec::new()).await;
        assert_eq!(times.last(), Some(&3_600));
    }

    #[tokio::test]
    async fn a_refusal_ends_the_wait() {
        let denied = TokenError::new(Kind::Refused, "denied", "again");
        let (granted, times) =
            asked(&device(Some(5), 900), vec![PENDING, Err(denied.clone())]).await;
        assert_eq!((granted, times), (Err(denied), vec![5, 10]));
    }

    #[test]
    fn the_code_that_is_not_shown_is_in_no_output() {
        assert!(!format!("{:?}", device(None, 900)).contains("hidden"));
    }
}
