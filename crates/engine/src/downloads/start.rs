//! Asking for units, lessons and courses to be taken along: what there is already, what the service is asked for, and what
//! becomes of its answers. Writing them down is in [`super::enqueue`].

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use carrel_model::{
    CourseId, DownloadId, LessonId, ProfileId, UnitId, content::Quality, download::DownloadState,
    wire::downloads::AuthorizeRequest,
};
use tokio::sync::{Semaphore, mpsc};

use super::{
    enqueue::{self, Entry},
    grant::Granted,
    items::Expansion,
    queue::Queue,
    rooms::{CourseShare, Outline},
    rows::{self, DownloadRow},
    view::{DownloadView, StartDownload},
};
use crate::EngineError;

/// How many wishes are taken to the service at once.
const ASKED_AT_ONCE: usize = 8;
/// How long the first answer waits for others, to be written with them.
const GATHERED_FOR: Duration = Duration::from_millis(100);
/// Units whose outlines are read together.
const OUTLINED_AT_ONCE: usize = 256;
/// From so many units of a course on, the service may be asked for the course in place of each of them.
const UNITS_OF_A_COURSE: usize = 16;
/// Units that are so small on average are asked for by their course: each question costs more than what it asks for.
const SMALL_UNIT_ASSETS: usize = 48;

/// Authorises, reserves and queues; gives the download that is there already where that is what was asked for.
pub(super) async fn start(
    queue: &Queue,
    profile: ProfileId,
    request: StartDownload,
) -> Result<DownloadView, EngineError> {
    let quality = chosen(queue, profile, request).await?;
    let there = rows::of_wish(queue.library.readers(), profile, request.unit_id, request.lesson_id).await?;
    match look(queue, quality, there).await? {
        Wish::There(id) => queue.one(profile, id).await,
        Wish::Paused(id) => super::commands::resume(queue, profile, id).await,
        Wish::New(there) => authorised(queue, profile, request, quality, there.map(|row| *row)).await,
    }
}

/// As [`start`] for many wishes: the service is asked for several at once, and what it grants is written together. Wishes
/// that are refused come back with their errors and keep no other from being queued.
pub(super) async fn start_all(
    queue: &Arc<Queue>,
    profile: ProfileId,
    mut requests: Vec<StartDownload>,
) -> Result<Vec<(StartDownload, EngineError)>, EngineError> {
    let mut seen = BTreeSet::new();
    requests.retain(|request| seen.insert((request.unit_id, request.lesson_id)));
    drop(seen);
    let questions = questions(queue, profile, &requests).await?;
    let mut asked = ask_for(queue, profile, questions);
    let mut refused = Vec::new();
    let mut answers = Vec::new();
    while asked.recv_many(&mut answers, ASKED_AT_ONCE).await > 0 {
        let gathered = tokio::time::Instant::now() + GATHERED_FOR;
        while items(&answers) < enqueue::ITEMS_AT_ONCE
            && let Ok(Some(answer)) = tokio::time::timeout_at(gathered, asked.recv()).await
        {
            answers.push(answer);
        }
        let mut entries = Vec::new();
        for answer in answers.drain(..) {
            refused.extend(answer.refused);
            queue.addresses.keep(profile, &answer.addresses);
            entries.extend(answer.entries);
        }
        refused.extend(enqueue::write_all(queue, profile, entries).await?);
    }
    queue.settle().await?;
    queue.release().await?;
    // What is in the journal is written back by whoever is quick at it, not by the first small change that follows.
    queue.library.checkpoint().await;
    Ok(refused)
}

/// What is to be asked of the service for many wishes.
enum Question {
    /// This one wish.
    Wish(StartDownload, Quality, Option<Box<DownloadRow>>),
    /// These whole units of a course, in one answer.
    Course(CourseId, Quality, Vec<(UnitId, StartDownload, Option<Box<DownloadRow>>)>),
}

/// What became of a question.
#[derive(Default)]
struct Answer {
    entries: Vec<Entry>,
    addresses: Granted,
    refused: Vec<(StartDownload, EngineError)>,
}

impl Answer {
    fn items(&self) -> usize {
        self.entries.iter().map(|entry| entry.items.len()).sum()
    }
}

fn items(answers: &[Answer]) -> usize {
    answers.iter().map(Answer::items).sum()
}

