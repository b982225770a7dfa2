//! What orders two writes of different devices.

use crate::{DeviceId, TimeMs};

wire! {
    /// The total order of writes: effective time, then device, then its own sequence.
    ///
    /// Two devices can write in the same millisecond, so the time alone would make the winner depend on arrival.
    #[derive(Copy, Eq, PartialOrd, Ord, Hash)]
    pub struct Stamp {
        /// When it took effect, after the service's clock correction.
        pub at: TimeMs,
        /// The device that wrote it.
        pub device_id: DeviceId,
        /// The device's own running number; with the device the idempotency key.
        #[cfg_attr(feature = "ts", ts(type = "number"))]
        pub seq: u64,
    }
}
