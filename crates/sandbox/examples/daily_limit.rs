//! A day's limit that is reached after two recipients, and passes in a moment.

#![expect(clippy::print_stdout, reason = "this is a program for the command line")]

use std::{error::Error, sync::Arc, time::Duration};

use pillarbox_sandbox::{APP_PASSWORD, ManualClock, Options, Sandbox, Stage, Timestamp};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let clock = ManualClock::new(Timestamp(1_800_000_000_000));
    let gmail = Sandbox::start(Options {
        clock: Arc::new(clock.clone()),
        recipients_per_day: 2,
        ..Options::default()
    })
    .await?;
    std::fs::write("authority.pem", gmail.certificate_authority_pem())?;
    println!("Send mail to localhost:{} with STARTTLS,", gmail.starttls_address().port());
    println!("any user name, the password {APP_PASSWORD:?}, and authority.pem as the authority.");
    gmail.mailbox().wait_for(2, Duration::from_secs(600)).await?;
    println!("The day's limit is reached: the next message hears 550 5.4.5.");
    while gmail.mailbox().counters().quota_refusals == 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    clock.advance(Duration::from_secs(24 * 3600));
    println!("A day has passed: the account may send again.");
    gmail.mailbox().wait_for(3, Duration::from_secs(600)).await?;
    println!("{} messages came.", gmail.mailbox().counters().reached(Stage::Dot));
    gmail.stop().await;
    Ok(())
}
