//! A browser as far as the page needs one: one request a connection, cookies, forms.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use url::form_urlencoded::Serializer;

/// The longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// One visitor.
#[derive(Clone, Debug)]
pub(super) struct Browser {
    address: SocketAddr,
    /// `name=value`, as it would be sent.
    pub(super) cookie: Option<String>,
}

/// What came back.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) heads: Vec<(String, String)>,
    pub(super) body: String,
}

impl Answer {
    /// The value of a field of the head.
    pub(super) fn head(&self, name: &str) -> Option<&str> {
        self.heads.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The values of the document's fields of this name, in their order.
    pub(super) fn fields(&self, name: &str) -> Vec<String> {
        let wanted = format!("name=\"{name}\" value=\"");
        let values = self.body.split(&wanted).skip(1);
        values.map(|rest| rest.split('"').next().unwrap_or_default().to_owned()).collect()
    }

    /// The path of the document's own script, where it has one.
    pub(super) fn own_script(&self) -> Option<String> {
        let tag = self.body.split("<script src=\"").nth(1)?.split('"').next()?;
        tag.starts_with("/assets/live.").then(|| tag.to_owned())
    }

    /// The document without its own script.
    pub(super) fn without_own_script(&self) -> String {
        let own = self.own_script().unwrap_or_default();
        self.body.replace(&format!("<script src=\"{own}\" defer></script>"), "")
    }

    /// The text without its tags.
    pub(super) fn text(&self) -> String {
        let main = self.body.split_once("<h1>").map_or("", |(_, main)| main);
        let parts = main.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text));
        let text: String = parts.collect::<Vec<_>>().join(" ");
        let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
        text.replace("&amp;", "&").split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

impl Browser {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, cookie: None }
    }

    pub(super) fn get(&mut self, path: &str) -> Answer {
        self.ask("GET", path, &[("Host", &self.address.to_string())], "")
    }

    /// Sends a form as the page's own document does.
    pub(super) fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let (host, origin) = (self.address.to_string(), format!("http://{}", self.address));
        self.ask("POST", path, &[("Host", &host), ("Origin", &origin)], &form(fields))
    }

    /// Sends the first form of a document that has the button, with all its fields.
    pub(super) fn press(&mut self, document: &Answer, button: &str) -> Answer {
        let mut forms = document.body.split("<form ").skip(1);
        let class = button.split_once('.').map_or("", |(_, class)| class);
        let form = forms
            .find(|form| form.contains(&format!("<button class=\"{class}\"")))
            .expect("a form with the button");
        let form = form.split("</form>").next().unwrap_or_default();
        let action = attribute(form, "action").expect("where it goes");
        let inputs = form.split("<input ").skip(1);
        let fields: Vec<(String, String)> = inputs
            .filter_map(|input| Some((attribute(input, "name")?, attribute(input, "value")?)))
            .collect();
        let fields: Vec<(&str, &str)> =
            fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.post(&action, &fields)
    }

    /// One request with this head.
    pub(super) fn ask(
        &mut self,
        method: &str,
        path: &str,
        heads: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        for (name, value) in heads {
            request += &format!("{name}: {value}\r\n");
        }
        if let Some(cookie) = &self.cookie {
            request += &format!("Cookie: other=1; {cookie}\r\n");
        }
        let length = body.len();
        request += &format!(
            "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        let mut stream = TcpStream::connect_timeout(&self.address, PATIENCE).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer of text");
        let answer = read(&answer);
        if let Some(cookie) = answer.head("set-cookie") {
            let pair = cookie.split(';').next().unwrap_or_default();
            self.cookie = Some(pair.to_owned()).filter(|pair| !pair.ends_with('='));
        }
        answer
    }
}

/// Fields as a browser writes them.
pub(super) fn form(fields: &[(&str, &str)]) -> String {
    Serializer::new(String::new()).extend_pairs(fields).finish()
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let rest = tag.split_once(&format!("{name}=\""))?.1;
    rest.split('"').next().map(str::to_owned)
}

fn read(answer: &str) -> Answer {
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status line");
    let heads = lines.filter_map(|line| line.split_once(": "));
    Answer {
        status: status.parse().expect("a number"),
        heads: heads.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect(),
        body: body.to_owned(),
    }
}
