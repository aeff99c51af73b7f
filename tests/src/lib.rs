//! The binary as a process, against a real Synapse.
