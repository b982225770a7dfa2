//! Who was promised how much of a volume's free space. Pure.
//!
//! Many small fetches that each look at the same free space would all be told there is enough. So what a running fetch
//! still has to write is promised to it, and a new one is let in only when its need fits beside all promises, above a
//! floor that stays free for everything else on the device.

/// There is not enough room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shortage {
    /// Bytes asked for.
    pub(crate) needed_bytes: u64,
    /// Bytes that may be used: free, above the floor, promised to nobody.
    pub(crate) free_bytes: u64,
}

/// The promises on one volume.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Ledger {
    promised_bytes: u64,
}

impl Ledger {
    /// Promises so many bytes of a volume that has `free_bytes`, of which `floor_bytes` stay.
    pub(crate) fn promise(&mut self, needed_bytes: u64, free_bytes: u64, floor_bytes: u64) -> Result<(), Shortage> {
        let free_bytes = free_bytes.saturating_sub(floor_bytes).saturating_sub(self.promised_bytes);
        if needed_bytes > free_bytes {
            return Err(Shortage { needed_bytes, free_bytes });
        }
        self.promised_bytes = self.promised_bytes.saturating_add(needed_bytes);
        Ok(())
    }

    /// So much of what was promised has been written or isn't needed any more.
    pub(crate) const fn settle(&mut self, bytes: u64) {
        self.promised_bytes = self.promised_bytes.saturating_sub(bytes);
    }

    /// Whether promised bytes can be written now: somebody else may have filled the volume since the promise.
    pub(crate) const fn may_write(bytes: u64, free_bytes: u64, floor_bytes: u64) -> Result<(), Shortage> {
        let free_bytes = free_bytes.saturating_sub(floor_bytes);
        if bytes > free_bytes { Err(Shortage { needed_bytes: bytes, free_bytes }) } else { Ok(()) }
    }

    /// Bytes promised and not yet written.
    #[cfg(test)]
    pub(crate) const fn promised_bytes(&self) -> u64 {
        self.promised_bytes
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
