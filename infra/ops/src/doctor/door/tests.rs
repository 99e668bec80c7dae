//! Doors as they may be, on loopback: of each TLS, with good certificates and bad ones, that lead elsewhere, that are slow.

use std::sync::Arc;

use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::Certificate;
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::super::finding::Verdict;
use super::*;

/// What a server is like.
struct Like {
    versions: &'static [&'static rustls::SupportedProtocolVersion],
    /// Whom its certificate names.
    name: &'static str,
    /// From when and until when the certificate is good, in days from now.
    days: (i64, i64),
    /// Whether the visitor trusts who made it.
    trusted: bool,
    answer: &'static str,
    after: Duration,
}

const ONLY_12: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS12];
const ONLY_13: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 0\r\n\r\n";
const GOOD: Like = Like {
    versions: rustls::DEFAULT_VERSIONS,
    name: "localhost",
    days: (-1, 90),
    trusted: true,
    answer: OK,
    after: Duration::ZERO,
};

/// Serves, and says where, and who visits it.
async fn serve(like: Like) -> (Visitor, Url) {
    let authority = authority("who vouches for it");
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new(vec![like.name.to_owned()]).unwrap();
    let day = |days: i64| {
        let at = clock::now() + jiff::SignedDuration::from_hours(24 * days);
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(at.as_second().unsigned_abs())
    };
    (parameters.not_before, parameters.not_after) = (day(like.days.0), day(like.days.1));
    let certificate = parameters.signed_by(&key, &authority).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(like.versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    answer(stream, like.answer, like.after).await;
                }
            });
        }
    });
    let stranger = self::authority("a stranger");
    let trusted = if like.trusted { &authority } else { &stranger }.der();
    let visitor = Visitor {
        patience: Duration::from_secs(2),
        trusted: Some(Certificate::from_der(trusted).unwrap()),
    };
    (visitor, format!("https://localhost:{port}/ring/home").parse().unwrap())
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str, after: Duration) {
    let mut head = [0; 4096];
    if stream.read(&mut head).await.is_ok_and(|read| read > 0) {
        tokio::time::sleep(after).await;
        // A visitor who has gone is answered no more.
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
    }
}

async fn page(like: Like) -> Finding {
    let (visitor, url) = serve(like).await;
    visitor.page(HOME, &url).await
}

#[track_caller]
fn fails(found: &Finding, said: &str, advice: &str) {
    assert_eq!(found.verdict, Verdict::Fails, "{found}");
    assert!(found.said.contains(said), "{found}");
    assert!(
        found.advice.as_ref().is_some_and(|words| words.contains(advice)),
        "{found}"
    );
}

#[tokio::test]
async fn tls_of_today_holds_and_its_version_is_told() {
    for (versions, said) in [
        (ONLY_12, "speaks TLS 1.2"),
        (ONLY_13, "speaks TLS 1.3"),
        (rustls::DEFAULT_VERSIONS, "speaks TLS 1.3"),
    ] {
        let (visitor, url) = serve(Like { versions, ..GOOD }).await;
        let found = visitor.tls(&url).await;
        let verdicts: Vec<_> = found.iter().map(|found| (found.check, found.verdict)).collect();
        assert_eq!(
            verdicts,
            [(TLS, Verdict::Holds), ("certificate", Verdict::Holds)],
            "{found:?}"
        );
        assert!(
            found[0].said.contains(said) && found[0].said.contains("nothing below 1.2"),
            "{}",
            found[0]
        );
        assert!(found[1].said.contains("89 days"), "{}", found[1]);
    }
}

#[tokio::test]
async fn a_server_that_agrees_to_an_old_tls_is_told_of() {
    // The head of a hello of TLS 1.1, as a server's that agrees to it begins.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut hello = [0; 512];
            let read = stream.read(&mut hello).await.unwrap_or_default();
            let is_old = hello[..read].starts_with(&[22, 3, 1]) && hello[9..11] == [3, 2];
            if is_old {
                let _ = stream.write_all(&[22, 3, 2, 0, 81, 2, 0, 0, 77, 3, 2, 0, 0]).await;
            }
        }
    });
    let visitor = Visitor {
        patience: Duration::from_secs(2),
        trusted: None,
    };
    let url: Url = format!("https://localhost:{port}/").parse().unwrap();
    assert!(visitor.speaks_old_tls(&url).await.unwrap());
}

