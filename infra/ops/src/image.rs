//! `ops image`: the recorder's container, without a container engine: an OCI image of two files, the program and the
//! certificates that it trusts (OCI Image Format Specification 1.1). The same program makes the same bytes.

use std::fmt;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use flate2::Compression;
use flate2::write::GzEncoder;
use object::elf::PT_INTERP;
use object::read::elf::{ElfFile64, ProgramHeader as _};
use object::{Architecture, Endianness, Object as _};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::failure::{Doing as _, Failure};
use crate::say::Voice;

const EXAMPLES: &str = "\
Examples:
  ops image target/aarch64-unknown-linux-musl/release/stream-capture   into stream-capture.tar
  ops image PROGRAM --to recorder.tar --json                           its digest, for a script

Any of these puts it into a registry, and none needs an engine but docker:
  skopeo copy oci-archive:stream-capture.tar docker://REGISTRY/stream-capture:1
  mkdir image && tar -xf stream-capture.tar -C image && crane push image REGISTRY/stream-capture:1
  docker load --input stream-capture.tar

How the program is built for it, and what the stack takes then: docs/recorder.md.";

/// Where systems keep the certificates that they trust, as one file: Debian, Amazon Linux and Fedora, Alpine and macOS.
const BUNDLES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];
/// Where they lie in the image.
const TRUSTED: &str = "etc/ssl/certs/ca-certificates.crt";
/// Neither root nor anybody that a host has.
const USER: &str = "65532:65532";
/// What it is called where it is loaded.
const NAME: &str = "stream-capture:latest";

/// The recorder's container: made of the program alone, without a container engine
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Command {
    /// The program, static, for Linux on arm64 or x86_64
    program: PathBuf,
    /// Where the image goes, as an OCI archive
    #[arg(long, value_name = "FILE", default_value = "stream-capture.tar")]
    to: PathBuf,
    /// The certificates that it is to trust, as one PEM file; by default those of this system
    #[arg(long, value_name = "FILE")]
    certificates: Option<PathBuf>,
}

/// What was made.
#[derive(Serialize)]
struct Made {
    image: PathBuf,
    /// Of its manifest: what a deployment is best pinned to.
    digest: String,
    architecture: &'static str,
    /// In bytes.
    size: usize,
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            image,
            digest,
            architecture,
            size,
        } = self;
        write!(
            f,
            "{} for {architecture}, {:.1} MB\n{digest}",
            image.display(),
            *size as f64 / 1e6
        )
    }
}

pub(crate) fn run(command: &Command, voice: Voice) -> Result<(), Failure> {
    let program = read(&command.program)?;
    let architecture = architecture(&command.program, &program)?;
    let certificates = match &command.certificates {
        Some(path) => read(path)?,
        None => BUNDLES.iter().find_map(|path| fs::read(path).ok()).ok_or_else(|| {
            Failure::new("This system's certificates are not found").advise("name a PEM file with --certificates")
        })?,
    };
    let (archive, digest) =
        image(&program, &certificates, architecture).or_fail(|| "The image can't be made".into())?;
    fs::write(&command.to, &archive).or_fail(|| format!("{} can't be written", command.to.display()))?;
    voice.answer(&Made {
        image: command.to.clone(),
        digest,
        architecture,
        size: archive.len(),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).or_fail(|| format!("{} can't be read", path.display()))
}

/// What it runs on, by the specification's name (GOARCH). An empty image has no loader and no libraries: a program that needs
/// them would not start there.
fn architecture(path: &Path, program: &[u8]) -> Result<&'static str, Failure> {
    let build = "build it as docs/recorder.md says: cargo zigbuild --release --target aarch64-unknown-linux-musl -p stream-capture";
    let what = || format!("{} can't be put into an image", path.display());
    let file: ElfFile64<'_, Endianness> = ElfFile64::parse(program).map_err(|error| {
        Failure::new(what())
            .because(format!("it is no program for Linux: {error}"))
            .advise(build)
    })?;
    let headers = file.elf_program_headers().iter();
    if headers
        .into_iter()
        .any(|header| header.p_type(file.endian()) == PT_INTERP)
    {
        return Err(Failure::new(what()).because("it is not static").advise(build));
    }
    match file.architecture() {
        Architecture::Aarch64 => Ok("arm64"),
        Architecture::X86_64 => Ok("amd64"),
        other => Err(Failure::new(what())
            .because(format!("Fargate does not run {other:?}"))
            .advise(build)),
    }
}

