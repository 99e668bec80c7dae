//! The templates as CloudFormation gets them.

use std::collections::BTreeMap;
use std::fs;
use std::sync::OnceLock;

use local::Place;
use serde_json::Value;
use tokio::runtime::Runtime;

/// Each template, expanded, by its path: `infra-capture`.
pub(crate) fn expanded() -> &'static BTreeMap<String, Value> {
    static EXPANDED: OnceLock<BTreeMap<String, Value>> = OnceLock::new();
    EXPANDED.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let expand = async { local::expand(&Place::find().await?, folder.path()).await };
        let expanded = Runtime::new().expect("a runtime can be made").block_on(expand);
        expanded.unwrap_or_else(|failure| panic!("{failure}"));
        let files = fs::read_dir(folder.path()).expect("the folder can be read");
        let read = files.map(|file| {
            let path = file.expect("a file").path();
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).expect("a template can be read");
            (name, serde_json::from_str(&text).expect("JSON"))
        });
        read.collect()
    })
}
