//! The four URLs of Ring's portal, from outside, as Ring's reviewers try them: HTTPS of today, no redirect, POST answered, a bad
//! signature refused with 401 and a good one answered with 200 within five seconds, the pages there.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use jiff::Timestamp;
use reqwest::header::CONTENT_TYPE;
use reqwest::tls::Version;
use reqwest::{Method, Request, StatusCode, Url};
use ring_partner::signature::sign;
use shared::edge::clock;
use shared::edge::secret::SigningKeys;
use shared::event::EventId;
use shared::event::store::Events;
use shared::event::synthetic::{self, RECORDED_WITHIN};
use uuid::Uuid;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::finding::{Finding, within};
use super::visit::{Answer, NoAnswer, Visitor};
use crate::failure::Doing as _;
use crate::stack::Stack;

/// Ring: Webhook Response Handling.
const PATIENCE: Duration = Duration::from_secs(5);
/// ACM renews 60 days before the end; with so many left, it has failed to.
const DAYS_LEFT: i64 = 14;

const REFUSES: &str = "webhook-refuses";
const TAKES: &str = "webhook-takes";
const RECORDED: &str = "webhook-recorded";
const TOKEN: &str = "token-exchange-url";
const TOKEN_KEY: &str = "token-exchange-key";
const LINK: &str = "account-link-page";
const HOME: &str = "home-page";
const TLS: &str = "tls";

/// What is found of all of them.
pub(super) async fn look(stack: &Stack, keys: Option<&SigningKeys>, time: Duration) -> Vec<Finding> {
    let visitor = Visitor {
        patience: PATIENCE,
        trusted: None,
    };
    let mut findings = Vec::new();
    let mut doors: BTreeMap<&str, Url> = BTreeMap::new();
    for output in ["WebhookUrl", "TokenExchangeUrl", "AccountLinkUrl", "AppHomepageUrl"] {
        match stack.output(output).and_then(|text| text.parse().ok()) {
            Some(url) => _ = doors.insert(output, url),
            None => findings.push(Finding::fails(
                TLS,
                format!("the stack has no output {output} that is a URL"),
                "deploy this version of the template",
            )),
        }
    }
    // Each origin once: mostly there is but one.
    let origins: BTreeMap<String, &Url> = doors
        .values()
        .map(|url| (url.origin().ascii_serialization(), url))
        .collect();
    let visitor = &visitor;
    let tls = join_all(origins.values().map(|url| within(time, TLS, visitor.tls(url))));
    let webhook = async {
        let Some(url) = doors.get("WebhookUrl") else {
            return Vec::new();
        };
        within(time, TAKES, visitor.webhook(stack, url, keys)).await
    };
    let token = async {
        let Some(url) = doors.get("TokenExchangeUrl") else {
            return Vec::new();
        };
        within(time, TOKEN, visitor.token_exchange(url, keys)).await
    };
    let pages = [("AccountLinkUrl", LINK), ("AppHomepageUrl", HOME)];
    let pages = join_all(pages.into_iter().filter_map(|(output, check)| {
        let url = doors.get(output)?;
        Some(within(time, check, async move { vec![visitor.page(check, url).await] }))
    }));
    let (tls, webhook, token, pages) = tokio::join!(tls, webhook, token, pages);
    findings.extend(tls.into_iter().flatten());
    findings.extend([webhook, token].concat());
    findings.extend(pages.into_iter().flatten());
    findings
}

/// What a request should be answered with, and what to do where it is not.
struct Expected {
    check: &'static str,
    status: StatusCode,
    /// What the answer shows when it is that.
    shows: &'static str,
    advice: &'static str,
}

