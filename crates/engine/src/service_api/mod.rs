//! The service, as this app asks it: one method per request of protocol.md, typed answers, typed refusals.
//!
//! Every authorised request renews the session once when it has ended (single flight, `access::sessions`) and tells
//! `network` whether the service answered. It holds no rule: what a refusal means is decided by whoever asked.

mod arriving;
mod exchange;
mod failure;
mod packing;

use std::time::Duration;

use carrel_model::{
    ProfileId,
    wire::{
        content::{UnitsPage, UrlWanted, UrlsRequest, UrlsResponse},
        downloads::AuthorizeRequest,
        sync::{PullPage, PushRequest, PushResponse},
    },
};
use http::Method;
use serde::{Serialize, de::DeserializeOwned};
use url::Url;

use crate::{EngineError, access::Accounts, downloads::grant::Granted};
use arriving::ReadAnswer;
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
    ) -> Result<Granted, EngineError> {
        let body = serde_json::to_vec(&request)?;
        let asked = Asked { method: Method::POST, path: "downloads/authorize", query: &[], body: Some(body) };
        let mut granted = self.authorised(profile, asked, Some(read_granted)).await?;
        self.accounts.service_said(granted.server_time);
        let base = self.accounts.service_url(profile).await?;
        for (_, address, _) in &mut granted.addresses {
            *address = absolute(&base, address)?.into();
        }
        Ok(granted)
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

    async fn get<T: DeserializeOwned + Send + 'static>(
        &self,
        profile: ProfileId,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<T, ApiError> {
        self.authorised(profile, Asked { method: Method::GET, path, query, body: None }, None).await
    }

    async fn post<T: DeserializeOwned + Send + 'static>(
        &self,
        profile: ProfileId,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ApiError> {
        let body = serde_json::to_vec(body).map_err(EngineError::from)?;
        let asked = Asked { method: Method::POST, path, query: &[], body: Some(body) };
        self.authorised(profile, asked, None).await
    }

    /// `reading`: the answer is long, and read while it arrives.
    async fn authorised<T: DeserializeOwned + Send + 'static>(
        &self,
        profile: ProfileId,
        asked: Asked<'_>,
        reading: Option<ReadAnswer<T>>,
    ) -> Result<T, ApiError> {
        let base = self.accounts.service_url(profile).await?;
        let mut bearer = self.accounts.bearer(profile, None).await?;
        let mut renewed = false;
        loop {
            let request = Request {
                method: asked.method.clone(),
                base: &base,
                path: asked.path,
                query: asked.query,
                body: asked.body.clone(),
                bearer: Some(&bearer),
                patience: Duration::from_secs(60),
            };
            let answer = match reading {
                None => self.exchange.perform(request).await,
                Some(how) => self.exchange.perform_reading(request, how).await,
            };
            match answer {
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

/// What is asked of the service.
struct Asked<'a> {
    method: Method,
    /// Below `/api/v1/`.
    path: &'a str,
    query: &'a [(&'a str, String)],
    /// JSON.
    body: Option<Vec<u8>>,
}

fn absolute(base: &Url, address: &str) -> Result<Url, EngineError> {
    let url = base.join(address).map_err(|error| EngineError::Unreadable(format!("an address: {error}")))?;
    // What is fetched is verified; still, a service must not make the app open files or other programs.
    if !matches!(url.scheme(), "http" | "https") {
        return Err(EngineError::Unreadable("an address of another scheme".to_owned()));
    }
    Ok(url)
}

fn read_granted(answer: &mut dyn std::io::Read) -> serde_json::Result<Granted> {
    serde_json::from_reader(answer)
}
