//! `ops init`: from the template to a deployment that one command makes, and Ring's credentials to where the programs read them.
//!
//! Parameters are asked for as the template has them, checked as CloudFormation would, and written for `sam`. Credentials go
//! straight to Secrets Manager, and into no file, command line or history.

mod dialogue;
mod parameter;
mod rule;
mod samconfig;
mod secrets;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{BufRead, Write};
use std::path::PathBuf;

use clap::Args;
use dialogue::Dialogue;
use parameter::{Parameter, Template};
use samconfig::SamConfig;
use serde::Serialize;
use uuid::Uuid;

use crate::failure::{Doing as _, Failure};
use crate::say::Voice;
use crate::stack::Choice;

const EXAMPLES: &str = "\
Examples:
  ops --stack ring-staging init                                    asks, and writes samconfig.toml
  ops --stack ring-staging init --all                              asks for every parameter of the template
  ops --stack ring-staging init --yes --region eu-west-1 --set CaptureMode=off  asks nothing
  ops --stack ring-staging init --dry-run                          says what would be written
  ops --stack ring-staging init --secrets                          asks for Ring's three credentials, and shows none
  ops --stack ring-staging init --secrets --from credentials.json  as JSON: client_id, client_secret, hmac_signing_key
  ops --stack ring-staging init --secrets --yes --from -           from standard input, replacing what is there

First without --secrets, from the checkout's folder; then the two commands that it ends with; then with --secrets, when the stack is
there. Run again, it offers what was answered before, or what the stack was deployed with, and keeps what else is in samconfig.toml;
TokenUrlKey stays as it is then, since Ring has the URL that it is in. A signing key or client secret that is replaced stays
in the secret as the previous one, so that nothing is refused meanwhile. docs/deploy.md has each parameter.";

/// What a first deployment decides, beside what the template wants in any case. A test holds that the template has them.
const FIRST: [&str; 7] = [
    "DomainName",
    "OidcIssuer",
    "AllowedOrigins",
    "PrivacyRegions",
    "AlarmTopicArn",
    "ConcurrencyLimit",
    "CaptureMode",
];
/// What is typed for nothing, where there was something.
const NOTHING: &str = "-";

/// Guides through the template's parameters, and puts Ring's credentials where the programs read them
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Command {
    /// Ask for every parameter of the template, and not only for what a first deployment decides
    #[arg(long, conflicts_with = "secrets")]
    all: bool,
    /// Give this parameter, and do not ask for it; as often as needed
    #[arg(long, value_name = "NAME=VALUE", conflicts_with = "secrets")]
    set: Vec<String>,
    /// The region to deploy to
    #[arg(long, conflicts_with = "secrets")]
    region: Option<String>,
    /// Ask nothing: what is not given stays as it is in the file, or as the template has it; overwrite what is there
    #[arg(long)]
    yes: bool,
    /// Say what would be written; write nothing
    #[arg(long)]
    dry_run: bool,
    /// The template
    #[arg(
        long,
        value_name = "FILE",
        default_value = "template.yaml",
        conflicts_with = "secrets"
    )]
    template: PathBuf,
    /// Where sam looks for what it is to deploy
    #[arg(
        long,
        value_name = "FILE",
        default_value = "samconfig.toml",
        conflicts_with = "secrets"
    )]
    to: PathBuf,
    /// Ring's credentials, into the secrets of the stack, which is deployed already
    #[arg(long)]
    secrets: bool,
    /// Read the credentials from this file, or from standard input where it is -
    #[arg(long, value_name = "FILE", requires = "secrets")]
    from: Option<PathBuf>,
}

/// What was written.
#[derive(Serialize)]
struct Written {
    stack: String,
    region: String,
    file: PathBuf,
    dry_run: bool,
    /// What differs from the template's defaults. What must not be seen is stars.
    parameters: BTreeMap<String, String>,
    /// What is to be done next.
    next: Vec<String>,
}

