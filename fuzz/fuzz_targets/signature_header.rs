//! Looks for bytes that break what holds for a signature header: see the library.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::signature_header(bytes));
