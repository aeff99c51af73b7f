//! A TCP relay before a service: its connections can be cut, refused and slowed down.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Result;

pub struct Relay {
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    target: u16,
    refuses: AtomicBool,
    ended: AtomicBool,
    delay_ms: AtomicU64,
    /// Both ends of everything that was let through.
    open: Mutex<Vec<TcpStream>>,
}

impl Relay {
    /// Whoever connects is connected to `target` on this machine.
    pub fn start(target: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            target,
            refuses: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            delay_ms: AtomicU64::new(0),
            open: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if accepting.ended.load(Ordering::SeqCst) {
                    return;
                }
                // A failure closes the connection, which is all that its client can be told.
                let _ = accepting.connect(stream);
            }
        });
        Ok(Self { port, shared })
    }

    /// Cuts every connection, and each new one at once, until `mend`.
    pub fn cut(&self) {
        self.shared.refuses.store(true, Ordering::SeqCst);
        self.shared.close_all();
    }

    pub fn mend(&self) {
        self.shared.refuses.store(false, Ordering::SeqCst);
    }

    /// Each piece that the service says from now on comes this much later.
    pub fn slow_down(&self, delay: Duration) {
        self.shared.delay_ms.store(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.shared.close_all();
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

impl Shared {
    fn close_all(&self) {
        for stream in self.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn connect(self: &Arc<Self>, client: TcpStream) -> Result<()> {
        if self.refuses.load(Ordering::SeqCst) {
            return Ok(());
        }
        let service = TcpStream::connect(("127.0.0.1", self.target))?;
        client.set_nodelay(true)?;
        service.set_nodelay(true)?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.extend([client.try_clone()?, service.try_clone()?]);
        drop(open);
        if self.refuses.load(Ordering::SeqCst) {
            // Cut since we looked.
            self.close_all();
        }
        let (shared, from, to) = (Arc::clone(self), client.try_clone()?, service.try_clone()?);
        thread::spawn(move || shared.copy(from, to, false));
        let shared = Arc::clone(self);
        thread::spawn(move || shared.copy(service, client, true));
        Ok(())
    }

    fn copy(&self, mut from: TcpStream, mut to: TcpStream, slowly: bool) {
        let mut buffer = [0; 16 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let delay = Duration::from_millis(self.delay_ms.load(Ordering::SeqCst));
            if slowly && !delay.is_zero() {
                thread::sleep(delay);
            }
            if to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        // Whichever side ended, the other learns of it.
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}
