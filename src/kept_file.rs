//! A small file beside the queue that is replaced whole, such as the diagnoses, or the alerts that wait.
//!
//! Rule: a power cut leaves the old one or the new one; one of a newer program is left as it is. Must not know what is in
//! it.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::Path,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use thiserror::Error;

use crate::careful_file::{self, Links};

/// Why the file does not count.
#[derive(Debug, Error)]
pub(crate) enum KeptFileError {
    #[error("{0}")]
    File(#[from] io::Error),
    #[error("it is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
    #[error("its form is {0}, which a newer program has written")]
    Newer(u32),
}

/// Reads it, `bytes_max` octets at most; where there is none, it is empty. Its form has a number, `version`.
pub(crate) fn read<T: DeserializeOwned + Default>(
    path: &Path,
    version: u32,
    bytes_max: u64,
) -> Result<T, KeptFileError> {
    let file = match careful_file::open(path, Links::Refused) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(T::default()),
        file => file?,
    };
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes)?;
    // The number first: what else a newer form has is not known.
    #[derive(Deserialize)]
    struct Form {
        version: u32,
    }
    let form: Form = serde_json::from_slice(&bytes)?;
    if form.version > version {
        return Err(KeptFileError::Newer(form.version));
    }
    Ok(serde_json::from_slice(&bytes)?)
}

/// Puts it in the place of the last one; returns when it would survive a power cut. Blocks.
pub(crate) fn replace(path: &Path, whole: &impl Serialize) -> Result<(), KeptFileError> {
    let next = path.with_extension("new");
    let mut file = careful_file::create(&next, 0o600)?;
    file.write_all(&serde_json::to_vec(whole)?)?;
    file.sync_all()?;
    fs::rename(&next, path)?;
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}
