//! A client that speaks in frames, so that a test sees exactly what comes back.

use super::Stage;
use crate::gateway::frame::{Frame, FrameStream};
use crate::gateway::message;
use bytes::{BufMut, Bytes, BytesMut};
use tokio::net::UnixStream;

pub(super) struct Client {
    pub stream: FrameStream<UnixStream>,
    /// Process id and secret, as the front gave them.
    pub key: (u32, Bytes),
    /// What the front reported about the server, in order; kept apart from the answers.
    pub parameters: Vec<String>,
}

impl Client {
    /// A session on content 0.
    pub async fn new(stage: &Stage) -> Client {
        let mut client = Client::raw(stage).await;
        client.startup("content0").await;
        let greeting = client.until_ready().await;
        assert!(greeting.contains(&"Z I".to_owned()), "{greeting:?}");
        client
    }

    /// A connection that has said nothing yet.
    pub async fn raw(stage: &Stage) -> Client {
        let stream = UnixStream::connect(stage.front.socket_path()).await;
        Client {
            stream: FrameStream::new(stream.expect("the front listens")),
            key: (0, Bytes::new()),
            parameters: Vec::new(),
        }
    }

    pub async fn startup(&mut self, database: &str) {
        let pairs = [("user", "ann"), ("database", database)];
        let pairs = pairs.map(|(n, v)| (n.to_owned(), v.to_owned()));
        self.write(&message::startup(&pairs)).await;
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        self.stream.write(bytes).await.expect("the front reads");
    }

    pub async fn send(&mut self, text: &str) {
        self.write(&message::query(text.as_bytes())).await;
    }

    /// A simple query and its answer.
    pub async fn query(&mut self, text: &str) -> Vec<String> {
        self.send(text).await;
        self.until_ready().await
    }

    /// The messages up to ReadyForQuery, or to the end; each as its type and what matters in it.
    pub async fn until_ready(&mut self) -> Vec<String> {
        self.until(|tag| tag == b'Z').await
    }

    pub async fn until(&mut self, last: impl Fn(u8) -> bool) -> Vec<String> {
        let mut all = Vec::new();
        while let Ok(Some(frame)) = self.stream.next().await {
            if frame.tag() == b'K' {
                let body = frame.body();
                let pid = body[..4].try_into().map(u32::from_be_bytes);
                self.key = (pid.expect("four bytes"), body.slice(4..));
            }
            if frame.tag() == b'S' {
                self.parameters.push(shown(&frame));
            } else {
                all.push(shown(&frame));
            }
            if last(frame.tag()) {
                return all;
            }
        }
        all.push("end".to_owned());
        all
    }
}

fn shown(frame: &Frame) -> String {
    let tag = frame.tag() as char;
    let body = frame.body();
    match frame.tag() {
        b'E' => format!("E {}", message::read_error(body).code),
        b'N' => format!("N {}", message::read_error(body).message),
        b'C' | b'S' | b'Z' => {
            let text = String::from_utf8_lossy(&body).replace('\0', " ");
            format!("{tag} {}", text.trim_end())
        }
        b'D' => format!("D {}", String::from_utf8_lossy(&body[6..])),
        _ => tag.to_string(),
    }
}

/// Messages of the extended protocol, one after the other.
#[derive(Default)]
pub(super) struct Extended(BytesMut);

impl Extended {
    pub fn parse(mut self, name: &str, text: &str) -> Extended {
        message::put(&mut self.0, b'P', |b| {
            message::put_cstr(b, name);
            message::put_cstr(b, text);
            b.put_u16(0);
        });
        self
    }

    pub fn bind(mut self, portal: &str, statement: &str) -> Extended {
        message::put(&mut self.0, b'B', |b| {
            message::put_cstr(b, portal);
            message::put_cstr(b, statement);
            b.put_slice(&[0; 6]);
        });
        self
    }

    pub fn describe(mut self, of: u8, name: &str) -> Extended {
        message::put(&mut self.0, b'D', |b| {
            b.put_u8(of);
            message::put_cstr(b, name);
        });
        self
    }

    pub fn execute(mut self, portal: &str) -> Extended {
        message::put(&mut self.0, b'E', |b| {
            message::put_cstr(b, portal);
            b.put_u32(0);
        });
        self
    }

    /// Parse, Bind and Execute of an unnamed statement.
    pub fn run(self, text: &str) -> Extended {
        self.parse("", text).bind("", "").execute("")
    }

    pub fn flush(mut self) -> BytesMut {
        self.0.extend_from_slice(&message::bare(b'H'));
        self.0
    }

    pub fn sync(mut self) -> BytesMut {
        self.0.extend_from_slice(&message::bare(b'S'));
        self.0
    }
}
