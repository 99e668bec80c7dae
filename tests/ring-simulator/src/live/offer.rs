//! What Ring takes of an offer: one video section that receives, candidates within it, and a codec that the device has.

use super::film::Codec;

/// An offer that can be answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) sdp: String,
    pub(super) codec: Codec,
    /// The viewer's number for that codec.
    pub(super) payload_type: u8,
    /// Its `fmtp`, as the viewer wrote it.
    pub(super) parameters: String,
}

/// Why Ring refuses an offer, in its words where the documentation has any.
pub(super) type Refusal = &'static str;

/// Ring: Live Video, "Common Mistakes".
const INCOMPATIBLE: Refusal = "Incompatible send direction";

impl Offer {
    /// Reads an offer to a device with these codecs, the preferred one first. Which of them it is is for the viewer to say.
    pub(super) fn read(sdp: &str, codecs: &[Codec]) -> Result<Self, Refusal> {
        let lines: Vec<&str> = sdp.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
        if lines.first() != Some(&"v=0") {
            return Err("Invalid SDP offer");
        }
        let has = |attribute: &str| lines.contains(&attribute);
        let sections: Vec<Vec<&str>> = lines
            .iter()
            .filter_map(|line| line.strip_prefix("m="))
            .map(|media| media.split_ascii_whitespace().collect())
            .collect();
        let [section] = &sections[..] else {
            return Err(if sections.is_empty() {
                "Invalid SDP offer"
            } else {
                INCOMPATIBLE
            });
        };
        let ["video", _, _, formats @ ..] = &section[..] else {
            return Err(INCOMPATIBLE);
        };
        if !has("a=recvonly") || has("a=sendrecv") || has("a=sendonly") || has("a=inactive") {
            return Err(INCOMPATIBLE);
        }
        if !lines.iter().any(|line| line.starts_with("a=candidate:")) {
            return Err("No ICE candidates");
        }
        let value = |attribute: &str, format: &str| {
            let prefix = format!("a={attribute}:{format} ");
            lines.iter().find_map(|line| line.strip_prefix(&prefix))
        };
        let fitting = formats.iter().filter_map(|format| {
            let codec = codec(value("rtpmap", format)?)?;
            let parameters = value("fmtp", format).unwrap_or_default();
            // Without it each frame would have to fit into one packet.
            let is_split = codec == Codec::Hevc || parameters.contains("packetization-mode=1");
            let payload_type = format.parse().ok()?;
            (is_split && codecs.contains(&codec)).then(|| (payload_type, codec, parameters.to_owned()))
        });
        let mut fitting: Vec<_> = fitting.collect();
        // The films are Constrained Baseline: where the viewer has a number for that profile, it is taken.
        fitting.sort_by_key(|(_, codec, parameters)| {
            *codec == Codec::Avc && !parameters.contains("profile-level-id=42e0")
        });
        let (payload_type, codec, parameters) = fitting.into_iter().next().ok_or("No common codec")?;
        Ok(Self {
            sdp: sdp.to_owned(),
            codec,
            payload_type,
            parameters,
        })
    }
}

fn codec(map: &str) -> Option<Codec> {
    match map.split('/').next()?.to_ascii_uppercase().as_str() {
        "H264" => Some(Codec::Avc),
        "H265" => Some(Codec::Hevc),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96 102 108 98\r\n\
        a=recvonly\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:102 H264/90000\r\na=fmtp:102 packetization-mode=0;profile-level-id=42e01f\r\n\
        a=rtpmap:108 H264/90000\r\na=fmtp:108 packetization-mode=1;profile-level-id=42e01f\r\na=rtpmap:98 H265/90000\r\n\
        a=candidate:1 1 udp 1 192.0.2.7 5000 typ host\r\n";

    #[test]
    fn the_viewers_number_for_the_devices_codec_is_taken() {
        let check = |codecs: &[Codec], expected: Result<(u8, Codec), Refusal>| {
            let read = Offer::read(OFFER, codecs).map(|offer| (offer.payload_type, offer.codec));
            assert_eq!(read, expected);
        };
        check(&[Codec::Avc], Ok((108, Codec::Avc)));
        check(&[Codec::Hevc], Ok((98, Codec::Hevc)));
        check(&[], Err("No common codec"));
    }

    #[test]
    fn trap_90_anything_but_one_video_section_that_receives_is_refused() {
        let check = |offer: String, expected: Refusal| {
            assert_eq!(Offer::read(&offer, &[Codec::Avc]).err(), Some(expected), "{offer}");
        };
        check(format!("{OFFER}m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n"), INCOMPATIBLE);
        check(OFFER.replace("m=video", "m=audio"), INCOMPATIBLE);
        check(OFFER.replace("recvonly", "sendrecv"), INCOMPATIBLE);
        check(OFFER.replace("a=recvonly\r\n", ""), INCOMPATIBLE);
        check(OFFER.replace("a=candidate", "a=x"), "No ICE candidates");
        check(OFFER.replace("H264", "AV1"), "No common codec");
        check(String::new(), "Invalid SDP offer");
    }
}
