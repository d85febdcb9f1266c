#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| dunet::fuzzing::receipt_number(data));
