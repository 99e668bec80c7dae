//! What a user has with us: all of it in one archive, and nothing of it once they are erased.

use std::collections::BTreeMap;
use std::io::Read as _;

use local::outside::{Home, soon};
use local::{Failure, Stack};
use reqwest::header::RETRY_AFTER;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use shared::account::store::Accounts;
use shared::audit::Deed;
use shared::audit::store::Audit;
use shared::edge::gateway::SignedIn;

use super::tokens;
use crate::canary::places::fields;
use crate::grants::audited;
use crate::traps::{among_others, only_device};

/// A home where something happened: its device, and its user's pseudonym.
struct Lived<'a> {
    home: Home<'a>,
    device: String,
    medium: String,
    user_id: String,
}

impl<'a> Lived<'a> {
    async fn new(stack: &'a Stack) -> Result<Self, Failure> {
        let home = Home::linked(stack, &json!([{ "preset": "doorbell", "live": {} }])).await?;
        let device = only_device(&home).await?;
        let policy = json!({ "on": { "button_press": ["snapshot"] } });
        let set = format!("/v1/devices/{device}/policy");
        home.call(Method::PUT, &set, Some(&policy))
            .await?
            .must_be(StatusCode::OK, "a policy is set")?;
        let links = home.call(Method::GET, "/v1/links", None).await?;
        let for_all = json!({ "link": links.body["items"][0]["id"], "policy": policy });
        let all = home.call(Method::PUT, "/v1/policies", Some(&for_all)).await?;
        all.must_be(StatusCode::OK, "a policy of the link is set")?;
        home.emit(&json!({ "type": "button_press", "device": device, "wait": true }))
            .await?;
        home.events_settle().await?;
        // A request of its own name, whose answer is kept.
        let request = stack.request(Method::POST, &format!("/v1/devices/{device}/snapshots"));
        let request = request
            .bearer_auth(&home.visitor.token)
            .header("idempotency-key", "once");
        let asked = request.json(&json!({})).send().await.expect("an answer");
        let asked: Value = asked.json().await.expect("a medium");
        let medium = asked["id"].as_str().expect("an id").to_owned();
        soon("a snapshot is stored", async || {
            let found = home.call(Method::GET, &format!("/v1/media/{medium}"), None).await?;
            Ok(if found.body["state"] == "stored" {
                Ok(())
            } else {
                Err(found.body.to_string())
            })
        })
        .await?;
        let claims = tokens::claims(&home.visitor.token);
        let claim = |name: &str| claims[name].as_str().expect("a claim").to_owned();
        let user_id = SignedIn::new(&claim("iss"), &claim("sub"), None).user_id;
        Ok(Self {
            home,
            device,
            medium,
            user_id,
        })
    }

    /// The archive, once it is ready: what the API says of it.
    async fn export(&self) -> Result<Value, Failure> {
        soon("the archive is ready", async || {
            let asked = self.home.call(Method::GET, "/v1/account/export", None).await?;
            Ok(if asked.status == StatusCode::OK {
                Ok(asked.body)
            } else {
                assert_eq!(asked.status, StatusCode::ACCEPTED, "{:?}", asked.body);
                assert!(asked.headers.contains_key(RETRY_AFTER));
                Err(asked.body.to_string())
            })
        })
        .await
    }

    /// What tells of this user, wherever it stands.
    fn markers(&self) -> [&str; 5] {
        [
            &self.home.account,
            &self.device,
            &self.user_id,
            &self.home.visitor.email,
            &self.medium,
        ]
    }
}