impl Visitor {
    /// What TLS an origin has.
    async fn tls(&self, url: &Url) -> Vec<Finding> {
        let origin = url.origin().ascii_serialization();
        if url.scheme() != "https" {
            return vec![plain(url, &origin)];
        }
        let mut root = url.clone();
        root.set_path("/");
        root.set_query(None);
        let (answer, old) = tokio::join!(self.ask(&root, Method::GET, None, None), self.speaks_old_tls(&root));
        let answer = match answer {
            Ok(answer) => answer,
            Err(none) => return vec![unanswered(TLS, &origin, &none)],
        };
        let version = match answer.tls {
            Some(Version::TLS_1_3) => "TLS 1.3",
            Some(Version::TLS_1_2) => "TLS 1.2",
            _ => "TLS",
        };
        let agreed = match old {
            Ok(false) => Finding::holds(TLS, format!("{origin} speaks {version}, and nothing below 1.2")),
            Ok(true) => Finding::fails(
                TLS,
                format!("{origin} speaks {version}, and still agrees to TLS 1.1 or less"),
                "set the domain's security policy to TLS_1_2, as the template does, or that of what stands before it",
            ),
            Err(none) => Finding::not_checked(
                TLS,
                format!("{origin} speaks {version}; whether it still agrees to TLS 1.1 or less is not known: {none}"),
            ),
        };
        let until = answer.certificate.as_deref().and_then(valid_until);
        let certificate = match until {
            Some(until) => of_certificate(&origin, until, clock::now()),
            None => Finding::not_checked("certificate", format!("{origin}: its certificate can't be read")),
        };
        vec![agreed, certificate]
    }

    /// Both signatures, and the way of the good one to its record.
    async fn webhook(&self, stack: &Stack, url: &Url, keys: Option<&SigningKeys>) -> Vec<Finding> {
        let (body, id) = synthetic::made(&Uuid::new_v4().to_string(), clock::now());
        let forged = format!("sha256={}", "0".repeat(64));
        let body = body.as_bytes();
        let answer = self.ask(url, Method::POST, Some(&forged), Some(body)).await;
        let mut findings = vec![
            Expected {
                check: REFUSES,
                status: StatusCode::UNAUTHORIZED,
                shows: "a POST with a forged signature",
                advice: "see the log of webhook-intake: a 503 is a signing secret that it can't read, a 404 another stack's URL",
            }
            .found(url.as_str(), answer),
        ];
        let Some(key) = keys.and_then(|keys| keys.all().first()) else {
            let why = "there is no signing key at hand to sign an event with";
            findings.push(Finding::not_checked(TAKES, why));
            return findings;
        };
        let signature = sign(key, body);
        let taken = self.ask(url, Method::POST, Some(&signature), Some(body)).await;
        let is_taken = matches!(&taken, Ok(answer) if answer.status == StatusCode::OK);
        findings.push(
            Expected {
                check: TAKES,
                status: StatusCode::OK,
                shows: "a synthetic event that is well signed",
                advice: "see the log of webhook-intake: a 401 is another key than the secret's, a 503 a queue or a secret out of reach",
            }
            .found(url.as_str(), taken),
        );
        if is_taken {
            findings.push(recorded(stack, &id).await);
        }
        findings
    }

    /// A POST without a code is refused as such, which shows that the key in the URL is the stack's; another key is not known.
    async fn token_exchange(&self, url: &Url, keys: Option<&SigningKeys>) -> Vec<Finding> {
        let body = b"{}";
        // Where Ring's signature is required there, it is here.
        let signature = keys.and_then(|keys| keys.all().first()).map(|key| sign(key, body));
        let other = url
            .join(&Uuid::new_v4().simple().to_string())
            .unwrap_or_else(|_| url.clone());
        let (answer, of_other) = tokio::join!(
            self.ask(url, Method::POST, signature.as_deref(), Some(body)),
            self.ask(&other, Method::POST, signature.as_deref(), Some(body)),
        );
        let place = without_key(url);
        vec![
            Expected {
                check: TOKEN,
                status: StatusCode::BAD_REQUEST,
                shows: "a POST without a code",
                advice: "see the log of token-exchange: a 404 is a key that the stack does not have",
            }
            .found(&place, answer),
            Expected {
                check: TOKEN_KEY,
                status: StatusCode::NOT_FOUND,
                shows: "a POST with another key",
                advice: "deploy with a TokenUrlKey: without one anybody can bring codes",
            }
            .found(&place, of_other),
        ]
    }

    /// A page, as a browser asks for it.
    async fn page(&self, check: &'static str, url: &Url) -> Finding {
        let answer = self.ask(url, Method::GET, None, None).await;
        if let Ok(Answer {
            status: StatusCode::OK,
            is_html: false,
            ..
        }) = answer
        {
            return Finding::fails(
                check,
                format!("{url} answers 200 with something that is no page"),
                "register the URL of a page (content type text/html)",
            );
        }
        Expected {
            check,
            status: StatusCode::OK,
            shows: "a browser",
            advice: "see the log of portal, or of your own page where its URL is a parameter of the stack",
        }
        .found(url.as_str(), answer)
    }

