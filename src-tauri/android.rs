//! What Android says of network and power.
//!
//! The way to its managers is the activity, which only the window has. They tell of changes to classes of Java alone, and
//! Carrel has none: so they are asked, often enough that a phone that leaves its Wi-Fi is noticed within seconds. What they
//! refuse to say is unknown.

use std::time::Duration;

use carrel_platform::{Link, Platform, Power};
use jni::{
    JNIEnv,
    errors::Result,
    objects::{JObject, JValue},
};
use tauri::{AppHandle, Manager as _, Runtime};

use crate::windows;

const ASK_EVERY: Duration = Duration::from_secs(5);

/// Asks for as long as the app lives.
pub(crate) async fn watch<R: Runtime>(app: AppHandle<R>, platform: Platform) {
    loop {
        if let Some(window) = app.get_webview_window(windows::MAIN) {
            let platform = platform.clone();
            let asked = window.with_webview(move |webview| {
                webview.jni_handle().exec(move |env, activity, _| {
                    let link = or_unknown(env, Link::Unknown, |env| link(env, activity));
                    let power = or_unknown(env, Power::Unknown, |env| power(env, activity));
                    platform.say(link, power);
                });
            });
            if let Err(error) = asked {
                log::debug!("the window can't be asked: {error}");
            }
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// An exception is an answer, too; left standing, it would end the app at the next call.
fn or_unknown<T>(env: &mut JNIEnv<'_>, unknown: T, ask: impl FnOnce(&mut JNIEnv<'_>) -> Result<T>) -> T {
    let answer = ask(env);
    if env.exception_check().unwrap_or(true) {
        env.exception_clear().ok();
    }
    answer.unwrap_or(unknown)
}

fn link(env: &mut JNIEnv<'_>, activity: &JObject<'_>) -> Result<Link> {
    let manager = manager(env, activity, "connectivity")?;
    let network = env.call_method(&manager, "getActiveNetwork", "()Landroid/net/Network;", &[])?.l()?;
    if network.is_null() {
        return Ok(Link::Down);
    }
    let metered = env.call_method(&manager, "isActiveNetworkMetered", "()Z", &[])?.z()?;
    Ok(if metered { Link::Metered } else { Link::Unmetered })
}

fn power(env: &mut JNIEnv<'_>, activity: &JObject<'_>) -> Result<Power> {
    let manager = manager(env, activity, "batterymanager")?;
    let charging = env.call_method(&manager, "isCharging", "()Z", &[])?.z()?;
    Ok(if charging { Power::Charging } else { Power::Battery })
}

fn manager<'a>(env: &mut JNIEnv<'a>, activity: &JObject<'_>, name: &str) -> Result<JObject<'a>> {
    let name = env.new_string(name)?;
    let asked = "(Ljava/lang/String;)Ljava/lang/Object;";
    env.call_method(activity, "getSystemService", asked, &[JValue::Object(&name)])?.l()
}
