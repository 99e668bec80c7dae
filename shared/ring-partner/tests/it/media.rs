//! Clips and snapshots.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use futures_util::{StreamExt, stream};
use ring_partner::error::{Error, RedirectRefused, Unclear};
use ring_partner::{ClipRequest, Decision, DeviceId, Media, Ring, Settings, SnapshotRequest};
use serde_json::json;

use crate::recorder::{Asked, Recorder, TOKEN, answer, error, json as answer_json, token, told};

const CLIP: &str = "/v1/devices/a%2Fb/media/video/download";

fn device() -> DeviceId {
    DeviceId::new("a/b").unwrap()
}

fn request() -> ClipRequest {
    ClipRequest {
        timestamp: 1_699_457_230_000,
        duration: 5000,
        video_options: None,
        audio_options: None,
    }
}

fn snapshot() -> SnapshotRequest {
    SnapshotRequest::AtTimestamp {
        timestamp: 1_699_457_230_000,
        image_options: None,
    }
}

fn mp4() -> Response {
    answer(
        200,
        &[("content-type", "video/mp4"), ("x-media-timestamp", "1699457230000")],
        "mp4",
    )
}

fn redirect(status: u16, to: &str) -> Response {
    answer(
        status,
        &[
            ("location", to),
            ("set-cookie", "session=1; Path=/"),
            ("x-request-id", "first"),
        ],
        "moved",
    )
}

async fn clip(ring: &Ring) -> Result<Media, Error> {
    ring.clip(&token(), &device(), &request()).await
}

async fn bytes(media: Media) -> Result<Vec<u8>, Error> {
    let pieces: Vec<_> = media.body.collect().await;
    pieces.into_iter().try_fold(Vec::new(), |mut bytes, piece| {
        bytes.extend_from_slice(&piece?);
        Ok(bytes)
    })
}

fn bearer(asked: &Asked) -> Option<&str> {
    asked.header("authorization")
}

#[tokio::test]
async fn a_clip_comes_with_what_its_headers_say() {
    let server = Recorder::answering([|| {
        let headers = [
            ("content-type", "Video/MP4; codecs=\"avc1\""),
            ("x-media-timestamp", "1699457230000"),
            ("x-request-id", "r-1"),
        ];
        answer(200, &headers, "0123456789")
    }])
    .await;
    let media = clip(&server.ring()).await.unwrap();
    assert_eq!(media.content_type, "video/mp4");
    assert_eq!((media.content_length, media.partial), (Some(10), false));
    assert_eq!(
        (media.media_timestamp, media.media_length),
        (Some(1_699_457_230_000), None)
    );
    assert_eq!(
        (media.request_id.as_deref(), media.origin.as_deref()),
        (Some("r-1"), None)
    );
    assert_eq!(bytes(media).await.unwrap(), b"0123456789");

    let [asked] = server.asked().try_into().unwrap();
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", CLIP));
    assert_eq!(bearer(&asked), Some(format!("Bearer {TOKEN}").as_str()));
    assert_eq!(asked.header("content-type"), Some("application/json"));
    assert_eq!(
        asked.json(),
        json!({"timestamp": 1_699_457_230_000_i64, "duration": 5000})
    );
}

#[tokio::test]
async fn traps_103_104_and_105_a_partial_clip_is_a_success_with_its_true_window() {
    let check = async |headers: &'static [(&str, &str)], length: Option<i64>| {
        let server = Recorder::new(move |_, _| {
            let stream = stream::iter(["mp", "4"].map(Ok::<_, std::io::Error>));
            Some(answer(206, headers, Body::from_stream(stream)))
        })
        .await;
        let media = clip(&server.ring()).await.unwrap();
        assert_eq!((media.partial, media.content_length), (true, None));
        assert_eq!(
            (media.media_timestamp, media.media_length),
            (Some(1_699_457_235_000), length)
        );
        assert_eq!(bytes(media).await.unwrap(), b"mp4");
        assert_eq!(server.asked().len(), 1);
        assert_eq!(server.asked()[0].header("range"), None);
    };
    const MP4: (&str, &str) = ("content-type", "video/mp4");
    const FROM: (&str, &str) = ("x-media-timestamp", "1699457235000");
    check(&[MP4, FROM, ("x-media-length", "3000")], Some(3000)).await;
    check(&[MP4, FROM, ("x-media-duration", "3000")], Some(3000)).await;
    check(
        &[MP4, FROM, ("x-media-duration", "1"), ("x-media-length", "3000")],
        Some(3000),
    )
    .await;
    check(
        &[MP4, FROM, ("x-media-length", "long"), ("x-media-duration", "3000")],
        Some(3000),
    )
    .await;
    check(&[MP4, FROM], None).await;
}

