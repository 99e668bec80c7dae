//! Quarantine: what Ring signed and nothing here can use, kept as it came for a person to look at. What a queue takes lies
//! in the queue of that name ([`super::batch`] puts it there); what is too large for one lies in the bucket, and the queue
//! has a message that points to it.

use std::sync::OnceLock;

use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::primitives::ByteStream;
use jiff::Timestamp;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::aws::Cause;
use super::queue::{Message, Queue, QueueError};

/// The folder of the bucket that it has.
pub const FOLDER: &str = "quarantine";
/// The attribute that says why a message is here.
pub const REASON: &str = "reason";
/// The attribute that says under which key of the bucket the body lies.
pub const OBJECT: &str = "object";
/// The reason of a body that no queue takes.
pub const TOO_LARGE: &str = "too-large";

/// The largest body that is read again. The gateway takes none of more than 10 MB.
const LARGEST: i64 = 16 * 1024 * 1024;

/// Why a body is not in quarantine. Try again later.
#[derive(Debug, thiserror::Error)]
pub enum QuarantineError {
    /// The bucket did not take it.
    #[error("the bucket is out of reach")]
    Bucket(#[source] Cause),
    /// It is in the bucket, and nothing points to it yet.
    #[error(transparent)]
    Queue(#[from] QueueError),
}

/// The bucket's part, and the queue.
#[derive(Debug)]
pub struct Quarantine {
    queue: Queue,
    bucket: String,
    aws: SdkConfig,
    /// Made when it is needed, which is hardly ever: a cold start does not pay for it.
    objects: OnceLock<Client>,
}

impl Quarantine {
    /// The queue at this URL, and the folder of this bucket.
    #[must_use]
    pub fn new(aws: &SdkConfig, queue_url: impl Into<String>, bucket: impl Into<String>) -> Self {
        Self {
            queue: Queue::new(aws, queue_url),
            bucket: bucket.into(),
            aws: aws.clone(),
            objects: OnceLock::new(),
        }
    }

    /// Keeps a body that is too large for a queue; when this returns `Ok`, it is in the bucket and the queue points to it.
    /// The same body on the same day is the same object, so that it may be tried again.
    pub async fn keep_large(&self, body: &[u8], now: Timestamp) -> Result<(), QuarantineError> {
        let key = key_of(body, now);
        let put = self
            .objects()
            .put_object()
            .bucket(&self.bucket)
            .key(&key)
            .content_type("application/octet-stream")
            .body(ByteStream::from(body.to_vec()));
        put.send()
            .await
            .map_err(|error| QuarantineError::Bucket(error.into()))?;
        let pointer = Message::new(json!({ "object": key, "bytes": body.len() }).to_string())
            .attribute(REASON, TOO_LARGE)
            .attribute(OBJECT, key);
        Ok(self.queue.send(pointer).await?)
    }

    /// A body that is kept in the bucket, by its key. `None`: it is not there any more.
    pub async fn large(&self, key: &str) -> Result<Option<Vec<u8>>, QuarantineError> {
        let unreachable = |cause: Cause| QuarantineError::Bucket(cause);
        if !key.starts_with(FOLDER) {
            return Ok(None);
        }
        let asked = self.objects().get_object().bucket(&self.bucket).key(key).send().await;
        let found = match asked {
            Err(error) if error.code() == Some("NoSuchKey") => return Ok(None),
            asked => asked.map_err(|error| unreachable(error.into()))?,
        };
        if found.content_length().is_none_or(|bytes| bytes > LARGEST) {
            return Ok(None);
        }
        let body = found.body.collect().await.map_err(|error| unreachable(error.into()))?;
        Ok(Some(body.to_vec()))
    }

    /// Paths rather than host names: a bucket with a dot in its name, and an emulator, work the same.
    fn objects(&self) -> &Client {
        self.objects.get_or_init(|| {
            let config = aws_sdk_s3::config::Builder::from(&self.aws).force_path_style(true);
            Client::from_conf(config.build())
        })
    }
}

/// `quarantine/<yyyy-mm-dd>/<SHA-256 in hex>`, by the day in UTC.
fn key_of(body: &[u8], now: Timestamp) -> String {
    let day = now.strftime("%Y-%m-%d");
    format!("{FOLDER}/{day}/{}", hex::encode(Sha256::digest(body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_one_key_a_day_and_another_body_another() {
        let (morning, evening) = ("2026-02-13T00:00:00Z", "2026-02-13T23:59:59Z");
        let key = |body: &[u8], time: &str| key_of(body, time.parse().unwrap());
        // sha256sum of the two letters {}
        let digest = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        assert_eq!(key(b"{}", morning), format!("quarantine/2026-02-13/{digest}"));
        assert_eq!(key(b"{}", morning), key(b"{}", evening));
        assert_ne!(key(b"{}", evening), key(b"{} ", evening));
        assert_ne!(key(b"{}", evening), key(b"{}", "2026-02-14T00:00:00Z"));
    }
}
