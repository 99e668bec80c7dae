//! What the papers say of the stack is so.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

pub(crate) fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Each parameter of the template with what stands between it and the next.
fn parameters(template: &str) -> BTreeMap<String, String> {
    let block = template.split("\nParameters:\n").nth(1).expect("parameters");
    let block = block.split("\nRules:\n").next().expect("what comes after them");
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    let mut name = String::new();
    for line in block.lines() {
        let named = line.strip_prefix("  ").filter(|rest| !rest.starts_with(' '));
        if let Some(named) = named.and_then(|rest| rest.strip_suffix(':')) {
            named.clone_into(&mut name);
        }
        let said = found.entry(name.clone()).or_default();
        said.push_str(line.trim());
        said.push(' ');
    }
    found
}

/// A section of a paper, without its heading.
fn section<'p>(paper: &'p str, heading: &str) -> &'p str {
    let (_, rest) = paper
        .split_once(&format!("\n## {heading}\n"))
        .expect("the section is there");
    rest.split("\n## ").next().unwrap_or_default()
}

/// The rows of its table that begin with code.
fn rows(section: &str) -> impl Iterator<Item = &str> {
    section.lines().filter(|line| line.starts_with("| `"))
}

#[test]
fn each_command_of_the_guide_to_deploying_is_run_by_a_test_or_said_not_to_be() {
    let guide = read("docs/deploy.md");
    let (before, _) = guide
        .split_once("\n## Which of these commands")
        .expect("the last section");
    // Whichever stack it is about.
    let plain = |text: &str| {
        text.replace(" --stack ring-staging", "")
            .replace(" --stack ring-prod", "")
    };
    let said: BTreeMap<String, &str> = rows(section(&guide, "Which of these commands are run by tests"))
        .map(|row| {
            let (command, by) = row.trim_matches(['|', ' ']).split_once(" | ").expect("two cells");
            (command.trim_matches('`').to_owned(), by)
        })
        .collect();
    let (all, text) = (sources(), plain(before));
    for (command, by) in &said {
        assert!(text.contains(command.as_str()), "{command} is not in the guide");
        let tests: Vec<&str> = by.split('`').skip(1).step_by(2).collect();
        let runs = !tests.is_empty()
            && tests
                .iter()
                .all(|test| test.starts_with('.') || all.contains(&format!("fn {test}(")));
        assert!(runs || by.starts_with("not run: "), "{command}: {by}");
    }
    let typed = text.lines().filter_map(|line| line.strip_prefix("$ "));
    let typed: Vec<&str> = typed.flat_map(|line| line.split(" && ")).collect();
    assert!(typed.len() > 10, "they were read: {typed:?}");
    for command in typed {
        let known = said.keys().any(|known| command.starts_with(known.as_str()));
        assert!(known, "{command}: who runs it?");
    }
}

#[test]
fn the_guide_to_deploying_has_every_parameter_of_the_template_with_its_default_and_its_own_words() {
    let template = parameters(&read("template.yaml"));
    assert!(template.len() > 40, "they were read: {template:?}");
    let guide = read("docs/deploy.md");
    let rows: BTreeMap<&str, (&str, &str)> = rows(section(&guide, "Parameters"))
        .map(|row| {
            let mut cells = row.trim_matches('|').split(" | ");
            let mut next = || cells.next().unwrap_or_default().trim();
            let name = next().trim_matches(['`', ' ']);
            (name, (next(), next().trim_end_matches(" |").trim()))
        })
        .collect();
    let names: Vec<_> = rows.keys().copied().collect();
    assert_eq!(names, template.keys().map(String::as_str).collect::<Vec<_>>());
    for (name, said) in &template {
        let (default, words) = rows[name.as_str()];
        let expected = said.split("Default: ").nth(1).map_or("needed", |rest| {
            rest.split(' ').next().unwrap_or_default().trim_matches('"')
        });
        assert_eq!(default.trim_matches('`'), expected, "{name}");
        assert!(!words.is_empty() && said.contains(words), "{name}: {words}");
    }
}

#[test]
fn each_defence_of_the_threat_model_is_shown_by_a_test_that_exists() {
    let model = read("docs/threat-model.md");
    let rows = model
        .lines()
        .filter(|line| line.starts_with("| ") && line.matches(" | ").count() == 2);
    let shown = rows.filter_map(|row| row.rsplit(" | ").next());
    let named: Vec<_> = shown
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .filter(|name| name.matches('_').count() > 3)
        .collect();
    assert!(named.len() > 25, "{named:?}");
    let sources = sources();
    for name in named {
        assert!(
            sources.lines().any(|line| line.contains("fn ") && line.contains(name)),
            "no test is called {name}"
        );
    }
}

/// What a paper refers to: the targets of its links, and the files and tests that it names.
fn referred_to(paper: &str) -> (Vec<&str>, Vec<&str>) {
    let links = paper.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let links = links.filter(|link| !link.starts_with("http"));
    let named = paper.split('`').skip(1).step_by(2);
    (links.collect(), named.collect())
}

#[test]
fn each_file_and_test_that_the_index_and_the_guide_to_extending_name_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let (mut wrong, sources) = (Vec::new(), sources());
    for paper in ["docs/README.md", "docs/extending.md", "docs/dashboards.md"] {
        let text = read(paper);
        let (links, named) = referred_to(&text);
        assert!(!links.is_empty(), "{paper} was read");
        for link in links {
            let file = link.split('#').next().unwrap_or_default();
            if !root.join("docs").join(file).exists() {
                wrong.push(format!("{paper}: {link}"));
            }
        }
        for word in named {
            let is_file = ["functions/", "shared/", "tests/", "docs/"]
                .iter()
                .any(|start| word.starts_with(start));
            if is_file && !root.join(word).exists() {
                wrong.push(format!("{paper}: {word}"));
            }
            let is_test = word.contains('_') && word.len() > 30 && !word.contains(['/', ':', '.', ' ']);
            if is_test && !sources.contains(&format!("fn {word}(")) {
                wrong.push(format!("{paper}: no test {word}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The sources of the system tests, and of what has its tests beside it.
fn sources() -> String {
    let mut sources = String::new();
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![tests.join("it"), tests.join("../shared/src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                sources.push_str(&fs::read_to_string(path).expect("a source"));
            }
        }
    }
    sources
}
