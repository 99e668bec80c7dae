//! The alarms of `infra/alarms.yaml`: each has something to look at, somebody to tell, and somebody who knows what to do.

mod counted;
mod dashboards;
mod faults;
mod pictures;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What AWS counts by itself, of all that an alarm may look at.
const COUNTED_BY_AWS: [(&str, &[&str]); 5] = [
    ("AWS/ApiGateway", &["4xx", "5xx", "Count", "Latency"]),
    ("AWS/DynamoDB", &["ReadThrottleEvents", "WriteThrottleEvents"]),
    (
        "AWS/Lambda",
        &["ClaimedAccountConcurrency", "Errors", "Invocations", "Throttles"],
    ),
    ("AWS/Logs", &["IncomingBytes"]),
    (
        "AWS/SQS",
        &["ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible"],
    ),
];

const ACTIONS: [&str; 2] = [
    "!If [HasPageTopic, [!Ref PageTopicArn], !Ref AWS::NoValue]",
    "!If [HasTicketTopic, [!Ref TicketTopicArn], !Ref AWS::NoValue]",
];

/// All that the alarms are held against.
#[derive(Clone)]
struct House {
    alarms: String,
    template: String,
    /// The recorder's.
    recorder: String,
    runbook: String,
    /// Program, or `shared` -> its code.
    code: BTreeMap<String, String>,
}

/// One metric that an alarm looks at.
#[derive(Debug, Default)]
struct Metric {
    namespace: String,
    name: String,
    dimensions: BTreeMap<String, String>,
}

