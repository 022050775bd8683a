//! One message to a thousand recipients through the whole daemon: it reaches each of them, and costs little memory.

use crate::support::{
    daemon::within,
    gmail::Gmail,
    outage::{PLENTY, home_without_brakes, queue_list, tail},
    submitter::{Wire, message},
};

const RECIPIENTS: usize = 1_000;
const OCTETS: usize = 1024 * 1024;
/// How much the daemon may grow over it, from the first octet to the last reply. Ten transactions carry it, of which as
/// many as there are connections are under way.
const GROWTH_MAX: u64 = 16 * 1024 * 1024;
/// Longer than all of it takes on a slow machine.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

#[test]
fn a_message_of_a_mebibyte_to_a_thousand_recipients_arrives_and_grows_the_relay_by_little() {
    let gmail = Gmail::start();
    let home = home_without_brakes(&gmail.upstream(), PLENTY);
    let daemon = home.start();
    let submit = |recipients: &[String], text: &[u8]| {
        let mut wire = Wire::connect(home.smtp).expect("the daemon greets");
        wire.submit(recipients, text).expect("a reply").expect("250");
    };
    let arrived = |number: usize| {
        let reached =
            within(PATIENCE, || gmail.recipients() >= number && queue_list(&home).is_empty());
        assert!(reached, "{} of {number}\n{}", gmail.recipients(), tail(&home.log()));
    };
    // What the first message of a process costs, such as the roots of TLS, is not asked for.
    let mut random = fastrand::Rng::with_seed(1);
    submit(
        &["first@example.net".to_owned()],
        &message("<first@crowd.example>", OCTETS, &mut random),
    );
    arrived(1);
    let before = daemon.memory("VmRSS");
    daemon.forget_peak();
    let recipients: Vec<String> =
        (0..RECIPIENTS).map(|number| format!("reader{number}@example.net")).collect();
    submit(&recipients, &message("<crowd@crowd.example>", OCTETS, &mut random));
    arrived(1 + RECIPIENTS);
    let growth = daemon.memory("VmHWM").saturating_sub(before);
    println!("grew by {} KiB over {} KiB", growth / 1024, before / 1024);
    assert!(growth < GROWTH_MAX, "it grew by {growth} octets");
    assert_eq!(gmail.recipients(), 1 + RECIPIENTS);
    assert_eq!(gmail.duplicates(), 0, "nobody has it twice");
}
