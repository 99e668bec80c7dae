//! A viewer of live video: makes an offer, takes the answer, and counts what comes. It is given the answer as text, whoever
//! passed it on.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use rtc::interceptor::{NackGeneratorBuilder, Registry, Slot};
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_H264, MIME_TYPE_HEVC};
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtp_transceiver::rtp_sender::{RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RtpCodecKind};
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use tokio::sync::watch;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceGatheringState,
    RTCPeerConnectionState, RTCSessionDescription, SettingEngineBuilder, configure_rtcp_reports,
};

/// How long a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// What came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Sequence numbers, unwrapped.
    packets: BTreeSet<u64>,
    /// The moments of frames, by the RTP clock.
    pub(crate) moments: BTreeSet<u32>,
    /// The parameter sets that name a picture's size.
    pub(crate) parameter_sets: BTreeSet<Vec<u8>>,
    /// Moments of frames that begin with one.
    pub(crate) key_frames: BTreeSet<u32>,
}

impl Seen {
    /// How many packets are missing between the first and the last one.
    pub(crate) fn gaps(&self) -> u64 {
        match (self.packets.first(), self.packets.last()) {
            (Some(first), Some(last)) => last - first + 1 - self.packets.len() as u64,
            _ => 0,
        }
    }

    fn take(&mut self, packet: &rtc::rtp::Packet) {
        let number = u64::from(packet.header.sequence_number);
        let newest = self.packets.last().copied().unwrap_or(number + (1 << 16));
        // The number nearest to the newest.
        let base = newest - newest % (1 << 16);
        let candidates = [
            base.saturating_sub(1 << 16) + number,
            base + number,
            base + (1 << 16) + number,
        ];
        let nearest = candidates.into_iter().min_by_key(|number| number.abs_diff(newest));
        self.packets.extend(nearest);
        self.moments.insert(packet.header.timestamp);
        if let Some(set) = sequence_parameter_set(&packet.payload) {
            self.parameter_sets.insert(set);
            self.key_frames.insert(packet.header.timestamp);
        }
    }
}

/// The SPS in an aggregation packet (STAP-A of H.264, AP of H.265), which is how films of this size bring it.
fn sequence_parameter_set(payload: &[u8]) -> Option<Vec<u8>> {
    let head = *payload.first()?;
    let (mut rest, is_set): (&[u8], fn(u8) -> bool) = if head & 0x1f == 24 {
        (&payload[1..], |head| head & 0x1f == 7)
    } else if (head >> 1) & 0x3f == 48 {
        (payload.get(2..)?, |head| (head >> 1) & 0x3f == 33)
    } else {
        return None;
    };
    while let [high, low, tail @ ..] = rest {
        let size = usize::from(*high) << 8 | usize::from(*low);
        let unit = tail.get(..size)?;
        if unit.first().is_some_and(|head| is_set(*head)) {
            return Some(unit.to_vec());
        }
        rest = &tail[size..];
    }
    None
}

/// A viewer with an offer made and its candidates gathered.
pub(crate) struct Viewer {
    connection: Arc<dyn PeerConnection>,
    events: Arc<Events>,
    pub(crate) offer: String,
}

