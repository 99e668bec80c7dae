//! The template's parameters, as the template has them: names, words, defaults, and what a value is held to before CloudFormation
//! holds it to the same. (AWS CloudFormation: Parameters)

use std::fmt;

use regex::Regex;
use saphyr::{LoadableYamlNode as _, Scalar, Yaml};

use super::rule::Rule;
use crate::failure::{Doing as _, Failure};

/// What of a template is asked for.
#[derive(Debug)]
pub(super) struct Template {
    /// In the template's order.
    pub(super) parameters: Vec<Parameter>,
    pub(super) rules: Vec<Rule>,
}

/// One parameter.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) description: String,
    /// None: it has to be given.
    pub(super) default: Option<String>,
    /// Whether it is shown to nobody.
    pub(super) is_hidden: bool,
    is_number: bool,
    one_of: Vec<String>,
    pattern: Option<Regex>,
    /// The least and the most: of a number itself, of a text's length.
    least: Option<f64>,
    most: Option<f64>,
    /// The template's own words on what a value must be.
    constraint: Option<String>,
}

impl Template {
    /// Reads a template's text.
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        let what = || "The template can't be read".to_owned();
        let documents = Yaml::load_from_str(text).or_fail(what)?;
        let template = documents
            .first()
            .ok_or_else(|| Failure::new(what()).because("it is empty"))?;
        let entries = |section: &str| {
            let section = template.as_mapping_get(section).and_then(Yaml::as_mapping);
            section.into_iter().flatten()
        };
        let parameters = entries("Parameters").map(|(name, parameter)| Parameter::parse(name, parameter));
        let parameters: Vec<_> = parameters.collect::<Result<_, _>>()?;
        if parameters.is_empty() {
            return Err(Failure::new(what())
                .because("it has no parameters")
                .advise("name the project's template.yaml with --template"));
        }
        let rules = entries("Rules").map(|(name, rule)| Rule::parse(name, rule));
        Ok(Self {
            parameters,
            rules: rules.collect::<Result<_, _>>()?,
        })
    }

    /// The parameter of this name.
    pub(super) fn parameter(&self, name: &str) -> Result<&Parameter, Failure> {
        let found = self.parameters.iter().find(|parameter| parameter.name == name);
        found.ok_or_else(|| {
            let names: Vec<_> = self
                .parameters
                .iter()
                .map(|parameter| parameter.name.as_str())
                .collect();
            Failure::misuse(format!("The template has no parameter {name}"))
                .advise(format!("give one of {}", names.join(", ")))
        })
    }
}

/// A scalar as CloudFormation reads it: as a text, whatever YAML makes of it.
pub(super) fn text(yaml: &Yaml<'_>) -> Option<String> {
    match yaml {
        Yaml::Value(Scalar::String(text)) => Some(text.clone().into_owned()),
        Yaml::Value(Scalar::Integer(number)) => Some(number.to_string()),
        Yaml::Value(Scalar::FloatingPoint(number)) => Some(number.to_string()),
        Yaml::Value(Scalar::Boolean(flag)) => Some(flag.to_string()),
        Yaml::Value(Scalar::Null) => Some(String::new()),
        Yaml::Representation(text, ..) => Some(text.clone().into_owned()),
        _ => None,
    }
}

impl Parameter {
    fn parse(name: &Yaml<'_>, parameter: &Yaml<'_>) -> Result<Self, Failure> {
        let name = text(name).unwrap_or_default();
        let what = || format!("The template's parameter {name} can't be read");
        let field = |field: &str| parameter.as_mapping_get(field).and_then(text);
        let number = |field_name: &str| match field(field_name) {
            Some(number) => number.parse().map(Some).or_fail(what),
            None => Ok(None),
        };
        let is_number = field("Type").as_deref() == Some("Number");
        let (least, most) = if is_number {
            ("MinValue", "MaxValue")
        } else {
            ("MinLength", "MaxLength")
        };
        // A pattern is held to the whole of a value.
        let pattern = field("AllowedPattern").map(|pattern| Regex::new(&format!("^(?:{pattern})$")));
        let one_of = parameter.as_mapping_get("AllowedValues").and_then(Yaml::as_sequence);
        Ok(Self {
            description: field("Description").unwrap_or_default(),
            default: field("Default"),
            is_hidden: field("NoEcho").as_deref() == Some("true"),
            is_number,
            one_of: one_of.into_iter().flatten().filter_map(text).collect(),
            pattern: pattern.transpose().or_fail(what)?,
            least: number(least)?,
            most: number(most)?,
            constraint: field("ConstraintDescription"),
            name,
        })
    }

