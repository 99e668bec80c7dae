//! The local stack: the emulator, a Ring, and the repository's own template deployed by `sam`.

use std::collections::BTreeMap;
use std::env::consts::ARCH;
use std::fs::{self, File};
use std::path::PathBuf;
use std::time::Duration;

use aws_sdk_apigatewayv2::types::Cors;
use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::aws::Aws;
use crate::child::Server;
use crate::emulator::{ACCESS_KEY, Emulator, REGION};
use crate::failure::{Doing, Failure};
use crate::outputs::{Outputs, noun_of, package_of, queue_of};
use crate::place::{Place, Run};
use crate::programs::{self, Profile};
use crate::progress::Progress;
use crate::recorder::Recorder;
use crate::ring::{Ring, RingChoice};
use crate::sam::Sam;
use crate::tools::Tools;
use crate::users;

/// No answer of a local server takes longer, but for a first start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a stack is brought up.
#[derive(Clone, Debug)]
pub struct Options {
    /// What it is for, which is also the end of its name: `local`, `demo`, `it`.
    pub kind: &'static str,
    /// How the programs are compiled.
    pub profile: Profile,
    /// The emulator's port; none: a free one.
    pub port: Option<u16>,
    /// The Ring that it talks to.
    pub ring: RingChoice,
    /// Where the functions find AWS; none: at the emulator itself. A test may stand in between.
    pub aws_for_functions: Option<String>,
    /// Where progress is told.
    pub progress: Progress,
}

/// A stack, up. It ends with this value, and with the process however that ends.
pub struct Stack {
    outputs: Outputs,
    aws: Aws,
    ring: Ring,
    http: reqwest::Client,
    tools: Tools,
    published: Option<Published>,
    place: Place,
    recorder: Recorder,
    // Last, in this order: the recorder ends, then the emulator, then its folder's lock is let go.
    _recording: Server,
    _emulator: Emulator,
    run: Run,
}

impl Stack {
    /// Builds, starts and deploys all that is needed.
    pub async fn up(place: Place, options: Options) -> Result<Self, Failure> {
        let Options {
            kind,
            profile,
            port,
            ring,
            aws_for_functions,
            progress,
        } = options;
        let run = Run::begin(&place, kind)?;
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build();
        let http = http.or_fail(|| "An HTTP client can't be made".into())?;

        let servers = async {
            let part = progress.begin("tools", "the emulator and sam, as pinned");
            let tools = Tools::ready(&place).await?;
            part.done(if tools.made() == 0 { "unchanged" } else { "installed" });
            let part = progress.begin("emulator", "AWS on loopback");
            let emulator = Emulator::start(&tools, &run, port, aws_for_functions, &http).await?;
            part.done(&emulator.url());
            let part = progress.begin("ring", "the Ring to talk to");
            let ring = Ring::start(ring, http.clone()).await?;
            part.done(&ring.urls().api_url);
            Ok::<_, Failure>((tools, emulator, ring))
        };
        let functions = async {
            let part = progress.begin("build", "the functions, with cargo");
            programs::build(&place, profile, progress == Progress::Quiet).await?;
            part.done("built");
            let part = progress.begin("programs", "bootstraps to where the template looks for them");
            let changed = programs::place(&place, profile).await?;
            part.done(&format!("{changed} changed"));
            Ok(())
        };
        let ((tools, emulator, ring), ()) = tokio::try_join!(servers, functions)?;

        let stack_name = format!("ring-{kind}");
        let aws = Aws::at(&emulator.url(), REGION, ACCESS_KEY);
        let part = progress.begin("deploy", "template.yaml, with sam deploy");
        let parameters = parameters(&ring, &emulator.url());
        let sam = Sam {
            place: &place,
            run: &run,
            tools: &tools,
            endpoint: &emulator.url(),
            stack_name: &stack_name,
        };
        sam.deploy(&aws, &parameters).await?;
        let outputs = describe(&aws, &emulator, &stack_name, &ring).await?;
        part.done(&format!("stack {stack_name}"));

        let part = progress.begin("recorder", "the program that records live video");
        let recorder = Recorder::of(&place, profile, &aws, &outputs).await?;
        let environment = recorder
            .environment
            .iter()
            .map(|(name, value)| (name.as_str(), value.clone()));
        let program = [recorder.program.as_os_str()];
        let recording = Server::start(&tools.python(), &program, environment, &run.log("recorder"))?;
        part.done("started");

        let part = progress.begin("settings", "secrets, CORS, Ring's settings");
        let token_url_key = &parameters["TokenUrlKey"];
        let stack = Self {
            outputs,
            aws,
            ring,
            http,
            tools,
            published: None,
            place,
            recorder,
            _recording: recording,
            _emulator: emulator,
            run,
        };
        stack.allow_origins().await?;
        stack.write_secrets(stack.ring.signing_key(), None).await?;
        stack.introduce_to_ring(token_url_key).await?;
        part.done("written");
        Ok(stack)
    }

