//! Damaged queues: what `check` says of them, and what still comes out.

use std::fs;

use pillarbox::queue::id::QueueId;

use super::stage::{Stage, envelope};

/// A queue with three messages, closed.
async fn three() -> (Stage, [QueueId; 3]) {
    let stage = Stage::new();
    let store = stage.open();
    let accept =
        |text: &'static str| stage.accept(&store, envelope(&["a@x.example"]), text.as_bytes());
    let ids = [accept("A: 1\r\n").await, accept("A: 2\r\n").await, accept("A: 3\r\n").await];
    store.hold(ids[2], super::NOW, "a test".into()).await.unwrap();
    store.close().await;
    drop(store);
    (stage, ids)
}

#[tokio::test]
async fn a_whole_queue_is_told_so_and_looking_at_it_changes_nothing() {
    let (stage, _) = three().await;
    let before = stage.files();
    let said = stage.say(&["check"]);
    assert!(said.contains("3 messages in the spool (18 B), 3 records"), "{said}");
    assert!(said.contains("recipients: 2 waiting, 1 held, 0 dead"), "{said}");
    assert!(said.ends_with("Everything is whole.\n"), "{said}");
    stage.say(&["export", "--format", "mbox", "--to", &stage.path("mbox")]);
    assert!(stage.files() == before, "check or export has changed the queue");
    let answer: serde_json::Value = serde_json::from_str(&stage.say(&["check", "--json"])).unwrap();
    assert_eq!(
        (&answer["summary"]["files"], &answer["summary"]["problems"]),
        (&3.into(), &0.into())
    );
}

#[tokio::test]
async fn a_damaged_file_is_a_problem_and_the_others_come_out() {
    let (stage, ids) = three().await;
    let victim = stage.spool_file(ids[1]);
    let mut bytes = fs::read(&victim).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&victim, bytes).unwrap();
    let said = stage.refused(&["check"], 65);
    assert!(
        said.contains(&format!(
            "problem: {}: its file cannot be used: the checksum",
            victim.display()
        )),
        "{said}"
    );
    assert!(
        said.contains("pillarbox store export") && said.contains("1 problem and 0 notes."),
        "{said}"
    );
    let said = stage.refused(&["export", "--format", "mbox", "--to", &stage.path("mbox")], 65);
    assert!(
        said.contains(&format!("{} cannot be exported", ids[1]))
            && said.contains("2 messages written"),
        "{said}"
    );
}

#[tokio::test]
async fn a_file_that_is_gone_is_a_problem_and_one_without_a_record_is_none() {
    let (stage, ids) = three().await;
    let file = stage.spool_file(ids[0]);
    let whole = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let said = stage.refused(&["check"], 65);
    assert!(
        said.contains(&format!("problem: {}: its file is missing from the spool", ids[0])),
        "{said}"
    );
    fs::write(&file, whole).unwrap();

    let stranger = Stage::new();
    let store = stranger.open();
    let id = stranger.accept(&store, envelope(&["b@x.example"]), b"A: 4\r\n").await;
    store.close().await;
    drop(store);
    let from = stranger.spool_file(id);
    let to = stage.state().join(from.strip_prefix(stranger.state()).unwrap());
    fs::copy(from, to).unwrap();
    fs::write(file.with_extension("part"), b"PBXM").unwrap();
    let said = stage.say(&["check"]);
    assert!(said.contains(&format!("note: {id}: it was accepted and has no record yet")), "{said}");
    assert!(
        said.contains(".part: a message whose acceptance was never confirmed to its client"),
        "{said}"
    );
    assert!(said.ends_with("Everything is whole, but for 2 notes.\n"), "{said}");
}

#[tokio::test]
async fn without_a_readable_index_the_spool_alone_gives_every_message() {
    let (stage, _) = three().await;
    let expected: Vec<_> = stage
        .carried()
        .into_iter()
        .map(|found| (found.id, found.envelope, found.message))
        .collect();
    for (name, damage) in [("garbage", true), ("gone", false)] {
        let index = stage.state().join("queue.sled");
        if damage {
            for (path, bytes) in
                stage.files().into_iter().filter(|(path, _)| path.starts_with(&index))
            {
                fs::write(path, vec![0xa5; bytes.len()]).unwrap();
            }
        } else {
            fs::remove_dir_all(&index).unwrap();
        }
        let said = stage.refused(&["check"], 65);
        assert!(
            said.contains(
                "problem: queue.sled: the states of messages and the budget cannot be read"
            ),
            "{said}"
        );
        let target = stage.path(name);
        let said =
            stage.refused(&["export", "--format", "mbox", "--state", "held", "--to", &target], 65);
        assert!(said.contains("Export them without --state"), "{said}");
        let said = stage.say(&["export", "--format", "mbox", "--to", &target]);
        assert!(
            said.contains("The messages come from the spool alone")
                && said.contains("3 messages written"),
            "{said}"
        );
        let to = Stage::new();
        to.say(&["import", &target]);
        let found: Vec<_> = to
            .carried()
            .into_iter()
            .map(|found| (found.id, found.envelope, found.message))
            .collect();
        assert!(found == expected, "{name}: other messages came out");
    }
}
