//! The paths that everything goes through, each so many times and nothing else: `.ci/instructions` counts what the processor does
//! for one of them, under callgrind. `instructions --list` names them, `instructions nonce 1000` goes one of them a thousand times.

mod in_hand;

use std::error::Error;
use std::hint::black_box;
use std::process::ExitCode;

use ring_partner::nonce::{self, LinkTime, Matcher};
use ring_partner::oauth::AccessToken;
use ring_partner::signature::{self, SigningKey};
use ring_partner::users::AccountId;
use ring_partner::webhook::Webhook;
use shared::grant::GrantId;
use shared::grant::vault::Vault;

use in_hand::{InHand, at_once};

type Done = Result<(), Box<dyn Error>>;

type Path = fn(usize) -> Done;

const PATHS: [(&str, Path); 5] = [
    ("signature", signature),
    ("webhook", webhook),
    ("nonce", nonce),
    ("seal", seal),
    ("open", open),
];

const BODY: &[u8] = br#"{"meta":{"version":"1.1","time":"2026-02-13T17:20:24.123Z","request_id":"8d2c6d2e-3a50-4a3f-9d2e-3a504a3f9d2e",
"account_id":"ava1.ring.account.0123456789AB"},"data":{"id":"ava1.ring.device.0123456789AB:1771003224123:motion_detected",
"type":"motion_detected","attributes":{"source":"ava1.ring.device.0123456789AB","source_type":"devices",
"timestamp":1771003224123,"subtype":"human"},"relationships":{"devices":{"links":{"self":"/v1/devices/ava1.ring.device.0123456789AB"}}}}}"#;

fn main() -> ExitCode {
    // Cargo says `--bench` to every bench.
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let (name, times) = (arguments.next().unwrap_or_default(), arguments.next());
    let path = PATHS.iter().find(|(path, _)| *path == name);
    match (path, times.map(|times| times.parse())) {
        (Some((_, path)), Some(Ok(times))) => match path(times) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                eprintln!("{name}: {failure}");
                ExitCode::FAILURE
            }
        },
        _ if name == "--list" => {
            PATHS.iter().for_each(|(path, _)| println!("{path}"));
            ExitCode::SUCCESS
        }
        // A run of all benches is no count.
        _ if name.is_empty() => ExitCode::SUCCESS,
        _ => {
            eprintln!("which path, and how often? instructions --list names them");
            ExitCode::FAILURE
        }
    }
}

/// The signature of a webhook is verified.
fn signature(times: usize) -> Done {
    let key = SigningKey::new("the-signing-key-of-the-bench")?;
    let header = signature::sign(&key, BODY);
    for _ in 0..times {
        black_box(signature::verify(
            std::slice::from_ref(&key),
            black_box(BODY),
            [header.as_str()],
        )?);
    }
    Ok(())
}

/// A webhook is read.
fn webhook(times: usize) -> Done {
    for _ in 0..times {
        black_box(Webhook::parse(black_box(BODY))?);
    }
    Ok(())
}

/// A nonce is held against an account that it does not fit.
fn nonce(times: usize) -> Done {
    let (key, time) = (
        SigningKey::new("the-signing-key-of-the-bench")?,
        LinkTime::parse("1771130906289")?,
    );
    let [ours, other] = ["0123456789AB", "0123456789AC"].map(|id| AccountId::new(format!("ava1.ring.account.{id}")));
    let matcher = Matcher::new(&key, &time, &nonce::mint(&key, &time, &ours?));
    let other = other?;
    for _ in 0..times {
        if matcher.matches(black_box(&other)) {
            return Err("a nonce fits an account that is not its own".into());
        }
    }
    Ok(())
}

/// A token is sealed.
fn seal(times: usize) -> Done {
    let (vault, grant) = (Vault::new(InHand), GrantId::new(1));
    let token = AccessToken::new("t".repeat(1_000))?;
    for _ in 0..times {
        black_box(at_once(vault.data_key::<AccessToken>(&grant))?.seal(black_box(&token))?);
    }
    Ok(())
}

/// A token is opened.
fn open(times: usize) -> Done {
    let (vault, grant) = (Vault::new(InHand), GrantId::new(1));
    let sealed = at_once(vault.data_key::<AccessToken>(&grant))?.seal(&AccessToken::new("t".repeat(1_000))?)?;
    for _ in 0..times {
        black_box(at_once(vault.open(black_box(&sealed), &grant))?);
    }
    Ok(())
}
