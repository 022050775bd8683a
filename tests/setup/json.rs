//! Programs: questions as JSON, answers as JSON, and what came of them.

use serde_json::{Value, json};

use super::scene::{ACCOUNT, PASSWORD, Scene, write_secret};

fn document(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Gives the answers on standard input.
fn answered(scene: &Scene, answers: &Value, flags: &[&str]) -> (i32, Value) {
    let flags = [&["--json", "--answers", "-"][..], flags].concat();
    let (code, out, _) = scene.run(&flags, &answers.to_string());
    assert!(!out.replace(' ', "").contains("abcdefgh"), "{out}");
    (code, document(&out))
}

#[test]
fn the_questions_are_data_with_names_kinds_defaults_and_help() {
    let scene = Scene::new();
    let (code, out, _) = scene.run(&["--json"], "");
    assert_eq!(code, 0);
    let found = document(&out);
    assert_eq!((&found["version"], &found["container"]), (&json!(1), &json!(false)));
    let questions = found["questions"].as_array().unwrap();
    let names: Vec<&str> = questions.iter().map(|one| one["name"].as_str().unwrap()).collect();
    let expected = [
        "provider",
        "host",
        "port",
        "tls",
        "transport",
        "account",
        "login",
        "client-file",
        "key-file",
        "client-id",
        "tenant",
        "root-to",
        "serve",
        "listen",
        "password",
        "send-to",
    ];
    assert_eq!(names, expected);
    for question in questions {
        for key in ["kind", "prompt", "help", "when", "flag"] {
            assert!(
                question[key].as_str().is_some_and(|text| !text.is_empty()),
                "{key}: {question}"
            );
        }
        assert_eq!(question["secret"], json!(question["name"] == "password"));
        assert_eq!(question["answered"], question["name"] == "provider", "the file names it");
    }
    assert_eq!(questions[0]["default"], "gmail");
    assert_eq!(questions[0]["choices"].as_array().unwrap().len(), 14);
    assert_eq!(questions[6]["default"], "app-password");
    assert_eq!(questions[6]["choices"].as_array().unwrap().len(), 4);
    scene.set_up();
    let (_, out, _) = scene.run(&["--json"], "");
    let found = document(&out);
    assert_eq!(
        (&found["questions"][5]["answered"], &found["questions"][5]["default"]),
        (&json!(true), &json!(ACCOUNT))
    );
    assert_eq!(found["questions"][14]["answered"], true);
}

#[test]
fn answers_are_planned_and_done_and_the_result_says_both() {
    let scene = Scene::new();
    let answers = json!({ "account": ACCOUNT, "password": PASSWORD, "serve": ["192.168.1.0/24"], "listen": "127.0.0.1:2527" });
    let files = scene.files();
    let (code, planned) = answered(&scene, &answers, &["--dry-run"]);
    assert_eq!((code, &planned["result"]), (0, &json!("planned")), "{planned}");
    let deeds: Vec<&str> = planned["plan"]
        .as_array()
        .unwrap()
        .iter()
        .map(|deed| deed["deed"].as_str().unwrap())
        .collect();
    assert_eq!(deeds, ["store-password", "write-configuration", "prove-login"]);
    assert_eq!(planned["plan"][0]["mode"], "0600");
    assert_eq!(scene.files(), files);
    let (code, refused) = answered(&scene, &answers, &[]);
    assert_eq!((code, &refused["result"]), (64, &json!("failed")), "{refused}");
    assert!(refused["error"].as_str().unwrap().contains("--yes"), "{refused}");
    let (code, done) = answered(&scene, &answers, &["--yes"]);
    assert_eq!(
        (code, &done["result"], &done["login"]),
        (0, &json!("done"), &json!("proved")),
        "{done}"
    );
    assert!(done["next"][0].as_str().unwrap().starts_with("pillarbox run --config"), "{done}");
}

#[test]
fn a_mistake_names_its_question() {
    let scene = Scene::new();
    let file = scene.path("answers.json");
    for (answers, code, question) in [
        (json!({ "account": "me" }), 65, json!("account")),
        (json!({ "account": ACCOUNT, "password": "" }), 65, json!("password")),
        (json!({ "account": ACCOUNT }), 64, json!("password")),
        (json!({}), 64, json!("account")),
        (json!({ "account": ACCOUNT, "password": "aaaa bbbb cccc dddd" }), 77, json!("password")),
    ] {
        write_secret(&file, &answers.to_string());
        let path = file.display().to_string();
        let (found, out, _) = scene.run(&["--json", "--answers", &path, "--yes"], "");
        let document = document(&out);
        assert_eq!((found, &document["question"]), (code, &question), "{document}");
        assert!(
            document["error"].as_str().is_some_and(|words| !words.contains("aaaa")),
            "{document}"
        );
    }
    for (answers, words) in [
        ("{", "not JSON"),
        ("[]", "not an object"),
        (r#"{"acount":"me@gmail.com"}"#, "no question"),
        (r#"{"account":1}"#, "account is not a text"),
        (r#"{"password":["abcd"]}"#, "password is not a text"),
    ] {
        let (code, _, err) = scene.run(&["--json", "--answers", "-"], answers);
        assert_eq!(code, 65, "{err}");
        assert!(err.contains(words) && !err.contains("abcd"), "{answers}: {err}");
    }
}
