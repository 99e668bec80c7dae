//! Live sessions.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use futures_util::{StreamExt, stream};
use ring_partner::error::{Error, NotSent, Unclear};
use ring_partner::whep::{Ended, LocationError, Offer, OpenError, Session, SessionUrl};
use ring_partner::{Decision, DeviceId, Ring, Settings};

use crate::recorder::{Recorder, TOKEN, answer, cutting, error, nobody, settings, token, told};

const SESSIONS: &str = "/v1/devices/a%2Fb/media/streaming/whep/sessions";

const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=rtpmap:111 opus/48000/2\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 102\r\na=mid:1\r\na=sendrecv\r\na=ice-ufrag:u\r\na=rtpmap:102 H264/90000\r\n\
    a=candidate:1 1 udp 2122260223 192.0.2.7 50000 typ host\r\n";

const ANSWER: &str =
    "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 102\r\na=sendonly\r\n";

fn offer() -> Offer {
    Offer::parse(OFFER).unwrap()
}

fn created(location: &str) -> Response {
    let headers = [
        ("content-type", "application/sdp"),
        ("location", location),
        ("x-request-id", "r-1"),
    ];
    answer(201, &headers, ANSWER)
}

async fn open(ring: &Ring) -> Result<Session, OpenError> {
    ring.open_live(&token(), &DeviceId::new("a/b").unwrap(), &offer()).await
}

