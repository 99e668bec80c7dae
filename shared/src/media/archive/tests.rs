use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, SharedCredentialsProvider};
use axum::Router;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{Method, StatusCode};
use proptest::prelude::*;
use tokio::sync::Notify;

use super::*;

/// A bucket with state: objects, and uploads under way. What it is asked can be failed, or be left without an answer.
#[derive(Default)]
struct Bucket {
    kept: Mutex<Kept>,
    /// Told when a request was left without an answer.
    left: Notify,
}

#[derive(Default)]
struct Kept {
    objects: BTreeMap<String, Vec<u8>>,
    uploads: HashMap<String, BTreeMap<u32, Vec<u8>>>,
    begun: usize,
    /// The parts that are on their way, and the most that were at once.
    under_way: usize,
    most_under_way: usize,
    trouble: Trouble,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Trouble {
    #[default]
    None,
    /// This part is refused.
    Refuses(u32),
    /// This part has no answer; the end of the upload neither, with 0.
    Hangs(u32),
}

async fn ask(
    State(bucket): State<Arc<Bucket>>,
    Query(query): Query<HashMap<String, String>>,
    request: Request,
) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let upload = query.get("uploadId").cloned();
    let number: Option<u32> = query.get("partNumber").and_then(|number| number.parse().ok());
    if number.is_some() {
        let mut kept = bucket.kept.lock().unwrap();
        kept.under_way += 1;
        kept.most_under_way = kept.most_under_way.max(kept.under_way);
    }
    let body = axum::body::to_bytes(request.into_body(), usize::MAX).await.unwrap();
    // Long enough for others to come along.
    tokio::time::sleep(Duration::from_millis(5)).await;
    let trouble = bucket.kept.lock().unwrap().trouble;
    let ends = method == Method::POST && upload.is_some();
    if trouble == Trouble::Hangs(number.unwrap_or(0)) && (number.is_some() || ends) {
        bucket.left.notify_one();
        std::future::pending::<()>().await;
    }
    let mut kept = bucket.kept.lock().unwrap();
    if number.is_some() {
        kept.under_way -= 1;
        if trouble == Trouble::Refuses(number.unwrap_or(0)) {
            return (StatusCode::FORBIDDEN, "<Error><Code>AccessDenied</Code></Error>").into_response();
        }
    }
    match (method, number, upload) {
        (Method::POST, _, None) => {
            kept.begun += 1;
            let id = format!("upload-{}", kept.begun);
            kept.uploads.insert(id.clone(), BTreeMap::new());
            format!("<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>")
                .into_response()
        }
        (Method::PUT, Some(number), Some(id)) => {
            if let Some(parts) = kept.uploads.get_mut(&id) {
                parts.insert(number, body.to_vec());
            }
            ([("etag", format!("\"{number}\""))], "").into_response()
        }
        (Method::POST, _, Some(id)) => {
            let told = String::from_utf8(body.to_vec()).unwrap();
            let told: Vec<u32> = told
                .split("<PartNumber>")
                .skip(1)
                .map(|rest| rest.split('<').next().unwrap().parse().unwrap())
                .collect();
            let parts = kept.uploads.remove(&id).unwrap();
            assert_eq!(told, parts.keys().copied().collect::<Vec<_>>(), "all parts, in order");
            kept.objects.insert(path, parts.into_values().flatten().collect());
            "<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>".into_response()
        }
        (Method::PUT, None, None) => {
            kept.objects.insert(path, body.to_vec());
            ([("etag", "\"e\"")], "").into_response()
        }
        (Method::DELETE, _, Some(id)) => {
            kept.uploads.remove(&id);
            StatusCode::NO_CONTENT.into_response()
        }
        (method, ..) => panic!("{method} {path}"),
    }
}

/// The size of a part here: what is to be seen does not hang on it.
const PART: usize = 1_000;

async fn bucket() -> (Arc<Bucket>, Archive) {
    let bucket = Arc::new(Bucket::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(ask).with_state(bucket.clone());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
            "k", "s", None, None, "test",
        )))
        .endpoint_url(url)
        .build();
    let archive = Archive {
        part_bytes: PART,
        ..Archive::new(&config, "media")
    };
    (bucket, archive)
}

/// A film of so many bytes, which come in pieces of another size than parts have.
fn film(bytes: usize) -> (Vec<u8>, Vec<Result<Bytes, ring_partner::Error>>) {
    let film: Vec<u8> = (0..bytes).map(|n| (n * 31 + n / 256) as u8).collect();
    let pieces = film
        .chunks(333)
        .map(|piece| Ok(Bytes::copy_from_slice(piece)))
        .collect();
    (film, pieces)
}

