//! The remedies for replies of other servers than Gmail's: one sentence or two, with the place where to do it.

pub(super) const BUSY: &str = "Nothing: the relay tries again with growing waits.";
pub(super) const RATE: &str = "Nothing: the relay tries again with growing waits. If it happens often, lower budget.pace_per_minute or upstream.connections.";
pub(super) const QUOTA: &str = "Nothing: the queue waits and one message is tried when the pause ends. Set budget.recipients_per_day to what the account allows, and send less from it elsewhere until then.";
pub(super) const CREDENTIALS: &str = "Check upstream.username and the password (docs/providers.md says what each provider wants). With a new one, restart the relay: `systemctl restart pillarbox`.";
pub(super) const NEW_PASSWORD: &str = "The provider wants another password before this one works again: set one in its web page and store it; then restart the relay: `systemctl restart pillarbox`.";
pub(super) const LOGIN_WANTED: &str = "The upstream wants a login: set upstream.username and upstream.password_file; then restart the relay: `systemctl restart pillarbox`.";
pub(super) const MECHANISM: &str = "The upstream does not take this kind of login: check upstream.host, upstream.port and upstream.auth; then restart the relay: `systemctl restart pillarbox`.";
pub(super) const MODE: &str = "Set upstream.tls to \"starttls\" with port 587 or to \"implicit\" with port 465; then restart the relay: `systemctl restart pillarbox`.";
pub(super) const DIALOGUE: &str = "The upstream and the relay do not agree about the dialogue: check that upstream.host and upstream.port are a submission server and that no proxy is in between; then restart the relay: `systemctl restart pillarbox`.";
pub(super) const RELAYING: &str = "The upstream does not relay for this login: check upstream.host, upstream.username and upstream.auth, and with its administrator that this account may send to others. Then run `pillarbox resume`.";
pub(super) const SENDER: &str = "The upstream does not let this account send as that address: write from = \"account\" under [identity], name permitted addresses in send_as, or have the address verified at the provider. Then run `pillarbox resume`.";
pub(super) const DISABLED: &str = "The account may not send: sign in at the provider's web page and look for notices, or ask its administrator; then run `pillarbox resume`.";
pub(super) const ADDRESS: &str = "Correct the address where the message is written.";
pub(super) const TOO_LARGE: &str = "Send a link to the file instead, or several messages; lower listener.max_message_bytes so that clients hear it at once.";
pub(super) const LOOP: &str = "The message goes round in circles: look for a forwarding loop.";
pub(super) const MALFORMED: &str = "The program that wrote this message must be corrected.";
pub(super) const SMTP_AUTH: &str = "SMTP AUTH is switched off: the organisation's administrator enables it for the mailbox (https://aka.ms/smtp_auth_disabled); then run `pillarbox resume`.";
pub(super) const BASIC_AUTH: &str = "Microsoft does not take passwords here any more: log in as an application of the organisation (docs/microsoft.md), or have its administrator turn them on again for a while; then restart the relay: `systemctl restart pillarbox`.";
pub(super) const SIGN_IN: &str = "Check upstream.username and the password; if both are right, a rule of the organisation refuses this sign-in (security defaults, conditional access, a locked account): ask its administrator. An application must be allowed to send as this mailbox (docs/microsoft.md). Then restart the relay: `systemctl restart pillarbox`.";
pub(super) const FULL_MAILBOX: &str = "The account's own mailbox is full: empty it, the sent messages as well; then run `pillarbox resume`.";
pub(super) const TEST_ACCOUNT: &str = "The account may send to authorised recipients only: add a domain of your own or a payment at the provider, or name them there; then run `pillarbox resume`.";
