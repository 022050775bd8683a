//! Messages that are sent once more from the page.

use super::browser::Browser;
use crate::support::{
    client::Client,
    daemon::{Home, free_port, within},
    gmail::Gmail,
};

const LIMIT: std::time::Duration = std::time::Duration::from_secs(30);

#[test]
fn a_dead_letter_goes_elsewhere_and_a_relayed_message_goes_again() {
    let gmail = Gmail::start();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let home = Home::new(&gmail.upstream())
        .environment("PILLARBOX__ADMIN__PAGE", &address.to_string())
        .environment("PILLARBOX__QUEUE__KEEP_RELAYED", "1h");
    let daemon = home.start();
    let say = |arguments: &[&str]| -> serde_json::Value {
        let socket = home.socket().display().to_string();
        let more = ["--json", "--socket", &socket];
        let output = home.output(arguments.iter().chain(&more));
        serde_json::from_slice(&output.stdout).expect("JSON")
    };
    let mut client = Client::hello(daemon.smtp);
    for recipient in ["nosuch@example.net", "there@example.net"] {
        let answer = client.mail("a@example.org", &[recipient], "Subject: once more\r\n\r\nx");
        assert!(answer.starts_with("250"), "{answer}");
    }
    let of = |list: serde_json::Value| -> Vec<String> {
        let all = list["messages"].as_array().expect("messages").iter();
        all.map(|one| one["id"].as_str().expect("an id").to_owned()).collect()
    };
    let (mut dead, mut relayed) = (Vec::new(), Vec::new());
    assert!(
        within(LIMIT, || {
            dead = of(say(&["dead", "list"]));
            relayed = of(say(&["history", "list"]));
            (dead.len(), relayed.len()) == (1, 1)
        }),
        "{}",
        home.log()
    );
    let url = say(&["page"])["url"].as_str().expect("a link").to_owned();
    let mut visitor = Browser::new(address);
    let document =
        visitor.get(url.strip_prefix(&format!("http://{address}")).expect("its address"));
    visitor.press(&document, "button.main");
    let token = visitor.get("/queue").fields("token");
    assert!(visitor.get("/history").text().contains(&relayed[0]));

    let shown = visitor.get(&format!("/messages/{}", dead[0]));
    assert!(shown.text().contains("Send to another address instead"), "{}", shown.text());
    let token = token.first().cloned().unwrap_or_else(|| shown.fields("token").remove(0));
    let send = |visitor: &mut Browser, id: &str, to: &str| {
        let fields = [("token", token.as_str()), ("id", id), ("to", to)];
        let question = visitor.post("/resend", &fields);
        let report = visitor.post("/resend", &[&fields[..], &[("sure", "yes")]].concat());
        (question.text(), report.text())
    };
    for wrong in ["", "a@example.net,b@example.net", "nobody"] {
        let (_, report) = send(&mut visitor, &dead[0], wrong);
        assert!(!report.contains("It is queued as"), "{wrong:?}: {report}");
    }
    let (question, report) = send(&mut visitor, &dead[0], "other@example.net");
    assert!(question.contains("Send 1 message to other@example.net ?"), "{question}");
    assert!(report.contains("It is queued as"), "{report}");
    let (question, report) = send(&mut visitor, &relayed[0], "");
    assert!(question.contains("to its own 1 recipient once more?"), "{question}");
    assert!(report.contains("It is queued as"), "{report}");
    let got = || gmail.accepted().iter().flat_map(|one| one.rcpt_to.clone()).collect::<Vec<_>>();
    assert!(within(LIMIT, || got().len() == 3), "{:?}", got());
    let mut got = got();
    got.sort();
    assert_eq!(got, ["other@example.net", "there@example.net", "there@example.net"]);
}
