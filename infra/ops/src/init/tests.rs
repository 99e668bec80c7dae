//! Dialogues over the project's own template.

use super::*;

const TEMPLATE: &str = include_str!("../../../../template.yaml");

fn template() -> Template {
    Template::parse(TEMPLATE).unwrap()
}

/// What was answered, what of it would be written, and what was asked.
fn answered(answers: &str, all: bool, before: &[(&str, &str)]) -> (Result<BTreeMap<String, String>, String>, String) {
    let mut questions = Vec::new();
    let mut dialogue = Dialogue::of(answers.as_bytes(), &mut questions);
    let mut asking = Asking {
        dialogue: Some(&mut dialogue),
        all,
        given: BTreeMap::new(),
        before: before
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        is_deployed: false,
    };
    let template = template();
    let values = asking.values(&template).map(|values| template.changed(values));
    let values = values.map_err(|failure| failure.to_string());
    (values, String::from_utf8(questions).unwrap())
}

/// Nothing but line ends: what is offered is taken.
const AS_OFFERED: &str = "\n\n\n\n\n\n\n\n\n\n\n\n";

/// These answers where a first deployment is asked, and what is offered everywhere else.
fn typed(answers: &[(&str, &str)]) -> String {
    let template = template();
    let asked = template
        .parameters
        .iter()
        .filter(|parameter| parameter.default.is_none() || FIRST.contains(&parameter.name.as_str()));
    let lines = asked.map(|parameter| {
        let answer = answers.iter().find(|(name, _)| *name == parameter.name);
        format!("{}\n", answer.map_or("", |(_, answer)| answer))
    });
    lines.collect()
}

#[test]
fn the_template_is_read_whole_and_has_what_is_asked_for_first() {
    let template = template();
    assert!(template.parameters.len() > 40 && template.rules.len() >= 3);
    for name in FIRST {
        template.parameter(name).unwrap();
    }
    for parameter in &template.parameters {
        assert!(!parameter.description.is_empty(), "{}", parameter.name);
        if let Some(default) = &parameter.default {
            assert_eq!(parameter.complaint(default), None, "a default is a value");
        }
    }
}

#[test]
fn who_takes_what_is_offered_has_a_drawn_key_and_nothing_else_to_write() {
    let (values, questions) = answered(AS_OFFERED, false, &[]);
    let values = values.unwrap();
    assert_eq!(values.keys().collect::<Vec<_>>(), ["TokenUrlKey"]);
    assert!(values["TokenUrlKey"].len() >= 48);
    assert!(!questions.contains(&values["TokenUrlKey"]), "it is not shown");
    let other = answered(AS_OFFERED, false, &[]).0.unwrap();
    assert_ne!(values, other, "each is drawn anew");
    let asked = questions.matches("] > ").count();
    assert_eq!(asked, FIRST.len() + 1, "{questions}");
}

#[test]
fn a_value_that_can_t_be_is_asked_for_again_with_why() {
    let answers = typed(&[("TokenUrlKey", "short\nlong_enough_to_be_a_key")]);
    let (values, questions) = answered(&answers, false, &[]);
    assert_eq!(values.unwrap()["TokenUrlKey"], "long_enough_to_be_a_key");
    assert!(
        questions.contains("TokenUrlKey must be 16 to 128 letters"),
        "{questions}"
    );
    assert!(!questions.contains("long_enough"), "{questions}");
}

#[test]
fn what_a_rule_asks_for_is_asked_for_in_its_own_words() {
    let mut answers = typed(&[("DomainName", "ring.example.com")]);
    answers.push_str("arn:aws:acm:eu-west-1:1:certificate/c\n");
    let (values, questions) = answered(&answers, false, &[]);
    assert_eq!(
        values.unwrap()["DomainCertificateArn"],
        "arn:aws:acm:eu-west-1:1:certificate/c"
    );
    assert!(
        questions.contains("DomainCertificateArn must be given with DomainName."),
        "{questions}"
    );
}

