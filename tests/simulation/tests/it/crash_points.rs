//! Every point at which a walk calls a port: the process dies before it and after it, and each fault of that port strikes. Then
//! nothing goes wrong any more, `token-refresh` has its minutes, the user tries again, and everything that must hold does.
//!
//! The points are not listed by hand. Each scenario is walked once in peace, which records its calls; each call is struck in
//! turn. Calls that are only made because something was struck are struck in a second round. A test reads the walks' source
//! and demands that every call of a port in it was struck by every fault.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ring_partner::AuthorizationCode;
use shared::grant::GrantId;
use shared::grant::access::RefreshRequest;
use shared::link::LinkStatus;
use shared::link::claim::ClaimError;
use shared::link::settle::SetUp;
use shared::world::Nature as _;
use simulation::house::{House, NAMELESS, account, paused_runtime};
use simulation::interference::{Call, Fault, Interference, Mischief, Peace};
use simulation::invariants::{Lost, hold, recover};
use simulation::ring::Character;
use syn::visit::{self, Visit};
use tokio::time::sleep;

/// A place in the source: file and line.
pub(crate) type Site = (String, u32);

/// Records calls, and strikes some.
pub(crate) struct Strikes {
    /// The ordinal of the call from which on calls are looked at.
    from: usize,
    /// What strikes which call, counted from there.
    at: BTreeMap<usize, Fault>,
    /// What strikes every call of a method until so many calls were made: a part of the scenario.
    besides: Vec<(&'static str, Fault, usize)>,
    seen: Mutex<Vec<Call>>,
}

impl Strikes {
    pub(crate) fn new(from: usize, at: BTreeMap<usize, Fault>, besides: Vec<(&'static str, Fault, usize)>) -> Self {
        Self {
            from,
            at,
            besides,
            seen: Mutex::default(),
        }
    }

    /// The calls so far.
    pub(crate) fn seen(&self) -> Vec<Call> {
        self.seen.lock().expect("nobody panics with it").clone()
    }
}

impl Interference for Strikes {
    fn at(&self, call: &Call, _random: u128) -> Mischief {
        let mut seen = self.seen.lock().expect("nobody panics with it");
        let number = call.ordinal - self.from;
        seen.push(*call);
        let of_method = seen.iter().filter(|before| before.method == call.method).count();
        let besides = self
            .besides
            .iter()
            .find(|(method, _, times)| *method == call.method && of_method <= *times);
        Mischief {
            before: Duration::from_millis(10),
            after: Duration::from_millis(10),
            fault: self.at.get(&number).copied().or(besides.map(|(_, fault, _)| *fault)),
        }
    }
}

/// One walk, and what is there before it.
struct Scenario {
    name: &'static str,
    /// What is so before anything can strike.
    before: Before,
    /// What is walked.
    walk: Walk,
    /// What strikes besides.
    besides: &'static [(&'static str, Fault, usize)],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// Nobody has installed the app.
    Nothing,
    /// An unclaimed grant.
    Unclaimed,
    /// Two, of one account.
    TwoUnclaimed,
    /// A linked account.
    Linked,
    /// A linked account whose user has installed the app again.
    LinkedAndInstalled,
    /// A linked account whose user has taken back what they allowed at Ring.
    Revoked,
    /// Seven of them.
    SevenRevoked,
    /// An unclaimed grant whose tokens Ring takes no more.
    UnclaimedRevoked,
    /// A linked account whose lease was left by a process that died.
    Leased,
    /// A claim that was left by a process that died: Ring has taken the nonce.
    Claimed,
    /// The same, and another user has linked the account since, by a newer grant.
    ClaimedThenLinkedByAnother,
    /// The same, and its user has linked the account since, by a newer grant.
    ClaimedThenLinked,
    /// An account that was unlinked, of which nobody was told yet; its user has installed the app again.
    UnsettledAndInstalled,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Walk {
    /// Ring sends the code, and again.
    Exchange,
    /// The same, when there is no time left to save what Ring would answer; and once more.
    ExchangeLate,
    /// And the minutes come.
    ExchangeAndOn,
    /// Somebody sends what is no code of Ring's.
    Forge,
    /// The user links.
    Link,
    /// Another user tries to.
    LinkByAnother,
    /// The user comes before their grant is resolved.
    LinkBeforeResolved,
    /// The user links with a nonce that Ring refuses.
    LinkRefused,
    /// A program calls Ring under a grant.
    Use,
    /// A program asks for a renewal.
    Asked,
    /// The minute comes.
    Minute,
    /// The minute of a day later does.
    NextDay,
    /// And the one after it.
    NextDayAndOn,
    /// The user links, and the minutes come.
    LinkAndOn,
    /// One without an e-mail address does.
    LinkNamelessAndOn,
    /// The user links, and comes again with the same nonce.
    LinkTwice,
    /// The minute does when nobody has claimed a grant for a month.
    NextMonth,
    /// It does in a table that was restored from a backup.
    Restored,
    /// The user unlinks.
    Unlink,
    /// The user has something to set up again, and has done it.
    SetUp,
}

const fn scenario(name: &'static str, before: Before, walk: Walk) -> Scenario {
    Scenario {
        name,
        before,
        walk,
        besides: &[],
    }
}

const fn besides(scenario: Scenario, besides: &'static [(&'static str, Fault, usize)]) -> Scenario {
    Scenario { besides, ..scenario }
}

