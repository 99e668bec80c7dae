//! Who may do what: the table in `docs/rights.md` and the roles of the template say the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// One action of one program on one thing, under a condition or none.
type Right = [String; 4];

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The rights that a template's roles give.
fn given(template: &str) -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    let (mut program, mut key) = (String::new(), String::new());
    let (mut actions, mut things, mut condition) = (Vec::new(), Vec::new(), String::new());
    let mut is_alternative = false;
    for line in template.lines().chain(["  End:"]) {
        let text = line.split(" # ").next().unwrap_or_default().trim();
        if text.starts_with('#') {
            continue;
        }
        let ends = text.starts_with("- Effect:") || (line.starts_with("  ") && !line.starts_with("   "));
        if ends {
            for action in &actions {
                for thing in &things {
                    rights.insert([
                        program.clone(),
                        String::clone(action),
                        String::clone(thing),
                        condition.clone(),
                    ]);
                }
            }
            (actions, things, condition) = (Vec::new(), Vec::new(), String::new());
            key.clear();
            is_alternative = false;
            if !text.starts_with("- Effect:") {
                program.clear();
            }
        }
        if let Some(name) = text.strip_prefix("- PolicyName: ") {
            name.clone_into(&mut program);
        } else if program.is_empty() {
        } else if let Some((name, rest)) = text
            .split_once(": ")
            .filter(|(name, _)| *name == "Action" || *name == "Resource")
        {
            name.clone_into(&mut key);
            if name == "Action" {
                actions = list(rest);
            } else {
                things = list(rest).iter().map(|thing| named(thing)).collect();
            }
        } else if text == "Action:" || text == "Resource:" || text == "Condition:" {
            text.trim_end_matches(':').clone_into(&mut key);
        } else if let Some(item) = text.strip_prefix("- ") {
            match key.as_str() {
                "Action" => actions.push(item.to_owned()),
                // Of the two tables of grants the stack's own is named; the other one stands in its place.
                "Resource" if item == "!If" => is_alternative = true,
                // A condition's name, and what stands where it does not hold.
                "Resource" if item == "GrantsAreRestored" || item == "LooksAtTokenUrlSignature" => {}
                "Resource" if item == "!Ref AWS::NoValue" => {}
                "Resource" if is_alternative && item.contains("RestoredGrantsTable") => is_alternative = false,
                "Resource" => things.push(named(item)),
                _ => {}
            }
        } else if let Some(equal) = text
            .trim_start_matches("ForAllValues:")
            .strip_prefix("StringEquals: ")
            .filter(|_| key == "Condition")
        {
            equal
                .trim_matches(['{', '}', ' '])
                .replace('"', "")
                .clone_into(&mut condition);
        }
    }
    rights
}

/// `[a, b]` or `a`.
fn list(text: &str) -> Vec<String> {
    match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        Some(items) => items.split(", ").map(str::to_owned).collect(),
        None => vec![text.to_owned()],
    }
}

/// `!GetAtt EventsTable.Arn` -> `EventsTable`, `!Sub "${MediaBucket.Arn}/*"` -> `MediaBucket/*`; of an alternative the last.
fn named(thing: &str) -> String {
    let last = thing.trim_end_matches(']').rsplit("!GetAtt ").next().unwrap_or(thing);
    let last = last.rsplit("!Sub ").next().unwrap_or(last).trim_matches('"');
    // In a nested template a thing is known by its name alone.
    let last = last.rsplit("${AWS::AccountId}:").next().unwrap_or(last);
    let last = last.rsplit(":s3:::").next().unwrap_or(last);
    let last = ["!Ref ", "table/", "event-bus/", "function:"]
        .iter()
        .fold(last, |last, kind| last.strip_prefix(kind).unwrap_or(last));
    last.replace("${", "")
        .replace('}', "")
        .replace(".Arn", "")
        .trim_end_matches(".Id")
        .to_owned()
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
    let mut given_by_both = given(&read("template.yaml"));
    given_by_both.extend(given(&read("infra/capture.yaml")));
    let (given, listed) = (given_by_both, listed(&read("docs/rights.md")));
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
    let template = read("template.yaml");
    let before = given(&template);
    for (from, to) in [
        (
            "Action: kms:GenerateDataKey",
            "Action: [kms:GenerateDataKey, kms:Decrypt]",
        ),
        ("[access, refresh, nonce]", "[access, refresh]"),
        ("${MediaBucket.Arn}/quarantine/*", "${MediaBucket.Arn}/*"),
        ("                  - !GetAtt CapturesQueue.Arn\n", ""),
        ("                  - sqs:ReceiveMessage\n", ""),
    ] {
        let changed = template.replacen(from, to, 1);
        assert_ne!(changed, template, "{from}");
        assert_ne!(given(&changed), before, "{from}");
    }
}
