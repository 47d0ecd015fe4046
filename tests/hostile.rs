//! Attacks: slow or malformed requests, injection through message values, and malicious upstream answers.

mod bodies;
mod clients;
mod upstreams;
mod values;
