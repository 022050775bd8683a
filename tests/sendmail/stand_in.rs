//! A stand-in for the daemon behind its socket, which says what a test wants to hear.
//!
//! Rule: it speaks just enough SMTP to be believed, and writes down every command. Must not know what a test proves.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::mpsc::{Receiver, Sender, channel},
    thread::JoinHandle,
    time::Duration,
};

/// What it says to commands that begin with a word, in place of 250.
pub(crate) type Script = &'static [(&'static str, &'static str)];

/// One that serves one connection.
#[derive(Debug)]
pub(crate) struct StandIn {
    thread: Option<JoinHandle<Vec<String>>>,
    /// Sends when the message has come.
    pub(crate) heard: Receiver<Vec<u8>>,
}

impl StandIn {
    /// Listens on the socket.
    pub(crate) fn at(socket: &Path, script: Script) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let (tell, heard) = channel();
        let thread =
            std::thread::spawn(move || serve(&listener.accept().unwrap().0, script, &tell));
        Self { thread: Some(thread), heard }
    }

    /// Every command, when the client has gone.
    pub(crate) fn commands(mut self) -> Vec<String> {
        self.thread.take().unwrap().join().unwrap()
    }
}

fn serve(stream: &UnixStream, script: Script, tell: &Sender<Vec<u8>>) -> Vec<String> {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut reader = BufReader::new(stream);
    let (mut commands, mut line) = (Vec::new(), String::new());
    let scripted =
        |word: &str| script.iter().find(|(begin, _)| word.starts_with(begin)).map(|(_, say)| *say);
    let say = |words: &str| drop((&mut &*stream).write_all(format!("{words}\r\n").as_bytes()));
    say(scripted("greeting").unwrap_or("220 stand-in ready"));
    while reader.read_line(&mut line).is_ok_and(|count| count > 0) {
        let command = std::mem::take(&mut line).trim_end().to_owned();
        if let Some(size) = command.strip_prefix("BDAT ") {
            let mut message = vec![0; size.trim_end_matches(" LAST").parse().unwrap()];
            reader.read_exact(&mut message).unwrap();
            tell.send(message).unwrap();
        }
        let extensions = "250-stand-in\r\n250-SIZE 1000000\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-PIPELINING\r\n\
                          250-CHUNKING\r\n250 DSN";
        let usual = if command.starts_with("EHLO") { extensions } else { "250 2.0.0 fine" };
        let answer = scripted(&command).unwrap_or(usual);
        commands.push(command);
        match answer {
            // The process dies.
            "" => return commands,
            answer => say(answer),
        }
    }
    commands
}
