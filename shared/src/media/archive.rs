//! The bucket. A medium is streamed into it in bounded memory: a small one in one put, a large one in parts, and a broken
//! one leaves nothing under its key. Beside each lies its description, as JSON.

use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::stem;
use crate::edge::aws::Cause;
use crate::edge::clock;

/// So many versions are deleted at once.
const DELETED_AT_ONCE: usize = 8;
/// The size of a part. S3 takes parts of 5 MiB and more, and 10,000 of them.
const PART_BYTES: usize = 8 * 1024 * 1024;
/// So many parts are on their way at once, while one more is filled: what is held in memory is bounded by these.
const PARTS_IN_FLIGHT: usize = 3;
/// What tells media, which the bucket keeps for as long as a parameter says, from all else (a lifecycle rule of template.yaml).
const TAG: &str = "kept-for=media-retention";
/// How long a presigned URL lives at most.
pub const PRESIGNED_FOR: Duration = Duration::from_secs(300);

/// Why a medium is not in the bucket.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The bucket is out of reach.
    #[error("the bucket is out of reach")]
    Unavailable(#[source] Cause),
    /// What was to be stored broke off.
    #[error("the source broke off")]
    Source(#[source] ring_partner::Error),
}

/// What was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// How many bytes.
    pub bytes: u64,
    /// Their SHA-256, in hex.
    pub sha256: String,
}

/// The bucket, and the client to reach it.
#[derive(Clone, Debug)]
pub struct Archive {
    pub(crate) client: Client,
    pub(crate) bucket: String,
    part_bytes: usize,
}

impl Archive {
    /// The bucket `name`. Paths rather than host names: a bucket with a dot in its name, and an emulator, work the same.
    #[must_use]
    pub fn new(config: &SdkConfig, name: impl Into<String>) -> Self {
        let config = aws_sdk_s3::config::Builder::from(config)
            .force_path_style(true)
            // A part of 8 MiB takes longer than a row of a table.
            .timeout_config(
                aws_config::timeout::TimeoutConfig::builder()
                    .connect_timeout(Duration::from_secs(2))
                    .operation_attempt_timeout(Duration::from_secs(60))
                    .operation_timeout(Duration::from_secs(180))
                    .build(),
            )
            .build();
        Self {
            client: Client::from_conf(config),
            bucket: name.into(),
            part_bytes: PART_BYTES,
        }
    }

    /// Streams a medium into the bucket. The object is there whole, or not at all.
    pub async fn store(
        &self,
        key: &str,
        content_type: &str,
        body: impl Stream<Item = Result<Bytes, ring_partner::Error>>,
    ) -> Result<Receipt, ArchiveError> {
        let body = std::pin::pin!(body);
        let mut parts = Parts::new(body, self.part_bytes);
        let first = parts.next().await.map_err(ArchiveError::Source)?;
        if first.len() < self.part_bytes {
            self.put(key, content_type, first).await?;
        } else {
            let upload = Upload::begin(self, key, content_type).await?;
            match upload.send(first, &mut parts).await {
                Ok(sent) => upload.complete(sent).await?,
                Err(error) => {
                    upload.abort().await;
                    return Err(error);
                }
            }
        }
        Ok(parts.receipt())
    }

    /// Puts a description beside an object.
    pub async fn describe(&self, key: &str, description: &impl Serialize) -> Result<(), ArchiveError> {
        let json = serde_json::to_vec(description).map_err(|error| ArchiveError::Unavailable(error.into()))?;
        self.put(&beside(key), "application/json", json.into()).await
    }

    /// A URL under which the object can be read for four minutes at least and five at the most, by whoever has it. Within a
    /// minute it is the same, so that an answer with it can be known again.
    pub async fn presigned(&self, key: &str) -> Result<String, ArchiveError> {
        let minute = clock::now().as_second().div_euclid(60).unsigned_abs() * 60;
        let config = PresigningConfig::builder()
            .start_time(SystemTime::UNIX_EPOCH + Duration::from_secs(minute))
            .expires_in(PRESIGNED_FOR)
            .build()
            .map_err(unavailable)?;
        let request = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(key)
            .presigned(config)
            .await;
        Ok(request.map_err(unavailable)?.uri().to_owned())
    }

