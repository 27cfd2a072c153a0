//! QEMU's own tools, which make images and judge them.

use super::{Lab, needs};

/// Whether they are here; says aloud where not.
pub fn have_qemu() -> bool {
    needs("qemu-img") && needs("qemu-io")
}

/// Runs `qemu-img` with the words of `line`; it must succeed.
pub fn qemu_img(lab: &Lab, line: &str) -> String {
    lab.program("qemu-img").args(line.split_whitespace()).exits(0).stdout()
}

/// Runs these commands of `qemu-io` on an image, discards and all.
pub fn qemu_io<I>(lab: &Lab, format: &str, image: &str, commands: I)
where
    I: IntoIterator,
    I::Item: AsRef<str>,
{
    let mut run = lab.program("qemu-io").args(["-f", format, "-d", "unmap"]);
    for command in commands {
        run = run.args(["-c", command.as_ref()]);
    }
    run.arg(image).exits(0);
}
