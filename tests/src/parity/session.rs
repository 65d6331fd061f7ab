//! Connections to one node, and the answers so far.

use std::fmt::Debug;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use protocol::request::{RequestHeader, parse_response_header};
use protocol::{Decodable, Encodable, Request, StrBytes};

use super::normal::Normal;
use crate::node::Node;

/// The longest wait for one answer.
const LIMIT: Duration = Duration::from_secs(5);

/// What one request was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// API, version and what is special about the request.
    pub label: String,
    /// The answer, normalised; `closed` or `silence` when there was none.
    pub text: String,
}

/// A node being asked. Lane 0 is what [`Session::ask`] uses; a closed lane connects again when it is next used.
pub(crate) struct Session {
    addresses: [String; 2],
    lanes: Vec<Option<TcpStream>>,
    normal: Normal,
    answers: Vec<Answer>,
    correlation_id: i32,
}

/// The lane that leads to the controller's listener; the others lead to the broker's.
pub(crate) const CONTROLLER: usize = 3;

impl Session {
    pub(crate) fn new(node: &Node) -> Session {
        let directory = node.data().parent().expect("the data lies in the node's directory").to_path_buf();
        let properties = std::fs::read_to_string(directory.join("server.properties"))
            .expect("the node's properties can be read");
        let (_, controller) = properties.split_once(",CONTROLLER://").expect("the controller listens");
        let controller = controller.lines().next().unwrap_or_default().to_owned();
        let broker = node.bootstrap();
        let port = |address: &str| address.rsplit(':').next().unwrap_or_default().to_owned();
        let fixed = vec![
            (node.data().display().to_string(), "<data>".to_owned()),
            (format!("port: {}", port(&broker)), "port: <broker>".to_owned()),
            (format!("port: {}", port(&controller)), "port: <controller>".to_owned()),
            (format!("://127.0.0.1:{}", port(&broker)), "://<broker>".to_owned()),
            (format!("127.0.0.1:{}", port(&controller)), "<controller>".to_owned()),
        ];
        Session {
            addresses: [broker, controller],
            lanes: (0..=CONTROLLER).map(|_| None).collect(),
            normal: Normal::new(fixed),
            answers: Vec::new(),
            correlation_id: 0,
        }
    }

    /// Gives an id a name, which stands for it in all later answers.
    pub(crate) fn name_id(&mut self, id: uuid::Uuid, name: &str) {
        self.normal.name(id, name);
    }

    pub(crate) fn into_answers(self) -> Vec<Answer> {
        self.answers
    }

    /// Asks on lane 0 and notes the answer.
    pub(crate) fn ask<R>(&mut self, version: i16, label: &str, request: &R) -> Option<R::Response>
    where
        R: Request + Encodable,
        R::Response: Decodable + Debug,
    {
        self.ask_with(version, label, request, |_| {})
    }

    /// As [`Session::ask`], but `tidy` may sort what has no order, or remove what is not compared.
    pub(crate) fn ask_with<R>(
        &mut self,
        version: i16,
        label: &str,
        request: &R,
        tidy: impl FnOnce(&mut R::Response),
    ) -> Option<R::Response>
    where
        R: Request + Encodable,
        R::Response: Decodable + Debug,
    {
        self.send(0, version, request);
        self.receive::<R>(0, version, label, tidy)
    }

