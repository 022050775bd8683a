//! BDAT, which Gmail advertises as CHUNKING (RFC 3030).

use pillarbox_sandbox::{Options, Stage};

use super::client::*;

const OPENED: &str =
    "C: MAIL FROM:<me@gmail.com>\nS: 250 2.1.0 OK \nC: RCPT TO:<ok@x.net>\nS: 250 2.1.5 OK ";

async fn opened(client: &mut Client) {
    client.talk(OPENED).await;
}

#[tokio::test]
async fn a_message_in_chunks_is_stored_octet_by_octet() {
    let (sandbox, _clock) = start_with_clock().await;
    let mut client = Client::ready(&sandbox).await;
    opened(&mut client).await;
    // No dot is stuffed, and none ends the message.
    client
        .send(b"BDAT 21\r\nMessage-ID: <1@x>\r\n\r\nBDAT 8\r\n..a\r\n.\r\nBDAT 3 LAST\r\nend")
        .await;
    client.talk("S: 250 2.0.0 OK \nS: 250 2.0.0 OK \nS: 250 2.0.0 OK  1716281641 ").await;
    opened(&mut client).await;
    client.send(b"BDAT 3\r\nabc").await;
    client.talk("S: 250 2.0.0 OK \nC: BDAT 0 last\nS: 250 2.0.0 OK  ").await;
    let accepted = sandbox.mailbox().accepted();
    assert_eq!(accepted[0].body, b"Message-ID: <1@x>\r\n\r\n..a\r\n.\r\nend");
    assert_eq!(accepted[0].message_id.as_deref(), Some("<1@x>"));
    assert_eq!(accepted[1].body, b"abc");
    assert_eq!(sandbox.mailbox().counters().reached(Stage::Dot), 2);
}

#[tokio::test]
async fn a_chunk_that_is_split_over_many_packets_is_put_together() {
    let sandbox = start(Options::default()).await;
    let mut client = Client::ready(&sandbox).await;
    opened(&mut client).await;
    client.send(b"BDAT 10 LAST\r\n").await;
    for octet in b"0123456789" {
        client.send(&[*octet]).await;
    }
    client.talk("S: 250 2.0.0 OK  \nC: NOOP\nS: 250 2.0.0 OK ").await;
    assert_eq!(sandbox.mailbox().accepted()[0].body, b"0123456789");
}

#[tokio::test]
async fn the_octets_of_a_refused_chunk_are_never_read_as_commands() {
    let sandbox = start(Options::default()).await;
    let mut client = Client::ready(&sandbox).await;
    let three = |reply: &str| format!("S: 503-5.5.1 {reply} first.\nS: 503-5.5.1 \nS: 503 5.5.1 ");
    client.send(b"BDAT 6 LAST\r\nQUIT\r\n").await;
    client.talk(&format!("{}\nC: MAIL FROM:<me@gmail.com>\nS: 250 2.1.0 OK ", three("MAIL"))).await;
    client.send(b"BDAT 6\r\nQUIT\r\n").await;
    // The transaction goes on: only its order was wrong.
    client.talk(&format!("{}\nC: RCPT TO:<quota@x.net>\nS: 250 2.1.5 OK ", three("RCPT"))).await;
    client.send(b"BDAT 6 LAST\r\nQUIT\r\n").await;
    client.talk(&format!("{LIMIT}\nC: NOOP\nS: 250 2.0.0 OK ")).await;
    assert_eq!(sandbox.mailbox().count(), 0);
}

#[tokio::test]
async fn within_chunks_only_chunks_may_come() {
    let sandbox = start(Options::default()).await;
    let mut client = Client::ready(&sandbox).await;
    opened(&mut client).await;
    client.send(b"BDAT 2\r\na\n").await;
    client
        .talk(
            "S: 250 2.0.0 OK \nC: DATA\nS: 503-5.5.1 No DATA after BDAT.\nS: 503-5.5.1 \nS: 503 5.5.1 
C: RCPT TO:<ok@x.net>\nS: 503-5.5.1 Bad sequence\nS: 503-5.5.1 \nS: 503 5.5.1 
C: MAIL FROM:<>\nS: 503-5.5.1 Bad sequence\nS: 503-5.5.1 \nS: 503 5.5.1 
C: BDAT 0 LAST\nS: 451-4.5.0 SMTP protocol violation\nS: 451-4.5.0 \nS: 451 4.5.0 ",
        )
        .await;
    opened(&mut client).await;
    client.send(b"BDAT 2\r\nab").await;
    client
        .talk(&format!("S: 250 2.0.0 OK \nC: RSET\nS: 250 2.1.5 Flushed \n{OPENED}\nC: BDAT x"))
        .await;
    client.talk("S: 555-5.5.2 \nS: 555-5.5.2 \nS: 555 5.5.2 \nclose").await;
}

#[tokio::test]
async fn chunks_may_not_grow_beyond_the_size_limit() {
    let sandbox = start(Options { size_bytes_max: 10, ..Options::default() }).await;
    let mut client = Client::implicit(&sandbox).await;
    let (ehlo, auth) =
        (EHLO_REST.replace("35882577", "10"), plain("me@gmail.com", "abcdefghijklmnop"));
    client.talk(&format!("S: 220 \nC: EHLO a.example\n{ehlo}\nC: {auth}\nS: 235 ")).await;
    let large = "S: 552-5.3.4 \nS: 552-5.3.4 \nS: 552 5.3.4  https://support.google.com/mail/?p=MaxSizeError ";
    opened(&mut client).await;
    client.send(b"BDAT 6\r\n012345BDAT 6 LAST\r\n012345").await;
    client.talk(&format!("S: 250 2.0.0 OK \n{large}")).await;
    opened(&mut client).await;
    client.talk(&format!("C: BDAT 11\n{large}\nclose")).await;
}
