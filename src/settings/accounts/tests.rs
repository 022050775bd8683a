//! Further accounts: what each has of its own, and what of the host's.

use std::path::Path;

use super::*;
use crate::{
    budget::Limit,
    delivery::{PasswordSource, oauth::Grant, provider::Provider},
    message::{envelope::Lane, identity::FromPolicy},
    queue::{routes::FailOver, way::RouteKey},
    settings::{Settings, judge},
};

const MAIN_ACCOUNT: &str =
    "[upstream]\nusername = \"you@gmail.com\"\npassword_file = \"password\"\n";

fn settings(accounts: &str) -> Settings {
    judge(Path::new("/x/relay.toml"), format!("{MAIN_ACCOUNT}{accounts}")).unwrap()
}

#[test]
fn a_further_account_has_its_own_provider_login_budget_and_address() {
    let all = settings(
        "connections = 3\n[budget]\nrecipients_per_day = 100\n[identity]\nfrom = \"keep\"\nadmin = \"me@example.net\"\n\
         [[account]]\nname = \"office\"\nprovider = \"microsoft365\"\nusername = \"office@example.org\"\n\
         password_file = \"office\"\nrecipients_per_day = 800\nowner_reserve = 50\nurgent_reserve = 7\n\
         from = \"alias-list\"\nsend_as = [\"shop@example.com\"]\nlogins_per_hour = 5\n",
    );
    let office = &all.accounts[0];
    let options = &office.delivery;
    assert_eq!((office.name.as_str(), options.account), ("office", AccountKey::of("office")));
    assert_eq!((options.provider, options.port), (Provider::Microsoft365, 587));
    assert_eq!(options.host, "smtp.office365.com");
    let login = options.login.as_ref().unwrap();
    assert_eq!(login.username, "office@example.org");
    assert!(
        matches!(&login.password, PasswordSource::File(path) if path == Path::new("/x/office"))
    );
    let day = (options.recipients_per_day, office.owner_reserve, options.urgent_reserve);
    assert_eq!(day, (Limit::from(750), 50, 7));
    assert_eq!(options.logins_per_hour, 5);
    let profile = Provider::Microsoft365.profile();
    assert_eq!(options.pace_per_minute, profile.pace_per_minute.value);
    assert_eq!(u32::try_from(options.connections).ok(), Some(profile.connections.value));
    assert_eq!(options.identity.from, FromPolicy::AliasList);
    assert_eq!(options.identity.send_as, ["shop@example.com".parse().unwrap()]);
    assert_eq!(options.admin, "me@example.net".parse().ok(), "who reads root's mail is the host's");
    assert_eq!(all.delivery.identity.from, FromPolicy::Keep);
    assert_eq!(all.delivery.account, AccountKey::MAIN);
}

#[test]
fn a_domain_where_a_further_account_has_a_mailbox_is_not_this_host() {
    let shop = "[identity]\nlocal_domains = [\"box.example.org\"]\n[[account]]\nname = \"shop\"\n\
                host = \"mail.example.org\"\nusername = \"shop@box.example.org\"\npassword_file = \"shop\"\n";
    let error = judge(Path::new("/x/relay.toml"), format!("{MAIN_ACCOUNT}{shop}")).unwrap_err();
    assert!(error.to_string().contains("box.example.org is where the administrator, an account"));
}

#[test]
fn each_account_keeps_its_token_in_a_file_of_its_own() {
    let oauth = |name: &str| {
        format!(
            "[[account]]\nname = \"{name}\"\nusername = \"{name}@gmail.com\"\nauth = \"oauth\"\n\
             oauth_client_file = \"client.json\"\n"
        )
    };
    let all = settings(&format!("{}{}", oauth("shop"), oauth("office")));
    let files = all.accounts.iter().map(|one| {
        let login = one.delivery.login.as_ref().unwrap();
        let PasswordSource::Tokens(options) = &login.password else { panic!("no tokens") };
        let Grant::Refresh { token_file, .. } = &options.grant else { panic!("no refresh") };
        token_file.display().to_string()
    });
    let named = |name| format!("/var/lib/pillarbox/oauth-token-{name}.json");
    assert_eq!(files.collect::<Vec<_>>(), [named("shop"), named("office")]);
}

#[test]
fn the_usual_places_of_a_password_are_the_main_accounts() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("relay.toml");
    std::fs::write(directory.path().join("password"), "abcdefghijklmnop\n").unwrap();
    let text = "[upstream]\nusername = \"you@gmail.com\"\n[[account]]\nname = \"shop\"\nusername = \"shop@gmail.com\"\n";
    std::fs::write(&file, text).unwrap();
    let surroundings =
        Surroundings { system_file: file.clone(), ..Surroundings::of_this_process() };
    let error = crate::settings::load_in(Some(&file), &surroundings).unwrap_err().to_string();
    assert!(error.contains("[[account]] username: there is a username but no password"), "{error}");
    assert_eq!(error.matches("there is a username").count(), 1, "{error}");
}