    /// Why a value can't be, or nothing. A value that is hidden is not repeated.
    pub(super) fn complaint(&self, value: &str) -> Option<String> {
        let is_one = self.one_of.is_empty() || self.one_of.iter().any(|one| one == value);
        let fits = self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(value));
        let size = if self.is_number {
            match value.parse::<f64>() {
                Ok(number) => number,
                Err(_) => return Some(format!("{} must be a number", self.name)),
            }
        } else {
            value.chars().count() as f64
        };
        let is_within = self.least.is_none_or(|least| size >= least) && self.most.is_none_or(|most| size <= most);
        (!is_one || !fits || !is_within).then(|| format!("{} must be {}", self.name, self.must_be()))
    }

    /// What a value must be, in words.
    pub(super) fn must_be(&self) -> String {
        if let Some(constraint) = &self.constraint {
            return constraint.trim_end_matches('.').to_owned();
        }
        if !self.one_of.is_empty() {
            return format!("one of {}", self.one_of.join(", "));
        }
        let kind = if self.is_number { "a number" } else { "a text" };
        let unit = if self.is_number { "" } else { " characters" };
        match (self.least, self.most, &self.pattern) {
            (Some(least), Some(most), _) => format!("{kind} from {least} to {most}{unit}"),
            (Some(least), None, _) => format!("{kind} of {least}{unit} at the least"),
            (None, Some(most), _) => format!("{kind} of {most}{unit} at the most"),
            (None, None, Some(pattern)) => format!("{kind} that fits {pattern}"),
            (None, None, None) => kind.to_owned(),
        }
    }
}

/// What a person reads before they answer.
impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.description)?;
        if !self.one_of.is_empty() {
            write!(f, " One of {}.", self.one_of.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
Parameters:
  Key:
    Type: String
    NoEcho: true
    AllowedPattern: "[a-z]{3,5}|x"
    Description: >-
      In two
      lines.
  Days:
    Type: Number
    Default: 30
    MinValue: 1
    MaxValue: 90
  Mode:
    Type: String
    Default: "off"
    AllowedValues: ["off", on-demand]
    Description: Which.
  Name:
    Type: String
    Default: ""
    MaxLength: 3
"#;

    #[test]
    fn parameters_are_read_in_order_with_their_defaults_as_texts() {
        let template = Template::parse(TEXT).unwrap();
        let read: Vec<_> = template
            .parameters
            .iter()
            .map(|parameter| {
                (
                    parameter.name.as_str(),
                    parameter.default.as_deref(),
                    parameter.is_hidden,
                )
            })
            .collect();
        assert_eq!(
            read,
            [
                ("Key", None, true),
                ("Days", Some("30"), false),
                ("Mode", Some("off"), false),
                ("Name", Some(""), false)
            ]
        );
        assert_eq!(template.parameters[0].to_string(), "Key: In two lines.");
        assert_eq!(
            template.parameters[2].to_string(),
            "Mode: Which. One of off, on-demand."
        );
    }

    #[test]
    fn a_value_is_held_to_what_the_template_says() {
        let template = Template::parse(TEXT).unwrap();
        for (name, value, words) in [
            ("Key", "abcd", None),
            ("Key", "abcdef", Some("fits")),
            ("Key", "x", None),
            ("Key", "xabc1", Some("fits")),
            ("Days", "1", None),
            ("Days", "0", Some("from 1 to 90")),
            ("Days", "91", Some("from 1 to 90")),
            ("Days", "many", Some("a number")),
            ("Mode", "off", None),
            ("Mode", "on", Some("one of off, on-demand")),
            ("Name", "abc", None),
            ("Name", "abcd", Some("3 characters at the most")),
        ] {
            let said = template.parameter(name).unwrap().complaint(value);
            match words {
                None => assert_eq!(said, None, "{name} {value}"),
                Some(words) => {
                    let said = said.unwrap_or_else(|| panic!("{name} takes {value}"));
                    assert!(said.contains(words) && !said.contains("xabc1"), "{said}");
                }
            }
        }
        let said = template.parameter("Keys").unwrap_err().to_string();
        assert!(said.contains("Key, Days, Mode, Name"), "{said}");
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for text in ["", "a: b", "\t: ["] {
            assert!(Template::parse(text).is_err(), "{text:?}");
        }
    }
}