const ALWAYS: usize = usize::MAX;

const SCENARIOS: &[Scenario] = &[
    scenario("exchange", Before::Nothing, Walk::Exchange),
    besides(
        scenario("exchange, users/me fails", Before::Nothing, Walk::Exchange),
        &[("ring.me", Fault::Status(500), 2)],
    ),
    besides(
        scenario(
            "exchange, the table is out of reach",
            Before::Nothing,
            Walk::ExchangeAndOn,
        ),
        &[("grants.save_issued", Fault::Refused, 8)],
    ),
    scenario("exchange, too late", Before::Nothing, Walk::ExchangeLate),
    scenario("a forged code", Before::Nothing, Walk::Forge),
    scenario("link", Before::Unclaimed, Walk::Link),
    scenario("link, two grants", Before::TwoUnclaimed, Walk::Link),
    besides(
        scenario("link, the newest grant is gone", Before::TwoUnclaimed, Walk::Link),
        &[("ring.confirm_link", Fault::Status(404), 1)],
    ),
    besides(
        scenario("link before resolved", Before::Nothing, Walk::LinkBeforeResolved),
        &[("ring.me", Fault::Status(500), 1)],
    ),
    besides(
        scenario("link, the answer is lost", Before::Unclaimed, Walk::Link),
        &[("ring.confirm_link", Fault::AnswerLost, 1)],
    ),
    scenario("link, the same nonce again", Before::Unclaimed, Walk::LinkTwice),
    besides(
        scenario(
            "link, the completion's answer is lost",
            Before::Unclaimed,
            Walk::LinkAndOn,
        ),
        &[("ring.update_integration", Fault::AnswerLost, 1)],
    ),
    besides(
        scenario(
            "link without an address, likewise",
            Before::Unclaimed,
            Walk::LinkNamelessAndOn,
        ),
        &[("ring.update_integration", Fault::AnswerLost, 1)],
    ),
    scenario("link, the nonce is refused", Before::Unclaimed, Walk::LinkRefused),
    scenario("link again", Before::LinkedAndInstalled, Walk::Link),
    scenario(
        "link, another's account",
        Before::LinkedAndInstalled,
        Walk::LinkByAnother,
    ),
    scenario("a claim left half-way", Before::Claimed, Walk::Minute),
    scenario(
        "a claim left half-way, then another's link",
        Before::ClaimedThenLinkedByAnother,
        Walk::Minute,
    ),
    scenario(
        "a claim left half-way, then a newer link",
        Before::ClaimedThenLinked,
        Walk::Minute,
    ),
    scenario("link what is not settled", Before::UnsettledAndInstalled, Walk::Link),
    scenario("set up", Before::Linked, Walk::SetUp),
    scenario("use", Before::Linked, Walk::Use),
    scenario("refresh asked", Before::Linked, Walk::Asked),
    scenario("refresh due", Before::Linked, Walk::NextDay),
    besides(
        scenario("refresh, the table is out of reach", Before::Linked, Walk::NextDayAndOn),
        &[("grants.renew", Fault::Refused, ALWAYS)],
    ),
    besides(
        scenario(
            "refresh, the table is out for the rescuer too",
            Before::Linked,
            Walk::NextDayAndOn,
        ),
        &[
            ("grants.renew", Fault::Refused, ALWAYS),
            ("grants.save_rescued", Fault::Refused, 2),
        ],
    ),
    scenario("refresh, a lease was left", Before::Leased, Walk::NextDay),
    scenario("refused, asked", Before::Revoked, Walk::Asked),
    scenario("refused, due", Before::Revoked, Walk::NextDay),
    scenario("refused, too many", Before::SevenRevoked, Walk::NextDay),
    scenario("refused, too many, again", Before::SevenRevoked, Walk::NextDayAndOn),
    scenario("refused, unclaimed", Before::UnclaimedRevoked, Walk::NextDay),
    scenario("never claimed", Before::Unclaimed, Walk::NextMonth),
    scenario("restored", Before::Linked, Walk::Restored),
    scenario("unlink", Before::Linked, Walk::Unlink),
];

