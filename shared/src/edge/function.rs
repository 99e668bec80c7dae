//! Another function of ours, asked (Lambda's Invoke): for an answer, or only to begin.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_lambda::Client;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::InvocationType;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::aws::Cause;

/// The function did not answer, or not as expected.
#[derive(Debug, thiserror::Error)]
#[error("another function gave no answer")]
pub struct FunctionError(#[source] Cause);

/// One function, and the client to ask it.
#[derive(Clone, Debug)]
pub struct Function {
    client: Client,
    name: String,
}

impl Function {
    /// The function `name`, asked once, with `within` to answer.
    #[must_use]
    pub fn new(config: &SdkConfig, name: impl Into<String>, within: Duration) -> Self {
        let time_outs = TimeoutConfig::builder()
            .operation_attempt_timeout(within)
            .operation_timeout(within)
            .build();
        let config = aws_sdk_lambda::config::Builder::from(config)
            .timeout_config(time_outs)
            .retry_config(aws_config::retry::RetryConfig::disabled())
            .build();
        Self {
            client: Client::from_conf(config),
            name: name.into(),
        }
    }

    /// Has it begin, and does not wait: Lambda has the question then.
    pub async fn begin<Q: Serialize>(&self, question: &Q) -> Result<(), FunctionError> {
        let payload = serde_json::to_vec(question).map_err(|error| FunctionError(error.into()))?;
        self.client
            .invoke()
            .function_name(&self.name)
            .invocation_type(InvocationType::Event)
            .payload(Blob::new(payload))
            .send()
            .await
            .map_err(|error| FunctionError(error.into()))?;
        Ok(())
    }

    /// Asks it, and waits for the answer.
    pub async fn call<Q: Serialize, A: DeserializeOwned>(&self, question: &Q) -> Result<A, FunctionError> {
        let payload = serde_json::to_vec(question).map_err(|error| FunctionError(error.into()))?;
        let answer = self
            .client
            .invoke()
            .function_name(&self.name)
            .payload(Blob::new(payload))
            .send()
            .await;
        let answer = answer.map_err(|error| FunctionError(error.into()))?;
        if let Some(kind) = answer.function_error {
            return Err(FunctionError(format!("it failed: {kind}").into()));
        }
        let payload = answer.payload.map(Blob::into_inner).unwrap_or_default();
        serde_json::from_slice(&payload).map_err(|error| FunctionError(error.into()))
    }
}
