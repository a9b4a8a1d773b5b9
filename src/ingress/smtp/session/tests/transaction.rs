//! A transaction from MAIL to the reply behind the final dot.

use super::*;

#[test]
fn a_message_goes_through() {
    let handed = play(
        ALL,
        "= greet
         S: 220 relay.example.net ESMTP Remuda
         C: EHLO app.example
         S: 250-relay.example.net
         S: 250-PIPELINING
         S: 250-SIZE 2000
         S: 250-8BITMIME
         S: 250-SMTPUTF8
         S: 250-CHUNKING
         S: 250-DSN
         S: 250-LIMITS RCPTMAX=2
         S: 250 ENHANCEDSTATUSCODES
         C: MAIL FROM:<a@example.com> SIZE=20
         S: 250 2.1.0 sender ok
         C: RCPT TO:<b@Example.ORG>
         S: 250 2.1.5 recipient ok
         C: RCPT TO:<Postmaster>
         S: 250 2.1.5 recipient ok
         C: DATA
         S: 354 end data with <CRLF>.<CRLF>
         C: Subject: x
         C:
         C: ..dot
         C: .
         S: 250 2.6.0 0000000000007 accepted
         C: QUIT
         S: 221 2.0.0 bye",
    );
    let [transaction] = &handed[..] else { panic!("one message") };
    assert_eq!(&transaction.body[..], b"Subject: x\r\n\r\n.dot\r\n");
    assert_eq!(transaction.reverse_path.as_ref().map(Mailbox::as_str), Some("a@example.com"));
    let recipients: Vec<_> = transaction.recipients.iter().map(|to| to.address.as_str()).collect();
    assert_eq!(recipients, ["b@example.org", "postmaster@relay.example.net"]);
    assert_eq!((transaction.helo.as_str(), transaction.esmtp, transaction.trusted), ("app.example", true, true));
    assert!(!transaction.eight_bit);
}

#[test]
fn pipelined_groups_are_answered_in_order_and_a_group_may_start_with_text() {
    let handed = play(
        ALL,
        "C: HELO app.example
         S: 250 relay.example.net
         C: MAIL FROM:<>
         C: RCPT TO:<bad>
         C: RCPT TO:<b@example.org>
         C: DATA
         S: 250 2.1.0 sender ok
         S: 501 5.1.3 address lacks a local part or an @
         S: 250 2.1.5 recipient ok
         S: 354 end data with <CRLF>.<CRLF>
         C: ä
         C: .
         C: MAIL FROM:<a@example.com>
         C: RCPT TO:<c@example.org>
         C: DATA
         S: 250 2.6.0 0000000000007 accepted
         S: 250 2.1.0 sender ok
         S: 250 2.1.5 recipient ok
         S: 354 end data with <CRLF>.<CRLF>
         C: .
         C: RSET
         C: QUIT
         S: 250 2.6.0 0000000000007 accepted
         S: 250 2.0.0 ok
         S: 221 2.0.0 bye",
    );
    assert_eq!(handed.len(), 2);
    assert_eq!((handed[0].reverse_path.clone(), handed[0].eight_bit, handed[0].esmtp), (None, true, false));
}

#[test]
fn commands_out_of_order_are_refused() {
    play(
        ALL,
        "C: MAIL FROM:<a@example.com>
         S: 503 5.5.1 EHLO or HELO first
         C: HELO x
         C: RCPT TO:<b@example.org>
         S: 250 relay.example.net
         S: 503 5.5.1 MAIL first
         C: DATA
         S: 503 5.5.1 MAIL and RCPT first
         C: NOOP
         C: VRFY me
         C: HELP
         S: 250 2.0.0 ok
         S: 252 2.5.0 not verified; send mail and see
         S: 214 2.0.0 see RFC 5321
         C: MAIL FROM:<a@example.com>
         C: MAIL FROM:<a@example.com>
         S: 250 2.1.0 sender ok
         S: 503 5.5.1 a transaction is already open
         S: 421 4.7.0 too many errors, closing",
    );
}

