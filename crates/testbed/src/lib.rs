//! Test only: hostile servers, clocks and content that the tests of the other rooms share.

pub mod browser;
pub mod chaos;
pub mod hostile;
pub mod http_origin;
pub mod postgres;
pub mod power_loss;
pub mod processes;
pub mod relay;
