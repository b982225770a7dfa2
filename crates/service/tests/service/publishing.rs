//! What is wrong with a folder is said with file, line and key, and then nothing is published.

use carrel_service::publish::{ContentProblem, PublishError};
use serde_json::{Value, json};

use crate::site::{On, PNG, Site, wav};

/// What publishing says about a lesson file.
async fn complaint(name: &str, content: &str) -> String {
    let site = Site::new(On::Sqlite).await;
    let course = site.course("rivers");
    course.write(&format!("01-land/{name}"), content);
    course.write("01-land/m.png", PNG);
    course.write("01-land/talk.wav", wav(2));
    course.write("01-land/notes.txt", "notes");
    let error = site.try_publish(&course).await.unwrap_err();
    assert_eq!(site.count("SELECT COUNT(*) FROM courses").await, 0, "nothing is published of what is wrong");
    error.to_string()
}

#[tokio::test]
async fn mistakes_are_named_by_file_and_line() {
    let lesson = |front: &str| format!("+++\n{front}\n+++\ntext\n");
    let quiz = |question: &str| lesson(&format!("kind = \"quiz\"\ntitle = \"Q\"\nquestions = [{{ {question} }}]"));
    let options = "id = \"q\", prompt = \"?\", options = [{ id = \"a\", text = \"A\" }, { id = \"b\", text = \"B\" }]";
    let cases = [
        ("no front matter".to_owned(), "01-land/09-x.md: a lesson begins"),
        (lesson("kind = \"page\"\ntitle = 3"), "01-land/09-x.md:3: invalid type"),
        (lesson("kind = \"poem\"\ntitle = \"x\""), "01-land/09-x.md:2: unknown variant `poem`"),
        (lesson("kind = \"page\"\ntitle = \"x\"\ncolour = 1"), "01-land/09-x.md:4: unknown field `colour`"),
        (lesson("kind = \"page\"\ntitle = \" \""), "title: must not be empty"),
        (lesson("kind = \"page\"\ntitle = \"x\"\nkey = \"Ü\""), "key: \"Ü\" is not"),
        (lesson("kind = \"page\"\ntitle = \"x\"\nkey = \"carry\""), "the key \"carry\" is used twice"),
        (lesson("kind = \"audio\"\ntitle = \"x\""), "media is missing"),
        (lesson("kind = \"audio\"\ntitle = \"x\"\nmedia = \"none.mp3\""), "01-land/none.mp3 is missing"),
        (
            lesson("kind = \"audio\"\ntitle = \"x\"\nmedia = \"m.png\""),
            "\"m.png\" is image/png, which can't be used as audio",
        ),
        (lesson("kind = \"image\"\ntitle = \"x\"\nmedia = \"notes.txt\""), "of an unknown kind"),
        (lesson("kind = \"image\"\ntitle = \"x\"\nmedia = \"/etc/passwd\""), "stay within the folder"),
        (lesson("kind = \"image\"\ntitle = \"x\"\nmedia = \"../../secret.png\""), "stay within the folder"),
        (lesson("kind = \"page\"\ntitle = \"x\"\nmedia = \"m.png\""), "media: not for this kind"),
        (
            lesson(
                "kind = \"audio\"\ntitle = \"x\"\nmedia = \"talk.wav\"\ncaptions = [{ language = \"en\", title = \"E\", file = \"notes.txt\" }]",
            ),
            "not WebVTT",
        ),
        (
            lesson(
                "kind = \"audio\"\ntitle = \"x\"\nmedia = \"talk.wav\"\nchapters = [{ at_ms = 2000, title = \"late\" }]",
            ),
            "chapters: in order, before the end",
        ),
        (
            "+++\nkind = \"page\"\ntitle = \"x\"\n+++\n![far](https://example.org/a.png)".to_owned(),
            "stay within the folder",
        ),
        (lesson("kind = \"quiz\"\ntitle = \"Q\""), "questions: a quiz has at least one"),
        (
            quiz(&format!("{options}, kind = \"single\", correct = \"c\"")),
            "question \"q\": \"c\" is not one of the options",
        ),
        (quiz(&format!("{options}, kind = \"order\", correct = [\"a\"]")), "correct lists every option once"),
        (quiz(&format!("{options}, kind = \"multiple\", correct = [\"a\", \"a\"]")), "names an option twice"),
        (quiz("id = \"q\", prompt = \"?\", kind = \"numeric\", value = \"many\""), "\"many\" is not a number"),
        (quiz("id = \"q\", prompt = \"?\", kind = \"short_text\", accept = [\" \"]"), "none is empty"),
    ];
    for (content, expected) in cases {
        let said = complaint("09-x.md", &content).await;
        assert!(said.contains(expected), "{said:?} does not say {expected:?}");
        assert!(said.starts_with("01-land/09-x.md"), "{said:?} names the file");
    }
}

