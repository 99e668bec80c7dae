//! Ring's answer, made into the viewer's: RFC 3264 wants one section for each of the offer's, in its order.

use super::description::{Description, Direction, Line, Malformed, Section};

/// Why Ring's answer is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// It is no session description.
    #[error("Ring's answer is no session description")]
    Malformed,
    /// Ring refuses the video, or answers with something else.
    #[error("Ring's answer has no video")]
    NoVideo,
    /// Ring would not send anything.
    #[error("Ring's answer sends nothing")]
    SendsNothing,
}

/// The answer to `offer`, of whose sections the one at `video` was passed to Ring, which answered `ring`.
pub(super) fn merge(offer: &Description, video: usize, ring: &str) -> Result<String, AnswerError> {
    let ring = Description::parse(ring).map_err(|Malformed| AnswerError::Malformed)?;
    let [answered] = &ring.media[..] else {
        return Err(AnswerError::NoVideo);
    };
    if answered.kind != "video" || answered.port == 0 {
        return Err(AnswerError::NoVideo);
    }
    if !matches!(ring.direction(answered), Direction::Send | Direction::SendReceive) {
        return Err(AnswerError::SendsNothing);
    }
    let asked = &offer.media[video];
    let sections = offer.media.iter().enumerate().map(|(place, section)| {
        if place == video {
            accepted(asked, answered)
        } else {
            refused(section)
        }
    });
    let answer = Description {
        session: session(offer, asked, &ring),
        media: sections.collect(),
    };
    Ok(answer.to_string())
}

/// Ring's lines of the session, but for what tells of its hosts. The group has what was offered in one and was accepted.
fn session(offer: &Description, asked: &Section, ring: &Description) -> Vec<Line> {
    let shown = ring
        .session
        .iter()
        .filter(|line| matches!(line.kind, 'v' | 'o' | 's' | 'c' | 'b' | 't' | 'a') && line.name() != Some("group"));
    let mut session: Vec<Line> = shown.map(anonymous).collect();
    if let (Some(_), Some(mid)) = (offer.bundle_of(asked), asked.attribute("mid")) {
        session.push(Line::with("group", format_args!("BUNDLE {mid}")));
    }
    session
}

/// A line of Ring's without its host's name: `o=` and `s=` name one at will, and nothing depends on it.
fn anonymous(line: &Line) -> Line {
    let value = match line.kind {
        'o' => {
            let mut words = line.value.split_ascii_whitespace().skip(1);
            let mut number = || {
                words
                    .next()
                    .filter(|word| word.bytes().all(|byte| byte.is_ascii_digit()))
            };
            let (id, version) = (number().unwrap_or("0"), number().unwrap_or("0"));
            format!("- {id} {version} IN IP4 127.0.0.1")
        }
        's' => "-".to_owned(),
        _ => line.value.clone(),
    };
    Line { kind: line.kind, value }
}

/// Ring's section under the viewer's own id for it.
fn accepted(asked: &Section, answered: &Section) -> Section {
    let mut section = answered.clone();
    // Lines of the session have no place in a section (RFC 8866, 9), and could name a host there.
    section
        .lines
        .retain(|line| matches!(line.kind, 'c' | 'b' | 'a') && line.name() != Some("mid"));
    if let Some(mid) = asked.attribute("mid") {
        section.lines.push(Line::with("mid", mid));
    }
    section
}

/// Port 0 (RFC 3264, 6). Some players look up what each format stands for even so.
fn refused(section: &Section) -> Section {
    let mid = section.attribute("mid").map(|mid| Line::with("mid", mid));
    let formats = section.lines.iter().filter(|line| line.name() == Some("rtpmap"));
    let nowhere = Line {
        kind: 'c',
        value: "IN IP4 0.0.0.0".to_owned(),
    };
    Section {
        kind: section.kind.clone(),
        port: 0,
        protocol: section.protocol.clone(),
        formats: section.formats.clone(),
        lines: [Some(nowhere), Some(Line::plain("inactive")), mid]
            .into_iter()
            .flatten()
            .chain(formats.cloned())
            .collect(),
    }
}
