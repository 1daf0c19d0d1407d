//! Free ports for replica processes.

use std::{
    collections::BTreeSet,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use parking_lot::Mutex;
use socket2::{Domain, Socket, Type};

/// How often a port is asked for when the kernel offers one that a replica of ours has.
const TRIES_MAX: u32 = 64;

/// The ports that replicas of this router have; clones are the same set.
#[derive(Debug, Clone, Default)]
pub(super) struct Ports(Arc<Mutex<BTreeSet<u16>>>);

/// One port of 127.0.0.1, not handed out again until dropped.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) number: u16,
    ports: Ports,
    /// Bound, but not listening: nobody else gets the port, and who connects is refused.
    held: Option<Socket>,
}

impl Ports {
    /// Takes a free port and holds it.
    pub(super) fn take(&self) -> io::Result<Port> {
        for _ in 0..TRIES_MAX {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
            let address = socket.local_addr()?.as_socket();
            let number = address.map(|address| address.port()).unwrap_or_default();
            if number != 0 && self.0.lock().insert(number) {
                return Ok(Port { number, ports: self.clone(), held: Some(socket) });
            }
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, "no free port on 127.0.0.1"))
    }
}

impl Port {
    /// Lets the replica bind it: called just before the process starts.
    pub(super) fn release(&mut self) {
        self.held = None;
    }

    /// Where it is.
    pub(super) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.number))
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.ports.0.lock().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_held_port_refuses_connections_and_others_and_a_released_one_can_be_bound() {
        let mut port = Ports::default().take().unwrap();
        let refused = TcpStream::connect(port.address()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        assert!(TcpListener::bind(port.address()).is_err());
        port.release();
        TcpListener::bind(port.address()).unwrap();
    }

    #[test]
    fn ports_differ_until_they_are_dropped() {
        let ports = Ports::default();
        let taken: Vec<_> = (0..50)
            .map(|_| {
                let mut port = ports.take().unwrap();
                port.release();
                port
            })
            .collect();
        assert_eq!(ports.0.lock().len(), 50);
        drop(taken);
        assert_eq!(ports.0.lock().len(), 0);
    }
}
