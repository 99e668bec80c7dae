//! What it costs to seal and to open a token: `cargo bench -p shared`.
//!
//! The data keys are in hand: in place of KMS stands a key service within this process, which hands out and gives back what
//! it is told to. So a call of KMS, which takes milliseconds and comes before each of these, is not in the figures. Each
//! sealed token is opened again and has to be the same.

mod in_hand;

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use ring_partner::oauth::AccessToken;
use shared::grant::GrantId;
use shared::grant::vault::{DataKey, Sealed, Vault};

use in_hand::{InHand, at_once};

const TOKENS: usize = 10_000;
/// An odd number, so that the median is one of them.
const ROUNDS: usize = 15;
/// Ring documents no length; these are an opaque token and one that carries claims.
const LETTERS: [usize; 2] = [100, 1_000];

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

/// Nanoseconds for each token, of the round in the middle.
#[expect(clippy::cast_precision_loss, reason = "no round has 2^53 tokens")]
fn each(mut rounds: Vec<Duration>) -> f64 {
    rounds.sort_unstable();
    rounds[rounds.len() / 2].as_secs_f64() * 1e9 / TOKENS as f64
}
