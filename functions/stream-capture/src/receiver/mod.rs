//! The receiving end of a live session, over WebRTC: an offer that only receives video, H.264 or H.265, with all candidates
//! in it; after the answer, packets. What is lost is asked for again (NACK), key frames on wish (PLI). Who the peer is says
//! the fingerprint in its answer, which the DTLS handshake is held to.

mod socket;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ring_partner::whep::{AnswerError, Offer};
use rtc::ice::mdns::MulticastDnsMode;
use rtc::interceptor::{NackGeneratorBuilder, ReceiverReportBuilder, Slot};
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_H264, MIME_TYPE_HEVC};
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtp_transceiver::rtp_sender::{RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RtpCodecKind};
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
    RTCIceGatheringState, RTCIceServer, RTCPeerConnectionState, RTCSessionDescription, Registry, SettingEngineBuilder,
};
use webrtc::runtime::TokioRuntime;

use crate::codec::Codec;
use crate::ports::{Arrival, Peer, PeerError, Peers};
use crate::rtp::Packet;

/// How often what is missing is asked for again: seven times while it is waited for. More often would be a waking each time, of
/// each stream, that costs as much as several packets.
const NACK_EVERY: Duration = Duration::from_millis(100);
/// How often one packet is asked for at most: as long as it is waited for.
const NACKS_A_PACKET: u16 = 7;
/// How many packets may wait for us: about two seconds of video, at 5 Mbit/s.
const MOST_WAITING: usize = 1_024;
/// How long closing may take. What is left of a connection after that ends by itself.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// What is offered: payload type, codec, parameters. The profiles of H.264 are those that cameras send, each in the mode that
/// fragments large units.
const OFFERED: [(u8, Codec, &str); 5] = [
    (
        102,
        Codec::Avc,
        "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f",
    ),
    (
        103,
        Codec::Avc,
        "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
    ),
    (
        104,
        Codec::Avc,
        "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=4d001f",
    ),
    (
        105,
        Codec::Avc,
        "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=64001f",
    ),
    (106, Codec::Hevc, ""),
];

