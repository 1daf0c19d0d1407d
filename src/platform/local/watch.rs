//! Telling when files have changed: the kernel's word, and a look at the files themselves for what
//! the kernel does not tell (network file systems, a parent folder that was replaced).

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};
use tokio::{sync::mpsc, time::Instant};

use crate::lifecycle::{Lifecycle, Phase};

/// An edit is over when the files were left alone for so long.
const QUIET: Duration = Duration::from_millis(100);
/// An edit is reported after so long even if it goes on.
const QUIET_MAX: Duration = Duration::from_millis(400);
/// How often the files are looked at beside the kernel's word.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// How often they are looked at when the kernel cannot watch them: an edit counts within 1 s.
const LOOK_INTERVAL_ALONE: Duration = Duration::from_millis(500);

/// What tells one content of a file from another without reading it; `None` when it is away.
type Print = Option<(SystemTime, u64, u64, u64)>;

/// How files were at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen(Vec<Print>);

impl Seen {
    /// How they are now. To be taken before they are read: an edit that comes between the two is
    /// then told, not lost.
    pub fn now(paths: &[PathBuf]) -> Self {
        Self(prints(paths))
    }
}

/// Calls `on_change` on the current runtime, until the process stops, within half a second of each
/// change of one of the files: written, replaced by a rename, gone, or reached through another
/// symbolic link (as mounted ConfigMaps are swapped). It may also be called when nothing changed.
pub fn watch(lifecycle: &Lifecycle, paths: Vec<PathBuf>, on_change: impl FnMut() + Send + 'static) {
    let seen = Seen::now(&paths);
    watch_since(lifecycle, paths, seen, on_change);
}

/// The same for files that were read when they were as `seen`.
pub fn watch_since(
    lifecycle: &Lifecycle,
    paths: Vec<PathBuf>,
    seen: Seen,
    mut on_change: impl FnMut() + Send + 'static,
) {
    // One waiting word is enough: it says "look", not what has changed.
    let (touched, mut touches) = mpsc::channel::<()>(1);
    // Before the task runs, so that no edit from now on is missed.
    let watcher = kernel_watch(&paths, touched.clone());
    let Seen(mut seen) = seen;
    if prints(&paths) != seen {
        let _sent_or_waiting = touched.try_send(());
    }
    drop(touched);
    let life = lifecycle.clone();
    lifecycle.spawn("file watch", async move {
        let stopped = life.reached(Phase::Stopped);
        tokio::pin!(stopped);
        let interval = if watcher.is_some() { LOOK_INTERVAL } else { LOOK_INTERVAL_ALONE };
        loop {
            tokio::select! {
                Some(()) = touches.recv() => settle(&mut touches).await,
                () = tokio::time::sleep(interval) => {
                    if prints(&paths) == seen {
                        continue;
                    }
                    tokio::time::sleep(QUIET).await;
                }
                () = &mut stopped => break,
            }
            seen = prints(&paths);
            on_change();
        }
        drop(watcher);
    });
}

/// Waits for the end of an edit.
async fn settle(touches: &mut mpsc::Receiver<()>) {
    let until = Instant::now() + QUIET_MAX;
    let quiet =
        async { while let Ok(Some(())) = tokio::time::timeout(QUIET, touches.recv()).await {} };
    // Either way the edit is reported now.
    let _quiet_or_not = tokio::time::timeout_at(until, quiet).await;
}

fn prints(paths: &[PathBuf]) -> Vec<Print> {
    let print = |path: &PathBuf| {
        let file = std::fs::metadata(path).ok()?;
        Some((file.modified().ok()?, file.len(), file.ino(), file.dev()))
    };
    paths.iter().map(print).collect()
}

/// Watches the folders: a watched file that is replaced by a rename would stay silent.
fn kernel_watch(paths: &[PathBuf], touched: mpsc::Sender<()>) -> Option<RecommendedWatcher> {
    let mut folders: BTreeMap<PathBuf, BTreeSet<OsString>> = BTreeMap::new();
    // Of a link both ends: it may be pointed elsewhere, and what it points to may be edited.
    let real = paths.iter().filter_map(|path| path.canonicalize().ok());
    for path in paths.iter().cloned().chain(real) {
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let names = folders.entry(folder.unwrap_or(Path::new(".")).to_path_buf()).or_default();
        names.extend(path.file_name().map(ToOwned::to_owned));
    }
    let names: BTreeSet<OsString> = folders.values().flatten().cloned().collect();
    let hear = move |event: notify::Result<notify::Event>| {
        // An error, such as an overflow of the kernel's queue, may hide anything.
        let counts = event.map_or(true, |event| concerns(&event, &names));
        if counts {
            // Full means that a word waits already.
            let _sent_or_waiting = touched.try_send(());
        }
    };
    let start = || -> notify::Result<RecommendedWatcher> {
        let mut watcher = notify::recommended_watcher(hear)?;
        for folder in folders.keys() {
            watcher.watch(folder, RecursiveMode::NonRecursive)?;
        }
        Ok(watcher)
    };
    match start() {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::warn!(%error, "files are looked at twice a second instead of being watched");
            None
        }
    }
}

