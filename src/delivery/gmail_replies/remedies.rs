//! The remedies for replies: one sentence or two, with the place where to do it.
//!
//! Rule: a remedy names a key, a page or a command that exists today. Google's "less secure apps" setting and
//! its unlock page are gone for good (docs/gmail.md section 4.1) and are never named. Must not know replies.

pub(super) const QUOTA: &str = "Nothing: the queue waits and one message is tried when the pause ends. Send less from this account until then, also from the web and the phone; if it happens often, lower budget.recipients_per_day.";
pub(super) const STORAGE: &str = "Look at the storage of the account (https://one.google.com/storage) and at its sent mail; one message is tried when the pause ends. After mending it run `pillarbox resume`.";
pub(super) const BUSY: &str = "Nothing: the relay tries again with growing waits.";
pub(super) const UNUSUAL_RATE: &str = "Nothing: the relay tries again with growing waits. If it happens often, lower budget.pace_per_minute.";
pub(super) const EHLO_NAME: &str = "If it goes on, set upstream.ehlo_name to a full name such as relay.example.org: Gmail answers a name it does not like as if it were busy.";
pub(super) const EHLO_REFUSED: &str = "Set upstream.ehlo_name to a full name such as relay.example.org; then restart the relay: `systemctl restart pillarbox`.";
pub(super) const MODE: &str = "Set upstream.tls to \"starttls\" with port 587 or to \"implicit\" with port 465; then restart the relay: `systemctl restart pillarbox`.";
pub(super) const STARTTLS: &str = "Something between here and Gmail changes the STARTTLS dialogue: use port = 465 under [upstream]; then restart the relay: `systemctl restart pillarbox`.";
pub(super) const DIALOGUE: &str = "The upstream and the relay do not agree about the dialogue: check that upstream.host and upstream.port are a submission server and that no proxy is in between; then restart the relay: `systemctl restart pillarbox`.";
pub(super) const MECHANISM: &str = "The upstream does not take AUTH PLAIN: check upstream.host; then restart the relay: `systemctl restart pillarbox`.";
pub(super) const APP_PASSWORD: &str = "Create an app password (https://myaccount.google.com/apppasswords, needs 2-Step Verification) and store it as the upstream's password; then restart the relay: `systemctl restart pillarbox`.";
pub(super) const BROWSER: &str = "Sign in with a browser from the same network, look at the account's security notices (https://myaccount.google.com/notifications), and use an app password; then run `pillarbox resume`.";
pub(super) const CREDENTIALS: &str = "Check upstream.username (the full address) and the app password: it is revoked whenever the account's password changes. With a new one, restart the relay: `systemctl restart pillarbox`.";
pub(super) const UNREADABLE_PASSWORD: &str = "Store the app password again, as text on one line, in upstream.password_file; then restart the relay: `systemctl restart pillarbox`.";
pub(super) const LOGIN_WANTED: &str = "The upstream wants a login: set upstream.username and upstream.password_file; then restart the relay: `systemctl restart pillarbox`.";
pub(super) const LOGINS: &str = "Nothing: the relay logs in again when the pause ends. Check that nothing else logs in to this account in a loop.";
pub(super) const DISABLED: &str = "The account may not send: sign in with a browser and look for notices (Workspace: ask the administrator); then run `pillarbox resume`.";
pub(super) const RELAY_RULE: &str = "smtp-relay.gmail.com does not know this address: correct the SMTP relay rule in the Google Admin console, or use smtp.gmail.com with a login. Then run `pillarbox resume`.";
pub(super) const SPAM: &str = "Gmail takes this message for spam: repeating it endangers the account. Look at what wrote it; three such verdicts within an hour stop the mail of their sender, or all mail if they are of several.";
pub(super) const MALFORMED: &str = "The program that wrote this message must be corrected.";
pub(super) const TOO_LARGE: &str =
    "Gmail takes 25 MB with attachments: send a link to the file instead, or several messages.";
pub(super) const BLOCKED: &str = "Gmail does not take this kind of attachment (programs, scripts, some archives): send it another way.";
pub(super) const LOOP: &str = "The message goes round in circles: look for a forwarding loop.";
pub(super) const AN_MX: &str =
    "This reply comes from a receiving server: upstream.host should be smtp.gmail.com.";
pub(super) const ADDRESS: &str = "Correct the address where the message is written.";
pub(super) const RULE: &str = "A rule of the Workspace domain refuses it: ask its administrator.";
