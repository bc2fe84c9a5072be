//! Watches the folders of files by inotify(7). Folders and not files: renewers replace files and links.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::files::folders;

/// Watches the folders of files.
pub(super) struct FolderWatch {
    watcher: RecommendedWatcher,
    names: Arc<ArcSwap<BTreeSet<OsString>>>,
    watched: BTreeSet<PathBuf>,
    /// Whether it was said that something cannot be watched.
    is_trouble_said: bool,
}

impl FolderWatch {
    /// Watches nothing yet. `changed` is called on another thread at every change that may be one of the
    /// files, and must return at once.
    pub(super) fn new(changed: impl Fn() + Send + 'static) -> notify::Result<Self> {
        let names = Arc::new(ArcSwap::from_pointee(BTreeSet::new()));
        let known = Arc::clone(&names);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.map_or(true, |event| may_matter(&event, &known.load())) {
                changed();
            }
        })?;
        Ok(Self { watcher, names, watched: BTreeSet::new(), is_trouble_said: false })
    }

    /// Watches the folders of these files, and those of links on the way to them, and no others any more.
    /// To be called after each change: links lead elsewhere then, and a folder that was made anew is
    /// another one.
    pub(super) fn follow<'p>(&mut self, files: impl Iterator<Item = &'p Path>) {
        let (mut wanted, mut names) = (BTreeSet::new(), BTreeSet::new());
        for file in files {
            wanted.extend(folders(file));
            let real = file.canonicalize().ok();
            let both = [Some(file), real.as_deref()].into_iter().flatten();
            names.extend(both.filter_map(Path::file_name).map(OsString::from));
        }
        self.names.store(Arc::new(names));
        for folder in self.watched.difference(&wanted) {
            // One that was removed is no longer watched anyway.
            let _ = self.watcher.unwatch(folder);
        }
        self.watched.clear();
        for folder in wanted {
            match self.watcher.watch(&folder, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(folder);
                }
                Err(error) if !self.is_trouble_said => {
                    self.is_trouble_said = true;
                    log::warn!(
                        "cannot watch {} for changed certificates: {error}; they are looked at every \
                         {} minutes and on SIGHUP",
                        folder.display(),
                        LOOK_MS / 60_000
                    );
                }
                Err(_) => {}
            }
        }
    }
}

/// How often files are looked at without a sign of a change, in milliseconds: some file systems give none.
pub(super) const LOOK_MS: u64 = 5 * 60_000;

/// Whether an event may mean that one of the files with these names is another. Reading them is none, or
/// each look would cause the next; writing to other files is none, such as logs in the same folder.
fn may_matter(event: &Event, names: &BTreeSet<OsString>) -> bool {
    let is_named = || {
        let mut own = event.paths.iter().filter_map(|path| path.file_name());
        own.any(|name| names.contains(name))
    };
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Metadata(_)) => is_named(),
        EventKind::Access(_) => false,
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => true,
    }
}