impl Viewer {
    /// One that plays H.264 and H.265 and asks for what it misses; `audio`: it offers that too, as most players do.
    pub(crate) async fn new(audio: bool) -> Self {
        let mut engine = MediaEngine::default();
        for (mime_type, payload_type, parameters) in [
            (
                MIME_TYPE_H264,
                102,
                "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
            ),
            (MIME_TYPE_HEVC, 98, "level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST"),
        ] {
            let feedback = |parameter: &str| RTCPFeedback {
                typ: "nack".to_owned(),
                parameter: parameter.to_owned(),
            };
            let codec = RTCRtpCodec {
                mime_type: mime_type.to_owned(),
                clock_rate: 90_000,
                channels: 0,
                sdp_fmtp_line: parameters.to_owned(),
                rtcp_feedback: vec![feedback(""), feedback("pli")],
            };
            let codec = RTCRtpCodecParameters {
                rtp_codec: codec,
                payload_type,
            };
            engine.register_codec(codec, RtpCodecKind::Video).expect("a codec");
        }
        let opus = RTCRtpCodecParameters {
            rtp_codec: RTCRtpCodec {
                mime_type: "audio/opus".to_owned(),
                clock_rate: 48_000,
                channels: 2,
                ..Default::default()
            },
            payload_type: 111,
        };
        engine.register_codec(opus, RtpCodecKind::Audio).expect("a codec");
        let asks = NackGeneratorBuilder::new()
            .with_interval(Duration::from_millis(20))
            .build();
        let registry = configure_rtcp_reports(Registry::new()).with(Slot::NackGenerator, asks);
        let events = Arc::new(Events::default());
        let connection = PeerConnectionBuilder::new()
            .with_media_engine(engine)
            .with_setting_engine(
                SettingEngineBuilder::new()
                    .with_include_loopback_candidate(true)
                    .build(),
            )
            .with_interceptor_registry(registry)
            .with_handler(Arc::clone(&events) as Arc<dyn PeerConnectionEventHandler>)
            .with_udp_addrs(vec!["127.0.0.1:0"])
            .build()
            .await
            .expect("a connection");
        let receives = || {
            Some(RTCRtpTransceiverInit {
                direction: RTCRtpTransceiverDirection::Recvonly,
                streams: Vec::new(),
                send_encodings: Vec::new(),
            })
        };
        if audio {
            connection
                .add_transceiver_from_kind(RtpCodecKind::Audio, receives())
                .await
                .expect("audio");
        }
        connection
            .add_transceiver_from_kind(RtpCodecKind::Video, receives())
            .await
            .expect("video");
        let offer = connection.create_offer(None).await.expect("an offer");
        connection.set_local_description(offer).await.expect("the offer");
        let mut gathered = events.gathered.subscribe();
        let gathering = gathered.wait_for(|gathered| *gathered);
        tokio::time::timeout(PATIENCE, gathering)
            .await
            .expect("gathered in time")
            .expect("gathered");
        let offer = connection.local_description().await.expect("an offer").sdp;
        Self {
            connection: Arc::new(connection),
            events,
            offer,
        }
    }

    /// Takes the answer, and begins to connect.
    pub(crate) async fn accept(&self, answer: &str) {
        let answer = RTCSessionDescription::answer(answer.to_owned()).expect("an answer");
        self.connection
            .set_remote_description(answer)
            .await
            .expect("an answer to this offer");
    }

    /// Whether it gets connected within a time.
    pub(crate) async fn connects_within(&self, time: Duration) -> bool {
        let mut state = self.events.state.subscribe();
        let connected = state.wait_for(|state| *state == RTCPeerConnectionState::Connected);
        tokio::time::timeout(time, connected).await.is_ok()
    }

    pub(crate) fn seen(&self) -> Seen {
        self.events.seen().clone()
    }

    /// Waits until what came is as it should be.
    pub(crate) async fn sees(&self, what: &str, is: impl Fn(&Seen) -> bool) -> Seen {
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            let seen = self.seen();
            if is(&seen) {
                return seen;
            }
            assert!(
                tokio::time::Instant::now() < until,
                "{what}: {} packets, {} frames, {} of them key frames, {} missing",
                seen.packets.len(),
                seen.moments.len(),
                seen.key_frames.len(),
                seen.gaps()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Asks for a key frame.
    pub(crate) async fn ask_for_key_frame(&self) {
        let track = self.events.track.borrow().clone().expect("a track");
        let source = *track.ssrcs().await.first().expect("a source");
        let request = PictureLossIndication {
            sender_ssrc: 0,
            media_ssrc: source,
        };
        track.write_rtcp(vec![Box::new(request)]).await.expect("written");
    }

    pub(crate) async fn close(&self) {
        self.connection.close().await.expect("closed");
    }
}

struct Events {
    state: watch::Sender<RTCPeerConnectionState>,
    gathered: watch::Sender<bool>,
    track: watch::Sender<Option<Arc<dyn TrackRemote>>>,
    seen: Arc<Mutex<Seen>>,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            state: watch::Sender::new(RTCPeerConnectionState::New),
            gathered: watch::Sender::new(false),
            track: watch::Sender::new(None),
            seen: Arc::default(),
        }
    }
}

impl Events {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no panic elsewhere")
    }
}

#[async_trait]
impl PeerConnectionEventHandler for Events {
    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        self.state.send_replace(state);
    }

    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        self.gathered.send_replace(state == RTCIceGatheringState::Complete);
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        self.track.send_replace(Some(Arc::clone(&track)));
        let seen = Arc::clone(&self.seen);
        tokio::spawn(async move {
            while let Some(event) = track.poll().await {
                if let TrackRemoteEvent::OnRtpPacket(packet) = event {
                    seen.lock().expect("no panic elsewhere").take(&packet);
                }
            }
        });
    }
}
