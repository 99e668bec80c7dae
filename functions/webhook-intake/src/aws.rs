//! What the intake calls of AWS: Secrets Manager for the keys, SQS for each webhook, S3 for the few that are too large for it.
//! It calls them directly ([`direct`]): with the SDK an event took three times the CPU time.

use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use shared::edge::direct::{Account, CallError, Operation, Service};
use shared::edge::quarantine::{self, OBJECT, QuarantineError, REASON, TOO_LARGE};
use shared::edge::queue::{Message, QueueError};
use shared::edge::secret::{SecretError, Source};
use shared::event::ports::{Inbox, LargeBodies};
use shared::world::{IntakeWorld, System};

use crate::{Config, READ_WITHIN, SEND_WITHIN};

const GET_SECRET_VALUE: Operation = Operation {
    target: "secretsmanager.GetSecretValue",
    content_type: "application/x-amz-json-1.1",
};
const SEND_MESSAGE: Operation = Operation {
    target: "AmazonSQS.SendMessage",
    content_type: "application/x-amz-json-1.0",
};
const GET_QUEUE_ATTRIBUTES: Operation = Operation {
    target: "AmazonSQS.GetQueueAttributes",
    content_type: "application/x-amz-json-1.0",
};

/// The world as it is deployed.
#[derive(Clone, Copy, Debug)]
pub struct Deployed;

impl IntakeWorld for Deployed {
    type Nature = System;
    type Secret = SigningSecret;
    type Inbox = Queue;
    type LargeBodies = Quarantine;
}

/// The secret with the keys.
#[derive(Debug)]
pub struct SigningSecret {
    secrets: Service,
    id: String,
}

/// One queue.
#[derive(Debug)]
pub struct Queue {
    sqs: Service,
    url: String,
}

/// The quarantine: its folder in the bucket, and its queue.
#[derive(Debug)]
pub struct Quarantine {
    objects: Service,
    bucket: String,
    queue: Queue,
}

/// All three, for these settings.
pub(crate) fn of(account: &Account, config: Config) -> (SigningSecret, Queue, Quarantine) {
    let sqs = account.service("sqs", SEND_WITHIN);
    let queue = |url| Queue { sqs: sqs.clone(), url };
    let quarantine = Quarantine {
        objects: account.service("s3", SEND_WITHIN),
        bucket: config.media_bucket,
        queue: queue(config.quarantine_queue_url),
    };
    (
        SigningSecret::new(account, config.signing_secret_id),
        queue(config.events_queue_url),
        quarantine,
    )
}

impl SigningSecret {
    /// The secret `id`.
    #[must_use]
    pub fn new(account: &Account, id: impl Into<String>) -> Self {
        Self {
            secrets: account.service("secretsmanager", READ_WITHIN),
            id: id.into(),
        }
    }
}

impl Source for SigningSecret {
    async fn string(&self) -> Result<String, SecretError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Answer {
            secret_string: Option<String>,
        }
        let asked = json!({ "SecretId": self.id }).to_string().into_bytes();
        let answer = self.secrets.json(GET_SECRET_VALUE, asked, None).await;
        let answer = answer.map_err(|error| SecretError::Unavailable(error.into()))?;
        // What it holds is not shown, so neither is where it is not JSON.
        let answer: Answer = serde_json::from_slice(&answer)
            .map_err(|_| SecretError::Malformed("Secrets Manager's answer is no JSON"))?;
        answer.secret_string.ok_or(SecretError::Malformed("it has no string"))
    }
}

impl Queue {
    /// Opens the connection ahead of the first message, by asking for nothing: the answer, an error too, is not used.
    pub(crate) async fn warm(&self) {
        let asked = json!({ "QueueUrl": self.url }).to_string().into_bytes();
        let _answer = self.sqs.json(GET_QUEUE_ATTRIBUTES, asked, None).await;
    }

    async fn send(&self, message: &Message) -> Result<(), CallError> {
        let body = message.to_json(&self.url);
        self.sqs.json(SEND_MESSAGE, body, message.trace()).await.map(drop)
    }
}

impl Inbox for Queue {
    async fn put(&self, message: Message) -> Result<(), QueueError> {
        self.send(&message).await.map_err(|error| QueueError(error.into()))
    }
}

impl LargeBodies for Quarantine {
    /// The same body on the same day is the same object, so that it may be tried again.
    async fn keep_large(&self, body: &[u8], now: Timestamp) -> Result<(), QuarantineError> {
        let key = quarantine::key_of(body, now);
        let path = format!("/{}/{key}", self.bucket);
        let put = self.objects.put(&path, Bytes::copy_from_slice(body)).await;
        put.map_err(|error| QuarantineError::Bucket(error.into()))?;
        let pointer = Message::new(json!({ "object": key, "bytes": body.len() }).to_string())
            .attribute(REASON, TOO_LARGE)
            .attribute(OBJECT, key);
        Ok(self.queue.put(pointer).await?)
    }
}
