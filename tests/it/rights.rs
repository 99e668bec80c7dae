//! Who may do what: the table in `docs/rights.md` and the roles of the template say the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::templates;

/// One action of one program on one thing, under a condition or none.
type Right = [String; 4];

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The rights that a template's roles give.
fn given(template: &Value) -> BTreeSet<Right> {
    let resources = template["Resources"].as_object().expect("resources");
    let roles = resources.values().filter(|one| one["Type"] == "AWS::IAM::Role");
    let policies = roles.flat_map(|role| list(&role["Properties"]["Policies"]));
    let mut rights = BTreeSet::new();
    for policy in policies {
        for statement in list(&policy["PolicyDocument"]["Statement"]) {
            assert_eq!(statement["Effect"], "Allow", "{statement}");
            let things: BTreeSet<_> = list(&statement["Resource"]).into_iter().filter_map(named).collect();
            for action in list(&statement["Action"]) {
                rights.extend(things.iter().map(|thing| {
                    let texts = [&policy["PolicyName"], action].map(text);
                    let [program, action] = texts;
                    [program, action, thing.clone(), condition(&statement["Condition"])]
                }));
            }
        }
    }
    rights
}

/// One or many; of an alternative, both.
fn list(value: &Value) -> Vec<&Value> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(items) => items.iter().flat_map(list).collect(),
        Value::Object(_) if value["Ref"] == "AWS::NoValue" => Vec::new(),
        Value::Object(fields) => match fields.get("Fn::If").and_then(Value::as_array) {
            Some(alternative) => alternative[1..].iter().flat_map(list).collect(),
            None => vec![value],
        },
        one => vec![one],
    }
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("not a text: {value}"))
        .to_owned()
}

/// What a statement is about: the name of a thing, and what of it. A restored table stands in the place of the stack's own.
fn named(thing: &Value) -> Option<String> {
    let name = if let Some(of) = thing["Fn::GetAtt"].as_array() {
        text(&of[0])
    } else if let Some(name) = thing["Ref"].as_str() {
        name.to_owned()
    } else {
        // `${MediaBucket.Arn}/*`, and in a nested template, where a thing is known by its name alone, its whole ARN.
        let arn = thing.get("Fn::Sub").map_or_else(|| text(thing), text);
        let last = arn.rsplit("${AWS::AccountId}:").next().unwrap_or(&arn);
        let last = last.rsplit(":s3:::").next().unwrap_or(last);
        let last = ["table/", "event-bus/", "function:"]
            .iter()
            .fold(last, |last, kind| last.strip_prefix(kind).unwrap_or(last));
        last.replace("${", "").replace('}', "").replace(".Arn", "")
    };
    (!name.starts_with("RestoredGrantsTable")).then_some(name)
}

/// `key: value`, for each key that must be equal to one of its values.
fn condition(condition: &Value) -> String {
    let operators = condition.as_object().into_iter().flatten();
    let keys = operators.flat_map(|(operator, keys)| {
        assert!(operator.ends_with("StringEquals"), "{operator}");
        keys.as_object().into_iter().flatten()
    });
    let equal = keys.map(|(key, value)| match list(value).as_slice() {
        [one] => format!("{key}: {}", text(one)),
        many => {
            let many: Vec<_> = many.iter().map(|one| text(one)).collect();
            format!("{key}: [{}]", many.join(", "))
        }
    });
    equal.collect::<Vec<_>>().join(", ")
}

/// The rights that the table lists.
fn listed(document: &str) -> BTreeSet<Right> {
    let rows = document.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let mut cells = row
            .trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().replace('`', ""));
        [(); 4].map(|()| cells.next().expect("four cells"))
    })
    .collect()
}

#[test]
fn the_roles_give_the_rights_that_the_table_lists_and_no_others() {
    let expanded = templates::expanded();
    let given: BTreeSet<_> = ["template", "infra-capture"]
        .iter()
        .flat_map(|name| given(&expanded[*name]))
        .collect();
    let listed = listed(&read("docs/rights.md"));
    assert!(given.len() > 100, "the roles were read: {}", given.len());
    let row = |[program, action, thing, condition]: &Right| {
        let condition = if condition.is_empty() {
            String::new()
        } else {
            format!("`{condition}`")
        };
        format!("| `{program}` | `{action}` | `{thing}` | {condition} |")
    };
    let rows = |rights: Vec<&Right>| rights.into_iter().map(row).collect::<Vec<_>>().join("\n");
    let unlisted = rows(given.difference(&listed).collect());
    assert!(
        unlisted.is_empty(),
        "given, and not listed in docs/rights.md:\n{unlisted}"
    );
    let not_given = rows(listed.difference(&given).collect());
    assert!(
        not_given.is_empty(),
        "listed in docs/rights.md, and not given:\n{not_given}"
    );
}

#[test]
fn a_right_that_is_added_taken_away_or_widened_is_noticed() {
    let template = &templates::expanded()["template"];
    let (before, written) = (given(template), template.to_string());
    for (from, to) in [
        (
            r#""Action":"kms:GenerateDataKey""#,
            r#""Action":["kms:GenerateDataKey","kms:Decrypt"]"#,
        ),
        (r#"["access","refresh","nonce"]"#, r#"["access","refresh"]"#),
        ("${MediaBucket.Arn}/quarantine/*", "${MediaBucket.Arn}/*"),
        (r#",{"Fn::GetAtt":["CapturesQueue","Arn"]}"#, ""),
        (r#""sqs:ReceiveMessage","#, ""),
    ] {
        let changed = written.replacen(from, to, 1);
        assert_ne!(changed, written, "{from}");
        let changed = serde_json::from_str(&changed).expect("still a template");
        assert_ne!(given(&changed), before, "{from}");
    }
}
