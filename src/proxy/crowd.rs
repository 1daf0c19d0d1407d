//! How many connections an address has.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use dashmap::{DashMap, mapref::entry::Entry};

/// Who counts as one client: an IPv4 address, or a /64 of IPv6, which one client has to itself and
/// could use up address by address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum AddressKey {
    /// An IPv4 address, also one that comes as IPv6.
    V4(Ipv4Addr),
    /// The first half of an IPv6 address.
    V6(u64),
}

impl AddressKey {
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self::V6([a, b, c, d].iter().fold(0, |half, s| half << 16 | u64::from(*s)))
            }
        }
    }
}

/// The connections of each address. It holds as many addresses as there are connections at most.
#[derive(Debug, Default)]
pub(super) struct Crowd(Arc<DashMap<AddressKey, usize>>);

/// One connection of an address, until dropped.
#[derive(Debug)]
pub(super) struct Seat {
    crowd: Arc<DashMap<AddressKey, usize>>,
    key: AddressKey,
}

impl Crowd {
    /// A place for one more connection, unless its address has `most` already.
    pub(super) fn enter(&self, address: IpAddr, most: usize) -> Option<Seat> {
        let key = AddressKey::of(address);
        let mut count = self.0.entry(key).or_insert(0);
        if *count >= most {
            return None;
        }
        *count += 1;
        drop(count);
        Some(Seat { crowd: Arc::clone(&self.0), key })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = self.crowd.entry(self.key) {
            let count = entry.get_mut();
            *count = count.saturating_sub(1);
            if *count == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_its_places_and_no_more_and_gets_them_back() {
        let crowd = Crowd::default();
        let mut seats: Vec<_> = (0..3).map(|_| crowd.enter(ip("192.0.2.1"), 3)).collect();
        assert!(seats.iter().all(Option::is_some));
        assert!(crowd.enter(ip("192.0.2.1"), 3).is_none());
        assert!(crowd.enter(ip("::ffff:192.0.2.1"), 3).is_none(), "the same address");
        assert!(crowd.enter(ip("192.0.2.2"), 3).is_some());
        drop(seats.pop());
        assert!(crowd.enter(ip("192.0.2.1"), 3).is_some());
        drop(seats);
        assert!(crowd.0.is_empty(), "nobody is remembered who has left");
    }

    #[test]
    fn a_64_of_ipv6_is_one_client() {
        let crowd = Crowd::default();
        let _seat = crowd.enter(ip("2001:db8:0:1::1"), 1).unwrap();
        assert!(crowd.enter(ip("2001:db8:0:1:ffff:ffff:ffff:ffff"), 1).is_none());
        assert!(crowd.enter(ip("2001:db8:0:2::1"), 1).is_some());
        assert!(crowd.enter(ip("2001:db8:1:1::1"), 1).is_some());
    }
}
