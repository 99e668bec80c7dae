//! Pictures of the dashboards, drawn of what the emulator has counted: `PICTURES=1` has them written to docs/dashboards.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use local::outside::{Home, schedule_at};
use local::{Failure, Life, Stack};
use reqwest::Method;
use serde_json::{Value, json};
use shared::edge::clock;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use super::dashboards;
use super::faults::{ask, ringing};

const WIDTH: i64 = 560;
const HEIGHT: i64 = 210;
/// For how long back, and in which steps, in seconds.
const SECONDS: i64 = 300;
const STEP: i64 = 10;
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// How long it is an ordinary day, after the faults.
const ORDINARY: Duration = Duration::from_secs(210);
/// How often then somebody else links, tokens are renewed, a canary is sent and a capture asked for.
const EACH: Duration = Duration::from_secs(15);

/// One line of a widget: its words, and its values by the minute.
struct Series {
    label: String,
    points: Vec<(i64, f64)>,
}

/// Some minutes of any day: motion and the bell in a home, with their pictures and clips, people who link, renewals, canaries, and
/// a recorder at work.
pub(super) async fn ordinary_minutes(stack: &Stack) -> Result<(), Failure> {
    let life = Life::begin(stack).await?;
    let looked = stack.request(Method::GET, "/ring/home").send().await;
    looked.expect("somebody opens the console");
    let recorder = stack.recorder();
    let mut recorder = Command::new(&recorder.program);
    let recorder = recorder.env_clear().envs(&stack.recorder().environment);
    let mut recorder = recorder
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    let mut said = BufReader::new(recorder.stdout.take().expect("its lines")).lines();
    let counts = async {
        while let Ok(Some(line)) = said.next_line().await {
            count(stack, &line).await;
        }
    };
    let people = async {
        for day in 1.. {
            let home = Home::linked(stack, &json!([{ "preset": "doorbell", "live": {} }])).await?;
            for device in home.device_ids().await?.values() {
                let route = format!("/v1/devices/{device}/captures");
                home.call(Method::POST, &route, Some(&json!({ "duration": 10_000 })))
                    .await?;
            }
            stack.invoke("canary", &schedule_at(clock::now())).await?;
            let later = jiff::SignedDuration::from_hours(25 * day);
            stack
                .invoke("token-refresh", &schedule_at(clock::now() + later))
                .await?;
            // Queues are counted when somebody looks at the alarms.
            ringing(stack, &stack.outputs().stack_name).await?;
            tokio::time::sleep(EACH).await;
        }
        Ok(())
    };
    tokio::select! {
        failure = life.go_on() => Err(failure),
        wrong = people => wrong,
        () = counts => Err(Failure::new("The recorder has ended")),
        () = tokio::time::sleep(ORDINARY) => Ok(()),
    }
}

/// What a line of the recorder's counts, counted as CloudWatch would: no function's log has it.
async fn count(stack: &Stack, line: &str) {
    let Ok(line) = serde_json::from_str::<Value>(line) else {
        return;
    };
    let Some(directive) = line["_aws"]["CloudWatchMetrics"].get(0) else {
        return;
    };
    let dimensions = json!([{ "Name": "service", "Value": line["service"] }]);
    for metric in directive["Metrics"].as_array().into_iter().flatten() {
        let name = metric["Name"].as_str().unwrap_or_default();
        let values = line[name]
            .as_array()
            .cloned()
            .unwrap_or_else(|| vec![line[name].clone()]);
        let data = values
            .iter()
            .map(|value| json!({ "MetricName": name, "Dimensions": dimensions, "Value": value }));
        let counts = json!({ "Namespace": directive["Namespace"], "MetricData": data.collect::<Vec<_>>() });
        ask(stack, "PutMetricData", &counts).await;
    }
}

/// Draws each dashboard as the stack stands now.
pub(super) async fn draw(stack: &Stack) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/dashboards");
    fs::create_dir_all(&folder).expect("a folder");
    for (walk, body) in dashboards::dashboards(&dashboards::template()) {
        let mut drawn = String::new();
        let widgets = body["widgets"].as_array().expect("widgets");
        for (index, widget) in (0_i64..).zip(widgets) {
            let mut all = Vec::new();
            for line in widget["properties"]["metrics"].as_array().into_iter().flatten() {
                all.push(counted(stack, line).await);
            }
            let title = widget["properties"]["title"].as_str().unwrap_or_default();
            drawn += &widget_of(title, &all, index % 2 * WIDTH, index / 2 * HEIGHT);
        }
        let rows = i64::try_from(widgets.len().div_ceil(2)).unwrap_or(1);
        let picture = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"11\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{drawn}</svg>\n",
            2 * WIDTH,
            rows * HEIGHT,
        );
        fs::write(folder.join(format!("{}.svg", walk.to_lowercase())), picture).expect("it is written");
    }
}

