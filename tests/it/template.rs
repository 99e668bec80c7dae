//! The template, beyond the roles: what the bucket takes, and what all that is kept lies under.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use local::outside::Home;
use local::{Aws, Failure, Stack};
use reqwest::StatusCode;
use serde_json::{Value, json};
use shared::capture::LONGEST;
use shared::media::archive::PRESIGNED_FOR;

use crate::stack::on_the_stack;
use crate::templates;

/// What the bucket answers to whoever has a URL that was signed so long ago, and says of itself that it is good for a day.
async fn answered(stack: &Stack, signer: &Aws, key: &str, ago: Duration) -> StatusCode {
    let config = PresigningConfig::builder()
        .start_time(SystemTime::now() - ago)
        .expires_in(Duration::from_secs(24 * 3600))
        .build()
        .expect("a day is allowed");
    let bucket = stack.output("MediaBucketName").expect("a bucket");
    let get = signer.objects.get_object().bucket(bucket).key(key);
    let url = get.presigned(config).await.expect("it is signed");
    let answer = stack.http().get(url.uri()).send().await.expect("the bucket answers");
    answer.status()
}

#[test]
fn the_bucket_takes_no_signed_url_that_is_older_than_any_of_ours_may_be() {
    on_the_stack(async |stack| {
        if let Err(failure) = old_urls_are_refused(stack).await {
            panic!("{failure}");
        }
    });
}

async fn old_urls_are_refused(stack: &Stack) -> Result<(), Failure> {
    // It calls `partner-api`: the emulator knows a function's session from then on.
    let home = Home::linked(stack, &json!(["doorbell"])).await?;
    home.device_ids().await?;
    let signer = stack.aws_as("partner-api").await?;
    let folder = format!("media/{}/signed", uuid::Uuid::new_v4().simple());
    let (film, piece) = (format!("{folder}/film.mp4"), format!("{folder}/film/000001.m4s"));
    for key in [&film, &piece] {
        let put = stack.aws().objects.put_object().key(key);
        let put = put.bucket(stack.output("MediaBucketName")?);
        let body = ByteStream::from_static(b"a film");
        put.body(body).send().await.expect("it is stored");
    }
    let little = Duration::from_secs(20);
    let (most, most_of_a_piece) = (PRESIGNED_FOR, PRESIGNED_FOR + LONGEST);
    for (key, ago, expected) in [
        (&film, Duration::ZERO, StatusCode::OK),
        (&film, most - little, StatusCode::OK),
        (&film, most + little, StatusCode::FORBIDDEN),
        (&piece, most + little, StatusCode::OK),
        (&piece, most_of_a_piece - little, StatusCode::OK),
        (&piece, most_of_a_piece + little, StatusCode::FORBIDDEN),
    ] {
        assert_eq!(answered(stack, &signer, key, ago).await, expected, "{key}, {ago:?}");
    }
    Ok(())
}

/// Where a resource of this kind names the key that it lies under.
const KEYS: [(&str, &str); 6] = [
    ("AWS::DynamoDB::Table", "/Properties/SSESpecification/KMSMasterKeyId"),
    ("AWS::Lambda::Function", "/Properties/KmsKeyArn"),
    ("AWS::Logs::LogGroup", "/Properties/KmsKeyId"),
    (
        "AWS::S3::Bucket",
        "/Properties/BucketEncryption/ServerSideEncryptionConfiguration/0/ServerSideEncryptionByDefault/KMSMasterKeyID",
    ),
    ("AWS::SQS::Queue", "/Properties/KmsMasterKeyId"),
    ("AWS::SecretsManager::Secret", "/Properties/KmsKeyId"),
];

