//! One attempt: a connection, a response, and its body in pieces to the writer.

use std::time::Duration;

use reqwest::Response;
use tokio::time::{Instant, timeout, timeout_at};

use crate::{
    FetchError, Lie, ResolveReason, State,
    client::request,
    disk::writer::Work,
    rules::answer::{Answer, Asked, judge, refusal},
    rules::incoming::Incoming,
    rules::patience::Setback,
    rules::plan::Span,
    run::{Broken, Run},
};

/// So many wrong pieces in one body, and the rest isn't worth reading.
const WRONG_PER_BODY: u32 = 2;

impl Run<'_> {
    /// Asks for a span once, and takes in what comes.
    pub(crate) async fn attempt(&mut self, span: Span) -> Result<(), Broken> {
        let now = self.fetcher.config.clock.now();
        if self.supply.is_empty() {
            self.resolve(ResolveReason::First).await?;
        } else if self.supply.is_expired(now) {
            self.resolve(ResolveReason::Expired).await?;
        }
        self.show(State::Fetching);
        let (mut start, end) = self.plan.bytes(span);
        match &self.incoming {
            Some(incoming) if incoming.piece == span.first => start += incoming.arrived() as u64,
            _ => self.forget_incoming(),
        }
        let asked = Asked { start, end, size: self.manifest.size(), any_skip: self.supply.ignores_ranges() };
        let response = self.open(asked).await?;
        match judge(asked, response.status(), response.headers(), now) {
            Answer::Body { skip, page } => self.receive(response, asked, skip, page).await,
            Answer::Refusal(status) => {
                let body = timeout(self.fetcher.config.stall_after, request::error_body(response)).await;
                Err(refusal(status, &body.unwrap_or_default()).into())
            }
            Answer::Setback(setback) => {
                if setback == Setback::RangeIgnored {
                    self.supply.note_range_ignored();
                }
                Err(setback.into())
            }
        }
    }

    async fn open(&mut self, asked: Asked) -> Result<Response, Broken> {
        let source = self.supply.current().ok_or(FetchError::Gone)?;
        let asking = request::ask(&self.fetcher.client, source, asked.start, asked.end);
        tokio::select! {
            biased;
            _ = self.ears.interrupted() => Err(Setback::Interrupted.into()),
            answer = timeout(self.fetcher.config.stall_after, asking) => Ok(answer.map_err(|_| Setback::Stalled)??),
        }
    }

    async fn receive(&mut self, mut response: Response, asked: Asked, mut skip: u64, page: bool) -> Result<(), Broken> {
        let kept = self.incoming.as_ref().map_or(0, Incoming::arrived);
        let mut place = asked.start;
        let mut window = Window::new(self.fetcher.config.stall_after, self.fetcher.config.stall_bytes);
        while place < asked.end {
            let chunk = tokio::select! {
                biased;
                _ = self.ears.interrupted() => return Err(Setback::Interrupted.into()),
                chunk = timeout_at(window.deadline, response.chunk()) => chunk.map_err(|_| Setback::Stalled)?,
            };
            let chunk = match chunk {
                Ok(Some(chunk)) => chunk,
                // What looked like a page and was too short for the file was a page: none of it is kept.
                _ if page => {
                    if let Some(incoming) = &mut self.incoming {
                        incoming.forget_after(if incoming.piece == asked.start / PIECE { kept } else { 0 });
                    }
                    return Err(Setback::Page.into());
                }
                Ok(None) => return Err(Setback::Cut.into()),
                Err(error) => return Err(request::failure(&error).into()),
            };
            self.bytes_fetched += chunk.len() as u64;
            self.speed.add(chunk.len() as u64);
            window.arrived(chunk.len() as u64);

            let skipped = skip.min(chunk.len() as u64);
            skip -= skipped;
            let wanted = (chunk.len() as u64 - skipped).min(asked.end - place);
            let from = usize::try_from(skipped).unwrap_or(usize::MAX);
            let to = usize::try_from(skipped + wanted).unwrap_or(usize::MAX);
            self.patience.received(wanted);
            self.take(chunk.get(from..to).unwrap_or_default(), &mut place).await?;
            self.show(State::Fetching);
        }
        Ok(())
    }

    /// Puts bytes where they belong, at `place` in the blob; full pieces go to the writer.
    async fn take(&mut self, mut bytes: &[u8], place: &mut u64) -> Result<(), Broken> {
        while !bytes.is_empty() {
            let mut incoming = match self.incoming.take() {
                Some(incoming) => incoming,
                None => {
                    let buffer = self.buffer().await?;
                    Incoming::new(&self.manifest, *place / PIECE, buffer)
                }
            };
            let rest = incoming.take(bytes);
            *place += (bytes.len() - rest.len()) as u64;
            bytes = rest;
            if !incoming.is_full() {
                self.incoming = Some(incoming);
                continue;
            }
            self.plan.sent(incoming.piece);
            let work = Work { piece: incoming.piece, buffer: incoming.buffer };
            self.writer.send(work).await.map_err(FetchError::from)?;
            self.settle_ready()?;
            if self.wrong_here >= WRONG_PER_BODY {
                return Err(Setback::Lied(Lie::Bytes).into());
            }
        }
        Ok(())
    }

    async fn buffer(&mut self) -> Result<Vec<u8>, FetchError> {
        loop {
            if let Some(buffer) = self.writer.buffer() {
                return Ok(buffer);
            }
            let done = self.writer.next_done().await?;
            self.settle(done)?;
        }
    }

    fn forget_incoming(&mut self) {
        if let Some(incoming) = self.incoming.take() {
            self.writer.give_back(incoming.buffer);
        }
    }
}

const PIECE: u64 = carrel_model::pieces::PIECE_BYTES;

/// Enough bytes must arrive before the deadline, which then moves on.
struct Window {
    length: Duration,
    least: u64,
    deadline: Instant,
    arrived: u64,
}

impl Window {
    fn new(length: Duration, least: u64) -> Self {
        Self { length, least, deadline: Instant::now() + length, arrived: 0 }
    }

    fn arrived(&mut self, bytes: u64) {
        self.arrived += bytes;
        if self.arrived >= self.least {
            self.arrived = 0;
            self.deadline = Instant::now() + self.length;
        }
    }
}
