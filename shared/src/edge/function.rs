//! Another function of ours, asked for an answer (Lambda's Invoke).

use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_lambda::Client;
use aws_sdk_lambda::error::SdkError;
use aws_sdk_lambda::operation::invoke::InvokeError;
use aws_sdk_lambda::primitives::Blob;
use backon::{ExponentialBuilder, Retryable as _};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::aws::Cause;

/// How long a function is asked again that has no room for the question.
const BUSY_FOR: Duration = Duration::from_secs(8);

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

    /// Asks it, and waits for the answer. Where all that may run of it at once are at work, it was not asked, and is again
    /// for a while.
    pub async fn call<Q: Serialize, A: DeserializeOwned>(&self, question: &Q) -> Result<A, FunctionError> {
        let payload = serde_json::to_vec(question).map_err(|error| FunctionError(error.into()))?;
        let waits = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(Duration::from_secs(1))
            .without_max_times()
            .with_total_delay(Some(BUSY_FOR))
            .with_jitter();
        let asked = || {
            self.client
                .invoke()
                .function_name(&self.name)
                .payload(Blob::new(payload.clone()))
                .send()
        };
        let is_busy = |error: &SdkError<InvokeError>| {
            let error = error.as_service_error();
            error.is_some_and(InvokeError::is_too_many_requests_exception)
        };
        let answer = asked.retry(waits).when(is_busy).await;
        let answer = answer.map_err(|error| FunctionError(error.into()))?;
        if let Some(kind) = answer.function_error {
            return Err(FunctionError(format!("it failed: {kind}").into()));
        }
        let payload = answer.payload.map(Blob::into_inner).unwrap_or_default();
        serde_json::from_slice(&payload).map_err(|error| FunctionError(error.into()))
    }
}
