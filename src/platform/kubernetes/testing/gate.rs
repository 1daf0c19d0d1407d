//! A way to the API server that can be shut: what is sent meanwhile arrives when it opens.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// The pause between two looks at a gate that is shut.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// Passes bytes on in both directions while it is open. Ends with the process.
#[derive(Debug)]
pub(in crate::platform::kubernetes) struct Gate {
    /// Where it listens, on loopback.
    pub(in crate::platform::kubernetes) address: String,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    is_shut: AtomicBool,
    /// Pieces that were read and wait for the gate.
    held: AtomicUsize,
}

impl Gate {
    /// An open gate before this address.
    pub(in crate::platform::kubernetes) fn before(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound port").to_string();
        let state = Arc::<State>::default();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&target) else { continue };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let from = from.try_clone().expect("a socket");
                    let to = to.try_clone().expect("a socket");
                    let state = Arc::clone(&shared);
                    std::thread::spawn(move || pass(from, to, &state));
                }
            }
        });
        Self { address, state }
    }

    pub(in crate::platform::kubernetes) fn shut(&self) {
        self.state.is_shut.store(true, Ordering::SeqCst);
    }

    pub(in crate::platform::kubernetes) fn open(&self) {
        self.state.is_shut.store(false, Ordering::SeqCst);
    }

    /// How many pieces wait for the gate.
    pub(in crate::platform::kubernetes) fn held(&self) -> usize {
        self.state.held.load(Ordering::SeqCst)
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, state: &State) {
    let mut piece = vec![0; 1 << 16];
    while let Ok(read @ 1..) = from.read(&mut piece) {
        state.held.fetch_add(1, Ordering::SeqCst);
        while state.is_shut.load(Ordering::SeqCst) {
            std::thread::park_timeout(LOOK_INTERVAL);
        }
        let written = to.write_all(&piece[..read]);
        state.held.fetch_sub(1, Ordering::SeqCst);
        if written.is_err() {
            break;
        }
    }
    drop(to.shutdown(std::net::Shutdown::Both));
}
