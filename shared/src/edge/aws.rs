//! One configuration for all clients of AWS, with time-outs that fit inside a request. The SDK's own defaults (3 attempts,
//! each with 3.1 s to connect, no limit on the whole) would outlive a webhook's five seconds.

use std::time::Duration;

use aws_config::BehaviorVersion;
pub use aws_config::SdkConfig;
use aws_config::timeout::TimeoutConfig;

/// How long a connection to AWS may take.
pub(super) const CONNECT_WITHIN: Duration = Duration::from_millis(800);

/// Reading the environment for region, credentials and `AWS_ENDPOINT_URL` is the SDK's own business.
pub async fn config() -> SdkConfig {
    let time_outs = TimeoutConfig::builder()
        .connect_timeout(CONNECT_WITHIN)
        .operation_attempt_timeout(Duration::from_millis(2_500))
        .operation_timeout(Duration::from_secs(8))
        .build();
    aws_config::defaults(BehaviorVersion::v2026_01_12())
        .timeout_config(time_outs)
        .load()
        .await
}

/// What a client of AWS failed with, kept as the source of our own errors and never shown outside.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;