    async fn ask(
        &self,
        url: &Url,
        method: Method,
        signature: Option<&str>,
        body: Option<&[u8]>,
    ) -> Result<Answer, NoAnswer> {
        let client = self.client(url)?;
        let mut request = Request::new(method, url.clone());
        if let Some(body) = body {
            *request.body_mut() = Some(body.to_vec().into());
            let json = reqwest::header::HeaderValue::from_static("application/json");
            request.headers_mut().insert(CONTENT_TYPE, json);
        }
        if let Some(signature) = signature.and_then(|signature| signature.parse().ok()) {
            request.headers_mut().insert("x-signature", signature);
        }
        self.visit(&client, request).await
    }
}

impl Expected {
    fn found(&self, place: &str, answer: Result<Answer, NoAnswer>) -> Finding {
        let Self { check, shows, .. } = *self;
        match answer {
            Err(none) => unanswered(check, place, &none),
            Ok(answer) if answer.status == self.status => {
                let (status, took) = (answer.status.as_u16(), answer.took.as_secs_f64());
                Finding::holds(check, format!("{place} answers {shows} with {status} in {took:.2} s"))
            }
            Ok(answer) if answer.status.is_redirection() => Finding::fails(
                check,
                format!("{place} answers {shows} with {}, a redirect", answer.status.as_u16()),
                "register the URL that it leads to: Ring's servers follow none",
            ),
            Ok(answer) => Finding::fails(
                check,
                format!(
                    "{place} answers {shows} with {}, and not with {}",
                    answer.status,
                    self.status.as_u16()
                ),
                self.advice,
            ),
        }
    }
}

fn unanswered(check: &'static str, place: &str, none: &NoAnswer) -> Finding {
    let advice = match none {
        NoAnswer::Slow(_) => "see the program's log and time: Ring waits for five seconds, and tries again seven times",
        NoAnswer::Certificate(_) => {
            "have ACM make a certificate of that very name (DomainCertificateArn), and leave its record in the DNS: it is renewed \
             by that"
        }
        NoAnswer::NoTls(_) => "let it speak TLS 1.2 or 1.3, with what browsers agree to",
        NoAnswer::Unreachable(_) => {
            "see whether the name leads to the stack (the output DomainTarget), and whether this machine reaches the Internet"
        }
    };
    Finding::fails(check, format!("{place}: {none}"), advice)
}

/// No TLS: of no matter on this machine, and nothing for Ring.
fn plain(url: &Url, origin: &str) -> Finding {
    let host = url.host_str().unwrap_or_default();
    let is_here = host == "localhost"
        || host.ends_with(".localhost")
        || host
            .trim_matches(['[', ']'])
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback());
    if is_here {
        return Finding::not_checked(TLS, format!("{origin} is this machine, without TLS"));
    }
    Finding::fails(
        TLS,
        format!("{origin} has no TLS"),
        "register a URL of https: Ring takes no other",
    )
}

/// The key in the path is nobody's to see.
fn without_key(url: &Url) -> String {
    let mut url = url.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop().push("KEY");
    }
    url.to_string()
}

async fn recorded(stack: &Stack, id: &EventId) -> Finding {
    let since = Instant::now();
    let looking = async {
        let events = Events::new(&stack.aws, stack.resource("EventsTable")?);
        let recorded = synthetic::is_recorded(&events, id).await;
        recorded.or_fail(|| "The table of events can't be read".to_owned())
    };
    match looking.await {
        Ok(true) => Finding::holds(
            RECORDED,
            format!("it is recorded {:.1} s later", since.elapsed().as_secs_f64()),
        ),
        Ok(false) => Finding::fails(
            RECORDED,
            format!(
                "it was taken, and is not recorded after {} s",
                RECORDED_WITHIN.as_secs()
            ),
            "see `ops dlq list` and the log of event-processor",
        ),
        Err(failure) => Finding::of_failure(RECORDED, failure),
    }
}

fn valid_until(der: &[u8]) -> Option<Timestamp> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}

fn of_certificate(origin: &str, until: Timestamp, now: Timestamp) -> Finding {
    let days = until.duration_since(now).as_secs() / 86_400;
    let said = format!("{origin}: its certificate is good for {days} days more");
    if days < DAYS_LEFT {
        let advice = "see in ACM why it was not renewed: mostly its record in the DNS is gone";
        Finding::fails("certificate", said, advice)
    } else {
        Finding::holds("certificate", said)
    }
}

#[cfg(test)]
mod tests;