#[tokio::test]
async fn trap_99_the_same_body_is_posted_to_where_a_redirect_leads() {
    for status in [301, 302, 307, 308] {
        let server = Recorder::new(move |number, _| {
            Some(if number == 0 {
                redirect(status, "/v1/processed?here=1")
            } else {
                mp4()
            })
        })
        .await;
        let media = clip(&server.ring()).await.unwrap();
        assert_eq!(media.request_id.as_deref(), Some("first"));
        assert_eq!(bytes(media).await.unwrap(), b"mp4");
        let [first, second] = server.asked().try_into().unwrap();
        assert_eq!(
            (second.method.as_str(), second.path.as_str()),
            ("POST", "/v1/processed?here=1")
        );
        assert_eq!(
            (&second.body, bearer(&second)),
            (&first.body, bearer(&first)),
            "{status}"
        );
        assert_eq!(second.header("content-type"), Some("application/json"));
        assert_eq!(second.header("cookie"), None);
    }
}

#[tokio::test]
async fn trap_99_the_bearer_goes_to_the_api_and_to_named_hosts_alone() {
    let elsewhere = Recorder::answering([mp4]).await;
    let target = elsewhere.url.join("/clip").unwrap().to_string();
    let server = Recorder::new(move |_, _| Some(redirect(307, &target))).await;
    let media_host = Settings {
        media_hosts: vec![elsewhere.host()],
        ..server.settings()
    };
    let bearer_host = Settings {
        bearer_hosts: vec![elsewhere.host()],
        ..server.settings()
    };
    clip(&Ring::new(media_host).unwrap()).await.unwrap();
    clip(&Ring::new(bearer_host).unwrap()).await.unwrap();
    let [without, with] = elsewhere.asked().try_into().unwrap();
    assert_eq!((without.method.as_str(), bearer(&without)), ("POST", None));
    assert_eq!(without.json()["duration"], json!(5000));
    assert_eq!(bearer(&with), Some(format!("Bearer {TOKEN}").as_str()));
}

#[tokio::test]
async fn trap_100_a_presigned_target_is_fetched_without_bearer_body_or_cookies() {
    let store = Recorder::new(|_, _| {
        let headers = [
            ("content-type", "image/jpeg"),
            ("x-media-timestamp", "1699457229000"),
            ("x-media-origin", "recording"),
        ];
        Some(answer(200, &headers, "jpeg"))
    })
    .await;
    let target = store
        .url
        .join("/v1/download?security_token=s3cret&req_id=1")
        .unwrap()
        .to_string();
    let server = Recorder::new(move |_, _| Some(redirect(303, &target))).await;
    let ring = Ring::new(Settings {
        media_hosts: vec![store.host()],
        ..server.settings()
    })
    .unwrap();
    let media = ring.snapshot(&token(), &device(), &snapshot()).await.unwrap();
    assert_eq!(
        (media.content_type.as_str(), media.origin.as_deref()),
        ("image/jpeg", Some("recording"))
    );
    assert_eq!(media.media_timestamp, Some(1_699_457_229_000));
    assert_eq!(
        media.request_id.as_deref(),
        Some("first"),
        "the API's, as the store gave none"
    );
    assert!(!format!("{media:?}").contains("s3cret"));
    assert_eq!(bytes(media).await.unwrap(), b"jpeg");

    let [posted] = server.asked().try_into().unwrap();
    assert_eq!(posted.path, "/v1/devices/a%2Fb/media/image/download");
    assert_eq!(
        posted.json(),
        json!({"type": "at_timestamp", "timestamp": 1_699_457_230_000_i64})
    );
    let [fetched] = store.asked().try_into().unwrap();
    assert_eq!(
        (fetched.method.as_str(), fetched.path.as_str(), fetched.body.as_str()),
        ("GET", "/v1/download?security_token=s3cret&req_id=1", "")
    );
    for header in ["authorization", "cookie", "content-type", "referer"] {
        assert_eq!(fetched.header(header), None);
    }
}

