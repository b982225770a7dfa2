//! Commands and events over Tauri's IPC.
//!
//! Tauri has checked the window's permission by the time a handler runs (`tests/shell.rs` holds it to that); the host checks
//! the caller once more by its own table.

use std::{collections::HashMap, sync::Mutex};

use carrel_host::{Caller, CommandSpec, EngineEvent, HostError, Surface, batch::batches};
use futures_util::StreamExt as _;
use tauri::{
    AppHandle, Manager as _, Runtime, Webview,
    async_runtime::JoinHandle,
    ipc::{Channel, Invoke, InvokeBody, InvokeError},
};

use crate::{Desk, windows};

/// A handler of the shell's own commands.
pub(crate) type ShellCommands<R> = Box<dyn Fn(Invoke<R>) -> bool + Send + Sync>;

/// The commands that need a window, and so are not in the host's table.
pub(crate) fn shell_commands<R: Runtime>() -> ShellCommands<R> {
    Box::new(tauri::generate_handler![subscribe, open_diagnostics, crate::saving::save_file])
}

/// Any command: of the host's table, else of the shell.
pub(crate) fn handle<R: Runtime>(invoke: Invoke<R>, shell_commands: &ShellCommands<R>) -> bool {
    let Some(command) = CommandSpec::find(invoke.message.command()) else { return shell_commands(invoke) };
    let webview = invoke.message.webview();
    let surface = Surface::of_window(webview.window().label());
    let request = match invoke.message.payload() {
        InvokeBody::Json(payload) => payload.get("request").cloned().unwrap_or_default(),
        InvokeBody::Raw(_) => serde_json::Value::Null,
    };
    let desk = webview.state::<Desk>().inner().clone();
    invoke.resolver.respond_async(async move {
        let surface = surface.ok_or_else(|| InvokeError::from("this window has no commands"))?;
        let host = desk.host().await;
        host.call(Caller { surface }, command.name, request).await.map_err(rejection)
    });
    true
}

fn rejection(error: HostError) -> InvokeError {
    serde_json::to_value(&error).map_or_else(|_| InvokeError::from(error.to_string()), InvokeError)
}

/// The running subscription of each window.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions(Mutex<HashMap<String, JoinHandle<()>>>);

/// Sends batches of events to a window from now on. A page that was loaded anew takes the place of the one before.
#[tauri::command]
fn subscribe<R: Runtime>(app: AppHandle<R>, webview: Webview<R>, channel: Channel<Vec<EngineEvent>>) {
    let desk = app.state::<Desk>().inner().clone();
    let sending = tauri::async_runtime::spawn(async move {
        let mut messages = batches(desk.host().await.events());
        while let Some(batch) = messages.next().await {
            if channel.send(batch).is_err() {
                break;
            }
        }
    });
    let subscriptions = app.state::<Subscriptions>();
    let mut running = subscriptions.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(before) = running.insert(webview.label().to_owned(), sending) {
        before.abort();
    }
}

// Async: on Windows a window can't be made while a command holds the event loop.
#[tauri::command]
async fn open_diagnostics<R: Runtime>(app: AppHandle<R>) -> Result<(), String> {
    windows::show_diagnostics(&app).map_err(|error| error.to_string())
}