/// How a receiver finds its peer.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What to bind to. `0.0.0.0:0` is a socket of its own on each interface but the loopback.
    pub bind: Vec<SocketAddr>,
    /// STUN servers, as `stun:host:port`.
    pub stun: Vec<String>,
    /// How long candidates are gathered; then the offer goes out with those that there are.
    pub gather_within: Duration,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ReceiverError {
    /// The offer could not be made: no socket, for instance.
    #[error("no offer could be made")]
    Offer(#[source] webrtc::error::Error),
    /// There is no address at which a peer could reach us.
    #[error("no address was found at which a peer could reach this process")]
    NoCandidate,
    /// The answer can't lead to video: the stack would wait for it all the same.
    #[error(transparent)]
    Refused(#[from] AnswerError),
    /// The answer makes no sense to the stack.
    #[error("the answer can't be used")]
    Answer(#[source] webrtc::error::Error),
}

/// The receiving end of one session.
pub struct Receiver {
    connection: Arc<dyn PeerConnection>,
    offer: Offer,
    arrivals: mpsc::Receiver<Arrival>,
    track: watch::Receiver<Option<Track>>,
    overrun: Arc<AtomicU64>,
}

impl Receiver {
    /// A receiver, and its offer.
    async fn offer(settings: &Settings) -> Result<(Self, String), ReceiverError> {
        let (sender, arrivals) = mpsc::channel(MOST_WAITING);
        let (gathered, mut all_gathered) = watch::channel(false);
        let (found, track) = watch::channel(None);
        let overrun = Arc::new(AtomicU64::new(0));
        let handler = Handler {
            arrivals: sender,
            overrun: overrun.clone(),
            gathered,
            found,
        };
        let connection = connection(settings, handler).await.map_err(ReceiverError::Offer)?;
        let described = async {
            let recvonly = RTCRtpTransceiverInit {
                direction: RTCRtpTransceiverDirection::Recvonly,
                ..Default::default()
            };
            connection
                .add_transceiver_from_kind(RtpCodecKind::Video, Some(recvonly))
                .await?;
            let offer = connection.create_offer(None).await?;
            connection.set_local_description(offer).await
        };
        described.await.map_err(ReceiverError::Offer)?;
        // What was gathered by then is offered.
        let gathering = async { all_gathered.wait_for(|all| *all).await.is_ok() };
        let _in_time = timeout(settings.gather_within, gathering).await;
        let offer = connection
            .local_description()
            .await
            .map(|offer| offer.sdp)
            .unwrap_or_default();
        let Ok(offer) = Offer::parse(&offer) else {
            close(&*connection).await;
            return Err(ReceiverError::NoCandidate);
        };
        let sdp = offer.for_ring();
        let receiver = Self {
            connection,
            offer,
            arrivals,
            track,
            overrun,
        };
        Ok((receiver, sdp))
    }

    async fn accept(&self, answer: &str) -> Result<(), ReceiverError> {
        let sdp = self.offer.answer(answer)?;
        let description = RTCSessionDescription::answer(sdp).map_err(ReceiverError::Answer)?;
        let set = self.connection.set_remote_description(description).await;
        set.map_err(ReceiverError::Answer)
    }
}

impl Peers for Settings {
    type Peer = Receiver;

    async fn offer(&self) -> Result<(Receiver, String), PeerError> {
        Receiver::offer(self).await.map_err(|error| PeerError(error.into()))
    }
}

impl Peer for Receiver {
    async fn answer(&mut self, answer: &str) -> Result<(), PeerError> {
        self.accept(answer).await.map_err(|error| PeerError(error.into()))
    }

    async fn next(&mut self) -> Arrival {
        self.arrivals.recv().await.unwrap_or(Arrival::Gone)
    }

    /// There is none to ask before the first packet.
    async fn ask_key_frame(&mut self) {
        let track = self.track.borrow().clone();
        let Some(Track { remote, ssrc }) = track else { return };
        let wish = PictureLossIndication {
            sender_ssrc: 0,
            media_ssrc: ssrc,
        };
        if let Err(error) = remote.write_rtcp(vec![Box::new(wish)]).await {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "a key frame can't be asked for"
            );
        }
    }

    fn overrun(&self) -> u64 {
        self.overrun.load(Ordering::Relaxed)
    }

    async fn close(self) {
        close(&*self.connection).await;
    }
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver")
            .field("overrun", &self.overrun)
            .finish_non_exhaustive()
    }
}

async fn close(connection: &dyn PeerConnection) {
    match timeout(CLOSE_WITHIN, connection.close()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(
            error = &error as &dyn std::error::Error,
            "a connection did not close well"
        ),
        Err(_) => tracing::warn!("a connection did not close in time"),
    }
}

async fn connection(settings: &Settings, handler: Handler) -> webrtc::error::Result<Arc<dyn PeerConnection>> {
    let mut media = MediaEngine::default();
    for (payload_type, codec, parameters) in OFFERED {
        let mime_type = match codec {
            Codec::Avc => MIME_TYPE_H264,
            Codec::Hevc => MIME_TYPE_HEVC,
        };
        let codec = RTCRtpCodecParameters {
            rtp_codec: RTCRtpCodec {
                mime_type: mime_type.to_owned(),
                clock_rate: 90_000,
                channels: 0,
                sdp_fmtp_line: parameters.to_owned(),
                rtcp_feedback: vec![feedback("nack", ""), feedback("nack", "pli"), feedback("ccm", "fir")],
            },
            payload_type,
        };
        // No RTX: what is repaired that way is not told to the interceptor that asks for it.
        media.register_codec(codec, RtpCodecKind::Video)?;
    }
    let nacks = NackGeneratorBuilder::new()
        .with_size(1_024)
        .with_interval(NACK_EVERY)
        .with_max_nacks_per_packet(NACKS_A_PACKET)
        .build();
    let registry = Registry::new()
        .with(Slot::NackGenerator, nacks)
        .with(Slot::ReceiverReport, ReceiverReportBuilder::new().build());
    let loopback = settings.bind.iter().any(|address| address.ip().is_loopback());
    // mDNS asks for a default route, which a private network may not have, and resolves names that no peer of ours has.
    let engine = SettingEngineBuilder::new()
        .with_multicast_dns_mode(MulticastDnsMode::Disabled)
        .with_include_loopback_candidate(loopback)
        .build();
    let servers = settings.stun.iter().map(|url| RTCIceServer {
        urls: vec![url.clone()],
        ..Default::default()
    });
    let configuration = RTCConfigurationBuilder::new()
        .with_ice_servers(servers.collect())
        .build();
    let connection = PeerConnectionBuilder::new()
        .with_configuration(configuration)
        .with_media_engine(media)
        .with_setting_engine(engine)
        .with_interceptor_registry(registry)
        .with_handler(Arc::new(handler))
        .with_runtime(Arc::new(socket::Roomy(TokioRuntime)))
        .with_udp_addrs(settings.bind.clone())
        .build()
        .await?;
    Ok(Arc::new(connection))
}

fn feedback(kind: &str, parameter: &str) -> RTCPFeedback {
    RTCPFeedback {
        typ: kind.to_owned(),
        parameter: parameter.to_owned(),
    }
}

/// What video comes on.
#[derive(Clone)]
struct Track {
    remote: Arc<dyn TrackRemote>,
    ssrc: u32,
}

/// Hears of the stack's events.
struct Handler {
    arrivals: mpsc::Sender<Arrival>,
    overrun: Arc<AtomicU64>,
    gathered: watch::Sender<bool>,
    found: watch::Sender<Option<Track>>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.gathered.send_replace(true);
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        tracing::debug!(connection.state = %state, "the connection's state");
        if matches!(state, RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed) {
            // Where the queue is full, its reader will find it out by the silence.
            let _told = self.arrivals.try_send(Arrival::Gone);
        }
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let pump = Pump {
            track,
            arrivals: self.arrivals.clone(),
            overrun: self.overrun.clone(),
            found: self.found.clone(),
        };
        tokio::spawn(pump.run());
    }
}

