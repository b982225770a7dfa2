//! The desktop program. Everything is in the library, which mobile platforms load instead.

// A console window beside the app's own on Windows helps nobody.
#![cfg_attr(not(debug_assertions), windows_subsystem = "windows")]

fn main() {
    carrel_app::run();
}
