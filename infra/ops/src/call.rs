//! One call of AWS that is signed here, as the SDK of its service would bring a second HTTP stack into the whole tree, or a whole
//! crate for one question.

use std::time::{Duration, SystemTime};

use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use http::Method;
use shared::edge::clock;
use shared::edge::direct::suffix;

use crate::failure::{Doing as _, Failure};
use crate::stack::Stack;

const WITHIN: Duration = Duration::from_secs(30);

/// What is asked of which service.
pub(crate) struct Call<'a> {
    /// What can't be done where this fails, as a sentence without its full stop.
    pub(crate) what: &'static str,
    /// The service, by its name in hosts and signatures.
    pub(crate) service: &'static str,
    pub(crate) method: Method,
    /// From the root of the service.
    pub(crate) path: &'static str,
    pub(crate) headers: &'a [(&'static str, &'static str)],
    pub(crate) body: String,
    /// What one needs to be allowed for it.
    pub(crate) right: &'static str,
}

impl Call<'_> {
    /// Asks, and returns the body of a good answer.
    pub(crate) async fn ask(self, stack: &Stack) -> Result<Vec<u8>, Failure> {
        let what = || self.what.to_owned();
        let region = stack.aws.region().map(ToString::to_string).ok_or_else(|| {
            Failure::new(what())
                .because("no region is set")
                .advise("name it with AWS_REGION")
        })?;
        let origin = match stack.aws.endpoint_url() {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("https://{}.{region}.{}", self.service, suffix(&region)),
        };
        let mut request = http::Request::builder()
            .method(&self.method)
            .uri(format!("{origin}{}", self.path));
        for (name, value) in self.headers {
            request = request.header(*name, *value);
        }
        let request = request.body(self.body.clone()).or_fail(what)?;
        let request = self.signed(stack, request, &region).await?;
        let client = reqwest::Client::builder().timeout(WITHIN).build().or_fail(what)?;
        let request = reqwest::Request::try_from(request).or_fail(what)?;
        let answer = client.execute(request).await.or_fail(what)?;
        let status = answer.status();
        let text = answer.bytes().await.or_fail(what)?;
        if !status.is_success() {
            let said = String::from_utf8_lossy(&text[..text.len().min(400)]).into_owned();
            return Err(Failure::new(what())
                .because(format!("AWS answers {status}: {said}"))
                .advise(format!("use credentials that have the right {}", self.right)));
        }
        Ok(text.into())
    }

    async fn signed(
        &self,
        stack: &Stack,
        mut request: http::Request<String>,
        region: &str,
    ) -> Result<http::Request<String>, Failure> {
        use aws_sdk_sqs::config::ProvideCredentials as _;

        let what = || self.what.to_owned();
        let provider = stack.aws.credentials_provider();
        let provider = provider.ok_or_else(|| {
            Failure::new(what())
                .because("there are no credentials")
                .advise("sign in to the AWS account of the stack")
        })?;
        let identity = provider.provide_credentials().await.or_fail(what)?.into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name(self.service)
            .time(SystemTime::from(clock::now()))
            .settings(SigningSettings::default())
            .build()
            .or_fail(what)?
            .into();
        let uri = request.uri().to_string();
        let headers = request
            .headers()
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let body = SignableBody::Bytes(request.body().as_bytes());
        let signable = SignableRequest::new(self.method.as_str(), uri, headers, body);
        let (instructions, _) = sign(signable.or_fail(what)?, &parameters).or_fail(what)?.into_parts();
        instructions.apply_to_request_http1x(&mut request);
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_is_where_the_region_is() {
        assert_eq!(suffix("eu-central-1"), "amazonaws.com");
        assert_eq!(suffix("cn-north-1"), "amazonaws.com.cn");
    }
}
