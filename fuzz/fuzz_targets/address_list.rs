//! The body is in tests/fuzz_corpus/address_list.rs, which the stable tests run, too.

#![no_main]
#![allow(dead_code, reason = "a target uses a part of what the targets share")]

#[path = "../../tests/fuzz_corpus/address.rs"]
mod address;
#[path = "../../tests/fuzz_corpus/address_list.rs"]
mod address_list;

libfuzzer_sys::fuzz_target!(|input: &[u8]| address_list::run(input));
