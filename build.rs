//! Tells cargo which folders are embedded into the program, so that a new file in one of them is noticed.

fn main() {
    for folder in ["templates", "assets", "locales"] {
        println!("cargo::rerun-if-changed={folder}");
    }
}
