//! How many connections each address has, so that one cannot take those of all others.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The part of an IPv6 address that is its network. Whoever has one address has all of its /64.
const IPV6_NETWORK: u128 = !0 << 64;

/// Counts the open connections of each address.
pub(super) struct Peers {
    max_each: usize,
    /// Only addresses that have connections, so never more than there may be connections.
    open: Mutex<HashMap<IpAddr, usize>>,
}

impl Peers {
    /// At most `max_each` connections from any address.
    pub(super) fn new(max_each: usize) -> Arc<Self> {
        Arc::new(Self {
            max_each,
            open: Mutex::default(),
        })
    }

    /// Counts one more connection until the result is dropped; `None` if that is one too many.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Admitted> {
        let owner = owner(address);
        let mut open = self.open();
        let count = open.get(&owner).copied().unwrap_or_default();
        if count >= self.max_each {
            return None;
        }
        open.insert(owner, count + 1);
        drop(open);
        Some(Admitted {
            owner,
            peers: Arc::clone(self),
        })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that counts.
pub(super) struct Admitted {
    owner: IpAddr,
    peers: Arc<Peers>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut open = self.peers.open();
        if let Some(count) = open.get_mut(&self.owner) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.owner);
            }
        }
    }
}

/// What stands for all addresses that one client can have.
pub(super) fn owner(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & IPV6_NETWORK).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_have_their_own_connections() {
        let peers = Peers::new(2);
        let first = peers.admit(ip("192.0.2.1")).unwrap();
        let _second = peers.admit(ip("::ffff:192.0.2.1")).unwrap();
        assert!(peers.admit(ip("192.0.2.1")).is_none());
        let other = peers.admit(ip("192.0.2.2")).unwrap();
        drop(first);
        assert!(peers.admit(ip("192.0.2.1")).is_some());
        drop(other);
        assert_eq!(peers.open().len(), 1, "forgotten with the last connection");
    }

    #[test]
    fn an_ipv6_network_is_one_client() {
        let peers = Peers::new(1);
        let _open = peers.admit(ip("2001:db8:0:1::1")).unwrap();
        assert!(peers.admit(ip("2001:db8:0:1:ffff::2")).is_none());
        assert!(peers.admit(ip("2001:db8:0:2::1")).is_some());
    }
}
