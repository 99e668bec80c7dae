//! The store as it is deployed: the bucket.

use bytes::Bytes;
use shared::capture::archive::Reels;
use shared::capture::manifest::Film;
use shared::media::archive::ArchiveError;

use crate::capture;
use crate::ports::{Sink, SinkError};
use crate::recording::{Object, Recording, Reel};

/// The bucket.
#[derive(Clone, Debug)]
pub struct Bucket(pub Reels);

impl Bucket {
    /// Makes the films of a recording that is over.
    pub async fn finish(&self, recording: Recording) -> Result<Recording, SinkError> {
        capture::finish(self, recording).await
    }

    /// Deletes an object.
    pub async fn delete(&self, key: &str) -> Result<(), SinkError> {
        self.0.delete(key).await.map_err(failed)
    }
}

impl Sink for Bucket {
    async fn put(&self, object: Object) -> Result<(), SinkError> {
        self.0
            .put(&object.key, object.content_type, object.body)
            .await
            .map_err(failed)
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, SinkError> {
        self.0.get(key).await.map_err(failed)
    }

    async fn join(&self, reel: &Reel) -> Result<Film, SinkError> {
        let joined = self.0.join(&reel.key, "video/mp4", &reel.start, &reel.fragments).await;
        let receipt = joined.map_err(failed)?;
        Ok(Film {
            key: reel.key.clone(),
            bytes: receipt.bytes,
            sha256: receipt.sha256,
        })
    }
}

fn failed(error: ArchiveError) -> SinkError {
    SinkError(error.into())
}
