//! The runtime that the WebRTC stack runs on: Tokio's, with sockets whose receive buffer takes the burst of a key frame, and
//! a moment in which this process is not scheduled. The kernel's default, 208 KiB, loses packets then.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, Runtime, TokioRuntime,
};

/// The size that is asked for. The kernel gives no more than `net.core.rmem_max`.
const RECEIVE_BUFFER_BYTES: usize = 2 * 1024 * 1024;

type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Tokio, with larger receive buffers.
#[derive(Debug)]
pub(super) struct Roomy(pub(super) TokioRuntime);

impl Runtime for Roomy {
    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        if let Err(error) = SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER_BYTES) {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a socket keeps its small receive buffer"
            );
        }
        self.0.wrap_udp_socket(socket)
    }

    fn spawn(&self, future: Later<'static, ()>) -> Box<dyn JoinHandle> {
        self.0.spawn(future)
    }

    fn wrap_tcp_listener(&self, listener: TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        self.0.wrap_tcp_listener(listener)
    }

    fn connect_tcp<'a>(&'a self, address: SocketAddr) -> Later<'a, io::Result<Arc<dyn AsyncTcpStream>>> {
        self.0.connect_tcp(address)
    }

    fn resolve_host<'a>(&'a self, host: &'a str) -> Later<'a, io::Result<Vec<SocketAddr>>> {
        self.0.resolve_host(host)
    }

    fn sleep(&self, duration: Duration) -> Later<'static, ()> {
        self.0.sleep(duration)
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        self.0.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        self.0.block_on(future);
    }

    fn yield_now(&self) -> Later<'static, ()> {
        self.0.yield_now()
    }

    fn name(&self) -> &'static str {
        self.0.name()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_has_room_for_a_key_frame_as_far_as_the_kernel_allows() {
        let small = UdpSocket::bind("127.0.0.1:0").unwrap();
        let before = SockRef::from(&small).recv_buffer_size().unwrap();
        let kept = small.try_clone().unwrap();
        let _wrapped = Roomy(TokioRuntime).wrap_udp_socket(small).unwrap();
        let most = std::fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap();
        let most: usize = most.trim().parse().unwrap();
        // The kernel doubles what is asked for.
        let after = SockRef::from(&kept).recv_buffer_size().unwrap();
        assert_eq!(after, 2 * RECEIVE_BUFFER_BYTES.min(most).max(before / 2));
    }
}
