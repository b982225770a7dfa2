//! The bitmap a journal keeps.
#![no_main]

libfuzzer_sys::fuzz_target!(|story: &[u8]| carrel_transfer::fuzzing::piece_set(story));
