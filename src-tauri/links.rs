//! `carrel://unit/<id>` opens a unit.
//!
//! A link may come before the page is there (it started the app), so it waits for the page.

use std::sync::Mutex;

use tauri::{
    AppHandle, Manager as _, Runtime, Webview,
    webview::{PageLoadEvent, PageLoadPayload},
};
use tauri_plugin_deep_link::DeepLinkExt as _;
use url::Url;

use crate::windows;

/// Where to go once the page is there.
#[derive(Debug, Default)]
pub(crate) struct Pending(Mutex<Arrival>);

#[derive(Debug, Default)]
struct Arrival {
    page_is_there: bool,
    hash: Option<String>,
}

/// Listens for links, the one that started the app included.
pub(crate) fn set_up<R: Runtime>(app: &AppHandle<R>) {
    // Only the real app has the plugin; it owns the scheme of this user.
    let Some(links) = app.try_state::<tauri_plugin_deep_link::DeepLink<R>>() else { return };
    if let Ok(Some(urls)) = links.get_current() {
        follow(app, &urls);
    }
    let handle = app.clone();
    app.deep_link().on_open_url(move |event| {
        follow(&handle, &event.urls());
        #[cfg(desktop)]
        windows::show_main(&handle);
    });
}

/// Goes where a link pointed that came before the page.
pub(crate) fn on_page_load<R: Runtime>(webview: &Webview<R>, load: &PageLoadPayload<'_>) {
    if webview.label() != windows::MAIN {
        return;
    }
    let pending = webview.state::<Pending>();
    let mut arrival = pending.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    arrival.page_is_there = load.event() == PageLoadEvent::Finished;
    if arrival.page_is_there
        && let Some(hash) = arrival.hash.take()
    {
        go(webview, &hash);
    }
}

fn follow<R: Runtime>(app: &AppHandle<R>, urls: &[Url]) {
    let Some(hash) = urls.iter().find_map(route) else { return };
    let pending = app.state::<Pending>();
    let mut arrival = pending.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match app.get_webview_window(windows::MAIN).filter(|_| arrival.page_is_there) {
        Some(window) => go(window.as_ref(), &hash),
        None => arrival.hash = Some(hash),
    }
}

fn go<R: Runtime>(webview: &Webview<R>, hash: &str) {
    if let Err(error) = webview.eval(format!("location.hash = '{hash}'")) {
        log::warn!("a link can't be followed: {error}");
    }
}

/// The page's own address for a link. Anybody can make a link, so only an id's own characters get through.
fn route(link: &Url) -> Option<String> {
    let id = link.path().trim_matches('/');
    let is_id = id.len() == 36 && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    (link.scheme() == "carrel" && link.host_str() == Some("unit") && is_id).then(|| format!("#/unit/{id}"))
}

#[cfg(test)]
mod tests {
    use super::route;

    #[test]
    fn a_link_to_a_unit_opens_it() {
        let id = "019aa1b2-0000-7000-8000-00000000c0de";
        let link = format!("carrel://unit/{id}").parse().unwrap();
        assert_eq!(route(&link), Some(format!("#/unit/{id}")));
    }

    #[test]
    fn nothing_else_gets_into_the_page() {
        for link in [
            "carrel://unit/",
            "carrel://lesson/019aa1b2-0000-7000-8000-00000000c0de",
            "https://unit/019aa1b2-0000-7000-8000-00000000c0de",
            "carrel://unit/019aa1b2-0000-7000-8000-';alert(1);//0",
            "carrel://unit/019aa1b2-0000-7000-8000-00000000c0de/x",
        ] {
            assert_eq!(route(&link.parse().unwrap()), None, "{link}");
        }
    }
}
