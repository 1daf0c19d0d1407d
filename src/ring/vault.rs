//! Vaults of routers that are alone: a file, or the memory of the process.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::document::DOCUMENT_BYTES_MAX;
use crate::{
    domain::ClearText,
    platform::{Held, Vault, VaultError},
};

/// The mode of the file: nobody but its owner may read private keys.
const MODE: u32 = 0o600;

/// Keeps keys for one router.
#[derive(Debug)]
pub struct OwnVault {
    /// Where they outlive the process.
    file: Option<PathBuf>,
    held: watch::Sender<Option<Held>>,
    leads: watch::Receiver<bool>,
}

impl OwnVault {
    /// Keys end with the process, and their tokens with them.
    pub fn in_memory() -> Self {
        Self::holding(None, None)
    }

    /// Keys are in this file; it is made when it is not there. One router uses it at a time.
    pub fn in_file(file: PathBuf) -> Result<Self, String> {
        let text = read(&file).map_err(|why| format!("{}: {why}", file.display()))?;
        Ok(Self::holding(Some(file), text))
    }

    fn holding(file: Option<PathBuf>, text: Option<ClearText>) -> Self {
        let (held, _) = watch::channel(Some(Held { text, revision: "".into() }));
        let (_, leads) = watch::channel(true);
        Self { file, held, leads }
    }
}

impl Vault for OwnVault {
    fn held(&self) -> watch::Receiver<Option<Held>> {
        self.held.subscribe()
    }

    fn leads(&self) -> watch::Receiver<bool> {
        self.leads.clone()
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn write(&self, text: ClearText, _over: Held) -> BoxFuture<'static, Result<(), VaultError>> {
        let written = match &self.file {
            Some(file) => write(file, &text)
                .map_err(|error| VaultError::Failed(format!("{}: {error}", file.display()))),
            None => Ok(()),
        };
        if written.is_ok() {
            self.held.send_replace(Some(Held { text: Some(text), revision: "".into() }));
        }
        Box::pin(std::future::ready(written))
    }
}

/// The text of the file; `None` when there is no file.
fn read(file: &Path) -> Result<Option<ClearText>, String> {
    let opened = match fs::metadata(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Ok(metadata) if !metadata.is_file() => return Err("is not a file".to_owned()),
        Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
            return Err("others than its owner may read or write it; chmod 600".to_owned());
        }
        _ => fs::File::open(file),
    };
    let mut text = String::new();
    // One byte more than allowed tells a file of the largest size from a larger one.
    let limit = DOCUMENT_BYTES_MAX as u64 + 1;
    opened
        .and_then(|opened| opened.take(limit).read_to_string(&mut text))
        .map_err(|error| error.to_string())?;
    Ok(Some(ClearText::new(text)))
}

/// Puts a new file in the place of the old one.
fn write(file: &Path, text: &ClearText) -> io::Result<()> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut made = tempfile::Builder::new()
        .prefix(".modelway-")
        .permissions(fs::Permissions::from_mode(MODE))
        .tempfile_in(folder)?;
    made.write_all(text.reveal().as_bytes())?;
    made.as_file().sync_all()?;
    made.persist(file).map_err(|error| error.error)?;
    fs::File::open(folder)?.sync_all()
}
