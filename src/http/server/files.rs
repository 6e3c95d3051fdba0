//! The limit of open files: each connection is one.

/// File descriptors reserved for the database and the plugins.
const OWN: usize = 256;

/// Raises the limit of open files for this many connections, as far as the system allows, and returns how many connections fit.
pub(super) fn room_for(connections: usize) -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    #[allow(unsafe_code, reason = "system calls on a structure of two numbers, which they read and write")]
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) != 0 {
            return connections;
        }
        let needed = libc::rlim_t::try_from(connections.saturating_add(OWN)).unwrap_or(libc::RLIM_INFINITY);
        if limit.rlim_cur < needed {
            let raised = libc::rlimit { rlim_cur: needed.min(limit.rlim_max), ..limit };
            if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) == 0 {
                limit = raised;
            }
        }
    }
    let open = usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX);
    let room = open.saturating_sub(OWN).max(open / 2).max(1);
    if room < connections {
        tracing::warn!(
            connections = room,
            "limits.connections is reduced: the process may open only {open} files; raise that limit (ulimit -n, LimitNOFILE)"
        );
    }
    room.min(connections)
}
