//! Plays one [`Act`] on the socket.

use std::{io, sync::atomic::Ordering, time::Duration};

use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::sleep};

use super::{Act, Stage};

const PORTION: usize = 256 << 10;
/// With a rate, portions are small so that the flow is even.
const SLOW_PORTION: usize = 16 << 10;

/// An answer before its body is written.
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    /// Where the body begins in the blob, and where it ends.
    first: u64,
    end: u64,
}

/// Answers one request; `false` when the connection is to be closed.
pub(super) async fn reply(
    stream: &mut TcpStream,
    stage: &Stage,
    range: Option<(u64, Option<u64>)>,
    act: Act,
) -> io::Result<bool> {
    let size = stage.content.len() as u64;
    let well = well(size, range);
    match act {
        Act::Serve => {
            head(stream, &well).await?;
            if well.status == 416 {
                return Ok(true);
            }
            bytes(stream, stage, well.first, well.end).await?;
            Ok(true)
        }
        Act::CutAfter(length) => {
            head(stream, &well).await?;
            bytes(stream, stage, well.first, well.end.min(well.first + length)).await?;
            Ok(false)
        }
        Act::ResetAfter(length) => {
            head(stream, &well).await?;
            bytes(stream, stage, well.first, well.end.min(well.first + length)).await?;
            stream.set_zero_linger()?;
            Ok(false)
        }
        Act::StallAfter(length) => {
            head(stream, &well).await?;
            bytes(stream, stage, well.first, well.end.min(well.first + length)).await?;
            std::future::pending().await
        }
        Act::Trickle(every_ms) => {
            head(stream, &well).await?;
            for at in well.first..well.end {
                bytes(stream, stage, at, at + 1).await?;
                sleep(Duration::from_millis(every_ms)).await;
            }
            Ok(true)
        }
        Act::Whole => {
            let whole = whole(size);
            head(stream, &whole).await?;
            bytes(stream, stage, 0, size).await?;
            Ok(true)
        }
        Act::Beside { shift, honest } => {
            let first = well.first.saturating_add_signed(shift).min(size);
            let end = if honest { well.end.max(first) } else { (first + (well.end - well.first)).min(size) };
            let told = if honest { first } else { well.first };
            let answer = partial(size, told, told + (end - first));
            head(stream, &answer).await?;
            bytes(stream, stage, first, end).await?;
            Ok(true)
        }
        Act::NoContentRange => {
            let mut answer = well;
            answer.headers.retain(|(name, _)| name != "Content-Range");
            head(stream, &answer).await?;
            bytes(stream, stage, answer.first, answer.end).await?;
            Ok(true)
        }
        Act::Shorter(length) => {
            let answer = partial(size, well.first, well.end.min(well.first + length));
            head(stream, &answer).await?;
            bytes(stream, stage, answer.first, answer.end).await?;
            Ok(true)
        }
        Act::Changed(offsets) => {
            head(stream, &well).await?;
            let mut at = well.first;
            let mut offsets: Vec<u64> = offsets.into_iter().filter(|at| (well.first..well.end).contains(at)).collect();
            offsets.sort_unstable();
            for offset in offsets {
                bytes(stream, stage, at, offset).await?;
                let byte = usize::try_from(offset).ok().and_then(|offset| stage.content.get(offset)).copied();
                write(stream, stage, &[!byte.unwrap_or_default()]).await?;
                at = offset + 1;
            }
            bytes(stream, stage, at, well.end).await?;
            Ok(true)
        }
        Act::Extra(length) => {
            head(stream, &well).await?;
            bytes(stream, stage, well.first, well.end).await?;
            write(stream, stage, &vec![b'!'; usize::try_from(length).unwrap_or(0)]).await?;
            Ok(false)
        }
        Act::Gzip => {
            let mut answer = well;
            answer.headers.push(("Content-Encoding".to_owned(), "gzip".to_owned()));
            head(stream, &answer).await?;
            bytes(stream, stage, answer.first, answer.end).await?;
            Ok(true)
        }
        Act::Chunked(cut) => {
            let mut answer = well;
            answer.headers.retain(|(name, _)| name != "Content-Length");
            answer.headers.push(("Transfer-Encoding".to_owned(), "chunked".to_owned()));
            head(stream, &answer).await?;
            chunks(stream, stage, answer.first, answer.end, cut).await
        }
        Act::UntilClose(cut) => {
            let mut answer = well;
            answer.headers.retain(|(name, _)| name != "Content-Length");
            answer.headers.push(("Connection".to_owned(), "close".to_owned()));
            head(stream, &answer).await?;
            bytes(stream, stage, answer.first, answer.end.min(answer.first + cut.unwrap_or(size))).await?;
            Ok(false)
        }
        Act::Length(text) => {
            let mut answer = well;
            for (name, value) in &mut answer.headers {
                match name.as_str() {
                    "Content-Length" => value.clone_from(&text),
                    "Content-Range" => *value = format!("bytes {}-{}/{text}", answer.first, answer.end - 1),
                    _ => {}
                }
            }
            head(stream, &answer).await?;
            bytes(stream, stage, answer.first, answer.end).await?;
            Ok(false)
        }
        Act::Status(status, mut headers, body) => {
            headers.push(("Content-Length".to_owned(), body.len().to_string()));
            head(stream, &Answer { status, headers, first: 0, end: 0 }).await?;
            stream.write_all(&body).await?;
            Ok(true)
        }
        Act::Close => Ok(false),
        Act::Silent => std::future::pending().await,
        Act::Headers(length) => {
            stream.write_all(b"HTTP/1.1 206 Partial Content\r\n").await?;
            for _ in 0..length.div_ceil(100) {
                stream.write_all(format!("X-Padding: {}\r\n", "x".repeat(87)).as_bytes()).await?;
            }
            stream.write_all(b"Content-Length: 0\r\n\r\n").await?;
            Ok(false)
        }
        Act::Endless1xx => loop {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
            sleep(Duration::from_millis(1)).await;
        },
    }
}