/// Does what was asked for.
pub(crate) async fn run(command: Command, choice: &Choice, voice: Voice) -> Result<(), Failure> {
    if command.secrets {
        return secrets::run(&command, choice, voice).await;
    }
    let stack = choice.name().ok_or_else(|| {
        Failure::misuse("It is not said what the stack is to be called")
            .advise("add --stack NAME, such as --stack ring-staging; the stack on this machine needs no init")
    })?;
    let text =
        fs::read_to_string(&command.template).or_fail(|| format!("{} can't be read", command.template.display()));
    let text =
        text.map_err(|failure| failure.or_advise("run it in the checkout's folder, or name the file with --template"))?;
    let template = Template::parse(&text)?;
    let mut config = SamConfig::read(&command.to, stack)?;
    let here = shared::edge::aws::config().await.region().map(ToString::to_string);
    let mut dialogue = dialogue::at_the_terminal();
    let mut asking = Asking {
        dialogue: (!command.yes).then_some(&mut dialogue),
        all: command.all,
        given: given(&command.set, &template)?,
        before: config.parameters(),
        is_deployed: false,
    };
    let region = asking.region(command.region.as_deref(), config.region().or(here.as_deref()))?;
    match choice.deployed(&region).await {
        Ok(None) => {}
        Ok(Some(parameters)) => {
            asking.is_deployed = true;
            if !config.is_there() {
                asking.before = parameters;
            }
        }
        Err(failure) => {
            let (why, _) = failure.told();
            voice.warn(&format!(
                "{why}. If it is, a key that is drawn here is another one than it has."
            ));
        }
    }
    let values = asking.values(&template)?;
    if config.is_there()
        && !command.dry_run
        && !asking.agrees(&format!(
            "{} has {stack} already. Overwrite that part?",
            command.to.display()
        ))?
    {
        return Err(Failure::new("Nothing was written").because("you said no"));
    }
    let changed = template.changed(values);
    config.set(&region, &changed);
    if !command.dry_run {
        config.write()?;
    }
    let stars = |parameter: &Parameter| parameter.is_hidden;
    let shown = changed.into_iter().map(|(name, value)| {
        let is_hidden = template.parameter(&name).is_ok_and(stars);
        (name, if is_hidden { "****".to_owned() } else { value })
    });
    voice.answer(&Written {
        parameters: shown.collect(),
        next: next(stack, &template, &config.parameters()),
        stack: stack.to_owned(),
        region,
        file: command.to,
        dry_run: command.dry_run,
    })
}

/// What was given on the command line.
fn given(set: &[String], template: &Template) -> Result<BTreeMap<String, String>, Failure> {
    let mut given = BTreeMap::new();
    for pair in set {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| Failure::misuse("--set needs a name and a value").advise("write it as --set NAME=VALUE"))?;
        match template.parameter(name)?.complaint(value) {
            Some(complaint) => return Err(Failure::misuse(complaint)),
            None => _ = given.insert(name.to_owned(), value.to_owned()),
        }
    }
    Ok(given)
}

/// The commands that follow.
fn next(stack: &str, template: &Template, values: &BTreeMap<String, String>) -> Vec<String> {
    let of_template = template
        .parameter("Architecture")
        .ok()
        .and_then(|parameter| parameter.default.clone());
    let architecture = values.get("Architecture").or(of_template.as_ref()).map(String::as_str);
    let build = match architecture {
        Some("x86_64") => "cargo lambda build --release",
        _ => "cargo lambda build --release --arm64",
    };
    vec![
        build.to_owned(),
        format!("sam deploy --config-env {stack}"),
        format!("ops --stack {stack} init --secrets"),
        format!("ops --stack {stack} doctor"),
    ]
}

impl Template {
    /// What differs from the defaults: only that is written, so that a better default of a later version counts.
    fn changed(&self, mut values: BTreeMap<String, String>) -> BTreeMap<String, String> {
        for parameter in &self.parameters {
            if values.get(&parameter.name) == parameter.default.as_ref() {
                values.remove(&parameter.name);
            }
        }
        values
    }
}

/// How the values are come by.
struct Asking<'d, R, W> {
    /// None: nobody is asked.
    dialogue: Option<&'d mut Dialogue<R, W>>,
    all: bool,
    /// On the command line.
    given: BTreeMap<String, String>,
    /// In the file, or else of the stack itself.
    before: BTreeMap<String, String>,
    /// Whether there is such a stack already: then a key that nobody sees stays, as Ring has the URL that it is in.
    is_deployed: bool,
}