/// What is there already needs no question, what was paused goes on; the rest is put together by courses.
async fn questions(
    queue: &Queue,
    profile: ProfileId,
    requests: &[StartDownload],
) -> Result<Vec<Question>, EngineError> {
    let standard = queue.rooms.settings(profile).await?.default_quality;
    let units: BTreeSet<UnitId> = requests.iter().map(|request| request.unit_id).collect();
    let mut there = rows::of_units(queue.library.readers(), profile, &units).await?;
    let mut new: Vec<(StartDownload, Quality, Option<Box<DownloadRow>>)> = Vec::new();
    for request in requests {
        let quality = request.quality.unwrap_or(standard);
        match look(queue, quality, there.remove(&(request.unit_id, request.lesson_id))).await? {
            Wish::There(_) => {}
            Wish::Paused(id) => {
                super::commands::resume(queue, profile, id).await?;
            }
            Wish::New(there) => new.push((*request, quality, there)),
        }
    }
    let whole: Vec<UnitId> =
        new.iter().filter(|(request, ..)| request.lesson_id.is_none()).map(|(request, ..)| request.unit_id).collect();
    let mut by_course: BTreeMap<UnitId, CourseId> = BTreeMap::new();
    if whole.len() >= UNITS_OF_A_COURSE {
        for share in queue.rooms.shares(profile, &whole).await?.into_iter().filter(is_asked_as_a_course) {
            by_course.extend(share.units.iter().map(|unit| (*unit, share.course)));
        }
    }
    let mut questions = Vec::new();
    let mut courses: BTreeMap<(CourseId, Quality), Vec<_>> = BTreeMap::new();
    for (request, quality, there) in new {
        match by_course.get(&request.unit_id).filter(|_| request.lesson_id.is_none()) {
            Some(course) => courses.entry((*course, quality)).or_default().push((request.unit_id, request, there)),
            None => questions.push(Question::Wish(request, quality, there)),
        }
    }
    questions.extend(courses.into_iter().map(|((course, quality), wishes)| Question::Course(course, quality, wishes)));
    Ok(questions)
}

/// Most of a course that consists of many small units.
fn is_asked_as_a_course(share: &CourseShare) -> bool {
    share.units.len() >= UNITS_OF_A_COURSE
        && share.units.len() * 2 >= share.units_of_course
        && share.assets_of_course <= share.units_of_course * SMALL_UNIT_ASSETS
}

/// Asks, a few at once and not far ahead of what is written. As tasks of their own: a question that nobody polls would keep
/// a connection to the database that the writing waits for.
fn ask_for(queue: &Arc<Queue>, profile: ProfileId, questions: Vec<Question>) -> mpsc::Receiver<Answer> {
    let (answered, answers) = mpsc::channel(ASKED_AT_ONCE);
    let (queue, places) = (Arc::clone(queue), Arc::new(Semaphore::new(ASKED_AT_ONCE)));
    tokio::spawn(async move {
        for question in questions {
            // Closed once nobody listens any more.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let (queue, answered) = (Arc::clone(&queue), answered.clone());
            if answered.is_closed() {
                return;
            }
            tokio::spawn(async move {
                answer(&queue, profile, question, &answered).await;
                drop(place);
            });
        }
    });
    answers
}

async fn answer(queue: &Queue, profile: ProfileId, question: Question, answered: &mpsc::Sender<Answer>) {
    match question {
        Question::Wish(request, quality, there) => {
            let answer = one_answer(queue, profile, request, quality, there).await;
            answered.send(answer).await.ok();
        }
        Question::Course(course, quality, wishes) => {
            let wish =
                AuthorizeRequest { course_id: Some(course), quality: Some(quality), ..AuthorizeRequest::default() };
            let granted = queue.rooms.authorize(profile, wish).await;
            let mut alone = wishes;
            if let Ok(mut granted) = granted {
                let addresses = granted.without_blobs();
                answered.send(Answer { addresses, ..Answer::default() }).await.ok();
                alone = answers_of_a_course(queue, profile, &granted, quality, alone, answered).await;
            }
            // What a course is refused, or what its answer says nothing of, each unit is asked for by itself: it may be
            // granted, and else has its own word.
            for (_, request, there) in alone {
                let answer = one_answer(queue, profile, request, quality, there).await;
                if answered.send(answer).await.is_err() {
                    return;
                }
            }
        }
    }
}

type OfCourse = Vec<(UnitId, StartDownload, Option<Box<DownloadRow>>)>;

/// The entries of a course's units; gives those that the answer has nothing for.
async fn answers_of_a_course(
    queue: &Queue,
    profile: ProfileId,
    granted: &Granted,
    quality: Quality,
    wishes: OfCourse,
    answered: &mpsc::Sender<Answer>,
) -> OfCourse {
    let expansion = Expansion::new(granted, quality);
    let mut alone = Vec::new();
    let mut wishes = wishes.into_iter().peekable();
    while wishes.peek().is_some() {
        let some: Vec<_> = wishes.by_ref().take(OUTLINED_AT_ONCE).collect();
        let units: Vec<UnitId> = some.iter().map(|(unit, ..)| *unit).collect();
        let Ok(mut outlines) = queue.rooms.outlines(profile, &units).await else {
            alone.extend(some);
            continue;
        };
        let mut answer = Answer::default();
        for (unit, request, there) in some {
            let items = match outlines.remove(&unit) {
                Some(outline) => expand(queue, profile, &expansion, unit, outline).await.ok(),
                None => None,
            };
            match items {
                Some((outline, items)) if !items.is_empty() || outline.uses.is_empty() => {
                    let expires_at = granted.expires_at;
                    answer.entries.push(Entry { request, quality, outline, items, expires_at, there });
                }
                _ => alone.push((unit, request, there)),
            }
        }
        if answered.send(answer).await.is_err() {
            return Vec::new();
        }
    }
    alone
}