const ACCOUNT: &str = "account-1";
const USER: &str = "user-1";

async fn install(house: &House, name: &str) {
    let _exchanged = house.install(name).await;
    sleep(Duration::from_secs(2)).await;
}

/// The user of this name arrives from Ring's app, and links.
async fn link(house: &House, name: &str, user: &str) -> Option<Result<(), ClaimError>> {
    let redirect = house.arrive(name).await;
    let process = house.world.process();
    let linked = process.run(house.link(&process, user, &redirect)).await?;
    Some(linked.map(|_| ()))
}

async fn prepare(house: &House, before: Before) {
    let names: &[&str] = match before {
        Before::Nothing => &[],
        Before::SevenRevoked => &[
            "account-1",
            "account-2",
            "account-3",
            "account-4",
            "account-5",
            "account-6",
            "account-7",
        ],
        _ => &[ACCOUNT],
    };
    for name in names {
        install(house, name).await;
    }
    match before {
        Before::Nothing | Before::Unclaimed => {}
        Before::TwoUnclaimed => install(house, ACCOUNT).await,
        Before::UnclaimedRevoked => house.world.all().ring.revoke(&account(ACCOUNT)),
        Before::Claimed | Before::ClaimedThenLinkedByAnother | Before::ClaimedThenLinked => {
            // The process dies as soon as Ring has taken the nonce.
            let strikes = Strikes {
                from: 0,
                at: BTreeMap::new(),
                besides: vec![("ring.confirm_link", Fault::DiesAfter, 1)],
                seen: Mutex::default(),
            };
            house.interfere(Arc::new(strikes));
            link(house, ACCOUNT, USER).await;
            house.interfere(Arc::new(Peace));
            match before {
                Before::Claimed => sleep(Duration::from_secs(50)).await,
                _ => {
                    install(house, ACCOUNT).await;
                    let user = match before {
                        Before::ClaimedThenLinked => USER,
                        _ => "user-2",
                    };
                    let linked = link(house, ACCOUNT, user).await;
                    assert!(matches!(linked, Some(Ok(()))), "the newer grant is linked");
                    sleep(Duration::from_secs(45)).await;
                }
            }
        }
        _ => {
            for name in names {
                let linked = link(house, name, USER).await;
                assert!(matches!(linked, Some(Ok(()))), "{name} is linked first");
            }
        }
    }
    match before {
        Before::LinkedAndInstalled => install(house, ACCOUNT).await,
        Before::Revoked | Before::SevenRevoked => {
            names
                .iter()
                .for_each(|name| house.world.all().ring.revoke(&account(name)));
        }
        Before::UnsettledAndInstalled => {
            let strikes = Strikes {
                from: 0,
                at: BTreeMap::new(),
                besides: vec![("effects.forget_devices", Fault::Refused, ALWAYS)],
                seen: Mutex::default(),
            };
            house.interfere(Arc::new(strikes));
            unlink(house).await;
            house.interfere(Arc::new(Peace));
            install(house, ACCOUNT).await;
        }
        Before::Leased => {
            let strikes = Strikes {
                from: 0,
                at: BTreeMap::new(),
                besides: vec![("ring.refresh", Fault::DiesBefore, 1)],
                seen: Mutex::default(),
            };
            house.interfere(Arc::new(strikes));
            let process = house.world.process();
            house.minute(&process, Duration::from_secs(25 * 3600)).await;
            house.interfere(Arc::new(Peace));
            sleep(Duration::from_secs(31)).await;
        }
        _ => {}
    }
    sleep(Duration::from_secs(2)).await;
}

