use proptest::prelude::*;

use super::*;

const SESSION: &str = "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";

/// As a browser writes it with `bundlePolicy: "max-bundle"`: one transport for all, in the first section.
const AUDIO_CARRIES: &str = "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
    a=group:BUNDLE 0 1 2\r\na=extmap-allow-mixed\r\na=msid-semantic: WMS\r\n\
    m=audio 51321 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 192.0.2.7\r\na=rtcp:9 IN IP4 0.0.0.0\r\n\
    a=candidate:1 1 udp 2122260223 192.0.2.7 51321 typ host\r\na=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n\
    a=ice-options:trickle\r\na=fingerprint:sha-256 AB:CD\r\na=setup:actpass\r\na=mid:0\r\na=recvonly\r\na=rtcp-mux\r\n\
    a=rtpmap:111 opus/48000/2\r\n\
    m=video 0 UDP/TLS/RTP/SAVPF 96 102 103\r\nc=IN IP4 0.0.0.0\r\na=bundle-only\r\na=mid:1\r\na=sendrecv\r\na=rtcp-mux\r\n\
    a=rtpmap:96 VP8/90000\r\na=rtpmap:102 H264/90000\r\na=rtcp-fb:102 nack pli\r\n\
    a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\na=rtpmap:103 rtx/90000\r\n\
    a=fmtp:103 apt=102\r\na=msid:stream track\r\na=ssrc:7 cname:x\r\n\
    m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=bundle-only\r\na=mid:2\r\na=sctp-port:5000\r\n";

const VIDEO: &str = "m=video 50000 UDP/TLS/RTP/SAVPF 102\r\nc=IN IP4 192.0.2.7\r\na=mid:v\r\na=recvonly\r\na=ice-ufrag:u\r\n\
    a=ice-pwd:p\r\na=fingerprint:sha-256 AB:CD\r\na=setup:actpass\r\na=rtcp-mux\r\na=rtpmap:102 H264/90000\r\n\
    a=candidate:1 1 udp 2122260223 192.0.2.7 50000 typ host\r\na=end-of-candidates\r\n";

const AUDIO: &str = "m=audio 50001 UDP/TLS/RTP/SAVPF 111 0\r\nc=IN IP4 192.0.2.7\r\na=mid:a\r\na=recvonly\r\n\
    a=rtpmap:111 opus/48000/2\r\n";

/// As Ring answers, with a name of its own in it.
const RING: &str = "v=0\r\no=whep 77 3 IN IP4 media-7.ring.internal\r\ns=media-7.ring.internal\r\nu=https://ring.internal/s\r\n\
    t=0 0\r\na=group:BUNDLE 0\r\na=ice-lite\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 102\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendonly\r\na=ice-ufrag:r\r\na=ice-pwd:q\r\n\
    a=fingerprint:sha-256 EF:01\r\na=setup:passive\r\na=rtcp-mux\r\na=rtpmap:102 H264/90000\r\n\
    a=candidate:1 1 udp 2122260223 198.51.100.9 40000 typ host\r\n";

fn offer(sections: &[&str]) -> String {
    format!("{SESSION}a=group:BUNDLE v a\r\n{}", sections.concat())
}

/// The kind, port, id and direction of each section.
fn sections(text: &str) -> Vec<(String, u16, Option<String>, Direction)> {
    let description = Description::parse(text).unwrap();
    let each = description.media.iter().map(|section| {
        let mid = section.attribute("mid").map(str::to_owned);
        (section.kind.clone(), section.port, mid, description.direction(section))
    });
    each.collect()
}

#[test]
fn trap_90_audio_never_reaches_ring_and_is_refused_in_the_answer() {
    for (order, place) in [([AUDIO, VIDEO], 1), ([VIDEO, AUDIO], 0)] {
        let offer = Offer::parse(&offer(&order)).unwrap();
        let sent = offer.for_ring();
        assert_eq!(
            sections(&sent),
            [("video".to_owned(), 50_000, Some("v".to_owned()), Direction::Receive)]
        );
        assert!(
            sent.contains("a=group:BUNDLE v\r\n") && !sent.contains("opus"),
            "{sent}"
        );

        let answer = offer.answer(RING).unwrap();
        let answered = sections(&answer);
        assert_eq!(
            answered[place],
            ("video".to_owned(), 9, Some("v".to_owned()), Direction::Send)
        );
        assert_eq!(
            answered[1 - place],
            ("audio".to_owned(), 0, Some("a".to_owned()), Direction::Inactive)
        );
        assert!(answer.contains("m=audio 0 UDP/TLS/RTP/SAVPF 111 0\r\n"), "{answer}");
        assert!(answer.contains("a=rtpmap:111 opus/48000/2\r\n"), "{answer}");
        assert!(
            answer.contains("a=group:BUNDLE v\r\n") && !answer.contains("a=mid:0"),
            "{answer}"
        );
    }
}

