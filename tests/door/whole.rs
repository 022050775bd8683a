//! The door of the whole daemon: stray signals, and a host full of idle connections.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use rustix::process::Signal;

use crate::support::daemon::{Home, Upstream};

/// A line that does not come within this time has failed.
const PATIENCE: Duration = Duration::from_secs(20);
const STOP_WITHIN: Duration = Duration::from_secs(20);

struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    fn say(&mut self, line: &str) -> String {
        self.0.get_mut().write_all(format!("{line}\r\n").as_bytes()).unwrap();
        self.line()
    }
}

#[test]
fn signals_that_mean_nothing_end_no_daemon() {
    let home = Home::new(&Upstream::nobody());
    let daemon = home.start();
    for signal in
        [Signal::USR1, Signal::USR2, Signal::HUP, Signal::PIPE, Signal::ALARM, Signal::XFSZ]
    {
        daemon.signal(signal);
    }
    let mut client = Client::connect(daemon.smtp);
    assert!(client.line().starts_with("220 "));
    assert!(client.say("NOOP").starts_with("250 "));
    assert!(daemon.terminate(STOP_WITHIN).success(), "{}", home.log());
}

#[test]
fn silent_connections_from_all_of_loopback_keep_a_program_of_this_host_waiting_for_seconds_only() {
    let home = Home::new(&Upstream::nobody());
    let daemon = home.start();
    let silent: Vec<_> = (0..200)
        .map(|number: u8| {
            let socket = connection_from(Ipv4Addr::new(127, 0, 1, number / 50 + 1), daemon.smtp);
            socket.set_nonblocking(true).unwrap();
            socket
        })
        .collect();
    let mut client = Client::connect(daemon.smtp);
    assert!(client.line().starts_with("220 "), "it waits, and is let in");
    assert!(client.say("NOOP").starts_with("250 "));
    drop(silent);
}

/// A connection from another address of loopback.
fn connection_from(source: Ipv4Addr, to: SocketAddr) -> TcpStream {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &SocketAddr::from((source, 0))).unwrap();
    connect(&socket, &to).unwrap();
    socket.into()
}