#[tokio::test]
async fn trap_100_also_at_ring_s_own_door_a_get_has_no_bearer() {
    let server = Recorder::answering([|| redirect(303, "/v1/download"), mp4]).await;
    clip(&server.ring()).await.unwrap();
    let asked = server.asked();
    assert_eq!((asked[1].method.as_str(), bearer(&asked[1])), ("GET", None));
}

#[tokio::test]
async fn trap_99_three_redirects_are_followed_and_no_more() {
    let server = Recorder::new(|number, _| {
        Some(if number < 3 {
            redirect(301, &format!("/hop/{number}"))
        } else {
            mp4()
        })
    })
    .await;
    clip(&server.ring()).await.unwrap();
    assert_eq!(server.asked().len(), 4);

    let server = Recorder::new(|number, _| Some(redirect(301, &format!("/hop/{number}")))).await;
    let failed = clip(&server.ring()).await.unwrap_err();
    assert!(matches!(failed, Error::Redirect(RedirectRefused::TooMany)));
    assert_eq!((server.asked().len(), failed.decision()), (4, Decision::GiveUp));
}

#[tokio::test]
async fn trap_101_a_target_that_is_not_allowed_is_never_asked() {
    let inside = Recorder::answering([mp4]).await;
    let port = inside.url.port().unwrap();
    let check = async |location: String, media_hosts: &[&str]| {
        let server = Recorder::new(move |_, _| Some(redirect(303, &location))).await;
        let media_hosts = media_hosts.iter().map(|host| (*host).to_owned()).collect();
        let ring = Ring::new(Settings {
            media_hosts,
            ..server.settings()
        })
        .unwrap();
        let failed = clip(&ring).await.unwrap_err();
        assert_eq!(server.asked().len(), 1);
        assert!(!told(&failed).contains("s3cret"), "{}", told(&failed));
        match failed {
            Error::Redirect(refused) => refused,
            failed => panic!("{failed:?}"),
        }
    };
    let host = || "127.0.0.1".to_owned();
    assert_eq!(
        check(format!("http://127.0.0.1:{port}/?k=s3cret"), &[]).await,
        RedirectRefused::NotHttps { host: host() }
    );
    assert_eq!(
        check(format!("https://127.0.0.1:{port}/?k=s3cret"), &[]).await,
        RedirectRefused::NotHttps { host: host() }
    );
    assert_eq!(
        check("https://127.0.0.1/?k=s3cret".to_owned(), &[]).await,
        RedirectRefused::NotPublic { host: host() }
    );
    assert_eq!(
        check("https://169.254.169.254/latest/?k=s3cret".to_owned(), &[]).await,
        RedirectRefused::NotPublic {
            host: "169.254.169.254".to_owned()
        }
    );
    assert_eq!(
        check("https://evil.test/?k=s3cret".to_owned(), &["ring.example"]).await,
        RedirectRefused::NotAllowed {
            host: "evil.test".to_owned()
        }
    );
    assert_eq!(
        check(format!("http://127.0.0.1:{port}/?k=s3cret"), &["127.0.0.1:1"]).await,
        RedirectRefused::NotHttps { host: host() }
    );
    assert_eq!(check("//[".to_owned(), &[]).await, RedirectRefused::NoLocation);
    assert_eq!(inside.asked().len(), 0);
}

#[tokio::test]
async fn trap_102_a_target_that_has_run_out_is_asked_for_anew_once() {
    let store = Recorder::new(|number, _| {
        Some(if number == 0 {
            answer(403, &[("content-type", "application/xml")], "<Error/>")
        } else {
            mp4()
        })
    })
    .await;
    let target = store.url.join("/download?k=s3cret").unwrap().to_string();
    let server = Recorder::new(move |number, _| Some(redirect(303, &format!("{target}&n={number}")))).await;
    let ring = Ring::new(Settings {
        media_hosts: vec![store.host()],
        ..server.settings()
    })
    .unwrap();
    assert_eq!(bytes(clip(&ring).await.unwrap()).await.unwrap(), b"mp4");
    assert_eq!(server.asked().len(), 2);
    let fetched: Vec<String> = store.asked().into_iter().map(|asked| asked.path).collect();
    assert_eq!(fetched, ["/download?k=s3cret&n=0", "/download?k=s3cret&n=1"]);
}

