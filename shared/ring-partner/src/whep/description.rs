//! A session description as its lines (RFC 8866): what is not understood stays as it is.

use std::fmt::{self, Display};

use super::LONGEST_DESCRIPTION;

/// The most media sections that are taken. A browser's offer has a few.
const MOST_SECTIONS: usize = 64;

/// A session description: the lines of the session, then a section for each medium.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Description {
    pub(super) session: Vec<Line>,
    pub(super) media: Vec<Section>,
}

/// A line: its type, and what stands after the `=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) kind: char,
    pub(super) value: String,
}

/// What an `m=` line says, and the lines up to the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) kind: String,
    pub(super) port: u16,
    pub(super) protocol: String,
    pub(super) formats: Vec<String>,
    pub(super) lines: Vec<Line>,
}

/// Which way media may flow, as the one who wrote the description sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    SendReceive,
    Send,
    Receive,
    Inactive,
}

/// It is no session description, or a boundless one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

impl Description {
    pub(super) fn parse(text: &str) -> Result<Self, Malformed> {
        if text.len() > LONGEST_DESCRIPTION {
            return Err(Malformed);
        }
        let mut description = Self {
            session: Vec::new(),
            media: Vec::new(),
        };
        for line in text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)) {
            if line.is_empty() {
                continue;
            }
            let line = Line::parse(line)?;
            if description.session.is_empty() && (line.kind, line.value.as_str()) != ('v', "0") {
                return Err(Malformed);
            }
            if line.kind == 'm' {
                if description.media.len() == MOST_SECTIONS {
                    return Err(Malformed);
                }
                description.media.push(Section::parse(&line.value)?);
            } else if let Some(section) = description.media.last_mut() {
                section.lines.push(line);
            } else {
                description.session.push(line);
            }
        }
        if description.session.is_empty() {
            return Err(Malformed);
        }
        Ok(description)
    }

    /// The direction of a section: its own, else the session's, else both ways (RFC 8866, 6.7).
    pub(super) fn direction(&self, section: &Section) -> Direction {
        let of = |lines: &[Line]| lines.iter().find_map(|line| Direction::parse(line.flag()?));
        of(&section.lines)
            .or_else(|| of(&self.session))
            .unwrap_or(Direction::SendReceive)
    }

    /// The group of sections that share one transport and has this one among them, by their ids (RFC 9143).
    pub(super) fn bundle_of<'d>(&'d self, section: &Section) -> Option<Vec<&'d str>> {
        let mid = section.attribute("mid")?;
        self.session
            .iter()
            .filter_map(|line| line.attribute("group"))
            .filter_map(|group| {
                let mut words = group.split_ascii_whitespace();
                (words.next() == Some("BUNDLE")).then(|| words.collect::<Vec<_>>())
            })
            .find(|mids| mids.contains(&mid))
    }
}

impl Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.session {
            write!(f, "{line}")?;
        }
        for section in &self.media {
            let Section {
                kind, port, protocol, ..
            } = section;
            write!(f, "m={kind} {port} {protocol} {}\r\n", section.formats.join(" "))?;
            for line in &section.lines {
                write!(f, "{line}")?;
            }
        }
        Ok(())
    }
}

impl Line {
    fn parse(line: &str) -> Result<Self, Malformed> {
        let (kind, value) = line.split_once('=').ok_or(Malformed)?;
        let mut letters = kind.chars();
        match (letters.next(), letters.next()) {
            (Some(kind), None) if kind.is_ascii_lowercase() && !value.chars().any(char::is_control) => Ok(Self {
                kind,
                value: value.to_owned(),
            }),
            _ => Err(Malformed),
        }
    }

    /// An attribute with a value.
    pub(super) fn with(name: &str, value: impl Display) -> Self {
        Self {
            kind: 'a',
            value: format!("{name}:{value}"),
        }
    }

    /// An attribute that says all by its name.
    pub(super) fn plain(name: &str) -> Self {
        Self {
            kind: 'a',
            value: name.to_owned(),
        }
    }

    /// The name of an attribute.
    pub(super) fn name(&self) -> Option<&str> {
        (self.kind == 'a').then(|| self.value.split_once(':').map_or(self.value.as_str(), |(name, _)| name))
    }

    /// The value of this attribute, if it is the one of that name.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        let (found, value) = self.value.split_once(':')?;
        (self.kind == 'a' && found == name).then_some(value)
    }

    fn flag(&self) -> Option<&str> {
        (self.kind == 'a').then_some(self.value.as_str())
    }
}

impl Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}\r\n", self.kind, self.value)
    }
}

impl Section {
    fn parse(value: &str) -> Result<Self, Malformed> {
        let mut words = value.split_ascii_whitespace();
        let mut word = || words.next().ok_or(Malformed);
        let (kind, port, protocol) = (word()?.to_owned(), word()?, word()?.to_owned());
        let port = port.split_once('/').map_or(port, |(port, _)| port);
        let section = Self {
            kind,
            port: port.parse().map_err(|_| Malformed)?,
            protocol,
            formats: words.map(str::to_owned).collect(),
            lines: Vec::new(),
        };
        if section.formats.is_empty() {
            return Err(Malformed);
        }
        Ok(section)
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.lines.iter().find_map(|line| line.attribute(name))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.lines.iter().any(|line| line.name() == Some(name))
    }
}

impl Direction {
    fn parse(flag: &str) -> Option<Self> {
        match flag {
            "sendrecv" => Some(Self::SendReceive),
            "sendonly" => Some(Self::Send),
            "recvonly" => Some(Self::Receive),
            "inactive" => Some(Self::Inactive),
            _ => None,
        }
    }

    /// Whether an attribute of this name is a direction.
    pub(super) fn is_name(name: &str) -> bool {
        Self::parse(name).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_written_as_it_was_read() {
        let text = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=Türe\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
                    m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=unheard-of:x y\r\n";
        assert_eq!(Description::parse(text).unwrap().to_string(), text);
        let loose = format!("{}\n\n", text.replace("\r\n", "\n"));
        assert_eq!(Description::parse(&loose).unwrap().to_string(), text);
    }

    #[test]
    fn what_is_no_description_is_refused() {
        let sections = "m=audio 9 x 0\n".repeat(MOST_SECTIONS + 1);
        for text in [
            "",
            "\r\n",
            "v=1",
            "o=- 1",
            "{}",
            "v=0\nx",
            "v=0\n=x",
            "v=0\nA=x",
            "v=0\nab=x",
            "v=0\na=\u{1b}[31m",
            "v=0\na=x\ry",
            "v=0\nm=video",
            "v=0\nm=video 9 UDP",
            "v=0\nm=video x UDP 96",
            "v=0\nm=video 99999 UDP 96",
            &format!("v=0\n{sections}"),
            &format!("v=0\ns={}", "x".repeat(LONGEST_DESCRIPTION)),
        ] {
            assert_eq!(Description::parse(text), Err(Malformed), "{text:.40}");
        }
    }
}
