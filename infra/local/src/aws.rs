//! Clients of the emulator, for what the runner and the tests ask of it.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use sha2::{Digest as _, Sha256};

use crate::outputs::Outputs;

/// A client for each service that is looked at from outside.
#[derive(Clone, Debug)]
pub struct Aws {
    /// What they are made of, for a store to be made of it too.
    pub config: SdkConfig,
    /// Buses and their rules.
    pub buses: aws_sdk_eventbridge::Client,
    /// The gateway.
    pub gateway: aws_sdk_apigatewayv2::Client,
    /// What the functions log.
    pub logs: aws_sdk_cloudwatchlogs::Client,
    /// Keys.
    pub keys: aws_sdk_kms::Client,
    /// Stacks.
    pub stacks: aws_sdk_cloudformation::Client,
    /// Users.
    pub users: aws_sdk_cognitoidentityprovider::Client,
    /// Tables.
    pub tables: aws_sdk_dynamodb::Client,
    /// Functions.
    pub functions: aws_sdk_lambda::Client,
    /// Objects.
    pub objects: aws_sdk_s3::Client,
    /// Secrets.
    pub secrets: aws_sdk_secretsmanager::Client,
    /// Queues.
    pub queues: aws_sdk_sqs::Client,
}

impl Aws {
    pub(crate) fn at(endpoint: &str, region: &str, (key, secret): (&str, &str)) -> Self {
        Self::with(
            endpoint,
            region,
            Credentials::new(key, secret, None, None, "the local stack"),
        )
    }

    /// Clients with the rights of a function's role: the session that the emulator makes for the function's process, which
    /// it derives from the two names. It is known there from the function's first call on.
    pub(crate) fn of_function(endpoint: &str, region: &str, function_arn: &str, role_arn: &str) -> Self {
        let sha256 = |text: String| hex::encode(Sha256::digest(text));
        let session = sha256(format!("{function_arn}:{role_arn}"));
        let key = format!("ASIA{}", session[..16].to_uppercase());
        let (secret, token) = (sha256(format!("secret:{session}")), sha256(format!("token:{session}")));
        Self::with(
            endpoint,
            region,
            Credentials::new(key, secret, Some(token), None, "a function's role"),
        )
    }

    fn with(endpoint: &str, region: &str, credentials: Credentials) -> Self {
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .endpoint_url(endpoint)
            .region(Region::new(region.to_owned()))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build();
        Self {
            buses: aws_sdk_eventbridge::Client::new(&config),
            gateway: aws_sdk_apigatewayv2::Client::new(&config),
            logs: aws_sdk_cloudwatchlogs::Client::new(&config),
            keys: aws_sdk_kms::Client::new(&config),
            stacks: aws_sdk_cloudformation::Client::new(&config),
            users: aws_sdk_cognitoidentityprovider::Client::new(&config),
            tables: aws_sdk_dynamodb::Client::new(&config),
            functions: aws_sdk_lambda::Client::new(&config),
            objects: aws_sdk_s3::Client::new(&config),
            secrets: aws_sdk_secretsmanager::Client::new(&config),
            queues: aws_sdk_sqs::Client::new(&config),
            config,
        }
    }

    /// Clients of a stack that another process keeps up.
    pub fn of(outputs: &Outputs) -> Self {
        let key = (
            outputs.aws_access_key_id.as_str(),
            outputs.aws_secret_access_key.as_str(),
        );
        Self::at(&outputs.aws_endpoint_url, &outputs.aws_region, key)
    }
}
