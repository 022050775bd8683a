//! The body is in tests/fuzz_corpus/reply.rs, which the stable tests run, too.

#![no_main]
#![allow(dead_code, reason = "a target uses a part of what the targets share")]

#[path = "../../tests/fuzz_corpus/reply.rs"]
mod reply;

libfuzzer_sys::fuzz_target!(|input: &[u8]| reply::run(input));