impl<R: BufRead, W: Write> Asking<'_, R, W> {
    fn agrees(&mut self, question: &str) -> Result<bool, Failure> {
        match &mut self.dialogue {
            Some(dialogue) => dialogue.agrees(question),
            None => Ok(true),
        }
    }

    fn region(&mut self, given: Option<&str>, offered: Option<&str>) -> Result<String, Failure> {
        if let Some(region) = given {
            return Ok(region.to_owned());
        }
        let needed = || {
            Failure::misuse("It is not said which region to deploy to")
                .advise("add --region, such as --region eu-west-1")
        };
        match (&mut self.dialogue, offered) {
            (None, offered) => offered.map(str::to_owned).ok_or_else(needed),
            (Some(dialogue), offered) => {
                let question = format!("The region to deploy to\n  [{}] > ", offered.unwrap_or_default());
                let typed = dialogue.ask(&question)?;
                let region = Some(typed).filter(|typed| !typed.is_empty());
                region.or(offered.map(str::to_owned)).ok_or_else(needed)
            }
        }
    }

    /// A value for each parameter, which all keep the template's rules.
    fn values(&mut self, template: &Template) -> Result<BTreeMap<String, String>, Failure> {
        let mut values = BTreeMap::new();
        for parameter in &template.parameters {
            let is_asked = self.all || parameter.default.is_none() || FIRST.contains(&parameter.name.as_str());
            values.extend(self.value(parameter, is_asked)?);
        }
        // Each round asks for what a broken rule is about; a person who insists on it is not asked for ever.
        for _ in 0..3 * template.rules.len() {
            let now = values
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            let Some(broken) = template.rules.iter().find_map(|rule| rule.broken(&now)) else {
                break;
            };
            let about: Vec<String> = broken.about().into_iter().map(str::to_owned).collect();
            let Some(dialogue) = &mut self.dialogue else {
                return Err(broken_rule(&broken.description));
            };
            dialogue.say(&format!("\n{}", broken.description))?;
            for name in about {
                values.extend(self.value(template.parameter(&name)?, true)?);
            }
        }
        let now = values
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        match template.rules.iter().find_map(|rule| rule.broken(&now)) {
            Some(broken) => Err(broken_rule(&broken.description)),
            None => Ok(values),
        }
    }

    /// One value by its name: given, asked for, as it was, or as the template has it. None where the stack keeps what it has and
    /// nobody sees.
    fn value(&mut self, parameter: &Parameter, is_asked: bool) -> Result<Option<(String, String)>, Failure> {
        let name = parameter.name.as_str();
        let named = |value: String| Ok(Some((name.to_owned(), value)));
        if let Some(value) = self.given.get(name) {
            return named(value.clone());
        }
        // CloudFormation shows stars for it.
        let is_kept = self.is_deployed && parameter.is_hidden;
        let before = self
            .before
            .get(name)
            .filter(|value| parameter.complaint(value).is_none());
        let before = before.filter(|value| !value.starts_with("****"));
        let drawn = if is_kept { None } else { drawn(parameter) };
        let offered = before.cloned().or(parameter.default.clone()).or(drawn.clone());
        let dialogue = match (&mut self.dialogue, &offered) {
            (Some(dialogue), _) if is_asked => dialogue,
            (_, Some(offered)) => return named(offered.clone()),
            (_, None) if is_kept => return Ok(None),
            (_, None) => {
                return Err(Failure::misuse(format!("{name} is needed")).advise(format!("give it with --set {name}=…")));
            }
        };
        let shown = match &offered {
            Some(_) if before.is_some() && parameter.is_hidden => "as it is",
            Some(_) if drawn.is_some() => "one is drawn",
            Some(value) if value.is_empty() => "nothing",
            Some(value) => value,
            None if is_kept => "as it is",
            None => "needed",
        };
        dialogue.say(&format!("\n{parameter}"))?;
        loop {
            let question = format!("  [{shown}] > ");
            let typed = if parameter.is_hidden {
                dialogue.ask_hidden(&question)?
            } else {
                dialogue.ask(&question)?
            };
            let value = match (typed.as_str(), &offered) {
                ("", Some(offered)) => offered.clone(),
                ("", None) if is_kept => return Ok(None),
                (NOTHING, _) => String::new(),
                _ => typed,
            };
            match parameter.complaint(&value) {
                None => return named(value),
                Some(complaint) => dialogue.say(&format!("  {complaint}."))?,
            }
        }
    }
}

fn broken_rule(description: &str) -> Failure {
    Failure::misuse("The parameters do not fit each other")
        .because(description)
        .advise("give what is missing with --set; docs/deploy.md has each parameter")
}

/// What nobody has to think of: a text that cannot be guessed, where the template wants one that nobody sees.
fn drawn(parameter: &Parameter) -> Option<String> {
    let drawn = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    let is_drawn = parameter.is_hidden && parameter.default.is_none() && parameter.complaint(&drawn).is_none();
    is_drawn.then_some(drawn)
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            stack, region, file, ..
        } = self;
        let word = if self.dry_run { "would be written" } else { "is written" };
        writeln!(f, "{stack} in {region} {word} into {}:", file.display())?;
        for (name, value) in &self.parameters {
            writeln!(f, "  {name:<26}  {}", if value.is_empty() { "nothing" } else { value })?;
        }
        writeln!(f, "Everything else is as the template has it.\n\nNext:")?;
        let next: Vec<_> = self.next.iter().map(|command| format!("  {command}")).collect();
        write!(f, "{}", next.join("\n"))
    }
}

#[cfg(test)]
mod tests;