#[test]
fn a_changed_limit_is_taken_at_once_and_another_account_waits_for_a_restart() {
    let read = |accounts: &str| {
        let text = format!("{MAIN_ACCOUNT}{accounts}");
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("relay.toml");
        std::fs::write(&file, text).unwrap();
        (directory, file)
    };
    let shop = |name: &str, host: &str, day: u32| {
        format!(
            "[[account]]\nname = \"{name}\"\nhost = \"{host}\"\nusername = \"{name}\"\npassword_file = \"{name}\"\n\
             recipients_per_day = {day}\nfrom = \"keep\"\n"
        )
    };
    let surroundings = Surroundings::of_this_process();
    let (_kept, before) = read(&shop("shop", "one.example.org", 100));
    let running = crate::settings::load_in(Some(&before), &surroundings).unwrap();
    let reloaded = |accounts: &str| {
        let (_kept, file) = read(accounts);
        running.reloaded(Some(&file), &surroundings).unwrap()
    };
    let day = |settings: &Settings| settings.accounts[0].delivery.recipients_per_day;

    let taken = reloaded(&shop("shop", "two.example.org", 200));
    assert_eq!(taken.applied, ["account.recipients_per_day"]);
    assert_eq!(taken.at_a_start, ["account.host"]);
    assert_eq!(taken.settings.accounts[0].delivery.host, "one.example.org");
    assert_eq!(day(&taken.settings), Limit::from(175));
    let shown = taken.settings.configured().settings;
    let shown = shown.iter().find(|one| one.section == "account[0]" && one.key == "host").unwrap();
    assert_eq!(shown.value.as_deref(), Some("one.example.org"));
    assert!(shown.waits_for_restart);

    let two = shop("other", "two.example.org", 300) + &shop("shop", "one.example.org", 200);
    let taken = reloaded(&two);
    assert_eq!(
        (taken.applied.len(), taken.at_a_start.as_slice()),
        (0, &["account.name".to_owned()][..])
    );
    assert_eq!((taken.settings.accounts.len(), day(&taken.settings)), (1, Limit::from(75)));
    let shown = taken.settings.configured().settings;
    let of_accounts: Vec<_> =
        shown.iter().filter(|one| one.section.starts_with("account")).collect();
    assert!(of_accounts.iter().all(|one| one.section == "account[0]" && one.waits_for_restart));
}

const SHOP: &str = "[[account]]\nname = \"shop\"\nusername = \"shop@gmail.com\"\npassword_file = \"shop\"\n\
                    recipients_per_day = 200\nurgent_reserve = 10\n";

#[test]
fn the_queue_is_told_every_account_with_what_unreserved_mail_may_have_and_every_route() {
    let all = settings(&format!(
        "[queue]\nfail_over_after = \"5min\"\n{SHOP}\
         [[route]]\nname = \"orders\"\nmatch = {{ sender = \"@shop.example.org\" }}\n\
         accounts = [\"shop\", \"main\"]\nfail_over = \"both\"\n\
         [[route]]\nname = \"rest\"\naccounts = [\"main\"]\n"
    ));
    let told = all.routes();
    let shop = AccountKey::of("shop");
    let known = |key| {
        let known: &crate::queue::routes::Known = &told.accounts[&key];
        (known.name.as_str(), known.limits.limit_of(Lane::Normal))
    };
    assert_eq!(known(AccountKey::MAIN), ("main", Limit::from(500 - 25 - 5)));
    assert_eq!(known(shop), ("shop", Limit::from(200 - 25 - 2 - 10)));
    let orders = &told.routes[&RouteKey::of("orders")];
    assert_eq!(orders.accounts, [shop, AccountKey::MAIN]);
    assert_eq!(orders.fail_over, FailOver::Both);
    let rest = &told.routes[&RouteKey::of("rest")];
    assert_eq!(
        (rest.accounts.as_slice(), rest.fail_over),
        (&[AccountKey::MAIN][..], FailOver::Never)
    );
    assert_eq!(told.fail_over_after.as_secs(), 300);
    assert_eq!(all.idle_accounts().count(), 0);
}

#[test]
fn without_a_further_account_the_queue_is_told_of_none() {
    let told = settings("[[route]]\nname = \"all\"\naccounts = [\"main\"]\n").routes();
    assert!(told.accounts.is_empty() && told.routes.is_empty());
}

#[test]
fn an_account_that_no_route_names_and_a_route_behind_one_for_all_mail_are_found() {
    let all = settings(&format!(
        "{SHOP}[[route]]\nname = \"all\"\naccounts = [\"main\"]\n\
         [[route]]\nname = \"late\"\nmatch = {{ size = \">1\" }}\naccounts = [\"main\"]\n"
    ));
    assert_eq!(all.idle_accounts().collect::<Vec<_>>(), ["shop"]);
    assert_eq!(all.listener.rules.unreached_routes(), [("late", "all")]);
}

#[test]
fn a_route_to_an_account_that_waits_for_a_restart_waits_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("relay.toml");
    let surroundings = Surroundings::of_this_process();
    let load = |text: &str| {
        std::fs::write(&file, format!("{MAIN_ACCOUNT}{text}")).unwrap();
        crate::settings::load_in(Some(&file), &surroundings).unwrap()
    };
    let running = load("");
    let route = |to: &str| format!("[[route]]\nname = \"all\"\naccounts = [\"{to}\"]\n");
    load(&format!("{SHOP}{}", route("shop")));
    let refused = running.reloaded(Some(&file), &surroundings).unwrap_err().to_string();
    assert!(refused.contains("not without its changes of account.name"), "{refused}");

    let running = load(SHOP);
    load(&format!("{SHOP}{}", route("shop")));
    let taken = running.reloaded(Some(&file), &surroundings).unwrap();
    assert_eq!(taken.applied, ["route.name"]);
    assert_eq!(taken.settings.routes().routes.len(), 1);
}
