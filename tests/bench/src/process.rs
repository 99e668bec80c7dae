//! A process, looked at from outside.

use std::fs;
use std::time::Duration;

use crate::Failure;

/// Resident memory, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Now.
    pub resident: u64,
    /// At most, up to now.
    pub peak: u64,
}

/// The CPU time of all threads that a process has now (`schedstat`: nanoseconds on a CPU, waited for one, time slices). What a
/// thread has used that ended is not in it.
pub fn cpu_time(process: u32) -> Result<Duration, Failure> {
    let mut nanoseconds = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        // One that ends in this moment has no file any more.
        let Ok(schedstat) = fs::read_to_string(thread?.path().join("schedstat")) else {
            continue;
        };
        nanoseconds += schedstat.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// What a process holds in memory.
pub fn memory(process: u32) -> Result<Memory, Failure> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let bytes = |field: &str| -> Result<u64, Failure> {
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kibibytes = line.and_then(|line| line.split_whitespace().next());
        Ok(kibibytes
            .ok_or_else(|| format!("/proc has no {field}"))?
            .parse::<u64>()?
            * 1024)
    };
    Ok(Memory {
        resident: bytes("VmRSS:")?,
        peak: bytes("VmHWM:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_works_has_used_time_and_holds_memory() {
        let me = std::process::id();
        let before = cpu_time(me).unwrap();
        let mut held = vec![1_u8; 32 << 20]; // zeros would be no memory yet
        while cpu_time(me).unwrap() == before {
            for byte in held.iter_mut().step_by(4096) {
                *byte = byte.wrapping_add(1);
            }
        }
        let Memory { resident, peak } = memory(me).unwrap();
        assert!(
            resident > 32 << 20 && peak >= resident,
            "{resident} and {peak} of {}",
            held.len()
        );
        assert!(cpu_time(u32::MAX).is_err() && memory(u32::MAX).is_err());
    }
}
