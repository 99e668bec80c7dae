//! The dashboards of `infra/dashboards.yaml`: one for each walk, and each widget shows what somebody counts.

use serde_json::Value;

use super::{House, Metric};

/// The walks, each with a dashboard.
const WALKS: [&str; 5] = ["Capture", "Event", "Link", "Media", "Refresh"];

/// Walk -> what its dashboard shows.
pub(super) fn dashboards(template: &str) -> Vec<(String, Value)> {
    let blocks = template.split("    Type: AWS::CloudWatch::Dashboard\n");
    let names = blocks.clone().map(|block| {
        let name = block.lines().rfind(|line| line.ends_with(':'));
        name.unwrap_or_default().trim().trim_end_matches(':').to_owned()
    });
    let bodies = blocks.skip(1).map(|block| {
        let (_, body) = block
            .split_once("      DashboardBody: !Sub |\n")
            .expect("it has a body");
        let lines: Vec<_> = body.lines().take_while(|line| line.starts_with("        ")).collect();
        serde_json::from_str(&lines.join("\n")).unwrap_or_else(|error| panic!("{error}: {lines:?}"))
    });
    names.zip(bodies).collect()
}

/// A line of a widget, in the words of the alarms' template.
fn metric(line: &Value) -> Metric {
    let words: Vec<&str> = line
        .as_array()
        .expect("a line")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let in_its_words = |name: &str, value: &str| match name {
        "FunctionName" => format!("!Sub \"{value}\""),
        "QueueName" | "ApiId" => {
            let named = value.strip_prefix("${").and_then(|value| value.strip_suffix('}'));
            format!("!Ref {}", named.expect("a parameter"))
        }
        _ => value.to_owned(),
    };
    let dimensions = words[2..].chunks(2);
    Metric {
        namespace: words[0].replace("${Stack}", "!Ref Stack"),
        name: words[1].to_owned(),
        dimensions: dimensions
            .map(|pair| (pair[0].to_owned(), in_its_words(pair[0], pair[1])))
            .collect(),
    }
}

/// Everything that is not as it should be.
fn wrongs(house: &House, template: &str) -> Vec<String> {
    let mut wrongs = Vec::new();
    let dashboards = dashboards(template);
    let mut walks: Vec<&str> = dashboards.iter().map(|(walk, _)| walk.as_str()).collect();
    walks.sort_unstable();
    if walks != WALKS {
        wrongs.push(format!("the walks are {walks:?}"));
    }
    let mut counting = house.counting();
    counting.insert(local::RECORDER.to_owned());
    for (walk, body) in &dashboards {
        let widgets = body["widgets"].as_array().expect("widgets");
        let lines = widgets
            .iter()
            .flat_map(|widget| widget["properties"]["metrics"].as_array().into_iter().flatten());
        let mut shown = 0;
        for line in lines {
            shown += 1;
            wrongs.extend(
                house
                    .nobody_counts(&metric(line), &counting)
                    .map(|why| format!("{walk}: {why}")),
            );
            for private in ["account", "device", "user"] {
                if metric(line)
                    .dimensions
                    .keys()
                    .any(|name| name.to_lowercase().contains(private))
                {
                    wrongs.push(format!("{walk}: a dimension is about a {private}"));
                }
            }
        }
        if shown < widgets.len() {
            wrongs.push(format!("{walk}: a widget shows nothing"));
        }
    }
    let nested = house.template.split("      Location: infra/dashboards.yaml\n").nth(1);
    let given = nested.unwrap_or_default().split("\n\n").next().unwrap_or_default();
    let parameters = template.split("\nParameters:\n").nth(1).unwrap_or_default();
    for line in parameters.split("\n\n").next().unwrap_or_default().lines() {
        let name = line.trim().split(':').next().unwrap_or_default();
        if !given.contains(&format!("        {name}: ")) {
            wrongs.push(format!("the template does not say what {name} is"));
        }
    }
    wrongs
}

pub(super) fn template() -> String {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(root.join("../infra/dashboards.yaml")).expect("the dashboards")
}

#[test]
fn each_walk_has_a_dashboard_whose_widgets_show_what_is_counted() {
    assert_eq!(wrongs(&House::read(), &template()), [""; 0]);
}

#[test]
fn a_widget_that_shows_nothing_anybody_counts_is_noticed() {
    let house = House::read();
    for (this, that) in [
        ("\"events_recorded\"", "\"events_written\""),
        ("\"service\", \"canary\"", "\"service\", \"portal\""),
        ("/ring/webhook", "/ring/webhooks"),
        ("${Stack}-token-refresh", "${Stack}-token-refresher"),
        ("AWS/SQS", "AWS/SNS"),
        ("  Link:\n", "  Links:\n"),
        ("  HttpApi:", "  HttpsApi:"),
    ] {
        let template = template();
        assert!(template.contains(this), "{this}");
        assert_ne!(wrongs(&house, &template.replace(this, that)), [""; 0], "{that}");
    }
}
