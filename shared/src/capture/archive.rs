//! A capture's objects in the bucket: small ones as they come, and at the end one made of them, in bounded memory. Whoever
//! shows or deletes them finds them by their manifest.

use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::types::CompletedPart;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use super::manifest::{Manifest, manifest_key};
use crate::media::archive::{Archive, ArchiveError, Receipt, Upload, unavailable};

/// The size of a part of the film: the least that S3 takes, and nearly all that is held in memory.
const PART_BYTES: usize = 5 * 1024 * 1024;
/// So many films are made at once in one process: each holds a part and a fragment.
const FILMS_AT_ONCE: usize = 2;
/// So many objects are deleted at once.
const DELETED_AT_ONCE: usize = 8;

/// The bucket, as a recorder uses it.
#[derive(Clone, Debug)]
pub struct Reels {
    archive: Archive,
    films: Arc<Semaphore>,
}

impl Reels {
    /// In the bucket `name`.
    #[must_use]
    pub fn new(config: &SdkConfig, name: impl Into<String>) -> Self {
        Self {
            archive: Archive::new(config, name),
            films: Arc::new(Semaphore::new(FILMS_AT_ONCE)),
        }
    }

    /// Stores an object, in place of one that is there.
    pub async fn put(&self, key: &str, content_type: &str, body: Bytes) -> Result<(), ArchiveError> {
        self.archive.put(key, content_type, body).await
    }

    /// An object that was stored; `None`: there is none.
    pub async fn get(&self, key: &str) -> Result<Option<Bytes>, ArchiveError> {
        let get = self.archive.client.get_object().bucket(&self.archive.bucket).key(key);
        let answer = match get.send().await {
            Ok(answer) => answer,
            Err(error) if error.code() == Some("NoSuchKey") => return Ok(None),
            Err(error) => return Err(unavailable(error)),
        };
        let body = answer.body.collect().await.map_err(unavailable)?;
        Ok(Some(body.into_bytes()))
    }

    /// Deletes an object.
    pub async fn delete(&self, key: &str) -> Result<(), ArchiveError> {
        let delete = self
            .archive
            .client
            .delete_object()
            .bucket(&self.archive.bucket)
            .key(key);
        delete.send().await.map_err(unavailable)?;
        Ok(())
    }

    /// The manifest of the capture whose film is to lie at `film_key`; `None`: nothing is recorded yet. It takes the right to
    /// list the bucket: without it S3 says that an object is forbidden which is not there.
    pub async fn manifest(&self, film_key: &str) -> Result<Option<Manifest>, ArchiveError> {
        let Some(stored) = self.get(&manifest_key(film_key)).await? else {
            return Ok(None);
        };
        let manifest = serde_json::from_slice(&stored).map_err(|error| ArchiveError::Unavailable(error.into()))?;
        Ok(Some(manifest))
    }

    /// Deletes all objects of the capture whose film lies at `film_key`. The manifest goes last: until then, whoever does this
    /// again finds the rest.
    pub async fn delete_all(&self, film_key: &str) -> Result<(), ArchiveError> {
        if let Some(manifest) = self.manifest(film_key).await? {
            stream::iter(manifest.keys().map(str::to_owned))
                .map(|key| async move { self.delete(&key).await })
                .buffer_unordered(DELETED_AT_ONCE)
                .try_collect::<()>()
                .await?;
        }
        self.archive.delete(film_key).await?;
        self.delete(&manifest_key(film_key)).await
    }

    /// A URL under which an object can be read for so long, by whoever has it.
    pub async fn signed(&self, key: &str, valid_for: Duration) -> Result<String, ArchiveError> {
        let config = PresigningConfig::expires_in(valid_for).map_err(unavailable)?;
        let get = self.archive.client.get_object().bucket(&self.archive.bucket).key(key);
        let request = get.presigned(config).await.map_err(unavailable)?;
        Ok(request.uri().to_owned())
    }

    /// Makes one object of `start` and the objects under `keys`, in order. It is there whole, or not at all.
    pub async fn join(
        &self,
        key: &str,
        content_type: &str,
        start: &Bytes,
        keys: &[String],
    ) -> Result<Receipt, ArchiveError> {
        // The semaphore is never closed.
        let _permit = self.films.acquire().await;
        let mut film = Film::new(&self.archive, key, content_type, start);
        let joined = self.pour(&mut film, keys).await;
        match joined {
            Ok(()) => film.end().await,
            Err(error) => {
                film.abort().await;
                Err(error)
            }
        }
    }

    async fn pour(&self, film: &mut Film<'_>, keys: &[String]) -> Result<(), ArchiveError> {
        for key in keys {
            let fragment = self.get(key).await?;
            let fragment = fragment.ok_or_else(|| ArchiveError::Unavailable("a part of the film is gone".into()))?;
            film.push(&fragment).await?;
        }
        Ok(())
    }
}

/// An object in the making, which is a film mostly: it grows by pieces of any size, and a part at the most is held in memory.
pub(crate) struct Film<'a> {
    archive: &'a Archive,
    key: &'a str,
    content_type: &'a str,
    /// Less than a part.
    waiting: BytesMut,
    upload: Option<Upload<'a>>,
    sent: Vec<CompletedPart>,
    hash: Sha256,
    bytes: u64,
}

impl<'a> Film<'a> {
    pub(crate) fn new(archive: &'a Archive, key: &'a str, content_type: &'a str, start: &[u8]) -> Self {
        Self {
            archive,
            key,
            content_type,
            waiting: BytesMut::from(start),
            upload: None,
            sent: Vec::new(),
            hash: Sha256::new(),
            bytes: 0,
        }
    }

    pub(crate) async fn push(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.waiting.extend_from_slice(bytes);
        while self.waiting.len() >= PART_BYTES {
            let part = self.waiting.split_to(PART_BYTES).freeze();
            self.send(part).await?;
        }
        Ok(())
    }

    async fn send(&mut self, part: Bytes) -> Result<(), ArchiveError> {
        self.count(&part);
        let upload = match &mut self.upload {
            Some(upload) => upload,
            none => none.insert(Upload::begin(self.archive, self.key, self.content_type).await?),
        };
        let sent = upload.part(self.sent.len(), part).await?;
        self.sent.push(sent);
        Ok(())
    }

    pub(crate) async fn end(mut self) -> Result<Receipt, ArchiveError> {
        let rest = std::mem::take(&mut self.waiting).freeze();
        if self.upload.is_none() {
            self.count(&rest);
            self.archive.put(self.key, self.content_type, rest).await?;
            return Ok(self.receipt());
        }
        if !rest.is_empty()
            && let Err(error) = self.send(rest).await
        {
            self.abort().await;
            return Err(error);
        }
        if let Some(upload) = self.upload.take() {
            upload.complete(std::mem::take(&mut self.sent)).await?;
        }
        Ok(self.receipt())
    }

    pub(crate) async fn abort(self) {
        if let Some(upload) = self.upload {
            upload.abort().await;
        }
    }

    fn count(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    fn receipt(self) -> Receipt {
        Receipt {
            bytes: self.bytes,
            sha256: hex::encode(self.hash.finalize()),
        }
    }
}
