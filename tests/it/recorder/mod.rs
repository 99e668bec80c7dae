//! The recorder, against the offline Ring's live sessions: WebRTC as it is, lossy, silent and lying on order; and FFmpeg's
//! libraries, which decode what it recorded.

mod malformed;
mod peers;
mod scene;
mod whole;

use std::time::Duration;

use serde_json::json;
use stream_capture::capture::Over;

use scene::Scene;

const FRAMES_A_SECOND: f64 = 15.0;

/// Numbers that look as if they came by chance, and are the same each time (xorshift).
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or_default() % most.max(1)
    }

    pub(crate) fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap_or_default()
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_of_either_codec_is_recorded_frame_for_frame() {
    for (preset, codec, name) in [("doorbell", "avc", "h264"), ("hevc_camera", "hevc", "hevc")] {
        let scene = Scene::with(preset, json!({})).await;
        let recorded = scene.record(seconds(6)).await;
        assert_eq!(recorded.over, Over::Complete);
        let film = recorded.film().await;
        let kept = recorded.sum(|counts| counts.frames_kept);
        assert_eq!((&film["codec"], film["frames"].as_u64()), (&json!(name), Some(kept)));
        assert_eq!(film["sizes"], json!([[640, 360]]));
        assert_eq!(recorded.manifest.inits[0].codec, codec);
        // All that was sent, but for what was on its way when it was told to end.
        let sent = recorded.sessions[0]["frames"].as_u64().expect("a count");
        assert!(sent - kept <= 3, "{kept} of {sent}");
        assert_eq!(
            recorded.sum(|counts| counts.packets_lost + counts.frames_dropped + counts.packets_overrun),
            0
        );
        let ends = film["ends"].as_f64().expect("a time");
        let counted = (film["frames"].as_f64().expect("a count") - 1.0) / FRAMES_A_SECOND;
        assert!(
            (ends - counted).abs() < 0.01,
            "the frames are as far apart as they were: {film}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_on_the_way_and_sent_again_is_not_lost() {
    for loss in [0.02, 0.05] {
        let scene = Scene::with("doorbell", json!({ "loss": loss })).await;
        let recorded = scene.record(seconds(8)).await;
        let lost = recorded.sessions[0]["lost"].as_u64().expect("a count");
        assert!(lost > 0, "the wire loses some: {:?}", recorded.sessions);
        assert_eq!(
            recorded.sum(|counts| counts.packets_lost),
            0,
            "{:?}",
            recorded.manifest.parts
        );
        assert_eq!(recorded.sum(|counts| counts.frames_dropped + counts.frames_damaged), 0);
        assert!(recorded.sum(|counts| counts.packets_repaired) > 0);
        recorded.film().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_sent_again_a_key_frame_is_asked_for_and_what_is_kept_is_whole() {
    let scene = Scene::with("doorbell", json!({ "loss": 0.03, "retransmit": false })).await;
    // Not much longer than five seconds: broken for so long in all, a recorder keeps what is damaged, and losses are by chance.
    let recorded = scene.record(seconds(6)).await;
    assert!(recorded.sum(|counts| counts.packets_lost) > 0);
    assert!(recorded.sessions[0]["key_frames_asked"].as_u64().expect("a count") > 0);
    let damaged = recorded.sum(|counts| counts.frames_damaged);
    assert_eq!(damaged, 0, "a key frame came each time: {:?}", recorded.manifest.parts);
    recorded.film().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_repairs_nothing_is_recorded_with_its_damage_and_that_is_said() {
    let habits = json!({ "loss": 0.05, "retransmit": false, "answer_pli": false });
    let scene = Scene::with("doorbell", habits).await;
    let recorded = scene.record(seconds(20)).await;
    let damaged = recorded.sum(|counts| counts.frames_damaged);
    assert!(damaged > 50, "{:?}", recorded.manifest.parts);
    let told: u32 = recorded
        .manifest
        .fragments
        .iter()
        .map(|fragment| fragment.damaged)
        .sum();
    assert_eq!(u64::from(told), damaged);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_with_another_certificate_than_its_answer_names_is_not_listened_to() {
    let mut scene = Scene::with("doorbell", json!({ "wrong_fingerprint": true })).await;
    scene.patience.first_frame = seconds(3);
    let recorded = scene.record(seconds(5)).await;
    assert!(recorded.manifest.window().is_none());
    assert!(recorded.store.is_empty(), "nothing is written");
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_90_an_answer_that_sends_nothing_is_refused_and_its_session_closed_at_once() {
    let scene = Scene::with("doorbell", json!({ "inactive": true })).await;
    let began = std::time::Instant::now();
    let recorded = scene.record(seconds(60)).await;
    assert_eq!(recorded.over, Over::Failed("ring_unavailable"));
    assert!(began.elapsed() < seconds(20), "{:?}", began.elapsed());
    assert!(
        recorded
            .sessions
            .iter()
            .all(|session| session["over"]["by"] == "delete"),
        "{:?}",
        recorded.sessions
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_connects_and_is_silent_is_given_up() {
    let mut scene = Scene::with("doorbell", json!({ "silent": true })).await;
    scene.patience.first_frame = seconds(1);
    let recorded = scene.record(seconds(60)).await;
    assert_eq!(recorded.over, Over::Failed("no_video"));
    assert!(
        recorded
            .sessions
            .iter()
            .all(|session| session["over"]["by"] == "delete")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_vanishes_or_stalls_is_followed_by_another_session_and_the_film_has_both() {
    for habit in ["vanish_after_ms", "stall_after_ms"] {
        let scene = Scene::with("doorbell", json!({ habit: 3_000 })).await;
        let recorded = scene.record(seconds(9)).await;
        assert_eq!(recorded.over, Over::Complete);
        assert!(recorded.manifest.parts.len() >= 2, "{:?}", recorded.manifest.parts);
        assert!(!recorded.manifest.gaps.is_empty());
        assert!(
            recorded
                .sessions
                .iter()
                .all(|session| session["over"]["by"] == "delete")
        );
        let film = recorded.film().await;
        assert_eq!(film["frames"].as_u64(), Some(recorded.sum(|counts| counts.frames_kept)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parameter_sets_that_change_in_the_middle_leave_one_film_that_plays() {
    for preset in ["doorbell", "hevc_camera"] {
        let scene = Scene::with(preset, json!({ "change_after_ms": 3_000 })).await;
        let recorded = scene.record(seconds(7)).await;
        assert_eq!(recorded.manifest.inits.len(), 2);
        assert_eq!(recorded.manifest.films.len(), 1);
        let film = recorded.film().await;
        assert_eq!(film["sizes"], json!([[640, 360], [480, 270]]));
        assert_eq!(film["frames"].as_u64(), Some(recorded.sum(|counts| counts.frames_kept)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_92_sessions_that_ring_ends_early_are_chained() {
    let scene = Scene::with("doorbell", json!({ "limit_ms": 5_000 })).await;
    let recorded = scene.record(seconds(12)).await;
    assert!(recorded.manifest.parts.len() >= 2);
    assert!(recorded.manifest.gaps.len() < recorded.manifest.parts.len() * 2);
    recorded.film().await;
}
