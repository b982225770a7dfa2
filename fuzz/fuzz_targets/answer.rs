//! Answers of any bytes over HTTP/1.1.
#![no_main]

libfuzzer_sys::fuzz_target!(|story: &[u8]| carrel_transfer::fuzzing::answer(story));
