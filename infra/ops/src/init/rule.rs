//! The template's rules: what some parameters ask of others. They are held here, as CloudFormation will hold them, so that nobody
//! waits for a deployment to hear of it. (AWS CloudFormation: Rules)

use std::collections::BTreeMap;

use saphyr::Yaml;

use super::parameter::text;
use crate::failure::Failure;

/// One rule.
#[derive(Debug)]
pub(super) struct Rule {
    condition: Option<Condition>,
    assertions: Vec<Assertion>,
}

/// What it asserts where its condition holds.
#[derive(Debug)]
pub(super) struct Assertion {
    assert: Condition,
    /// The template's own words.
    pub(super) description: String,
}

/// A function of CloudFormation's that is true or false.
#[derive(Debug)]
enum Condition {
    Not(Box<Condition>),
    And(Vec<Condition>),
    Or(Vec<Condition>),
    Equals(Value, Value),
    /// The second is among the first ones.
    Contains(Vec<Value>, Value),
}

#[derive(Debug)]
enum Value {
    Ref(String),
    Text(String),
}

type Values<'v> = BTreeMap<&'v str, &'v str>;

impl Rule {
    pub(super) fn parse(name: &Yaml<'_>, rule: &Yaml<'_>) -> Result<Self, Failure> {
        let name = text(name).unwrap_or_default();
        let condition = rule.as_mapping_get("RuleCondition");
        let assertions = rule.as_mapping_get("Assertions").and_then(Yaml::as_sequence);
        let assertions = assertions.into_iter().flatten().map(|assertion| {
            let assert = assertion.as_mapping_get("Assert").and_then(Condition::parse)?;
            let description = assertion.as_mapping_get("AssertDescription").and_then(text)?;
            Some(Assertion { assert, description })
        });
        let read = || {
            let assertions: Option<Vec<_>> = assertions.collect();
            Some(Self {
                condition: match condition {
                    Some(condition) => Some(Condition::parse(condition)?),
                    None => None,
                },
                assertions: assertions?,
            })
        };
        read().ok_or_else(|| {
            Failure::new(format!("The template's rule {name} can't be read"))
                .because("it has a function that this tool does not know")
                .advise("use the ops of the template's own version")
        })
    }

    /// The first of its assertions that these values break.
    pub(super) fn broken(&self, values: &Values<'_>) -> Option<&Assertion> {
        if self
            .condition
            .as_ref()
            .is_some_and(|condition| !condition.holds(values))
        {
            return None;
        }
        self.assertions.iter().find(|assertion| !assertion.assert.holds(values))
    }
}

impl Assertion {
    /// The parameters that it is about.
    pub(super) fn about(&self) -> Vec<&str> {
        let mut found = Vec::new();
        self.assert.names(&mut found);
        found
    }
}

impl Condition {
    /// Both of CloudFormation's ways to write one: `!Not [...]` and `{"Fn::Not": [...]}`.
    fn parse(yaml: &Yaml<'_>) -> Option<Self> {
        let (function, arguments) = function(yaml)?;
        let arguments = arguments.as_sequence()?;
        let conditions = || arguments.iter().map(Self::parse).collect::<Option<Vec<_>>>();
        match (function.as_str(), arguments.as_slice()) {
            ("Not", [one]) => Some(Self::Not(Box::new(Self::parse(one)?))),
            ("And", _) => Some(Self::And(conditions()?)),
            ("Or", _) => Some(Self::Or(conditions()?)),
            ("Equals", [one, other]) => Some(Self::Equals(Value::parse(one)?, Value::parse(other)?)),
            ("Contains", [all, one]) => {
                let all = all.as_sequence()?.iter().map(Value::parse);
                Some(Self::Contains(all.collect::<Option<_>>()?, Value::parse(one)?))
            }
            _ => None,
        }
    }

    fn holds(&self, values: &Values<'_>) -> bool {
        match self {
            Self::Not(one) => !one.holds(values),
            Self::And(all) => all.iter().all(|one| one.holds(values)),
            Self::Or(all) => all.iter().any(|one| one.holds(values)),
            Self::Equals(one, other) => one.of(values) == other.of(values),
            Self::Contains(all, one) => all.iter().any(|other| other.of(values) == one.of(values)),
        }
    }

