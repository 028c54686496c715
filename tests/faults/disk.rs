//! A disk for tests, whose power can be cut and which can be filled, and the processes that write to it.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout},
    time::timeout,
};

pub(crate) const MIB: u64 = 1024 * 1024;

/// A file system of its own: ext4 in a file, on a loop device. It is unmounted and removed when it is dropped.
pub(crate) struct Disk {
    pub(crate) dir: TempDir,
}

impl Disk {
    pub(crate) fn new(bytes: u64) -> Result<Self, String> {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).map_err(|error| error.to_string())?;
        let disk = Self { dir };
        let image = fs::File::create(disk.image()).and_then(|image| image.set_len(bytes));
        image.and_then(|()| fs::create_dir(disk.mount_point())).map_err(|error| error.to_string())?;
        run(Command::new("mkfs.ext4").arg("-qF").arg(disk.image()))?;
        disk.mount()?;
        Ok(disk)
    }

    fn image(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    pub(crate) fn mount_point(&self) -> PathBuf {
        self.dir.path().join("mount")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.mount_point().join("data")
    }

    /// The free bytes, as a program sees them.
    pub(crate) fn free_bytes(&self) -> u64 {
        let space = rustix::fs::statvfs(self.mount_point()).unwrap();
        space.f_bavail * space.f_frsize
    }

    fn mount(&self) -> Result<(), String> {
        run(Command::new("mount").args(["-t", "ext4", "-o", "loop"]).arg(self.image()).arg(self.mount_point()))
    }

    /// The file descriptors of a process that has just died may stay open for a moment.
    fn unmount(&self) -> Result<(), String> {
        let start = Instant::now();
        loop {
            match run(Command::new("umount").arg(self.mount_point())) {
                Err(_) if start.elapsed() < Duration::from_secs(10) => std::thread::sleep(Duration::from_millis(20)),
                done => return done,
            }
        }
    }

    /// `EXT4_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH`. From here on nothing reaches the disk, and every sync
    /// fails.
    pub(crate) fn cut(&self) -> Result<(), String> {
        let ioctl =
            "open(my $f, '<', $ARGV[0]) or die $!; my $flag = pack('L', 2); ioctl($f, 0x8004587D, $flag) or die $!";
        run(Command::new("perl").args(["-e", ioctl]).arg(self.mount_point()))?;
        match fs::write(self.mount_point().join("after-the-cut"), "x") {
            Ok(()) => Err("the file system takes writes after the cut".into()),
            Err(_) => Ok(()),
        }
    }

    /// The power returns: the disk has what had reached it.
    pub(crate) fn power_on(&self) {
        self.unmount().unwrap();
        self.mount().unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The loop device is released with the mount; at worst both are when the last process ends.
        if self.unmount().is_err() {
            let _ = run(Command::new("umount").arg("-l").arg(self.mount_point()));
        }
    }
}

/// A file that fills the disk beside the shop.
pub(crate) struct Filler {
    path: PathBuf,
    bytes: u64,
}

impl Filler {
    pub(crate) fn new(disk: &Disk) -> Self {
        Self { path: disk.mount_point().join("filler"), bytes: 0 }
    }

    /// Takes more space, if there is enough.
    pub(crate) fn take(&mut self, bytes: u64) -> bool {
        let file = fs::OpenOptions::new().create(true).append(true).open(&self.path).unwrap();
        let took = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), self.bytes, bytes).is_ok();
        self.bytes = file.metadata().unwrap().len();
        took
    }

    /// Takes all space, including the reserve for root.
    pub(crate) fn take_all(&mut self) {
        let mut step = 1_024 * MIB;
        while step >= 4_096 {
            if !self.take(step) {
                step /= 2;
            }
        }
    }

    pub(crate) fn free(&mut self) {
        fs::remove_file(&self.path).unwrap();
        self.bytes = 0;
    }
}

pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {}", stderr.trim())) }
}

/// Whether such a disk can be created here.
pub(crate) fn probe() -> Result<Disk, String> {
    if !rustix::process::geteuid().is_root() {
        return Err("it needs root".into());
    }
    Disk::new(64 * MIB)
}

/// Whether the power can be cut here.
pub(crate) fn probe_power() -> Result<(), String> {
    let disk = probe()?;
    disk.cut()?;
    disk.unmount()?;
    disk.mount()
}

/// A process whose standard output is read. Killed when it is dropped.
pub(crate) struct Process {
    pub(crate) child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    pub(crate) fn start(command: Command) -> Self {
        let mut command = tokio::process::Command::from(command);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Its next line, if there is one in time.
    pub(crate) async fn line(&mut self, soon: Duration) -> Option<String> {
        timeout(soon, self.lines.next_line()).await.ok().and_then(|line| line.unwrap())
    }
}

pub(crate) fn random_ms(range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(fastrand::u64(range))
}
