//! AUTH: a password, or a token that is replaced once when the upstream does not take it.
//!
//! Rule: only the configured credential is tried, never inside plain text, and a challenge that announces a refusal is
//! answered so that the refusal itself is heard (docs/gmail.md section 3.3). Must not know where a token comes from.

use super::SmtpConnection;
use crate::{
    clock::Timestamp,
    delivery::{
        answer::{Answer, Fault, Stage, StageCell},
        bearer::{self, Challenge, Mechanism},
        credential::{Bearer, Credential, PasswordLines},
        options::{Options, Way},
        provider::Provider,
    },
};

impl SmtpConnection {
    /// AUTH, with the credential that was got before. Returns when a connection that was opened with it must be
    /// renewed: a password never ends.
    pub(in crate::delivery) async fn log_in(
        &mut self,
        credential: &Credential,
        options: &Options,
        way: Way,
        stage: &StageCell,
    ) -> Result<Option<Timestamp>, Answer> {
        stage.enter(Stage::Auth);
        match credential {
            Credential::Password(lines) => self.log_in_with_password(lines).await.map(|()| None),
            Credential::Token(bearer) => {
                self.log_in_with_token(bearer, options, way).await.map(Some)
            }
        }
    }

    /// PLAIN; LOGIN only where PLAIN is not offered, for one refused password must count once.
    async fn log_in_with_password(&mut self, lines: &PasswordLines) -> Result<(), Answer> {
        let [username, password] = &lines.login;
        let dialogue = match (self.capabilities.auth_plain, self.capabilities.auth_login) {
            (true, _) => &[lines.plain.as_str()][..],
            (false, true) => &["AUTH LOGIN\r\n", username, password][..],
            (false, false) => {
                return Err(Answer::broken(Stage::Auth, Fault::NoAuth));
            }
        };
        for (position, line) in dialogue.iter().enumerate() {
            self.wire.say_secret(line);
            let reply = self.reply(Stage::Auth).await?;
            match reply.code {
                235 => return Ok(()),
                334 if position + 1 < dialogue.len() => {}
                334 => break,
                _ => return Err(Answer::Replied { stage: Stage::Auth, reply }),
            }
        }
        Err(self.answer_challenge().await)
    }

    /// A 334 after the whole credential announces a refusal, which an empty line brings about (docs/gmail.md
    /// section 3.3: so are tokens refused).
    async fn answer_challenge(&mut self) -> Answer {
        self.wire.say("\r\n");
        match self.reply(Stage::Auth).await {
            Ok(reply) => Answer::Replied { stage: Stage::Auth, reply },
            Err(answer) => answer,
        }
    }

    /// A token that is refused is replaced once, for it may have been revoked an hour before its end.
    async fn log_in_with_token(
        &mut self,
        bearer: &Bearer,
        options: &Options,
        way: Way,
    ) -> Result<Timestamp, Answer> {
        let (provider, host) = (options.provider, options.host.as_str());
        let broken = |error| Answer::broken(Stage::Auth, Fault::NoToken(error));
        let Some(mechanism) = Mechanism::offered(&self.capabilities) else {
            return Err(broken(bearer::not_offered()));
        };
        let mut token = bearer.token.clone();
        let mut last = false;
        loop {
            let line = mechanism.line(&bearer.username, &token.secret, host, way.port);
            let line = line.ok_or_else(|| broken(bearer::too_long()))?;
            let Some(refusal) = self.present_token(provider, mechanism, &line).await? else {
                return Ok(token.use_until);
            };
            bearer.tokens.reject(&token).await;
            if last {
                let consent = bearer.tokens.consent_command();
                let error = bearer::refused(provider, consent, &refusal, &bearer.username);
                return Err(broken(error));
            }
            tracing::info!(
                username = bearer.username,
                reason = refusal,
                "the access token was refused"
            );
            token = bearer.tokens.access_token().await.map_err(broken)?;
            last = true;
        }
    }

    /// Returns the upstream's words when it is the token that it refuses.
    async fn present_token(
        &mut self,
        provider: Provider,
        mechanism: Mechanism,
        line: &str,
    ) -> Result<Option<String>, Answer> {
        let mut words = String::new();
        self.wire.say_secret(line);
        let mut reply = self.reply(Stage::Auth).await?;
        if reply.code == 334 {
            words = Challenge::read(&reply.text).words();
            self.wire.say(mechanism.acknowledgement());
            reply = self.reply(Stage::Auth).await?;
        }
        if reply.code == 235 {
            return Ok(None);
        }
        if !bearer::concerns_the_token(provider, &reply) {
            return Err(Answer::Replied { stage: Stage::Auth, reply });
        }
        Ok(Some(if words.is_empty() { reply.to_string() } else { format!("{reply} ({words})") }))
    }
}
