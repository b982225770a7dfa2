//! The committed OpenAPI document is the one the service has. `cargo xtask generate` writes it anew through this test.

#[test]
fn the_committed_document_is_fresh() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let current = carrel_service::openapi_json().unwrap();
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some_and(|value| value == "1") {
        std::fs::write(path, &current).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default().replace("\r\n", "\n");
    assert!(committed == current, "crates/service/openapi.json is stale: run `cargo xtask generate`");
}
