//! Devices, page by page, with all of their parts.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::Method;
use url::Url;

use super::transport::{Call, Transport};
use crate::devices::{self, Document, Missing};
use crate::error::Endpoint;
use crate::{AccessToken, Decision, Device, DeviceId, Error};

/// The most pages of one listing.
const MOST_PAGES: usize = 100;

/// How many devices are completed at a time, where Ring has left parts out.
const AT_A_TIME: usize = 4;

impl Transport {
    pub(super) async fn devices(&self, token: &AccessToken) -> Result<Vec<Device>, Error> {
        let mut url = self.with_parts("/v1/devices");
        let mut seen = HashSet::new();
        let mut found: Vec<(Device, Vec<Missing>)> = Vec::new();
        let mut places: HashMap<DeviceId, usize> = HashMap::new();
        loop {
            if seen.len() == MOST_PAGES || !seen.insert(url.clone()) {
                return Err(Error::Unusable("its pages have no end"));
            }
            let document = self.document(token, url.clone()).await?;
            for (device, missing) in document.devices() {
                // A list that changes while it is read can have a device twice: the later reading stands.
                match places.get(&device.id) {
                    Some(place) => found[*place] = (device, missing),
                    None => {
                        places.insert(device.id.clone(), found.len());
                        found.push((device, missing));
                    }
                }
            }
            // A list that ends too early would look as if devices were gone: a page elsewhere is an error.
            match document.next.as_deref() {
                None => break,
                Some(next) => {
                    url = self
                        .within(&url, next)
                        .ok_or(Error::Unusable("its next page is elsewhere"))?
                }
            }
        }
        stream::iter(found)
            .map(|(device, missing)| self.completed(token, device, missing))
            .buffered(AT_A_TIME)
            .try_collect()
            .await
    }

    pub(super) async fn device(&self, token: &AccessToken, id: &DeviceId) -> Result<Device, Error> {
        let document = self
            .document(token, self.with_parts(&format!("/v1/devices/{}", id.path_segment())))
            .await?;
        let found = document.devices().into_iter().find(|(device, _)| device.id == *id);
        let (device, missing) = found.ok_or(Error::Unusable("it is another device"))?;
        self.completed(token, device, missing).await
    }

    /// Fetches what `included` did not have. A part that Ring does not show is left out; what may pass is an error, as a
    /// device without its part must not be taken for one that has none.
    async fn completed(&self, token: &AccessToken, mut device: Device, missing: Vec<Missing>) -> Result<Device, Error> {
        for Missing { part, related } in missing {
            let documented = self.endpoint(&format!("/v1/devices/{}/{part}", device.id.path_segment()));
            let url = related
                .and_then(|link| self.within(&documented, &link))
                .unwrap_or(documented);
            match self.get(token, url).await {
                Ok(body) => {
                    let attributes = devices::attributes(&body).ok_or(Error::Unusable("it is no part of a device"))?;
                    device.set(part, &attributes);
                }
                Err(error) => match error.decision() {
                    Decision::Gone | Decision::OutOfScope | Decision::Offline => {}
                    _ => return Err(error),
                },
            }
        }
        Ok(device)
    }

    async fn document(&self, token: &AccessToken, url: Url) -> Result<Document, Error> {
        Document::parse(&self.get(token, url).await?).ok_or(Error::Unusable("it is no document of devices"))
    }

    async fn get(&self, token: &AccessToken, url: Url) -> Result<Bytes, Error> {
        self.repeat(&Call::new(Endpoint::Devices, Method::GET, url, token))
            .await
    }

    fn with_parts(&self, path: &str) -> Url {
        let mut url = self.endpoint(path);
        url.set_query(Some(&format!("include={}", devices::PARTS.join(","))));
        url
    }

    /// A link, if it stays within Ring's API: the bearer goes along. A path counts from the API's base.
    fn within(&self, page: &Url, link: &str) -> Option<Url> {
        let base = self.settings.api_url.path().trim_end_matches('/');
        let rooted = link.starts_with('/') && !link.starts_with("//") && !link.starts_with(&format!("{base}/"));
        let url = if rooted {
            page.join(&format!("{base}{link}"))
        } else {
            page.join(link)
        }
        .ok()?;
        let anonymous = url.username().is_empty() && url.password().is_none();
        (anonymous && self.policy.is_api(&url)).then_some(url)
    }
}
