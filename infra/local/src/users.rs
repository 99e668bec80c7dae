//! People who sign in: users of the pool that the stack makes.

use std::collections::HashMap;

use aws_sdk_cognitoidentityprovider::error::SdkError;
use aws_sdk_cognitoidentityprovider::types::{AttributeType, AuthFlowType, MessageActionType};

use crate::aws::Aws;
use crate::failure::{Doing, Failure};
use crate::outputs::Outputs;

/// With what each user of the local pool signs in, on the pages too. It opens nothing but this machine's own stack.
pub const PASSWORD: &str = "On-loopback-alone-1";

/// Signs somebody in, and makes them a user first if they are new. Returns the ID token.
pub async fn sign_in(aws: &Aws, outputs: &Outputs, email: &str) -> Result<String, Failure> {
    let what = || format!("{email} can't be signed in");
    let output = |key: &str| {
        let found = outputs.outputs.get(key).cloned();
        found.ok_or_else(|| Failure::new(what()).because(format!("the stack has no output {key}")))
    };
    sign_in_at(aws, &output("UserPoolId")?, &output("UserPoolClientId")?, email).await
}

/// The same, at a client of any pool.
pub(crate) async fn sign_in_at(aws: &Aws, pool: &str, client: &str, email: &str) -> Result<String, Failure> {
    let what = || format!("{email} can't be signed in");
    let attribute = |name: &str, value: &str| {
        let built = AttributeType::builder().name(name).value(value).build();
        built.or_fail(what)
    };
    let made = aws
        .users
        .admin_create_user()
        .user_pool_id(pool)
        .username(email)
        .message_action(MessageActionType::Suppress)
        .user_attributes(attribute("email", email)?)
        .user_attributes(attribute("email_verified", "true")?)
        .send()
        .await;
    match made {
        Ok(_) => {}
        Err(SdkError::ServiceError(refused)) if refused.err().is_username_exists_exception() => {}
        Err(error) => return Err(error).or_fail(what),
    }
    let set = aws
        .users
        .admin_set_user_password()
        .user_pool_id(pool)
        .username(email)
        .password(PASSWORD)
        .permanent(true);
    set.send().await.or_fail(what)?;
    let answer = aws
        .users
        .admin_initiate_auth()
        .user_pool_id(pool)
        .client_id(client)
        .auth_flow(AuthFlowType::AdminUserPasswordAuth)
        .set_auth_parameters(Some(HashMap::from([
            ("USERNAME".to_owned(), email.to_owned()),
            ("PASSWORD".to_owned(), PASSWORD.to_owned()),
        ])))
        .send()
        .await
        .or_fail(what)?;
    let token = answer.authentication_result.and_then(|result| result.id_token);
    token.ok_or_else(|| Failure::new(what()).because("the pool gave no ID token"))
}
