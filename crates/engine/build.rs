//! Makes a new migration file a reason to build again; the macro that embeds them can't say so by itself.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