#[test]
fn an_accepted_message_forgives_earlier_errors_and_rset_forgets_the_envelope() {
    play(
        ALL,
        "C: HELO x
         C: FOO
         C: FOO
         C: FOO
         C: MAIL FROM:<a@example.com>
         C: RSET
         C: MAIL FROM:<a@example.com>
         C: RCPT TO:<b@example.org>
         C: RCPT TO:<c@example.org>
         C: RCPT TO:<d@example.org>
         C: DATA
         S: 250 relay.example.net
         S: 500 5.5.2 command not recognised
         S: 500 5.5.2 command not recognised
         S: 500 5.5.2 command not recognised
         S: 250 2.1.0 sender ok
         S: 250 2.0.0 ok
         S: 250 2.1.0 sender ok
         S: 250 2.1.5 recipient ok
         S: 250 2.1.5 recipient ok
         S: 452 4.5.3 too many recipients, send the rest in another transaction
         S: 354 end data with <CRLF>.<CRLF>
         C: .
         C: STARTTLS
         S: 250 2.6.0 0000000000007 accepted
         S: 502 5.5.1 STARTTLS is not offered here",
    );
}

#[test]
fn size_is_enforced_at_mail_and_at_the_end_of_data() {
    let long = "x".repeat(1200);
    play(
        ALL,
        &format!(
            "C: HELO x
             C: MAIL FROM:<a@example.com> SIZE=2001
             S: 250 relay.example.net
             S: 552 5.3.4 message is larger than the limit of 2000 octets
             C: MAIL FROM:<a@example.com> SIZE=2000
             C: RCPT TO:<b@example.org>
             C: DATA
             S: 250 2.1.0 sender ok
             S: 250 2.1.5 recipient ok
             S: 354 end data with <CRLF>.<CRLF>
             C: {long}
             C: {long}
             C: .
             S: 552 5.3.4 message is larger than the limit
             C: RCPT TO:<b@example.org>
             S: 503 5.5.1 MAIL first"
        ),
    );
}

#[test]
fn mail_that_goes_in_circles_is_refused() {
    for (hops, reply) in [
        (MAX_HOPS, "250 2.6.0 0000000000007 accepted"),
        (MAX_HOPS + 1, "554 5.4.6 more than 100 Received lines: mail loop"),
    ] {
        let received = "C: Received:\n".repeat(hops);
        play(
            ALL,
            &format!(
                "C: HELO x
                 C: MAIL FROM:<>
                 C: RCPT TO:<b@example.org>
                 C: DATA
                 S: 250 relay.example.net
                 S: 250 2.1.0 sender ok
                 S: 250 2.1.5 recipient ok
                 S: 354 end data with <CRLF>.<CRLF>
                 {received}
                 C: .
                 S: {reply}"
            ),
        );
    }
}

#[test]
fn no_space_is_said_at_mail_and_at_the_end() {
    play(
        ALL,
        "C: HELO x
         C: MAIL FROM:<a@example.com>
         C: RCPT TO:<b@example.org>
         C: DATA
         S: 250 relay.example.net
         S: 250 2.1.0 sender ok
         S: 250 2.1.5 recipient ok
         S: 354 end data with <CRLF>.<CRLF>
         = full
         C: .
         C: MAIL FROM:<a@example.com>
         S: 452 4.3.1 insufficient storage, try again later
         S: 452 4.3.1 insufficient storage, try again later",
    );
}

#[test]
fn stopping_waits_for_a_message_in_flight_and_for_nothing_else() {
    play(
        ALL,
        "C: HELO x\nC: MAIL FROM:<>\nS: 250 relay.example.net\nS: 250 2.1.0 sender ok\n= stop\nS: 421 4.3.2 service stopping, closing",
    );
    let handed = play(
        ALL,
        "C: HELO x
         C: MAIL FROM:<>
         C: RCPT TO:<b@example.org>
         C: DATA
         S: 250 relay.example.net
         S: 250 2.1.0 sender ok
         S: 250 2.1.5 recipient ok
         S: 354 end data with <CRLF>.<CRLF>
         = stop
         C: text
         C: .
         C: NOOP
         S: 250 2.6.0 0000000000007 accepted
         S: 421 4.3.2 service stopping, closing",
    );
    assert_eq!(handed.len(), 1);
    play(ALL, "= idle\nS: 421 4.4.2 idle for too long, closing");
}
