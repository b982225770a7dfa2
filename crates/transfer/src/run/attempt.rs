//! One attempt: a connection, a response, and its body in pieces to the writer.

use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use crate::{
    FetchError, Lie, ResolveReason, State,
    client::{Response, ask, error_body},
    disk::writer::Work,
    rules::answer::{Answer, Asked, judge, refusal},
    rules::incoming::Incoming,
    rules::patience::Setback,
    rules::plan::Span,
    run::{Broken, Run},
};

/// So many wrong pieces in one body, and the rest isn't worth reading.
const WRONG_PER_BODY: u32 = 2;
/// Bytes before the wanted ones are read in portions of this size.
const SKIP_BYTES: usize = 64 << 10;

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
                let body = timeout(self.fetcher.config.stall_after, error_body(response)).await;
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
        let asking = ask(&self.fetcher.client, &mut self.line, source, asked.start, asked.end);
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
        let mut skipped = Vec::new();
        while place < asked.end {
            if skip > 0 {
                skipped.clear();
                skipped.reserve_exact(SKIP_BYTES);
            } else if self.incoming.is_none() {
                let buffer = self.buffer().await?;
                self.incoming = Some(Incoming::new(&self.manifest, place / PIECE, buffer));
            }
            let (into, most) = match &mut self.incoming {
                Some(incoming) if skip == 0 => {
                    let room = incoming.room();
                    (&mut incoming.buffer, room)
                }
                _ => (&mut skipped, usize::try_from(skip).unwrap_or(SKIP_BYTES).min(SKIP_BYTES)),
            };
            let most = most.min(usize::try_from(asked.end - place).unwrap_or(usize::MAX));
            let read = tokio::select! {
                biased;
                _ = self.ears.interrupted() => return Err(Setback::Interrupted.into()),
                read = timeout_at(window.deadline, response.read(into, most)) => read.map_err(|_| Setback::Stalled)?,
            };
            let arrived = match read {
                Ok(arrived) if arrived > 0 => arrived as u64,
                // What looked like a page and was too short for the file was a page: none of it is kept.
                _ if page => {
                    if let Some(incoming) = &mut self.incoming {
                        incoming.forget_after(if incoming.piece == asked.start / PIECE { kept } else { 0 });
                    }
                    return Err(Setback::Page.into());
                }
                Ok(_) => return Err(Setback::Cut.into()),
                Err(setback) => return Err(setback.into()),
            };
            self.bytes_fetched += arrived;
            self.speed.add(arrived);
            window.arrived(arrived);
            if skip > 0 {
                skip -= arrived;
            } else {
                place += arrived;
                self.patience.received(arrived);
                self.hand_over().await?;
            }
            self.show(State::Fetching);
        }
        Ok(())
    }

    /// A full piece goes to the writer.
    async fn hand_over(&mut self) -> Result<(), Broken> {
        if let Some(incoming) = self.incoming.take_if(|incoming| incoming.is_full()) {
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