#[tokio::test]
async fn a_certificate_that_nobody_should_trust_is_told_of_with_what_is_wrong_with_it() {
    for (like, said) in [
        (Like { trusted: false, ..GOOD }, "nobody who is trusted"),
        (
            Like {
                name: "elsewhere.example.com",
                ..GOOD
            },
            "another name",
        ),
        (
            Like {
                days: (-90, -1),
                ..GOOD
            },
            "has expired",
        ),
        (Like { days: (1, 90), ..GOOD }, "not valid yet"),
    ] {
        let (visitor, url) = serve(like).await;
        let found = visitor.tls(&url).await;
        fails(&found[0], said, "DomainCertificateArn");
        fails(&visitor.page(HOME, &url).await, said, "DomainCertificateArn");
    }
}

#[tokio::test]
async fn a_certificate_that_was_not_renewed_is_told_of_before_it_ends() {
    let (visitor, url) = serve(Like {
        days: (-80, 10),
        ..GOOD
    })
    .await;
    let found = visitor.tls(&url).await;
    assert_eq!(found[0].verdict, Verdict::Holds);
    fails(&found[1], "9 days more", "ACM");
}

#[tokio::test]
async fn a_page_that_is_there_holds_and_one_that_leads_elsewhere_is_late_or_broken_does_not() {
    assert_eq!(page(GOOD).await.verdict, Verdict::Holds);
    let moved = "HTTP/1.1 302 Found\r\nlocation: https://elsewhere.example.com/\r\ncontent-length: 0\r\n\r\n";
    fails(
        &page(Like { answer: moved, ..GOOD }).await,
        "302, a redirect",
        "that it leads to",
    );
    let late = Duration::from_secs(3);
    fails(
        &page(Like { after: late, ..GOOD }).await,
        "no answer within 2 s",
        "five seconds",
    );
    let broken = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
    fails(
        &page(Like { answer: broken, ..GOOD }).await,
        "503 Service Unavailable, and not with 200",
        "log of portal",
    );
    let no_page = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 0\r\n\r\n";
    fails(
        &page(Like {
            answer: no_page,
            ..GOOD
        })
        .await,
        "no page",
        "text/html",
    );
}

#[tokio::test]
async fn a_server_without_tls_and_none_at_all_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            answer(stream, OK, Duration::ZERO).await;
        }
    });
    let visitor = Visitor {
        patience: Duration::from_secs(2),
        trusted: None,
    };
    let url: Url = format!("https://localhost:{port}/ring/home").parse().unwrap();
    fails(&visitor.page(HOME, &url).await, "no TLS is agreed on", "TLS 1.2");
    server.abort();
    let _ = server.await;
    fails(&visitor.page(HOME, &url).await, "out of reach", "DomainTarget");
}

#[tokio::test]
async fn plain_http_is_nothing_to_look_at_on_this_machine_and_wrong_everywhere_else() {
    let visitor = Visitor {
        patience: Duration::from_secs(1),
        trusted: None,
    };
    for (url, verdict) in [
        ("http://a1.execute-api.localhost:4566/ring/home", Verdict::NotChecked),
        ("http://127.0.0.1:4566/ring/home", Verdict::NotChecked),
        ("http://[::1]:4566/ring/home", Verdict::NotChecked),
        ("http://ring.example.com/ring/home", Verdict::Fails),
        ("http://localhost.example.com/ring/home", Verdict::Fails),
    ] {
        let found = visitor.tls(&url.parse().unwrap()).await;
        assert_eq!(found[0].verdict, verdict, "{}", found[0]);
    }
}

#[test]
fn the_key_of_the_token_exchange_url_is_not_shown() {
    let url: Url = "https://ring.example.com/ring/token/hush_hush_hush_hush"
        .parse()
        .unwrap();
    assert_eq!(without_key(&url), "https://ring.example.com/ring/token/KEY");
}