    /// What a client needs to know of it.
    pub fn outputs(&self) -> &Outputs {
        &self.outputs
    }

    /// The emulator's services.
    pub fn aws(&self) -> &Aws {
        &self.aws
    }

    /// The Ring that it talks to.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// The pinned tools beside the emulator.
    pub fn tools(&self) -> &Tools {
        &self.tools
    }

    /// The recorder, to start another one.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Where the checkout and its target folder are.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The folder of this run, with its logs.
    pub fn folder(&self) -> &std::path::Path {
        self.run.folder()
    }

    /// One of the template's outputs.
    pub fn output(&self, key: &str) -> Result<&str, Failure> {
        let found = self.outputs.outputs.get(key);
        found
            .map(String::as_str)
            .ok_or_else(|| Failure::new(format!("The stack has no output {key}")))
    }

    /// A request to the API, as whoever is outside sends it.
    pub fn request(&self, method: Method, route: &str) -> reqwest::RequestBuilder {
        let url = format!("{}{route}", self.outputs.api_url);
        self.http
            .request(method, url)
            .header(header::HOST, &self.outputs.api_host)
    }

    /// A client for other places of this machine.
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Signs somebody in, and makes them a user first if they are new. Returns the ID token.
    pub async fn sign_in(&self, email: &str) -> Result<String, Failure> {
        users::sign_in(&self.aws, &self.outputs, email).await
    }

    /// Signs somebody in at a client of any pool of the emulator's, as who is to be refused here.
    pub async fn sign_in_at(&self, pool: &str, client: &str, email: &str) -> Result<String, Failure> {
        users::sign_in_at(&self.aws, pool, client, email).await
    }

    /// The emulator's services with the rights of a function's role, by the name of its package. The function must have been
    /// called before.
    pub async fn aws_as(&self, package: &str) -> Result<Aws, Failure> {
        let what = || format!("The role of {package} can't be taken");
        let name = self.outputs.functions.get(package);
        let name = name.ok_or_else(|| Failure::new(what()).because("the stack has no such function"))?;
        let function = self.aws.functions.get_function_configuration().function_name(name);
        let function = function.send().await.or_fail(what)?;
        let (Some(arn), Some(role)) = (function.function_arn(), function.role()) else {
            return Err(Failure::new(what()).because("it does not say who it is"));
        };
        let Outputs {
            aws_endpoint_url,
            aws_region,
            ..
        } = &self.outputs;
        Ok(Aws::of_function(aws_endpoint_url, aws_region, arn, role))
    }

    /// Calls a function by its package's name, with an event, and returns what it answered.
    pub async fn invoke(&self, package: &str, event: &Value) -> Result<Value, Failure> {
        let what = || format!("{package} did not do what it was called for");
        let name = self.outputs.functions.get(package);
        let name = name.ok_or_else(|| Failure::new(what()).because("the stack has no such function"))?;
        let payload = aws_sdk_lambda::primitives::Blob::new(event.to_string());
        let answer = self
            .aws
            .functions
            .invoke()
            .function_name(name)
            .payload(payload)
            .send()
            .await
            .or_fail(what)?;
        let said = answer
            .payload
            .map(|payload| String::from_utf8_lossy(payload.as_ref()).into_owned());
        let said = said.unwrap_or_default();
        if let Some(error) = answer.function_error {
            return Err(Failure::new(what()).because(format!("{error}: {said}")));
        }
        if said.is_empty() {
            Ok(Value::Null)
        } else {
            serde_json::from_str(&said).or_fail(what)
        }
    }

