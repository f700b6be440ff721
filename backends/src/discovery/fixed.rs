//! Instances and settings that never change: for one process, and for hosts without Consul.
