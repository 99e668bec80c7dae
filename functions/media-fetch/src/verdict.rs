//! What a failed attempt means for its medium.

use std::time::Duration;

use jiff::Timestamp;
use ring_partner::error::{Decision, Unclear};
use shared::edge::batch;
use shared::edge::clock::signed;
use shared::grant::access::{AccessError, CallError};
use shared::media::archive::ArchiveError;
use shared::media::still::Unmaskable;
use shared::media::{Medium, Progress, RingIds};

use crate::Undone;

/// The waits for footage of a moment ago, which may still be on its way (Ring: Image Snapshots, 425; Media Clips, 416).
const FOOTAGE_WAITS_SECONDS: [u64; 4] = [5, 15, 45, 120];
/// Footage of a window that ended longer ago than this is not on its way any more.
const FOOTAGE_MAY_COME_FOR: Duration = Duration::from_secs(300);
/// A medium that is still not to be had after this is given up.
const GIVE_UP_AFTER: Duration = Duration::from_secs(2 * 3600);

/// What a failed attempt means for its medium.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Not yet: again after this.
    Later(Duration),
    /// Again, at the queue's pace.
    Again,
    /// Never: Ring has no such footage.
    NoMedia(String),
    /// Never, for another reason.
    Failed(String),
}

/// What Ring called the request that came to nothing.
pub(crate) fn ring_ids(error: &Undone) -> Option<RingIds> {
    let (Undone::Call(CallError::Ring(error)) | Undone::Archive(ArchiveError::Source(error))) = error else {
        return None;
    };
    let answer = error.answer()?;
    (answer.request_id.is_some() || answer.id.is_some()).then(|| RingIds {
        request_id: answer.request_id.clone(),
        error_id: answer.id.clone(),
    })
}

pub(crate) fn failed(reason: &str) -> Progress {
    Progress::Failed {
        reason: reason.to_owned(),
        announced: false,
    }
}

/// What a failed attempt means, by what Ring said, by how near to now the footage is, and by how long it was tried: since it
/// was asked for, or since its device was `back` (in epoch milliseconds).
pub(crate) fn verdict(error: &Undone, medium: &Medium, tries: u32, back: Option<i64>, now: Timestamp) -> Verdict {
    let back = back.and_then(|at| Timestamp::from_millisecond(at).ok());
    let since = medium.requested_at.max(back.unwrap_or(medium.requested_at));
    let given_up = now.duration_since(since) > signed(GIVE_UP_AFTER);
    let again = |reason: &str| {
        if given_up {
            Verdict::Failed(reason.to_owned())
        } else {
            Verdict::Again
        }
    };
    let ring = match error {
        Undone::Call(CallError::Ring(error)) | Undone::Archive(ArchiveError::Source(error)) => error,
        Undone::Unmaskable(Unmaskable::Zones) => return Verdict::Failed("privacy_zones".to_owned()),
        // What can't be masked is not shown. The next answer may be whole.
        Undone::Unmaskable(Unmaskable::Still(_)) => return again("unreadable"),
        Undone::Call(CallError::Access(AccessError::RelinkRequired)) => {
            return Verdict::Failed("relink_required".to_owned());
        }
        Undone::Call(CallError::Access(AccessError::Ended)) => return Verdict::Failed("unlinked".to_owned()),
        Undone::Call(CallError::Access(_))
        | Undone::Store(_)
        | Undone::Archive(_)
        | Undone::Queue(_)
        | Undone::Close(_)
        | Undone::Erase(_)
        | Undone::Bus(_) => {
            return again("unavailable");
        }
    };
    let code = ring.answer().and_then(|answer| answer.code.clone());
    let or = |word: &str| code.clone().unwrap_or_else(|| word.to_owned());
    match ring.decision() {
        Decision::NoMedia | Decision::NotReady => match footage_wait(medium, tries, now) {
            Some(wait) => Verdict::Later(wait),
            None => Verdict::NoMedia(or("MEDIA_NOT_FOUND")),
        },
        Decision::OutOfScope => Verdict::Failed(or("out_of_scope")),
        Decision::Gone => Verdict::Failed(or("device_gone")),
        Decision::GiveUp => Verdict::Failed(or("refused")),
        Decision::Offline => again("device_offline"),
        Decision::Refresh => again("unauthorized"),
        Decision::RetryAfter(_) if given_up => Verdict::Failed(hindrance(error).to_owned()),
        // Never sooner than the queue's own waits: they last for longer than we try.
        Decision::RetryAfter(wait) => Verdict::Later(wait.max(batch::wait(tries))),
    }
}

