//! An archive in the bucket: one file of many, in the form of `tar`, which grows as it is made, and is there whole or not at all.

use bytes::Bytes;
use futures_util::StreamExt as _;
use jiff::Timestamp;

use crate::capture::archive::Film;
use crate::media::archive::{Archive, ArchiveError, Receipt};

/// What `tar` counts in.
const BLOCK: u64 = 512;
/// The media type of `tar`.
const TAR: &str = "application/x-tar";

/// An archive in the making.
pub(super) struct Tarball<'a> {
    archive: &'a Archive,
    file: Film<'a>,
    /// The time that all files in it have.
    made_at: Timestamp,
}

impl<'a> Tarball<'a> {
    pub(super) fn new(archive: &'a Archive, key: &'a str, made_at: Timestamp) -> Self {
        Self {
            archive,
            file: Film::new(archive, key, TAR, &[]),
            made_at,
        }
    }

    /// Adds a file.
    pub(super) async fn add(&mut self, name: &str, content: &[u8]) -> Result<(), ArchiveError> {
        let length = content.len() as u64;
        self.file.push(&header(name, length, self.made_at)?).await?;
        self.file.push(content).await?;
        self.file.push(&padding(length)).await
    }

    /// Adds an object of the bucket. Whether there was one.
    pub(super) async fn add_object(&mut self, name: &str, key: &str) -> Result<bool, ArchiveError> {
        let Some((length, mut object)) = self.archive.read(key).await? else {
            return Ok(false);
        };
        self.file.push(&header(name, length, self.made_at)?).await?;
        let mut read = 0;
        while let Some(chunk) = object.next().await {
            let chunk: Bytes = chunk?;
            read += chunk.len() as u64;
            self.file.push(&chunk).await?;
        }
        if read != length {
            return Err(ArchiveError::Unavailable(
                "an object is not as long as it was said to be".into(),
            ));
        }
        self.file.push(&padding(length)).await?;
        Ok(true)
    }

    /// Ends it. Two empty blocks say that nothing follows.
    pub(super) async fn end(mut self) -> Result<Receipt, ArchiveError> {
        if let Err(error) = self.file.push(&[0; 2 * 512]).await {
            self.file.abort().await;
            return Err(error);
        }
        self.file.end().await
    }

    pub(super) async fn abort(self) {
        self.file.abort().await;
    }
}

fn header(name: &str, length: u64, at: Timestamp) -> Result<[u8; 512], ArchiveError> {
    let mut header = tar::Header::new_ustar();
    header
        .set_path(name)
        .map_err(|error| ArchiveError::Unavailable(error.into()))?;
    header.set_size(length);
    header.set_mode(0o644);
    header.set_mtime(at.as_second().max(0).unsigned_abs());
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    Ok(*header.as_bytes())
}

/// A file ends with its last block.
fn padding(length: u64) -> Vec<u8> {
    vec![0; usize::try_from((BLOCK - length % BLOCK) % BLOCK).unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn what_is_written_is_read_by_others() {
        let at = Timestamp::from_second(1_770_000_000).unwrap();
        let mut all = Vec::new();
        for (name, content) in [("devices.json", &[b'a'; 700][..]), ("media/med_1.mp4", b"")] {
            all.extend(header(name, content.len() as u64, at).unwrap());
            all.extend(content);
            all.extend(padding(content.len() as u64));
        }
        all.extend([0; 1024]);
        let mut archive = tar::Archive::new(&all[..]);
        let files: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|file| {
                let mut file = file.unwrap();
                let mut content = Vec::new();
                file.read_to_end(&mut content).unwrap();
                (file.path().unwrap().display().to_string(), content.len())
            })
            .collect();
        assert_eq!(
            files,
            [("devices.json".to_owned(), 700), ("media/med_1.mp4".to_owned(), 0)]
        );
    }
}
