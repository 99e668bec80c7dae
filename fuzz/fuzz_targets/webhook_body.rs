//! Looks for bytes that break what holds for a body: see the library.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::webhook_body(bytes));
