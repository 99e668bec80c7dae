//! What it costs to find the account of a nonce among many: `cargo bench -p ring-partner`.
//!
//! The search of this crate and the one of Ring's documentation, in Python, look through the same accounts in turns, and the
//! one that the nonce belongs to comes last. Both have to find it. The bench fails where a bound does not hold: they are
//! what linking with many unclaimed accounts stands on.

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use ring_partner::nonce::{self, LinkTime, Matcher, Nonce};
use ring_partner::signature::SigningKey;
use ring_partner::users::AccountId;

/// Why there are no figures: what did not hold.
type Failure = Box<dyn std::error::Error>;

const CANDIDATES: u32 = 100_000;
/// An odd number, so that the median is one of them.
const ROUNDS: usize = 15;
/// What the search may take for each candidate.
const BOUND: Duration = Duration::from_nanos(150);
/// How many times faster than the documentation's it has to be.
const FASTER: f64 = 10.0;

const KEY: &str = "the-signing-key-of-the-bench";
const TIME: &str = "1771130906289";
const SAMPLE: &str = include_str!("sample.py");

fn main() -> ExitCode {
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("nonce: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<(), Failure> {
    let search = Search::new()?;
    let mut sample = Sample::start(&search)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(search.take()?);
        theirs.push(sample.take(&search)?);
    }
    let (ours, theirs) = (each(ours), each(theirs));
    let faster = theirs / ours;
    println!("nonce: {CANDIDATES} candidates, the median of {ROUNDS} rounds in turns");
    println!("  {:<48}{ours:>8.1} ns", "a candidate, ring-partner");
    println!("  {:<48}{theirs:>8.1} ns", "a candidate, the documentation's Python");
    println!("  {:<48}{faster:>8.1} x", "faster");

    // A build without optimisation says nothing of it.
    if cfg!(debug_assertions) {
        return Ok(());
    }
    holds(
        ours <= BOUND.as_secs_f64() * 1e9,
        &format!("a candidate takes at most {} ns", BOUND.as_nanos()),
    )?;
    holds(
        faster >= FASTER,
        &format!("the search is at least {FASTER} times as fast as the documentation's"),
    )
}

/// A nonce, and accounts of which the last is its own.
struct Search {
    key: SigningKey,
    time: LinkTime,
    nonce: Nonce,
    accounts: Vec<AccountId>,
}

impl Search {
    fn new() -> Result<Self, Failure> {
        let (key, time) = (SigningKey::new(KEY)?, LinkTime::parse(TIME)?);
        let ids = (0..CANDIDATES).map(|number| AccountId::new(format!("ava1.ring.account.{number:012X}")));
        let accounts = ids.collect::<Result<Vec<_>, _>>()?;
        let nonce = nonce::mint(&key, &time, accounts.last().ok_or("there are no accounts")?);
        Ok(Self {
            key,
            time,
            nonce,
            accounts,
        })
    }

    /// One search, from the key to the account.
    fn take(&self) -> Result<Duration, Failure> {
        let accounts = black_box(&self.accounts);
        let began = Instant::now();
        let matcher = Matcher::new(&self.key, &self.time, &self.nonce);
        let found = accounts.iter().find(|account| matcher.matches(account));
        let took = began.elapsed();
        holds(black_box(found) == accounts.last(), "the search finds the account")?;
        Ok(took)
    }
}

/// The documentation's search, in a process of its own.
struct Sample {
    program: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Sample {
    fn start(search: &Search) -> Result<Self, Failure> {
        let mut program = Command::new("python3")
            .args(["-c", SAMPLE])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("python3 can't be started: {error}"))?;
        let mut orders = program.stdin.take().ok_or("python3 takes no input")?;
        let answers = program.stdout.take().ok_or("python3 gives no output")?;
        let mut told = format!("{KEY}\n{TIME}\n{}\n{CANDIDATES}\n", search.nonce);
        for account in &search.accounts {
            writeln!(told, "{}", account.as_str())?;
        }
        orders.write_all(told.as_bytes())?;
        Ok(Self {
            program,
            orders,
            answers: BufReader::new(answers),
        })
    }

    /// One search; the time is its own, without the way to and fro.
    fn take(&mut self, search: &Search) -> Result<Duration, Failure> {
        self.orders.write_all(b"search\n")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        let (took, found) = answer.trim_end().split_once(' ').ok_or("python3 has ended")?;
        let same = search.accounts.last().is_some_and(|last| last.as_str() == found);
        holds(same, "the documentation's search finds the same account")?;
        Ok(Duration::from_nanos(took.parse()?))
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        // Neither fails for a child of ours that nobody has waited for.
        let _killed = self.program.kill();
        let _ended = self.program.wait();
    }
}

fn holds(it_does: bool, what: &str) -> Result<(), Failure> {
    if it_does {
        Ok(())
    } else {
        Err(format!("this does not hold: {what}").into())
    }
}

/// Nanoseconds for each candidate, of the round in the middle.
fn each(mut rounds: Vec<Duration>) -> f64 {
    rounds.sort_unstable();
    rounds[rounds.len() / 2].as_secs_f64() * 1e9 / f64::from(CANDIDATES)
}
