//! `pillarbox auth microsoft`: a code that the account's owner enters on any other device.
//!
//! Rule: the code that is shown is worth nothing without the one that is not. Must not know the protocol.

use crate::{
    cli::screen::{Screen, span},
    clock::{Clock as _, SystemClock},
    delivery::oauth::{
        client_file::Client, consent, device::Device, exchange::Exchange, token_file::Stored,
    },
    exit::Failure,
};

/// Has the owner consent; what is returned is not stored yet.
pub(super) async fn ask(
    out: &mut dyn Screen,
    username: &str,
    exchange: &Exchange,
    client: &Client,
) -> Result<Stored, Failure> {
    let device = Device::begin(exchange, client.clone()).await?;
    writeln!(
        out,
        "Open this address in a browser, here or on any other device:\n\n  {}\n\n\
         Enter this code there, log in as {username} and consent:\n\n  {}\n\n\
         The code is good for {}. Waiting ...",
        device.address(),
        device.user_code(),
        span(device.lifetime())
    )?;
    out.flush()?;
    let granted = device.granted(exchange).await?;
    let now = SystemClock::new().wall();
    Ok(consent::first(granted, exchange.issuer(), client, username, false, now)?)
}
