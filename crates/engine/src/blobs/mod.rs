//! Content-addressed files: `blobs/ab/<hash>`, shared by every lesson and learner that needs them.
