//! The figures of each provider, with the page that says so and the day on which it was read.
//!
//! Rule: a figure is stated only where a page of the provider itself has it; what others say of a provider is not verified.
//! A plan that allows more is written by whoever has it, so each figure is that of the smallest plan.

use super::figures::{Figure, Profile};

const GOOGLE: &str = "https://developers.google.com/workspace/gmail/imap/imap-smtp";
const RELAY_SERVICE: &str = "https://support.google.com/a/answer/6140680";
const SUBMISSION: &str = "https://learn.microsoft.com/en-us/exchange/troubleshoot/send-emails/smtp-submission-improvements";
const DEVICES: &str = "https://technet.microsoft.com/it-it/library/dn554323(v=exchg.150).aspx";
const APPLE: &str = "https://support.apple.com/en-ca/102198";
const YAHOO_LIMITS: &str = "https://help.yahoo.com/mkb/article.php?page=content&y=PROD_YSB_BZMAIL&locale=en_US&id=SLN17518&actp=lorax";
const ZOHO_LIMITS: &str = "https://www.zoho.com/mail/help/adminconsole/rates-and-limits.html";
const SES_QUOTAS: &str = "https://docs.aws.amazon.com/ses/latest/dg/quotas.html";
const SES_ENDPOINTS: &str = "https://docs.aws.amazon.com/ses/latest/dg/smtp-connect.html";
const SES_RECIPIENTS: &str = "https://docs.aws.amazon.com/sdkfornet1/latest/apidocs/html/M_Amazon_SimpleEmail_AmazonSimpleEmailService_SendRawEmail.htm";
const MAILGUN_SIZE: &str =
    "https://documentation.mailgun.com/docs/mailgun/user-manual/sending-messages/send-http";
const BREVO_SERVER: &str = "https://developers.brevo.com/docs/smtp-integration";
const BREVO_PLAN: &str =
    "https://help.brevo.com/hc/en-us/articles/8292912279954-Add-or-remove-emails-from-your-plan";
const SENDGRID_SERVER: &str = "https://www.twilio.com/docs/sendgrid/for-developers/sending-email/integrating-with-the-smtp-api";

/// The day on which the pages were read.
const READ: &str = "2026-11-28";

/// What Gmail advertises with SIZE.
const GMAIL_BYTES: u64 = 35_882_577;
/// As large as anything else that the relay takes.
const AS_GMAIL: Figure<u64> = Figure::ours(GMAIL_BYTES);
const TWO: Figure<u32> = Figure::ours(2);
const TWENTY: Figure<u32> = Figure::ours(20);
const HUNDRED: Figure<u32> = Figure::ours(100);

pub(super) const GMAIL: Profile = Profile {
    title: "Gmail",
    host: Figure::stated(Some("smtp.gmail.com"), GOOGLE, READ),
    port: Figure::stated(587, GOOGLE, READ),
    logs_in_as_mailbox: true,
    knows_hosts: false,
    recipients_per_day: Figure::stated(500, GOOGLE, READ),
    recipients_per_message: Figure::stated(100, GOOGLE, READ),
    message_bytes: Figure::unverified(GMAIL_BYTES),
    connections: TWO,
    pace_per_minute: TWENTY,
};

pub(super) const WORKSPACE: Profile = Profile {
    title: "Google Workspace",
    recipients_per_day: Figure::stated(2_000, GOOGLE, READ),
    ..GMAIL
};

pub(super) const WORKSPACE_RELAY: Profile = Profile {
    title: "The relay service of Google Workspace",
    host: Figure::stated(Some("smtp-relay.gmail.com"), RELAY_SERVICE, "2026-11-21"),
    port: Figure::stated(587, RELAY_SERVICE, "2026-11-21"),
    knows_hosts: true,
    recipients_per_day: Figure::stated(10_000, RELAY_SERVICE, "2026-11-21"),
    recipients_per_message: Figure::stated(100, RELAY_SERVICE, "2026-11-21"),
    ..GMAIL
};

pub(super) const MICROSOFT_365: Profile = Profile {
    title: "Microsoft 365",
    host: Figure::stated(Some("smtp.office365.com"), DEVICES, READ),
    port: Figure::stated(587, DEVICES, READ),
    logs_in_as_mailbox: true,
    knows_hosts: false,
    recipients_per_day: Figure::stated(10_000, SUBMISSION, READ),
    recipients_per_message: Figure::unverified(500),
    message_bytes: AS_GMAIL,
    connections: Figure::stated(3, SUBMISSION, READ),
    pace_per_minute: Figure::stated(30, SUBMISSION, READ),
};

pub(super) const OUTLOOK: Profile = Profile {
    title: "Outlook.com",
    host: Figure::unverified(Some("smtp-mail.outlook.com")),
    port: Figure::unverified(587),
    recipients_per_day: Figure::unverified(100),
    recipients_per_message: HUNDRED,
    connections: TWO,
    pace_per_minute: Figure::ours(10),
    ..MICROSOFT_365
};

