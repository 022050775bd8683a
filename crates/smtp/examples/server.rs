//! A server on 127.0.0.1:2525 that takes mail, says what came, and forgets it.

#![expect(clippy::print_stdout, reason = "this is a program for the command line")]

use std::{
    io::{self, Read, Write},
    net::TcpListener,
    sync::Arc,
};

use pillarbox_smtp::server::{Client, INPUT_BYTES_MAX, Options, Policy, Session, Step};

fn main() -> io::Result<()> {
    let options = Arc::new(Options {
        hostname: "localhost".to_owned(),
        max_message_bytes: 1024 * 1024,
        max_recipients: 100,
        local_recipients: true,
    });
    for stream in TcpListener::bind("127.0.0.1:2525")?.incoming() {
        let mut stream = stream?;
        let policy = Policy::plain(true, options.max_message_bytes);
        let address = stream.peer_addr()?.ip();
        let client = Client { address, encrypted: false, policy, local: false };
        let mut session = Session::new(Arc::clone(&options), client);
        let mut input = vec![0; INPUT_BYTES_MAX];
        loop {
            match session.step() {
                Step::Send(replies) => stream.write_all(&replies)?,
                Step::Admit { .. } => session.admitted(Ok(())),
                Step::Begin(transaction) => {
                    println!("{:?} to {:?}", transaction.reverse_path, transaction.forward_paths);
                    session.begun(Ok(()));
                }
                Step::Body(octets) => println!("{}", String::from_utf8_lossy(&octets)),
                // Whoever keeps mail makes it durable here, before the 250 is sent.
                Step::Store => session.stored(Ok("example".to_owned())),
                Step::Abandon => println!("the message is not wanted any more"),
                // Neither is offered by this policy.
                Step::StartTls | Step::Authenticate(_) | Step::Close => break,
                Step::NeedInput => match stream.read(&mut input)? {
                    0 => break,
                    length => session.receive(&input[..length]),
                },
            }
        }
    }
    Ok(())
}