/// Everything that tables and the bucket hold, in all versions, and where.
async fn held(stack: &Stack) -> Result<Vec<(String, String)>, Failure> {
    let mut held = Vec::new();
    for (noun, table) in &stack.outputs().tables {
        let scan = stack.aws().tables.scan().table_name(table).consistent_read(true);
        let rows: Result<Vec<_>, _> = scan.into_paginator().items().send().try_collect().await;
        let rows = rows.expect("the table can be read");
        held.extend(rows.iter().map(|row| (format!("table {noun}"), fields(row))));
    }
    let (objects, bucket) = (&stack.aws().objects, stack.output("MediaBucketName")?);
    let listed = objects.list_object_versions().bucket(bucket).max_keys(1_000);
    let listed = listed.send().await.expect("the versions can be listed");
    assert!(!listed.is_truncated().unwrap_or(false), "all are looked at");
    for marker in listed.delete_markers() {
        held.push(("deletion".to_owned(), marker.key().unwrap_or_default().to_owned()));
    }
    for version in listed.versions() {
        let key = version.key().unwrap_or_default();
        let get = objects.get_object().bucket(bucket).key(key);
        let get = get.set_version_id(version.version_id().map(str::to_owned));
        // Others' may go in this moment.
        let Ok(object) = get.send().await else { continue };
        let body = object.body.collect().await.expect("its body").into_bytes();
        held.push((
            format!("object {key}"),
            format!("{key} {}", String::from_utf8_lossy(&body)),
        ));
    }
    Ok(held)
}

fn places_of(held: &[(String, String)], marker: &str) -> Vec<String> {
    let there = held.iter().filter(|(_, text)| text.contains(marker));
    there.map(|(place, text)| format!("{place}: {text}")).collect()
}

#[test]
fn a_user_is_given_all_that_there_is_of_them_in_one_archive_and_no_token() {
    among_others(async |stack| {
        let lived = Lived::new(stack).await?;
        let ready = lived.export().await?;
        let again = lived.export().await?;
        assert_eq!(again["sha256"], ready["sha256"], "a fresh one is given again");
        let url = ready["url"].as_str().expect("a URL");
        let archive = stack.http().get(url).send().await.expect("it can be had");
        let archive = archive.bytes().await.expect("an archive");
        assert_eq!(json!(archive.len()), ready["bytes"]);
        assert_eq!(json!(hex::encode(Sha256::digest(&archive))), ready["sha256"]);
        let mut files = BTreeMap::new();
        for file in tar::Archive::new(&archive[..]).entries().expect("an archive") {
            let mut file = file.expect("a file");
            let mut content = Vec::new();
            file.read_to_end(&mut content).expect("its content");
            files.insert(file.path().expect("a name").display().to_string(), content);
        }
        let json = |name: &str| -> Value {
            let file = files
                .get(name)
                .unwrap_or_else(|| panic!("{name} of {:?}", files.keys()));
            serde_json::from_slice(file).expect("JSON")
        };
        assert_eq!(json("links.json")[0]["account_id"], lived.home.account.as_str());
        assert_eq!(json("devices.json")[0]["device_id"], lived.device.as_str());
        assert_eq!(
            json("policies.json")[0]["policy"]["on"]["button_press"],
            serde_json::json!(["snapshot"])
        );
        assert_eq!(json("events/device-1-1.json")[0]["type"], "button_press");
        assert_eq!(
            json(&format!("media/{}.json", lived.medium))["id"],
            lived.medium.as_str()
        );
        let picture = &files[&format!("media/{}.jpg", lived.medium)];
        assert_eq!(image::guess_format(picture).ok(), Some(image::ImageFormat::Jpeg));
        let all = String::from_utf8_lossy(&archive);
        for secret in ["tokens", "refresh"] {
            assert!(!all.contains(secret), "nothing in it opens anything: {secret}");
        }
        let account = lived.home.call(Method::GET, "/v1/account", None).await?;
        assert_eq!(
            (&account.body["links"], &account.body["devices"]),
            (&json!(1), &json!(1))
        );
        assert_eq!(account.body["export"]["state"], "ready", "{:?}", account.body);
        assert_eq!(account.body["export"]["url"], Value::Null, "{:?}", account.body);
        Ok(())
    });
}

