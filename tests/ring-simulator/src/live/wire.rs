//! The two ends of a connection's chain of interceptors: next to the wire, where packets get lost and are counted, and next to
//! the sender, which wants to hear of requests for a key frame.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rtc::interceptor::{Attribute, Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::sansio::Protocol;
use rtc::shared::error::Error;

/// One in so many.
const PRECISION: u64 = 1_000_000;

/// What a connection's packets meet on the way, and how many there were.
#[derive(Debug)]
pub(super) struct Wire {
    /// Of [`PRECISION`] packets so many are lost.
    loss: AtomicU64,
    chance: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) retransmitted: AtomicU64,
    pub(super) key_frames_asked: AtomicU64,
}

impl Wire {
    /// A wire whose losses follow from `seed`.
    pub(super) fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            loss: AtomicU64::new(0),
            chance: AtomicU64::new(seed | 1),
            sent: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            retransmitted: AtomicU64::new(0),
            key_frames_asked: AtomicU64::new(0),
        })
    }

    pub(super) fn set_loss(&self, share: f64) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "the share is from 0 to 1"
        )]
        self.loss.store((share * PRECISION as f64) as u64, Ordering::Relaxed);
    }

    /// Counts a packet that leaves; false: it is lost.
    fn carries(&self, retransmission: bool) -> bool {
        self.sent.fetch_add(1, Ordering::Relaxed);
        if retransmission {
            self.retransmitted.fetch_add(1, Ordering::Relaxed);
        }
        let lost = self.draw() < self.loss.load(Ordering::Relaxed);
        if lost {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        !lost
    }

    /// A number below [`PRECISION`], by xorshift. One task draws at a time; two at once would only draw the same.
    fn draw(&self) -> u64 {
        let mut state = self.chance.load(Ordering::Relaxed);
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.chance.store(state, Ordering::Relaxed);
        (state >> 11) % PRECISION
    }
}

/// Stands next to the wire.
pub(super) struct Losses {
    wire: Arc<Wire>,
    inward: VecDeque<TaggedPacket>,
    outward: VecDeque<TaggedPacket>,
}

impl Losses {
    pub(super) fn on(wire: &Arc<Wire>) -> Self {
        Self {
            wire: Arc::clone(wire),
            inward: VecDeque::new(),
            outward: VecDeque::new(),
        }
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Losses {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        self.inward.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.inward.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        let is_media = matches!(packet.message.packet, Packet::Rtp(_));
        let retransmission = packet.message.has(&Attribute::Retransmission);
        if !is_media || self.wire.carries(retransmission) {
            self.outward.push_back(packet);
        }
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.outward.pop_front()
    }
}

impl Interceptor for Losses {
    fn bind_local_stream(&mut self, _: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _: &StreamInfo) {}
}

/// Stands next to the sender: marks requests for a key frame, as everything else inbound is for the chain itself.
#[derive(Default)]
pub(super) struct Requests {
    inward: VecDeque<TaggedPacket>,
    outward: VecDeque<TaggedPacket>,
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Requests {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, mut packet: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtcp(feedback) = &packet.message.packet {
            let asks = |packet: &dyn rtc::rtcp::Packet| {
                let packet = packet.as_any();
                packet.is::<PictureLossIndication>() || packet.is::<FullIntraRequest>()
            };
            let requests: Vec<_> = feedback
                .iter()
                .filter(|packet| asks(packet.as_ref()))
                .cloned()
                .collect();
            if requests.is_empty() {
                return Ok(());
            }
            packet.message.packet = Packet::Rtcp(requests);
            packet.message.add(Attribute::DeliverToApplication);
        }
        self.inward.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.inward.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        self.outward.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.outward.pop_front()
    }
}

impl Interceptor for Requests {
    fn bind_local_stream(&mut self, _: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _: &StreamInfo) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_packets_the_ordered_share_is_lost() {
        let wire = Wire::new(7);
        assert!((0..1_000).all(|_| wire.carries(false)));
        wire.set_loss(0.05);
        let lost = (0..100_000).filter(|_| !wire.carries(true)).count();
        assert!((4_500..5_500).contains(&lost), "{lost}");
        wire.set_loss(1.0);
        assert!((0..1_000).all(|_| !wire.carries(false)));
        assert_eq!(wire.sent.load(Ordering::Relaxed), 102_000);
        assert_eq!(wire.retransmitted.load(Ordering::Relaxed), 100_000);
    }
}
