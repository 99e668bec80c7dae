//! The stack that is looked at: by its name in the AWS account that one is signed in to, or the one that is up on this
//! machine. What is in it, CloudFormation says, in both cases.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_cloudformation::Client;
use aws_sdk_cloudformation::config::{Credentials, SharedCredentialsProvider};
use aws_sdk_cloudformation::error::ProvideErrorMetadata as _;
use clap::Args;
use serde::Deserialize;

use crate::failure::{Doing as _, Failure};

/// Where the local stack writes what a client needs to know of it.
const OUTPUTS: &str = "target/local/outputs.json";
/// A person waits: longer than a function may, and not for ever.
const ATTEMPT_WITHIN: Duration = Duration::from_secs(30);
const CALL_WITHIN: Duration = Duration::from_secs(120);
const NESTED: &str = "AWS::CloudFormation::Stack";
/// The most stacks that one deployment is made of.
const MOST_STACKS: usize = 20;

/// Which stack.
#[derive(Args, Clone, Debug)]
pub(crate) struct Choice {
    /// The deployed stack of this name, in the account and region that you are signed in to (AWS_PROFILE, AWS_REGION)
    #[arg(long, global = true, value_name = "NAME", conflicts_with = "local")]
    stack: Option<String>,
    /// The stack that `cargo run -p local` keeps up on this machine
    #[arg(long, global = true)]
    local: bool,
    /// With --local: the outputs.json of that stack, where it is not target/local/outputs.json of this checkout
    #[arg(long, global = true, value_name = "FILE", requires = "local")]
    outputs: Option<PathBuf>,
}

/// A stack that was found.
#[derive(Debug)]
pub(crate) struct Stack {
    /// Its name.
    pub(crate) name: String,
    /// How to reach it.
    pub(crate) aws: SdkConfig,
    /// Logical id -> what it is.
    resources: BTreeMap<String, Resource>,
    /// The outputs.
    outputs: BTreeMap<String, String>,
    /// The parameters that it was deployed with; what must not be seen is stars.
    parameters: BTreeMap<String, String>,
}

/// One thing in it.
#[derive(Debug)]
struct Resource {
    /// `AWS::KMS::Key`.
    kind: String,
    /// Physical id.
    id: String,
}

impl Choice {
    /// The name that was given.
    pub(crate) fn name(&self) -> Option<&str> {
        self.stack.as_deref()
    }

    /// What the stack of this name was deployed with, in this region; nothing where there is none.
    pub(crate) async fn deployed(&self, region: &str) -> Result<Option<BTreeMap<String, String>>, Failure> {
        let Some(name) = &self.stack else { return Ok(None) };
        let aws = shared::edge::aws::config().await.into_builder();
        let client = Client::new(&aws.region(Region::new(region.to_owned())).build());
        let described = client.describe_stacks().stack_name(name).send().await;
        // CloudFormation has no error of its own for it.
        let is_none = described
            .as_ref()
            .is_err_and(|error| error.message().is_some_and(|said| said.contains("does not exist")));
        if is_none {
            return Ok(None);
        }
        let described = described.or_fail(|| format!("Whether {name} is deployed already is not known"))?;
        Ok(described.stacks().first().map(parameters))
    }

    /// Finds it, and what is in it.
    pub(crate) async fn find(&self) -> Result<Stack, Failure> {
        match (&self.stack, self.local) {
            (Some(name), _) => describe(shared::edge::aws::config().await, name).await,
            (None, true) => {
                let here = self.read()?;
                let name = here.stack_name.clone();
                describe(here.config(), &name).await
            }
            (None, false) => Err(Failure::misuse("It is not said which stack to look at")
                .advise("add --stack NAME for a deployed one, or --local for the one on this machine")),
        }
    }

    fn read(&self) -> Result<Local, Failure> {
        let path = match &self.outputs {
            Some(path) => path.clone(),
            None => {
                let here = env::current_dir().or_fail(|| "This folder can't be looked at".into())?;
                above(&here).ok_or_else(|| {
                    Failure::new("No local stack is up")
                        .because(format!("neither this folder nor one above it has {OUTPUTS}"))
                        .advise(
                            "start one with `cargo run -p local` and keep it running, or name its file with --outputs",
                        )
                })?
            }
        };
        let what = || format!("{} can't be read", path.display());
        let text = fs::read(&path).or_fail(what)?;
        serde_json::from_slice(&text).or_fail(what)
    }
}

/// The outputs of a local stack, of this folder's checkout.
fn above(here: &Path) -> Option<PathBuf> {
    here.ancestors()
        .map(|folder| folder.join(OUTPUTS))
        .find(|path| path.is_file())
}

/// What is needed of the local stack's outputs.
#[derive(Deserialize)]
struct Local {
    aws_endpoint_url: String,
    aws_region: String,
    aws_access_key_id: String,
    aws_secret_access_key: String,
    stack_name: String,
}

