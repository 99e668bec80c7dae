//! The rules of the house, held over cargo's metadata, the sources and the template.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;

static WORKSPACE: LazyLock<Workspace> = LazyLock::new(Workspace::read);

struct Workspace {
    root: PathBuf,
    /// Package id -> package.
    packages: BTreeMap<String, Value>,
    /// Package id -> what it depends on when it is built, with its own ids.
    needs: BTreeMap<String, Vec<String>>,
    template: Template,
}

impl Workspace {
    fn read() -> Self {
        let metadata = Command::new("cargo")
            .args(["metadata", "--format-version", "1", "--locked"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("cargo runs");
        let said = String::from_utf8_lossy(&metadata.stderr);
        let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap_or_else(|_| panic!("metadata: {said}"));
        let root = PathBuf::from(text(&metadata["workspace_root"]));
        let packages = items(&metadata["packages"]).map(|package| (text(&package["id"]), package.clone()));
        let needs = items(&metadata["resolve"]["nodes"]).map(|node| {
            // A dependency of tests alone has the kind `dev`, of build scripts `build`; null is the ordinary one.
            let ordinary = |need: &&Value| items(&need["dep_kinds"]).any(|kind| kind["kind"] != "dev");
            let needed = items(&node["deps"]).filter(ordinary).map(|need| text(&need["pkg"]));
            (text(&node["id"]), needed.collect())
        });
        let template = Template::parse(&fs::read_to_string(root.join("template.yaml")).expect("the template"));
        Self {
            packages: packages.collect(),
            needs: needs.collect(),
            template,
            root,
        }
    }

    fn id_of(&self, name: &str) -> &str {
        let member = |id: &&String| text(&self.packages[*id]["name"]) == name && self.packages[*id]["source"].is_null();
        self.packages
            .keys()
            .find(member)
            .unwrap_or_else(|| panic!("{name} is a member"))
    }

    /// The names of all that a package is built from.
    fn tree(&self, name: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut waiting = vec![self.id_of(name).to_owned()];
        while let Some(id) = waiting.pop() {
            for need in &self.needs[&id] {
                if found.insert(need.clone()) {
                    waiting.push(need.clone());
                }
            }
        }
        found.iter().map(|id| text(&self.packages[id]["name"])).collect()
    }

    /// The programs that Lambda runs: all but the recorder, which holds sessions for longer than Lambda lets a call be.
    fn lambdas(&self) -> Vec<String> {
        let programs = self.functions().into_iter();
        programs.filter(|name| name != local::RECORDER).collect()
    }

    /// The programs: the directories under `functions/`.
    fn functions(&self) -> Vec<String> {
        let entries = fs::read_dir(self.root.join("functions")).expect("functions/");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        assert!(!names.is_empty());
        names
    }
}

/// The template, read by its indentation: resources stand two spaces in, their variables under `Variables:`.
struct Template {
    /// Resource -> its lines.
    resources: BTreeMap<String, Vec<String>>,
    /// Variables of all functions.
    globals: BTreeSet<String>,
}

impl Template {
    fn parse(template: &str) -> Self {
        let (before, resources) = template
            .split_once("\nResources:\n")
            .expect("the template has resources");
        let (_, globals) = before.split_once("\nGlobals:\n").expect("the template has globals");
        let globals: Vec<String> = globals.lines().map(str::to_owned).collect();
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut name = String::new();
        for line in resources.lines().take_while(|line| *line != "Outputs:") {
            let opening = line.strip_prefix("  ").and_then(|rest| rest.strip_suffix(':'));
            match opening.filter(|opening| !opening.starts_with([' ', '#'])) {
                Some(opening) => name = opening.to_owned(),
                None => found.entry(name.clone()).or_default().push(line.to_owned()),
            }
        }
        Self {
            resources: found,
            globals: variables(&globals),
        }
    }

    fn variables_of(&self, resource: &str) -> BTreeSet<String> {
        let own = variables(&self.resources[resource]);
        own.union(&self.globals).cloned().collect()
    }
}

/// The names under `Variables:`, as deep as its first child stands.
fn variables(lines: &[String]) -> BTreeSet<String> {
    let depth = |line: &str| line.len() - line.trim_start().len();
    let mut lines = lines
        .iter()
        .skip_while(|line| line.trim() != "Variables:")
        .skip(1)
        .peekable();
    let child = lines.peek().map_or(0, |line| depth(line));
    lines
        .take_while(|line| depth(line) >= child && !line.trim().is_empty())
        .filter(|line| depth(line) == child) // what stands deeper is a value of several lines
        .filter_map(|line| line.trim().split_once(':').map(|(name, _)| name.to_owned()))
        .collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("a text: {value}")).to_owned()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// `token-refresh` -> `TokenRefresh`.
fn pascal(name: &str) -> String {
    let word = |word: &str| word[..1].to_uppercase() + &word[1..];
    name.split('-').map(word).collect()
}

/// All Rust files under a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "{} has sources", folder.display());
    found.sort();
    found
}

/// A source without its comments.
fn code(path: &Path) -> String {
    let source = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Whether this crate is AWS's. Its crypto library is nobody's cloud.
fn is_aws(name: &str) -> bool {
    let name = name.replace('_', "-");
    let theirs = [
        "aws-config",
        "aws-sdk-",
        "aws-smithy-",
        "aws-runtime",
        "aws-types",
        "aws-credential-",
        "aws-sig",
    ];
    theirs.iter().any(|start| name.starts_with(start)) || name.starts_with("lambda-") || name == "aws-lambda-events"
}

/// The text literals in capitals, as variables are named.
fn variables_read(source: &str) -> BTreeSet<String> {
    let literals = source.split('"').skip(1).step_by(2);
    let named = |text: &&str| {
        text.len() > 2
            && text
                .chars()
                .all(|letter| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_')
    };
    literals.filter(named).map(str::to_owned).collect()
}

#[test]
fn no_function_is_built_from_another() {
    let functions: BTreeSet<String> = WORKSPACE.functions().into_iter().collect();
    for name in &functions {
        let tree = WORKSPACE.tree(name);
        let others: Vec<_> = tree.intersection(&functions).collect();
        assert!(others.is_empty(), "{name} is built from {others:?}");
        for foreign in ["ring-simulator", "local", "system-tests"] {
            assert!(!tree.contains(foreign), "{name} is built from {foreign}");
        }
    }
}

#[test]
fn ring_partner_knows_nothing_of_aws() {
    let tree = WORKSPACE.tree("ring-partner");
    let theirs: Vec<_> = tree.iter().filter(|name| is_aws(name)).collect();
    assert!(theirs.is_empty(), "ring-partner is built from {theirs:?}");
    assert!(
        tree.contains("hmac"),
        "the tree was read: it has what signatures are made with"
    );
}

#[test]
fn ring_partner_says_which_compiler_it_needs_and_documents_all_that_is_public() {
    let folder = WORKSPACE.root.join("shared/ring-partner");
    let package = &WORKSPACE.packages[WORKSPACE.id_of("ring-partner")];
    let needs = format!("It needs Rust {} (", text(&package["rust_version"]));
    let readme = fs::read_to_string(folder.join("README.md")).expect("its README");
    assert!(readme.contains(&needs), "the README does not say {needs:?}");
    let lib = fs::read_to_string(folder.join("src/lib.rs")).expect("its root");
    assert!(lib.contains("#![deny(missing_docs)]") && lib.contains("include_str!(\"../README.md\")"));
}

#[test]
fn the_offline_ring_is_a_second_reading_of_the_documentation() {
    let tree = WORKSPACE.tree("ring-simulator");
    for first in ["ring-partner", "shared"] {
        assert!(!tree.contains(first), "the simulator is built from {first}");
    }
}

#[test]
fn only_a_store_a_vault_an_archive_or_the_edge_names_an_aws_crate() {
    const MAY: [&str; 4] = ["store", "vault", "archive", "edge"];
    let mut folders = vec![WORKSPACE.root.join("shared/src")];
    folders.extend(
        WORKSPACE
            .functions()
            .iter()
            .map(|name| WORKSPACE.root.join("functions").join(name).join("src")),
    );
    for path in folders.iter().flat_map(|folder| sources(folder)) {
        let within = path.strip_prefix(&WORKSPACE.root).expect("a file of the workspace");
        let may = within
            .components()
            .any(|part| MAY.contains(&part.as_os_str().to_string_lossy().trim_end_matches(".rs")));
        let code = code(&path);
        let words = code.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        // A function answers Lambda; that is all that it may know.
        let named: BTreeSet<&str> = words
            .filter(|word| is_aws(word) && !word.starts_with("lambda_"))
            .collect();
        let named: Vec<_> = named.into_iter().filter(|word| *word != "aws_lambda_events").collect();
        assert!(may || named.is_empty(), "{} names {named:?}", within.display());
    }
}

#[test]
fn a_function_is_main_lib_and_config_and_main_decides_nothing() {
    for name in WORKSPACE.functions() {
        let folder = WORKSPACE.root.join("functions").join(&name).join("src");
        for file in ["main.rs", "lib.rs", "config.rs"] {
            assert!(folder.join(file).is_file(), "{name} has no {file}");
        }
        let main = code(&folder.join("main.rs"));
        for word in ["if ", "match ", "while ", "loop ", "for "] {
            assert!(!main.contains(word), "{name}: main.rs has {word:?}, and wires alone");
        }
        let lib = fs::read_to_string(folder.join("lib.rs")).expect("lib.rs");
        assert!(
            lib.starts_with("//! "),
            "{name}: lib.rs opens with what the program is for"
        );
    }
}

#[test]
fn one_name_in_five_places() {
    for name in WORKSPACE.functions() {
        // Directory and package.
        let package = &WORKSPACE.packages[WORKSPACE.id_of(&name)];
        let manifest = WORKSPACE.root.join("functions").join(&name).join("Cargo.toml");
        assert_eq!(text(&package["manifest_path"]), manifest.display().to_string());
        // Binary.
        let binaries = items(&package["targets"]).filter(|target| items(&target["kind"]).any(|kind| kind == "bin"));
        assert_eq!(
            binaries.map(|target| text(&target["name"])).collect::<Vec<_>>(),
            [name.as_str()]
        );
        // The logs' field `service`, which is the package's own name.
        let folder = manifest.with_file_name("src");
        let lib = code(&folder.join("lib.rs"));
        assert!(
            lib.contains("pub const SERVICE: &str = env!(\"CARGO_PKG_NAME\");"),
            "{name} names its logs after itself"
        );
        assert!(
            code(&folder.join("main.rs")).contains("telemetry::init(SERVICE"),
            "{name} names its logs"
        );
        // Template resource, and what it deploys.
        if !WORKSPACE.lambdas().contains(&name) {
            continue;
        }
        let resource = pascal(&name);
        let lines = WORKSPACE
            .template
            .resources
            .get(&resource)
            .unwrap_or_else(|| panic!("the template has no {resource}"));
        for line in [
            "    Type: AWS::Serverless::Function".to_owned(),
            format!("      FunctionName: !Sub \"${{AWS::StackName}}-{name}\""),
            format!("      CodeUri: target/lambda/{name}/"),
            format!("      Role: !GetAtt {resource}Role.Arn"),
        ] {
            assert!(lines.contains(&line), "{resource} has no line {line:?}");
        }
    }
}

#[test]
fn every_function_of_the_template_is_a_package() {
    let functions = WORKSPACE.lambdas();
    for (resource, lines) in &WORKSPACE.template.resources {
        if lines.iter().any(|line| line == "    Type: AWS::Serverless::Function") {
            assert!(
                functions.iter().any(|name| pascal(name) == *resource),
                "{resource} is no package"
            );
        }
    }
}

#[test]
fn a_function_reads_the_variables_that_the_template_sets_and_no_others() {
    let edge = WORKSPACE.root.join("shared/src/edge/config.rs");
    let edge = fs::read_to_string(edge).expect("the edge's configuration");
    let ring = edge
        .split("impl RingConfig")
        .nth(1)
        .expect("RingConfig reads")
        .split("#[cfg(test)]")
        .next();
    let ring = variables_read(ring.unwrap_or_default());
    assert!(
        ring.contains("RING_API_URL"),
        "the variables of Ring are read in RingConfig: {ring:?}"
    );

    for name in WORKSPACE.lambdas() {
        let config = code(&WORKSPACE.root.join("functions").join(&name).join("src/config.rs"));
        let config = config.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
        let mut read = variables_read(&config);
        if config.contains("RingConfig::read") {
            read.extend(ring.iter().cloned());
        }
        // Read by the telemetry of every program.
        read.extend(["LOG_LEVEL", "LOG_SUCCESS_PERCENT"].map(str::to_owned));
        assert_eq!(
            read,
            WORKSPACE.template.variables_of(&pascal(&name)),
            "{name}: read, and set by the template"
        );
    }
}

/// The recorder is no function: the variables of its container are in a template of its own.
#[test]
fn the_recorder_reads_the_variables_that_its_container_sets_and_no_others() {
    let container = fs::read_to_string(WORKSPACE.root.join("infra/capture.yaml")).expect("the recorder's template");
    let set = container.lines().filter_map(|line| {
        let name = line.trim().strip_prefix("- { Name: ")?;
        let name = name.split(", Value: ").next()?;
        name.chars()
            .all(|letter| letter.is_ascii_uppercase() || letter == '_')
            .then(|| name.to_owned())
    });
    let set: BTreeSet<String> = set.collect();
    let edge = fs::read_to_string(WORKSPACE.root.join("shared/src/edge/config.rs")).expect("the edge's configuration");
    let ring = edge
        .split("impl RingConfig")
        .nth(1)
        .and_then(|rest| rest.split("#[cfg(test)]").next());
    let config = code(&WORKSPACE.root.join("functions/stream-capture/src/config.rs"));
    let settings = config.split("impl Config").nth(1).expect("Config reads");
    let mut read = variables_read(settings);
    read.extend(variables_read(ring.expect("RingConfig reads")));
    // Read by the telemetry and by the SDK; and what the agent of ECS sets itself.
    read.extend(["LOG_LEVEL", "AWS_REGION"].map(str::to_owned));
    assert!(read.remove("ECS_AGENT_URI"));
    assert_eq!(read, set);
}

/// Otherwise `cargo run -p local`, the build that it starts and the tests would each compile the whole tree anew. What
/// tests alone depend on stands in infra/local/Cargo.toml for this.
#[test]
fn the_runner_its_build_and_the_tests_come_to_the_same_features() {
    let features = |which: &[&str], edges: &str| -> BTreeSet<String> {
        let tree = Command::new("cargo")
            .args([
                "tree",
                "--locked",
                "--prefix",
                "none",
                "--format",
                "{p} [{f}]",
                "--edges",
                edges,
            ])
            .args(which)
            .current_dir(&WORKSPACE.root)
            .output()
            .expect("cargo runs");
        let tree = String::from_utf8(tree.stdout).expect("a text");
        tree.lines()
            .map(|line| line.trim_end_matches(" (*)").to_owned())
            .filter(|line| !line.is_empty())
            .collect()
    };
    let built = features(&["--workspace"], "normal,build");
    let runner = features(&["--package", "local"], "normal,build");
    let tested = features(&["--workspace"], "normal,build,dev");
    assert!(runner.len() > 100 && built.len() > 100, "the tree was read");
    let differ = |some: &BTreeSet<String>, all: &BTreeSet<String>| some.difference(all).cloned().collect::<Vec<_>>();
    assert_eq!(
        differ(&runner, &built),
        Vec::<String>::new(),
        "of the runner, and not of the build"
    );
    assert_eq!(
        differ(&built, &tested),
        Vec::<String>::new(),
        "of the build, and not of the tests"
    );
}

#[test]
fn no_policy_of_a_role_has_a_wildcard_for_its_resource() {
    let mut roles = 0;
    for (resource, lines) in &WORKSPACE.template.resources {
        if !lines.iter().any(|line| line == "    Type: AWS::IAM::Role") {
            continue;
        }
        roles += 1;
        let mut before = "";
        for line in lines {
            let line = line.trim();
            // Of X-Ray's actions there is no resource that could be named.
            let is_of_traces = before == "Action: [xray:PutTelemetryRecords, xray:PutTraceSegments]";
            before = line;
            assert!(
                is_of_traces || !line.starts_with("Resource: \"*\"") && line != "- \"*\"",
                "{resource}: {line}"
            );
            assert!(
                !line.contains(":*\"") && !line.contains("Action: \"*\""),
                "{resource}: {line}"
            );
            assert!(!line.starts_with("ManagedPolicyArns"), "{resource}: {line}");
        }
    }
    assert_eq!(
        roles,
        WORKSPACE.lambdas().len() + 1,
        "one role for each program, and one to deploy with"
    );
}

/// The value of a function's variable, or of another line of its block, without the comment behind it.
fn value(resource: &str, name: &str) -> Option<&'static str> {
    let lines = WORKSPACE.template.resources.get(resource)?.iter();
    let value = lines.filter_map(|line| line.trim().strip_prefix(name)?.strip_prefix(": "));
    value
        .map(|value| value.split(" #").next().unwrap_or_default().trim())
        .next()
}

#[test]
fn the_parts_of_rings_limit_add_up_to_no_more_than_each_share() {
    // Of what is renewed, three quarters are one run's; of devices and media, a fifth is its links'.
    let mut taken = BTreeMap::from([("!Ref RefreshRate", 0.0), ("!Ref ApiAndMediaRate", 0.2)]);
    for function in WORKSPACE.functions() {
        let resource = pascal(&function);
        let Some(share) = value(&resource, "RING_SHARE") else {
            continue;
        };
        let number = |text: &str| text.parse::<f64>().unwrap_or_else(|_| panic!("{function}: {text}"));
        let shared_by = number(value(&resource, "RING_SHARED_BY").expect("its part").trim_matches('"'));
        let reserved = value(&resource, "ReservedConcurrentExecutions").map(|cap| {
            let cap = cap.strip_prefix("!If [CapsConcurrency, ").expect("a cap by parameter");
            number(cap.split(',').next().expect("a number"))
        });
        let sources = value(&resource, "ScalingConfig").map(|most| {
            number(
                most.trim_start_matches("{ MaximumConcurrency:")
                    .trim_end_matches('}')
                    .trim(),
            )
        });
        let at_once = reserved
            .or(sources)
            .unwrap_or_else(|| panic!("{function} calls Ring in any number of processes"));
        *taken.entry(share).or_default() += at_once / shared_by;
    }
    // The recorder's tasks, of which there are at most as many as the parameter lets there be.
    let number = |text: &str| text.trim_matches('"').parse::<f64>().expect("a number");
    let template = fs::read_to_string(WORKSPACE.root.join("template.yaml")).expect("the template");
    let most = template
        .split("\n  CaptureTasksAtMost:\n")
        .nth(1)
        .and_then(|rest| rest.split("MaxValue: ").nth(1)?.lines().next());
    let shared_by = value("Capture", "RingSharedBy").expect("its part");
    *taken
        .entry(value("Capture", "RingShare").expect("its share"))
        .or_default() += number(most.expect("a bound")) / number(shared_by);
    assert_eq!(taken.len(), 3, "three shares: {taken:?}");
    for (share, parts) in taken {
        assert!(
            (0.9..1.000_001).contains(&parts),
            "{share}: {parts} of it are given away"
        );
    }
}

#[test]
fn every_program_has_the_grants_of_the_restored_table_where_there_is_one() {
    let mut programs = 0;
    for function in WORKSPACE.functions() {
        let Some(table) = value(&pascal(&function), "GRANTS_TABLE") else {
            continue;
        };
        programs += 1;
        assert_eq!(
            table, "!If [GrantsAreRestored, !Ref RestoredGrantsTable, !Ref GrantsTable]",
            "{function}"
        );
        let role = WORKSPACE.template.resources[&format!("{}Role", pascal(&function))].iter();
        let rights: Vec<_> = role
            .filter(|line| line.contains("GrantsTable") && !line.contains("/index/"))
            .collect();
        assert!(!rights.is_empty(), "{function} has rights on it");
        for right in rights {
            assert!(
                right.contains("!If [GrantsAreRestored, "),
                "{function}: {}",
                right.trim()
            );
        }
    }
    assert!(programs >= 6, "{programs}");
}
