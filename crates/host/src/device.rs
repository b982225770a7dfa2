//! The device a host runs on.

/// What this device is called; told to the service at sign-in, so that a learner knows their devices apart.
#[must_use]
pub fn device_name() -> String {
    let name = gethostname::gethostname().to_string_lossy().into_owned();
    // Android calls every device the same.
    if name.is_empty() || name == "localhost" { format!("{} device", std::env::consts::OS) } else { name }
}
