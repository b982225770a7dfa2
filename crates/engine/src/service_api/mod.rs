//! The service, as this app asks it: one method per request of protocol.md, typed answers, typed refusals.
//!
//! Every authorised request renews the session once when it has ended (single flight, `access::sessions`) and tells
//! `network` whether the service answered. It holds no rule: what a refusal means is decided by whoever asked.

mod exchange;
mod failure;

use std::time::Duration;

use carrel_model::{
    ErrorCode, ProfileId,
    wire::{
        content::{UnitsPage, UrlWanted, UrlsRequest, UrlsResponse},
        downloads::{AuthorizeRequest, Authorized},
        sync::{PullPage, PushRequest, PushResponse},
    },
};
use http::Method;
use serde::{Serialize, de::DeserializeOwned};
use url::Url;

use crate::{EngineError, access::Accounts};
pub(crate) use exchange::{Exchange, Request};
pub(crate) use failure::ApiError;

/// How many rows a page has at most.
const PAGE_LIMIT: u32 = 200;

/// Authorised requests. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct ServiceApi {
    accounts: Accounts,
    exchange: Exchange,
}

impl ServiceApi {
    pub(crate) const fn new(accounts: Accounts, exchange: Exchange) -> Self {
        Self { accounts, exchange }
    }

    /// Asks for a download: its manifest with absolute addresses, or the reason why not.
    pub(crate) async fn authorize_download(
        &self,
        profile: ProfileId,
        request: AuthorizeRequest,
    ) -> Result<Authorized, EngineError> {
        let mut authorized = authorized(self.post(profile, "downloads/authorize", &request).await?)?;
        self.accounts.service_said(authorized.server_time);
        let base = self.accounts.service_url(profile).await?;
        for blob in &mut authorized.blobs {
            blob.url = absolute(&base, &blob.url)?.into();
        }
        Ok(authorized)
    }

    /// Signed addresses, absolute. At most [`carrel_model::wire::content::MAX_URL_ITEMS`] items.
    pub(crate) async fn asset_urls(
        &self,
        profile: ProfileId,
        items: Vec<UrlWanted>,
    ) -> Result<UrlsResponse, EngineError> {
        let mut answer: UrlsResponse = self.post(profile, "content/assets/urls", &UrlsRequest { items }).await?;
        self.accounts.service_said(answer.server_time);
        let base = self.accounts.service_url(profile).await?;
        for url in &mut answer.urls {
            url.url = absolute(&base, &url.url)?.into();
        }
        Ok(answer)
    }

    /// The next page of changed courses and units.
    pub(crate) async fn units_page(&self, profile: ProfileId, since: Option<&str>) -> Result<UnitsPage, ApiError> {
        let mut query = vec![("limit", PAGE_LIMIT.to_string()), ("include_deleted", "true".to_owned())];
        query.extend(since.map(|cursor| ("since", cursor.to_owned())));
        let page: UnitsPage = self.get(profile, "content/units/sync", &query).await?;
        self.accounts.service_said(page.server_time);
        Ok(page)
    }

    /// The next page of the learner's own rows.
    pub(crate) async fn records_page(&self, profile: ProfileId, cursor: Option<&str>) -> Result<PullPage, ApiError> {
        let mut query = vec![("limit", PAGE_LIMIT.to_string())];
        query.extend(cursor.map(|cursor| ("cursor", cursor.to_owned())));
        let page: PullPage = self.get(profile, "sync/pull", &query).await?;
        self.accounts.service_said(page.server_time);
        Ok(page)
    }

    /// Sends a batch.
    pub(crate) async fn push(&self, profile: ProfileId, batch: &PushRequest) -> Result<PushResponse, ApiError> {
        let answer: PushResponse = self.post(profile, "sync/push", batch).await?;
        self.accounts.service_said(answer.server_now);
        Ok(answer)
    }

    async fn get<T: DeserializeOwned>(
        &self,
        profile: ProfileId,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<T, ApiError> {
        self.authorised(profile, Method::GET, path, query, None).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        profile: ProfileId,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ApiError> {
        let body = serde_json::to_vec(body).map_err(EngineError::from)?;
        self.authorised(profile, Method::POST, path, &[], Some(body)).await
    }

    async fn authorised<T: DeserializeOwned>(
        &self,
        profile: ProfileId,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        body: Option<Vec<u8>>,
    ) -> Result<T, ApiError> {
        let base = self.accounts.service_url(profile).await?;
        let mut bearer = self.accounts.bearer(profile, None).await?;
        let mut renewed = false;
        loop {
            let request = Request {
                method: method.clone(),
                base: &base,
                path,
                query,
                body: body.clone(),
                bearer: Some(&bearer),
                patience: Duration::from_secs(60),
            };
            match self.exchange.perform(request).await {
                Err(ApiError::Refused { status: 401, .. }) if !renewed => {
                    bearer = self.accounts.bearer(profile, Some(&bearer)).await?;
                    renewed = true;
                }
                Err(ApiError::Refused { status: 401, .. }) => {
                    self.accounts.session_ended(profile).await?;
                    return Err(ApiError::SignInNeeded);
                }
                other => return other,
            }
        }
    }
}

fn absolute(base: &Url, address: &str) -> Result<Url, EngineError> {
    let url = base.join(address).map_err(|error| EngineError::Unreadable(format!("an address: {error}")))?;
    // What is fetched is verified; still, a service must not make the app open files or other programs.
    if !matches!(url.scheme(), "http" | "https") {
        return Err(EngineError::Unreadable("an address of another scheme".to_owned()));
    }
    Ok(url)
}

/// Reads an authorisation. The service answered, and in its own language: what can't be read then is a manifest that
/// doesn't fit its own hash, and saying "that is no service" would send the learner looking in the wrong place.
fn authorized(answer: serde_json::Value) -> Result<Authorized, EngineError> {
    serde_json::from_value(answer).map_err(|error| EngineError::Service {
        code: ErrorCode::BadManifest,
        detail: error.to_string(),
        retry_after_ms: None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_damaged_manifest_has_its_own_word() {
        let blob = |pieces: &str| {
            json!({
                "blobs": [{
                    "asset_id": "01900000-0000-7000-8000-000000000001", "lesson_id": null, "unit_id": null,
                    "kind": "audio", "quality": "medium", "mime": "audio/mpeg", "url": "/x",
                    "url_expires_at": "2026-11-20T10:00:00Z",
                    "manifest": { "hash": blake3::hash(b"abc").to_hex().as_str(), "size": 3, "pieces": [pieces] },
                }],
                "expires_at": null, "quota_used": 0, "quota_limit": null, "server_time": "2026-11-20T10:00:00Z",
            })
        };
        assert!(authorized(blob(blake3::hash(b"abc").to_hex().as_str())).is_ok(), "a right one is read");
        let refused = authorized(blob(blake3::hash(b"abd").to_hex().as_str())).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::BadManifest);
    }
}