fn well(size: u64, range: Option<(u64, Option<u64>)>) -> Answer {
    match range {
        None => whole(size),
        Some((first, _)) if first >= size => {
            let told = vec![
                ("Content-Range".to_owned(), format!("bytes */{size}")),
                ("Content-Length".to_owned(), "0".to_owned()),
            ];
            Answer { status: 416, headers: told, first: 0, end: 0 }
        }
        Some((first, last)) => partial(size, first, last.map_or(size, |last| last.saturating_add(1).min(size))),
    }
}

fn whole(size: u64) -> Answer {
    let headers = vec![("Content-Length".to_owned(), size.to_string())];
    Answer { status: 200, headers, first: 0, end: size }
}

fn partial(size: u64, first: u64, end: u64) -> Answer {
    let headers = vec![
        ("Content-Length".to_owned(), (end - first).to_string()),
        ("Content-Range".to_owned(), format!("bytes {first}-{}/{size}", end.saturating_sub(1))),
    ];
    Answer { status: 206, headers, first, end }
}

async fn head(stream: &mut TcpStream, answer: &Answer) -> io::Result<()> {
    let mut text = format!("HTTP/1.1 {} As Scripted\r\n", answer.status);
    for (name, value) in &answer.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    stream.write_all(text.as_bytes()).await
}

async fn bytes(stream: &mut TcpStream, stage: &Stage, first: u64, end: u64) -> io::Result<()> {
    let range = usize::try_from(first).unwrap_or(usize::MAX)..usize::try_from(end).unwrap_or(usize::MAX);
    write(stream, stage, stage.content.get(range).unwrap_or_default()).await
}

async fn write(stream: &mut TcpStream, stage: &Stage, bytes: &[u8]) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let rate = stage.rate.load(Ordering::Relaxed);
        let (portion, later) = rest.split_at(rest.len().min(if rate > 0 { SLOW_PORTION } else { PORTION }));
        stream.write_all(portion).await?;
        stage.body_bytes.fetch_add(portion.len() as u64, Ordering::Relaxed);
        if let Some(micros) = (portion.len() as u64 * 1_000_000).checked_div(rate) {
            sleep(Duration::from_micros(micros)).await;
        }
        rest = later;
    }
    Ok(())
}

async fn chunks(stream: &mut TcpStream, stage: &Stage, first: u64, end: u64, cut: Option<u64>) -> io::Result<bool> {
    let mut at = first;
    let stop = cut.map_or(end, |cut| end.min(first + cut));
    while at < stop {
        let next = stop.min(at + SLOW_PORTION as u64);
        stream.write_all(format!("{:x}\r\n", next - at).as_bytes()).await?;
        bytes(stream, stage, at, next).await?;
        stream.write_all(b"\r\n").await?;
        at = next;
    }
    if cut.is_none() {
        stream.write_all(b"0\r\n\r\n").await?;
    }
    Ok(cut.is_none())
}
