//! The contract at the door: what each route answers to what it can't use.
