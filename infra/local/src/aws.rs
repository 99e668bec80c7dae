//! Clients of the emulator, for what the runner and the tests ask of it.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};

use crate::outputs::Outputs;

/// A client for each service that is looked at from outside.
#[derive(Clone, Debug)]
pub struct Aws {
    /// The gateway.
    pub gateway: aws_sdk_apigatewayv2::Client,
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
        let credentials = Credentials::new(key, secret, None, None, "the local stack");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .endpoint_url(endpoint)
            .region(Region::new(region.to_owned()))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build();
        Self {
            gateway: aws_sdk_apigatewayv2::Client::new(&config),
            stacks: aws_sdk_cloudformation::Client::new(&config),
            users: aws_sdk_cognitoidentityprovider::Client::new(&config),
            tables: aws_sdk_dynamodb::Client::new(&config),
            functions: aws_sdk_lambda::Client::new(&config),
            objects: aws_sdk_s3::Client::new(&config),
            secrets: aws_sdk_secretsmanager::Client::new(&config),
            queues: aws_sdk_sqs::Client::new(&config),
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