async fn one_answer(
    queue: &Queue,
    profile: ProfileId,
    request: StartDownload,
    quality: Quality,
    there: Option<Box<DownloadRow>>,
) -> Answer {
    match ask(queue, profile, request, quality, there).await {
        Ok((entry, addresses)) => Answer { entries: vec![entry], addresses, ..Answer::default() },
        Err(error) => Answer { refused: vec![(request, error)], ..Answer::default() },
    }
}

async fn chosen(queue: &Queue, profile: ProfileId, request: StartDownload) -> Result<Quality, EngineError> {
    match request.quality {
        Some(quality) => Ok(quality),
        None => Ok(queue.rooms.settings(profile).await?.default_quality),
    }
}

/// What to do about a wish.
enum Wish {
    /// It is fulfilled, or on its way.
    There(DownloadId),
    /// It is there and was stopped.
    Paused(DownloadId),
    /// The service is to be asked; and what there is of the wish already.
    New(Option<Box<DownloadRow>>),
}

async fn look(queue: &Queue, quality: Quality, there: Option<DownloadRow>) -> Result<Wish, EngineError> {
    if let Some(row) = there.as_ref().filter(|row| row.quality == quality) {
        if row.state.is_active() {
            return Ok(Wish::There(row.id));
        }
        if row.state == DownloadState::Paused {
            return Ok(Wish::Paused(row.id));
        }
        if row.state == DownloadState::Completed && !is_due(queue, row).await? {
            return Ok(Wish::There(row.id));
        }
    }
    Ok(Wish::New(there.map(Box::new)))
}

/// Completed, but past its last day or behind the catalogue.
async fn is_due(queue: &Queue, row: &DownloadRow) -> Result<bool, EngineError> {
    if row.expires_at.is_some_and(|end| end <= queue.rooms.trusted_now()) {
        return Ok(true);
    }
    super::offline::is_outdated(queue.library.readers(), row.id).await
}

/// The whole way to the service, for a new wish or a new version of an old one.
pub(super) async fn authorised(
    queue: &Queue,
    profile: ProfileId,
    request: StartDownload,
    quality: Quality,
    there: Option<DownloadRow>,
) -> Result<DownloadView, EngineError> {
    let (entry, addresses) = ask(queue, profile, request, quality, there.map(Box::new)).await?;
    let ids = enqueue::write(queue, profile, &[entry]).await?;
    queue.addresses.keep(profile, &addresses);
    let id = ids.first().copied().ok_or(EngineError::NotFound("download"))?;
    queue.news.tell(&ids);
    if !queue.settle().await?.contains(&id) {
        queue.release().await?;
        queue.publish(&ids).await?;
    }
    queue.one(profile, id).await
}

/// Asks the service for one wish; gives what is to be written, and addresses.
async fn ask(
    queue: &Queue,
    profile: ProfileId,
    request: StartDownload,
    quality: Quality,
    there: Option<Box<DownloadRow>>,
) -> Result<(Entry, Granted), EngineError> {
    let outline = outline(queue, profile, request.unit_id, request.lesson_id).await?;
    let wish = AuthorizeRequest {
        unit_id: request.lesson_id.is_none().then_some(request.unit_id),
        lesson_id: request.lesson_id,
        quality: Some(quality),
        ..AuthorizeRequest::default()
    };
    let mut granted = queue.rooms.authorize(profile, wish).await?;
    let expansion = Expansion::new(&granted, quality);
    let (outline, items) = expand(queue, profile, &expansion, request.unit_id, outline).await?;
    drop(expansion);
    let expires_at = granted.expires_at;
    Ok((Entry { request, quality, outline, items, expires_at, there }, granted.without_blobs()))
}

async fn outline(
    queue: &Queue,
    profile: ProfileId,
    unit: UnitId,
    lesson: Option<LessonId>,
) -> Result<Outline, EngineError> {
    if lesson.is_none() {
        return queue.rooms.outlines(profile, &[unit]).await?.remove(&unit).ok_or(EngineError::NotFound("unit"));
    }
    let (course, unit) = queue.rooms.unit(profile, unit).await?.ok_or(EngineError::NotFound("unit"))?;
    Outline::of(&course, &unit, lesson).ok_or(EngineError::NotFound("lesson"))
}

/// The items of a unit; its outline comes back without its uses, which are many.
async fn expand(
    queue: &Queue,
    profile: ProfileId,
    expansion: &Expansion<'_>,
    unit: UnitId,
    outline: Outline,
) -> Result<(Outline, Vec<super::items::Item>), EngineError> {
    let mut unnamed = BTreeMap::new();
    for id in expansion.unnamed(&outline) {
        if let Some(owned) = queue.rooms.asset(profile, id).await? {
            unnamed.insert(id, owned.asset);
        }
    }
    let items = expansion.items(unit, &outline, &unnamed);
    Ok((Outline { uses: Vec::new(), ..outline }, items))
}