impl House {
    fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
        let text = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut code = BTreeMap::from([("shared".to_owned(), code_below(&root.join("shared/src")))]);
        for entry in fs::read_dir(root.join("functions")).expect("functions/") {
            let entry = entry.expect("a folder");
            let name = entry.file_name().to_string_lossy().into_owned();
            code.insert(name, code_below(&entry.path().join("src")));
        }
        Self {
            alarms: text("infra/alarms.yaml"),
            template: text("template.yaml"),
            recorder: text("infra/capture.yaml"),
            runbook: text("docs/runbook.md"),
            code,
        }
    }

    /// Everything that is not as it should be.
    fn wrongs(&self) -> Vec<String> {
        let mut wrongs = Vec::new();
        let alarms = blocks(&self.alarms);
        let counting = self.counting();
        for (alarm, lines) in &alarms {
            let mut wrong = |what: String| wrongs.push(format!("{alarm}: {what}"));
            let of = |key: &str| lines.iter().find_map(|line| value(line, key));
            if of("Type") != Some("AWS::CloudWatch::Alarm") {
                wrong("is no alarm".to_owned());
            }
            if of("AlarmName") != Some(&format!("!Sub \"${{Stack}}-{alarm}\"")) {
                wrong("is told of under another name".to_owned());
            }
            match of("AlarmActions") {
                Some(action) if ACTIONS.contains(&action) => {}
                other => wrong(format!("tells nobody: {other:?}")),
            }
            let missing = of("TreatMissingData").map(|text| text.split(" #").next().unwrap_or_default());
            if !matches!(missing, Some("notBreaching" | "breaching")) {
                wrong(format!("does not say what missing data are: {missing:?}"));
            }
            let metrics = metrics(lines);
            if metrics.is_empty() {
                wrong("looks at nothing".to_owned());
            }
            for metric in metrics {
                if let Some(what) = self.nobody_counts(&metric, &counting) {
                    wrong(what);
                }
            }
        }
        wrongs.extend(self.not_in_step(&alarms));
        wrongs
    }

    /// The programs that are told what to count under.
    fn counting(&self) -> BTreeSet<String> {
        let resources = blocks(&self.template);
        let told = resources
            .values()
            .filter(|lines| lines.contains(&"          METRICS_NAMESPACE: !Ref AWS::StackName".to_owned()));
        let programs = told.filter_map(|lines| lines.iter().find_map(|line| value(line, "CodeUri")));
        let mut programs: BTreeSet<_> = programs
            .filter_map(|code| Some(code.strip_prefix("target/lambda/")?.trim_end_matches('/').to_owned()))
            .collect();
        // The one that Lambda does not run has a template of its own.
        if self.recorder.contains("METRICS_NAMESPACE") {
            programs.insert("stream-capture".to_owned());
        }
        programs
    }

    /// Why nobody counts this metric, if nobody does.
    fn nobody_counts(&self, metric: &Metric, counting: &BTreeSet<String>) -> Option<String> {
        let Metric {
            namespace,
            name,
            dimensions,
        } = metric;
        let says = |program: &str, word: &str| {
            self.code
                .get(program)
                .is_some_and(|code| code.contains(&format!("\"{word}\"")))
        };
        for (dimension, value) in dimensions {
            let known = match dimension.as_str() {
                "service" => counting.contains(value),
                "alarm" => self.code.keys().any(|program| says(program, value)),
                "FunctionName" => self.template.contains(&format!(
                    "FunctionName: {}",
                    value.replace("${Stack}", "${AWS::StackName}")
                )),
                "LogGroupName" => self.template.contains(&format!(
                    "LogGroupName: {}",
                    value.replace("${Stack}", "${AWS::StackName}")
                )),
                "Resource" => self.template.contains(&format!(
                    "RouteKey: {} {}\n",
                    dimensions["Method"],
                    value.trim_matches('"')
                )),
                "QueueName" | "TableName" | "ApiId" => value.strip_prefix("!Ref ").is_some(),
                "Method" | "Stage" => true,
                _ => false,
            };
            if !known {
                return Some(format!("{name} has no {dimension} {value}"));
            }
        }
        let counted = if namespace == "!Ref Stack" {
            match dimensions.get("service") {
                Some(program) => says(program, name) || says("shared", name),
                None if dimensions.is_empty() => self.is_counted_by_a_filter(name),
                None => name == "alarms" && dimensions.contains_key("alarm"),
            }
        } else {
            COUNTED_BY_AWS
                .iter()
                .any(|(theirs, names)| theirs == namespace && names.contains(&name.as_str()))
        };
        (!counted).then(|| format!("nobody counts {name} in {namespace}"))
    }

    /// Whether a metric filter of the template counts lines of a log as this metric, without a dimension.
    fn is_counted_by_a_filter(&self, name: &str) -> bool {
        blocks(&self.template).values().any(|lines| {
            let of = |key: &str| {
                lines
                    .iter()
                    .find_map(|line| value(line.trim_start().trim_start_matches("- "), key))
            };
            of("Type") == Some("AWS::Logs::MetricFilter")
                && of("MetricName") == Some(name)
                && of("MetricNamespace") == Some("!Ref AWS::StackName")
                && of("Dimensions").is_none()
        })
    }

    /// What the runbook, the template and the code know of alarms, and the alarms don't; and the other way round.
    fn not_in_step(&self, alarms: &BTreeMap<String, Vec<String>>) -> Vec<String> {
        let mut wrongs = Vec::new();
        let names: BTreeSet<&str> = alarms.keys().map(String::as_str).collect();
        let headings = self.runbook.lines().filter(|line| line.starts_with("## "));
        let words = headings.flat_map(|line| line.split('`').skip(1).step_by(2));
        let described: BTreeSet<&str> = words
            .filter(|word| word.starts_with(|letter: char| letter.is_ascii_uppercase()))
            .collect();
        wrongs.extend(
            names
                .difference(&described)
                .map(|name| format!("{name}: the runbook has no section")),
        );
        wrongs.extend(
            described
                .difference(&names)
                .map(|name| format!("the runbook's section {name} has no alarm")),
        );

        // What the log calls an alarm has one, and a section.
        let watched: BTreeSet<String> = alarms
            .values()
            .flat_map(|lines| metrics(lines))
            .filter_map(|metric| metric.dimensions.get("alarm").cloned())
            .collect();
        for code in self.code.values() {
            for word in code.split("alarm = \"").skip(1) {
                let word = word.split('"').next().unwrap_or_default();
                if !watched.contains(word) {
                    wrongs.push(format!("the log calls {word} an alarm, and none looks at it"));
                }
            }
        }
        // What a program says is counted. What several say is in the shared code: any that opens a token may say it.
        for program in self.code.keys() {
            let resource: String = program.split('-').map(capitalized).collect();
            let code = &self.code[program];
            let shared = ["grant::access::", "Secret::new(", "Secret::of(", "Vault::new("];
            let says_one = code.contains("alarm = \"") || shared.iter().any(|call| code.contains(call));
            let (filter, its_own) = (format!("\n  {resource}Alarms:\n"), "\n  Alarms:\n");
            let is_counted =
                self.template.contains(&filter) || program == "stream-capture" && self.recorder.contains(its_own);
            if program != "shared" && says_one && !is_counted {
                wrongs.push(format!("{program} may say an alarm that no filter counts"));
            }
        }
        for word in &watched {
            if !self.runbook.contains(&format!("`{word}`")) {
                wrongs.push(format!("the runbook does not know {word}"));
            }
        }

        // The nested stack is given all that it takes.
        let parameters = self.alarms.split("\nParameters:\n").nth(1).unwrap_or_default();
        let parameters = parameters.split("\n\n").next().unwrap_or_default();
        for line in parameters.lines() {
            let name = line.trim().split(':').next().unwrap_or_default();
            if !self.template.contains(&format!("\n        {name}: ")) {
                wrongs.push(format!("the template does not say what {name} is"));
            }
        }
        wrongs
    }
}

