//! The whole of it before receivers of our own, one of which takes the connection and never says a word.

use tokio::{
    io::AsyncReadExt as _,
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
};

use super::{
    format::Format,
    outputs::{Address, Target, Way},
    watch::{Alert, Kind, State},
    *,
};
use crate::{
    clock::{ManualClock, Timestamp},
    delivery::oauth::Endpoint,
    telemetry::tests::Captured,
};

const NOW: Timestamp = Timestamp(1_800_000_000_000);

/// A receiver that hangs, and one that does not.
struct Receivers {
    hanging: TcpListener,
    prompt: TcpListener,
    targets: [Target; 2],
}

impl Receivers {
    async fn new() -> Self {
        let (hanging, prompt) = (listener().await, listener().await);
        let targets = [target("phone", &hanging), target("board", &prompt)];
        Self { hanging, prompt, targets }
    }
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

fn target(name: &str, listener: &TcpListener) -> Target {
    let url = format!("http://localhost:{}/", listener.local_addr().unwrap().port());
    let address = Address::Written(Endpoint::new(&url).unwrap());
    let way = Way::Webhook { address, format: Format::Json };
    Target { name: name.into(), way, only: Vec::new() }
}

/// Takes one alert as a receiver does, and returns its subject.
async fn take(listener: &TcpListener) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut request = Vec::new();
    while !request.ends_with(b"}") {
        assert!(stream.read_buf(&mut request).await.unwrap() > 0, "a request ends with its JSON");
    }
    let answer = "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    stream.write_all(answer.as_bytes()).await.unwrap();
    let request = String::from_utf8(request).unwrap();
    let body = request.split_once("\r\n\r\n").unwrap().1;
    let alert: serde_json::Value = serde_json::from_str(body).unwrap();
    alert["subject"].as_str().unwrap().to_owned()
}

fn alert(subject: &str) -> Alert {
    let (host, remedy) = ("web01".into(), String::new());
    let subject = subject.into();
    Alert { kind: Kind::Held, state: State::Begins, host, at: NOW, subject, remedy }
}

#[tokio::test]
async fn a_receiver_that_hangs_keeps_no_other_waiting() {
    let directory = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(NOW));
    let Receivers { hanging, prompt, targets } = Receivers::new().await;
    let post = Arc::new(Post::in_directory(directory.path()));
    post.serve(&targets);
    let mut senders = JoinSet::new();
    for target in &targets {
        let courier = Courier::new(target.clone(), None);
        senders.spawn(send(courier, Arc::clone(&post), Arc::clone(&clock)));
    }
    post.add(&[alert("one")], Told::default(), &targets).await;
    let held: (TcpStream, _) = hanging.accept().await.unwrap();
    assert_eq!(take(&prompt).await, "one");
    // The first one still hangs, and the second alert finds it so.
    post.add(&[alert("two")], Told::default(), &targets).await;
    assert_eq!(take(&prompt).await, "two");
    let waiting = post.outbox(&targets[0]).waiting;
    let subjects: Vec<&str> = waiting.iter().map(|alert| &*alert.subject).collect();
    assert_eq!(subjects, ["one", "two"], "nothing is lost for the one that hangs");
    drop(held);
}

#[tokio::test]
async fn a_trial_ends_with_an_answer_of_each_though_one_of_them_hangs() {
    let Receivers { hanging, prompt, targets } = Receivers::new().await;
    let alert = Arc::new(alert("a test"));
    let limit = Duration::from_millis(300);
    let all = targets.each_ref();
    let trials = trial::all(&all, None, &alert, limit);
    let (trials, _held, subject) = tokio::join!(trials, hanging.accept(), take(&prompt));
    assert_eq!(subject, "a test");
    let shown: Vec<_> = trials.iter().map(|trial| (&*trial.target, trial.taken)).collect();
    assert_eq!(shown, [("phone", false), ("board", true)], "in the order of the configuration");
    assert_eq!(trials[0].answer, "no answer within 0.3 s");
    assert_eq!(trials[1].answer, "HTTP status 204");
}

#[test]
fn the_log_says_once_that_mail_is_refused_and_once_that_there_is_room_again() {
    let (captured, _guard) = Captured::listening();
    let refusing = |everything, what: &str| Refusing {
        everything,
        failed: false,
        what: what.into(),
        remedy: "make room".into(),
    };
    let (large, all) = (refusing(false, "large mail is not taken"), refusing(true, "no mail"));
    let mut door = Door::default();
    for look in [None, Some(&large), Some(&large), Some(&all), Some(&all), None, None] {
        door.look(look);
    }
    let text = captured.text();
    let words = ["large mail is not taken", "no mail", "there is room again"];
    for word in words {
        assert_eq!(text.matches(word).count(), 1, "{word}: {text}");
    }
}
