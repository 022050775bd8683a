//! Sends one message to a server on 127.0.0.1:2525 that asks for no login, such as the other example.

use std::{
    error::Error,
    io::{Read, Write},
    net::TcpStream,
};

use pillarbox_smtp::client::{
    capabilities::Capabilities,
    commands::{self, Envelope},
    reply::{Reply, ReplyParser},
    stuffing::DotStuffer,
};

const MESSAGE: &[u8] = b"Subject: Hello\r\n\r\nIt works.\r\n.and this line keeps its dot\r\n";

fn main() -> Result<(), Box<dyn Error>> {
    let mut stream = TcpStream::connect("127.0.0.1:2525")?;
    let mut parser = ReplyParser::default();
    hear(&mut stream, &mut parser)?;
    let mut ask = |command: &[u8]| -> Result<Reply, Box<dyn Error>> {
        stream.write_all(command)?;
        hear(&mut stream, &mut parser)
    };
    let offered = Capabilities::of(&ask(commands::ehlo("client.example.org").as_bytes())?);
    let envelope = Envelope {
        reverse_path: Some("me@example.org".parse()?),
        recipients: vec!["you@example.org".parse()?],
        internationalized: false,
    };
    let size = u64::try_from(MESSAGE.len())?;
    ask(envelope.mail(&envelope.parameters(&offered, size)).as_bytes())?;
    for recipient in &envelope.recipients {
        ask(commands::rcpt(recipient).as_bytes())?;
    }
    ask(commands::DATA.as_bytes())?;
    let (mut stuffer, mut data) = (DotStuffer::default(), Vec::new());
    stuffer.push(MESSAGE, &mut data);
    data.extend_from_slice(stuffer.end());
    ask(&data)?;
    ask(commands::QUIT.as_bytes())?;
    Ok(())
}

/// The next reply, which is an error when it says no.
fn hear(stream: &mut TcpStream, parser: &mut ReplyParser) -> Result<Reply, Box<dyn Error>> {
    let mut octets = [0; 1024];
    loop {
        let length = stream.read(&mut octets)?;
        if length == 0 {
            return Err("the server has closed the connection".into());
        }
        if let Some(reply) = parser.push(&mut &octets[..length])? {
            return if reply.is_positive() {
                Ok(reply)
            } else {
                Err(reply.joined().into_owned().into())
            };
        }
    }
}