/// What was counted of one line in the last minutes.
async fn counted(stack: &Stack, line: &Value) -> Series {
    let outputs = stack.outputs();
    let in_this_stack = |word: &str| {
        let word = word.replace("${Stack}", &outputs.stack_name);
        let api = outputs.api_host.split('.').next().unwrap_or_default();
        let word = word.replace("${HttpApi}", api);
        let queue = word.strip_prefix("${").and_then(|word| word.strip_suffix('}'));
        let queue = queue.map(|name| name.trim_end_matches("Queue").replace("Dlq", "_dlq").to_lowercase());
        match queue.and_then(|name| outputs.queues.get(&name)) {
            Some(url) => url.rsplit('/').next().unwrap_or_default().to_owned(),
            None => word,
        }
    };
    let words: Vec<String> = line
        .as_array()
        .expect("a line")
        .iter()
        .filter_map(Value::as_str)
        .map(in_this_stack)
        .collect();
    let stat = line
        .as_array()
        .and_then(|line| line.last())
        .and_then(|last| last["stat"].as_str());
    let stat = stat.expect("a statistic");
    // As the template has it: names that the stack has given say nothing to a reader.
    let of = line
        .as_array()
        .and_then(|line| line.iter().rev().find_map(Value::as_str));
    let of = of.unwrap_or_default().trim_start_matches("${Stack}-");
    let of = of.trim_start_matches("${").trim_end_matches('}');
    let dimensions: Vec<_> = words[2..]
        .chunks(2)
        .map(|pair| json!({"Name": pair[0], "Value": pair[1]}))
        .collect();
    let now = clock::now().as_second();
    let metric = json!({"Namespace": words[0], "MetricName": words[1], "Dimensions": dimensions});
    let query = json!({"Id": "m", "MetricStat": {"Metric": metric, "Period": STEP, "Stat": stat}});
    let question = json!({"MetricDataQueries": [query], "StartTime": now - SECONDS, "EndTime": now + STEP,
                          "ScanBy": "TimestampAscending"});
    let answer = ask(stack, "GetMetricData", &question).await;
    let found = &answer["MetricDataResults"][0];
    let times = found["Timestamps"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_f64);
    let values = found["Values"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_f64);
    Series {
        label: format!("{} ({stat}) of {of}", words[1]),
        points: times.map(|time| time as i64 - now).zip(values).collect(),
    }
}

/// One widget, at its place.
fn widget_of(title: &str, all: &[Series], x: i64, y: i64) -> String {
    let (left, top, wide, high) = (x + 44, y + 28, WIDTH - 60, 80_i64);
    let highest = all
        .iter()
        .flat_map(|series| &series.points)
        .map(|(_, value)| *value)
        .fold(1.0, f64::max);
    let mut drawn = String::new();
    let _ = writeln!(
        drawn,
        "<text x=\"{}\" y=\"{}\" font-weight=\"bold\">{title}</text>",
        x + 12,
        y + 18
    );
    let _ = writeln!(
        drawn,
        "<path d=\"M{left} {top}v{high}h{wide}\" fill=\"none\" stroke=\"#888\"/>\
         <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{highest:.0}</text>\
         <text x=\"{}\" y=\"{}\" text-anchor=\"end\">0</text>",
        left - 4,
        top + 8,
        left - 4,
        top + high,
    );
    for (index, (series, colour)) in (0_i64..).zip(all.iter().zip(COLOURS)) {
        let at = |(time, value): &(i64, f64)| {
            let across = left as f64 + wide as f64 * (1.0 + *time as f64 / SECONDS as f64);
            let down = (top + high) as f64 - high as f64 * value.max(0.0) / highest;
            (across.clamp(left as f64, (left + wide) as f64), down)
        };
        let points: Vec<_> = series.points.iter().map(at).collect();
        let path: Vec<_> = points
            .iter()
            .map(|(across, down)| format!("{across:.1},{down:.1}"))
            .collect();
        let _ = writeln!(
            drawn,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>",
            path.join(" ")
        );
        for (across, down) in points {
            let _ = writeln!(
                drawn,
                "<circle cx=\"{across:.1}\" cy=\"{down:.1}\" r=\"2.5\" fill=\"{colour}\"/>"
            );
        }
        let (across, down) = (left, top + high + 15 + index * 13);
        let _ = writeln!(
            drawn,
            "<text x=\"{across}\" y=\"{down}\" fill=\"{colour}\">{}</text>",
            series.label
        );
    }
    drawn
}