    /// Deletes all objects of the medium that lies at `key`: its file, its parts, and what lies beside them, also those that
    /// no row speaks of, as whoever stored them died before that.
    pub async fn delete(&self, key: &str) -> Result<(), ArchiveError> {
        let list = self.client.list_objects_v2().bucket(&self.bucket).prefix(stem(key));
        let mut pages = list.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(unavailable)?;
            for key in page.contents().iter().filter_map(|object| object.key()) {
                let delete = self.client.delete_object().bucket(&self.bucket).key(key);
                delete.send().await.map_err(unavailable)?;
            }
        }
        Ok(())
    }

    /// An object, read as it comes, and how many bytes it has; `None`: there is none.
    pub async fn read(
        &self,
        key: &str,
    ) -> Result<Option<(u64, impl Stream<Item = Result<Bytes, ArchiveError>> + Unpin)>, ArchiveError> {
        let get = self.client.get_object().bucket(&self.bucket).key(key);
        let answer = match get.send().await {
            Ok(answer) => answer,
            Err(error) if error.code() == Some("NoSuchKey") => return Ok(None),
            Err(error) => return Err(unavailable(error)),
        };
        let length = answer.content_length.and_then(|length| u64::try_from(length).ok());
        let body = stream::unfold(answer.body, |mut body| async move {
            let next = body.next().await?;
            Some((next.map_err(unavailable), body))
        });
        Ok(Some((length.unwrap_or(0), Box::pin(body))))
    }

    /// Deletes everything whose key begins so, in all versions: nothing brings it back.
    pub async fn erase(&self, prefix: &str) -> Result<(), ArchiveError> {
        loop {
            let list = self.client.list_object_versions().bucket(&self.bucket).prefix(prefix);
            let page = list.send().await.map_err(unavailable)?;
            let versions = page
                .versions()
                .iter()
                .map(|version| (version.key(), version.version_id()));
            let markers = page
                .delete_markers()
                .iter()
                .map(|marker| (marker.key(), marker.version_id()));
            let each = versions
                .chain(markers)
                .filter_map(|(key, version)| Some((key?, version?)));
            stream::iter(each)
                .map(|(key, version)| async move {
                    let delete = self.client.delete_object().bucket(&self.bucket).key(key);
                    delete.version_id(version).send().await.map_err(unavailable)
                })
                .buffer_unordered(DELETED_AT_ONCE)
                .try_for_each(|_| async { Ok(()) })
                .await?;
            // What was listed is gone: what is left is listed from the beginning.
            if !page.is_truncated().unwrap_or(false) {
                return Ok(());
            }
        }
    }

    pub(crate) async fn put(&self, key: &str, content_type: &str, body: Bytes) -> Result<(), ArchiveError> {
        let put = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .content_type(content_type)
            .set_tagging(tag(key));
        put.body(ByteStream::from(body)).send().await.map_err(unavailable)?;
        Ok(())
    }
}

/// An upload in parts.
pub(crate) struct Upload<'a> {
    archive: &'a Archive,
    key: &'a str,
    id: String,
}

impl<'a> Upload<'a> {
    pub(crate) async fn begin(archive: &'a Archive, key: &'a str, content_type: &str) -> Result<Self, ArchiveError> {
        let create = archive
            .client
            .create_multipart_upload()
            .bucket(&archive.bucket)
            .key(key)
            .set_tagging(tag(key));
        let answer = create.content_type(content_type).send().await.map_err(unavailable)?;
        let id = answer
            .upload_id
            .ok_or_else(|| ArchiveError::Unavailable("S3 named no upload".into()))?;
        Ok(Self { archive, key, id })
    }

