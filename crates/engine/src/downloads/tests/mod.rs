//! The queue from end to end: a school, a device, real sockets and files.

mod commands;
mod conditions;
mod queueing;
mod setbacks;
mod taking_along;

use std::sync::Mutex;

use carrel_model::{
    ErrorCode, ProfileId,
    content::{AssetKind, Quality},
    download::{DownloadState, WaitReason},
    op::Op,
};
use carrel_testbed::http_origin::Act;
use futures_util::{FutureExt as _, StreamExt as _};

use super::{
    fixture::{Device, MIB, School, TestDisk, bytes, eventually, files, id},
    offline_states,
    view::{MoveDownload, SetPriority, StartCourse, StartDownload},
};
use crate::{
    EngineError, EngineEvent, blobs::DiskFacts, catalogue::view::Availability, ports::Clock as _,
    sync::view::NetworkState,
};