#[tokio::test]
async fn a_course_without_its_file_and_links_are_refused() {
    let site = Site::new(On::Sqlite).await;
    let course = site.course("rivers");
    course.remove("course.toml");
    let error = site.try_publish(&course).await.unwrap_err();
    assert!(matches!(error, PublishError::Content { problem: ContentProblem::Missing(_), .. }), "{error}");
    #[cfg(unix)]
    {
        let course = site.course("seas");
        std::os::unix::fs::symlink("/etc", course.root.join("02-etc")).unwrap();
        let error = site.try_publish(&course).await.unwrap_err();
        assert!(matches!(error, PublishError::Content { problem: ContentProblem::Link(_), .. }), "{error}");
    }
}

#[tokio::test]
async fn media_are_described_by_what_they_are() {
    let site = Site::new(On::Sqlite).await;
    let course = site.course("rivers");
    course.write("course.toml", "title = \"Rivers\"\nopen = true\ncover = \"cover.jpg\"");
    course.write("cover.jpg", PNG);
    course.write("01-land/low.bin", wav(2));
    course.write("01-land/high.bin", wav(3));
    course.write("01-land/talk.vtt", "WEBVTT\n\n00:00.000 --> 00:01.000\nHello\n");
    course.write(
        "01-land/03-listen.md",
        "+++\nkind = \"audio\"\ntitle = \"Listen\"\nmedia = { low = \"low.bin\", high = \"high.bin\" }\n\
         captions = [{ language = \"en\", title = \"English\", file = \"talk.vtt\" }]\n\
         chapters = [{ at_ms = 0, title = \"Start\" }, { at_ms = 1500, title = \"End\" }]\n+++\nAbout *it*.\n",
    );
    site.publish(&course).await;
    let amina = site.learner(1, "amina").await;
    let (synced, _) = site.units_sync(&amina, "", 100).await;
    let cover = &synced["courses"][0]["cover"]["renditions"][0];
    assert_eq!((&cover["mime"], &cover["width"], &cover["height"]), (&json!("image/png"), &json!(3), &json!(2)));
    let unit = &synced["units"][0];
    let listen = &unit["lessons"][2];
    assert_eq!(listen["duration_ms"], 3000, "the longest encoding");
    assert_eq!(listen["payload"]["description_html"], "<p>About <em>it</em>.</p>\n");
    assert_eq!(listen["payload"]["chapters"][1]["at_ms"], 1500);
    let of_lesson: Vec<&Value> =
        unit["assets"].as_array().unwrap().iter().filter(|asset| asset["lesson_id"] == listen["id"]).collect();
    assert_eq!(of_lesson.len(), 2);
    let renditions = of_lesson[0]["renditions"].as_array().unwrap();
    let qualities: Vec<_> =
        renditions.iter().map(|r| (r["quality"].as_str().unwrap(), r["mime"].as_str().unwrap())).collect();
    assert_eq!(qualities, [("low", "audio/wav"), ("high", "audio/wav")]);
    assert_eq!(of_lesson[1]["kind"], "captions");
    assert_eq!(of_lesson[1]["renditions"][0]["mime"], "text/vtt; charset=utf-8");
}

#[tokio::test]
async fn a_page_refers_to_its_pictures_by_asset() {
    let site = Site::new(On::Sqlite).await;
    let course = site.course("rivers");
    course.write("course.toml", "title = \"Rivers\"\nopen = true");
    course.write("01-land/m.png", PNG);
    course.write("01-land/n.png", PNG);
    let text = "![](m.png)\n\n![a *bend*](m.png)\n\n![](n.png)\n\n<script>alert(1)</script>";
    course.page("01-land/01-carry.md", "Carry", text);
    site.publish(&course).await;
    let amina = site.learner(1, "amina").await;
    let (synced, _) = site.units_sync(&amina, "", 100).await;
    let lesson = &synced["units"][0]["lessons"][0];
    let picture = lesson["payload"]["image_asset_ids"][0].as_str().unwrap();
    let assets = synced["units"][0]["assets"].as_array().unwrap();
    let titles: Vec<_> = assets.iter().filter(|asset| asset["kind"] == "image").map(|asset| &asset["title"]).collect();
    assert_eq!(titles, ["a bend", "Carry"], "a picture is called what is said of it, or else like its page");
    let items = json!({ "items": [{ "asset_id": lesson["primary_asset_id"], "quality": "high" }] });
    let urls = site.post("/content/assets/urls", Some(&amina), &items).await.ok();
    let page = site.get(urls["urls"][0]["url"].as_str().unwrap(), None).await;
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    let html = String::from_utf8(page.bytes).unwrap();
    assert!(html.contains(&format!("<img src=\"asset:{picture}\" alt=\"a bend\">")), "{html}");
    assert!(!html.contains("script"), "{html}");
}
