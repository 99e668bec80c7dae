//! Bugs of the recorder, which its own tests must catch.

use crate::bugs::Bug;

const CAPTURE: &str = "functions/stream-capture/src/capture.rs";
const SESSION: &str = "functions/stream-capture/src/session.rs";
const STREAM: &str = "functions/stream-capture/src/stream.rs";
const RECORDING: &str = "functions/stream-capture/src/recording.rs";
const REORDER: &str = "functions/stream-capture/src/rtp/reorder.rs";

pub(crate) const BUGS: &[Bug] = &[
    Bug {
        what: "a session that is told to end is not closed at Ring",
        file: CAPTURE,
        right: "        closing.spawn(async move { sessions.close(session).await });",
        wrong: "        closing.spawn(async move { drop((sessions, session)) });",
    },
    Bug {
        what: "a session whose answer leads to no video is left open",
        file: CAPTURE,
        right: "        sessions.close(opened.session).await;\n",
        wrong: "",
    },
    Bug {
        what: "the next session is opened at the limit of the one before",
        file: CAPTURE,
        right: "let near = current.limit_at <= now + AHEAD",
        wrong: "let near = current.limit_at <= now",
    },
    Bug {
        what: "where one session may be open, its limit is waited for",
        file: CAPTURE,
        right: "Some(current) if self.alone && current.limit_at <= now + BEFORE_LIMIT",
        wrong: "Some(current) if self.alone && current.limit_at + BEFORE_LIMIT * 4 <= now",
    },
    Bug {
        what: "a device that shows nothing is asked for ever",
        file: CAPTURE,
        right: "if self.in_vain >= MOST_IN_VAIN {",
        wrong: "if self.in_vain >= MOST_IN_VAIN * 2 {",
    },
    Bug {
        what: "a process that is to end goes on",
        file: CAPTURE,
        right: "order.hand_over.then_some(Over::HandedOver)",
        wrong: "(order.hand_over && order.stop.is_some()).then_some(Over::HandedOver)",
    },
    Bug {
        what: "silence is waited for until the limit",
        file: SESSION,
        right: "self.last_packet.map(|last| last + self.patience.packet)",
        wrong: "self.last_packet.map(|last| last + self.patience.packet * 100)",
    },
    Bug {
        what: "a missing packet is not waited for",
        file: REORDER,
        right: "let given_up = *arrived + self.wait <= at;",
        wrong: "let given_up = *arrived <= at;",
    },
    Bug {
        what: "what waits behind a gap has no bound",
        file: REORDER,
        right: "self.held.len() > MOST_PACKETS || self.held_bytes > MOST_BYTES",
        wrong: "self.held.len() > MOST_PACKETS * 1_000 || self.held_bytes > MOST_BYTES * 1_000",
    },
    Bug {
        what: "what follows from a lost frame is kept as if it were whole",
        file: STREAM,
        right: "            self.chain = Chain::Broken { since: at };",
        wrong: "            self.was_broken += at - at;",
    },
    Bug {
        what: "no key frame is asked for after a loss",
        file: STREAM,
        right: "Chain::Broken { .. } => true,",
        wrong: "Chain::Broken { .. } => false,",
    },
    Bug {
        what: "other parameter sets go on in the same group",
        file: STREAM,
        right: "                || open.configuration != configuration\n",
        wrong: "",
    },
    Bug {
        what: "the gap between two sessions is not told",
        file: RECORDING,
        right: "if !self.manifest.fragments.is_empty() && at - before > GAP {",
        wrong: "if !self.manifest.fragments.is_empty() && at - before > GAP * 1_000 {",
    },
    Bug {
        what: "a session lies at its own clock's time, and over the one before",
        file: RECORDING,
        right: "let at = passed.max(before);",
        wrong: "let at = if passed > 0 { passed } else { before };",
    },
];