#[tokio::test]
async fn trap_102_a_refusal_of_the_store_is_no_word_about_the_token() {
    let check = async |answer: fn() -> Response, posts: usize, decision: Decision| {
        let store = Recorder::answering([answer]).await;
        let target = store.url.join("/download").unwrap().to_string();
        let server = Recorder::new(move |_, _| Some(redirect(303, &target))).await;
        let ring = Ring::new(Settings {
            media_hosts: vec![store.host()],
            ..server.settings()
        })
        .unwrap();
        let failed = clip(&ring).await.unwrap_err();
        assert_eq!((failed.decision(), server.asked().len()), (decision, posts), "{failed}");
        assert!(failed.answer().unwrap().redirected);
    };
    let wait = Decision::RetryAfter(Duration::from_secs(1));
    check(|| answer(403, &[], "<Error><Code>AccessDenied</Code></Error>"), 2, wait).await;
    check(|| error(401, "Expired"), 2, wait).await;
    // Ring's own words, which come from there too.
    check(
        || answer_json(403, &json!({"errors": [{"code": "REQUEST_FORBIDDEN"}]})),
        1,
        Decision::OutOfScope,
    )
    .await;
    check(
        || answer_json(416, &json!({"errors": [{"code": "MEDIA_NOT_FOUND"}]})),
        1,
        Decision::NoMedia,
    )
    .await;
    check(
        || answer_json(425, &json!({"errors": [{"code": "RECORDING_NOT_READY"}]})),
        1,
        Decision::NotReady,
    )
    .await;
    check(
        || answer_json(503, &json!({"errors": [{"code": "SERVER_BUSY"}]})),
        1,
        wait,
    )
    .await;
}

