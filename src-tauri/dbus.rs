//! Whether a desktop shows tray icons.

/// Whether somebody shows the icons of this session. On Linux that is a program of the desktop, and many have none: an icon
/// would be made and never seen, and an app hidden behind it would be gone.
#[cfg(target_os = "linux")]
pub(crate) fn shows_tray_icons() -> bool {
    let watched = || -> zbus::Result<bool> {
        let session = zbus::blocking::Connection::session()?;
        let names = zbus::blocking::fdo::DBusProxy::new(&session)?;
        Ok(names.name_has_owner("org.kde.StatusNotifierWatcher".try_into()?)?)
    };
    watched().unwrap_or(false)
}

/// Windows and macOS always do.
#[cfg(not(target_os = "linux"))]
pub(crate) const fn shows_tray_icons() -> bool {
    true
}