    /// Asks on lane 0 until the answer is what the test needs to go on; nothing is noted.
    pub(crate) fn until<R>(
        &mut self,
        version: i16,
        request: &R,
        good: impl Fn(&R::Response) -> bool,
    ) -> R::Response
    where
        R: Request + Encodable,
        R::Response: Decodable + Debug,
    {
        for _ in 0..400 {
            self.send(0, version, request);
            if let Ok(answer) = self.read::<R>(0, version)
                && good(&answer)
            {
                return answer;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{} v{version} is never answered as needed", api::<R>());
    }

    /// Sends a request; [`Session::receive`] reads its answer.
    pub(crate) fn send<R: Request + Encodable>(&mut self, lane: usize, version: i16, request: &R) {
        let mut body = BytesMut::new();
        request
            .encode(&mut body, version)
            .unwrap_or_else(|e| panic!("{} v{version} cannot be sent: {e}", api::<R>()));
        self.send_body(lane, R::KEY, version, &body);
    }

    /// Sends a request with this body, whatever it is.
    pub(crate) fn send_body(&mut self, lane: usize, key: i16, version: i16, body: &[u8]) {
        self.correlation_id += 1;
        let mut frame = BytesMut::new();
        RequestHeader::put(key, version, self.correlation_id, Some("parity"), &mut frame);
        frame.extend_from_slice(body);
        self.send_frame(lane, &frame);
    }

    /// Sends a frame with its size before it.
    pub(crate) fn send_frame(&mut self, lane: usize, frame: &[u8]) {
        let mut bytes = BytesMut::new();
        bytes.put_i32(frame.len() as i32);
        bytes.extend_from_slice(frame);
        self.send_bytes(lane, &bytes);
    }

    /// Sends bytes as they are.
    pub(crate) fn send_bytes(&mut self, lane: usize, bytes: &[u8]) {
        if self.lanes[lane].is_none() {
            let address = &self.addresses[usize::from(lane == CONTROLLER)];
            let stream = TcpStream::connect(address).expect("the node accepts");
            stream.set_read_timeout(Some(LIMIT)).expect("a timeout can be set");
            stream.set_nodelay(true).expect("an option can be set");
            self.lanes[lane] = Some(stream);
        }
        if let Some(stream) = &mut self.lanes[lane] {
            // A node that has closed already is seen when the answer is read.
            let _ = stream.write_all(bytes);
        }
    }

    /// Reads the answer to the oldest request of the lane that has none, and notes it.
    pub(crate) fn receive<R>(
        &mut self,
        lane: usize,
        version: i16,
        label: &str,
        tidy: impl FnOnce(&mut R::Response),
    ) -> Option<R::Response>
    where
        R: Request,
        R::Response: Decodable + Debug,
    {
        let mut answer = self.read::<R>(lane, version);
        if let Ok(answer) = &mut answer {
            tidy(answer);
        }
        let text = match &answer {
            Ok(answer) => format!("{answer:?}"),
            Err(why) => why.clone(),
        };
        self.note(format!("{} v{version} {label}", api::<R>()), &text);
        answer.ok()
    }

    /// Notes something that is not the answer to a generated request.
    pub(crate) fn note(&mut self, label: String, text: &str) {
        let text = self.normal.text(text);
        if text == "silence" || std::env::var_os("PARITY_TRACE").is_some() {
            println!("{label}: {} characters", text.len());
        }
        assert!(self.answers.iter().all(|a| a.label != label), "{label} is used twice");
        self.answers.push(Answer { label, text });
    }

    fn read<R>(&mut self, lane: usize, version: i16) -> Result<R::Response, String>
    where
        R: Request,
        R::Response: Decodable,
    {
        let frame = self.read_frame(lane)?;
        let (_, start) =
            parse_response_header(R::KEY, version, &frame).map_err(|_| "bad header".to_owned())?;
        let mut body = frame.slice(start..);
        let answer = R::Response::decode(&mut body, version).map_err(|e| format!("undecodable: {e}"))?;
        if body.has_remaining() {
            return Err(format!("{} bytes too many", body.remaining()));
        }
        Ok(answer)
    }

    /// The next frame of a lane, or why there is none.
    pub(crate) fn read_frame(&mut self, lane: usize) -> Result<Bytes, String> {
        let result = self.try_read_frame(lane);
        if result.is_err() {
            self.lanes[lane] = None;
        }
        result.map_err(|e| {
            use std::io::ErrorKind::{TimedOut, WouldBlock};
            if matches!(e.kind(), TimedOut | WouldBlock) { "silence".to_owned() } else { "closed".to_owned() }
        })
    }

    fn try_read_frame(&mut self, lane: usize) -> std::io::Result<Bytes> {
        let Some(stream) = &mut self.lanes[lane] else { return Err(std::io::ErrorKind::NotConnected.into()) };
        let mut size = [0; 4];
        stream.read_exact(&mut size)?;
        let mut frame = vec![0; u32::from_be_bytes(size) as usize];
        stream.read_exact(&mut frame)?;
        Ok(Bytes::from(frame))
    }
}

/// The API's name.
fn api<R>() -> &'static str {
    let path = std::any::type_name::<R>();
    path.rsplit("::").next().unwrap_or(path).trim_end_matches("Request")
}

/// Text as the messages want it.
pub(crate) fn s(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
