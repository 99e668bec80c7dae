//! The functions' processes, looked up by the connections that they hold, and killed as the kernel does when memory is short.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::process::Command;

static KILLED: AtomicU64 = AtomicU64::new(0);

/// Kills the function that holds the other end of this connection. Does nothing where it has ended since.
pub(super) async fn kill_owner_of(peer: SocketAddr) {
    let found = tokio::task::spawn_blocking(move || owner_of(peer)).await;
    let Ok(Some(process)) = found else { return };
    let killed = Command::new("sh")
        .arg("-c")
        .arg(format!("kill -KILL {process}"))
        .status()
        .await;
    if killed.is_ok_and(|status| status.success()) {
        KILLED.fetch_add(1, Ordering::Relaxed);
    }
}

/// How many were killed since the last look.
pub(super) fn killed() -> u64 {
    KILLED.swap(0, Ordering::Relaxed)
}

/// The function that this end of a connection belongs to.
fn owner_of(peer: SocketAddr) -> Option<u32> {
    let socket = format!("socket:[{}]", inode_of(peer.port())?);
    let processes = fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|process| is_function(*process))
        .find(|process| holds(*process, &socket))
}

/// The socket on loopback with this port at its own end: `  sl local_address rem_address st … inode`.
fn inode_of(port: u16) -> Option<u64> {
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    let local = format!("0100007F:{port:04X}");
    let row = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|fields| fields.get(1) == Some(&local.as_str()))?;
    row.get(9)?.parse().ok().filter(|inode| *inode > 0)
}

/// Nothing else is ever killed, whoever else holds a connection.
fn is_function(process: u32) -> bool {
    fs::read_link(format!("/proc/{process}/exe")).is_ok_and(|program| {
        program
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("bootstrap"))
    })
}

fn holds(process: u32, socket: &str) -> bool {
    let open = fs::read_dir(Path::new("/proc").join(process.to_string()).join("fd"));
    open.into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|target| target.to_string_lossy() == socket)
}
