//! Who may open what: each function's own role tries each kind of token and each secret, on the emulator, which holds every
//! call to the template's policies. What is not listed here is refused, also to a function that comes later.

use aws_sdk_kms::error::ProvideErrorMetadata;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::DataKeySpec;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use local::outside::{Home, rows_about, schedule_at};
use local::{Aws, Failure, Stack};
use reqwest::Method;
use serde_json::json;
use shared::edge::clock;

use crate::stack::alone_on_the_stack;

/// Something that a role may do, or may not.
#[derive(Clone, Copy, Debug)]
enum Right {
    /// Take a data key to seal with, for this kind of text.
    Seal(&'static str),
    /// Have the data key unwrapped that this kind of text was sealed with.
    Open(&'static str),
    /// Read the secret that this output of the stack names.
    Read(&'static str),
}

use Right::{Open, Read, Seal};

const RIGHTS: [(Right, &[&str]); 8] = [
    (Open("refresh"), &["token-refresh"]),
    // Those that call Ring.
    (
        Open("access"),
        &[
            "account-link",
            "event-processor",
            "media-fetch",
            "partner-api",
            "token-refresh",
        ],
    ),
    (Open("nonce"), &["token-refresh"]),
    (Seal("refresh"), &["token-exchange", "token-refresh"]),
    (Seal("access"), &["token-exchange", "token-refresh"]),
    (Seal("nonce"), &["account-link"]),
    (Read("OAuthSecretId"), &["token-exchange", "token-refresh"]),
    (Read("SigningSecretId"), &["account-link", "webhook-intake"]),
];

#[test]
fn only_token_refresh_opens_a_refresh_token_and_each_role_may_do_what_its_program_needs() {
    // It has each function called, the schedule's among them.
    alone_on_the_stack(async |stack| {
        if let Err(failure) = each_role_has_its_rights(stack).await {
            panic!("{failure}");
        }
    });
}

async fn each_role_has_its_rights(stack: &Stack) -> Result<(), Failure> {
    let sealed = Wrapped::of_a_linked_grant(stack).await?;
    let mut wrong = Vec::new();
    for package in stack.outputs().functions.keys() {
        let role = stack.aws_as(package).await?;
        for (right, holders) in RIGHTS {
            let holds = holders.contains(&package.as_str());
            let outcome = sealed.attempt(stack, &role, right).await?;
            let expected = if holds { Ok(()) } else { Err(REFUSED.to_owned()) };
            if outcome != expected {
                wrong.push(format!("{package}, {right:?}: {outcome:?} and not {expected:?}"));
            }
        }
        let unnamed = code(
            role.keys
                .decrypt()
                .key_id(&sealed.key)
                .ciphertext_blob(Blob::new(&*sealed.access))
                .send()
                .await,
        );
        if unnamed != Err(REFUSED.to_owned()) {
            wrong.push(format!("{package} names no kind of text: {unnamed:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");

    // The name is bound to the key: who may open access tokens can't pass a refresh token off as one.
    let role = stack.aws_as("account-link").await?;
    let disguised = sealed.unwrap(&role, &sealed.refresh, "access").await;
    assert_eq!(disguised, Err("InvalidCiphertextException".to_owned()));
    Ok(())
}

/// What KMS and Secrets Manager both answer to a role without the right. Any other error is of another kind.
const REFUSED: &str = "AccessDeniedException";

/// The wrapped data keys of one grant, as its row has them.
struct Wrapped {
    key: String,
    grant: String,
    access: Vec<u8>,
    refresh: Vec<u8>,
    nonce: Vec<u8>,
}

impl Wrapped {
    /// Links an account in a way that calls each function once: the emulator knows a function's session from then on.
    async fn of_a_linked_grant(stack: &Stack) -> Result<Self, Failure> {
        let now = clock::now().as_millisecond();
        let doorbell = json!([{ "preset": "doorbell", "footage": [{ "start": now - 600_000, "end": now }] }]);
        let home = Home::linked(stack, &doorbell).await?;
        let devices = home.device_ids().await?;
        let device = devices.values().next().expect("the doorbell");
        home.emit(&json!({ "type": "button_press", "device": device, "wait": true }))
            .await?;
        home.events_settle().await?;
        let window = json!({ "timestamp": now - 300_000, "duration": 5_000 });
        home.fetched(device, "clips", &window).await?;
        stack.invoke("canary", &schedule_at(clock::now())).await?;
        stack.invoke("token-refresh", &schedule_at(clock::now())).await?;
        home.call(Method::GET, "/ring/home", None).await?;

        let rows = rows_about(stack, "grant", &home.account).await?;
        let row = rows
            .iter()
            .find(|row| row.contains_key("tokens"))
            .expect("a grant with its tokens");
        let tokens = row["tokens"].as_m().expect("a pair");
        let wrapped = |name: &str| wrapped(tokens[name].as_s().expect("a sealed text"));
        let grant = row["pk"].as_s().expect("a text");
        let grant = grant.strip_prefix("grant#").expect("a grant's row").to_owned();
        let key = token_key(stack).await;
        let nonce = stack
            .aws()
            .keys
            .generate_data_key()
            .key_id(&key)
            .key_spec(DataKeySpec::Aes256);
        let nonce = nonce
            .encryption_context("token", "nonce")
            .encryption_context("grant", &grant)
            .send()
            .await
            .expect("the account itself may");
        Ok(Self {
            access: wrapped("access"),
            refresh: wrapped("refresh"),
            nonce: nonce.ciphertext_blob.expect("a wrapped key").into_inner(),
            key,
            grant,
        })
    }

    /// Uses a right, as the programs do. Says with which code it was refused.
    async fn attempt(&self, stack: &Stack, role: &Aws, right: Right) -> Result<Result<(), String>, Failure> {
        Ok(match right {
            Seal(kind) => {
                let key = role.keys.generate_data_key().key_id(&self.key);
                let key = key
                    .key_spec(DataKeySpec::Aes256)
                    .encryption_context("token", kind)
                    .encryption_context("grant", &self.grant);
                code(key.send().await)
            }
            Open("access") => self.unwrap(role, &self.access, "access").await,
            Open("refresh") => self.unwrap(role, &self.refresh, "refresh").await,
            Open(kind) => self.unwrap(role, &self.nonce, kind).await,
            Read(output) => {
                let secret = role.secrets.get_secret_value().secret_id(stack.output(output)?);
                code(secret.send().await)
            }
        })
    }

    async fn unwrap(&self, role: &Aws, wrapped: &[u8], kind: &str) -> Result<(), String> {
        let key = role
            .keys
            .decrypt()
            .key_id(&self.key)
            .ciphertext_blob(Blob::new(wrapped));
        let key = key
            .encryption_context("token", kind)
            .encryption_context("grant", &self.grant);
        code(key.send().await)
    }
}

fn code<T, E: ProvideErrorMetadata + std::fmt::Debug>(outcome: Result<T, E>) -> Result<(), String> {
    match outcome {
        Ok(_) => Ok(()),
        Err(error) => Err(error.code().map_or_else(|| format!("{error:?}"), str::to_owned)),
    }
}

/// The wrapped key in a sealed text: one byte of form, its length in two, and then itself.
fn wrapped(sealed: &str) -> Vec<u8> {
    let bytes = STANDARD_NO_PAD.decode(sealed).expect("Base64 without padding");
    let length = usize::from(u16::from_be_bytes([bytes[1], bytes[2]]));
    bytes[3..3 + length].to_vec()
}

/// The key that all tokens are sealed under, as a program is told it.
async fn token_key(stack: &Stack) -> String {
    let name = &stack.outputs().functions["token-exchange"];
    let function = stack.aws().functions.get_function_configuration().function_name(name);
    let function = function.send().await.expect("its settings");
    let variables = function.environment.and_then(|environment| environment.variables);
    variables.expect("its variables")["TOKEN_KEY_ID"].clone()
}
