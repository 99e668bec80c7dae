//! A webhook as API Gateway hands it over, and the answer as it takes it (HTTP APIs: payload format 2.0). What does not count
//! here is neither kept nor looked at: whoever sends it chooses it. Beside it what the canary asks for, which comes by no gateway.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use axum::response::IntoResponse as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use shared::edge::problem::Problem;
use shared::event::synthetic::{Ask, Signed};

/// What Ring signs with. Several of one name come as one, with commas between.
const SIGNATURE: &str = "x-signature";
/// The context of the trace.
pub(crate) const TRACE: &str = "x-amzn-trace-id";

/// A webhook.
#[derive(Clone, Debug, Default)]
pub struct Webhook {
    /// Those of its headers that count.
    pub headers: HeaderMap,
    /// The bytes that were signed.
    pub body: Vec<u8>,
}

impl Webhook {
    /// It belongs to this trace (Lambda: the runtime's `Lambda-Runtime-Trace-Id`).
    #[must_use]
    pub fn traced(mut self, context: Option<&str>) -> Self {
        if let Some(context) = context.and_then(|context| HeaderValue::from_str(context).ok()) {
            self.headers.insert(TRACE, context);
        }
        self
    }
}

/// What the intake is called for.
#[derive(Clone, Debug)]
pub enum Call {
    /// By the gateway: to take this in.
    Webhook(Webhook),
    /// By the canary, which has no key: to sign a synthetic event. No sender can pass a webhook off as this: what a sender
    /// chooses lies below the gateway's `headers` and `body`.
    Sign(Ask),
}

impl<'de> Deserialize<'de> for Call {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Event {
            #[serde(default)]
            headers: Signatures,
            #[serde(default)]
            body: Option<String>,
            #[serde(default)]
            is_base64_encoded: bool,
            #[serde(default, rename = "sign_synthetic")]
            ask: Option<String>,
        }
        let event = Event::deserialize(deserializer)?;
        if let Some(sign_synthetic) = event.ask {
            return Ok(Self::Sign(Ask { sign_synthetic }));
        }
        let body = event.body.unwrap_or_default();
        let body = if event.is_base64_encoded {
            STANDARD.decode(body).map_err(D::Error::custom)?
        } else {
            body.into_bytes()
        };
        let headers = event.headers.0;
        Ok(Self::Webhook(Webhook { headers, body }))
    }
}

#[derive(Default)]
struct Signatures(HeaderMap);

impl<'de> Deserialize<'de> for Signatures {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Headers;

        impl<'de> Visitor<'de> for Headers {
            type Value = Signatures;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("headers")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Signatures, A::Error> {
                let mut kept = HeaderMap::new();
                while let Some(name) = map.next_key::<Cow<'de, str>>()? {
                    if !name.eq_ignore_ascii_case(SIGNATURE) {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    }
                    // One that is no header value is none of Ring's.
                    if let Ok(value) = HeaderValue::from_str(&map.next_value::<Cow<'de, str>>()?) {
                        kept.append(SIGNATURE, value);
                    }
                }
                Ok(Signatures(kept))
            }
        }

        deserializer.deserialize_map(Headers)
    }
}

/// What a call is answered with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Reply {
    /// To the gateway.
    Answer(Answer),
    /// To the canary.
    Signed(Signed),
}

/// The answer to a webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Its status.
    pub status_code: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Answer {
    /// 200: nothing more to do.
    pub(crate) fn taken() -> Self {
        Self {
            status_code: 200,
            headers: BTreeMap::from([(CONTENT_TYPE.to_string(), "application/json".to_owned())]),
            body: "{}".to_owned(),
        }
    }

    /// What a problem answers.
    pub(crate) async fn of(problem: Problem) -> Self {
        let (parts, body) = problem.into_response().into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await;
        let headers = parts.headers.iter();
        let headers = headers.filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())));
        Self {
            status_code: parts.status.as_u16(),
            headers: headers.collect(),
            body: String::from_utf8_lossy(&body.expect("a problem's document is in memory")).into_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use shared::edge::problem::ProblemType;

    use super::*;

    fn read(event: &Value) -> Result<Webhook, serde_json::Error> {
        Ok(match serde_json::from_str(&event.to_string())? {
            Call::Webhook(webhook) => webhook,
            Call::Sign(_) => panic!("{event} is no ask"),
        })
    }

    #[test]
    fn the_canarys_ask_is_known_and_nothing_that_a_sender_chooses_is_one() {
        let ask = json!({"sign_synthetic": "one"});
        let read_as = |event: &Value| serde_json::from_str::<Call>(&event.to_string()).unwrap();
        assert!(matches!(read_as(&ask), Call::Sign(ask) if ask.sign_synthetic == "one"));
        let sent = json!({
            "headers": {"sign_synthetic": "one"},
            "queryStringParameters": {"sign_synthetic": "one"},
            "rawQueryString": "sign_synthetic=one",
            "body": ask.to_string(),
        });
        assert_eq!(read(&sent).unwrap().body, ask.to_string().as_bytes());
    }

    #[test]
    fn the_signatures_and_the_body_are_kept_as_they_came_and_nothing_else_is() {
        let event = json!({
            "version": "2.0",
            "headers": {"X-Signature": "sha256=aa,sha256=bb", "authorization": "hush", "x-amzn-trace-id": "Root=1"},
            "body": "{\"é\":1}",
            "isBase64Encoded": false,
        });
        let webhook = read(&event).unwrap().traced(Some("Root=2"));
        assert_eq!(webhook.body, "{\"é\":1}".as_bytes());
        assert_eq!(webhook.headers["x-signature"], "sha256=aa,sha256=bb");
        assert_eq!(webhook.headers[TRACE], "Root=2");
        assert_eq!(webhook.headers.len(), 2);
    }

    #[test]
    fn a_body_in_base64_is_the_bytes_it_stands_for_and_none_is_empty() {
        let webhook = read(&json!({"body": "//4=", "isBase64Encoded": true})).unwrap();
        assert_eq!(webhook.body, [0xff, 0xfe]);
        assert!(read(&json!({"body": "?", "isBase64Encoded": true})).is_err());
        for empty in [json!({}), json!({"body": null, "headers": {}})] {
            assert!(read(&empty).unwrap().body.is_empty());
        }
    }

    #[test]
    fn a_header_that_is_none_is_no_signature_and_fails_nothing() {
        let webhook = read(&json!({"headers": {"x-signature": "a\nb"}, "body": "{}"})).unwrap();
        assert!(webhook.headers.is_empty());
    }

    #[tokio::test]
    async fn a_problem_is_answered_as_a_document() {
        let answer = serde_json::to_value(Answer::of(Problem::new(ProblemType::Unavailable)).await).unwrap();
        assert_eq!(answer["statusCode"], 503);
        assert_eq!(answer["headers"]["content-type"], "application/problem+json");
        assert!(answer["body"].as_str().unwrap().contains("/problems/unavailable"));
        let taken = serde_json::to_value(Answer::taken()).unwrap();
        assert_eq!((&taken["statusCode"], &taken["body"]), (&json!(200), &json!("{}")));
    }
}
