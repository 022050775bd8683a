//! The door as its clients meet it: a listener with the memory twin of the queue, real sockets on loopback,
//! and a clock that the test moves.

mod encryption;
mod limits;
mod logins;
mod proxy;
mod stage;
mod whole;
