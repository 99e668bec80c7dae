//! What the program says once a stack is up: where everything is, and lines to paste.

use std::fmt::Write as _;

use crate::life::EMAIL;
use crate::outputs::Outputs;
use crate::stack::Stack;
use crate::users::PASSWORD;

/// The text for whoever keeps a stack up, with a token of theirs.
pub fn welcome(stack: &Stack, email: &str, token: &str) -> String {
    let Outputs {
        api_url,
        api_host,
        aws_endpoint_url,
        aws_region,
        ring,
        stack_name,
        ..
    } = stack.outputs();
    let key = &stack.outputs().aws_access_key_id;
    let secret = &stack.outputs().aws_secret_access_key;
    let outputs = stack.place().outputs()[0].display().to_string();
    let logs = stack.folder().display();
    let mut text = format!(
        "
The stack {stack_name} is up. Ctrl-C ends it, and all that it started.

  API      {api_url}, with the header Host: {api_host}
  AWS      {aws_endpoint_url}, region {aws_region}, key {key}, secret {secret}
  Ring     {}, tokens at {}
  outputs  {outputs}
  logs     {logs}

Paste this first, in another terminal; the token is {email}'s, and good for an hour:

  API={api_url} HOST='Host: {api_host}'
  TOKEN='Authorization: Bearer {token}'

and then, for example:

  curl -s -H \"$HOST\" -H \"$TOKEN\" $API/v1/links
  curl -s -H \"$HOST\" -H \"$TOKEN\" $API/v1/devices
",
        ring.api_url, ring.oauth_url
    );
    if let Some(control) = &ring.control_url {
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "
The offline Ring takes orders ({control}/_sim/health lists them). One of its users installs the app, confirms, is
linked to you, and then something moves at the door:

  JOHN={control}/_sim/users/ava1.ring.account.DEMO.JOHN_1
  curl -s -X POST $JOHN/install
  curl -s -X POST $JOHN/confirm | python3 -c 'import json, sys; c = json.load(sys.stdin); c.pop(\"url\"); print(json.dumps(c))' |
    curl -s -H \"$HOST\" -H \"$TOKEN\" -H 'Content-Type: application/json' -d @- $API/v1/links
  curl -s -X POST -d '{{\"type\": \"motion_detected\"}}' $JOHN/events
  curl -s -H \"$HOST\" -H \"$TOKEN\" $API/v1/events
"
        );
    }
    let _ = write!(text, "{}", console(stack, email));
    text
}

/// Where the console is, last, as it is what a newcomer wants.
fn console(stack: &Stack, email: &str) -> String {
    let Some(home) = stack.outputs().outputs.get("AppHomepageUrl") else {
        return String::new();
    };
    let (email, what) = match stack.ring().urls().control_url {
        Some(_) => (
            EMAIL,
            "Its cameras move from when you are there: motion, pictures, clips, live video.",
        ),
        None => (email, "It shows the cameras of whichever Ring account you link."),
    };
    format!(
        "
Open the console in a browser, and sign in as {email} with the password {PASSWORD} .
{what}

  {home}
"
    )
}
