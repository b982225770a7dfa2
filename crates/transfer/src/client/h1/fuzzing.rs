//! Answers of any bytes, read from a real socket: in one piece and in many, with the same result.

use std::future::Future;

use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};

use super::{Ask, Connection, Framing, Silence, head};
use crate::{client::wire::Wire, rules::patience::Setback};

/// A head is read, and a body up to its end, or neither; bytes that don't belong to the body never count as it.
///
/// The story: how many bytes arrive at once, how many are read at once, and what the server sends before it closes.
pub(crate) fn answer(story: &[u8]) {
    let [arrive, read, bytes @ ..] = story else { return };
    look_for_end(bytes);
    let (at_once, in_parts) = run(async {
        let at_once = exchange(bytes, bytes.len().max(1), 1 << 16).await;
        let in_parts = exchange(bytes, usize::from(*arrive) + 1, usize::from(*read) + 1).await;
        (at_once, in_parts)
    });
    assert_eq!(at_once, in_parts, "how bytes arrive makes no difference");
    let Outcome::Answer { framing, body, end } = at_once else { return };
    assert!(body.len() <= bytes.len());
    match framing {
        Framing::Length(length) => {
            assert_eq!(end.is_ok(), body.len() as u64 == length);
            assert!(bytes.windows(body.len().max(1)).any(|window| window == body) || body.is_empty());
        }
        Framing::UntilClose => assert!(end.is_ok() && bytes.ends_with(&body)),
        Framing::Chunked => assert!(end.is_err() || bytes.iter().filter(|byte| **byte == b'\n').count() >= 3),
    }
}

/// The end of a head is the same wherever one stopped looking before.
fn look_for_end(bytes: &[u8]) {
    let Some(end) = head::end(bytes, 0) else {
        assert_eq!(head::end(bytes, bytes.len()), None);
        return;
    };
    for looked in [1, end / 2, end.saturating_sub(2), end - 1] {
        assert_eq!(head::end(bytes, looked), Some(end), "looked up to {looked}");
        assert_eq!(head::end(bytes.get(..end - 1).unwrap_or_default(), looked.min(end - 1)), None);
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// No answer; whether the connection was closed before a byte of it.
    Silence(bool),
    Answer {
        framing: Framing,
        body: Vec<u8>,
        end: Result<(), Setback>,
    },
}

async fn exchange(bytes: &[u8], portion: usize, most: usize) -> Outcome {
    let Ok((client, mut server)) = pair().await else { panic!("no sockets") };
    let sending = async {
        for part in bytes.chunks(portion) {
            // A client that has seen enough hangs up.
            if server.write_all(part).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        server.shutdown().await.ok();
    };
    let reading = async {
        let mut connection = Connection::new(Wire::Tcp(client), None);
        let ask = Ask { base: "http://x", path: "/", headers: &http::HeaderMap::new() };
        let framing = match connection.ask(&ask).await {
            Ok(mut head) => head.framing(),
            Err(silence) => return Outcome::Silence(matches!(silence, Silence::Closed(_))),
        };
        let Ok(framing) = framing else { panic!("an answer whose end nobody knows") };
        let mut body = Vec::new();
        let end = loop {
            body.reserve_exact(most);
            let capacity = body.capacity();
            match connection.read(&mut body, most).await {
                Ok(0) => break Ok(()),
                Ok(read) => assert!(read <= most && body.capacity() == capacity, "no more than asked for"),
                Err(setback) => break Err(setback),
            }
        };
        assert!(end.is_err() || connection.is_at_end() || framing == Framing::UntilClose);
        Outcome::Answer { framing, body, end }
    };
    tokio::join!(sending, reading).1
}

async fn pair() -> std::io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let client = TcpStream::connect(listener.local_addr()?).await?;
    // Reset at the end: thousands of connections per second would use up the ports otherwise.
    client.set_zero_linger()?;
    let (server, _) = listener.accept().await?;
    server.set_nodelay(true)?;
    Ok((client, server))
}

fn run<T>(future: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: Option<Runtime> = tokio::runtime::Builder::new_current_thread().enable_all().build().ok();
    }
    RUNTIME.with(|runtime| match runtime {
        Some(runtime) => runtime.block_on(future),
        None => panic!("no runtime"),
    })
}
