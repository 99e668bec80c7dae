//! One WebRTC connection that sends a film: made from an offer, with the answer to it.

use bytes::Bytes;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rtc::interceptor::{NackResponderBuilder, Registry, Slot};
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_H264, MIME_TYPE_HEVC};
use rtc::rtcp::raw_packet::RawPacket;
use rtc::rtp::header::Header;
use rtc::rtp::packetizer::Payloader;
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
};
use tokio::sync::watch;
use uuid::Uuid;
use webrtc::error::Error;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_local::{TrackLocal, TrackLocalEvent};
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceGatheringState,
    RTCPeerConnectionState, RTCSessionDescription, SettingEngineBuilder, configure_rtcp_reports,
};

use super::film::{Codec, Frame};
use super::offer::Offer;
use super::wire::{Losses, Requests, Wire};

/// The most bytes of a frame in one packet.
const MTU: usize = 1_188;

/// Ticks of the RTP clock in a second.
pub(super) const CLOCK_RATE: u32 = 90_000;

/// How long the gathering of candidates may take. There are only those of this machine.
const GATHERING: Duration = Duration::from_secs(2);

/// A connection to a viewer.
pub(super) struct Peer {
    connection: Arc<dyn PeerConnection>,
    track: Arc<TrackLocalStaticRTP>,
    payloader: Box<dyn Payloader>,
    payload_type: u8,
    source: u32,
    sequence: u16,
    state: watch::Receiver<RTCPeerConnectionState>,
    /// The answer to the offer, with all candidates.
    pub(super) answer: String,
}

impl Peer {
    /// Answers an offer. Sockets are bound at `address` and, on loopback, at every other address of this machine too, as
    /// browsers come from those.
    pub(super) async fn answer(
        offer: &Offer,
        wire: &Arc<Wire>,
        retransmits: bool,
        address: IpAddr,
    ) -> Result<Self, Error> {
        let codec = codec(offer);
        let mut engine = MediaEngine::default();
        engine.register_codec(
            RTCRtpCodecParameters {
                rtp_codec: codec.clone(),
                payload_type: offer.payload_type,
            },
            RtpCodecKind::Video,
        )?;
        let (events, state, mut gathering) = Events::new();
        let connection: Arc<dyn PeerConnection> = {
            let build = async |addresses: Vec<String>| {
                PeerConnectionBuilder::new()
                    .with_media_engine(engine.clone())
                    .with_setting_engine(
                        SettingEngineBuilder::new()
                            .with_include_loopback_candidate(true)
                            .build(),
                    )
                    .with_interceptor_registry(interceptors(wire, retransmits))
                    .with_handler(Arc::clone(&events) as Arc<dyn PeerConnectionEventHandler>)
                    .with_udp_addrs(addresses)
                    .build()
                    .await
            };
            let own = std::net::SocketAddr::new(address, 0).to_string();
            let everywhere = vec![own.clone(), "0.0.0.0:0".to_owned()];
            match build(if address.is_loopback() {
                everywhere
            } else {
                vec![own.clone()]
            })
            .await
            {
                Ok(connection) => Arc::new(connection),
                // A machine may have no other address.
                Err(_) => Arc::new(build(vec![own]).await?),
            }
        };

        let source = Uuid::new_v4().as_fields().0;
        let encoding = RTCRtpEncodingParameters {
            rtp_coding_parameters: RTCRtpCodingParameters {
                ssrc: Some(source),
                ..Default::default()
            },
            codec: codec.clone(),
            ..Default::default()
        };
        let track = Arc::new(TrackLocalStaticRTP::new(MediaStreamTrack::new(
            "live".to_owned(),
            "video".to_owned(),
            "video".to_owned(),
            RtpCodecKind::Video,
            vec![encoding],
        )));
        connection.add_track(Arc::clone(&track) as Arc<dyn TrackLocal>).await?;
        connection
            .set_remote_description(RTCSessionDescription::offer(offer.sdp.clone())?)
            .await?;
        let answer = connection.create_answer(None).await?;
        connection.set_local_description(answer).await?;
        let gathered = gathering.wait_for(|gathered| *gathered);
        // What is there by then is sent.
        let _ = tokio::time::timeout(GATHERING, gathered).await;
        let answer = connection.local_description().await;
        let answer = answer.ok_or_else(|| io::Error::other("there is no answer"))?.sdp;
        Ok(Self {
            connection,
            track,
            payloader: codec.payloader()?,
            payload_type: offer.payload_type,
            source,
            sequence: Uuid::new_v4().as_fields().1,
            state,
            answer,
        })
    }

    /// Waits until the viewer is connected.
    pub(super) async fn connected(&mut self) {
        let connected = self.state.wait_for(|state| *state == RTCPeerConnectionState::Connected);
        if connected.await.is_err() {
            std::future::pending().await // the connection is closed, which its owner knows
        }
    }

