/** Learning beyond the story: a graded quiz and its grade, attempts, reviews by keyboard, bookmarks, another device, plots. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import axe from '@axe-core/playwright';
import { OWN, stage, until } from './stage.mjs';

const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];

describe('a learner of quizzes and cards', { skip: !OWN && 'needs a service of its own' }, () => {
  let s;
  let page;
  const lessons = [];

  before(async () => {
    s = await stage();
    page = s.page;
    await page.getByTestId('sign-in-form').waitFor();
    await s.signIn();
    const library = await command('catalogue_library', null);
    for (const unit of library.courses.flatMap((course) => course.units)) {
      lessons.push(...(await command('catalogue_unit', { unit_id: unit.id })).lessons);
    }
  });
  after(async () => s?.close());

  async function command(name, request) {
    return await page.evaluate(
      async ([name, body]) => {
        const headers = { 'content-type': 'application/json' };
        const answer = await fetch(`/api/commands/${name}`, { method: 'POST', headers, body: JSON.stringify(body) });
        if (!answer.ok) throw new Error(`${name}: ${await answer.text()}`);
        return await answer.json();
      },
      [name, request],
    );
  }

  const focused = (name) => page.evaluate((name) => document.activeElement?.getAttribute(name), name);
  const lesson = (kind) => lessons.find((one) => one.kind === kind);

  async function sound(name) {
    await page.locator('main h1').first().waitFor();
    for (const [dress, settings] of [
      ['light', { theme: 'light', language: 'en' }],
      ['dark', { theme: 'dark', language: 'en' }],
      ['ar', { theme: 'light', language: 'ar' }],
    ]) {
      await command('settings_set', { ...(await command('settings_get', null)), ...settings });
      await page.reload();
      await page.locator('main h1').first().waitFor();
      for (const width of [360, 768, 1280]) {
        await page.setViewportSize({ width, height: width < 500 ? 780 : 900 });
        await page.evaluate(() => document.fonts.ready.then(() => undefined));
        await s.shot(`learn-${name}-${dress}-${width}`, { fullPage: true });
        await s.fits(`${name} in ${dress} at ${width}`);
        if (width === 768) continue;
        const { violations } = await new axe({ page }).withTags(RULES).exclude('iframe').analyze();
        const found = violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.html.slice(0, 160)).join(' | ')}`);
        assert.deepEqual(found, [], `axe on ${name} in ${dress} at ${width}`);
      }
    }
    await command('settings_set', { ...(await command('settings_get', null)), theme: 'system', language: null });
    await page.reload();
    await page.locator('main h1').first().waitFor();
  }

  it('gets the grade of a graded quiz from the service, and no solution before or after', { timeout: 180_000 }, async () => {
    let graded = null;
    for (const one of lessons.filter((one) => one.kind === 'quiz')) {
      const view = await command('learning_quiz', { lesson_id: one.id });
      if (!view.quiz.practice) graded = one;
    }
    assert.ok(graded, 'there is a graded quiz among the samples');
    await s.service.down();
    await s.go(`#/lesson/${graded.id}`);
    await page.getByTestId('quiz-start').click();
    await page.getByTestId('quiz-question').first().waitFor();
    const question = page.locator('[data-testid="quiz-question"][data-question-id="meeting"]');
    await question.getByTestId('quiz-answer').nth(1).check();
    await question.getByTestId('quiz-saved').waitFor();
    await page.getByTestId('quiz-pause').click();
    await page.getByTestId('quiz-paused').waitFor();
    await until('the focus is where one goes on', async () => (await focused('data-testid')) === 'quiz-resume');
    await sound('quiz-paused');
    await page.getByTestId('quiz-resume').click();
    await question.waitFor();
    assert.equal(await question.getAttribute('data-answered'), 'true', 'the answer is still there');
    await page.getByTestId('quiz-finish').click();
    await page.getByTestId('quiz-finish-confirm').click();
    await page.locator('[data-testid="quiz-receipt"][data-sent="false"]').waitFor();
    assert.match(await page.getByTestId('quiz-receipt').innerText(), /Finished, not sent yet/);
    assert.equal(await page.getByTestId('quiz-score').count(), 0, 'nobody here knows the grade');
    assert.equal(await page.locator('[data-testid="quiz-question"][data-correct]').count(), 0, 'nor what is right');
    await s.shot('learn-quiz-unsent');
    await s.service.up();
    await command('sync_now', null);
    await page.locator('[data-testid="quiz-receipt"][data-sent="true"]').waitFor({ timeout: 60_000 });
    const score = page.getByTestId('quiz-score');
    await score.waitFor({ timeout: 60_000 });
    assert.equal(await score.getAttribute('data-points'), '1');
    assert.equal(await score.getAttribute('data-passed'), 'false');
    await sound('quiz-graded');
  });

  it('gives a quiz up, begins anew, and sees what came before', async () => {
    const quiz = lesson('quiz');
    await s.go(`#/lesson/${quiz.id}`);
    await page.getByTestId('quiz-start').click();
    await page.getByTestId('quiz-abandon').click();
    await page.getByTestId('quiz-abandon-confirm').click();
    await until('the focus is where one begins anew', async () => (await focused('data-testid')) === 'quiz-start');
    await page.keyboard.press('Enter');
    await page.getByTestId('quiz-question').first().waitFor();
    const attempt = page.getByTestId('quiz-attempt');
    await page.getByTestId('quiz-attempts').locator('summary').click();
    assert.equal(await attempt.count(), 1);
    assert.equal(await attempt.getAttribute('data-status'), 'abandoned');
  });

  it('reviews a deck with the keyboard alone', { timeout: 180_000 }, async () => {
    await s.go('#/review');
    const deck = page.locator(`[data-testid="deck"][data-lesson-id="${lesson('quiz').id}"]`);
    await deck.waitFor();
    const cards = Number(await deck.getAttribute('data-fresh'));
    assert.ok(cards >= 3, `${cards} cards`);
    await sound('decks');
    await deck.getByTestId('deck-open').focus();
    await page.keyboard.press('Enter');
    await page.getByTestId('review-start').waitFor();
    await page.getByTestId('review-start').focus();
    await page.keyboard.press('Enter');
    const seen = [];
    for (let turned = 0; turned < 40; turned += 1) {
      await until('a card or the end', async () =>
        (await page.getByTestId('review-show').isVisible()) || (await page.getByTestId('review-result').isVisible()),
      );
      if (await page.getByTestId('review-result').isVisible()) break;
      await until('the focus is on what comes next', async () => (await focused('data-testid')) === 'review-show');
      seen.push(await page.getByTestId('review-card').getAttribute('data-question-id'));
      assert.equal(await page.getByTestId('review-answer').count(), 0, 'the answer is not shown yet');
      await page.keyboard.press(' ');
      await page.getByTestId('review-answer').waitFor();
      if (turned === 0) {
        assert.ok((await page.getByTestId('review-answer').innerText()).trim().length > 0);
        await s.shot('learn-review-answer');
      }
      if (turned === 1) {
        await page.getByTestId('review-pause').click();
        await page.getByTestId('review-start').waitFor();
        await sound('review-paused');
        await page.getByTestId('review-start').focus();
        await page.keyboard.press('Enter');
        await page.getByTestId('review-show').waitFor();
        await sound('review-card');
        await page.getByTestId('review-show').focus();
        await page.keyboard.press(' ');
        await page.getByTestId('review-answer').waitFor();
      }
      // What was not known comes again.
      await page.keyboard.press(turned === 0 ? '1' : '4');
      const was = seen.at(-1);
      await until('it goes on', async () =>
        (await page.getByTestId('review-result').isVisible()) ||
        ((await page.getByTestId('review-show').isVisible()) && (await page.getByTestId('review-card').getAttribute('data-question-id')) !== was),
      );
    }
    assert.equal(seen.length, cards + 1, `${seen}`);
    assert.equal(seen.at(-1), seen[0], 'the one that was not known came again at the end');
    const result = page.getByTestId('review-result');
    assert.equal(await result.getAttribute('data-answered'), String(cards + 1));
    assert.equal(await result.getAttribute('data-correct'), String(cards));
    await sound('review-result');
    await s.go('#/review');
    await page.locator(`[data-testid="deck"][data-lesson-id="${lesson('quiz').id}"][data-fresh="0"][data-due="0"]`).waitFor();
  });

  it('bookmarks a place with a note, goes to it, and removes it', { timeout: 120_000 }, async () => {
    await s.go(`#/lesson/${lesson('audio').id}`);
    const audio = page.getByTestId('audio-element');
    await until('the sound is known', () => audio.evaluate((element) => element.readyState >= 1 && element.duration > 2));
    await page.getByTestId('player-scrubber').fill('20000');
    await until('it has sought', () => audio.evaluate((element) => Math.abs(element.currentTime - 20) < 1));
    await page.getByTestId('bookmark-add').click();
    await until('the note has the focus', async () => (await focused('data-testid')) === 'bookmark-note');
    await page.keyboard.type('Wichtig: der Fluss');
    await page.keyboard.press('Enter');
    const mark = page.getByTestId('bookmark');
    await until('the note is kept', async () => /der Fluss/.test(await mark.innerText()));
    assert.ok(await audio.evaluate((element) => element.paused), 'typing a space plays nothing');
    await page.getByTestId('player-scrubber').fill('1000');
    await until('it is elsewhere', () => audio.evaluate((element) => element.currentTime < 5));
    await page.getByTestId('bookmark-go').click();
    await until('it is there again', () => audio.evaluate((element) => Math.abs(element.currentTime - 20) < 1));
    await sound('bookmarks');
    await mark.getByTestId('bookmark-remove').click();
    await mark.waitFor({ state: 'detached' });
    assert.equal(await focused('data-testid'), 'bookmark-add', 'the focus is not lost');
    await page.getByTestId('toast-undo').click();
    await until('it is back with its note', async () => /der Fluss/.test(await mark.innerText()));
  });

  it('is offered a newer place of another device, and keeps its own until it takes it', { timeout: 120_000 }, async () => {
    const audio = lesson('audio');
    await s.go(`#/lesson/${audio.id}`);
    const element = page.getByTestId('audio-element');
    await until('the sound is known', () => element.evaluate((one) => one.readyState >= 1));
    const here = await element.evaluate((one) => one.currentTime);
    const post = async (path, body, token) => {
      const headers = { 'content-type': 'application/json', ...(token ? { authorization: `Bearer ${token}` } : {}) };
      const answer = await fetch(`${s.service.address}/api/v1${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
      assert.equal(answer.status, 200, await answer.clone().text());
      return await answer.json();
    };
    const device_id = '01900000-0000-7000-8000-0000000000aa';
    const { LEARNER, PASSWORD } = await import('./stage.mjs');
    const { access_token } = await post('/auth/sign-in', { name: LEARNER, password: PASSWORD, device_id });
    const at = new Date().toISOString();
    const there = Math.round(audio.duration_ms * 0.9);
    const position = { seq: 1, kind: 'progress.position', entity_id: audio.id, at, payload: { position: there, percent: 90 } };
    const { results } = await post('/sync/push', { device_id, client_now: at, ops: [position] }, access_token);
    assert.equal(results[0].outcome, 'applied');
    await command('sync_now', null);
    const offer = page.getByTestId('elsewhere');
    await offer.waitFor({ timeout: 30_000 });
    assert.equal(await page.locator('dialog[open]').count(), 0, 'no dialog');
    assert.ok(Math.abs((await element.evaluate((one) => one.currentTime)) - here) < 1, 'nothing has moved');
    await s.shot('learn-elsewhere');
    await page.getByTestId('elsewhere-go').click();
    await until('it is there', () => element.evaluate((one, ms) => Math.abs(one.currentTime - ms / 1000) < 1, there));
    await offer.waitFor({ state: 'detached' });
  });

  it('sees what was learned, as plots and as a table', { timeout: 120_000 }, async () => {
    await command('learning_study', { lesson_id: lesson('audio').id, session: null, active_ms: 25 * 60_000 });
    await s.go('#/statistics');
    await page.locator('[data-testid="statistics-screen"][data-ready="true"]').waitFor();
    await until('time is shown', async () => Number(await page.getByTestId('plot-time').getAttribute('data-total')) >= 25 * 60_000);
    assert.ok(Number(await page.getByTestId('plot-right').getAttribute('data-total')) >= 1, 'answers');
    assert.ok(Number(await page.getByTestId('plot-completed').getAttribute('data-total')) >= 1, 'completed');
    const label = await page.getByTestId('plot-time').locator('svg').getAttribute('aria-label');
    assert.match(label, /Time learned by day\. In all .*min/);
    await page.getByTestId('statistics-table').locator('summary').click();
    assert.equal(await page.getByTestId('statistics-table').locator('tbody tr').count(), 1, 'one day has something');
    await page.getByTestId('statistics-range').selectOption('7');
    await until('fewer days', async () => (await page.getByTestId('plot-time').locator('rect.all').count()) === 1);
    await sound('statistics');
  });

  it('never broke the policy of the page', () => {
    const ours = s.complaints.filter((text) => !/Failed to load resource/.test(text));
    assert.deepEqual(ours, []);
  });
});
