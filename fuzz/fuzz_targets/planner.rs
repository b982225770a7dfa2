//! Which lane asks for which pieces.
#![no_main]

libfuzzer_sys::fuzz_target!(|story: &[u8]| carrel_transfer::fuzzing::planner(story));
