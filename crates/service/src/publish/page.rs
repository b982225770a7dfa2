//! Markdown to HTML that is safe to show: sanitised once, on import, since nobody can be trusted to do it later.
//!
//! What comes out is a fragment without scripts, styles, forms or frames. Pictures refer to assets by `asset:<id>`; links
//! lead to the web, to mail, or to a place in the same page.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};

const OPTIONS: Options = Options::ENABLE_TABLES
    .union(Options::ENABLE_FOOTNOTES)
    .union(Options::ENABLE_STRIKETHROUGH)
    .union(Options::ENABLE_HEADING_ATTRIBUTES);

/// A picture a text refers to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Picture {
    /// Where it lies, as the text says it.
    pub(super) path: String,
    /// What is said of it where it can't be seen; empty if nothing is.
    pub(super) alt: String,
}

/// The pictures a text refers to, in their order, each path once; the first words said of it count.
pub(super) fn pictures(markdown: &str) -> Vec<Picture> {
    let mut pictures: Vec<Picture> = Vec::new();
    // A description can have pictures of its own.
    let mut open: Vec<Picture> = Vec::new();
    for event in Parser::new_ext(markdown, OPTIONS) {
        match event {
            Event::Start(Tag::Image { dest_url, .. }) => {
                open.push(Picture { path: dest_url.to_string(), alt: String::new() });
            }
            Event::Text(part) | Event::Code(part) => open.iter_mut().for_each(|picture| picture.alt.push_str(&part)),
            Event::SoftBreak | Event::HardBreak => open.iter_mut().for_each(|picture| picture.alt.push(' ')),
            Event::End(TagEnd::Image) => {
                let Some(mut picture) = open.pop() else { continue };
                picture.alt = picture.alt.trim().to_owned();
                match pictures.iter_mut().find(|known| known.path == picture.path) {
                    Some(known) if known.alt.is_empty() => known.alt = picture.alt,
                    Some(_) => {}
                    None => pictures.push(picture),
                }
            }
            _ => {}
        }
    }
    pictures
}

/// How many words a reader meets.
pub(super) fn words(markdown: &str) -> usize {
    Parser::new_ext(markdown, OPTIONS)
        .filter_map(|event| match event {
            Event::Text(text) | Event::Code(text) => Some(text.split_whitespace().count()),
            _ => None,
        })
        .sum()
}

/// The sanitised HTML of a text; `assets` gives the id for each picture's path.
pub(super) fn html(markdown: &str, assets: &BTreeMap<String, String>) -> String {
    let events = Parser::new_ext(markdown, OPTIONS).map(|event| match event {
        Event::Start(Tag::Image { link_type, dest_url, title, id }) => {
            let dest_url = assets.get(&*dest_url).map_or(dest_url, |id| CowStr::from(format!("asset:{id}")));
            Event::Start(Tag::Image { link_type, dest_url, title, id })
        }
        other => other,
    });
    let mut raw = String::new();
    html::push_html(&mut raw, with_heading_ids(events.collect()).into_iter());
    sanitised(&raw)
}

/// Gives headings without an id one made of their text, so that they can be linked to.
fn with_heading_ids(mut events: Vec<Event<'_>>) -> Vec<Event<'_>> {
    let mut taken = BTreeSet::new();
    let mut ids = Vec::new();
    let mut text: Option<String> = None;
    for event in &events {
        match event {
            Event::Start(Tag::Heading { .. }) => text = Some(String::new()),
            Event::Text(part) | Event::Code(part) => {
                if let Some(text) = &mut text {
                    text.push_str(part);
                }
            }
            Event::End(TagEnd::Heading(_)) => {
                let slug = slug(&text.take().unwrap_or_default());
                let numbered = (1..).map(|n| if n == 1 { slug.clone() } else { format!("{slug}-{n}") });
                let id = numbered.into_iter().find(|id| !taken.contains(id)).unwrap_or_default();
                taken.insert(id.clone());
                ids.push(id);
            }
            _ => {}
        }
    }
    let mut ids = ids.into_iter();
    for event in &mut events {
        if let Event::Start(Tag::Heading { id, .. }) = event {
            let own = ids.next();
            if id.is_none() {
                *id = own.map(CowStr::from);
            }
        }
    }
    events
}

fn slug(text: &str) -> String {
    let words: String = text.chars().map(|c| if c.is_alphanumeric() { c } else { ' ' }).collect();
    let slug = words.split_whitespace().collect::<Vec<_>>().join("-").to_lowercase();
    if slug.is_empty() { "section".to_owned() } else { slug }
}

fn sanitised(raw: &str) -> String {
    let mut cleaner = ammonia::Builder::default();
    cleaner
        .url_schemes(HashSet::from(["http", "https", "mailto", "asset"]))
        .url_relative(ammonia::UrlRelative::Custom(Box::new(only_fragments)))
        .add_generic_attributes(["id", "dir"])
        .allowed_classes(HashMap::from([
            ("sup", HashSet::from(["footnote-reference", "footnote-definition-label"])),
            ("div", HashSet::from(["footnote-definition"])),
        ]))
        // A picture from elsewhere would not be there offline, and would tell its host who reads.
        .attribute_filter(|element, attribute, value| match (element, attribute) {
            ("img", "src") if !value.starts_with("asset:") => None,
            ("a", "href") if value.starts_with("asset:") => None,
            _ => Some(Cow::Borrowed(value)),
        });
    cleaner.clean(raw).to_string()
}

fn only_fragments(url: &str) -> Option<Cow<'_, str>> {
    url.starts_with('#').then_some(Cow::Borrowed(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_a_page_needs_and_drops_what_could_act() {
        let assets = BTreeMap::from([("media/m.png".to_owned(), "0190".to_owned())]);
        let page = "# A river\n\n![bend](media/m.png) [web](https://example.org) [up](#a-river) [bad](javascript:x)\n\n\
            | a | b |\n|---|---|\n| 1 | ~~2~~ |\n\nNote[^n].\n\n[^n]: Below.\n\n# A river\n\n\
            <script>alert(1)</script><img src=x onerror=alert(1)><img src=\"https://t.example/p.gif\">\
            <iframe src=\"https://example.org\"></iframe><p style=\"color:red\" onclick=\"x()\" dir=\"rtl\">نهر</p>";
        let html = html(page, &assets);
        for kept in [
            "<h1 id=\"a-river\">",
            "<h1 id=\"a-river-2\">",
            "src=\"asset:0190\"",
            "alt=\"bend\"",
            "https://example.org",
            "href=\"#a-river\"",
            "<table>",
            "<del>2</del>",
            "footnote-definition",
            "href=\"#n\"",
            "dir=\"rtl\"",
        ] {
            assert!(html.contains(kept), "{kept} is missing in {html}");
        }
        for dropped in ["script", "onerror", "onclick", "iframe", "style", "t.example", "javascript", "src=\"x\""] {
            assert!(!html.contains(dropped), "{dropped} is still in {html}");
        }
        let bend = Picture { path: "media/m.png".to_owned(), alt: "bend".to_owned() };
        assert_eq!(pictures(page), [bend], "raw HTML does not bring pictures in");
    }
}
