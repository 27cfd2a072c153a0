//! How wide a terminal is.

use std::os::fd::{AsFd, AsRawFd};

mod ioctls {
    nix::ioctl_read_bad!(window_size, libc::TIOCGWINSZ, libc::winsize);
}

/// Columns of the terminal that `to` is; none where it is none, or doesn't tell.
#[must_use]
pub fn columns(to: impl AsFd) -> Option<usize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one `struct winsize`, for which there is room, and nothing where it fails.
    unsafe { ioctls::window_size(to.as_fd().as_raw_fd(), &raw mut size) }.ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_file_is_no_terminal() {
        let file = tempfile::tempfile().expect("a temporary file");
        assert_eq!(super::columns(&file), None);
    }
}
