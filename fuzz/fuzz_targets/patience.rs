//! When to try again, and when to give up.
#![no_main]

libfuzzer_sys::fuzz_target!(|story: &[u8]| carrel_transfer::fuzzing::patience(story));
