/** The story of the spine in a browser: sign in, take along, go offline, learn, come back. One learner, in order. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { LEARNER, OWN, PASSWORD, stage, until } from './stage.mjs';

const UNIT = 'How rivers shape the land';

describe('a learner', () => {
  let s;
  let page;
  let unitId;
  const lessons = {};

  before(async () => {
    s = await stage();
    page = s.page;
  });
  after(async () => s?.close());

  const badge = () => page.getByTestId('network-badge').getAttribute('data-state');
  const waiting = async () => Number(await page.getByTestId('waiting-count').getAttribute('data-count'));
  const progress = (name) => page.getByTestId('lesson-progress').getAttribute(`data-${name}`);

  async function openLesson(kind) {
    await s.go(`#/lesson/${lessons[kind]}`);
    await page.locator(`[data-testid="lesson-screen"][data-lesson-id="${lessons[kind]}"]`).waitFor();
  }

  it('is told what is wrong with a wrong password, in words and by code', async () => {
    await page.getByTestId('sign-in-form').waitFor();
    await page.getByTestId('sign-in-submit').click();
    assert.equal(await page.evaluate(() => document.activeElement?.id), 'name', 'the first empty field has the focus');
    await page.getByTestId('sign-in-name').fill(LEARNER);
    await page.getByTestId('sign-in-password').fill(`${PASSWORD}!`);
    await page.getByTestId('sign-in-submit').click();
    await page.getByTestId('sign-in-error').waitFor();
    assert.equal(await page.getByTestId('sign-in-error').getAttribute('data-code'), 'wrong_credentials');
    assert.equal(await page.getByTestId('sign-in-name').inputValue(), LEARNER, 'the name stays');
  });

  it('signs in and sees the courses', async () => {
    await s.signIn();
    await until('the badge is online', async () => (await badge()) === 'online');
    assert.ok((await page.getByTestId('unit-card').count()) >= 5, 'every unit of both courses');
    await page.getByTestId('library-search').fill('RIVERS shape');
    assert.equal(await page.getByTestId('unit-card').count(), 1, 'search finds the one unit');
    assert.match(await page.getByTestId('unit-card').innerText(), new RegExp(UNIT));
    await page.getByTestId('library-search').fill('no such words');
    await page.getByTestId('library-empty').waitFor();
    await page.getByTestId('library-search').fill('');
  });

  it('opens a unit by keyboard and lands on its heading', async () => {
    const card = page.getByTestId('unit-card').filter({ hasText: UNIT });
    unitId = await card.getAttribute('data-unit-id');
    await card.focus();
    await page.keyboard.press('Enter');
    await page.getByTestId('unit-screen').waitFor();
    await until('the heading has the focus', () => page.evaluate(() => document.activeElement?.tagName === 'H1'));
    for (const row of await page.getByTestId('lesson-row').all()) {
      lessons[await row.getAttribute('data-kind')] ??= await row.getAttribute('data-lesson-id');
    }
    for (const kind of ['audio', 'video', 'page', 'document', 'quiz']) assert.ok(lessons[kind], `the unit has a lesson of kind ${kind}`);
  });

  it('takes it along in the quality of their choice', async () => {
    const sizes = [];
    for (const value of ['low', 'medium', 'high']) {
      const choice = page.locator(`[data-testid="quality-choice"][value="${value}"]`);
      if ((await choice.count()) === 0) continue;
      await choice.check();
      sizes.push(Number(await page.getByTestId('download-size').getAttribute('data-bytes')));
    }
    assert.ok(sizes.length >= 2, 'there is a choice');
    assert.ok(sizes.every((size, index) => index === 0 || size > sizes[index - 1]), `more costs more: ${sizes}`);
    await page.locator('[data-testid="quality-choice"]').first().check();
    await page.getByTestId('download-start').click();
    await page.locator('[data-testid="unit-state"][data-state="ready_offline"]').waitFor({ timeout: 60_000 });
    assert.equal(await page.locator('[data-testid="lesson-row"][data-offline="false"]').count(), 0, 'every lesson is here');
    await s.go('#/downloads');
    await page.locator(`[data-testid="download-row"][data-unit-id="${unitId}"][data-state="completed"]`).waitFor();
  });

  it('goes on without the service', { skip: !OWN && 'the service belongs to somebody else' }, async () => {
    await s.service.down();
    await s.go('#/sync');
    await page.getByTestId('sync-now').click();
    await until('the badge turns', async () => ['limited', 'offline'].includes(await badge()), 60_000);
  });

  it('plays the film, seeks in it, and its place is kept', async () => {
    await openLesson('video');
    await page.locator('[data-testid="lesson-screen"][data-source="local"]').waitFor();
    const video = page.getByTestId('lesson-video');
    await until('the film is known', () => video.evaluate((element) => element.readyState >= 1 && element.duration > 2));
    await page.getByTestId('player-play').click();
    await until('time moves', () => video.evaluate((element) => element.currentTime > 0.3));
    await page.getByTestId('player-play').click();
    const duration = await video.evaluate((element) => element.duration * 1000);
    await page.getByTestId('player-scrubber').fill(String(Math.round(duration / 2 / 1000) * 1000));
    await until('it has sought', () => video.evaluate((element) => !element.seeking && element.currentTime > element.duration * 0.4));
    await until('the place is recorded', async () => Number(await progress('position')) >= duration * 0.4);
    assert.equal(await video.evaluate((element) => element.textTracks.length > 0), true, 'it has captions');
    assert.ok((await page.getByTestId('transcript-cue').count()) > 3, 'and a transcript');
    await page.getByTestId('transcript-cue').nth(1).click();
    const start = Number(await page.getByTestId('transcript-cue').nth(1).getAttribute('data-start'));
    await until('the line leads to its place', () => video.evaluate((element, ms) => Math.abs(element.currentTime * 1000 - ms) < 1_500, start));
  });

  it('listens while other screens are open', async () => {
    await openLesson('audio');
    const audio = page.getByTestId('audio-element');
    await until('the sound is known', () => audio.evaluate((element) => element.readyState >= 1 && element.duration > 2));
    await page.getByTestId('player-speed').selectOption('1.5');
    await page.getByTestId('player-play').click();
    await until('time moves', () => audio.evaluate((element) => element.currentTime > 0.5));
    assert.equal(await audio.evaluate((element) => element.playbackRate), 1.5);
    await page.getByTestId('player-forward').click();
    await until('it is 30 seconds on', () => audio.evaluate((element) => element.currentTime > 30));
    await until('a line is followed', async () => (await page.locator('[data-testid="transcript-cue"][aria-current="true"]').count()) === 1);
    await s.go('#/library');
    await page.getByTestId('mini-player').waitFor();
    const before = await audio.evaluate((element) => element.currentTime);
    await until('it plays on', () => audio.evaluate((element, from) => element.currentTime > from + 0.3, before));
    await page.getByTestId('mini-play').click();
    await until('it is quiet', () => audio.evaluate((element) => element.paused));
    await page.getByTestId('mini-open').click();
    await page.getByTestId('lesson-audio').waitFor();
    await until('the place is recorded', async () => Number(await progress('position')) > 30_000);
  });

  it('reads the page, typeset and with its pictures', async () => {
    await openLesson('page');
    await page.locator('[data-testid="lesson-page"][data-loaded="true"]').waitFor();
    const text = page.frameLocator('[data-testid="lesson-page"]');
    assert.ok((await text.locator('p').count()) > 2, 'there is text');
    assert.match(await text.locator('body').evaluate((body) => getComputedStyle(body).fontFamily), /Literata/, 'in the face for reading');
    await until('its pictures are shown', () =>
      text.locator('img').evaluateAll((all) => all.length > 0 && all.every((one) => one.complete && one.naturalWidth > 0)),
    );
    await page.mouse.wheel(0, 20_000);
    await until('it is read', async () => (await progress('status')) === 'completed');
  });

  it('reads the document, page by page', async () => {
    await openLesson('document');
    await page.locator('[data-testid="pdf-page"][data-rendered="1"]').waitFor({ timeout: 30_000 });
    const pages = Number(await page.getByTestId('lesson-document').getAttribute('data-pages'));
    assert.ok((await page.getByTestId('pdf-text').innerText()).trim().length > 20, 'its words can be selected');
    const inked = await page.getByTestId('pdf-page').evaluate((canvas) => {
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      return data.some((value, index) => index % 4 !== 3 && value < 100);
    });
    assert.ok(inked, 'something is drawn');
    for (let number = 2; number <= pages; number += 1) {
      await page.getByTestId('pdf-next').click();
      await page.locator(`[data-testid="pdf-page"][data-rendered="${number}"]`).waitFor();
    }
    await until('it is read', async () => (await progress('status')) === 'completed');
  });

  it('answers a quiz of every kind, each answer saved at once', async () => {
    await openLesson('quiz');
    await page.getByTestId('quiz-start').click();
    await page.getByTestId('quiz-question').first().waitFor();
    const kinds = new Set();
    for (const question of await page.getByTestId('quiz-question').all()) {
      const kind = await question.getAttribute('data-kind');
      kinds.add(kind);
      if (kind === 'single') await question.getByTestId('quiz-answer').first().check();
      if (kind === 'multiple') {
        await question.getByTestId('quiz-answer').nth(0).check();
        await question.locator('[data-testid="quiz-saved"]').waitFor();
        await question.getByTestId('quiz-answer').nth(1).check();
      }
      if (kind === 'order') await question.getByTestId('quiz-move-down').first().click();
      if (kind === 'match') {
        for (const select of await question.getByTestId('quiz-match').all()) await select.selectOption({ index: 1 });
      }
      if (kind === 'short_text') await question.getByTestId('quiz-text').fill('delta');
      if (kind === 'numeric') {
        await question.getByTestId('quiz-number').fill('٣٫٥');
        assert.equal(await question.getAttribute('data-answered'), 'false', 'nothing is saved while typing');
      }
      await question.locator('legend').evaluate(() => document.activeElement?.blur());
      await until(`the ${kind} answer is saved`, async () => (await question.getAttribute('data-answered')) === 'true');
      await until(`"saved on this device" is said of ${kind}`, async () =>
        /Saved on this device \d/.test(await question.getByTestId('quiz-saved').innerText()),
      );
    }
    assert.deepEqual([...kinds].sort(), ['match', 'multiple', 'numeric', 'order', 'short_text', 'single']);
    await page.reload();
    await page.getByTestId('quiz-question').first().waitFor();
    assert.equal(await page.locator('[data-testid="quiz-question"][data-answered="false"]').count(), 0, 'and is there after a restart');
    await page.getByTestId('quiz-finish').click();
    await page.getByTestId('quiz-receipt').waitFor();
    if (OWN) assert.equal(await page.getByTestId('quiz-receipt').getAttribute('data-sent'), 'false', 'finished, not sent yet');
    await page.getByTestId('quiz-score').waitFor();
    assert.ok((await page.locator('[data-testid="quiz-question"][data-correct]').count()) === kinds.size, 'each is marked');
  });

  it('sees what waits, and "Sync now" answers offline', { skip: !OWN }, async () => {
    assert.ok((await waiting()) > 5, 'the shell counts what waits');
    await s.go('#/sync');
    await page.getByTestId('waiting-row').first().waitFor();
    await page.getByTestId('sync-now').click();
    await page.locator('[data-testid="sync-answer"][data-outcome="will_send_when_online"]').waitFor();
    const download = page.waitForEvent('download');
    await page.getByTestId('outbox-export').click();
    assert.match((await download).suggestedFilename(), /\.json$/, 'what waits can be kept as a file');
  });

  it('comes back, and everything is sent quietly', { skip: !OWN }, async () => {
    await s.service.up();
    await page.getByTestId('sync-now').click();
    await until('the badge is online', async () => (await badge()) === 'online', 60_000);
    await until('nothing waits', async () => (await waiting()) === 0, 60_000);
    assert.equal(await page.getByTestId('waiting-row').count(), 0);
    await openLesson('quiz');
    await page.locator('[data-testid="quiz-receipt"][data-sent="true"]').waitFor();
  });

  it('deletes a unit and takes it back', async () => {
    await s.go('#/sync');
    const row = page.locator(`[data-testid="stored-unit"][data-unit-id="${unitId}"]`);
    await row.getByTestId('delete-unit').click();
    await row.waitFor({ state: 'detached' });
    await page.getByTestId('toast-undo').click();
    await row.waitFor();
    await s.go(`#/unit/${unitId}`);
    await page.locator('[data-testid="unit-state"][data-state="ready_offline"]').waitFor();
  });

  it('never broke the policy of the page', () => {
    const ours = s.complaints.filter((text) => !/Failed to load resource/.test(text));
    assert.deepEqual(ours, []);
  });
});
