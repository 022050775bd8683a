//! Logins: asks the users file, and has whoever guesses slowed down.
//!
//! Rule: the password reaches no log. Must not know the words of AUTH.

use std::sync::Arc;

use super::{
    client_stats::{Clients, Kind},
    guesses::Guesses,
    transaction_log,
    users::{Users, UsersError},
};
use crate::{
    clock::Clock,
    smtp::server::{Authentication, Client, Credentials, LoginRefusal},
};

/// Who may log in, and who guesses.
#[derive(Debug)]
pub(super) struct Authenticator {
    guesses: Guesses,
    clients: Arc<Clients>,
    clock: Arc<dyn Clock>,
}

impl Authenticator {
    pub(super) fn new(clients: Arc<Clients>, clock: Arc<dyn Clock>) -> Self {
        Self { guesses: Guesses::new(Arc::clone(&clock)), clients, clock }
    }

    /// Whether the client is who it says. A refusal takes its time.
    pub(super) async fn check(
        &self,
        users: Option<&Users>,
        client: Client,
        credentials: &Credentials,
    ) -> Result<(), LoginRefusal> {
        // Only a trusted client, which may relay without a login as well.
        if client.policy.authentication == Authentication::AcceptAny && client.policy.trusted {
            return Ok(());
        }
        let Some(attempt) = self.guesses.turn(client.address).await else {
            self.log(client, credentials, "too many failures; not asked");
            return Err(LoginRefusal::Unavailable);
        };
        match ask(users, credentials).await {
            Ok(true) => Ok(()),
            Ok(false) => {
                self.log(client, credentials, "wrong login or password");
                self.guesses.refuse(attempt, client.address).await;
                Err(LoginRefusal::Wrong)
            }
            Err(error) => {
                let now = self.clock.now();
                if let Some(count) = self.clients.tell(client.address, Kind::LoginUnchecked, now) {
                    let (client, count) = (client.address, transaction_log::several(count));
                    tracing::warn!(%client, reason = %error, count, "login not checked");
                }
                Err(LoginRefusal::Unavailable)
            }
        }
    }

    fn log(&self, client: Client, credentials: &Credentials, reason: &str) {
        let login = transaction_log::login(&credentials.login);
        let client = client.address;
        match self.clients.login_failed(client, self.clock.now()) {
            Some(count) => {
                tracing::info!(%client, %login, reason, count = transaction_log::several(count), "login refused");
            }
            None => tracing::debug!(%client, %login, reason, "login refused"),
        }
    }
}

async fn ask(users: Option<&Users>, credentials: &Credentials) -> Result<bool, UsersError> {
    match users {
        Some(users) => users.verify(&credentials.login, &credentials.password).await,
        // Without a file nobody is a user.
        None => Ok(false),
    }
}
