//! Bugs of events that somebody could write. They are seeded like those of grants and links, by the test of the tests.

use crate::bugs::Bug;

const EVENT: &str = "shared/src/event/mod.rs";
const PROCESS: &str = "shared/src/event/process/mod.rs";
const EFFECTS: &str = "shared/src/event/process/effects.rs";
const CAPTURE: &str = "shared/src/capture/mod.rs";
const TEMPLATE: &str = "template.yaml";
/// The twins stand for the stores: a condition that is missing here is one that is missing there.
const KEPT: &str = "tests/simulation/src/events/kept.rs";
const INTAKE: &str = "functions/webhook-intake/src/lib.rs";
const SECRET: &str = "shared/src/edge/secret.rs";

pub(crate) const BUGS: &[Bug] = &[
    Bug {
        what: "an event that is marked is taken for done, as if its effects were not pending",
        file: PROCESS,
        right: "        if self.records.past(&place).await?.is_some() {",
        wrong: "        let _row = self.records.past(&place).await?;
        if !place.partition.is_empty() {",
    },
    Bug {
        what: "a webhook is acknowledged although the queue did not take it",
        file: INTAKE,
        right: "        self.queue.put(message).await.map_err(|error| {",
        wrong: "        self.queue.put(message).await.or(Ok(())).map_err(|error: shared::edge::queue::QueueError| {",
    },
    Bug {
        what: "a webhook is known as a repeat before it is queued",
        file: INTAKE,
        right: "        let message = message(verified.body()).traced(headers.get(TRACE));",
        wrong: "        static KNOWN: std::sync::Mutex<std::collections::BTreeSet<Vec<u8>>> =
            std::sync::Mutex::new(std::collections::BTreeSet::new());
        if KNOWN.lock().is_ok_and(|mut known| !known.insert(body.to_vec())) {
            return Ok(());
        }
        let message = message(verified.body()).traced(headers.get(TRACE));",
    },
    Bug {
        what: "a webhook is refused without a look at the secret",
        file: SECRET,
        right: "        if matches!(verified, Err(SignatureError::Mismatch))",
        wrong: "        if matches!(verified, Err(SignatureError::NoKeys))",
    },
    Bug {
        what: "a webhook is refused although the secret can't be read",
        file: SECRET,
        right: "            && let Some(keys) = self.reread(now).await?",
        wrong: "            && let Ok(Some(keys)) = self.reread(now).await",
    },
    Bug {
        what: "the previous key is not known",
        file: SECRET,
        right: "        keys.extend(form.hmac_signing_key_previous.and_then(|key| SigningKey::new(key).ok()));",
        wrong: "        keys.extend(form.hmac_signing_key_previous.and_then(|key| SigningKey::new(key).err()).and(None));",
    },
    Bug {
        what: "a body that is no text is made one",
        file: INTAKE,
        right: "        _ => (Cow::Owned(format!(\"{} \", STANDARD.encode(body))), BASE64),",
        wrong: "        _ => (Cow::Owned(String::from_utf8_lossy(body).into_owned()), \"\"),",
    },
    Bug {
        what: "what no queue takes is acknowledged and dropped",
        file: INTAKE,
        right: "            return self.keep_large(verified.body(), now).await;",
        wrong: "            let _dropped = self.keep_large(verified.body(), now);
            return Ok(());",
    },
    Bug {
        what: "a marker that has run out counts for as long as nobody has deleted it",
        file: KEPT,
        right: "marker.is_none_or(|marker| marker.expires_at <= now.as_second())",
        wrong: "marker.is_none_or(|marker| marker.expires_at <= now.as_second() && false)",
    },
    Bug {
        what: "an event's id is made of the request that it came by",
        file: EVENT,
        right: "            (Some(id), _) => (\"id\", id.clone()),",
        wrong: "            (Some(_), Some(request_id)) => (\"request\", request_id.to_string()),
            (Some(id), None) => (\"id\", id.clone()),",
    },
    Bug {
        what: "an event is done before its effects have come",
        file: EFFECTS,
        right: "        let (mut ledger, mut media) = (Vec::with_capacity(effects.len()), Vec::new());",
        wrong: "        self.done(record, Vec::new(), Vec::new()).await?;
        let (mut ledger, mut media) = (Vec::with_capacity(effects.len()), Vec::new());",
    },
    Bug {
        what: "what was told of a device first stands",
        file: KEPT,
        right: "(told.at, &told.by) >= (kept.at, &kept.by)",
        wrong: "(told.at, &told.by) <= (kept.at, &kept.by)",
    },
    Bug {
        what: "a marker is written without a condition",
        file: KEPT,
        right: "        if !self.is_new(record, now) {",
        wrong: "        if !self.is_new(record, now) && now == Timestamp::MIN {",
    },
    Bug {
        what: "a repeat does again what is done",
        file: PROCESS,
        right: "        if self.records.past(&place).await?.is_some() {",
        wrong: "        if self.records.past(&place).await?.is_some() && known.message == message {",
    },
    Bug {
        what: "what may succeed later is set aside",
        file: PROCESS,
        right: "            tracing::warn!(error = &error as &dyn std::error::Error, \"an event is tried again\");
            Outcome::Retry",
        wrong: "            tracing::warn!(error = &error as &dyn std::error::Error, \"an event is tried again\");
            Outcome::Discard(\"failed\")",
    },
    Bug {
        what: "an event is a dead letter after a few tries",
        file: TEMPLATE,
        right: "        deadLetterTargetArn: !GetAtt EventsDlq.Arn
        maxReceiveCount: 50",
        wrong: "        deadLetterTargetArn: !GetAtt EventsDlq.Arn
        maxReceiveCount: 6",
    },
    Bug {
        what: "an event is parked without a second look",
        file: PROCESS,
        right: "        self.look_again(&record.event_id, &record.message).await",
        wrong: "        Ok(Outcome::Done)",
    },
    Bug {
        what: "an effect that failed is passed over",
        file: EFFECTS,
        right: "                _ => self.effect(*effect, record, link).await?,",
        wrong: "                _ => self.effect(*effect, record, link).await.unwrap_or_default(),",
    },
    Bug {
        what: "a device is captured although somebody captures it",
        file: CAPTURE,
        right: "            Some(slot) if slot.is_taken(now) => {",
        wrong: "            Some(slot) if slot.is_taken(now) && now == Timestamp::MIN => {",
    },
    Bug {
        what: "what follows from a state is left out where something newer told the same",
        file: EFFECTS,
        right: "                known.filter(|known| known.agrees(&change))",
        wrong: "                known.filter(|known| known.agrees(&change) && known.name.as_deref() == Some(\"\"))",
    },
    Bug {
        what: "the other requests that an event came by are forgotten",
        file: PROCESS,
        right: "            self.records.repeated(&known.event_id, &repeat).await?;",
        wrong: "            let _forgotten = &repeat;",
    },
    Bug {
        what: "a parked event is released by whoever comes, again and again",
        file: KEPT,
        right: "marker.is_none_or(|marker| marker.progress != Progress::Parked)",
        wrong: "marker.is_none()",
    },
];
