//! Everything that a rule can ask of a message.
//!
//! Rule: borrowed where it lies; nothing is copied for a judgement.

use std::net::IpAddr;

use crate::{
    message::{
        envelope::{Envelope, LocalUser},
        excerpt::Excerpt,
    },
    smtp::address::Address,
};

/// What is known of a message when all of it is here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    /// The client's address; 127.0.0.1 for a program of this host.
    pub(crate) client: IpAddr,
    /// Who has logged in.
    pub(crate) login: Option<&'a str>,
    /// Whose program handed it over.
    pub(crate) user: Option<&'a LocalUser>,
    /// `None` is the null reverse path.
    pub(crate) reverse_path: Option<&'a Address>,
    /// Those that it goes to, after aliases.
    pub(crate) forward_paths: &'a [Address],
    /// The fields that the rules look at ([`super::Rules::wanted`]).
    pub(crate) excerpt: &'a Excerpt,
    /// Octets of the message.
    pub(crate) size_bytes: u64,
    /// The hour of the local day.
    pub(crate) hour: u8,
}

impl<'a> Facts<'a> {
    /// Those of a message with this envelope.
    pub(crate) fn of(
        envelope: &'a Envelope,
        excerpt: &'a Excerpt,
        size_bytes: u64,
        hour: u8,
    ) -> Self {
        let origin = &envelope.origin;
        Self {
            client: origin.address.to_canonical(),
            login: origin.login.as_deref(),
            user: origin.local.as_ref(),
            reverse_path: envelope.reverse_path.as_ref(),
            forward_paths: &envelope.forward_paths,
            excerpt,
            size_bytes,
            hour,
        }
    }
}
