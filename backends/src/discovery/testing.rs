//! The contract suite of the port.