fn capitalized(word: &str) -> String {
    let (first, rest) = word.split_at(1);
    first.to_uppercase() + rest
}

/// The resources of a template, each with its lines.
fn blocks(template: &str) -> BTreeMap<String, Vec<String>> {
    let (_, resources) = template
        .split_once("\nResources:\n")
        .expect("the template has resources");
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut name = String::new();
    for line in resources.lines().take_while(|line| *line != "Outputs:") {
        let opening = line.strip_prefix("  ").and_then(|rest| rest.strip_suffix(':'));
        match opening.filter(|opening| !opening.starts_with([' ', '#'])) {
            Some(opening) => opening.clone_into(&mut name),
            None if name.is_empty() => {}
            None => found.entry(name.clone()).or_default().push(line.to_owned()),
        }
    }
    assert!(!found.is_empty(), "the template was read");
    found
}

fn value<'l>(line: &'l str, key: &str) -> Option<&'l str> {
    line.trim().strip_prefix(key)?.strip_prefix(": ")
}

/// The metrics that an alarm looks at: the three lines of each stand together.
fn metrics(lines: &[String]) -> Vec<Metric> {
    let mut found: Vec<Metric> = Vec::new();
    for line in lines {
        if let Some(namespace) = value(line, "Namespace") {
            found.push(Metric {
                namespace: namespace.to_owned(),
                ..Metric::default()
            });
        } else if let (Some(name), Some(metric)) = (value(line, "MetricName"), found.last_mut()) {
            name.clone_into(&mut metric.name);
        } else if let (Some(dimensions), Some(metric)) = (value(line, "Dimensions"), found.last_mut()) {
            for one in dimensions.split("{ Name: ").skip(1) {
                let (name, rest) = one.split_once(", Value: ").expect("a dimension has a value");
                let value = rest.rsplit_once(" }").map_or(rest, |(value, _)| value);
                metric.dimensions.insert(name.to_owned(), value.to_owned());
            }
        }
    }
    found
}