#[test]
fn nothing_of_an_erased_user_is_left_in_anything_that_is_kept_and_another_user_has_lost_nothing() {
    among_others(async |stack| {
        let (lived, other) = (Lived::new(stack).await?, Lived::new(stack).await?);
        lived.export().await?;
        let before = held(stack).await?;
        for marker in &lived.markers()[..3] {
            let places = places_of(&before, marker);
            assert!(!places.is_empty(), "{marker} is found while its user is there");
        }
        assert!(!audited(stack, &lived.user_id).await.is_empty());

        let erased = lived.home.call(Method::DELETE, "/v1/account", None).await?;
        assert_eq!(erased.status, StatusCode::ACCEPTED, "{:?}", erased.body);
        let receipt = erased.body["receipt"].as_str().expect("a receipt").to_owned();
        let accounts = Accounts::new(&stack.aws().config, &stack.outputs().tables["device"]);
        soon("all is erased", async || {
            let receipt = accounts.receipt(&receipt).await.expect("the table answers");
            let receipt = receipt.expect("the receipt stands");
            Ok(if receipt.erased_at.is_some() {
                Ok(())
            } else {
                Err(format!("{receipt:?}"))
            })
        })
        .await?;
        let after = held(stack).await?;
        for marker in lived.markers() {
            let places = places_of(&after, marker);
            assert!(places.is_empty(), "{marker} is left: {places:#?}");
        }
        // What is left says that something was done, and not whose it was.
        assert_eq!(places_of(&after, &receipt).len(), 1, "the receipt alone");
        assert!(audited(stack, &lived.user_id).await.is_empty());
        let tables = &stack.outputs().tables;
        let audit = Audit::new(&stack.aws().config, &tables["audit"], 1, &tables["link"]);
        let (trail, _) = audit.page(None, None).await.expect("the trail can be read");
        let closed: Vec<_> = trail.iter().filter(|read| read.entry.is_none()).collect();
        for deed in [Deed::Linked, Deed::Exported, Deed::Unlinked, Deed::Erased] {
            assert!(closed.iter().any(|read| read.deed == deed), "{deed:?} of {closed:?}");
        }
        assert_eq!(
            lived.home.call(Method::GET, "/v1/links", None).await?.body["items"],
            json!([])
        );
        let account = lived.home.call(Method::GET, "/v1/account", None).await?;
        assert_eq!(
            (&account.body["links"], &account.body["export"]),
            (&json!(0), &Value::Null)
        );
        let again = lived.home.call(Method::DELETE, "/v1/account", None).await?;
        assert_eq!(again.status, StatusCode::ACCEPTED, "who has nothing is erased at once");

        let theirs = other
            .home
            .call(Method::GET, &format!("/v1/media/{}", other.medium), None)
            .await?;
        assert_eq!(theirs.body["state"], "stored", "{:?}", theirs.body);
        assert!(!other.home.events_of(&other.device).await?.is_empty());
        for marker in &other.markers()[..3] {
            assert!(!places_of(&after, marker).is_empty(), "{marker} stays");
        }
        Ok(())
    });
}

/// What was recorded before somebody unlinked is theirs still.
#[test]
fn what_was_unlinked_before_is_erased_too() {
    among_others(async |stack| {
        let lived = Lived::new(stack).await?;
        let links = lived.home.call(Method::GET, "/v1/links", None).await?;
        let link = links.body["items"][0]["id"].as_str().expect("a link").to_owned();
        let unlinked = lived
            .home
            .call(Method::DELETE, &format!("/v1/links/{link}"), None)
            .await?;
        assert_eq!(unlinked.status, StatusCode::NO_CONTENT);
        assert!(
            !places_of(&held(stack).await?, &lived.medium).is_empty(),
            "its media are there"
        );
        let erased = lived.home.call(Method::DELETE, "/v1/account", None).await?;
        assert_eq!(erased.status, StatusCode::ACCEPTED);
        soon("nothing is left", async || {
            let held = held(stack).await?;
            let left: Vec<_> = lived
                .markers()
                .iter()
                .flat_map(|marker| places_of(&held, marker))
                .collect();
            Ok(if left.is_empty() {
                Ok(())
            } else {
                Err(format!("{left:#?}"))
            })
        })
        .await?;
        Ok(())
    });
}
