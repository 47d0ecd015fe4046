//! Those who mean ill: senders that are slow or send nonsense, messages whose values want to be
//! something else, and upstreams that answer with traps.

mod bodies;
mod clients;
mod upstreams;
mod values;
