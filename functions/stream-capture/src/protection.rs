//! Scale-in protection: a task that records is not the one that is taken away when there are too many
//! (Amazon ECS: task scale-in protection endpoint). Where no agent of ECS's is, nobody takes tasks away.

use std::time::Duration;

use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

/// For how long protection is asked for; a task that was killed has none that stays.
const FOR: Duration = Duration::from_secs(600);
/// How long before its end it is asked for again.
const AGAIN_BEFORE: Duration = Duration::from_secs(240);
/// The agent is on this machine.
const WITHIN: Duration = Duration::from_secs(2);

/// What ECS is told of this task.
#[derive(Debug)]
pub struct Protection {
    agent: Option<Agent>,
    /// Until when this task is protected, as far as it knows.
    until: Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct Agent {
    http: reqwest::Client,
    state: Url,
}

/// The agent can't be asked.
#[derive(Debug, thiserror::Error)]
#[error("the client of ECS's agent can't be made")]
pub struct NoClient(#[from] reqwest::Error);

impl Protection {
    /// By the agent at this URL (`ECS_AGENT_URI`); without one, there is nothing to be protected from.
    pub fn by(agent: Option<&Url>) -> Result<Self, NoClient> {
        let agent = match agent {
            None => None,
            Some(agent) => {
                let mut state = agent.clone();
                // The agent's URL has a path of its own.
                if let Ok(mut path) = state.path_segments_mut() {
                    path.pop_if_empty().extend(["task-protection", "v1", "state"]);
                }
                // On this machine and without TLS: nothing is read of what the system trusts.
                let http = reqwest::Client::builder()
                    .timeout(WITHIN)
                    .no_proxy()
                    .tls_certs_only([])
                    .build()?;
                Some(Agent { http, state })
            }
        };
        Ok(Self {
            agent,
            until: Mutex::default(),
        })
    }

    /// Tells whether this task has something to record. Said again while it has, and told when that has changed or the
    /// protection is about to end; where the agent does not hear, the recording goes on and the next look tells it again.
    pub async fn tell(&self, records: bool) {
        let Some(agent) = &self.agent else { return };
        let mut until = self.until.lock().await;
        let now = Instant::now();
        let is_told = match *until {
            Some(until) if records => now + AGAIN_BEFORE < until,
            Some(_) => false,
            None => !records,
        };
        if is_told {
            return;
        }
        let asked = if records {
            json!({ "ProtectionEnabled": true, "ExpiresInMinutes": FOR.as_secs() / 60 })
        } else {
            json!({ "ProtectionEnabled": false })
        };
        let answer = agent.http.put(agent.state.clone()).json(&asked).send().await;
        match answer.and_then(reqwest::Response::error_for_status) {
            Ok(_) => *until = records.then(|| now + FOR),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                records,
                "ECS is not told whether this task records"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use axum::Router;
    use axum::extract::Json;
    use axum::http::StatusCode;
    use axum::routing::put;
    use serde_json::Value;

    use super::*;

    /// ECS's agent: what it was told, and whether it is well.
    struct Twin {
        told: Arc<std::sync::Mutex<Vec<Value>>>,
        fails: Arc<AtomicBool>,
        url: Url,
    }

    impl Twin {
        async fn start() -> Self {
            let (told, fails) = (
                Arc::<std::sync::Mutex<Vec<Value>>>::default(),
                Arc::new(AtomicBool::new(false)),
            );
            let (kept, failing) = (told.clone(), fails.clone());
            let state = put(move |Json(said): Json<Value>| async move {
                kept.lock().unwrap().push(said);
                if failing.load(Ordering::SeqCst) {
                    StatusCode::BAD_REQUEST
                } else {
                    StatusCode::OK
                }
            });
            let routes = Router::new().route("/api/abc/task-protection/v1/state", state);
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}/api/abc", listener.local_addr().unwrap());
            tokio::spawn(async { drop(axum::serve(listener, routes).await) });
            Self {
                told,
                fails,
                url: url.parse().unwrap(),
            }
        }

        fn told(&self) -> Vec<Value> {
            self.told.lock().unwrap().clone()
        }
    }

    fn on() -> Value {
        json!({"ProtectionEnabled": true, "ExpiresInMinutes": 10})
    }

    #[tokio::test]
    async fn ecs_is_told_when_the_first_recording_begins_and_when_the_last_one_has_ended() {
        let ecs = Twin::start().await;
        let protection = Protection::by(Some(&ecs.url)).unwrap();
        protection.tell(false).await;
        assert!(ecs.told().is_empty(), "a task that starts has no protection");
        protection.tell(true).await;
        protection.tell(true).await;
        assert_eq!(ecs.told(), [on()]);
        protection.tell(false).await;
        protection.tell(false).await;
        assert_eq!(ecs.told(), [on(), json!({"ProtectionEnabled": false})]);
    }

    #[tokio::test]
    async fn what_ecs_has_not_heard_it_is_told_again() {
        let ecs = Twin::start().await;
        let protection = Protection::by(Some(&ecs.url)).unwrap();
        ecs.fails.store(true, Ordering::SeqCst);
        protection.tell(true).await;
        ecs.fails.store(false, Ordering::SeqCst);
        protection.tell(true).await;
        protection.tell(true).await;
        assert_eq!(ecs.told(), [on(), on()]);
    }

    #[tokio::test]
    async fn protection_is_asked_for_again_before_it_ends() {
        let ecs = Twin::start().await;
        let protection = Protection::by(Some(&ecs.url)).unwrap();
        protection.tell(true).await;
        *protection.until.lock().await = Some(Instant::now() + AGAIN_BEFORE);
        protection.tell(true).await;
        assert_eq!(ecs.told().len(), 2);
    }
}