/// Reading a file is no change: the reaction to one change would cause the next. Of other files in
/// the folder only the links count by which mounted ConfigMaps are swapped.
fn concerns(event: &notify::Event, names: &BTreeSet<OsString>) -> bool {
    let reading = matches!(event.kind, EventKind::Access(kind)
        if kind != AccessKind::Close(AccessMode::Write));
    let named = event
        .paths
        .iter()
        .filter_map(|path| path.file_name())
        .any(|name| names.contains(name) || name.as_encoded_bytes().starts_with(b".."));
    !reading && (named || event.need_rescan())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct Watched {
        folder: tempfile::TempDir,
        calls: mpsc::Receiver<()>,
    }

    /// Watches `endpoints.yaml` in a new folder prepared by `prepare`.
    fn watched(prepare: impl FnOnce(&Path)) -> Watched {
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path());
        let (called, calls) = mpsc::channel(64);
        let paths = vec![folder.path().join("endpoints.yaml")];
        watch(&Lifecycle::new(), paths, move || called.try_send(()).unwrap());
        Watched { folder, calls }
    }

    impl Watched {
        async fn called_within(&mut self, limit: Duration) -> bool {
            tokio::time::timeout(limit, self.calls.recv()).await.is_ok()
        }
    }

    fn plain(folder: &Path) {
        std::fs::write(folder.join("endpoints.yaml"), "a").unwrap();
    }

    #[tokio::test]
    async fn an_edit_between_reading_and_watching_is_told() {
        let folder = tempfile::tempdir().unwrap();
        plain(folder.path());
        let paths = vec![folder.path().join("endpoints.yaml")];
        let seen = Seen::now(&paths);
        std::fs::write(folder.path().join("endpoints.yaml"), "longer").unwrap();
        let (called, mut calls) = mpsc::channel(64);
        watch_since(&Lifecycle::new(), paths, seen, move || called.try_send(()).unwrap());
        assert!(tokio::time::timeout(Duration::from_secs(1), calls.recv()).await.is_ok());
    }

    #[tokio::test]
    async fn a_write_a_rename_and_a_removal_are_told_within_a_second_each() {
        let mut watched = watched(plain);
        let file = watched.folder.path().join("endpoints.yaml");
        std::fs::write(&file, "b").unwrap();
        assert!(watched.called_within(Duration::from_secs(1)).await);
        let other = watched.folder.path().join("other");
        std::fs::write(&other, "c").unwrap();
        std::fs::rename(&other, &file).unwrap();
        assert!(watched.called_within(Duration::from_secs(1)).await);
        std::fs::write(&file, "d").unwrap();
        assert!(watched.called_within(Duration::from_secs(1)).await);
        std::fs::remove_file(&file).unwrap();
        assert!(watched.called_within(Duration::from_secs(1)).await);
    }

    #[tokio::test]
    async fn a_swapped_config_map_is_told() {
        let mut watched = watched(|folder| {
            for version in ["..1", "..2"] {
                std::fs::create_dir(folder.join(version)).unwrap();
                std::fs::write(folder.join(version).join("endpoints.yaml"), version).unwrap();
            }
            symlink("..1", folder.join("..data")).unwrap();
            symlink("..data/endpoints.yaml", folder.join("endpoints.yaml")).unwrap();
        });
        let folder = watched.folder.path();
        symlink("..2", folder.join("..data_tmp")).unwrap();
        std::fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
        assert!(watched.called_within(Duration::from_secs(1)).await);
    }

    #[tokio::test]
    async fn an_edit_behind_a_link_into_another_folder_is_told() {
        let other = tempfile::tempdir().unwrap();
        let real = other.path().join("real.yaml");
        std::fs::write(&real, "a").unwrap();
        let mut watched = watched(|folder| symlink(&real, folder.join("endpoints.yaml")).unwrap());
        std::fs::write(&real, "b").unwrap();
        assert!(watched.called_within(Duration::from_secs(1)).await);
    }

    #[tokio::test]
    async fn a_burst_of_writes_is_told_once_and_reading_and_other_files_never() {
        let mut watched = watched(plain);
        let file = watched.folder.path().join("endpoints.yaml");
        for text in ["b", "c", "d"] {
            std::fs::write(&file, text).unwrap();
        }
        assert!(watched.called_within(Duration::from_secs(1)).await);
        std::fs::read_to_string(&file).unwrap();
        std::fs::write(watched.folder.path().join("model.log"), "x").unwrap();
        assert!(!watched.called_within(Duration::from_millis(600)).await);
    }
}