/// The code of all files below a folder, without comments and tests.
fn code_below(folder: &Path) -> String {
    let mut found = String::new();
    let mut waiting: Vec<PathBuf> = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = fs::read_to_string(&path).expect("a source");
                let source = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
                let lines = source.lines().filter(|line| !line.trim_start().starts_with("//"));
                found.extend(lines.flat_map(|line| [line, "\n"]));
            }
        }
    }
    found
}

#[test]
fn each_alarm_looks_at_what_is_counted_tells_somebody_knows_missing_data_and_has_its_section() {
    let house = House::read();
    assert_eq!(house.wrongs(), Vec::<String>::new());
    assert!(blocks(&house.alarms).len() > 40, "the alarms were read");
}

#[test]
fn an_alarm_that_is_not_as_it_should_be_is_noticed() {
    let house = House::read();
    type Break = fn(&mut House);
    let replaced: [(&str, Break); 12] = [
        ("nobody counts gateway_too_large", |house| {
            house.template = house
                .template
                .replace("MetricName: gateway_too_large", "MetricName: too_large");
        }),
        ("partner-api may say an alarm that no filter counts", |house| {
            house.template = house.template.replace("  PartnerApiAlarms:", "  PartnerApiWarnings:");
        }),
        ("nobody counts signatures_refusd", |house| {
            house.alarms = house.alarms.replace("signatures_refused", "signatures_refusd");
        }),
        ("alarms has no alarm relink", |house| {
            house.alarms = house.alarms.replace("Value: relink_required", "Value: relink");
        }),
        ("nobody counts Latencies in AWS/ApiGateway", |house| {
            house.alarms = house.alarms.replace("MetricName: Latency", "MetricName: Latencies");
        }),
        ("Count has no Resource /ring/hook", |house| {
            house.alarms = house.alarms.replace("Value: /ring/webhook", "Value: /ring/hook");
        }),
        ("has no service media-fetch", |house| {
            house.template = house
                .template
                .replace("METRICS_NAMESPACE: !Ref AWS::StackName\n          PRIVACY", "PRIVACY");
        }),
        ("tells nobody", |house| {
            house.alarms = house.alarms.replacen("AlarmActions:", "OKActions:", 1);
        }),
        ("does not say what missing data are", |house| {
            house.alarms = house.alarms.replacen("TreatMissingData: notBreaching", "", 1);
        }),
        ("RescueHolds: the runbook has no section", |house| {
            house.runbook = house.runbook.replace("`RescueHolds`", "the rescue queue");
        }),
        ("the runbook's section Somewhat has no alarm", |house| {
            house.runbook.push_str("\n## `Somewhat`: it is somewhat\n");
        }),
        ("the log calls odd an alarm", |house| {
            house
                .code
                .get_mut("shared")
                .expect("shared")
                .push_str("alarm = \"odd\"");
        }),
    ];
    for (expected, breaks) in replaced {
        let mut broken = house.clone();
        breaks(&mut broken);
        let wrongs = broken.wrongs();
        assert!(
            wrongs.iter().any(|wrong| wrong.contains(expected)),
            "{expected:?} is not among {wrongs:#?}"
        );
    }
}

/// A line of the log that CloudWatch reads as metrics has a hundred of them at most; sixty leave room, and are more than anybody looks at.
#[test]
fn all_that_is_counted_anywhere_fits_into_one_line() {
    let house = House::read();
    let mut names = BTreeSet::new();
    for code in house.code.values() {
        for call in [".count(", ".time(", ".percent("] {
            let arguments = code.split(call).skip(1);
            let literals = arguments.filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next());
            names.extend(literals.filter(|name| name.contains('_')).map(str::to_owned));
        }
    }
    assert!((20..=60).contains(&names.len()), "{names:?}");
    let code = &house.code["shared"];
    assert!(
        code.contains("\"Dimensions\": [[\"service\"]]"),
        "the program is the one dimension"
    );
    assert_eq!(
        code.matches("\"Dimensions\"").count(),
        1,
        "one place alone says what a dimension is"
    );
}