    /// Writes the two secrets, the signing key with the one before it, if there is one.
    pub async fn write_secrets(&self, key: &str, previous: Option<&str>) -> Result<(), Failure> {
        let credentials = self.ring.credentials();
        let client = json!({ "client_id": credentials.client_id, "client_secret": credentials.client_secret });
        let mut signing = json!({ "hmac_signing_key": key });
        if let Some(previous) = previous {
            signing["hmac_signing_key_previous"] = json!(previous);
        }
        for (secret, value) in [("OAuthSecretId", client), ("SigningSecretId", signing)] {
            let put = self.aws.secrets.put_secret_value().secret_id(self.output(secret)?);
            let written = put.secret_string(value.to_string()).send().await;
            written.or_fail(|| format!("The secret of the output {secret} can't be written"))?;
        }
        Ok(())
    }

    /// Writes `outputs.json`; it goes when the stack goes. Says `false`, and writes nothing, where another stack of this
    /// target folder is up and has written its own.
    pub fn publish(&mut self) -> Result<bool, Failure> {
        self.published = Published::write(&self.outputs, &self.place)?;
        Ok(self.published.is_some())
    }

    /// Whether another process has published a stack of this target folder.
    pub fn is_published(place: &Place) -> Result<bool, Failure> {
        Ok(Published::lock(place)?.is_none())
    }

    /// Deploys another template beside the stack, under this name: a path from the checkout, and its parameters.
    pub async fn deploy_beside(&self, template: &str, name: &str, parameters: &[(&str, &str)]) -> Result<(), Failure> {
        self.sam().deploy_beside(template, name, parameters).await
    }

    fn sam(&self) -> Sam<'_> {
        Sam {
            place: &self.place,
            run: &self.run,
            tools: &self.tools,
            endpoint: &self.outputs.aws_endpoint_url,
            stack_name: &self.outputs.stack_name,
        }
    }

    /// Gathers what all functions have logged so far into one file.
    pub async fn gather_logs(&self) -> Result<PathBuf, Failure> {
        self.sam().logs().await
    }

    /// What a real gateway takes from the template, and the emulator leaves out.
    async fn allow_origins(&self) -> Result<(), Failure> {
        let id = self.outputs.api_host.split('.').next().unwrap_or_default();
        let methods = ["GET", "POST", "PUT", "PATCH", "DELETE"].map(str::to_owned);
        let cors = Cors::builder()
            .allow_origins("*")
            .set_allow_methods(Some(methods.into()))
            .set_allow_headers(Some(
                ["authorization", "content-type", "idempotency-key", "if-none-match"]
                    .map(str::to_owned)
                    .into(),
            ))
            .set_expose_headers(Some(["etag", "location", "retry-after"].map(str::to_owned).into()))
            .max_age(7200)
            .build();
        let updated = self
            .aws
            .gateway
            .update_api()
            .api_id(id)
            .cors_configuration(cors)
            .send()
            .await;
        updated.or_fail(|| "The gateway's CORS can't be set".into())?;
        Ok(())
    }

    /// Pastes the stack's URLs where a partner pastes them in Ring's portal.
    async fn introduce_to_ring(&self, token_url_key: &str) -> Result<(), Failure> {
        if self.ring.urls().control_url.is_none() {
            return Ok(());
        }
        let Outputs { api_url, api_host, .. } = &self.outputs;
        let settings = json!({
            "token_exchange_url": format!("{api_url}/ring/token/{token_url_key}"),
            "webhook_url": format!("{api_url}/ring/webhook"),
            "account_link_url": self.output("AccountLinkUrl")?,
            "push_headers": { "Host": api_host },
        });
        self.ring.order(Method::PUT, "config", Some(&settings)).await?;
        Ok(())
    }
}