async fn store(archive: &Archive, bytes: usize) -> Result<Receipt, ArchiveError> {
    archive.store("a/b.mp4", "video/mp4", stream::iter(film(bytes).1)).await
}

#[tokio::test]
async fn trap_115_small_ones_go_in_one_put_and_large_ones_in_parts_several_at_once() {
    for bytes in [0, 1, PART - 1, PART, PART + 1, 3 * PART, 12 * PART + 17] {
        let (bucket, archive) = bucket().await;
        let receipt = store(&archive, bytes).await.unwrap();
        let kept = bucket.kept.lock().unwrap();
        let (film, _) = film(bytes);
        let hash = hex::encode(Sha256::digest(&film));
        assert_eq!((receipt.bytes, receipt.sha256), (bytes as u64, hash));
        assert_eq!(kept.objects, BTreeMap::from([("/media/a/b.mp4".to_owned(), film)]));
        assert_eq!((kept.begun, kept.uploads.len()), (usize::from(bytes >= PART), 0));
        if bytes > 12 * PART {
            assert_eq!(
                kept.most_under_way, PARTS_IN_FLIGHT,
                "as many as there may be, and no more"
            );
        }
    }
}

#[tokio::test]
async fn trap_115_what_breaks_off_is_aborted_and_leaves_nothing() {
    for refused in 1..=4 {
        let (bucket, archive) = bucket().await;
        bucket.kept.lock().unwrap().trouble = Trouble::Refuses(refused);
        let failed = store(&archive, 3 * PART + 5).await;
        assert!(matches!(failed, Err(ArchiveError::Unavailable(_))), "{failed:?}");
        let kept = bucket.kept.lock().unwrap();
        assert_eq!(
            (kept.begun, kept.uploads.len(), kept.objects.len()),
            (1, 0, 0),
            "part {refused}"
        );
    }
    for pieces in [0, 1, 4, 9] {
        let (bucket, archive) = bucket().await;
        let broken = || ring_partner::Error::Unusable("it broke off");
        let body = film(3 * PART).1.into_iter().take(pieces).chain([Err(broken())]);
        let failed = archive.store("a/b.mp4", "video/mp4", stream::iter(body)).await;
        assert!(matches!(failed, Err(ArchiveError::Source(_))), "{failed:?}");
        let kept = bucket.kept.lock().unwrap();
        assert_eq!(
            (kept.uploads.len(), kept.objects.len()),
            (0, 0),
            "after {pieces} pieces"
        );
    }
}

#[tokio::test]
async fn trap_119_killed_at_any_part_and_run_again_there_is_one_object_with_the_right_bytes() {
    let bytes = 5 * PART + 123;
    for killed_at in 0..=6 {
        let (bucket, archive) = bucket().await;
        bucket.kept.lock().unwrap().trouble = Trouble::Hangs(killed_at);
        tokio::select! {
            stored = store(&archive, bytes) => panic!("{stored:?}"),
            () = bucket.left.notified() => {} // and nothing that was begun goes on
        }
        {
            let mut kept = bucket.kept.lock().unwrap();
            assert_eq!(
                (kept.objects.len(), kept.uploads.len()),
                (0, 1),
                "no half object under the key"
            );
            kept.trouble = Trouble::None;
        }
        store(&archive, bytes).await.unwrap();
        let kept = bucket.kept.lock().unwrap();
        let object = ("/media/a/b.mp4".to_owned(), film(bytes).0);
        assert_eq!(kept.objects, BTreeMap::from([object]), "killed at part {killed_at}");
        // What was left behind is the lifecycle rule's.
        assert_eq!(kept.uploads.len(), 1);
    }
}

fn in_parts(chunks: &[Vec<u8>], size: usize) -> Vec<Bytes> {
    let body = stream::iter(
        chunks
            .iter()
            .map(|chunk| Ok(Bytes::from(chunk.clone())))
            .collect::<Vec<_>>(),
    );
    let mut parts = Parts::new(body, size);
    let mut all = Vec::new();
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(async {
            loop {
                let part = parts.next().await.unwrap();
                let last = part.len() < size;
                all.push(part);
                if last {
                    return all;
                }
            }
        })
}

proptest! {
    #[test]
    fn trap_115_however_a_body_comes_its_parts_are_whole_and_in_order(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..12),
        size in 1_usize..24,
    ) {
        let parts = in_parts(&chunks, size);
        let (last, full) = parts.split_last().unwrap();
        prop_assert!(full.iter().all(|part| part.len() == size));
        prop_assert!(last.len() < size);
        prop_assert_eq!(parts.concat(), chunks.concat());
    }
}
