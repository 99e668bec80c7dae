//! Looks for bytes that break what holds for packets of video: see the library.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::video_packets(bytes));