    fn names<'c>(&'c self, found: &mut Vec<&'c str>) {
        let values: Vec<&Value> = match self {
            Self::Not(one) => return one.names(found),
            Self::And(all) | Self::Or(all) => return all.iter().for_each(|one| one.names(found)),
            Self::Equals(one, other) => vec![one, other],
            Self::Contains(all, one) => all.iter().chain([one]).collect(),
        };
        for value in values {
            match value {
                Value::Ref(name) if !found.contains(&name.as_str()) => found.push(name),
                Value::Ref(_) | Value::Text(_) => {}
            }
        }
    }
}

impl Value {
    fn parse(yaml: &Yaml<'_>) -> Option<Self> {
        match function(yaml) {
            Some((function, argument)) if function == "Ref" => text(argument).map(Self::Ref),
            Some(_) => None,
            None => text(yaml).map(Self::Text),
        }
    }

    fn of<'v>(&'v self, values: &Values<'v>) -> &'v str {
        match self {
            Self::Ref(name) => values.get(name.as_str()).copied().unwrap_or_default(),
            Self::Text(text) => text,
        }
    }
}

/// `!Not x`, `Fn::Not: x` and `Ref: x`: the function's name, and what it is given.
fn function<'y>(yaml: &'y Yaml<'y>) -> Option<(String, &'y Yaml<'y>)> {
    match yaml {
        Yaml::Tagged(tag, argument) => Some((tag.suffix.clone(), argument)),
        Yaml::Representation(_, _, Some(tag)) => Some((tag.suffix.clone(), yaml)),
        Yaml::Mapping(mapping) if mapping.len() == 1 => {
            let (name, argument) = mapping.iter().next()?;
            let name = text(name)?;
            Some((name.strip_prefix("Fn::").unwrap_or(&name).to_owned(), argument))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::parameter::Template;
    use super::*;

    const TEXT: &str = r#"
Parameters:
  Mode: { Type: String }
Rules:
  Short:
    RuleCondition: !Not [!Equals [!Ref Mode, "off"]]
    Assertions:
      - Assert: !And [!Not [!Equals [!Ref Image, ""]], !Or [!Equals [!Ref Size, "1"], !Contains [["2", "3"], !Ref Size]]]
        AssertDescription: An image, and a size.
  Long:
    Assertions:
      - Assert: { "Fn::Not": [{ "Fn::Equals": [{ Ref: Mode }, never] }] }
        AssertDescription: Not never.
"#;

    #[test]
    fn a_rule_is_held_as_cloudformation_holds_it() {
        let rules = Template::parse(TEXT).unwrap().rules;
        let broken = |mode, image, size| {
            let values = BTreeMap::from([("Mode", mode), ("Image", image), ("Size", size)]);
            let broken: Vec<_> = rules.iter().filter_map(|rule| rule.broken(&values)).collect();
            broken
                .iter()
                .map(|assertion| assertion.description.clone())
                .collect::<Vec<_>>()
        };
        assert!(broken("off", "", "").is_empty());
        assert!(broken("on", "x", "1").is_empty());
        assert!(broken("on", "x", "3").is_empty());
        assert_eq!(broken("on", "", "1"), ["An image, and a size."]);
        assert_eq!(broken("on", "x", "4"), ["An image, and a size."]);
        assert_eq!(broken("never", "x", "1"), ["Not never."]);
    }

    #[test]
    fn an_assertion_knows_which_parameters_it_is_about() {
        let rules = Template::parse(TEXT).unwrap().rules;
        let values = BTreeMap::from([("Mode", "on")]);
        assert_eq!(rules[0].broken(&values).unwrap().about(), ["Image", "Size"]);
    }

    #[test]
    fn a_rule_with_an_unknown_function_is_no_rule_that_holds() {
        let text = TEXT.replace("!Contains", "!EachMemberIn");
        let said = Template::parse(&text).unwrap_err().to_string();
        assert!(said.contains("rule Short"), "{said}");
    }
}
