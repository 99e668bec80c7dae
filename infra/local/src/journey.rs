//! placeholder
use crate::failure::Failure;
use crate::stack::Stack;
/// walk
pub async fn walk(_stack: &Stack, _said: impl Fn(String)) -> Result<(), Failure> {
    Ok(())
}
