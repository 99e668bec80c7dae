//! What it costs to seal and to open a token: `cargo bench -p shared`.
//!
//! The data keys are in hand: in place of KMS stands a key service within this process, which hands out and gives back what
//! it is told to. So a call of KMS, which takes milliseconds and comes before each of these, is not in the figures. Each
//! sealed token is opened again and has to be the same.

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use ring_partner::oauth::AccessToken;
use shared::grant::GrantId;
use shared::grant::ports::{Keys, NewKey};
use shared::grant::vault::{DataKey, Sealed, Vault, VaultError};
use zeroize::Zeroizing;

const TOKENS: usize = 10_000;
/// An odd number, so that the median is one of them.
const ROUNDS: usize = 15;
/// Ring documents no length; these are an opaque token and one that carries claims.
const LETTERS: [usize; 2] = [100, 1_000];
/// What KMS makes of a data key of 32 bytes.
const WRAPPED: usize = 184;

fn main() -> Result<(), Box<dyn Error>> {
    println!("vault: the median of {ROUNDS} rounds of {TOKENS} tokens, data keys in hand");
    for letters in LETTERS {
        let Measured { seal, open, bytes } = measure(letters)?;
        println!(
            "  a token of {letters:>4} letters: sealed in {seal:.0} ns, opened in {open:.0} ns, kept as {bytes} bytes"
        );
    }
    Ok(())
}

struct Measured {
    seal: f64,
    open: f64,
    bytes: usize,
}

fn measure(letters: usize) -> Result<Measured, Box<dyn Error>> {
    let vault = Vault::new(InHand);
    let (grant, token) = (GrantId::new(1), AccessToken::new("t".repeat(letters))?);
    let (mut seals, mut opens, mut bytes) = (Vec::new(), Vec::new(), 0);
    for _ in 0..ROUNDS {
        let keys: Vec<DataKey<AccessToken>> = (0..TOKENS)
            .map(|_| at_once(vault.data_key(&grant)))
            .collect::<Result<_, _>>()?;
        let began = Instant::now();
        let sealed: Vec<Sealed<AccessToken>> = keys
            .into_iter()
            .map(|key| key.seal(black_box(&token)))
            .collect::<Result<_, _>>()?;
        seals.push(began.elapsed());

        let began = Instant::now();
        for sealed in &sealed {
            let opened = at_once(vault.open(black_box(sealed), &grant))?;
            if opened.expose() != token.expose() {
                return Err("a token that is opened is not the one that was sealed".into());
            }
        }
        opens.push(began.elapsed());
        // As it stands in a row: the text without the quotation marks of JSON.
        bytes = serde_json::to_string(&sealed[0])?.len() - 2;
    }
    Ok(Measured {
        seal: each(seals),
        open: each(opens),
        bytes,
    })
}

/// A key service that keeps nothing: what it hands out as wrapped says nothing of the key, which is always the same.
#[derive(Clone, Debug)]
struct InHand;

const KEY: [u8; 32] = [7; 32];

impl Keys for InHand {
    async fn data_key(&self, _purpose: &'static str, _grant: &GrantId) -> Result<NewKey, VaultError> {
        Ok(NewKey {
            plain: Zeroizing::new(KEY.to_vec()),
            wrapped: vec![0; WRAPPED],
        })
    }

    async fn unwrap(
        &self,
        _wrapped: &[u8],
        _purpose: &'static str,
        _grant: &GrantId,
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        Ok(Zeroizing::new(KEY.to_vec()))
    }
}

/// Nothing here waits for anything.
fn at_once<T>(work: impl Future<Output = T>) -> T {
    work.now_or_never().expect("a key in hand is there at once")
}

/// Nanoseconds for each token, of the round in the middle.
#[expect(clippy::cast_precision_loss, reason = "no round has 2^53 tokens")]
fn each(mut rounds: Vec<Duration>) -> f64 {
    rounds.sort_unstable();
    rounds[rounds.len() / 2].as_secs_f64() * 1e9 / TOKENS as f64
}