fn parameters(ring: &Ring, emulator: &str) -> BTreeMap<&'static str, String> {
    let architecture = if ARCH == "aarch64" { "arm64" } else { "x86_64" };
    let mut parameters = BTreeMap::from([
        ("Architecture", architecture.to_owned()),
        ("TokenUrlKey", uuid::Uuid::new_v4().simple().to_string()),
        ("RingApiUrl", ring.urls().api_url.clone()),
        ("RingOauthUrl", ring.urls().oauth_url.clone()),
        ("RingMediaHosts", ring.media_hosts().to_owned()),
        // The pages sign in at the emulator's pool, and read media from its bucket.
        ("OidcSignInUrl", format!("{emulator}/oauth2/authorize")),
        ("OidcTokenUrl", format!("{emulator}/oauth2/token")),
        ("MediaOrigin", emulator.to_owned()),
        // The recorder is a process beside the emulator.
        ("CaptureMode", "own".to_owned()),
        // The offline Ring and its viewers are on one machine.
        ("StunUrl", String::new()),
        ("LogSuccessPercent", "100".to_owned()),
        // Pages of any development server.
        ("AllowedOrigins", "*".to_owned()),
    ]);
    // The offline Ring's limit is nobody else's: whoever moves the time by a day does not wait for a day's renewals.
    if ring.urls().control_url.is_some() {
        // Its processes are few: each gets more than the part of one among many.
        for (rate, limit) in [
            ("ExchangeAndLinkRate", 80),
            ("RefreshRate", 80),
            ("ApiAndMediaRate", 200),
        ] {
            parameters.insert(rate, limit.to_string());
        }
        // Whoever forges a code here comes from the same address as the offline Ring.
        parameters.insert("RefusedCodesPerMinute", "1000".to_owned());
    }
    parameters
}

/// What the stack has in it, as it says itself.
async fn describe(aws: &Aws, emulator: &Emulator, stack_name: &str, ring: &Ring) -> Result<Outputs, Failure> {
    let what = || format!("The stack {stack_name} can't be looked at");
    let stacks = aws
        .stacks
        .describe_stacks()
        .stack_name(stack_name)
        .send()
        .await
        .or_fail(what)?;
    let stack = stacks
        .stacks()
        .first()
        .ok_or_else(|| Failure::new(what()).because("it is not there"))?;
    let outputs = stack
        .outputs()
        .iter()
        .filter_map(|output| Some((output.output_key()?.to_owned(), output.output_value()?.to_owned())));
    let outputs: BTreeMap<String, String> = outputs.collect();

    let (mut functions, mut tables, mut queues) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut pages = aws
        .stacks
        .list_stack_resources()
        .stack_name(stack_name)
        .into_paginator()
        .items()
        .send();
    while let Some(resource) = pages.next().await {
        let resource = resource.or_fail(what)?;
        let logical = resource.logical_resource_id().unwrap_or_default();
        let physical = resource.physical_resource_id().unwrap_or_default().to_owned();
        match resource.resource_type().unwrap_or_default() {
            "AWS::Lambda::Function" => _ = functions.insert(package_of(logical), physical),
            "AWS::DynamoDB::Table" => _ = tables.insert(noun_of(logical), physical),
            "AWS::SQS::Queue" => _ = queues.insert(queue_of(logical), physical),
            _ => {}
        }
    }
    let api = outputs.get("ApiUrl").and_then(|url| url.split_once("://"));
    let (_, api_host) = api.ok_or_else(|| Failure::new(what()).because("it has no output ApiUrl"))?;
    Ok(Outputs {
        // The host's own name is not known to every resolver.
        api_url: emulator.url(),
        api_host: api_host.to_owned(),
        aws_endpoint_url: emulator.url(),
        aws_region: REGION.to_owned(),
        aws_access_key_id: ACCESS_KEY.0.to_owned(),
        aws_secret_access_key: ACCESS_KEY.1.to_owned(),
        stack_name: stack_name.to_owned(),
        functions,
        tables,
        queues,
        ring: ring.urls().clone(),
        outputs,
    })
}

/// `outputs.json`, written, and the lock that says whose it is.
struct Published {
    place: Place,
    _lock: File,
}

impl Published {
    fn write(outputs: &Outputs, place: &Place) -> Result<Option<Self>, Failure> {
        let Some(lock) = Self::lock(place)? else {
            return Ok(None);
        };
        outputs.write(place)?;
        Ok(Some(Self {
            place: place.clone(),
            _lock: lock,
        }))
    }

    /// None where another process holds it.
    fn lock(place: &Place) -> Result<Option<File>, Failure> {
        let path = place.local().join("outputs.lock");
        let opened = fs::create_dir_all(place.local()).and_then(|()| File::create(&path));
        let lock = opened.or_fail(|| format!("The lock {} can't be taken", path.display()))?;
        Ok(lock.try_lock().is_ok().then_some(lock))
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        for path in self.place.outputs() {
            // It is gone already, or somebody else's to clean up.
            let _ = fs::remove_file(path);
        }
    }
}
