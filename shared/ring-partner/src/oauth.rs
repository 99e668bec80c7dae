//! Tokens, and what Ring's token endpoint says about them. Ring: Token Exchange Flow; Refresh Tokens; Access Tokens.
//!
//! Each secret is a type of its own, so that a refresh token can't stand where an access token belongs. None shows
//! anything in `Debug`, has `Display`, or serialises: [`expose`](AccessToken::expose) is the one way out. How and where
//! they are kept is the caller's matter.

use std::fmt;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;

use crate::error::{ApiError, DEFAULT_WAIT, Error};
use crate::signature::without_line_break;

/// The longest token that is taken, in bytes.
const LONGEST_TOKEN: usize = 16 * 1024;

/// The longest authorization code that is taken, in bytes.
const LONGEST_CODE: usize = 2048;

/// The life that is assumed for an access token whose answer names none, which Ring's always does: short, as a token
/// refreshed too early costs a request, and one used too late costs an error.
pub const ASSUMED_LIFE: Duration = Duration::from_secs(3600);

/// No answer may claim more: it keeps `now + expires_in` within what an instant can be.
const LONGEST_LIFE: Duration = Duration::from_secs(366 * 24 * 3600);

/// What was offered as a secret can't be one. Says nothing of what was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is empty, too long, or has characters that none can have")]
pub struct MalformedSecret(&'static str);

macro_rules! secret {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(SecretString);

        impl $name {
            /// Takes the secret after a look at its length and characters.
            pub fn new(secret: impl Into<String>) -> Result<Self, MalformedSecret> {
                let secret = SecretString::from(secret.into());
                let check: fn(&str) -> bool = $check;
                if check(secret.expose_secret()) { Ok(Self(secret)) } else { Err(MalformedSecret($what)) }
            }

            /// The secret in clear.
            pub fn expose(&self) -> &str {
                self.0.expose_secret()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    };
}

secret! {
    /// What opens Ring's API for one user, for about four hours. It goes into `Authorization: Bearer`.
    AccessToken, "an access token", is_token
}

secret! {
    /// What new tokens are had for, for about thirty days. It goes to the token endpoint and nowhere else.
    RefreshToken, "a refresh token", is_token
}

secret! {
    /// The code that Ring sends to the Token Exchange URL: good once, for sixty seconds.
    AuthorizationCode, "an authorization code", is_code
}

secret! {
    /// What proves, in Ring's older two-way model, that whoever brings a code is the one who asked for it (RFC 7636, 4.1).
    CodeVerifier, "a code verifier", is_verifier
}

/// The unreserved characters of RFC 3986. RFC 7636 asks for 43 at least; Ring's own sample has five, and whether a verifier
/// is good enough is for Ring to say.
fn is_verifier(verifier: &str) -> bool {
    (1..=128).contains(&verifier.len())
        && verifier
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}

/// What can stand in a header or a form as it is: visible ASCII.
fn is_token(token: &str) -> bool {
    (1..=LONGEST_TOKEN).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The characters that RFC 3986 lets stand in a query. A `%` among them would be one decoded too little.
fn is_code(code: &str) -> bool {
    (1..=LONGEST_CODE).contains(&code.len())
        && code
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?".contains(&byte))
}

/// The client id and client secret of Ring's developer portal.
#[derive(Clone)]
pub struct Credentials {
    client_id: String,
    client_secret: SecretString,
}

impl Credentials {
    /// Takes both as the portal showed them. One trailing line break each, as editors and shells leave it, is dropped.
    pub fn new(client_id: impl Into<String>, client_secret: impl Into<String>) -> Result<Self, MalformedSecret> {
        let client_id = without_line_break(client_id.into());
        let client_secret = SecretString::from(without_line_break(client_secret.into()));
        if client_id.is_empty() {
            return Err(MalformedSecret("the client id"));
        }
        if client_secret.expose_secret().is_empty() {
            return Err(MalformedSecret("the client secret"));
        }
        Ok(Self {
            client_id,
            client_secret,
        })
    }

    /// The client id, which is no secret.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The client secret in clear.
    pub fn expose_secret(&self) -> &str {
        self.client_secret.expose_secret()
    }
}

impl PartialEq for Credentials {
    fn eq(&self, other: &Self) -> bool {
        self.client_id == other.client_id && self.expose_secret() == other.expose_secret()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// What stands for an access token that an answer did not have. Ring takes it for none.
const NO_ACCESS: &str = "-";

/// What the token endpoint answers to a code or a refresh token.
#[derive(Debug, Clone)]
pub struct TokenResponse {
    /// For requests, from now on; of no use where [`TokenResponse::has_access`] says so.
    pub access_token: AccessToken,
    /// For the next refresh. It replaces the one that was sent; if there is none, the sent one stays good.
    pub refresh_token: Option<RefreshToken>,
    /// How long the access token lives, from the moment of the answer. Zero where there is none: it counts as expired, so
    /// that whoever keeps the pair renews it before its first use.
    pub expires_in: Duration,
    /// What the tokens allow, in Ring's words.
    pub scope: Option<String>,
}

impl TokenResponse {
    /// Whether the access token is any good: an answer may have a refresh token alone, or an access token that is over.
    pub fn has_access(&self) -> bool {
        !self.expires_in.is_zero()
    }

    /// Reads a 200 of the token endpoint. Only what can't be done without is asked for, as the tokens in it may be the
    /// only ones left: what was sent for them is spent. So a good refresh token is never dropped for what is beside it.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            access_token: Value,
            refresh_token: Option<String>,
            #[serde(default)]
            expires_in: Value,
            #[serde(default)]
            scope: Value,
        }
        // serde's own error may quote what it read.
        let answer: Answer = serde_json::from_slice(body).map_err(|_| Error::Unusable("it is no token response"))?;
        let unusable = |_| Error::Unusable("it has no usable token");
        let refresh_token = answer
            .refresh_token
            .map(RefreshToken::new)
            .transpose()
            .map_err(unusable)?;
        let access_token = match answer.access_token {
            Value::String(token) => AccessToken::new(token),
            _ => AccessToken::new(""),
        };
        let (access_token, expires_in) = match (access_token, &refresh_token) {
            (Ok(token), _) => (token, life(&answer.expires_in)),
            (Err(_), Some(_)) => (AccessToken(NO_ACCESS.into()), Duration::ZERO),
            (Err(malformed), None) => return Err(unusable(malformed)),
        };
        Ok(Self {
            access_token,
            refresh_token,
            expires_in,
            scope: answer.scope.as_str().map(str::to_owned),
        })
    }
}

/// `expires_in` is a number of seconds; that some servers send it as a string is tolerated.
fn life(expires_in: &Value) -> Duration {
    let seconds = match expires_in {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    seconds.map_or(ASSUMED_LIFE, |seconds: f64| {
        Duration::try_from_secs_f64(seconds.max(0.0).floor())
            .unwrap_or(LONGEST_LIFE)
            .min(LONGEST_LIFE)
    })
}

/// Why no tokens came.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Ring does not take this code or refresh token (any more).
    #[error("Ring does not take this grant")]
    InvalidGrant,
    /// Ring does not take this client id or secret: a matter of the configuration, and no verdict on any grant.
    #[error("Ring does not take the client id or secret")]
    InvalidClient,
    /// The request surely did not reach Ring: it may be made again.
    #[error("the request to Ring's token endpoint was not sent")]
    NotSent(#[source] Box<Error>),
    /// Ring answered that it can't do it now.
    #[error("Ring's token endpoint is unavailable (status {status})")]
    Unavailable {
        /// The status of the answer: 408, 429 or of the 500s.
        status: u16,
        /// How long Ring asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// It was sent, and no whole answer came: Ring may have done it, and then the sent token is spent.
    #[error("no usable answer came from Ring's token endpoint")]
    Unclear(#[source] Box<Error>),
    /// Ring refused for a reason that its documentation does not list.
    #[error("Ring's token endpoint refused (status {status}, code {code:?})")]
    Rejected {
        /// The status of the answer.
        status: u16,
        /// The `error` of the answer, where it has one.
        code: Option<String>,
    },
}

impl TokenError {
    /// How long Ring asks to be left alone, by all requests alike: a 429, another answer that says `Retry-After`, or a circuit
    /// that is open. That one request did not get through asks for nothing.
    pub fn pause(&self) -> Option<Duration> {
        match self {
            Self::Unavailable {
                status: 429,
                retry_after,
            } => Some(retry_after.unwrap_or(DEFAULT_WAIT)),
            Self::Unavailable { retry_after, .. } => *retry_after,
            Self::NotSent(source) => source.pause(),
            _ => None,
        }
    }
}

impl From<Error> for TokenError {
    fn from(error: Error) -> Self {
        match error {
            Error::NotSent(_) => Self::NotSent(Box::new(error)),
            Error::Api(answer) => Self::from(&*answer),
            _ => Self::Unclear(Box::new(error)),
        }
    }
}

impl From<&ApiError> for TokenError {
    /// The form of an error is not documented: RFC 6749's `error`, and Ring's own `code` and `title`, are all read.
    fn from(answer: &ApiError) -> Self {
        let code = answer.code.as_deref().or(answer.title.as_deref());
        let word = code.map(|code| code.trim().to_ascii_lowercase().replace([' ', '-'], "_"));
        match (answer.status, word.as_deref()) {
            (400 | 401, Some("invalid_grant")) => Self::InvalidGrant,
            (400 | 401, Some("invalid_client" | "unauthorized_client")) | (401, _) => Self::InvalidClient,
            (408 | 429 | 500.., _) => Self::Unavailable {
                status: answer.status,
                retry_after: answer.retry_after,
            },
            (status, _) => Self::Rejected {
                status,
                code: code.map(str::to_owned),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, StatusCode};

    use super::*;
    use crate::error::Endpoint;

    #[test]
    fn the_documented_answer_is_read() {
        let tokens = TokenResponse::parse(
            br#"{"access_token":"xxxxx","refresh_token":"yyyyy","scope":"<scope>","expires_in":14400,"token_type":"Bearer"}"#,
        )
        .unwrap();
        assert_eq!(tokens.access_token.expose(), "xxxxx");
        assert_eq!(tokens.refresh_token.unwrap().expose(), "yyyyy");
        assert_eq!(tokens.expires_in, Duration::from_secs(14400));
        assert_eq!(tokens.scope.as_deref(), Some("<scope>"));
    }

    #[test]
    fn trap_6_an_answer_without_a_refresh_token_is_a_good_one() {
        for body in [
            r#"{"access_token":"x"}"#,
            r#"{"access_token":"x","refresh_token":null}"#,
        ] {
            assert!(TokenResponse::parse(body.as_bytes()).unwrap().refresh_token.is_none());
        }
    }

    #[test]
    fn a_good_refresh_token_is_never_lost_for_an_access_token_that_is_missing_or_malformed() {
        for access in [
            "null",
            "\"\"",
            "7",
            r#"{"token":"x"}"#,
            "[]",
            r#""with a space""#,
            r#""line\nbreak""#,
        ] {
            let body = format!(r#"{{"access_token":{access},"refresh_token":"good","expires_in":14400,"scope":"s"}}"#);
            let tokens = TokenResponse::parse(body.as_bytes()).unwrap();
            assert_eq!(tokens.refresh_token.as_ref().unwrap().expose(), "good", "{access}");
            assert!(!tokens.has_access() && tokens.expires_in.is_zero(), "{access}");
            assert_eq!(tokens.access_token.expose(), NO_ACCESS, "{access}");
            assert_eq!(tokens.scope.as_deref(), Some("s"));
        }
        let tokens = TokenResponse::parse(br#"{"refresh_token":"good"}"#).unwrap();
        assert!(!tokens.has_access() && tokens.refresh_token.is_some());
        let tokens = TokenResponse::parse(br#"{"access_token":"x","refresh_token":"good","expires_in":1}"#).unwrap();
        assert!(tokens.has_access());
    }

    #[test]
    fn trap_12_the_life_of_a_token_is_what_the_answer_says() {
        let check = |expires_in: &str, expected: Duration| {
            let body = format!(r#"{{"access_token":"x","expires_in":{expires_in}}}"#);
            assert_eq!(
                TokenResponse::parse(body.as_bytes()).unwrap().expires_in,
                expected,
                "{expires_in}"
            );
        };
        check("14400", Duration::from_secs(14400));
        check("60", Duration::from_secs(60));
        check("\"7200\"", Duration::from_secs(7200));
        check("59.9", Duration::from_secs(59));
        check("0", Duration::ZERO);
        check("-5", Duration::ZERO);
        check("1e300", LONGEST_LIFE);
        check("null", ASSUMED_LIFE);
        check("\"soon\"", ASSUMED_LIFE);
    }

    #[test]
    fn an_answer_without_a_usable_access_token_is_unclear_and_quotes_nothing() {
        for body in [
            "",
            "[]",
            "{}",
            r#"{"access_token":""}"#,
            r#"{"access_token":"s3cret with a space","refresh_token":null}"#,
            r#"{"access_token":{"s3cret":1},"refresh_token":"with a space"}"#,
            r#"{"access_token":"s3cret with a space"}"#,
            r#"{"access_token":"s3cret","refresh_token":"s3cret\n"}"#,
            r#"{"access_token":{"s3cret":1}}"#,
        ] {
            let error = TokenError::from(TokenResponse::parse(body.as_bytes()).unwrap_err());
            assert!(matches!(error, TokenError::Unclear(_)), "{body}");
            assert!(!format!("{error} {error:?}").contains("s3cret"));
        }
    }

    #[test]
    fn trap_11_the_endpoint_s_errors_are_told_apart() {
        let check = |status: u16, body: &str, expected: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", HeaderValue::from_static("7"));
            let status = StatusCode::from_u16(status).unwrap();
            let answer = ApiError::read(Endpoint::OAuth, false, status, &headers, body.as_bytes(), &[]);
            let error = TokenError::from(Error::Api(Box::new(answer)));
            let name = format!("{error:?}");
            assert!(name.starts_with(expected), "{status} {body}: {name}");
            assert_eq!(error.pause().is_some(), expected == "Unavailable");
        };
        check(
            400,
            r#"{"error":"invalid_grant","error_description":"expired"}"#,
            "InvalidGrant",
        );
        check(401, r#"{"error":"invalid_grant"}"#, "InvalidGrant");
        check(
            400,
            r#"{"errors":[{"status":"400","title":"Invalid Grant"}]}"#,
            "InvalidGrant",
        );
        check(401, r#"{"error":"invalid_client"}"#, "InvalidClient");
        check(400, r#"{"error":"invalid_client"}"#, "InvalidClient");
        check(400, r#"{"error":"unauthorized_client"}"#, "InvalidClient");
        check(
            401,
            r#"{"errors":[{"status":"401","title":"Invalid Client"}]}"#,
            "InvalidClient",
        );
        // Without a word of the grant no grant is dead.
        check(401, "", "InvalidClient");
        check(400, "", "Rejected");
        check(400, r#"{"error":"invalid_request"}"#, "Rejected");
        check(403, r#"{"error":"invalid_grant"}"#, "Rejected");
        check(404, "<html>", "Rejected");
        check(302, "", "Rejected");
        for status in [408, 429, 500, 502, 503, 504] {
            check(status, "{}", "Unavailable");
        }
        check(503, r#"{"error":"invalid_grant"}"#, "Unavailable");
    }

    #[test]
    fn trap_15_secrets_are_checked_and_show_nothing() {
        for token in ["eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.x-_~+/=", "a"] {
            assert_eq!(AccessToken::new(token).unwrap().expose(), token);
        }
        for token in ["", " ", "a b", "a\r\nX-Evil: 1", "a\0", "ü", &"x".repeat(16 * 1024 + 1)] {
            assert!(AccessToken::new(token).is_err(), "{token:?}");
            assert!(RefreshToken::new(token).is_err(), "{token:?}");
        }
        let access = AccessToken::new("s3cret").unwrap();
        let refresh = RefreshToken::new("s3cret").unwrap();
        let code = AuthorizationCode::new("s3cret").unwrap();
        let verifier = CodeVerifier::new("s3cret").unwrap();
        let credentials = Credentials::new("client", "s3cret").unwrap();
        let shown = format!("{access:?} {refresh:?} {code:?} {verifier:?} {credentials:?}");
        assert!(!shown.contains("s3cret"), "{shown}");
        let tokens = TokenResponse {
            access_token: access,
            refresh_token: Some(refresh),
            expires_in: Duration::ZERO,
            scope: None,
        };
        assert!(!format!("{tokens:?}").contains("s3cret"));
    }

    #[test]
    fn a_code_has_a_bound_and_a_charset() {
        for code in ["abc123", "4/0Ab_c-d.e~f", "M.R3_BAY.x!*y$", "a+b=="] {
            assert_eq!(AuthorizationCode::new(code).unwrap().expose(), code);
        }
        assert!(AuthorizationCode::new("x".repeat(2048)).is_ok());
        assert!(AuthorizationCode::new("x".repeat(2049)).is_err());
        for code in [
            "", " ", "a b", "a\nb", "<script>", "a\"b", "a%20b", "a#b", "ü", "a\\b", "{}", "\0",
        ] {
            assert!(AuthorizationCode::new(code).is_err(), "{code:?}");
        }
    }

    #[test]
    fn trap_4_a_verifier_is_of_unreserved_characters_and_may_be_as_short_as_rings_sample() {
        let longest = "x".repeat(128);
        // Ring's sample; RFC 7636, appendix B; each kind of character.
        for verifier in [
            "xxxxx",
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
            "aZ09-._~",
            &longest,
        ] {
            assert_eq!(CodeVerifier::new(verifier).unwrap().expose(), verifier);
        }
        assert!(CodeVerifier::new("x".repeat(129)).is_err());
        for verifier in ["", " ", "a b", "a+b", "a/b", "a=", "a%20", "a\n", "ü", "\0", "\""] {
            assert!(CodeVerifier::new(verifier).is_err(), "{verifier:?}");
        }
    }

    #[test]
    fn trap_18_a_trailing_line_break_is_no_part_of_a_credential() {
        let credentials = Credentials::new("client\n", "secret\r\n").unwrap();
        assert_eq!(
            (credentials.client_id(), credentials.expose_secret()),
            ("client", "secret")
        );
        for (id, secret) in [("", "secret"), ("client", ""), ("\n", "secret"), ("client", "\n")] {
            assert!(Credentials::new(id, secret).is_err());
        }
    }
}