async fn unlink(house: &House) {
    let link = house.world.all().kept.links().next().cloned().expect("a link");
    let process = house.world.process();
    let _unlinked = process.run(house.unlink(&process, link)).await;
}

fn first_grant(house: &House) -> Option<(GrantId, u64)> {
    let all = house.world.all();
    let grant = all.kept.grants().find(|grant| grant.tokens.is_some())?;
    Some((grant.id.clone(), grant.tokens.as_ref()?.generation))
}

async fn walk(house: &mut House, walk: Walk) {
    let process = house.world.process();
    match walk {
        Walk::Exchange | Walk::ExchangeLate | Walk::ExchangeAndOn | Walk::LinkBeforeResolved => {
            let time_out = house.exchange_time_out;
            if walk == Walk::ExchangeLate {
                house.exchange_time_out = Duration::from_secs(30);
            }
            let code = house.world.all().ring.install(&account(ACCOUNT), house.world.now());
            let _exchanged = process.run(house.exchange(&process, &code)).await;
            house.exchange_time_out = time_out;
            if walk == Walk::LinkBeforeResolved {
                link(house, ACCOUNT, USER).await;
            } else {
                let again = house.world.process();
                let _exchanged = again.run(house.exchange(&again, &code)).await;
            }
            if walk == Walk::ExchangeAndOn {
                sleep(Duration::from_secs(60)).await;
                house.minute(&house.world.process(), Duration::ZERO).await;
            }
        }
        Walk::Forge => {
            let code = AuthorizationCode::new("forged").expect("letters");
            let _refused = process.run(house.exchange(&process, &code)).await;
        }
        Walk::Link => {
            link(house, ACCOUNT, USER).await;
        }
        Walk::LinkAndOn | Walk::LinkNamelessAndOn => {
            let user = if walk == Walk::LinkAndOn { USER } else { NAMELESS };
            link(house, ACCOUNT, user).await;
            sleep(Duration::from_secs(100)).await;
            house.minute(&house.world.process(), Duration::ZERO).await;
        }
        Walk::LinkTwice => {
            let redirect = house.arrive(ACCOUNT).await;
            for process in [process, house.world.process()] {
                let _linked = process.run(house.link(&process, USER, &redirect)).await;
            }
        }
        Walk::LinkByAnother => {
            link(house, ACCOUNT, "user-2").await;
        }
        Walk::LinkRefused => {
            let redirect = house.arrive(ACCOUNT).await;
            house.world.all().ring.forget_nonce(&redirect.0);
            let _refused = process.run(house.link(&process, USER, &redirect)).await;
        }
        Walk::Use => {
            // The access token has expired.
            sleep(Duration::from_secs(5 * 3600)).await;
            let (id, _) = first_grant(house).expect("a grant");
            let _served = process.run(house.call(&process, &id)).await;
        }
        Walk::Asked => {
            let (grant, generation) = first_grant(house).expect("a grant");
            let refresh = house.token_refresh(&process);
            let request = RefreshRequest { grant, generation };
            let _outcome = process.run(refresh.asked(&request, house.cut_off())).await;
        }
        Walk::Minute => {
            house.minute(&process, Duration::ZERO).await;
        }
        Walk::NextDay => {
            house.minute(&process, Duration::from_secs(25 * 3600)).await;
        }
        Walk::NextDayAndOn => {
            house.minute(&process, Duration::from_secs(25 * 3600)).await;
            sleep(Duration::from_secs(60)).await;
            for _ in 0..2 {
                house
                    .minute(&house.world.process(), Duration::from_secs(25 * 3600))
                    .await;
                sleep(Duration::from_secs(60)).await;
            }
        }
        Walk::NextMonth => {
            house.minute(&process, Duration::from_secs(31 * 24 * 3600)).await;
        }
        Walk::Restored => {
            house.epoch = 2;
            house.minute(&process, Duration::from_secs(25 * 3600)).await;
        }
        Walk::Unlink => unlink(house).await,
        Walk::SetUp => {
            for status in [SetUp::Completed, SetUp::Awaiting, SetUp::Completed] {
                let link = house.world.all().kept.links().next().cloned().expect("a link");
                // Two at once: one finds the link changed.
                let (one, other) = (house.world.process(), house.world.process());
                tokio::join!(
                    one.run(house.set_up(&one, link.clone(), status)),
                    other.run(house.set_up(&other, link, status))
                );
            }
        }
    }
    // What other processes were begun comes to its end.
    sleep(Duration::from_secs(100)).await;
}

