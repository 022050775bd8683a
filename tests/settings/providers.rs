//! The provider: what it decides, what wins over it, and what a file means that names none.

use pillarbox::{
    budget::Limit,
    delivery::{
        PasswordSource, Provider, Tls,
        oauth::{Endpoints, Grant, Issuer},
    },
    message::identity::FromPolicy,
};

use super::load_text;

#[test]
fn a_provider_decides_what_nobody_has_written_and_every_line_wins_over_it() {
    let login = "username = \"me@icloud.com\"\npassword = \"x\"\n";
    let icloud = load_text(&format!("[upstream]\nprovider = \"icloud\"\n{login}")).unwrap();
    let delivery = &icloud.delivery;
    assert_eq!((delivery.host.as_str(), delivery.port), ("smtp.mail.me.com", 587));
    assert_eq!(delivery.limits.recipients_per_transaction, 500);
    assert_eq!(delivery.recipients_per_day, Limit::from(1_000 - icloud.owner_reserve));
    assert_eq!(icloud.listener.session.max_message_bytes, 20_000_000);
    let written = load_text(&format!(
        "[upstream]\nprovider = \"icloud\"\nhost = \"proxy.example\"\nport = 465\nrecipients_per_message = 7\n\
         connections = 1\n{login}[budget]\nrecipients_per_day = 50\nowner_reserve = 0\npace_per_minute = 3\n\
         [listener]\nmax_message_bytes = \"1MiB\"\n"
    ))
    .unwrap();
    let delivery = &written.delivery;
    assert_eq!((delivery.host.as_str(), delivery.port), ("proxy.example", 465));
    assert_eq!((delivery.tls, delivery.connections), (Tls::Implicit, 1));
    assert_eq!(delivery.limits.recipients_per_transaction, 7);
    assert_eq!((delivery.recipients_per_day, delivery.pace_per_minute), (Limit::from(50), 3));
    assert_eq!(written.listener.session.max_message_bytes, 1 << 20);
}

#[test]
fn a_host_without_a_provider_is_used_as_before_there_were_providers() {
    let login = "username = \"me@example.org\"\npassword = \"x\"\n";
    let gmail = load_text(&format!("[upstream]\n{login}")).unwrap();
    let own = load_text(&format!("[upstream]\nhost = \"mail.example.org\"\n{login}")).unwrap();
    let relay =
        load_text("[upstream]\nhost = \"smtp-relay.gmail.com\"\nauth = \"none\"\n").unwrap();
    assert_eq!(gmail.delivery.provider, Provider::Gmail);
    assert_eq!(relay.delivery.provider, Provider::Gmail);
    assert_eq!(own.delivery.provider, Provider::Custom);
    for settings in [&own, &relay] {
        let (delivery, gmail) = (&settings.delivery, &gmail.delivery);
        assert_eq!((delivery.port, delivery.connections), (gmail.port, gmail.connections));
        assert_eq!(delivery.recipients_per_day, gmail.recipients_per_day);
        assert_eq!(delivery.pace_per_minute, gmail.pace_per_minute);
        assert_eq!(
            delivery.limits.recipients_per_transaction,
            gmail.limits.recipients_per_transaction
        );
    }
    let [own, gmail] = [own, gmail].map(|settings| settings.listener.session.max_message_bytes);
    assert_eq!(own, gmail);
}

#[test]
fn the_relay_service_needs_no_login_and_a_user_name_that_is_no_mailbox_is_not_put_into_from() {
    let relay = load_text("[upstream]\nprovider = \"workspace-relay\"\n").unwrap();
    assert!(relay.delivery.login.is_none() && relay.require_account().is_ok());
    assert_eq!(relay.delivery.identity.from, FromPolicy::Keep);
    let brevo = load_text(
        "[upstream]\nprovider = \"brevo\"\nusername = \"8a@smtp-brevo.com\"\npassword = \"x\"\n",
    )
    .unwrap();
    assert_eq!(brevo.delivery.identity.from, FromPolicy::Keep);
    assert!(brevo.delivery.admin.is_none(), "nobody reads mail there");
}

#[test]
fn the_owner_of_an_account_at_microsoft_consents_where_accounts_of_its_kind_do() {
    for (lines, tenant) in [
        ("provider = \"outlook\"\n", "consumers"),
        ("provider = \"microsoft365\"\nauth = \"oauth\"\n", "organizations"),
        (
            "provider = \"microsoft365\"\nauth = \"oauth\"\noauth_tenant = \"example.com\"\n",
            "example.com",
        ),
    ] {
        let settings = load_text(&format!(
            "[upstream]\nusername = \"me@example.com\"\noauth_client_id = \"1\"\n{lines}"
        ))
        .unwrap();
        let login = settings.delivery.login.as_ref().unwrap();
        let PasswordSource::Tokens(tokens) = &login.password else { panic!("{login:?}") };
        assert_eq!(tokens.issuer, Issuer::Microsoft);
        let base = format!("https://login.microsoftonline.com/{tenant}/oauth2/v2.0");
        let Endpoints { authorization, token, revocation } = &tokens.endpoints;
        assert_eq!(authorization.to_string(), format!("{base}/devicecode"));
        assert_eq!(token.to_string(), format!("{base}/token"));
        assert!(revocation.is_none(), "{revocation:?}");
    }
}

#[test]
fn an_application_asks_its_own_organisation_for_tokens() {
    let settings = load_text(
        "[upstream]\nprovider = \"microsoft365\"\nusername = \"relay@example.com\"\nauth = \"client-credentials\"\n\
         oauth_tenant = \"example.com\"\noauth_client_id = \"1\"\noauth_client_secret = \"x\"\n",
    )
    .unwrap();
    let login = settings.delivery.login.as_ref().unwrap();
    let PasswordSource::Tokens(tokens) = &login.password else { panic!("{login:?}") };
    assert!(matches!(tokens.grant, Grant::Application { .. }));
    let endpoint = tokens.endpoints.token.to_string();
    assert_eq!(endpoint, "https://login.microsoftonline.com/example.com/oauth2/v2.0/token");
    assert_eq!(
        (settings.delivery.host.as_str(), settings.delivery.port),
        ("smtp.office365.com", 587)
    );
}
