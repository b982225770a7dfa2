//! Where redirects lead.
#![no_main]

libfuzzer_sys::fuzz_target!(|story: &[u8]| carrel_transfer::fuzzing::redirect(story));
