//! Sync in one process: devices, service, network and clock, all driven by one seed.
//!
//! What decides is the product's own: the planner and the outbox rules of `carrel_engine`, the reading and judging of
//! batches and the cursors of `carrel_service`, merge and trusted time of `carrel_model`. What is played are the things a
//! test can't have otherwise – a network that loses, repeats, delays and reorders for months, clocks that jump by years,
//! devices that die between any two steps, are cloned and restored, a service that is put back to yesterday's backup.
//!
//! A [`history::History`] is one seed's worth of that, then everything is mended and left in peace, and [`check`] looks for
//! writes that were lost, that count twice, for devices that disagree, and for anything that still waits. The same seed
//! gives the same history. [`plant::Plant`] names bugs that sync can have; each must be found.

pub mod chance;
pub mod check;
pub mod device;
pub mod history;
pub mod network;
pub mod plant;
pub mod service;
pub mod world;
