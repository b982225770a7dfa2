//! Answers that are no file: refusals, pages, redirects, patience, names (faults 13, 15, 17, 18, 19, 24).

use super::{Fault, Front, half};
use crate::http_origin::Act;

/// A file name nobody should write to.
fn name(name: &str) -> Act {
    Act::Serve.with("Content-Disposition", &format!("attachment; filename=\"{name}\""))
}

/// A page as long as it takes.
fn long_page(length: u64) -> Act {
    let page = b"<!doctype html><p>Please accept our terms.".repeat(usize::try_from(length / 42 + 1).unwrap_or(1));
    Act::Status(200, vec![("Content-Type".to_owned(), "text/html".to_owned())], page)
}

pub(super) const FAULTS: &[Fault] = &[
    Fault::passing(
        13,
        "expired-at-start",
        "403 with an XML body: the address has expired; then served",
        |origin, _| {
            origin.script([Act::expired()]);
        },
    ),
    Fault::passing(13, "expired-mid-file", "the same in the middle of the file", |origin, size| {
        origin.script([half(size), Act::expired()]);
    }),
    Fault::passing(13, "expired-token", "400 ExpiredToken in the middle of the file; then served", |origin, size| {
        origin.script([half(size), Act::expired_token()]);
    }),
    Fault::lasting(13, "expired-for-ever", "403 with an XML body from the middle of the file on", |origin, size| {
        origin.script([half(size)]);
        origin.always(Act::expired());
    }),
    Fault::passing(15, "portal-at-start", "a sign-in page in place of the file, once", |origin, _| {
        origin.script([Act::portal()]);
    }),
    Fault::passing(15, "portal-mid-file", "a sign-in page in place of the rest of the file, once", |origin, size| {
        origin.script([half(size), Act::portal()]);
    }),
    Fault::passing(15, "portal-redirect", "a redirect to the sign-in page, once", |origin, size| {
        origin.script([half(size), Act::redirect("/login"), Act::portal()]);
    }),
    Fault::passing(15, "portal-long-page", "a page longer than the file in place of its rest, once", |origin, size| {
        origin.script([half(size), long_page(size)]);
    }),
    Fault::lasting(15, "portal-for-ever", "a sign-in page from the middle of the file on", |origin, size| {
        origin.script([half(size)]);
        origin.always(Act::portal());
    }),
    Fault::passing(17, "redirects", "five redirects, then the file", |origin, _| {
        origin.script((0..5).map(|_| Act::redirect("/next")));
    }),
    Fault::lasting(17, "redirect-loop", "redirects without end", |origin, _| {
        origin.always(Act::redirect("/round"));
    }),
    Fault::lasting(17, "redirect-to-file", "a redirect to file:///etc/hostname", |origin, _| {
        origin.always(Act::redirect("file:///etc/hostname"));
    }),
    Fault::lasting(17, "redirect-to-data", "a redirect to data:", |origin, _| {
        origin.always(Act::redirect("data:text/plain,x"));
    }),
    Fault::lasting(17, "redirect-to-ftp", "a redirect to ftp:", |origin, _| {
        origin.always(Act::redirect("ftp://127.0.0.1:9/x"));
    }),
    Fault::lasting(17, "redirect-to-plain", "a redirect from https to http", |origin, _| {
        origin.always(Act::redirect("http://127.0.0.1:9/x"));
    })
    .at(Front::Tls),
    Fault::passing(18, "429", "429 twice, Retry-After: 1", |origin, size| {
        origin.script([half(size), Act::retry_after(429, "1"), Act::retry_after(429, "1")]);
    }),
    Fault::passing(18, "503-past-date", "503 with a Retry-After that is over", |origin, _| {
        origin.script([Act::retry_after(503, "Fri, 01 May 2020 00:00:00 GMT")]);
    }),
    Fault::passing(18, "503-rubbish", "503 with a Retry-After nobody can read", |origin, _| {
        origin.script([Act::retry_after(503, "soon")]);
    }),
    Fault::passing(19, "500-once", "500, once", |origin, _| {
        origin.script([Act::status(500)]);
    }),
    Fault::passing(19, "408-once", "408 in the middle of the file, once", |origin, size| {
        origin.script([half(size), Act::status(408)]);
    }),
    Fault::passing(19, "425-once", "425 in the middle of the file, once", |origin, size| {
        origin.script([half(size), Act::status(425)]);
    }),
    Fault::passing(19, "522-once", "522 in the middle of the file, once", |origin, size| {
        origin.script([half(size), Act::status(522)]);
    }),
    Fault::passing(19, "524-once", "524 in the middle of the file, once", |origin, size| {
        origin.script([half(size), Act::status(524)]);
    }),
    Fault::lasting(19, "500-for-ever", "500 from the middle of the file on", |origin, size| {
        origin.script([half(size)]);
        origin.always(Act::status(500));
    }),
    Fault::passing(24, "name-above", "a name that leads out of the folder", |origin, _| {
        origin.always(name("../../carrel-evil"));
    }),
    Fault::passing(24, "name-of-a-drive", "a name with a drive letter", |origin, _| {
        origin.always(name("C:\\\\carrel-evil"));
    }),
    Fault::passing(24, "name-with-nul", "a name with a NUL in it", |origin, _| {
        origin.always(Act::Serve.with("Content-Disposition", "attachment; filename*=UTF-8''carrel%00evil"));
    }),
    Fault::passing(24, "name-of-a-device", "the name of a device", |origin, _| {
        origin.always(name("CON"));
    }),
];