    /// Sends a frame that is shown at `timestamp`.
    pub(super) async fn send(&mut self, frame: &Frame, timestamp: u32) -> Result<(), Error> {
        let payloads = self.payloader.payload(MTU, &frame.data)?;
        let last = payloads.len().saturating_sub(1);
        for (number, payload) in payloads.into_iter().enumerate() {
            self.write(payload, timestamp, number == last).await?;
        }
        Ok(())
    }

    /// Sends a packet whose payload is none of its codec's: cut short, of a type that is reserved, or with lengths and fragments
    /// of what is not there.
    pub(super) async fn send_garbage(&mut self, timestamp: u32) -> Result<(), Error> {
        let payload: &[u8] = match self.sequence % 10 {
            0 => &[],
            // H.264: aggregates that are longer than all; fragments without a beginning, and of nothing; reserved types.
            1 => &[24, 0xff, 0xff, 1],
            2 => &[24],
            3 => &[28, 0x05, 1, 2, 3],
            4 => &[28],
            5 => &[31, 31, 31],
            // H.265: the same, and a payload content information of which there is less than it says.
            6 => &[48 << 1, 1, 0xff, 0xff, 2],
            7 => &[49 << 1, 1, 19],
            8 => &[50 << 1, 1, 0xff, 0xff],
            _ => &[0xff; 64],
        };
        let marker = self.sequence.is_multiple_of(3);
        self.write(Bytes::from_static(payload), timestamp, marker).await?;
        self.send_garbage_control().await
    }

    /// Sends a control packet of a known type (RFC 3550, 12.1; RFC 4585, 6) whose count or length is not what it has; no goodbye, as
    /// that would be one.
    async fn send_garbage_control(&self) -> Result<(), Error> {
        const KINDS: [u8; 7] = [200, 201, 202, 204, 205, 206, 207];
        let [high, low] = self.sequence.to_be_bytes();
        let kind = KINDS[usize::from(self.sequence) % KINDS.len()];
        // A receiver takes a compound whose lengths are wrong as a whole, or not at all.
        let length: [u8; 2] = if self.sequence.is_multiple_of(2) {
            [0, 2]
        } else {
            [high, low]
        };
        let [a, b, c, d] = self.source.to_be_bytes();
        let packet = [
            0x80 | low & 0x1f,
            kind,
            length[0],
            length[1],
            a,
            b,
            c,
            d,
            high,
            low,
            0xff,
            low,
        ];
        let packet = RawPacket(Bytes::copy_from_slice(&packet));
        self.track.write_rtcp(vec![Box::new(packet)]).await
    }

    /// Writes the next packet of the stream.
    async fn write(&mut self, payload: Bytes, timestamp: u32, marker: bool) -> Result<(), Error> {
        let header = Header {
            version: 2,
            marker,
            payload_type: self.payload_type,
            sequence_number: self.sequence,
            timestamp,
            ssrc: self.source,
            ..Header::default()
        };
        self.sequence = self.sequence.wrapping_add(1);
        self.track.write_rtp(rtc::rtp::Packet { header, payload }).await
    }

    /// Waits until the viewer asks for a key frame.
    pub(super) async fn key_frame_asked(&self) {
        match self.track.poll().await {
            Some(TrackLocalEvent::OnRtcpPacket(_)) => {}
            _ => std::future::pending().await,
        }
    }

    /// Ends the connection.
    pub(super) async fn close(&self) {
        // It is over either way.
        let _ = self.connection.close().await;
    }
}

fn codec(offer: &Offer) -> RTCRtpCodec {
    let feedback = |kind: &str, parameter: &str| RTCPFeedback {
        typ: kind.to_owned(),
        parameter: parameter.to_owned(),
    };
    RTCRtpCodec {
        mime_type: match offer.codec {
            Codec::Avc => MIME_TYPE_H264,
            Codec::Hevc => MIME_TYPE_HEVC,
        }
        .to_owned(),
        clock_rate: CLOCK_RATE,
        channels: 0,
        sdp_fmtp_line: offer.parameters.clone(),
        rtcp_feedback: vec![feedback("nack", ""), feedback("nack", "pli"), feedback("ccm", "fir")],
    }
}

fn interceptors(wire: &Arc<Wire>, retransmits: bool) -> Registry {
    let registry = configure_rtcp_reports(Registry::new())
        .with(Slot::from(500), Losses::on(wire))
        .with(Slot::from(14_000), Requests::default());
    if retransmits {
        registry.with(Slot::NackResponder, NackResponderBuilder::new().build())
    } else {
        registry
    }
}

/// What a connection tells of itself.
struct Events {
    state: watch::Sender<RTCPeerConnectionState>,
    gathered: watch::Sender<bool>,
}

impl Events {
    fn new() -> (
        Arc<Self>,
        watch::Receiver<RTCPeerConnectionState>,
        watch::Receiver<bool>,
    ) {
        let (state, seen) = watch::channel(RTCPeerConnectionState::New);
        let (gathered, gathering) = watch::channel(false);
        (Arc::new(Self { state, gathered }), seen, gathering)
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
}
