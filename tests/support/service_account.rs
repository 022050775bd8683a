//! The key of a service account that may act for a mailbox, as Google gives it to be downloaded.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

/// Writes its JSON key.
pub(crate) fn write_key(path: &Path) {
    let key = serde_json::json!({
        "type": "service_account",
        "private_key_id": "0123",
        "private_key": include_str!("../oauth/service_account_key.pem"),
        "client_email": "relay@project.iam.gserviceaccount.com",
        "client_id": "1099",
        "token_uri": "https://oauth2.googleapis.com/token",
    });
    fs::write(path, key.to_string()).expect("a file");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("a mode");
}
