//! What anybody can send to a recorder's port while it records: packets of each protocol that is spoken there, none of them right;
//! and what the camera itself can send that is rightly encrypted, and makes no sense within.

use std::net::SocketAddr;
use std::time::Duration;

use stream_capture::capture::Over;
use tokio::net::UdpSocket;

use super::scene::Scene;
use super::{Chance, seconds};

/// How many are sent.
const PACKETS: usize = 10_000;
/// So many go together, so that the socket's buffer is not what loses them.
const TOGETHER: usize = 20;

/// A packet that begins as one of STUN, DTLS, RTP or RTCP, and is none.
fn malformed(chance: &mut Chance) -> Vec<u8> {
    let mut packet: Vec<u8> = match chance.below(8) {
        // STUN: a binding request, with the cookie, and a length and attributes that are wrong; and one that is cut.
        0 => [
            &[0, 1, 0, chance.byte() & !3, 0x21, 0x12, 0xa4, 0x42][..],
            &[7; 12],
            &[0, 6, 0xff, 0xff],
        ]
        .concat(),
        1 => vec![0, 1, 0, 0, 0x21, 0x12],
        // DTLS: a handshake that says that it is longer than it is.
        2 => vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 1, 0, 0],
        3 => vec![20 + chance.byte() % 44, 0xfe, 0xfd],
        // RTP: more sources, or a longer extension, than there is packet; and padding that is longer than all.
        4 => vec![0x8f, 102, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1],
        5 => vec![0x90, 102, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0xbe, 0xde, 0xff, 0xff],
        6 => vec![0xa0, 106, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0xff],
        // RTCP: reports and feedback with counts and lengths of their own.
        _ => vec![
            0x80 | chance.byte() & 0x1f,
            200 + chance.byte() % 8,
            0xff,
            0xff,
            0,
            0,
            0,
            1,
        ],
    };
    for _ in 0..chance.below(64) {
        packet.push(chance.byte());
    }
    if chance.below(2) == 0 {
        let at = chance.below(packet.len());
        packet[at] = chance.byte();
    }
    packet
}

/// Where an offer says that its sender can be reached.
fn reached_at(offer: &str) -> SocketAddr {
    let candidate = offer
        .lines()
        .find(|line| line.starts_with("a=candidate:"))
        .expect("a candidate");
    let words: Vec<_> = candidate.split_ascii_whitespace().collect();
    format!("{}:{}", words[4], words[5]).parse().expect("an address")
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_malformed_packets_neither_stop_a_recorder_nor_spoil_its_film() {
    let scene = Scene::with("doorbell", serde_json::json!({})).await;
    let noise = async {
        let offer = loop {
            if let Some(offer) = scene.offered() {
                break offer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let (to, socket) = (
            reached_at(&offer),
            UdpSocket::bind("127.0.0.1:0").await.expect("a socket"),
        );
        let mut chance = Chance::new(7);
        for sent in 0..PACKETS {
            if sent % TOGETHER == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            socket.send_to(&malformed(&mut chance), to).await.expect("it is sent");
        }
    };
    let (recorded, ()) = tokio::join!(scene.record(seconds(10)), noise);
    assert_eq!(recorded.over, Over::Complete);
    assert_eq!(
        recorded.sessions.len(),
        1,
        "the session went on: {:?}",
        recorded.sessions
    );
    let film = recorded.film().await;
    assert_eq!(film["frames"].as_u64(), Some(recorded.sum(|counts| counts.frames_kept)));
    let gone = recorded.sum(|counts| counts.packets_lost + counts.frames_dropped + counts.payloads_malformed);
    assert_eq!(gone, 0, "{:?}", recorded.manifest.parts);
    assert!(recorded.sum(|counts| counts.frames_kept) > 100, "{film}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_packets_that_make_no_sense_once_they_are_decrypted_do_neither() {
    // Fifteen frames a second, for ten seconds.
    for preset in ["doorbell", "hevc_camera"] {
        let scene = Scene::with(preset, serde_json::json!({ "garbage": 70 })).await;
        let recorded = scene.record(seconds(10)).await;
        assert_eq!(recorded.over, Over::Complete, "{preset}");
        assert_eq!(
            recorded.sessions.len(),
            1,
            "the session went on: {:?}",
            recorded.sessions
        );
        let film = recorded.film().await;
        let kept = recorded.sum(|counts| counts.frames_kept);
        assert_eq!(film["frames"].as_u64(), Some(kept), "{preset}");
        assert!(kept > 100, "{preset}: {film} {:?}", recorded.manifest.parts);
        let refused = recorded.sum(|counts| counts.payloads_malformed);
        assert!(refused > 1_000, "they came: {refused}");
    }
}
