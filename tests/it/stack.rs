//! One stack for all tests of this process. Each test makes Ring users and partner's users of its own in it, and moves
//! nothing that others stand on: not the simulator's clock, nor its settings.

use std::sync::{LazyLock, OnceLock, PoisonError, RwLock};

use local::{Options, Place, Profile, Progress, RingChoice, Stack};
use tokio::runtime::Runtime;

use crate::published::Published;

/// One runtime for all: the clients' connections live on the runtime that opened them.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime can be made"));
static STACK: OnceLock<Result<(Stack, Published), String>> = OnceLock::new();

/// Who walks among others, and who must be alone.
static FLOOR: RwLock<()> = RwLock::new(());

/// Runs a test against the stack, which is brought up for the first that asks.
#[track_caller]
pub(crate) fn on_the_stack(test: impl AsyncFnOnce(&'static Stack)) {
    let _among_others = FLOOR.read().unwrap_or_else(PoisonError::into_inner);
    run(test);
}

/// How much was published of this kind so far, by whichever test.
pub(crate) async fn published(kind: &str) -> usize {
    let Some(Ok((stack, published))) = STACK.get() else {
        return 0;
    };
    published.hold(stack).await;
    published.seen(kind)
}

/// Why this capture ended, if the bus has carried that.
pub(crate) async fn capture_ended(medium: &str) -> Option<String> {
    let Some(Ok((stack, published))) = STACK.get() else {
        return None;
    };
    published.hold(stack).await;
    published.capture_ended(medium)
}

/// Runs a test while no other does: one that orders faults, which strike whoever comes.
#[track_caller]
pub(crate) fn alone_on_the_stack(test: impl AsyncFnOnce(&'static Stack)) {
    let _alone = FLOOR.write().unwrap_or_else(PoisonError::into_inner);
    run(test);
}

/// Runs what brings up a stack of its own, while no other test runs.
#[track_caller]
pub(crate) fn hold_the_floor(test: impl FnOnce(&'static Runtime)) {
    let _alone = FLOOR.write().unwrap_or_else(PoisonError::into_inner);
    test(&RUNTIME);
}

#[track_caller]
fn run(test: impl AsyncFnOnce(&'static Stack)) {
    let up = STACK.get_or_init(|| RUNTIME.block_on(bring_up()));
    match up {
        Ok((stack, published)) => RUNTIME.block_on(async {
            test(stack).await;
            published.hold(stack).await;
        }),
        // Said to each test: a test that can't run has not passed.
        Err(failure) => panic!("the stack is not up: {failure}"),
    }
}

async fn bring_up() -> Result<(Stack, Published), String> {
    let options = Options {
        kind: "it",
        profile: Profile::Dev,
        port: None,
        ring: RingChoice::Simulator,
        aws_for_functions: None,
        progress: Progress::Quiet,
    };
    let place = Place::find().await.map_err(|failure| failure.to_string())?;
    let stack = Stack::up(place, options).await.map_err(|failure| failure.to_string())?;
    let published = Published::overheard(&stack).await;
    Ok((stack, published))
}