pub(super) const ICLOUD: Profile = Profile {
    title: "iCloud Mail",
    host: Figure::unverified(Some("smtp.mail.me.com")),
    port: Figure::unverified(587),
    logs_in_as_mailbox: true,
    knows_hosts: false,
    recipients_per_day: Figure::stated(1_000, APPLE, READ),
    recipients_per_message: Figure::stated(500, APPLE, READ),
    message_bytes: Figure::stated(20_000_000, APPLE, READ),
    connections: TWO,
    pace_per_minute: TWENTY,
};

pub(super) const YAHOO: Profile = Profile {
    title: "Yahoo Mail",
    host: Figure::unverified(Some("smtp.mail.yahoo.com")),
    port: Figure::unverified(465),
    logs_in_as_mailbox: true,
    knows_hosts: false,
    recipients_per_day: Figure::stated(500, YAHOO_LIMITS, READ),
    recipients_per_message: Figure::stated(100, YAHOO_LIMITS, READ),
    message_bytes: AS_GMAIL,
    connections: TWO,
    pace_per_minute: Figure::ours(10),
};

pub(super) const FASTMAIL: Profile = Profile {
    title: "Fastmail",
    host: Figure::unverified(Some("smtp.fastmail.com")),
    port: Figure::unverified(465),
    logs_in_as_mailbox: true,
    knows_hosts: false,
    recipients_per_day: Figure::unverified(1_000),
    recipients_per_message: HUNDRED,
    message_bytes: AS_GMAIL,
    connections: TWO,
    pace_per_minute: TWENTY,
};

pub(super) const ZOHO: Profile = Profile {
    title: "Zoho Mail",
    host: Figure::unverified(Some("smtp.zoho.com")),
    port: Figure::unverified(465),
    logs_in_as_mailbox: true,
    knows_hosts: false,
    recipients_per_day: Figure::ours(500),
    recipients_per_message: Figure::stated(100, ZOHO_LIMITS, READ),
    message_bytes: Figure::ours(20_000_000),
    connections: TWO,
    pace_per_minute: Figure::ours(1),
};

pub(super) const SES: Profile = Profile {
    title: "Amazon SES",
    host: Figure::stated(None, SES_ENDPOINTS, READ),
    port: Figure::stated(587, SES_ENDPOINTS, READ),
    logs_in_as_mailbox: false,
    knows_hosts: false,
    recipients_per_day: Figure::stated(200, SES_QUOTAS, READ),
    recipients_per_message: Figure::stated(50, SES_RECIPIENTS, READ),
    message_bytes: Figure::stated(40_000_000, SES_QUOTAS, READ),
    connections: TWO,
    pace_per_minute: Figure::stated(60, SES_QUOTAS, READ),
};

pub(super) const MAILGUN: Profile = Profile {
    title: "Mailgun",
    host: Figure::unverified(Some("smtp.mailgun.org")),
    port: Figure::unverified(587),
    logs_in_as_mailbox: false,
    knows_hosts: false,
    recipients_per_day: Figure::unverified(100),
    recipients_per_message: HUNDRED,
    message_bytes: Figure::stated(25_000_000, MAILGUN_SIZE, READ),
    connections: TWO,
    pace_per_minute: TWENTY,
};

pub(super) const BREVO: Profile = Profile {
    title: "Brevo",
    host: Figure::unverified(Some("smtp-relay.brevo.com")),
    port: Figure::stated(465, BREVO_SERVER, READ),
    logs_in_as_mailbox: false,
    knows_hosts: false,
    recipients_per_day: Figure::stated(300, BREVO_PLAN, READ),
    recipients_per_message: Figure::ours(50),
    message_bytes: Figure::ours(20_000_000),
    connections: TWO,
    pace_per_minute: TWENTY,
};

pub(super) const SENDGRID: Profile = Profile {
    title: "SendGrid",
    host: Figure::stated(Some("smtp.sendgrid.net"), SENDGRID_SERVER, READ),
    port: Figure::stated(587, SENDGRID_SERVER, READ),
    logs_in_as_mailbox: false,
    knows_hosts: false,
    recipients_per_day: Figure::unverified(100),
    recipients_per_message: HUNDRED,
    message_bytes: Figure::ours(30_000_000),
    connections: TWO,
    pace_per_minute: TWENTY,
};

pub(super) const CUSTOM: Profile = Profile {
    title: "Any other server",
    host: Figure::ours(None),
    port: Figure::ours(587),
    logs_in_as_mailbox: true,
    knows_hosts: false,
    recipients_per_day: Figure::ours(500),
    recipients_per_message: HUNDRED,
    message_bytes: AS_GMAIL,
    connections: TWO,
    pace_per_minute: TWENTY,
};
