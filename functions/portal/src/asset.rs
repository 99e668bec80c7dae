//! The files beside the pages. They are in the program itself: it reads no disk, and needs no right to.

use std::sync::LazyLock;

use sha2::{Digest as _, Sha256};

/// A file that a page loads.
#[derive(Debug)]
pub(crate) struct Asset {
    pub(crate) name: &'static str,
    pub(crate) media_type: &'static str,
    pub(crate) text: &'static str,
}

macro_rules! assets {
    ($($name:literal: $media_type:literal,)*) => {
        &[
            // The API's client as anybody has it, from its own folder.
            Asset {
                name: "client.js",
                media_type: "text/javascript; charset=utf-8",
                text: include_str!("../../../clients/typescript/client.js"),
            },
            $(Asset { name: $name, media_type: $media_type, text: include_str!(concat!("../pages/", $name)) },)*
        ]
    };
}

/// All of them.
pub(crate) const ALL: &[Asset] = assets![
    "portal.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "link.js": "text/javascript; charset=utf-8",
    "home.js": "text/javascript; charset=utf-8",
    "account.js": "text/javascript; charset=utf-8",
    "api.js": "text/javascript; charset=utf-8",
    "device.js": "text/javascript; charset=utf-8",
    "element.js": "text/javascript; charset=utf-8",
    "live.js": "text/javascript; charset=utf-8",
    "medium.js": "text/javascript; charset=utf-8",
    "policy.js": "text/javascript; charset=utf-8",
    "session.js": "text/javascript; charset=utf-8",
    "timeline.js": "text/javascript; charset=utf-8",
    "words.js": "text/javascript; charset=utf-8",
];

/// The file of this name.
pub(crate) fn named(name: &str) -> Option<&'static Asset> {
    ALL.iter().find(|asset| asset.name == name)
}

/// What the files are called by as a whole: a change to any of them is another version.
pub(crate) fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let whole = ALL.iter().fold(Sha256::new(), |hash, asset| {
            hash.chain_update(asset.name)
                .chain_update([0])
                .chain_update(asset.text)
                .chain_update([0])
        });
        hex::encode(&whole.finalize()[..8])
    });
    &VERSION
}
