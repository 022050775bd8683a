//! Assertions about delivery to Gmail, and the tests that show them: one row for each assertion.
//!
//! A row is kept honest by looking for its tests in the sources: a renamed or removed test breaks this one.

use std::{fs, path::Path};

use crate::support::{
    daemon::within,
    gmail::Gmail,
    outage::{PLENTY, ask, home_without_brakes},
    submitter::{Wire, message},
};

/// Assertion, and the tests that show it.
const SHOWN: &[(&str, &[&str])] = &[
    (
        "no message is lost or failed by a pause",
        &[
            "the_daily_limit_at_any_stage_pauses_the_account_and_harms_no_message",
            "each_refused_login_pauses_the_account_with_its_own_remedy",
            "each_example_of_the_table_does_over_a_real_connection_what_its_row_says",
            "a_week_of_every_known_fault_loses_nothing_and_never_blames_a_message_for_the_account",
            "a_week_of_every_known_fault_with_the_queue_in_a_database_loses_nothing_either",
        ],
    ),
    (
        "a bad message or sender delays the others by no more than is documented",
        &[
            "one_senders_refusals_do_not_stop_the_others_however_many_he_sends",
            "a_full_day_that_one_message_alone_meets_delays_the_others_by_one_pause",
            "a_first_month_of_known_replies_delays_good_mail_by_no_more_than_is_documented",
            "a_second_month_of_known_replies_delays_good_mail_by_no_more_than_is_documented",
            "a_third_month_of_known_replies_delays_good_mail_by_no_more_than_is_documented",
            "a_message_that_is_always_refused_holds_nobody_up_and_status_and_log_say_so",
        ],
    ),
    (
        "a pause survives kill -9",
        &["a_pause_survives_kill_9_to_the_second", "a_pause_survives_a_restart_and_resume_ends_it"],
    ),
    (
        "the queue resumes with a single probe",
        &[
            "a_pause_ends_with_one_probe_whose_success_opens_the_account",
            "a_full_day_is_known_after_a_restart_and_probed_with_one_recipient",
        ],
    ),
    (
        "at most one login for many messages",
        &[
            "both_tls_modes_deliver_the_bytes_unchanged_under_one_login",
            "aiosmtpd_gets_every_octet_under_one_login_whatever_it_offers",
            "postfix_gets_every_octet_under_one_login_whatever_it_offers",
        ],
    ),
    (
        "no attempt is charged by replies to the account",
        &[
            "each_example_of_the_table_does_over_a_real_connection_what_its_row_says",
            "what_concerns_the_account_pauses_it_and_costs_the_message_nothing",
        ],
    ),
    (
        "over the API a message goes to its recipients alone, and what is uncertain is sent once more",
        &[
            "whatever_a_header_says_exactly_those_who_are_meant_are_named_each_once",
            "whatever_octets_a_header_has_nobody_else_is_named",
            "what_happens_behind_the_last_block_is_uncertain_and_sent_once_more_with_the_same_octets",
            "kills_around_the_last_block_lose_nothing_and_repeat_only_what_was_in_flight",
        ],
    ),
    (
        "250 recipients arrive as 100, 100 and 50 with one Message-ID",
        &["two_hundred_and_fifty_recipients_go_in_three_transactions_of_the_same_bytes"],
    ),
    (
        "a refused recipient does not keep the others from their mail",
        &[
            "one_refused_recipient_never_fails_the_others",
            "aiosmtpd_refuses_a_recipient_a_password_and_a_size",
            "postfix_refuses_a_recipient_a_password_and_a_size",
        ],
    ),
    (
        "a connection lost after the final dot yields two identical copies, never none",
        &[
            "an_answer_lost_after_the_final_dot_yields_two_identical_copies_then_holds",
            "a_message_lost_after_the_final_dot_is_sent_again",
        ],
    ),
    (
        "no secret is in a log at any level",
        &[
            "no_password_and_no_body_reaches_the_log_and_every_step_does",
            "no_token_and_no_key_reaches_the_log_at_any_level",
            "aiosmtpd_gets_every_octet_under_one_login_whatever_it_offers",
            "postfix_is_killed_under_load_and_nothing_is_lost",
        ],
    ),
    (
        "the last recipient of the day is sent, the next one held until the window moves",
        &["the_500th_recipient_leaves_and_the_501st_waits_for_the_window"],
    ),
    (
        "EHLO is never localhost",
        &[
            "names_that_gmail_turns_away_are_not_fully_qualified",
            "a_host_without_a_domain_gets_a_well_formed_name_that_cannot_exist",
        ],
    ),
    (
        "a connection is renewed after its messages, its age and its token",
        &[
            "connections_are_renewed_after_their_messages_and_closed_when_idle",
            "a_connection_in_use_is_renewed_after_ten_minutes",
            "a_token_is_replaced_five_minutes_before_its_end_and_the_connection_with_it",
        ],
    ),
    (
        "addresses of both families are tried in turn, and DNS trouble is temporary",
        &[
            "the_families_take_turns_so_that_a_dead_one_costs_little",
            "a_name_that_cannot_be_resolved_is_temporary_trouble",
        ],
    ),
    (
        "SIZE= is the true size, BODY= is declared, and an upstream that offers neither gets neither",
        &[
            "the_upstream_hears_the_account_and_the_true_size",
            "postfix_gets_every_octet_under_one_login_whatever_it_offers",
        ],
    ),
];

#[test]
fn every_assertion_has_its_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = String::new();
    for directory in ["src", "crates", "tests"] {
        read_all(&root.join(directory), &mut sources);
    }
    for (assertion, tests) in SHOWN {
        for test in *tests {
            assert!(
                sources.contains(&format!("fn {test}()")),
                "{assertion}: there is no test {test}"
            );
        }
    }
}

fn read_all(directory: &Path, sources: &mut String) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            read_all(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push_str(&fs::read_to_string(&path).expect("a source"));
        }
    }
}

#[test]
fn a_pause_survives_kill_9_to_the_second() {
    let gmail = Gmail::with(|options| options.recipients_per_day = 0);
    let home = home_without_brakes(&gmail.upstream(), PLENTY);
    let daemon = home.start();
    let text = message("<one@client.example.org>", 500, &mut fastrand::Rng::with_seed(1));
    let mut wire = Wire::connect(home.smtp).expect("it listens");
    wire.submit(&["reader@example.net".to_owned()], &text).expect("it lasts").expect("it is taken");
    let account = || ask(&home, &["status"])["account"].clone();
    let paused =
        within(std::time::Duration::from_secs(20), || account()["condition"] == "paused-quota");
    assert!(paused, "{}", account());
    let before = account();
    daemon.kill();
    let _daemon = home.start();
    let after = account();
    for field in ["condition", "until", "reason"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    assert!(before["until"].as_i64() > Some(0));
    let listed = ask(&home, &["queue", "list"]);
    let recipient = &listed["messages"][0]["recipients"][0];
    assert_eq!(
        (&recipient["state"], &recipient["attempts"]),
        (&"queued".into(), &0.into()),
        "{listed}"
    );
}
