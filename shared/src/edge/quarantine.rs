//! Quarantine: what Ring signed and nothing here can use, kept as it came for a person to look at. What a queue takes lies
//! in the queue of that name ([`super::batch`] puts it there); what is too large for one lies in the bucket, and the queue
//! has a message that points to it.

use std::sync::OnceLock;

use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::aws::Cause;
use super::queue::QueueError;

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

/// The bucket's part, to read it.
#[derive(Debug)]
pub struct Quarantine {
    bucket: String,
    aws: SdkConfig,
    /// Made when it is needed, which is hardly ever: a cold start does not pay for it.
    objects: OnceLock<Client>,
}

impl Quarantine {
    /// The folder of this bucket.
    #[must_use]
    pub fn new(aws: &SdkConfig, bucket: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            aws: aws.clone(),
            objects: OnceLock::new(),
        }
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

/// The key of a body that is too large for a queue: `quarantine/<yyyy-mm-dd>/<SHA-256 in hex>`, by the day in UTC. The same
/// body on the same day is the same object.
#[must_use]
pub fn key_of(body: &[u8], now: Timestamp) -> String {
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
