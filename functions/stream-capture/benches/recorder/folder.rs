//! A folder in place of the bucket.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use shared::capture::manifest::Film;
use stream_capture::ports::{Sink, SinkError};
use stream_capture::recording::{Object, Reel};
use tokio::fs;
use tokio::io::AsyncWriteExt as _;

/// A folder.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    made: Instant,
    first: Arc<OnceLock<Duration>>,
}

impl Folder {
    /// This one.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            made: Instant::now(),
            first: Arc::default(),
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How long it took until the first pictures lay in it.
    pub(crate) fn first(&self) -> Option<Duration> {
        self.first.get().copied()
    }
}

impl Sink for Folder {
    async fn put(&self, object: Object) -> Result<(), SinkError> {
        let path = self.path.join(&object.key);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).await.map_err(failed)?;
        }
        fs::write(path, object.body).await.map_err(failed)?;
        if object.content_type == "video/iso.segment" {
            self.first.get_or_init(|| self.made.elapsed());
        }
        Ok(())
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, SinkError> {
        match fs::read(self.path.join(key)).await {
            Ok(body) => Ok(Some(body.into())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    async fn join(&self, reel: &Reel) -> Result<Film, SinkError> {
        let mut film = fs::File::create(self.path.join(&reel.key)).await.map_err(failed)?;
        film.write_all(&reel.start).await.map_err(failed)?;
        let mut bytes = reel.start.len() as u64;
        for key in &reel.fragments {
            let fragment = fs::read(self.path.join(key)).await.map_err(failed)?;
            film.write_all(&fragment).await.map_err(failed)?;
            bytes += fragment.len() as u64;
        }
        film.flush().await.map_err(failed)?;
        Ok(Film {
            key: reel.key.clone(),
            bytes,
            sha256: "-".to_owned(),
        })
    }
}

fn failed(error: std::io::Error) -> SinkError {
    SinkError(error.into())
}
