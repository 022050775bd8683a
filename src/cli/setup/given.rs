//! Answers that were given at once: by flags and standard input, or as JSON.
//!
//! Rule: a secret comes from a file, from standard input or in the JSON, never from the command line, which every user of the
//! host can read. Everything that is read has a limit.

use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::{
    deed::{SECRET_FILE_MAX, secret_bytes},
    questions::{Answers, Name},
};
use crate::{
    exit::{Exit, Failure},
    secret::Secret,
};

/// What the flags say.
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
pub(super) struct Flags {
    /// Whose server relays the mail, such as gmail, icloud or custom; default: gmail.
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// The name of the server, for --provider custom or ses.
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Its port, for --provider custom; default: 587.
    #[arg(long, value_name = "NUMBER")]
    port: Option<String>,
    /// How TLS begins, for --provider custom: auto (default), starttls, implicit or off.
    #[arg(long, value_name = "HOW")]
    tls: Option<String>,
    /// How mail leaves at Gmail and Workspace: smtp (default), or gmail-api where the ports of mail are closed.
    #[arg(long, value_name = "HOW")]
    transport: Option<String>,
    /// The account that everything is relayed through: its full address, or the user name.
    #[arg(long, value_name = "ADDRESS")]
    account: Option<String>,
    /// How to log in: app-password, oauth, service-account or none; password or none for --provider custom.
    #[arg(long, value_name = "HOW")]
    login: Option<String>,
    /// Read the password from the first line of this file ("-" is standard input).
    #[arg(long, value_name = "FILE", conflicts_with = "password_stdin")]
    password_file: Option<PathBuf>,
    /// Read the password from the first line of standard input.
    #[arg(long)]
    password_stdin: bool,
    /// The JSON of your OAuth client, for --login oauth at Google.
    #[arg(long, value_name = "FILE")]
    client_file: Option<String>,
    /// The JSON key of a service account, for --login service-account.
    #[arg(long, value_name = "FILE")]
    key_file: Option<String>,
    /// The application (client) id of your registration, for Microsoft's providers.
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// Its directory (tenant) id, for --provider microsoft365; default: organizations.
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
    /// Who reads the mail of root and of other names of this host; default: the account.
    #[arg(long, value_name = "ADDRESS")]
    root_to: Option<String>,
    /// Who may send: "host", programs of this host alone (default), or networks.
    #[arg(long, value_name = "host|NETWORK", num_args = 1..)]
    serve: Vec<String>,
    /// Where the mail of these networks is taken; default: this host's addresses in them.
    #[arg(long, value_name = "ADDRESS:PORT", num_args = 1..)]
    listen: Vec<String>,
    /// Who gets a first mail at the end; default: nobody.
    #[arg(long, value_name = "ADDRESS|no")]
    send_to: Option<String>,
}

/// What was given.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// Not checked yet.
    pub(super) answers: Answers,
    pub(super) password: Option<Secret>,
}

impl Given {
    /// By flags.
    pub(super) fn by_flags(flags: &Flags) -> Result<Self, Failure> {
        let list = |words: &[String]| (!words.is_empty()).then(|| words.join(" "));
        let answers = [
            (Name::Provider, flags.provider.clone()),
            (Name::Host, flags.host.clone()),
            (Name::Port, flags.port.clone()),
            (Name::Tls, flags.tls.clone()),
            (Name::Transport, flags.transport.clone()),
            (Name::Account, flags.account.clone()),
            (Name::Login, flags.login.clone()),
            (Name::ClientFile, flags.client_file.clone()),
            (Name::KeyFile, flags.key_file.clone()),
            (Name::ClientId, flags.client_id.clone()),
            (Name::Tenant, flags.tenant.clone()),
            (Name::RootTo, flags.root_to.clone()),
            (Name::Serve, list(&flags.serve)),
            (Name::Listen, list(&flags.listen)),
            (Name::SendTo, flags.send_to.clone()),
        ];
        let answers = answers.into_iter().filter_map(|(name, text)| Some((name, text?))).collect();
        let password = match &flags.password_file {
            Some(path) => Some(first_line(&octets(path)?)?),
            None if flags.password_stdin => Some(first_line(&octets(Path::new("-"))?)?),
            None => None,
        };
        Ok(Self { answers, password })
    }

    /// Both, of which the later one counts where they differ.
    pub(super) fn over(mut self, later: Self) -> Self {
        self.answers.extend(later.answers);
        self
    }

    /// As JSON, in a file or on standard input.
    pub(super) fn by_json(path: &Path) -> Result<Self, Failure> {
        let wrong = |words: String| Failure::new(Exit::Data, format!("the answers: {words}"));
        let bytes = octets(path)?;
        // The parser's words may hold a piece of the text, which may be of the password.
        let fields: Map<String, Value> = serde_json::from_slice(&bytes).map_err(|error| {
            wrong(format!("line {} is not JSON, or they are not an object", error.line()))
        })?;
        let mut given = Self::default();
        for (key, value) in fields {
            let name: Name = serde_json::from_value(key.clone().into())
                .map_err(|_| wrong(format!("there is no question {key:?}")))?;
            let text = match value {
                Value::Null => continue,
                Value::String(text) => Zeroizing::new(text),
                Value::Array(words) if name != Name::Password => {
                    let words: Option<Vec<&str>> = words.iter().map(Value::as_str).collect();
                    let words =
                        words.ok_or_else(|| wrong(format!("{key} is not a list of texts")))?;
                    Zeroizing::new(words.join(" "))
                }
                _ => return Err(wrong(format!("{key} is not a text"))),
            };
            match name {
                Name::Password => given.password = Some(Secret::new(text.to_string())),
                name => drop(given.answers.insert(name, text.to_string())),
            }
        }
        Ok(given)
    }
}

/// All of a file, or of standard input.
fn octets(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    if path != Path::new("-") {
        return secret_bytes(path);
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(SECRET_FILE_MAX as usize + 1));
    io::stdin().lock().take(SECRET_FILE_MAX + 1).read_to_end(&mut bytes).map_err(|error| {
        Failure::new(Exit::Temporary, format!("standard input cannot be read: {error}"))
    })?;
    if bytes.len() as u64 > SECRET_FILE_MAX {
        let words = format!("standard input has more than {SECRET_FILE_MAX} octets");
        return Err(Failure::new(Exit::Data, words));
    }
    Ok(bytes)
}

fn first_line(bytes: &[u8]) -> Result<Secret, Failure> {
    let line = bytes.split(|octet| *octet == b'\n').next().unwrap_or_default();
    let text = std::str::from_utf8(line)
        .map_err(|_| Failure::new(Exit::Data, "the password is not UTF-8"))?;
    Ok(Secret::new(text.trim_end_matches('\r').to_owned()))
}
