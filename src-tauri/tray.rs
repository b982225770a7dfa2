//! The tray icon: show, sync now, quit.
//!
//! Where there is one, closing the window leaves the app running (downloads go on); where there is none, closing quits.

use carrel_host::{Caller, EngineEvent, Host, Surface};
use futures_util::StreamExt as _;
use serde_json::Value;
use tauri::{
    AppHandle, Manager as _, Runtime, WindowEvent,
    menu::{Menu, MenuItem},
    tray::TrayIconBuilder,
};

use crate::{Desk, dbus, windows, words::Language};

/// The items whose words follow the learner's language.
struct Items<R: Runtime> {
    show: MenuItem<R>,
    sync_now: MenuItem<R>,
    quit: MenuItem<R>,
}

/// Makes the icon where the desktop shows one.
pub(crate) fn set_up<R: Runtime>(app: &AppHandle<R>) {
    if !dbus::shows_tray_icons() {
        log::info!("this desktop shows no tray icons: closing the window quits");
        return;
    }
    // The library that draws it on Linux is loaded at run time and panics when it is missing.
    let made = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| make(app)));
    match made {
        Ok(Ok(items)) => {
            app.manage(items);
            hide_instead_of_closing(app);
        }
        Ok(Err(error)) => log::warn!("no tray icon: {error}"),
        Err(_) => log::warn!("no tray icon: its library is missing"),
    }
}

fn make<R: Runtime>(app: &AppHandle<R>) -> tauri::Result<Items<R>> {
    let words = Language::of(None);
    let items = Items {
        show: MenuItem::with_id(app, "show", words.show(), true, None::<&str>)?,
        sync_now: MenuItem::with_id(app, "sync_now", words.sync_now(), true, None::<&str>)?,
        quit: MenuItem::with_id(app, "quit", words.quit(), true, None::<&str>)?,
    };
    let menu = Menu::with_items(app, &[&items.show, &items.sync_now, &items.quit])?;
    let mut icon = TrayIconBuilder::with_id("carrel").tooltip("Carrel").menu(&menu).on_menu_event(|app, event| {
        match event.id().as_ref() {
            "show" => windows::show_main(app),
            "sync_now" => sync_now(app),
            "quit" => app.exit(0),
            _ => {}
        }
    });
    if let Some(image) = app.default_window_icon() {
        icon = icon.icon(image.clone());
    }
    icon.build(app)?;
    Ok(items)
}

fn sync_now<R: Runtime>(app: &AppHandle<R>) {
    let desk = app.state::<Desk>().inner().clone();
    tauri::async_runtime::spawn(async move {
        let host = desk.host().await;
        if let Err(error) = host.call(Caller { surface: Surface::Main }, "sync_now", Value::Null).await {
            log::info!("sync now: {error}");
        }
    });
}

fn hide_instead_of_closing<R: Runtime>(app: &AppHandle<R>) {
    let Some(window) = app.get_webview_window(windows::MAIN) else { return };
    let hidden = window.clone();
    window.on_window_event(move |event| {
        if let WindowEvent::CloseRequested { api, .. } = event
            && hidden.hide().is_ok()
        {
            api.prevent_close();
        }
    });
}

/// Keeps the menu in the language of whoever learns.
pub(crate) async fn speak<R: Runtime>(app: AppHandle<R>, host: Host) {
    let mut events = host.events();
    loop {
        let words = Language::of(host.language().await.as_deref());
        if let Some(items) = app.try_state::<Items<R>>() {
            let said = items.show.set_text(words.show()).and_then(|()| items.sync_now.set_text(words.sync_now()));
            if let Err(error) = said.and_then(|()| items.quit.set_text(words.quit())) {
                log::warn!("the tray menu keeps its language: {error}");
            }
        }
        // Other events say nothing about who learns.
        loop {
            match events.next().await {
                None => return,
                Some(EngineEvent::Profiles | EngineEvent::Resync) => break,
                Some(_) => {}
            }
        }
    }
}