/// Takes packets from the stack, whose own queue holds 256, and drops what does not fit, without a word.
struct Pump {
    track: Arc<dyn TrackRemote>,
    arrivals: mpsc::Sender<Arrival>,
    overrun: Arc<AtomicU64>,
    found: watch::Sender<Option<Track>>,
}

impl Pump {
    async fn run(self) {
        while let Some(event) = self.track.poll().await {
            let TrackRemoteEvent::OnRtpPacket(packet) = event else {
                continue;
            };
            let header = &packet.header;
            let offered = OFFERED
                .iter()
                .find(|(payload_type, _, _)| *payload_type == header.payload_type);
            let Some((_, codec, _)) = offered else { continue };
            if self.found.borrow().is_none() {
                self.found.send_replace(Some(Track {
                    remote: self.track.clone(),
                    ssrc: header.ssrc,
                }));
            }
            let packet = Packet {
                sequence: header.sequence_number,
                timestamp: header.timestamp,
                marker: header.marker,
                // A copy: the stack's own is a part of a much larger buffer.
                payload: Bytes::copy_from_slice(&packet.payload),
            };
            match self.arrivals.try_send(Arrival::Packet(*codec, packet)) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(_)) => _ = self.overrun.fetch_add(1, Ordering::Relaxed),
                Err(mpsc::error::TrySendError::Closed(_)) => return,
            }
        }
        let _told = self.arrivals.try_send(Arrival::Gone);
    }
}