/// An OCI archive with one image, and the digest of its manifest.
fn image(program: &[u8], certificates: &[u8], architecture: &str) -> std::io::Result<(Vec<u8>, String)> {
    let mut layer = Tar::begin();
    layer.put(TRUSTED, 0o444, certificates)?;
    layer.put("stream-capture", 0o555, program)?;
    let layer = layer.end()?;
    let uncompressed = digest(&layer);
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(&layer)?;
    let layer = packed.finish()?;

    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "config": {
            "Entrypoint": ["/stream-capture"],
            "Env": [format!("SSL_CERT_FILE=/{TRUSTED}")],
            "StopSignal": "SIGTERM",
            "User": USER,
        },
        "rootfs": { "type": "layers", "diff_ids": [uncompressed] },
    })
    .to_string()
    .into_bytes();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &layer)],
    })
    .to_string()
    .into_bytes();
    let mut named = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    named["annotations"] = json!({ "org.opencontainers.image.ref.name": NAME, "io.containerd.image.name": NAME });
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [named],
    });

    let mut archive = Tar::begin();
    archive.put("oci-layout", 0o444, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    archive.put("index.json", 0o444, index.to_string().as_bytes())?;
    for blob in [&config, &layer, &manifest] {
        let digest = digest(blob);
        let hex = digest.trim_start_matches("sha256:");
        archive.put(&format!("blobs/sha256/{hex}"), 0o444, blob)?;
    }
    Ok((archive.end()?, digest(&manifest)))
}

fn descriptor(media_type: &str, blob: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest(blob), "size": blob.len() })
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// A tar of files that are root's and as old as time: the same files are the same bytes.
struct Tar(tar::Builder<Vec<u8>>);

impl Tar {
    fn begin() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    fn put(&mut self, path: &str, mode: u32, bytes: &[u8]) -> std::io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_mode(mode);
        header.set_size(bytes.len() as u64);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        self.0.append_data(&mut header, path, bytes)
    }

    fn end(self) -> std::io::Result<Vec<u8>> {
        self.0.into_inner()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::*;

    fn files(archive: &[u8]) -> BTreeMap<String, (u32, Vec<u8>)> {
        let mut archive = tar::Archive::new(archive);
        let files = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            let path = entry.path().unwrap().display().to_string();
            (path, (entry.header().mode().unwrap(), bytes))
        });
        files.collect()
    }

    #[test]
    fn an_image_holds_the_program_and_the_certificates_and_each_blob_is_what_its_digest_says() {
        let (archive, digest_of_manifest) = image(b"program", b"certificates", "arm64").unwrap();
        let archive = files(&archive);
        let blob = |descriptor: &Value| {
            let digest_of_blob = descriptor["digest"].as_str().unwrap();
            let (_, bytes) = &archive[&digest_of_blob.replace("sha256:", "blobs/sha256/")];
            assert_eq!(digest(bytes), digest_of_blob);
            assert_eq!(bytes.len() as u64, descriptor["size"].as_u64().unwrap());
            bytes.clone()
        };
        let index: Value = serde_json::from_slice(&archive["index.json"].1).unwrap();
        assert_eq!(index["manifests"][0]["digest"], digest_of_manifest);
        let manifest: Value = serde_json::from_slice(&blob(&index["manifests"][0])).unwrap();
        let config: Value = serde_json::from_slice(&blob(&manifest["config"])).unwrap();
        assert_eq!(config["architecture"], "arm64");
        assert_eq!(config["config"]["User"], USER);
        let mut layer = Vec::new();
        let packed = blob(&manifest["layers"][0]);
        GzDecoder::new(&packed[..]).read_to_end(&mut layer).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][0], digest(&layer));
        let layer = files(&layer);
        assert_eq!(layer["stream-capture"], (0o555, b"program".to_vec()));
        assert_eq!(layer[TRUSTED], (0o444, b"certificates".to_vec()));
        assert_eq!(layer.len(), 2, "and nothing else");
    }

    #[test]
    fn the_same_program_is_the_same_image() {
        let once = image(b"program", b"certificates", "arm64").unwrap();
        assert_eq!(once, image(b"program", b"certificates", "arm64").unwrap());
        assert_ne!(once.1, image(b"another", b"certificates", "arm64").unwrap().1);
    }

    #[test]
    fn what_would_not_start_in_it_is_refused_with_what_to_do() {
        // This very test needs a loader.
        let this = std::env::current_exe().unwrap();
        let said = architecture(&this, &fs::read(&this).unwrap()).unwrap_err().to_string();
        assert!(said.contains("it is not static") && said.contains("musl"), "{said}");
        let said = architecture(Path::new("README.md"), b"# README")
            .unwrap_err()
            .to_string();
        assert!(said.contains("no program for Linux"), "{said}");
    }
}
