//! `samconfig.toml`: what `sam deploy --config-env STACK` reads. Other stacks and settings in the file stay as they are.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use toml_edit::{Array, DocumentMut, Item, Table, Value, value};

use crate::failure::{Doing as _, Failure};

const OVERRIDES: &str = "parameter_overrides";

/// The file, and one stack's part of it.
pub(super) struct SamConfig {
    path: PathBuf,
    document: DocumentMut,
    stack: String,
}

impl SamConfig {
    /// What is there already; nothing where there is no such file.
    pub(super) fn read(path: &Path, stack: &str) -> Result<Self, Failure> {
        let what = || format!("{} can't be read", path.display());
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            text => text.or_fail(what)?,
        };
        Ok(Self {
            path: path.to_owned(),
            document: text.parse().or_fail(what)?,
            stack: stack.to_owned(),
        })
    }

    /// Whether this stack has a part in it.
    pub(super) fn is_there(&self) -> bool {
        self.part().is_some()
    }

    /// The region that the stack is deployed to by it.
    pub(super) fn region(&self) -> Option<&str> {
        self.part()?.get("region")?.as_str()
    }

    /// The parameters that it gives.
    pub(super) fn parameters(&self) -> BTreeMap<String, String> {
        let Some(overrides) = self.part().and_then(|part| part.get(OVERRIDES)) else {
            return BTreeMap::new();
        };
        let pairs: Vec<String> = match overrides {
            Item::Value(Value::Array(pairs)) => pairs.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            // As `sam deploy --guided` writes them.
            Item::Value(Value::String(pairs)) => split(pairs.value()),
            _ => Vec::new(),
        };
        let pairs = pairs.iter().filter_map(|pair| pair.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), unquoted(value))).collect()
    }

    /// Sets this stack's part.
    pub(super) fn set(&mut self, region: &str, parameters: &BTreeMap<String, String>) {
        let stack = self.stack.clone();
        let root = self.document.as_table_mut();
        root.entry("version").or_insert_with(|| value(0.1));
        let part = [stack.as_str(), "deploy", "parameters"]
            .into_iter()
            .fold(root, |table, name| descend(table, name));
        part.insert("stack_name", value(stack.as_str()));
        part.insert("region", value(region));
        part.insert("resolve_s3", value(true));
        part.insert("capabilities", value("CAPABILITY_IAM CAPABILITY_AUTO_EXPAND"));
        part.insert("confirm_changeset", value(true));
        let mut pairs: Array = parameters
            .iter()
            .map(|(name, value)| format!("{name}={}", quoted(value)))
            .collect();
        for pair in pairs.iter_mut() {
            pair.decor_mut().set_prefix("\n  ");
        }
        pairs.set_trailing_comma(true);
        pairs.set_trailing("\n");
        part.insert(OVERRIDES, value(pairs));
    }

    /// Writes the file, which only its owner reads: a parameter in it is shown to nobody.
    pub(super) fn write(&self) -> Result<(), Failure> {
        let what = || format!("{} can't be written", self.path.display());
        let beside = self.path.with_extension("toml.new");
        let mut open = fs::OpenOptions::new();
        let opened = open.write(true).create(true).truncate(true).mode(0o600).open(&beside);
        let mut file = opened.or_fail(what)?;
        let written = file.write_all(self.document.to_string().as_bytes());
        written.and_then(|()| file.sync_all()).or_fail(what)?;
        fs::rename(&beside, &self.path).or_fail(what)
    }

    fn part(&self) -> Option<&Item> {
        self.document.get(&self.stack)?.get("deploy")?.get("parameters")
    }
}

/// The table of this name, made where it is not.
fn descend<'t>(table: &'t mut Table, name: &str) -> &'t mut Table {
    let item = table.entry(name).or_insert_with(|| {
        let mut table = Table::new();
        table.set_implicit(name != "parameters");
        Item::Table(table)
    });
    if !item.is_table() {
        let found = std::mem::take(item);
        *item = Item::Table(found.into_table().unwrap_or_default());
    }
    item.as_table_mut().expect("it was made one above")
}

/// A value as sam's own parser of parameters reads it back: in quotes, with what would end it marked.
fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('"', "\\\""))
}

fn unquoted(value: &str) -> String {
    let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    inner.unwrap_or(value).replace("\\\"", "\"")
}

/// `A="b c" D="e"` by its blanks outside of quotes.
fn split(pairs: &str) -> Vec<String> {
    let (mut found, mut pair, mut is_quoted) = (Vec::new(), String::new(), false);
    let mut before = ' ';
    for letter in pairs.chars() {
        is_quoted ^= letter == '"' && before != '\\';
        if letter.is_whitespace() && !is_quoted {
            found.push(std::mem::take(&mut pair));
        } else {
            pair.push(letter);
        }
        before = letter;
    }
    found.push(pair);
    found.retain(|pair| !pair.is_empty());
    found
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn parameters(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pairs = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        pairs.collect()
    }

    #[test]
    fn what_is_written_is_read_again_and_only_its_owner_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("samconfig.toml");
        let mut config = SamConfig::read(&path, "ring-staging").unwrap();
        assert!(!config.is_there());
        let given = parameters(&[("A", "b c,d"), ("E", "\"quoted\""), ("F", ""), ("G", "x=y")]);
        config.set("eu-west-1", &given);
        config.write().unwrap();
        let again = SamConfig::read(&path, "ring-staging").unwrap();
        assert_eq!((again.region(), again.parameters()), (Some("eu-west-1"), given));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!SamConfig::read(&path, "ring-prod").unwrap().is_there());
    }

    #[test]
    fn other_stacks_and_settings_in_the_file_stay_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("samconfig.toml");
        let before = "version = 0.1\n\n# ours\n[default.build.parameters]\ncached = true # quick\n\n\
                      [ring-prod.deploy.parameters]\ns3_prefix = \"x\"\nparameter_overrides = \"A=\\\"b c\\\" D=e\"\n";
        fs::write(&path, before).unwrap();
        let mut config = SamConfig::read(&path, "ring-prod").unwrap();
        assert_eq!(config.parameters(), parameters(&[("A", "b c"), ("D", "e")]));
        config.set("eu-west-1", &parameters(&[("A", "z")]));
        config.write().unwrap();
        let after = fs::read_to_string(&path).unwrap();
        assert!(
            after.starts_with("version = 0.1\n\n# ours\n[default.build.parameters]\ncached = true # quick\n"),
            "{after}"
        );
        assert!(after.contains("s3_prefix = \"x\""), "{after}");
        let again = SamConfig::read(&path, "ring-prod").unwrap();
        assert_eq!(again.parameters(), parameters(&[("A", "z")]));
    }

    #[test]
    fn a_file_that_is_no_toml_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("samconfig.toml");
        fs::write(&path, "version: 0.1\n").unwrap();
        assert!(SamConfig::read(&path, "ring-prod").is_err());
    }
}
