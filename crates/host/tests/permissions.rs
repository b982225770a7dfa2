//! The committed list of commands, which the shell's permissions are built from, is the one the command table gives.

use std::{fs, path::Path};

#[test]
fn committed_permission_list_follows_from_the_command_table() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("gen/commands.txt");
    let fresh = carrel_host::permissions::commands_txt();
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::create_dir_all(committed.parent().unwrap()).unwrap();
        fs::write(&committed, &fresh).unwrap();
    }
    assert_eq!(fs::read_to_string(&committed).unwrap(), fresh, "run `cargo xtask generate`");
}