/// What a run came to.
struct Run {
    calls: Vec<Call>,
    lost: Lost,
}

fn run(scenario: &Scenario, character: Character, strikes: &BTreeMap<usize, Fault>) -> Result<Run, String> {
    let runtime = paused_runtime().map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let mut house = House::new(7, character, Arc::new(Peace));
        prepare(&house, scenario.before).await;
        let struck = Arc::new(Strikes {
            from: house.world.calls(),
            at: strikes.clone(),
            besides: scenario.besides.to_vec(),
            seen: Mutex::default(),
        });
        house.interfere(Arc::clone(&struck) as Arc<dyn Interference>);
        walk(&mut house, scenario.walk).await;
        recover(&house).await?;
        let lost = hold(&house).await?;
        try_again(&house, scenario, !strikes.is_empty()).await?;
        let calls = struck.seen.lock().expect("nobody panics with it").clone();
        Ok(Run { calls, lost })
    })
}

/// What was not done can be done: the user comes again.
async fn try_again(house: &House, scenario: &Scenario, is_struck: bool) -> Result<(), String> {
    let is_linked = |house: &House| {
        let all = house.world.all();
        all.kept.links().any(|link| link.is_live() && link.user_id == USER)
    };
    match scenario.walk {
        Walk::Link
        | Walk::LinkAndOn
        | Walk::LinkTwice
        | Walk::Exchange
        | Walk::ExchangeLate
        | Walk::ExchangeAndOn
        | Walk::LinkBeforeResolved
        | Walk::LinkRefused
        | Walk::Unlink => {
            if scenario.walk != Walk::Unlink && !is_linked(house) {
                let waits = house
                    .world
                    .all()
                    .kept
                    .grants()
                    .any(|grant| grant.life.name() == "unclaimed");
                if !waits {
                    // The pair was lost, or Ring said that it is no more: the app is installed again.
                    install(house, ACCOUNT).await;
                }
                let linked = link(house, ACCOUNT, USER).await;
                if !matches!(linked, Some(Ok(()))) {
                    return Err(format!("the user can't link: {linked:?}"));
                }
            }
            if scenario.walk == Walk::Unlink && is_linked(house) {
                let process = house.world.process();
                let link = house.world.all().kept.links().next().cloned().ok_or("no link")?;
                house.unlink(&process, link).await;
            }
        }
        Walk::SetUp => {
            // Whatever was lost on the way: asked again, it is done.
            let link = house.world.all().kept.links().next().cloned().ok_or("no link")?;
            let process = house.world.process();
            if link.status != LinkStatus::RelinkRequired
                && process.run(house.set_up(&process, link, SetUp::Completed)).await != Some(true)
            {
                return Err("the link can't be completed".to_owned());
            }
        }
        Walk::LinkByAnother => {
            let of_another = house
                .world
                .all()
                .kept
                .links()
                .any(|link| link.user_id != USER && link.is_live());
            if of_another {
                return Err("the account is another user's now".to_owned());
            }
        }
        Walk::Restored => {
            let all = house.world.all();
            let shown = all
                .kept
                .grants()
                .filter(|grant| grant.life.name() != "relink required")
                .count();
            if shown > 0 {
                return Err(format!("{shown} grants are not fenced"));
            }
        }
        _ => {}
    }
    if scenario.before == Before::SevenRevoked {
        let all = house.world.all();
        let marked = all
            .kept
            .grants()
            .filter(|grant| grant.life.name() == "relink required")
            .count();
        // A run that something cuts short sees few of them, which it has to believe.
        let believed = if is_struck { house.brake.least } else { 0 };
        if marked as u64 > believed {
            return Err(format!(
                "{marked} grants are marked although too many were refused at once"
            ));
        }
    }
    if scenario.walk == Walk::Unlink {
        let all = house.world.all();
        if all.kept.grants().any(|grant| grant.tokens.is_some()) {
            return Err("tokens are left after the unlinking".to_owned());
        }
    }
    Ok(())
}