    /// Sends the first part and all that follow it, several at once. The source is read on while they are sent.
    async fn send<S>(&self, first: Bytes, rest: &mut Parts<S>) -> Result<Vec<CompletedPart>, ArchiveError>
    where
        S: Stream<Item = Result<Bytes, ring_partner::Error>> + Unpin,
    {
        let rest = stream::try_unfold((rest, false), |(rest, ended)| async move {
            if ended {
                return Ok(None);
            }
            let part = rest.next().await.map_err(ArchiveError::Source)?;
            let ends = part.len() < rest.size;
            Ok::<_, ArchiveError>((!part.is_empty()).then_some((part, (rest, ends))))
        });
        let parts = stream::iter([Ok(first)]).chain(rest).enumerate();
        let mut sent: Vec<CompletedPart> = parts
            .map(|(index, part)| async move { self.part(index, part?).await })
            .buffer_unordered(PARTS_IN_FLIGHT)
            .try_collect()
            .await?;
        sent.sort_by_key(CompletedPart::part_number);
        Ok(sent)
    }

    pub(crate) async fn part(&self, index: usize, part: Bytes) -> Result<CompletedPart, ArchiveError> {
        let number = i32::try_from(index + 1).unwrap_or(i32::MAX);
        let upload = self
            .archive
            .client
            .upload_part()
            .bucket(&self.archive.bucket)
            .key(self.key);
        let upload = upload
            .upload_id(&self.id)
            .part_number(number)
            .body(ByteStream::from(part));
        let answer = upload.send().await.map_err(unavailable)?;
        let completed = CompletedPart::builder().part_number(number).set_e_tag(answer.e_tag);
        Ok(completed.set_checksum_crc32(answer.checksum_crc32).build())
    }

    pub(crate) async fn complete(&self, sent: Vec<CompletedPart>) -> Result<(), ArchiveError> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(sent)).build();
        let complete = self
            .archive
            .client
            .complete_multipart_upload()
            .bucket(&self.archive.bucket)
            .key(self.key);
        complete
            .upload_id(&self.id)
            .multipart_upload(parts)
            .send()
            .await
            .map_err(unavailable)?;
        Ok(())
    }

    /// What was sent is dropped. Where that fails too, the bucket's lifecycle rule drops it after a day.
    pub(crate) async fn abort(&self) {
        let abort = self
            .archive
            .client
            .abort_multipart_upload()
            .bucket(&self.archive.bucket)
            .key(self.key);
        if let Err(error) = abort.upload_id(&self.id).send().await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a broken upload is left to the lifecycle rule"
            );
        }
    }
}

/// A body in parts of one size, the last of which is smaller (or empty).
struct Parts<S> {
    body: S,
    size: usize,
    /// What came with the bytes of the part before, and belongs to the next.
    rest: Bytes,
    /// What all parts so far are.
    hash: Sha256,
    bytes: u64,
}

impl<S: Stream<Item = Result<Bytes, ring_partner::Error>> + Unpin> Parts<S> {
    fn new(body: S, size: usize) -> Self {
        Self {
            body,
            size,
            rest: Bytes::new(),
            hash: Sha256::new(),
            bytes: 0,
        }
    }

    async fn next(&mut self) -> Result<Bytes, ring_partner::Error> {
        let mut part = BytesMut::new();
        while part.len() < self.size {
            if self.rest.is_empty() {
                match self.body.next().await {
                    Some(chunk) => self.rest = chunk?,
                    None => break,
                }
            }
            let taken = self.rest.split_to(self.rest.len().min(self.size - part.len()));
            part.extend_from_slice(&taken);
        }
        self.hash.update(&part);
        self.bytes += part.len() as u64;
        Ok(part.freeze())
    }

    /// What went through.
    fn receipt(self) -> Receipt {
        Receipt {
            bytes: self.bytes,
            sha256: hex::encode(self.hash.finalize()),
        }
    }
}

/// Where the thumbnail of an object lies.
#[must_use]
pub fn thumbnail_key(key: &str) -> String {
    format!("{key}.thumbnail.jpg")
}

fn tag(key: &str) -> Option<String> {
    key.starts_with("media/").then(|| TAG.to_owned())
}

fn beside(key: &str) -> String {
    format!("{key}.json")
}

pub(crate) fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> ArchiveError {
    ArchiveError::Unavailable(error.into())
}

#[cfg(test)]
mod tests;