#[test]
fn trap_90_whatever_else_is_offered_is_refused_and_the_video_gets_the_transport_of_its_group() {
    let offer = Offer::parse(AUDIO_CARRIES).unwrap();
    let sent = offer.for_ring();
    assert_eq!(
        sections(&sent),
        [("video".to_owned(), 51_321, Some("1".to_owned()), Direction::Receive)]
    );
    for line in [
        "c=IN IP4 192.0.2.7\r\n",
        "a=candidate:1 1 udp 2122260223 192.0.2.7 51321 typ host\r\n",
        "a=ice-ufrag:EsAw\r\n",
        "a=fingerprint:sha-256 AB:CD\r\n",
        "a=setup:actpass\r\n",
        "a=rtcp-mux\r\n",
        "a=group:BUNDLE 1\r\n",
        "a=rtcp-fb:102 nack pli\r\n",
    ] {
        assert_eq!(sent.matches(line).count(), 1, "{line}{sent}");
    }
    for word in ["bundle-only", "sendrecv", "ssrc", "a=msid:", "c=IN IP4 0.0.0.0"] {
        assert!(!sent.contains(word), "{word}: {sent}");
    }
    let answer = offer.answer(RING).unwrap();
    let kinds: Vec<_> = sections(&answer)
        .into_iter()
        .map(|(kind, port, ..)| (kind, port))
        .collect();
    let expected = [("audio", 0), ("video", 9), ("application", 0)].map(|(kind, port)| (kind.to_owned(), port));
    assert_eq!(kinds, expected);
    assert!(
        answer.contains("m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\n"),
        "{answer}"
    );
}

#[test]
fn rings_hosts_are_named_in_no_line_that_is_not_needed() {
    let answer = Offer::parse(&offer(&[VIDEO])).unwrap().answer(RING).unwrap();
    assert!(!answer.contains("ring.internal"), "{answer}");
    assert!(answer.contains("o=- 77 3 IN IP4 127.0.0.1\r\ns=-\r\n"), "{answer}");
    // These are needed.
    assert!(answer.contains("198.51.100.9 40000") && answer.contains("a=ice-lite\r\n"));
}

#[test]
fn a_viewer_that_names_no_group_gets_none() {
    let alone = format!("{SESSION}{}", VIDEO.replace("a=mid:v\r\n", ""));
    let offer = Offer::parse(&alone).unwrap();
    assert!(!offer.for_ring().contains("a=group") && !offer.for_ring().contains("a=mid"));
    let answer = offer.answer(RING).unwrap();
    assert!(!answer.contains("a=group") && !answer.contains("a=mid"), "{answer}");
}

