//! A viewer's offer, and what of it goes to Ring: one video section, to receive only. Ring refuses any other ("Incompatible
//! send direction").

use super::answer::{self, AnswerError};
use super::description::{Description, Direction, Line, Malformed, Section};

/// The codecs that Ring's devices have, as an offer names them. Ring: Device Capabilities, `AVC` and `HEVC`.
const CODECS: [&str; 2] = ["H264", "H265"];

/// What describes the transport, and stands in one section for all of its group (RFC 8859, IDENTICAL and TRANSPORT).
const TRANSPORT: [&str; 11] = [
    "candidate",
    "end-of-candidates",
    "fingerprint",
    "ice-lite",
    "ice-options",
    "ice-pwd",
    "ice-ufrag",
    "rtcp",
    "rtcp-mux",
    "setup",
    "tls-id",
];

/// What belongs to media that the viewer would send.
const OF_A_SENDER: [&str; 5] = ["msid", "rid", "simulcast", "ssrc", "ssrc-group"];

/// The port of a section whose address its candidates tell (RFC 8840, 4.1.1).
const DISCARD: u16 = 9;

/// A viewer's offer that Ring can be asked with.
#[derive(Debug, Clone)]
pub struct Offer {
    description: Description,
    /// The place of the video section that is asked for.
    video: usize,
    for_ring: Description,
}

/// Why an offer is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// It is no session description, or longer than 64 KiB.
    #[error("it is no session description")]
    Malformed,
    /// There is no video section that would receive H.264 or H.265 by WebRTC.
    #[error("it has no video section that receives H.264 or H.265")]
    NoVideo,
    /// It has no ICE candidate, and none can be sent later.
    #[error("it has no ICE candidate: wait for the gathering to end before the offer is sent")]
    NoCandidates,
}

impl Offer {
    /// Reads an offer. The first section that can receive Ring's video is taken; what else is offered will be refused in
    /// the answer.
    pub fn parse(text: &str) -> Result<Self, OfferError> {
        let description = Description::parse(text).map_err(|Malformed| OfferError::Malformed)?;
        let usable = |section: &Section| receives_video(&description, section);
        let video = description.media.iter().position(usable).ok_or(OfferError::NoVideo)?;
        let for_ring = for_ring(&description, &description.media[video]);
        let has_candidate = for_ring.media.iter().any(|section| section.has("candidate"))
            || for_ring.session.iter().any(|line| line.name() == Some("candidate"));
        if !has_candidate {
            return Err(OfferError::NoCandidates);
        }
        Ok(Self {
            description,
            video,
            for_ring,
        })
    }

    /// What Ring is sent.
    #[must_use]
    pub fn for_ring(&self) -> String {
        self.for_ring.to_string()
    }

    /// The viewer's answer, made of Ring's: each section of the offer has its own, in its order, and all but the video are
    /// refused.
    pub fn answer(&self, ring: &str) -> Result<String, AnswerError> {
        answer::merge(&self.description, self.video, ring)
    }
}

fn receives_video(description: &Description, section: &Section) -> bool {
    let open = section.port != 0 || section.has("bundle-only");
    let by_webrtc = section.protocol.ends_with("TLS/RTP/SAVPF");
    let receives = matches!(
        description.direction(section),
        Direction::Receive | Direction::SendReceive
    );
    section.kind == "video" && open && by_webrtc && receives && section.lines.iter().any(is_ring_codec)
}

/// `rtpmap:<format> <codec>/<rate>`.
fn is_ring_codec(line: &Line) -> bool {
    line.attribute("rtpmap")
        .and_then(|map| map.split_ascii_whitespace().nth(1))
        .and_then(|codec| codec.split('/').next())
        .is_some_and(|codec| CODECS.iter().any(|known| known.eq_ignore_ascii_case(codec)))
}

fn for_ring(description: &Description, video: &Section) -> Description {
    let bundle = description.bundle_of(video);
    let mut session: Vec<Line> = description
        .session
        .iter()
        .filter(|line| matches!(line.kind, 'v' | 'o' | 's' | 'c' | 'b' | 't' | 'a'))
        .filter(|line| {
            !line
                .name()
                .is_some_and(|name| Direction::is_name(name) || name == "group")
        })
        .cloned()
        .collect();
    if let (Some(_), Some(mid)) = (&bundle, video.attribute("mid")) {
        session.push(Line::with("group", format_args!("BUNDLE {mid}")));
    }
    let mut section = video.clone();
    section
        .lines
        .retain(|line| !line.name().is_some_and(|name| OF_A_SENDER.contains(&name)));
    // The transport of a group stands in its first section, which may be one that Ring is not to see.
    let carrier = bundle
        .and_then(|mids| mids.first().copied())
        .and_then(|first| {
            description
                .media
                .iter()
                .find(|section| section.attribute("mid") == Some(first))
        })
        .filter(|carrier| *carrier != video);
    if let Some(carrier) = carrier {
        borrow_transport(&mut section, carrier);
    }
    // Bundled with a section that is not there, or is closed: nothing is sent to the port anyway, but 0 would refuse it.
    if section.port == 0 {
        section.port = DISCARD;
    }
    section.lines.retain(|line| line.name() != Some("bundle-only"));
    let is_direction = |line: &Line| line.name().is_some_and(Direction::is_name);
    section.lines.retain(|line| !is_direction(line));
    section.lines.push(Line::plain("recvonly"));
    Description {
        session,
        media: vec![section],
    }
}

/// Gives a section the transport of the one that carries its group, as far as it has none of its own.
fn borrow_transport(section: &mut Section, carrier: &Section) {
    if section.port == 0 {
        section.port = carrier.port;
        section.lines.retain(|line| line.kind != 'c');
        let address = carrier.lines.iter().filter(|line| line.kind == 'c').cloned();
        section.lines.splice(0..0, address);
    }
    let own = section.has("ice-ufrag") && section.has("candidate");
    if own {
        return;
    }
    section.lines.retain(|line| {
        !line
            .name()
            .is_some_and(|name| TRANSPORT.contains(&name) && carrier.has(name))
    });
    let transport = carrier
        .lines
        .iter()
        .filter(|line| line.name().is_some_and(|name| TRANSPORT.contains(&name)));
    section.lines.extend(transport.cloned());
}

#[cfg(test)]
mod tests;
