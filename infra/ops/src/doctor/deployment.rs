//! Whether Ring's calls reach what was deployed last, where that is done gradually: SAM publishes a version where a program
//! changed, and none where a parameter alone did.

use aws_sdk_lambda::Client;
use aws_sdk_lambda::operation::get_function_configuration::GetFunctionConfigurationOutput;

use super::finding::Finding;
use crate::failure::{Doing as _, Failure};
use crate::stack::Stack;

const CHECK: &str = "gradual-deployment";
/// What the template names the alias that Ring's calls go to.
const ALIAS: &str = "live";

/// What is found of each program that is deployed so; nothing where none is.
pub(super) async fn look(stack: &Stack) -> Vec<Finding> {
    if stack.parameter("GradualDeployment") != Some("true") {
        return Vec::new();
    }
    let client = Client::new(&stack.aws);
    let mut findings = Vec::new();
    for (_, alias) in stack.all("AWS::Lambda::Alias") {
        findings.push(match one(&client, alias).await {
            Ok(finding) => finding,
            Err(failure) => Finding::of_failure(CHECK, failure),
        });
    }
    findings
}

/// `alias` is an ARN: `arn:aws:lambda:REGION:ACCOUNT:function:NAME:live`.
async fn one(client: &Client, alias: &str) -> Result<Finding, Failure> {
    let name = alias.trim_end_matches(ALIAS).trim_end_matches(':');
    let name = name.rsplit(':').next().unwrap_or(name);
    let what = || format!("The program {name} can't be looked at");
    let alias = client.get_alias().function_name(name).name(ALIAS);
    let alias = alias.send().await.or_fail(what)?;
    let others = alias
        .routing_config()
        .and_then(|routes| routes.additional_version_weights());
    if others.is_some_and(|others| !others.is_empty()) {
        let said = format!("a deployment of {name} is under way");
        return Ok(Finding::not_checked(CHECK, said));
    }
    let latest = client.get_function_configuration().function_name(name);
    let live = latest.clone().qualifier(ALIAS);
    let (latest, live) = tokio::try_join!(latest.send(), live.send()).or_fail(what)?;
    Ok(compared(name, &latest, &live))
}

fn compared(name: &str, latest: &GetFunctionConfigurationOutput, live: &GetFunctionConfigurationOutput) -> Finding {
    let version = live.version().unwrap_or_default();
    let is_same = latest.code_sha256() == live.code_sha256()
        && latest.environment().and_then(|environment| environment.variables())
            == live.environment().and_then(|environment| environment.variables())
        && latest.memory_size() == live.memory_size()
        && latest.timeout() == live.timeout();
    if is_same {
        return Finding::holds(
            CHECK,
            format!("Ring's calls reach what was deployed last of {name}: version {version}"),
        );
    }
    Finding::fails(
        CHECK,
        format!("Ring's calls reach version {version} of {name}, which differs from what was deployed last"),
        format!(
            "after a change of parameters alone: aws lambda update-alias --function-name {name} --name {ALIAS} \
             --function-version $(aws lambda publish-version --function-name {name} --query Version --output text); after a \
             deployment that was taken back: see which alarm rang"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_lambda::types::EnvironmentResponse;

    use crate::doctor::finding::Verdict;

    fn configured(version: &str, sha256: &str, level: &str) -> GetFunctionConfigurationOutput {
        let variables = EnvironmentResponse::builder().variables("LOG_LEVEL", level);
        let built = GetFunctionConfigurationOutput::builder().environment(variables.build());
        built.version(version).code_sha256(sha256).memory_size(256).build()
    }

    #[test]
    fn a_version_without_what_was_deployed_last_is_told_with_how_to_publish_it() {
        let latest = configured("$LATEST", "c0de", "info");
        for (live, verdict) in [
            (configured("7", "c0de", "info"), Verdict::Holds),
            (configured("7", "01d", "info"), Verdict::Fails),
            (configured("7", "c0de", "debug"), Verdict::Fails),
        ] {
            let found = compared("ring-webhook-intake", &latest, &live);
            assert_eq!(found.verdict, verdict, "{found:?}");
            assert!(found.said.contains("version 7"), "{found:?}");
        }
    }
}