#[test]
fn an_offer_that_can_show_nothing_is_an_error() {
    let no_candidates = VIDEO
        .replace("a=candidate:1 1 udp 2122260223 192.0.2.7 50000 typ host\r\n", "")
        .replace("a=end-of-candidates\r\n", "");
    for (text, error) in [
        (String::new(), OfferError::Malformed),
        ("{}".to_owned(), OfferError::Malformed),
        (SESSION.to_owned(), OfferError::NoVideo),
        (offer(&[AUDIO]), OfferError::NoVideo),
        (offer(&[&VIDEO.replace("recvonly", "sendonly")]), OfferError::NoVideo),
        (offer(&[&VIDEO.replace("recvonly", "inactive")]), OfferError::NoVideo),
        (offer(&[&VIDEO.replace("H264", "VP8")]), OfferError::NoVideo),
        (
            offer(&[&VIDEO.replace("m=video 50000", "m=video 0")]),
            OfferError::NoVideo,
        ),
        (
            offer(&[&VIDEO.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP")]),
            OfferError::NoVideo,
        ),
        (offer(&[&no_candidates]), OfferError::NoCandidates),
    ] {
        assert_eq!(Offer::parse(&text).unwrap_err(), error, "{text}");
    }
    // The session's direction holds where a section has none.
    let no_direction = VIDEO.replace("a=recvonly\r\n", "");
    let inactive = format!("{SESSION}a=inactive\r\n{no_direction}");
    assert_eq!(Offer::parse(&inactive).unwrap_err(), OfferError::NoVideo);
    assert!(Offer::parse(&format!("{SESSION}{no_direction}")).is_ok());
}

#[test]
fn trap_91_one_candidate_is_enough_with_or_without_an_end_of_candidates() {
    assert!(Offer::parse(&offer(&[&VIDEO.replace("a=end-of-candidates\r\n", "")])).is_ok());
}

#[test]
fn trap_97_a_viewer_that_plays_hevc_alone_is_served() {
    let hevc = Offer::parse(&offer(&[&VIDEO.replace("H264", "h265")])).unwrap();
    assert!(hevc.for_ring().contains("a=rtpmap:102 h265/90000"));
}

#[test]
fn an_answer_without_video_to_come_is_an_error() {
    let offer = Offer::parse(&offer(&[VIDEO])).unwrap();
    for (ring, error) in [
        (String::new(), AnswerError::Malformed),
        ("<html>".to_owned(), AnswerError::Malformed),
        (SESSION.to_owned(), AnswerError::NoVideo),
        (format!("{RING}{AUDIO}"), AnswerError::NoVideo),
        (RING.replace("m=video 9", "m=video 0"), AnswerError::NoVideo),
        (RING.replace("m=video", "m=audio"), AnswerError::NoVideo),
        (RING.replace("sendonly", "inactive"), AnswerError::SendsNothing),
        (RING.replace("sendonly", "recvonly"), AnswerError::SendsNothing),
    ] {
        assert_eq!(offer.answer(&ring).unwrap_err(), error, "{ring}");
    }
}

/// Cuts, doubles, swaps and spoils pieces of a text.
fn mutated(text: &str) -> impl Strategy<Value = String> + use<> {
    let lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    let one = (0..lines.len(), 0..lines.len(), 0..6_u8, any::<char>(), 0..80_usize);
    prop::collection::vec(one, 1..6).prop_map(move |mutations| {
        let mut lines = lines.clone();
        for (at, other, what, letter, column) in mutations {
            let (at, other) = (at % lines.len(), other % lines.len());
            match what {
                0 if lines.len() > 1 => drop(lines.remove(at)),
                1 => lines.insert(at, lines[other].clone()),
                2 => lines.swap(at, other),
                3 => lines[at] = lines[at].chars().take(column).collect(),
                _ => {
                    let place = lines[at]
                        .char_indices()
                        .map(|(place, _)| place)
                        .nth(column)
                        .unwrap_or(0);
                    lines[at].insert(place, letter);
                }
            }
        }
        lines.concat()
    })
}

proptest! {
    #[test]
    fn any_text_can_be_read(text in any::<String>()) {
        let _ = Offer::parse(&text);
        let _ = Offer::parse(&format!("v=0\n{text}"));
    }

    #[test]
    fn trap_90_whatever_an_offer_looks_like_ring_sees_one_section_that_receives_video(text in mutated(AUDIO_CARRIES)) {
        if let Ok(offer) = Offer::parse(&text) {
            let seen = sections(&offer.for_ring());
            prop_assert_eq!(seen.len(), 1);
            prop_assert_eq!((seen[0].0.as_str(), seen[0].3), ("video", Direction::Receive));
            prop_assert!(seen[0].1 != 0);
            let again = Offer::parse(&offer.for_ring()).map(|again| again.for_ring());
            prop_assert_eq!(again.ok(), Some(offer.for_ring()));
        }
    }

    #[test]
    fn trap_90_whatever_ring_answers_the_viewer_gets_its_sections_in_its_order(
        text in mutated(&offer(&[AUDIO, VIDEO])),
        ring in mutated(RING),
    ) {
        if let Ok(offer) = Offer::parse(&text) && let Ok(answer) = offer.answer(&ring) {
            let (asked, answered) = (sections(&text), sections(&answer));
            prop_assert_eq!(asked.len(), answered.len());
            for (asked, answered) in asked.iter().zip(&answered) {
                prop_assert_eq!((&asked.0, &asked.2), (&answered.0, &answered.2));
            }
            prop_assert_eq!(answered.iter().filter(|section| section.1 != 0).count(), 1);
        }
    }
}