/// What kept a medium from coming, in a word for whoever waits for it.
pub(crate) fn hindrance(error: &Undone) -> &'static str {
    let (Undone::Call(CallError::Ring(error)) | Undone::Archive(ArchiveError::Source(error))) = error else {
        return "unavailable";
    };
    match error {
        ring_partner::Error::Unclear(Unclear::Stalled) => "source_stalled",
        ring_partner::Error::Unclear(Unclear::TooSlow) => "source_too_slow",
        ring_partner::Error::Unclear(Unclear::Broken(_)) => "source_broke_off",
        error => match error.decision() {
            Decision::NoMedia | Decision::NotReady => "not_ready",
            Decision::Offline => "device_offline",
            _ => "ring_unavailable",
        },
    }
}

/// How long to wait for footage that may still be on its way; `None`: it is not.
fn footage_wait(medium: &Medium, tries: u32, now: Timestamp) -> Option<Duration> {
    let window = medium.request.window(medium.requested_at);
    let ended_at = Timestamp::from_millisecond(window.timestamp.saturating_add(window.duration)).ok()?;
    if now.duration_since(ended_at) > signed(FOOTAGE_MAY_COME_FOR) {
        return None;
    }
    let index = usize::try_from(tries.checked_sub(1)?).ok()?;
    FOOTAGE_WAITS_SECONDS.get(index).copied().map(Duration::from_secs)
}

#[cfg(test)]
pub(crate) mod tests {
    use ring_partner::devices::DeviceId;
    use ring_partner::media::ClipRequest;
    use ring_partner::users::AccountId;
    use shared::media::Request;

    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_second(1_770_000_000).unwrap()
    }

    pub(crate) fn clip_that_ended(seconds_ago: i64) -> Medium {
        let timestamp = now().as_millisecond() - seconds_ago * 1000 - 5_000;
        let clip = ClipRequest {
            timestamp,
            duration: 5_000,
            video_options: None,
            audio_options: None,
        };
        let (account, device) = (AccountId::new("a").unwrap(), DeviceId::new("d").unwrap());
        Medium::requested(account, device, Request::Clip(clip), now())
    }

    #[test]
    fn trap_106_and_107_footage_of_a_moment_ago_is_waited_for_and_then_given_up() {
        let waits: Vec<_> = (1..=5)
            .map(|tries| footage_wait(&clip_that_ended(1), tries, now()).map(|wait| wait.as_secs()))
            .collect();
        assert_eq!(waits, [Some(5), Some(15), Some(45), Some(120), None]);
        assert_eq!(footage_wait(&clip_that_ended(3600), 1, now()), None);
    }

    #[test]
    fn a_source_that_stalls_and_one_that_is_too_slow_are_told_apart_to_the_end() {
        let of = |why: Unclear| Undone::Archive(ArchiveError::Source(ring_partner::Error::Unclear(why)));
        let much_later = now() + signed(GIVE_UP_AFTER) + signed(Duration::from_secs(1));
        for (why, word) in [
            (Unclear::Stalled, "source_stalled"),
            (Unclear::TooSlow, "source_too_slow"),
            (Unclear::TimedOut, "ring_unavailable"),
        ] {
            let error = of(why);
            assert_eq!(hindrance(&error), word);
            let in_the_end = verdict(&error, &clip_that_ended(1), 3, None, much_later);
            assert_eq!(in_the_end, Verdict::Failed(word.to_owned()));
            assert!(matches!(
                verdict(&error, &clip_that_ended(1), 1, None, now()),
                Verdict::Later(_)
            ));
        }
    }

    #[test]
    fn a_lost_grant_fails_its_media_at_once_and_a_fault_of_ours_only_in_the_end() {
        let of = |error: AccessError, at| {
            verdict(
                &Undone::Call(CallError::Access(error)),
                &clip_that_ended(1),
                1,
                None,
                at,
            )
        };
        assert_eq!(
            of(AccessError::RelinkRequired, now()),
            Verdict::Failed("relink_required".to_owned())
        );
        assert_eq!(of(AccessError::Refresh, now()), Verdict::Again);
        let much_later = now() + signed(GIVE_UP_AFTER) + signed(Duration::from_secs(1));
        assert_eq!(
            of(AccessError::Refresh, much_later),
            Verdict::Failed("unavailable".to_owned())
        );
    }
}
