//! The recorder, as a process beside the emulator: in production it is a service of containers, which no function starts. Its
//! environment is that of the function that fetches media, which touches the same tables, and what is its own.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::aws::Aws;
use crate::emulator::{ACCESS_KEY, REGION};
use crate::failure::{Doing, Failure};
use crate::outputs::Outputs;
use crate::place::Place;
use crate::programs::{Profile, RECORDER};

/// Who has the variables that they share.
const LIKE: &str = "media-fetch";

/// A recorder that can be started.
#[derive(Clone, Debug)]
pub struct Recorder {
    /// The program.
    pub program: PathBuf,
    /// All of its environment.
    pub environment: BTreeMap<String, String>,
}

impl Recorder {
    pub(crate) async fn of(place: &Place, profile: Profile, aws: &Aws, outputs: &Outputs) -> Result<Self, Failure> {
        let what = || format!("The settings of {LIKE} can't be looked at");
        let name = outputs.functions.get(LIKE);
        let name = name.ok_or_else(|| Failure::new(what()).because("the stack has no such function"))?;
        let function = aws.functions.get_function_configuration().function_name(name).send();
        let shared = function.await.or_fail(what)?.environment.and_then(|all| all.variables);
        let mut environment: BTreeMap<String, String> = shared.unwrap_or_default().into_iter().collect();
        let queue = outputs.queues.get("captures");
        let queue = queue.ok_or_else(|| Failure::new(what()).because("the stack has no queue of captures"))?;
        let own = [
            ("AWS_ENDPOINT_URL", outputs.aws_endpoint_url.as_str()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.0),
            ("AWS_SECRET_ACCESS_KEY", ACCESS_KEY.1),
            ("AWS_REGION", REGION),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("CAPTURES_QUEUE_URL", queue),
            ("CAPTURES_AT_ONCE", "20"),
            ("SESSION_SECONDS", "30"),
            ("MOTION_SESSION_SECONDS", "20"),
            ("MEDIA_RETENTION_DAYS", "0"),
            ("SESSIONS_A_DAY", "500"),
            ("ICE_BIND", "127.0.0.1:0"),
        ];
        environment.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
        Ok(Self {
            program: place.target().join(profile.folder()).join(RECORDER),
            environment,
        })
    }
}
