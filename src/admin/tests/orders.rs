//! Orders of persons over the API, and what who looks again sees of them.

use super::*;

#[tokio::test]
async fn whoever_looks_again_sees_the_first_mail_and_each_order_at_once() {
    let stage = stage(10);
    let look = async || {
        let status = stage.client.status_again(Duration::from_secs(30)).await.expect("an answer");
        (status.queue.recipients, status.departure.because)
    };
    let (recipients, because) = look().await;
    assert_eq!((recipients.queued, because), (0, Because::Empty));
    let id = stage.accept(2).await;
    let (recipients, because) = look().await;
    assert_eq!((recipients.queued, because), (2, Because::Now));
    let at = stage.clock.wall().after(Duration::from_secs(3_600));
    stage.client.schedule(id, at, &Only::default()).await.expect("an answer");
    let (recipients, because) = look().await;
    assert_eq!((recipients.scheduled, because), (2, Because::Scheduled));
    stage.client.hold(id, &Only::default()).await.expect("an answer");
    assert_eq!(look().await.0.held, 2);
    stage.client.delete(id, &Only::default()).await.expect("an answer");
    assert_eq!(look().await.0.held, 0);
}

#[tokio::test]
async fn a_word_that_can_be_said_of_no_message_of_a_list_is_refused_wherever_one_searches() {
    let stage = stage(100);
    let id = stage.accept(1).await;
    let ended = "older:1s -ended:deleted";
    let held = "state:held";
    let misfits = [(Of::Queue, ended), (Of::DeadLetters, ended), (Of::History, held)];
    for (of, words) in misfits {
        let search: Search = words.parse().expect("a search");
        let refused = [
            stage.client.walk(of, None).of(search.clone(), None).page(1).await.map(drop),
            stage.client.walk(of, None).of(search.clone(), Some(Sort::Age)).page(1).await.map(drop),
            stage.client.counts(of, CountBy::From, &search, 1).await.map(drop),
            stage.client.sides(of, &search).await.map(drop),
        ];
        for answer in refused {
            let error = answer.expect_err("no such message can be there");
            assert_eq!(error.kind(), Some(Kind::BadRequest), "{of:?}");
            assert!(error.to_string().contains("; ask for what "), "{error}");
        }
    }
    let only = Only::default().found_by(ended.parse().expect("a search"));
    let refused = [
        stage.client.delete(id, &only).await.map(drop),
        stage.client.retry(id, &only).await.map(drop),
        stage.client.hold(id, &only).await.map(drop),
    ];
    for answer in refused {
        let error = answer.expect_err("it has not ended");
        assert_eq!(error.kind(), Some(Kind::BadRequest), "{error}");
    }
}