#[tokio::test]
async fn a_limit_of_the_store_is_not_ring_s() {
    let store = Recorder::answering([|| answer(429, &[("retry-after", "60")], "")]).await;
    let target = store.url.to_string();
    let server = Recorder::new(move |_, _| Some(redirect(303, &target))).await;
    let ring = Ring::new(Settings {
        media_hosts: vec![store.host()],
        ..server.settings()
    })
    .unwrap();
    for _ in 0..2 {
        let failed = clip(&ring).await.unwrap_err();
        assert_eq!(failed.decision(), Decision::RetryAfter(Duration::from_secs(60)));
    }
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn traps_106_and_108_the_errors_of_media_have_their_decisions_and_are_not_repeated() {
    for (status, code, decision) in [
        (401, "UNAUTHORIZED", Decision::Refresh),
        (403, "REQUEST_FORBIDDEN", Decision::OutOfScope),
        (404, "DEVICE_NOT_FOUND", Decision::Gone),
        (416, "TIMESTAMP_NOT_FOUND", Decision::NoMedia),
        (422, "CORRUPT_RECORDING", Decision::GiveUp),
        (425, "RECORDING_NOT_READY", Decision::NotReady),
        (500, "INTERNAL_ERROR", Decision::RetryAfter(Duration::from_secs(1))),
        (503, "SERVER_BUSY", Decision::RetryAfter(Duration::from_secs(1))),
    ] {
        let server = Recorder::new(move |_, _| {
            Some(answer_json(
                status,
                &json!({"errors": [{"id": "r", "status": "0", "code": code}]}),
            ))
        })
        .await;
        let failed = clip(&server.ring()).await.unwrap_err();
        assert_eq!((failed.decision(), server.asked().len()), (decision, 1));
        assert_eq!(failed.answer().unwrap().code.as_deref(), Some(code));
    }
}

#[tokio::test]
async fn trap_118_only_media_is_media() {
    let html = || answer(200, &[("content-type", "text/html")], "<html>s3cret");
    let server = Recorder::answering([
        html,
        || answer_json(200, &json!({"errors": []})),
        || answer(200, &[], "mp4"),
        || answer(200, &[("content-type", "image/jpeg")], "jpeg"),
        || answer(200, &[("content-type", "video/mp4")], ""),
    ])
    .await;
    let ring = server.ring();
    for _ in 0..5 {
        assert!(matches!(clip(&ring).await, Err(Error::Unusable(_))));
    }
    for content_type in ["video/mp4", "application/json"] {
        let server = Recorder::new(move |_, _| Some(answer(200, &[("content-type", content_type)], "x"))).await;
        let failed = server
            .ring()
            .snapshot(&token(), &device(), &snapshot())
            .await
            .unwrap_err();
        assert!(matches!(failed, Error::Unusable(_)));
    }
    // Neither an empty yes nor a redirect that is none is media.
    for status in [201, 204, 300, 304] {
        let server = Recorder::new(move |_, _| Some(answer(status, &[("content-type", "video/mp4")], ""))).await;
        let failed = clip(&server.ring()).await.unwrap_err();
        assert_eq!(
            (failed.answer().unwrap().status, failed.decision()),
            (status, Decision::GiveUp)
        );
    }
}

#[tokio::test]
async fn media_has_a_bound_that_is_known_before_or_found_on_the_way() {
    let endless = || {
        let stream = stream::repeat_with(|| Ok::<_, std::io::Error>("0123456789"));
        answer(200, &[("content-type", "video/mp4")], Body::from_stream(stream))
    };
    let server = Recorder::answering([|| answer(200, &[("content-type", "video/mp4")], vec![0; 101]), endless]).await;
    let ring = Ring::new(Settings {
        media_limit: 100,
        ..server.settings()
    })
    .unwrap();
    assert!(matches!(clip(&ring).await, Err(Error::TooLarge { limit: 100 })));
    let media = clip(&ring).await.unwrap();
    assert!(matches!(bytes(media).await, Err(Error::TooLarge { limit: 100 })));
}

#[tokio::test]
async fn media_that_stops_coming_ends_with_an_error() {
    let stalled = || {
        let stream = stream::iter([Ok::<_, std::io::Error>("mp4")]).chain(stream::pending());
        answer(200, &[("content-type", "video/mp4")], Body::from_stream(stream))
    };
    let cut = || {
        let broken = stream::once(async {
            // After the headers have gone out.
            tokio::time::sleep(Duration::from_millis(100)).await;
            Err(std::io::Error::other("cut"))
        });
        let stream = stream::iter([Ok("mp4")]).chain(broken);
        answer(200, &[("content-type", "video/mp4")], Body::from_stream(stream))
    };
    let server = Recorder::answering([stalled, cut]).await;
    let settings = Settings {
        media_idle_timeout: Duration::from_millis(200),
        ..server.settings()
    };
    let ring = Ring::new(settings).unwrap();
    let media = clip(&ring).await.unwrap();
    assert!(matches!(bytes(media).await, Err(Error::Unclear(Unclear::Stalled))));
    let media = clip(&ring).await.unwrap();
    assert!(matches!(bytes(media).await, Err(Error::Unclear(Unclear::Broken(_)))));
}

#[tokio::test]
async fn media_whose_headers_do_not_come_ends_with_an_error() {
    let server = Recorder::new(|_, _| None).await;
    let ring = Ring::new(Settings {
        timeout: Duration::from_millis(200),
        ..server.settings()
    })
    .unwrap();
    assert!(matches!(clip(&ring).await, Err(Error::Unclear(Unclear::TimedOut))));
    assert_eq!(server.asked().len(), 1);
}

/// Where a redirect of the matrix leads.
#[derive(Clone, Copy, Debug)]
enum Target {
    /// The API's own origin, by its whole address.
    Same,
    /// The same, by a path alone.
    Relative,
    /// The origin of the store, which the settings name.
    Other,
    /// Somewhere that is written here whole.
    Written(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// The body is posted there, with the bearer.
    PostedWithBearer,
    /// The body is posted there, without the bearer.
    Posted,
    /// It is fetched there, without bearer and body.
    Fetched,
    /// There nobody is asked, since it is no plain https.
    NotHttps,
    /// There nobody is asked, since it is no public address.
    NotPublic,
    /// Three were followed, and the fourth was not.
    TooMany,
}

#[tokio::test]
async fn trap_99_100_and_101_the_matrix_of_redirects() {
    use End::{Fetched, NotHttps, NotPublic, Posted, PostedWithBearer, TooMany};
    use Target::{Other, Relative, Same, Written};
    // How often a redirect of this status leads on to its target, and what comes of it.
    let matrix = [
        (301, Same, 1, PostedWithBearer),
        (302, Same, 1, PostedWithBearer),
        (303, Same, 1, Fetched),
        (307, Same, 1, PostedWithBearer),
        (308, Same, 1, PostedWithBearer),
        (301, Other, 1, Posted),
        (302, Other, 1, Posted),
        (303, Other, 1, Fetched),
        (307, Other, 1, Posted),
        (308, Other, 1, Posted),
        (301, Relative, 1, PostedWithBearer),
        (303, Relative, 1, Fetched),
        (308, Relative, 3, PostedWithBearer),
        (303, Relative, 3, Fetched),
        (301, Relative, 4, TooMany),
        (303, Relative, 4, TooMany),
        (307, Written("http://cdn.example.com/s3cret"), 1, NotHttps),
        (303, Written("http://cdn.example.com/s3cret"), 1, NotHttps),
        (301, Written("ftp://cdn.example.com/s3cret"), 1, NotHttps),
        (303, Written("https://cdn.example.com:8443/s3cret"), 1, NotHttps),
        (302, Written("https://10.0.0.1/s3cret"), 1, NotPublic),
        (303, Written("https://169.254.169.254/s3cret"), 1, NotPublic),
        (308, Written("https://[fd00:ec2::254]/s3cret"), 1, NotPublic),
        (303, Written("https://user:s3cret@cdn.example.com/"), 1, NotHttps),
        (307, Written("https://user@cdn.example.com/s3cret"), 1, NotHttps),
    ];
    assert_eq!(matrix.len(), 25);
    for (status, target, hops, end) in matrix {
        let case = format!("{status} to {target:?}, {hops} times");
        let store = Recorder::answering([mp4]).await;
        let at_store = store.url.join("/there").unwrap().to_string();
        let server = Recorder::new(move |number, asked| {
            Some(if number < hops {
                let here = format!("http://{}/there", asked.header("host").unwrap());
                redirect(
                    status,
                    match target {
                        Same => &here,
                        Relative => "/there",
                        Other => &at_store,
                        Written(location) => location,
                    },
                )
            } else {
                mp4()
            })
        })
        .await;
        let ring = Ring::new(Settings {
            media_hosts: match target {
                Other => vec![store.host()],
                _ => Vec::new(),
            },
            ..server.settings()
        })
        .unwrap();
        let outcome = match clip(&ring).await {
            Ok(media) => bytes(media).await,
            Err(error) => Err(error),
        };
        let (asked, stored) = (server.asked(), store.asked());
        let first = &asked[0];
        assert_eq!(
            (first.method.as_str(), first.json()["duration"].clone()),
            ("POST", json!(5000))
        );
        let refused = match outcome {
            Ok(got) => {
                assert_eq!(got, b"mp4", "{case}");
                let last = match target {
                    Other => stored.last().unwrap(),
                    _ => asked.last().unwrap(),
                };
                assert_eq!(last.path, "/there", "{case}");
                assert_eq!(asked.len() + stored.len(), hops + 1, "{case}");
                assert_eq!(last.header("cookie"), None, "{case}");
                let got = match (last.method.as_str(), bearer(last)) {
                    ("POST", Some(_)) => PostedWithBearer,
                    ("POST", None) => Posted,
                    ("GET", None) => Fetched,
                    other => panic!("{case}: {other:?}"),
                };
                let body = if got == Fetched { "" } else { &first.body };
                assert_eq!((got, last.body.as_str()), (end, body), "{case}");
                continue;
            }
            Err(error) => error,
        };
        assert!(!told(&refused).contains("s3cret"), "{case}: {}", told(&refused));
        assert_eq!((asked.len(), stored.len()), (hops.min(4), 0), "{case}");
        let refused = match refused {
            Error::Redirect(RedirectRefused::NotHttps { .. }) => NotHttps,
            Error::Redirect(RedirectRefused::NotPublic { .. }) => NotPublic,
            Error::Redirect(RedirectRefused::TooMany) => TooMany,
            other => panic!("{case}: {other:?}"),
        };
        assert_eq!(refused, end, "{case}");
    }
}
