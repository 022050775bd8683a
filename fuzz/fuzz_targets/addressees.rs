//! The body is in tests/fuzz_corpus/addressees.rs, which the stable tests run, too.

#![no_main]
#![allow(dead_code, reason = "a target uses a part of what the targets share")]

#[path = "../../tests/fuzz_corpus/addressees.rs"]
mod addressees;

libfuzzer_sys::fuzz_target!(|input: &[u8]| addressees::run(input));