/// What all runs of all scenarios came to.
#[derive(Default)]
struct Found {
    /// Which faults have struck which call sites.
    struck: BTreeMap<Site, BTreeSet<Fault>>,
    /// Which faults there are for each.
    faults: BTreeMap<Site, &'static [Fault]>,
    /// Where a death or a lost answer cost a pair.
    windows: BTreeSet<String>,
    failures: Vec<String>,
    lines: Vec<String>,
}

pub(crate) fn site(call: &Call) -> Site {
    (call.site.file().to_owned(), call.site.line())
}

fn explore(character: Character, found: &mut Found) {
    for scenario in SCENARIOS {
        let mut runs = 0_usize;
        let mut lost = Lost::default();
        let mut strike = |strikes: &BTreeMap<usize, Fault>, found: &mut Found| -> Option<Vec<Call>> {
            runs += 1;
            match run(scenario, character, strikes) {
                Ok(run) => {
                    for (number, fault) in strikes {
                        if let Some(call) = run.calls.get(*number) {
                            found.struck.entry(site(call)).or_default().insert(*fault);
                            found.faults.insert(site(call), Fault::of(call.port));
                        }
                    }
                    if run.lost != Lost::default() && run.lost.grants.revoked == 0 {
                        for (number, fault) in strikes {
                            let call = run.calls.get(*number)?;
                            found.windows.insert(format!("{} {fault:?}", call.method));
                        }
                    }
                    lost += run.lost;
                    Some(run.calls)
                }
                Err(failure) => {
                    let what = format!("{} under a {character:?} Ring, {strikes:?}: {failure}", scenario.name);
                    found.failures.push(what);
                    None
                }
            }
        };
        let Some(calls) = strike(&BTreeMap::new(), found) else {
            continue;
        };
        let points = calls.len();
        let mut second = Vec::new();
        for (number, call) in calls.iter().enumerate() {
            for fault in Fault::of(call.port) {
                let strikes = BTreeMap::from([(number, *fault)]);
                let Some(struck) = strike(&strikes, found) else {
                    continue;
                };
                // What is called only because of this strike is struck in a second round.
                for (later, call) in struck.iter().enumerate().skip(number + 1) {
                    second.push((strikes.clone(), later, *call));
                }
            }
        }
        for (strikes, later, call) in second {
            for fault in Fault::of(call.port) {
                let is_struck = found
                    .struck
                    .get(&site(&call))
                    .is_some_and(|struck| struck.contains(fault));
                if !is_struck {
                    let mut strikes = strikes.clone();
                    strikes.insert(later, *fault);
                    strike(&strikes, found);
                }
            }
        }
        found.lines.push(format!(
            "{character:?} | {:<48} | {points:>4} calls | {runs:>5} runs | lost: {} died in the window, {} by a lost answer",
            scenario.name,
            lost.grants.died_in_window + lost.codes.died_in_window,
            lost.grants.answer_lost + lost.codes.answer_lost,
        ));
    }
}

/// The walks: where each call of a port is a point.
const WALKS: &[&str] = &[
    "shared/src/edge/quota.rs",
    "shared/src/grant/access.rs",
    "shared/src/grant/exchange.rs",
    "shared/src/grant/refresh.rs",
    "shared/src/grant/rescue.rs",
    "shared/src/grant/vault.rs",
    "shared/src/link/claim.rs",
    "shared/src/link/settle.rs",
    "functions/token-refresh/src/lib.rs",
];

/// The fields and variables that hold a port, and the ports' methods.
const HOLDERS: &[&str] = &[
    "grants",
    "links",
    "keys",
    "client",
    "ring",
    "rescue",
    "effects",
    "counters",
    "records",
    "devices",
    "media",
    "captures",
    "workers",
    "bus",
    "queue",
    "quarantine",
];

/// Calls of ports in a file's syntax.
struct Points<'f> {
    file: &'f str,
    methods: &'f BTreeSet<String>,
    found: BTreeSet<Site>,
}

impl Visit<'_> for Points<'_> {
    fn visit_item_mod(&mut self, module: &syn::ItemMod) {
        if module.ident != "tests" {
            visit::visit_item_mod(self, module);
        }
    }