#[test]
fn what_was_answered_before_is_offered_again_and_a_dash_takes_it_away() {
    let before = [
        ("TokenUrlKey", "a_key_that_was_there"),
        ("LogLevel", "debug"),
        ("AlarmTopicArn", "arn:aws:sns:eu-west-1:1:pages"),
        ("GoneSince", "x"),
        ("RemovedMediaDays", "many"),
    ];
    let (values, questions) = answered(AS_OFFERED, false, &before);
    let values = values.unwrap();
    assert_eq!(values["TokenUrlKey"], "a_key_that_was_there");
    assert_eq!(values["LogLevel"], "debug", "what is not asked for stays");
    assert_eq!(values["AlarmTopicArn"], "arn:aws:sns:eu-west-1:1:pages");
    assert!(
        !values.contains_key("GoneSince"),
        "what the template has no more is gone"
    );
    assert!(
        !values.contains_key("RemovedMediaDays"),
        "what can't be any more is gone"
    );
    assert!(!questions.contains("a_key_that_was_there"), "{questions}");
    let (values, _) = answered(
        &typed(&[("AlarmTopicArn", "-"), ("PrivacyRegions", "-")]),
        false,
        &before,
    );
    let values = values.unwrap();
    assert!(!values.contains_key("AlarmTopicArn"));
    assert_eq!(values["PrivacyRegions"], "", "nothing is not the default there");
}

#[test]
fn the_key_of_a_stack_that_is_deployed_stays_as_ring_has_it() {
    let template = template();
    let values = |answers: &'static str| {
        let mut dialogue = Dialogue::of(answers.as_bytes(), Vec::new());
        let mut asking = Asking {
            dialogue: (!answers.is_empty()).then_some(&mut dialogue),
            all: false,
            given: BTreeMap::new(),
            // As CloudFormation shows it.
            before: BTreeMap::from([("TokenUrlKey", "*******************"), ("LogLevel", "warn")])
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            is_deployed: true,
        };
        template.changed(asking.values(&template).unwrap())
    };
    for answers in ["", AS_OFFERED] {
        assert_eq!(
            values(answers),
            BTreeMap::from([("LogLevel".to_owned(), "warn".to_owned())])
        );
    }
    let rotated = values("a_key_of_ours_anew\n\n\n\n\n\n\n\n\n\n\n");
    assert_eq!(rotated["TokenUrlKey"], "a_key_of_ours_anew");
}

#[test]
fn all_asks_for_each_parameter_and_the_end_of_answers_is_no_answer() {
    let (_, questions) = answered(&"\n".repeat(200), true, &[]);
    for parameter in &template().parameters {
        assert!(
            questions.contains(&format!("\n{}: ", parameter.name)),
            "{}",
            parameter.name
        );
    }
    let (values, _) = answered("\n\n", false, &[]);
    assert!(values.unwrap_err().contains("nobody who answers"));
}

#[test]
fn a_script_gives_what_a_rule_asks_for_or_is_told() {
    let template = template();
    let values = |set: &[&str]| {
        let set: Vec<_> = set.iter().map(|pair| (*pair).to_owned()).collect();
        let mut asking = Asking::<&[u8], Vec<u8>> {
            dialogue: None,
            all: false,
            given: given(&set, &template)?,
            before: BTreeMap::new(),
            is_deployed: false,
        };
        asking.values(&template).map(|values| template.changed(values))
    };
    let said = values(&["DomainName=ring.example.com"]).unwrap_err().to_string();
    assert!(
        said.contains("DomainCertificateArn must be given with DomainName"),
        "{said}"
    );
    let both = values(&["DomainName=ring.example.com", "DomainCertificateArn=arn:x"]).unwrap();
    assert_eq!(both.len(), 3, "{both:?}");
    for (wrong, word) in [
        ("LogLevel=loud", "one of error, warn, info, debug"),
        ("Colour=red", "no parameter Colour"),
        ("LogLevel", "NAME=VALUE"),
    ] {
        let said = values(&[wrong]).unwrap_err().to_string();
        assert!(said.contains(word), "{said}");
    }
}
