#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| dunet::fuzzing::json2_answer(data));
