//! The hosts of a fleet of tests: their way to the database, and the mail that they are given.

use std::{fs, net::SocketAddr, os::unix::fs::PermissionsExt as _};

use fastrand::Rng;

use super::{
    daemon::Home,
    postgres::PASSWORD,
    submitter::{Acknowledged, Wire, message},
};

/// A home whose host is called so in the fleet of a database, which is at this port.
pub(crate) fn in_fleet(home: Home, name: &str, (port, database): (u16, &str)) -> Home {
    let password = home.path("database-password");
    fs::write(&password, PASSWORD).expect("a file");
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).expect("a mode");
    let address = format!("postgres://postgres@127.0.0.1:{port}/{database}?sslmode=disable");
    home.environment("PILLARBOX__FLEET__DATABASE", &address)
        .environment("PILLARBOX__FLEET__HOST", name)
        .environment("PILLARBOX__FLEET__PASSWORD_FILE", &password.display().to_string())
}

/// The same of a host that keeps nothing on its disk.
pub(crate) fn without_a_disk(home: Home, name: &str, place: (u16, &str)) -> Home {
    in_fleet(home, name, place).environment("PILLARBOX__QUEUE__BACKEND", "postgres")
}

/// Hands in the message of this number, to one recipient, which must be taken.
pub(crate) fn submit(home: &Home, name: &str, number: usize, size: usize) -> Acknowledged {
    try_submit(home.smtp, (name, number), size).expect("it is taken")
}

/// The same at this address, where it may be refused.
pub(crate) fn try_submit(
    smtp: SocketAddr,
    (name, number): (&str, usize),
    size: usize,
) -> Result<Acknowledged, String> {
    let message_id = format!("<{number}@{name}.example.org>");
    let text = message(&message_id, size, &mut Rng::with_seed(number as u64));
    let recipients = vec![format!("{name}-{number}@example.org")];
    let mut wire = Wire::connect(smtp).expect("the relay listens");
    let reply = wire.submit(&recipients, &text).expect("the connection lasts")?;
    Ok(Acknowledged { message_id, recipients, text, reply })
}
