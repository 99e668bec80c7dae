//! The keys of KMS: whether they can be used, will be tomorrow, and are renewed by AWS each year.

use aws_sdk_kms::Client;
use aws_sdk_kms::types::KeyState;

use super::finding::Finding;
use crate::failure::Doing as _;
use crate::stack::Stack;

const CHECK: &str = "kms-keys";

/// What is found of each key of the stack.
pub(super) async fn look(stack: &Stack) -> Vec<Finding> {
    let client = Client::new(&stack.aws);
    let mut findings = Vec::new();
    for (logical, id) in stack.all("AWS::KMS::Key") {
        findings.push(one(&client, logical, id).await);
    }
    if findings.is_empty() {
        findings.push(Finding::not_checked(CHECK, "the stack has no key of KMS"));
    }
    findings
}

async fn one(client: &Client, logical: &str, id: &str) -> Finding {
    let what = || format!("The key {logical} can't be looked at");
    let described = match client.describe_key().key_id(id).send().await.or_fail(what) {
        Ok(described) => described,
        Err(failure) => return Finding::of_failure(CHECK, failure),
    };
    let state = described.key_metadata().and_then(|key| key.key_state());
    if state != Some(&KeyState::Enabled) {
        return unusable(logical, id, state);
    }
    match client.get_key_rotation_status().key_id(id).send().await.or_fail(what) {
        Err(failure) => Finding::of_failure(CHECK, failure),
        Ok(status) => rotated(logical, id, status.key_rotation_enabled()),
    }
}

fn unusable(logical: &str, id: &str, state: Option<&KeyState>) -> Finding {
    let advice = match state {
        Some(KeyState::PendingDeletion) => {
            format!(
                "at once, as what it sealed is lost with it: aws kms cancel-key-deletion --key-id {id} && \
                 aws kms enable-key --key-id {id}"
            )
        }
        _ => format!("aws kms enable-key --key-id {id}"),
    };
    let state = state.map_or("unknown", KeyState::as_str);
    Finding::fails(CHECK, format!("{logical} can't be used: its state is {state}"), advice)
}

fn rotated(logical: &str, id: &str, is_rotated: bool) -> Finding {
    if is_rotated {
        Finding::holds(
            CHECK,
            format!("{logical} is enabled, and AWS renews what is in it each year"),
        )
    } else {
        Finding::fails(
            CHECK,
            format!("{logical} is enabled, and is never renewed"),
            format!("deploy the template again, or: aws kms enable-key-rotation --key-id {id}"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    #[test]
    fn a_key_that_is_to_be_deleted_is_saved_at_once_and_one_that_is_never_renewed_is_told() {
        let found = unusable("TokenKey", "k1", Some(&KeyState::PendingDeletion));
        assert_eq!(found.verdict, Verdict::Fails);
        assert!(found.to_string().contains("cancel-key-deletion --key-id k1"), "{found}");
        let found = unusable("TokenKey", "k1", Some(&KeyState::Disabled));
        assert!(!found.to_string().contains("cancel-key-deletion"), "{found}");
        assert_eq!(rotated("TokenKey", "k1", false).verdict, Verdict::Fails);
        assert_eq!(rotated("TokenKey", "k1", true).verdict, Verdict::Holds);
    }
}
