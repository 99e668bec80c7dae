//! The template, beyond the roles: what the bucket takes.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use local::outside::Home;
use local::{Aws, Failure, Stack};
use reqwest::StatusCode;
use serde_json::json;
use shared::capture::LONGEST;
use shared::media::archive::PRESIGNED_FOR;

use crate::stack::on_the_stack;

/// What the bucket answers to whoever has a URL that was signed so long ago, and says of itself that it is good for a day.
async fn answered(stack: &Stack, signer: &Aws, key: &str, ago: Duration) -> StatusCode {
    let config = PresigningConfig::builder()
        .start_time(SystemTime::now() - ago)
        .expires_in(Duration::from_secs(24 * 3600))
        .build()
        .expect("a day is allowed");
    let bucket = stack.output("MediaBucketName").expect("a bucket");
    let get = signer.objects.get_object().bucket(bucket).key(key);
    let url = get.presigned(config).await.expect("it is signed");
    let answer = stack.http().get(url.uri()).send().await.expect("the bucket answers");
    answer.status()
}

#[test]
fn the_bucket_takes_no_signed_url_that_is_older_than_any_of_ours_may_be() {
    on_the_stack(async |stack| {
        if let Err(failure) = old_urls_are_refused(stack).await {
            panic!("{failure}");
        }
    });
}

async fn old_urls_are_refused(stack: &Stack) -> Result<(), Failure> {
    // It calls `partner-api`: the emulator knows a function's session from then on.
    let home = Home::linked(stack, &json!(["doorbell"])).await?;
    home.device_ids().await?;
    let signer = stack.aws_as("partner-api").await?;
    let folder = format!("media/{}/signed", uuid::Uuid::new_v4().simple());
    let (film, piece) = (format!("{folder}/film.mp4"), format!("{folder}/film/000001.m4s"));
    for key in [&film, &piece] {
        let put = stack.aws().objects.put_object().key(key);
        let put = put.bucket(stack.output("MediaBucketName")?);
        let body = ByteStream::from_static(b"a film");
        put.body(body).send().await.expect("it is stored");
    }
    let little = Duration::from_secs(20);
    let (most, most_of_a_piece) = (PRESIGNED_FOR, PRESIGNED_FOR + LONGEST);
    for (key, ago, expected) in [
        (&film, Duration::ZERO, StatusCode::OK),
        (&film, most - little, StatusCode::OK),
        (&film, most + little, StatusCode::FORBIDDEN),
        (&piece, most + little, StatusCode::OK),
        (&piece, most_of_a_piece - little, StatusCode::OK),
        (&piece, most_of_a_piece + little, StatusCode::FORBIDDEN),
    ] {
        assert_eq!(answered(stack, &signer, key, ago).await, expected, "{key}, {ago:?}");
    }
    Ok(())
}
