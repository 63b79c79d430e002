use super::*;

fn step(text: &str) -> Step {
    let (kind, text) = text.split_once(' ').unwrap();
    match kind {
        "send" => Step::Send(text.parse().unwrap()),
        _ => Step::Expect(text.parse().unwrap()),
    }
}

fn smtp() -> Vec<Step> {
    ["expect 220 ", "send QUIT\r\n", "expect 221"].map(step).to_vec()
}

#[test]
fn it_waits_for_the_greeting_asks_and_hears_the_answer_however_the_bytes_are_cut() {
    let steps = smtp();
    for size in [1, 2, 3, 100] {
        let mut talk = Talk::new(&steps);
        for part in b"220-mail.test\r\n220 ESMTP\r\n".chunks(size) {
            assert_eq!(talk.due(), Due::Answer, "{size}");
            talk.hears(part);
            if talk.heard.windows(4).any(|seen| seen == b"220 ") {
                break;
            }
        }
        assert_eq!(talk.due(), Due::Send(b"QUIT\r\n"));
        for part in b"221".chunks(size) {
            assert_eq!(talk.due(), Due::Answer);
            talk.hears(part);
        }
        assert_eq!(talk.due(), Due::Nothing);
        assert_eq!(talk.due(), Due::Nothing);
    }
}

#[test]
fn what_came_before_a_question_is_no_answer_to_it_and_two_may_be_in_one_answer() {
    let steps = ["expect 220 ", "send QUIT\r\n", "expect 221", "expect bye"].map(step);
    let mut talk = Talk::new(&steps);
    talk.due();
    talk.hears(b"220 221 bye");
    assert_eq!(talk.due(), Due::Send(b"QUIT\r\n"));
    assert_eq!(talk.due(), Due::Answer);
    talk.hears(b"bye 221");
    assert_eq!(talk.due(), Due::Nothing);
}

#[test]
fn with_datagrams_an_answer_is_one_of_them() {
    let steps = ["send ?", "expect yes"].map(step);
    let mut talk = Talk::new(&steps);
    assert_eq!(talk.due(), Due::Send(b"?"));
    talk.hears(b"ye");
    talk.hears_anew();
    talk.hears(b"s");
    assert_eq!(talk.due(), Due::Answer);
    talk.hears_anew();
    talk.hears(b"yes");
    assert_eq!(talk.due(), Due::Nothing);
}

#[test]
fn an_answer_without_an_end_is_given_up() {
    let steps = [step("expect never")];
    let mut talk = Talk::new(&steps);
    talk.hears(&[b'x'; 16_383]);
    assert!(!talk.is_full());
    talk.hears(b"x");
    assert!(talk.is_full());
}

#[test]
fn a_fault_names_its_step_unless_there_is_one_question_only() {
    let (one, two) = ([step("expect +PONG")], ["send PING", "expect +PONG"].map(step));
    for steps in [&one[..], &two] {
        let mut talk = Talk::new(steps);
        while let Due::Send(_) = talk.due() {}
        assert_eq!(talk.fault(Silence::End), "it closed without an answer");
        assert_eq!(talk.fault(Silence::Late), "no answer in time");
        assert_eq!(talk.fault(Silence::Error("connection refused".into())), "connection refused");
        talk.hears(b"-LOADING\r\n");
        assert_eq!(talk.fault(Silence::End), "it answered \"-LOADING\\r\\n\"");
        assert_eq!(talk.fault(Silence::Late), "it answered \"-LOADING\\r\\n\" and no more in time");
    }
    let steps = smtp();
    let mut talk = Talk::new(&steps);
    talk.due();
    assert_eq!(talk.fault(Silence::Late), "step 1, expect \"220 \": no answer in time");
    talk.hears(b"220 mail.test\r\n");
    while let Due::Send(_) = talk.due() {}
    assert_eq!(talk.fault(Silence::End), "step 3, expect \"221\": it closed without an answer");
}

#[test]
fn an_answer_is_quoted_up_to_60_bytes() {
    assert_eq!(shown(&[b'x'; 60]), format!("\"{}\"", "x".repeat(60)));
    assert_eq!(shown(&[b'x'; 61]), format!("\"{}\"...", "x".repeat(60)));
    assert_eq!(shown(b"a\r\n\xff"), "\"a\\r\\n\u{fffd}\"");
}
