//! The test of the tests: bugs that somebody could write, seeded one at a time into a copy of the source. Each must make the
//! simulation fail. Building each takes its time, so that they are run by the long tier; that each still is a change of the
//! source is looked at always.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use shared::edge::config::{Environment as _, Process};

use crate::{event_bugs, live_bugs};

/// One bug: in which file, what is replaced, and by what.
pub(crate) struct Bug {
    pub(crate) what: &'static str,
    pub(crate) file: &'static str,
    pub(crate) right: &'static str,
    pub(crate) wrong: &'static str,
}

const EXCHANGE: &str = "shared/src/grant/exchange.rs";
const REFRESH: &str = "shared/src/grant/refresh.rs";
const RESCUE: &str = "shared/src/grant/rescue.rs";
const CLAIM: &str = "shared/src/link/claim.rs";
const SETTLE: &str = "shared/src/link/settle.rs";
const QUOTA: &str = "shared/src/edge/quota.rs";
/// The twins stand for the stores: a condition that is missing here is one that is missing there.
const KEPT: &str = "tests/simulation/src/kept.rs";

const BUGS: &[Bug] = &[
    Bug {
        what: "the lease is given back without a look at its owner",
        file: KEPT,
        right: "        if grant.lease.as_ref().is_none_or(|lease| lease.owner != owner) {
            return Err(StoreError::Conflict);
        }
        self.set_free(id, due);",
        wrong: "        let _ = (owner, grant);
        self.set_free(id, due);",
    },
    Bug {
        what: "a pair is saved without a look at the generation that it succeeds",
        file: KEPT,
        right: "if before != Some(tokens.generation - 1) {",
        wrong: "if before.is_none() {",
    },
    Bug {
        what: "a lease is had although somebody holds it",
        file: KEPT,
        right: "if !is_stored || !is_free {",
        wrong: "if !is_stored || (!is_free && false) {",
    },
    Bug {
        what: "a code is taken by whoever presents it",
        file: KEPT,
        right: "Some((_, holder)) if holder != grant => Err(StoreError::Conflict),",
        wrong: "Some((_, holder)) if holder != grant && hash.is_empty() => Err(StoreError::Conflict),",
    },
    Bug {
        what: "a grant's life is written without a look at its version",
        file: KEPT,
        right: "stored.life_version + 1 != grant.life_version || is_refused",
        wrong: "is_refused",
    },
    Bug {
        what: "Ring is asked whose a pair is before the pair is saved",
        file: EXCHANGE,
        right: "        let grant = match self.save(ready, &answer, &hash, now).await? {",
        wrong: "        if self.ring.me(&answer.access_token).await.is_err() {
            return Err(ExchangeError::Pending);
        }
        let grant = match self.save(ready, &answer, &hash, now).await? {",
    },
    Bug {
        what: "a code whose answer was lost is given back",
        file: EXCHANGE,
        right: "TokenError::Unavailable { .. } | TokenError::Unclear(_) => (Ok(()), ExchangeError::Ring(error)),",
        wrong: "TokenError::Unavailable { .. } | TokenError::Unclear(_) => {
                (self.grants.give_back_code(hash, id).await, ExchangeError::Ring(error))
            }",
    },
    Bug {
        what: "Ring is asked without a lease",
        file: REFRESH,
        right: "match self.grants.lease(id, tokens.generation, &lease, now).await {",
        wrong: "let _untaken = self.grants.lease(id, tokens.generation, &lease, now).await;
            match Ok(()) {",
    },
    Bug {
        what: "the older refresh token is kept",
        file: REFRESH,
        right: "Some(token) => (refresh_key.seal(token)?, now + signed(REFRESH_TOKEN_LIFE)),",
        wrong: "Some(_) => (before.refresh.clone(), before.refresh_expires_at),",
    },
    Bug {
        what: "a pair that the table does not take is dropped",
        file: REFRESH,
        right: "is_rescued = is_rescued || self.rescue(&pair).await;",
        wrong: "is_rescued = is_rescued || now > lease.until;",
    },
    Bug {
        what: "a lease that ran out is taken over without a look into the rescue queue",
        file: REFRESH,
        right: "        let mut looked = false;",
        wrong: "        let mut looked = true;",
    },
    Bug {
        what: "wrong credentials are taken for a refused pair",
        file: REFRESH,
        right: "Err(Undone::Ring(TokenError::InvalidGrant)) => self.refused(grant, tokens, lease).await,",
        wrong: "Err(Undone::Ring(TokenError::InvalidGrant | TokenError::InvalidClient)) => {
                self.refused(grant, tokens, lease).await
            }",
    },
    Bug {
        what: "an answer of Ring's is used before it is saved",
        file: REFRESH,
        right: "        let now = self.nature.now();
        let (refresh, refresh_expires_at) = match &answer.refresh_token {",
        wrong: "        let now = self.nature.now();
        if self.ring.me(&answer.access_token).await.is_err() {
            return Err(Undone::Late);
        }
        let (refresh, refresh_expires_at) = match &answer.refresh_token {",
    },
    Bug {
        what: "too many refusals at once are believed",
        file: REFRESH,
        right: "        if self.brake.holds(tallies) {",
        wrong: "        if self.brake.holds(tallies) && now == jiff::Timestamp::MIN {",
    },
    Bug {
        what: "a rescued pair is removed before it is applied",
        file: RESCUE,
        right: "        let saved = match rescued {",
        wrong: "        self.rescue.remove(&waiting.receipt).await?;
        let saved = match rescued {",
    },
    Bug {
        what: "that Ring could not be asked is taken for a nonce that it did not take",
        file: CLAIM,
        right: "            Err(error) => Probe::Unknown(error),",
        wrong: "            Err(_) => Probe::NotTaken,",
    },
    Bug {
        what: "a link is saved without its user's pointer",
        file: CLAIM,
        right: "            Change::Give(link.clone()),\n",
        wrong: "",
    },
    Bug {
        what: "what is to be done about a link is kept as done before it is",
        file: SETTLE,
        right: "            match self.one(&link, todo).await {",
        wrong: "            let done = link.clone().done(todo, self.nature.now());
            if todo == Todo::AnnounceLinked {
                self.keep(&done, todo).await?;
                link = done;
                self.one(&link, todo).await?;
                continue;
            }
            match self.one(&link, todo).await {",
    },
    Bug {
        what: "a link is made without an entry of the audit trail",
        file: CLAIM,
        right: "            Change::Audit(link.audit_entry(Deed::Linked, now)),\n",
        wrong: "",
    },
    Bug {
        what: "a claim that was left half-way takes the account from whoever has it since",
        file: CLAIM,
        right: "                if is_outdated || link.user_id != attempt.user_id {",
        wrong: "                if is_outdated && link.user_id.is_empty() {",
    },
    Bug {
        what: "a pair that is renewed puts off a claim that began meanwhile",
        file: KEPT,
        right: "due.filter(|due| due.life_version == grant.life_version)",
        wrong: "due.filter(|due| due.life_version <= grant.life_version)",
    },
    Bug {
        what: "codes in flight are taken for refused ones",
        file: QUOTA,
        right: "                Err(Full::Busy) if waited < WAIT_FOR_A_PLACE => {",
        wrong: "                Err(Full::Busy) if waited > WAIT_FOR_A_PLACE => {",
    },
    Bug {
        what: "a pair from a backup is shown to Ring",
        file: REFRESH,
        right: "            if tokens.epoch < self.epoch {",
        wrong: "            if tokens.epoch > self.epoch {",
    },
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn each_seeded_bug_is_a_change_of_the_source() {
    assert!(
        [BUGS, event_bugs::BUGS, live_bugs::BUGS]
            .iter()
            .all(|bugs| bugs.len() >= 12)
    );
    for bug in BUGS.iter().chain(event_bugs::BUGS).chain(live_bugs::BUGS) {
        let text = fs::read_to_string(root().join(bug.file)).expect("a source file");
        assert_eq!(text.matches(bug.right).count(), 1, "{}: {}", bug.file, bug.what);
        assert_ne!(bug.right, bug.wrong);
    }
}

/// Which tests are to catch a bug: those of a package, its simulation or its own, by parts of their names. What is quick goes
/// first, and the next only where that has not caught it.
#[derive(Clone, Copy)]
struct Tests {
    package: [&'static str; 4],
    turns: &'static [&'static [&'static str]],
}

const SIMULATION: [&str; 4] = ["--package", "simulation", "--test", "it"];
const OF_TOKENS: Tests = Tests {
    package: SIMULATION,
    turns: &[&["crash_points", "twins", "good_codes"], &["seeds::under"]],
};
const OF_EVENTS: Tests = Tests {
    package: SIMULATION,
    turns: &[&["event_points", "twins"], &["event_seeds"]],
};
const OF_LIVE: Tests = Tests {
    package: ["--package", "stream-capture", "--lib", "--quiet"],
    turns: &[&["capture::", "recording::", "stream::", "reorder::"]],
};

/// A copy of what the simulation is built from.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let name = entry.file_name();
        if ["target", ".git"].contains(&name.to_string_lossy().as_ref()) {
            continue;
        }
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &to.join(name));
        } else {
            fs::copy(entry.path(), to.join(name)).expect("a copy");
        }
    }
}

#[test]
#[ignore = "builds the simulation once for each bug: minutes, for the long tier"]
fn every_seeded_bug_is_caught() {
    let target = PathBuf::from(Process.get("CARGO_TARGET_DIR").unwrap_or_else(|| "target".to_owned()));
    let target = root().join(target).join("bugs");
    let place = target.join("source");
    let _nothing_there = fs::remove_dir_all(&place);
    copy(&root(), &place);
    let run = |tests: &Tests, arguments: &[&str]| {
        let out = Command::new(env!("CARGO"))
            .arg("test")
            .args(tests.package)
            .args(arguments)
            .current_dir(&place)
            .env("CARGO_TARGET_DIR", target.join("target"))
            .env("SEEDS", "150")
            .env("MANY_EVENTS", "200")
            .env("RUST_BACKTRACE", "0")
            .output()
            .expect("cargo runs");
        let said = [out.stdout, out.stderr].concat();
        (out.status.success(), String::from_utf8_lossy(&said).into_owned())
    };
    // `BUGS`: those of tokens, of events or of live video; `BUG`: those whose name has these words, or those behind the next `|`.
    let (part, only) = (Process.get("BUGS"), Process.get("BUG"));
    let is_asked = |of: &str| part.as_deref().is_none_or(|part| part == of);
    let parts = [
        ("tokens", BUGS, OF_TOKENS),
        ("events", event_bugs::BUGS, OF_EVENTS),
        ("live", live_bugs::BUGS, OF_LIVE),
    ];
    let parts = parts.iter().filter(|(part, _, _)| is_asked(part));
    // What fails without a bug catches none.
    for (_, _, tests) in parts.clone() {
        for some in tests.turns {
            let (passes, said) = run(tests, &[&["--"], *some].concat());
            assert!(passes, "without any bug {some:?} fail:\n{said}");
        }
    }
    let mut escaped = Vec::new();
    for (bug, tests) in parts.flat_map(|(_, bugs, tests)| bugs.iter().map(move |bug| (bug, tests))) {
        let is_meant = |only: &String| only.split('|').any(|words| bug.what.contains(words));
        if !only.as_ref().is_none_or(is_meant) {
            continue;
        }
        let path = place.join(bug.file);
        let right = fs::read_to_string(&path).expect("a source file");
        fs::write(&path, right.replacen(bug.right, bug.wrong, 1)).expect("the bug is written");
        let (builds, said) = run(tests, &["--no-run"]);
        assert!(builds, "the bug does not build: {}\n{said}", bug.what);
        let (mut passes, mut said) = (true, String::new());
        for some in tests.turns {
            if passes {
                (passes, said) = run(tests, &[&["--"], *some].concat());
            }
        }
        fs::write(&path, right).expect("the bug is taken back");
        let first = said
            .lines()
            .find(|line| line.contains(" under ") || line.starts_with("seed ") || line.contains("contract.rs"));
        println!("{}: {}", if passes { "ESCAPED" } else { "caught" }, bug.what);
        println!("    {}", first.unwrap_or("").chars().take(160).collect::<String>());
        if passes {
            escaped.push(bug.what);
        }
    }
    assert!(escaped.is_empty(), "not caught: {escaped:#?}");
}