#[test]
fn all_that_is_kept_lies_under_the_stacks_own_key() {
    let resources = &templates::expanded()["template"]["Resources"];
    let all = resources.as_object().expect("resources");
    let key = json!({ "Fn::GetAtt": ["StorageKey", "Arn"] });
    for (kind, place) in KEYS {
        let kept: Vec<_> = all.iter().filter(|(_, one)| one["Type"] == kind).collect();
        assert!(!kept.is_empty(), "{kind}");
        for (name, one) in kept {
            assert_eq!(one.pointer(place), Some(&key), "{name}");
        }
    }
    // The recorder's logs are in a nested stack, which is given the key.
    assert_eq!(resources["Capture"]["Properties"]["Parameters"]["LogsKey"], key);

    let statements = resources["StorageKey"]["Properties"]["KeyPolicy"]["Statement"].as_array();
    let anybody = |statement: &&Value| statement["Principal"] == json!({ "AWS": "*" });
    let open: Vec<_> = statements.expect("statements").iter().filter(anybody).collect();
    let [open] = open.as_slice() else { panic!("{open:?}") };
    let bound = &open["Condition"]["StringEquals"];
    assert_eq!(bound["kms:CallerAccount"], json!({ "Ref": "AWS::AccountId" }));
    assert_eq!(bound["kms:ViaService"].as_array().map(Vec::len), Some(5));
}

#[test]
fn what_ring_calls_is_deployed_gradually_and_taken_back_by_alarms_that_there_are() {
    let resources = &templates::expanded()["template"]["Resources"];
    let alarms = templates::expanded()["infra-alarms"]["Resources"].as_object();
    let alarms: Vec<_> = alarms
        .expect("alarms")
        .values()
        .filter_map(|alarm| alarm.pointer("/Properties/AlarmName/Fn::Sub")?.as_str())
        .filter_map(|name| name.strip_prefix("${Stack}-"))
        .collect();
    for program in ["TokenExchange", "WebhookIntake"] {
        let integration = &resources[format!("{program}Integration")]["Properties"]["IntegrationUri"];
        let alias = format!("{program}Aliaslive");
        assert_eq!(
            *integration,
            json!({ "Fn::If": ["DeploysGradually", { "Ref": alias }, { "Fn::GetAtt": [program, "Arn"] }] })
        );
        let group = format!("{program}DeploymentGroup");
        let update = &resources[&alias]["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"];
        assert_eq!(update["DeploymentGroupName"], json!({ "Ref": group }));

        let group = &resources[&group]["Properties"];
        let how = group["DeploymentConfigName"].to_string();
        assert!(how.contains("Canary10Percent10Minutes"), "{how}");
        let rolls_back = &group["AutoRollbackConfiguration"];
        assert_eq!(rolls_back["Enabled"], true);
        let events = rolls_back["Events"].as_array().expect("events");
        assert!(events.contains(&json!("DEPLOYMENT_STOP_ON_ALARM")), "{events:?}");
        let by = group["AlarmConfiguration"]["Alarms"].as_array().expect("alarms");
        assert!(!by.is_empty());
        for alarm in by {
            let name = alarm["Name"]["Fn::Sub"].as_str().expect("a name");
            let name = name.strip_prefix("${AWS::StackName}-").expect("an alarm of the stack");
            assert!(alarms.contains(&name), "{name}");
        }
    }
}

#[test]
fn media_end_by_the_tag_that_they_bear_where_a_parameter_says_when() {
    let bucket = &templates::expanded()["template"]["Resources"]["MediaBucket"]["Properties"];
    let rules = bucket["LifecycleConfiguration"]["Rules"].as_array().expect("rules");
    let optional = rules.iter().find_map(|rule| rule["Fn::If"].as_array());
    let optional = optional.expect("a rule that there may be");
    assert_eq!(optional[0], "ForgetsMedia");
    assert_eq!(
        optional[1],
        json!({
            "Id": "media-end",
            "Status": "Enabled",
            "TagFilters": [{ "Key": "kept-for", "Value": "media-retention" }],
            "ExpirationInDays": { "Ref": "MediaRetentionDays" },
        })
    );
}
