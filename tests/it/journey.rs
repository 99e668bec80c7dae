//! The demo's journey, as a test.

use crate::stack::alone_on_the_stack;

#[test]
fn the_main_job_holds_from_installing_the_app_to_rotating_the_key() {
    // It moves the schedule two days on, for all accounts of the stack.
    alone_on_the_stack(async |stack| {
        if let Err(failure) = local::journey::walk(stack, |step| println!("{step}")).await {
            panic!("{failure}");
        }
    });
}
