//! Looks for bytes that break what holds for a session description: see the library.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::session_description(bytes));