impl Local {
    fn config(&self) -> SdkConfig {
        let credentials = Credentials::new(
            &self.aws_access_key_id,
            &self.aws_secret_access_key,
            None,
            None,
            "the local stack",
        );
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .endpoint_url(&self.aws_endpoint_url)
            .region(Region::new(self.aws_region.clone()))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build()
    }
}

async fn describe(aws: SdkConfig, name: &str) -> Result<Stack, Failure> {
    let what = || format!("The stack {name} can't be looked at");
    let time_outs = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(5))
        .operation_attempt_timeout(ATTEMPT_WITHIN)
        .operation_timeout(CALL_WITHIN)
        .build();
    let aws = aws
        .into_builder()
        .timeout_config(time_outs)
        .retry_config(RetryConfig::standard().with_max_attempts(5))
        .build();
    let client = Client::new(&aws);
    let described = client.describe_stacks().stack_name(name).send().await;
    let described = described.or_fail(what).map_err(|failure| {
        failure.or_advise("give the name that `sam deploy` showed, with the account and region it was deployed to")
    })?;
    let stack = described.stacks().first();
    let stack = stack.ok_or_else(|| Failure::new(what()).because("it is not there"))?;
    let outputs = stack
        .outputs()
        .iter()
        .filter_map(|output| Some((output.output_key()?.to_owned(), output.output_value()?.to_owned())));
    let parameters = parameters(stack);

    let mut resources = BTreeMap::new();
    let mut waiting = vec![name.to_owned()];
    let mut looked_at = 0;
    while let Some(stack) = waiting.pop() {
        looked_at += 1;
        if looked_at > MOST_STACKS {
            return Err(Failure::new(what()).because(format!("it has more than {MOST_STACKS} stacks within it")));
        }
        let mut pages = client
            .list_stack_resources()
            .stack_name(&stack)
            .into_paginator()
            .items()
            .send();
        while let Some(resource) = pages.next().await {
            let resource = resource.or_fail(what)?;
            let id = resource.physical_resource_id().unwrap_or_default().to_owned();
            let kind = resource.resource_type().unwrap_or_default().to_owned();
            if kind == NESTED {
                waiting.push(id);
            } else {
                let logical = resource.logical_resource_id().unwrap_or_default().to_owned();
                resources.insert(logical, Resource { kind, id });
            }
        }
    }
    Ok(Stack {
        name: name.to_owned(),
        outputs: outputs.collect(),
        parameters,
        resources,
        aws,
    })
}

fn parameters(stack: &aws_sdk_cloudformation::types::Stack) -> BTreeMap<String, String> {
    let parameters = stack.parameters().iter().filter_map(|parameter| {
        Some((
            parameter.parameter_key()?.to_owned(),
            parameter.parameter_value()?.to_owned(),
        ))
    });
    parameters.collect()
}

impl Stack {
    /// The physical id of a resource by its name in the template.
    pub(crate) fn resource(&self, logical: &str) -> Result<&str, Failure> {
        let found = self.resources.get(logical).filter(|resource| !resource.id.is_empty());
        found.map(|resource| resource.id.as_str()).ok_or_else(|| {
            Failure::new(format!("The stack {} has no {logical}", self.name))
                .because("it is another stack, or of a version without it")
                .advise("see whether the name is right; deploy this version of the template where it is")
        })
    }

    /// The logical and the physical ids of all of one kind, such as `AWS::KMS::Key`.
    pub(crate) fn all(&self, kind: &str) -> impl Iterator<Item = (&str, &str)> {
        let of_kind = self.resources.iter().filter(move |(_, resource)| resource.kind == kind);
        of_kind.map(|(logical, resource)| (logical.as_str(), resource.id.as_str()))
    }

    /// What a parameter was given.
    pub(crate) fn parameter(&self, key: &str) -> Option<&str> {
        self.parameters.get(key).map(String::as_str)
    }

    /// One of the template's outputs.
    pub(crate) fn output(&self, key: &str) -> Option<&str> {
        self.outputs.get(key).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_local_stack_of_a_checkout_is_found_from_any_folder_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(OUTPUTS);
        let deep = folder.path().join("infra/ops/src");
        fs::create_dir_all(&deep).unwrap();
        assert_eq!(above(&deep), None);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "{}").unwrap();
        assert_eq!(above(&deep), Some(file));
    }

    #[tokio::test]
    async fn without_a_stack_the_tool_says_how_to_name_one() {
        let nobody = Choice {
            stack: None,
            local: false,
            outputs: None,
        };
        let said = nobody.find().await.unwrap_err().to_string();
        assert!(said.contains("--stack NAME") && said.contains("--local"), "{said}");
    }
}
