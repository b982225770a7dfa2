//! Signing in, staying signed in, signing out.

use std::sync::Arc;

use axum::{Json as Answer, extract::State, http::StatusCode};
use carrel_model::{
    DeviceId, ErrorCode, TimeMs,
    lease::{Lease, NOT_AFTER_MS, RENEW_AFTER_MS, SignedLease},
    wire::{
        auth::{LearnerIdentity, RefreshRequest, SignInRequest, SignedIn},
        problem::Problem,
    },
};

use super::{
    App,
    extract::{Json, RemoteAddress, SignedInAs},
    failure::Failure,
};
use crate::{
    accounts::{self, Issued, folded_name, token_hash},
    store::{Account, Caller},
};

/// Name and password for tokens, a lease, and the keys to verify leases with.
#[utoipa::path(post, path = "/auth/sign-in", tag = "auth", request_body = SignInRequest, responses(
    (status = 200, body = SignedIn),
    (status = 401, body = Problem, description = "`wrong_credentials`"),
    (status = 409, body = Problem, description = "`forbidden`: the device id belongs to another learner"),
    (status = 429, body = Problem, description = "`rate_limited`: again after `Retry-After`"),
    (status = 503, body = Problem, description = "too many are signing in at once: again after `Retry-After`")
))]
pub(super) async fn sign_in(
    State(app): State<Arc<App>>,
    RemoteAddress(address): RemoteAddress,
    Json(request): Json<SignInRequest>,
) -> Result<Answer<SignedIn>, Failure> {
    let now = (app.clock)();
    let wrong = || Failure::of(ErrorCode::WrongCredentials, "name or password are wrong");
    let name = folded_name(&request.name).ok_or_else(wrong)?;
    app.attempts.begin(&name, address, now).map_err(Failure::rate_limited)?;
    let account = match judged(&app, &name, request.password).await {
        Ok(account) => account.ok_or_else(wrong)?,
        Err(failure) => {
            app.attempts.withdrawn(&name, address);
            return Err(failure);
        }
    };
    app.attempts.succeeded(&name, address);
    let device_name: String = request.device_name.chars().filter(|c| !c.is_control()).take(100).collect();
    let issued = accounts::issue(now)?;
    let caller = Caller { learner: account.learner, device: request.device_id };
    app.store.open_session(caller, &device_name, &issued.kept, now).await?;
    signed_in(&app, account, request.device_id, issued, now).await
}

/// The account, if the password is its own.
async fn judged(app: &App, name: &str, password: String) -> Result<Option<Account>, Failure> {
    let account = app.store.account_by_name(name).await?;
    let hash = account.as_ref().map(|account| account.password_hash.clone());
    let right = app.passwords.verify(password, hash).await?;
    Ok(account.filter(|_| right))
}

/// A refresh token for fresh tokens and a fresh lease. The token before the last is accepted for 60 s more.
#[utoipa::path(post, path = "/auth/refresh", tag = "auth", request_body = RefreshRequest, responses(
    (status = 200, body = SignedIn),
    (status = 401, body = Problem, description = "`sign_in_needed`")
))]
pub(super) async fn refresh(
    State(app): State<Arc<App>>,
    Json(request): Json<RefreshRequest>,
) -> Result<Answer<SignedIn>, Failure> {
    let now = (app.clock)();
    let issued = accounts::issue(now)?;
    let presented = token_hash(&request.refresh_token);
    let account = app.store.rotate_session(presented, request.device_id, &issued.kept, now).await?;
    let account = account.ok_or_else(|| Failure::of(ErrorCode::SignInNeeded, "the session has ended"))?;
    signed_in(&app, account, request.device_id, issued, now).await
}

/// Ends the session of this device.
#[utoipa::path(post, path = "/auth/sign-out", tag = "auth", security(("bearer" = [])), responses(
    (status = 204, description = "signed out"),
    (status = 401, body = Problem)
))]
pub(super) async fn sign_out(
    State(app): State<Arc<App>>,
    SignedInAs(caller): SignedInAs,
) -> Result<StatusCode, Failure> {
    app.store.close_session(caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn signed_in(
    app: &App,
    account: Account,
    device: DeviceId,
    issued: Issued,
    now: TimeMs,
) -> Result<Answer<SignedIn>, Failure> {
    let lease = lease(app, Caller { learner: account.learner, device }, now).await?;
    Ok(Answer(SignedIn {
        learner: LearnerIdentity { id: account.learner, name: account.name, display_name: account.display_name },
        access_token: issued.access,
        access_expires_at: issued.kept.access_expires_at,
        refresh_token: issued.refresh,
        lease,
        lease_keys: app.secrets.lease_keys(),
        server_time: now,
    }))
}

/// What the learner may open on this device without a network.
pub(super) async fn lease(app: &App, caller: Caller, now: TimeMs) -> Result<SignedLease, Failure> {
    let lease = Lease {
        learner: caller.learner,
        device: caller.device,
        issued_at: now,
        renew_after: now.plus_ms(RENEW_AFTER_MS),
        not_after: now.plus_ms(NOT_AFTER_MS),
        enrolments: app.store.enrolments(caller.learner).await?,
        service_time: now,
    };
    Ok(lease.sign(&app.secrets.lease_key_id, &app.secrets.lease_key)?)
}
