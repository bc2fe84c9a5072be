//! A WebSocket client at the level of bytes, which can break the protocol.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::frames::{BINARY, CLOSE, PONG, client_frame, close_payload, server_frame};
use crate::messages::{Reply, Request, connect, find};

/// A connection and the received bytes that were not yet parsed.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) stream: TcpStream,
    arrived: Vec<u8>,
}

/// One frame from the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) first: u8,
    pub(crate) payload: Vec<u8>,
}

impl Socket {
    /// A connection that has sent nothing.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::over(connect(address))
    }

    /// The same over a connection that is there.
    pub(crate) fn over(stream: TcpStream) -> Self {
        Self { stream, arrived: Vec::new() }
    }

    /// A connection that was upgraded on `/echo`.
    pub(crate) fn open(address: SocketAddr) -> Self {
        let mut socket = Self::connect(address);
        socket.send(&Request::upgrade("/echo").bytes());
        let reply = socket.receive_head();
        assert_eq!(reply.status, 101, "{reply:?}");
        socket
    }

    /// The head of the reply to a request. The client stays until it has it: who shuts its sending side down while
    /// others are asked whether it may come in has left.
    pub(crate) fn reply_to(address: SocketAddr, request: &Request) -> Reply {
        let mut socket = Self::connect(address);
        socket.send(&request.bytes());
        socket.receive_head()
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the gateway takes what is sent");
    }

    /// Receives the head of a reply; bytes behind it stay unparsed.
    pub(crate) fn receive_head(&mut self) -> Reply {
        let end = loop {
            match find(&self.arrived, b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => assert!(self.receive().unwrap() > 0, "the connection ended"),
            }
        };
        Reply::parse(&self.arrived.drain(..end).collect::<Vec<u8>>())
    }

    /// Receives a frame, which must be unmasked and have the minimal length encoding.
    pub(crate) fn receive_frame(&mut self) -> Frame {
        self.try_receive_frame().expect("the connection goes on")
    }

    /// As [`Socket::receive_frame`]; `None` if the connection ends before the frame does.
    pub(crate) fn try_receive_frame(&mut self) -> Option<Frame> {
        let [first, second] = self.try_take(2)?[..] else { unreachable!() };
        let payload_len = match second {
            126 => {
                let long = u64::from(u16::from_be_bytes(self.try_take(2)?.try_into().unwrap()));
                assert!(long > 125);
                long
            }
            127 => {
                let long = u64::from_be_bytes(self.try_take(8)?.try_into().unwrap());
                assert!(long > 0xFFFF);
                long
            }
            short => {
                assert!(short <= 125, "masked");
                u64::from(short)
            }
        };
        let payload = self.try_take(usize::try_from(payload_len).unwrap())?;
        Some(Frame { first, payload })
    }

    /// Sends a message and checks that it is echoed.
    pub(crate) fn assert_echoes(&mut self, payload: &[u8]) {
        self.send(&client_frame(BINARY, payload));
        let frame = self.receive_frame();
        assert_eq!(frame, Frame { first: BINARY, payload: payload.to_vec() });
    }

    /// Checks that the gateway closes the connection with this code, before the client does.
    pub(crate) fn assert_closed_with(&mut self, code: u16) {
        self.assert_close_answered(code);
        // The gateway lingers: if it had closed the socket, these would be answered with a reset.
        let stray = server_frame(PONG, &[0; 125]);
        self.send(&stray);
        self.send(&stray);
    }

    /// Checks that a close frame with this code comes next, then the end of the connection.
    pub(crate) fn assert_close_answered(&mut self, code: u16) {
        let frame = self.receive_frame();
        assert_eq!(frame.first, CLOSE, "{frame:?}");
        let close = frame.payload.split_first_chunk().expect("a code");
        assert_eq!(u16::from_be_bytes(*close.0), code);
        assert!(str::from_utf8(close.1).is_ok());
        self.assert_ended();
    }

    /// Checks that the gateway closes the connection with a FIN and without another byte.
    pub(crate) fn assert_ended(&mut self) {
        let count = self.receive().expect("an orderly end");
        assert_eq!((count, &self.arrived[..]), (0, &[][..]));
    }

    /// Closes with 1000 and waits for the answer.
    pub(crate) fn close(mut self) {
        self.send(&client_frame(CLOSE, &close_payload(1000, "")));
        self.assert_close_answered(1000);
    }

    /// Receives this number of bytes.
    pub(crate) fn take(&mut self, count: usize) -> Vec<u8> {
        self.try_take(count).expect("the connection goes on")
    }

    /// As [`Socket::take`]; `None` if the connection ends before.
    fn try_take(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.arrived.len() < count {
            match self.receive() {
                Ok(0) => return None,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return None,
                read => read.unwrap(),
            };
        }
        Some(self.arrived.drain(..count).collect())
    }

    fn receive(&mut self) -> io::Result<usize> {
        let mut room = [0; 64 << 10];
        let count = loop {
            match self.stream.read(&mut room) {
                // The end of another test's child may interrupt a read that has a timeout (signal(7)).
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.arrived.extend_from_slice(&room[..count]);
        Ok(count)
    }
}