#[tokio::test]
async fn a_session_is_opened_and_closed_at_its_location() {
    let server = Recorder::new(|number, _| {
        Some(match number {
            0 => created("sessions/s1"),
            _ => answer(200, &[], ""),
        })
    })
    .await;
    let ring = server.ring();
    let session = open(&ring).await.unwrap();
    assert_eq!(
        (session.answer.as_str(), session.request_id.as_deref()),
        (ANSWER, Some("r-1"))
    );
    ring.close_live(&token(), &session.location.unwrap()).await.unwrap();

    let [post, delete] = server.asked().try_into().unwrap();
    assert_eq!((post.method.as_str(), post.path.as_str()), ("POST", SESSIONS));
    assert_eq!(post.header("content-type"), Some("application/sdp"));
    assert_eq!(post.header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
    assert_eq!(delete.method.as_str(), "DELETE");
    assert_eq!(delete.path, format!("{SESSIONS}/s1"));
    assert_eq!(delete.header("authorization"), post.header("authorization"));
}

#[tokio::test]
async fn trap_90_ring_is_asked_to_send_video_and_nothing_else() {
    let server = Recorder::answering([|| created("/s1")]).await;
    open(&server.ring()).await.unwrap();
    let sent = &server.asked()[0].body;
    assert!(sent.contains("m=video") && sent.contains("a=recvonly"), "{sent}");
    assert!(!sent.contains("m=audio") && !sent.contains("sendrecv"), "{sent}");
}

#[tokio::test]
async fn trap_94_only_201_is_success_and_nothing_is_asked_twice() {
    for (status, may_be_open) in [
        (200, true),
        (202, true),
        (204, true),
        (301, false),
        (303, false),
        (400, false),
        (401, false),
        (404, false),
        (429, false),
        (500, true),
        (502, true),
        (503, false),
        (504, true),
    ] {
        let server = Recorder::new(move |_, _| Some(answer(status, &[("location", "/s1")], ""))).await;
        let error = open(&server.ring()).await.unwrap_err();
        assert_eq!(
            matches!(error, OpenError::MayBeOpen { .. }),
            may_be_open,
            "{status}: {error:?}"
        );
        // What says that it did, in another way than it should, is taken at its word.
        if let OpenError::MayBeOpen { location, .. } = error
            && status < 300
        {
            assert_eq!(location, Some(SessionUrl::kept(&format!("{}s1", server.url)).unwrap()));
        }
        assert_eq!(server.asked().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn trap_94_an_answer_that_does_not_come_may_have_opened_a_session() {
    let silent = Recorder::new(|_, _| None).await;
    let impatient = Settings {
        live_timeout: Duration::from_millis(100),
        ..silent.settings()
    };
    let error = open(&Ring::new(impatient).unwrap()).await.unwrap_err();
    let OpenError::MayBeOpen { location, source } = error else {
        panic!("{error:?}")
    };
    assert!(matches!(source, Error::Unclear(Unclear::TimedOut)) && location.is_none());
    assert_eq!(silent.asked().len(), 1);

    let (url, taken) = cutting().await;
    let error = open(&Ring::new(settings(&url)).unwrap()).await.unwrap_err();
    assert!(
        matches!(error, OpenError::MayBeOpen { location: None, .. }),
        "{error:?}"
    );
    assert_eq!(*taken.lock().unwrap(), 1);

    let error = open(&Ring::new(settings(&nobody().await)).unwrap()).await.unwrap_err();
    assert!(matches!(error, OpenError::NotOpened(Error::NotSent(_))), "{error:?}");
}

#[tokio::test]
async fn what_was_opened_can_be_closed_though_its_answer_breaks_off_or_is_no_text() {
    let unending = Recorder::new(|_, _| {
        let pieces = stream::iter([Ok::<_, std::io::Error>("v=0\r\n")]).chain(stream::pending());
        Some(answer(201, &[("location", "/s1")], Body::from_stream(pieces)))
    })
    .await;
    let no_text = Recorder::answering([|| answer(201, &[("location", "/s1")], vec![0xff, 0xfe])]).await;
    let too_long = Recorder::answering([|| answer(201, &[("location", "/s1")], "x".repeat(100_000))]).await;
    for server in [unending, no_text, too_long] {
        let impatient = Settings {
            live_timeout: Duration::from_millis(500),
            ..server.settings()
        };
        let error = open(&Ring::new(impatient).unwrap()).await.unwrap_err();
        let place = SessionUrl::kept(&format!("{}s1", server.url)).unwrap();
        assert!(
            matches!(&error, OpenError::MayBeOpen { location, .. } if *location == Some(place)),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn trap_89_a_token_goes_to_no_location_elsewhere() {
    let elsewhere = Recorder::answering([|| answer(200, &[], "")]).await;
    let place = elsewhere.url.join("/s1").unwrap().to_string();
    let named = place.clone();
    let server = Recorder::new(move |_, _| Some(created(&named))).await;
    let ring = server.ring();
    let session = open(&ring).await.unwrap();
    assert!(
        matches!(session.location, Err(LocationError::Elsewhere { .. })),
        "{session:?}"
    );
    // Nor if somebody kept it for all that.
    let error = ring
        .close_live(&token(), &SessionUrl::kept(&place).unwrap())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NotSent(NotSent::Invalid(_))), "{error:?}");
    assert_eq!(elsewhere.asked().len(), 0);

    let nowhere = Recorder::answering([|| answer(201, &[], ANSWER)]).await;
    let session = open(&nowhere.ring()).await.unwrap();
    assert_eq!(session.location, Err(LocationError::Missing));
}

#[tokio::test]
async fn trap_95_each_of_these_answers_means_that_it_is_closed() {
    for status in [200, 202, 204, 404] {
        let server = Recorder::new(move |_, _| Some(answer(status, &[], ""))).await;
        let session = SessionUrl::kept(&format!("{}s1", server.url)).unwrap();
        server.ring().close_live(&token(), &session).await.unwrap();
        assert_eq!(server.asked().len(), 1, "{status}");
        let ended = server.ring().end_live(&token(), &session).await.unwrap();
        assert_eq!(ended == Ended::Before, status == 404);
    }
}

#[tokio::test]
async fn closing_is_tried_again_and_a_refused_token_is_told() {
    let server = Recorder::answering([
        || error(503, "Service Unavailable"),
        || answer(500, &[], ""),
        || answer(204, &[], ""),
    ])
    .await;
    let session = SessionUrl::kept(&format!("{}s1", server.url)).unwrap();
    server.ring().close_live(&token(), &session).await.unwrap();
    assert_eq!(server.asked().len(), 3);

    let server = Recorder::answering([|| error(401, "Invalid Client")]).await;
    let session = SessionUrl::kept(&format!("{}s1?key=k3y", server.url)).unwrap();
    let refused = server.ring().close_live(&token(), &session).await.unwrap_err();
    assert_eq!(refused.decision(), Decision::Refresh);
    assert!(!told(&refused).contains("k3y") && !told(&refused).contains(TOKEN));
}

#[tokio::test]
async fn an_offline_device_is_told_from_a_busy_ring() {
    let server = Recorder::answering([|| {
        let body =
            r#"{"errors":[{"status":"503","title":"Device Unavailable","detail":"Device is currently offline"}]}"#;
        answer(503, &[("content-type", "application/json")], body)
    }])
    .await;
    let error = open(&server.ring()).await.unwrap_err();
    assert_eq!(error.cause().decision(), Decision::Offline);
    let busy = Recorder::answering([|| error_503()]).await;
    let error = open(&busy.ring()).await.unwrap_err();
    assert!(matches!(error.cause().decision(), Decision::RetryAfter(_)), "{error:?}");
}

fn error_503() -> Response {
    error(503, "Service Unavailable")
}
