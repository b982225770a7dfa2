//! Looking into a media file: what it is (by content, never by name), its hash and pieces, how long it plays, how large it is.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use carrel_model::{
    content::AssetKind,
    pieces::{Manifest, ManifestBuilder},
};
use symphonia::core::{
    codecs::CodecParameters, formats::FormatOptions, io::MediaSourceStream, meta::MetadataOptions, probe::Hint,
};

use super::{error::ContentProblem, mp4};

/// A file that was looked into.
#[derive(Debug, Clone)]
pub(super) struct Media {
    pub(super) manifest: Manifest,
    pub(super) mime: &'static str,
    pub(super) duration_ms: Option<u64>,
    pub(super) pixels: Option<(u32, u32)>,
}

const READ_BYTES: usize = 1 << 20;

/// Looks into a file that is to be used as `kind`. The inner error says what the file is instead.
pub(super) fn inspect(path: &Path, kind: AssetKind) -> std::io::Result<Result<Media, String>> {
    let mut file = File::open(path)?;
    let mut builder = ManifestBuilder::new();
    let mut buffer = vec![0; READ_BYTES];
    let mut head = Vec::new();
    loop {
        let count = file.read(&mut buffer)?;
        let Some(read) = buffer.get(..count).filter(|read| !read.is_empty()) else { break };
        builder.update(read);
        if head.is_empty() {
            head = read.get(..read.len().min(8192)).unwrap_or_default().to_vec();
        }
    }
    let manifest = builder.finish();
    let found = infer::get(&head).map_or("of an unknown kind", |kind| kind.mime_type());
    let movie = match found {
        "video/mp4" | "audio/m4a" | "audio/mp4" | "video/quicktime" | "video/x-m4v" => {
            // A box that ends after the file does means a file cut short: then nothing is known of it.
            mp4::read(&mut file, manifest.size()).unwrap_or_default()
        }
        _ => mp4::Mp4::default(),
    };
    let Some(mime) = media_type(kind, found, movie.pixels.is_some()) else { return Ok(Err(found.to_owned())) };
    let (duration_ms, pixels) = match kind {
        AssetKind::Image => (None, image_pixels(path)),
        AssetKind::Audio if movie.duration_ms.is_none() => (sound_duration(path)?, None),
        AssetKind::Audio | AssetKind::Video => (movie.duration_ms, movie.pixels),
        AssetKind::Document | AssetKind::Captions | AssetKind::Package => (None, None),
    };
    Ok(Ok(Media { manifest, mime, duration_ms, pixels }))
}

/// The media type under which a file is served, if it can be used as `kind`.
fn media_type(kind: AssetKind, found: &str, shows_pictures: bool) -> Option<&'static str> {
    Some(match (kind, found) {
        (AssetKind::Image, "image/png") => "image/png",
        (AssetKind::Image, "image/jpeg") => "image/jpeg",
        (AssetKind::Image, "image/webp") => "image/webp",
        (AssetKind::Image, "image/gif") => "image/gif",
        (AssetKind::Document, "application/pdf") => "application/pdf",
        (AssetKind::Audio, "audio/mpeg") => "audio/mpeg",
        (AssetKind::Audio, "audio/m4a" | "audio/mp4") => "audio/mp4",
        // The same container whatever it holds, so it says video even for sound alone.
        (AssetKind::Audio, "video/mp4") if !shows_pictures => "audio/mp4",
        (AssetKind::Audio, "audio/ogg" | "audio/opus") => "audio/ogg",
        (AssetKind::Audio, "audio/x-wav" | "audio/wav") => "audio/wav",
        (AssetKind::Audio, "audio/x-flac" | "audio/flac") => "audio/flac",
        (AssetKind::Video, "video/mp4" | "video/x-m4v") => "video/mp4",
        (AssetKind::Video, "video/webm") => "video/webm",
        _ => return None,
    })
}

fn image_pixels(path: &Path) -> Option<(u32, u32)> {
    let size = imagesize::size(path).ok()?;
    Some((u32::try_from(size.width).ok()?, u32::try_from(size.height).ok()?))
}

/// How long a recording plays. Where its header doesn't say, its packets are counted, which decodes nothing.
fn sound_duration(path: &Path) -> std::io::Result<Option<u64>> {
    let source =
        MediaSourceStream::new(Box::new(File::open(path)?), symphonia::core::io::MediaSourceStreamOptions::default());
    let probe = symphonia::default::get_probe();
    let options = FormatOptions::default();
    let Ok(mut probed) = probe.format(&Hint::new(), source, &options, &MetadataOptions::default()) else {
        return Ok(None);
    };
    let Some(track) = probed.format.default_track() else { return Ok(None) };
    let (id, codec) = (track.id, track.codec_params.clone());
    if let Some(frames) = codec.n_frames {
        return Ok(milliseconds(&codec, frames));
    }
    let mut frames = 0_u64;
    // Any error ends the count: the end of the file is one, and of a damaged file the whole part counts.
    while let Ok(packet) = probed.format.next_packet() {
        if packet.track_id() == id {
            frames = frames.saturating_add(packet.dur());
        }
    }
    Ok(milliseconds(&codec, frames))
}

fn milliseconds(codec: &CodecParameters, frames: u64) -> Option<u64> {
    let base = codec.time_base?;
    let ms = u128::from(frames) * u128::from(base.numer) * 1000 / u128::from(base.denom.max(1));
    u64::try_from(ms).ok().filter(|ms| *ms > 0)
}

/// What captions must be; anything else would make a player show nothing without a word.
pub(super) fn check_captions(text: &str, path: &str) -> Result<(), ContentProblem> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let rest = text.strip_prefix("WEBVTT");
    if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\n', '\r'])) {
        return Ok(());
    }
    Err(ContentProblem::WrongMedia {
        path: path.to_owned(),
        found: "not WebVTT".to_owned(),
        wanted: AssetKind::Captions.to_string(),
    })
}
