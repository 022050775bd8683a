//! Lanes in the pool: an alarm leaves at once, also while the budget of all other mail is spent.

use pillarbox::{delivery::DepartureReason, message::envelope::Lane};

use super::scene::{BODY, HOUR, START, Scene};

#[tokio::test]
async fn urgent_mail_leaves_at_once_from_its_reserve_while_other_mail_waits_for_the_window() {
    let scene = Scene::running(|options| {
        options.recipients_per_day = 4.into();
        options.urgent_reserve = 1;
        options.connections = 1;
    })
    .await;
    for number in 0..5 {
        scene.submit(&[&format!("ok{number}@example.net")]).await;
    }
    scene.until_received(3).await;
    scene.until_quiet().await;
    let next = scene.handle().status().next.unwrap();
    assert_eq!((next.why, next.at), (DepartureReason::Budget, START.after(24 * HOUR)));
    // The clock stands still: it is the arrival that makes the alarm leave.
    scene.submit_in(Lane::Urgent, &["alarm@example.net"], BODY).await;
    let received = scene.until_received(4).await;
    assert_eq!(received[3].rcpt_to, ["alarm@example.net"]);
    scene.until_quiet().await;
    scene.submit_in(Lane::Urgent, &["second@example.net"], BODY).await;
    scene.until_quiet().await;
    assert_eq!(scene.received().len(), 4, "the reserve is spent as well");
    scene.advance(24 * HOUR).await;
    let received = scene.until_received(7).await;
    assert_eq!(received[4].rcpt_to, ["second@example.net"], "urgent mail comes first");
}
