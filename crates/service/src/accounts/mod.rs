//! Who somebody is: names, passwords, tokens, and how often one may guess.

mod attempts;
mod passwords;
mod tokens;

pub(crate) use attempts::Attempts;
pub use passwords::{PasswordError, Passwords};
pub(crate) use tokens::{Issued, issue, token_hash};

/// The longest account name, in bytes.
pub const MAX_NAME_BYTES: usize = 200;

/// A name as it is compared and kept: without surrounding space, in lower case. `None` if it can't be a name.
#[must_use]
pub fn folded_name(name: &str) -> Option<String> {
    let name = name.trim().to_lowercase();
    let fits = !name.is_empty() && name.len() <= MAX_NAME_BYTES && !name.chars().any(char::is_control);
    fits.then_some(name)
}
