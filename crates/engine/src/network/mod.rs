//! Online, limited or offline: what the link says, and whether the service answers.