    /// What is joined is written in a macro: `join!(one, two)`.
    fn visit_macro(&mut self, joined: &syn::Macro) {
        let list = syn::punctuated::Punctuated::<syn::Expr, syn::Token![,]>::parse_terminated;
        if joined
            .path
            .segments
            .last()
            .is_some_and(|name| name.ident.to_string().ends_with("join"))
            && let Ok(list) = joined.parse_body_with(list)
        {
            list.iter().for_each(|one| Points::visit_expr(self, one));
        }
    }

    fn visit_expr_method_call(&mut self, call: &syn::ExprMethodCall) {
        let holder = match &*call.receiver {
            syn::Expr::Field(field) => match &field.member {
                syn::Member::Named(name) => Some(name.to_string()),
                syn::Member::Unnamed(_) => None,
            },
            syn::Expr::Path(path) => path.path.get_ident().map(ToString::to_string),
            _ => None,
        };
        let is_port = holder.is_some_and(|holder| HOLDERS.contains(&holder.as_str()));
        if is_port && self.methods.contains(&call.method.to_string()) {
            let line = u32::try_from(call.method.span().start().line).unwrap_or(0);
            self.found.insert((self.file.to_owned(), line));
        }
        visit::visit_expr_method_call(self, call);
    }
}

/// The methods of the ports, as their traits declare them.
fn methods_of_ports(root: &Path) -> BTreeSet<String> {
    let mut methods = BTreeSet::new();
    for file in [
        "shared/src/grant/ports.rs",
        "shared/src/link/ports.rs",
        "shared/src/event/ports.rs",
        "shared/src/capture/ports.rs",
        "shared/src/edge/quota.rs",
    ] {
        let text = std::fs::read_to_string(root.join(file)).expect("the ports' source");
        for item in syn::parse_file(&text).expect("Rust").items {
            if let syn::Item::Trait(port) = item {
                methods.extend(port.items.iter().filter_map(|item| match item {
                    syn::TraitItem::Fn(method) => Some(method.sig.ident.to_string()),
                    _ => None,
                }));
            }
        }
    }
    methods
}

/// The calls of ports in the source of these walks.
pub(crate) fn points_of(walks: &[&str]) -> BTreeSet<Site> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let methods = methods_of_ports(&root);
    let mut all = BTreeSet::new();
    for file in walks {
        let text = std::fs::read_to_string(root.join(file)).expect("a walk's source");
        let mut points = Points {
            file,
            methods: &methods,
            found: BTreeSet::new(),
        };
        points.visit_file(&syn::parse_file(&text).expect("Rust"));
        all.extend(points.found);
    }
    all
}

#[test]
fn whatever_dies_or_fails_at_any_point_nothing_is_lost_outside_the_window() {
    let mut found = Found::default();
    for character in [Character::Grace, Character::Strict] {
        explore(character, &mut found);
    }
    println!("{}", found.lines.join("\n"));
    let some: Vec<_> = found.failures.iter().take(20).map(String::as_str).collect();
    assert!(
        some.is_empty(),
        "{} runs fail, among them:\n{}",
        found.failures.len(),
        some.join("\n")
    );
    println!("pairs are lost at: {:?}", found.windows);

    let points = points_of(WALKS);
    assert!(points.len() > 60, "the source is read: {}", points.len());
    let missed: Vec<String> = points
        .iter()
        .filter(|point| !found.struck.contains_key(*point))
        .map(|(file, line)| format!("{file}:{line}"))
        .collect();
    assert!(
        missed.is_empty(),
        "no scenario comes by these calls:\n{}",
        missed.join("\n")
    );
    let spared: Vec<String> = points
        .iter()
        .flat_map(|point| {
            let (struck, faults) = (&found.struck[point], found.faults[point]);
            let spared = faults.iter().filter(|fault| !struck.contains(*fault));
            spared.map(move |fault| format!("{}:{} {fault:?}", point.0, point.1))
        })
        .collect();
    assert!(spared.is_empty(), "these faults strike nobody:\n{}", spared.join("\n"));
    let walks = found.struck.keys().filter(|(file, _)| WALKS.contains(&file.as_str()));
    let unknown: Vec<_> = walks.filter(|site| !points.contains(*site)).collect();
    assert!(unknown.is_empty(), "calls that the source does not show: {unknown:?}");
}
