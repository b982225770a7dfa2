/**
 * Every screen in every dress: no accessibility violation that axe finds, no sideways scrolling, and – with
 * `CARREL_SHOTS=folder` – a picture to look at.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import axe from '@axe-core/playwright';
import { stage, until } from './stage.mjs';

const WIDTHS = [360, 768, 1280];
const DRESSES = [
  { name: 'light', settings: { theme: 'light', language: 'en', text_percent: 100 } },
  { name: 'dark', settings: { theme: 'dark', language: 'en', text_percent: 100 } },
  { name: 'ar', settings: { theme: 'light', language: 'ar', text_percent: 100 } },
];
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];

describe('every screen', () => {
  let s;
  let page;
  const screens = [];

  before(async () => {
    s = await stage();
    page = s.page;
  });
  after(async () => s?.close());

  async function command(name, request) {
    return await page.evaluate(
      async ([command, body]) => {
        const answer = await fetch(`/api/commands/${command}`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify(body),
        });
        return await answer.json();
      },
      [name, request],
    );
  }

  async function dress(settings) {
    const before = await command('settings_get', null);
    await command('settings_set', { ...before, ...settings });
    await page.reload();
    await page.getByTestId('app-shell').waitFor();
  }

  async function check(name) {
    // The heading is the last thing a screen waits for.
    await page.locator('main h1').first().waitFor();
    await page.evaluate(() => document.fonts.ready.then(() => undefined));
    const { violations } = await new axe({ page }).withTags(RULES).exclude('iframe').analyze();
    const found = violations.map((one) => `${one.id}: ${one.nodes.map((node) => `${node.html.slice(0, 160)} – ${node.failureSummary?.split('\n')[1]?.trim()}`).join(' | ')}`);
    assert.deepEqual(found, [], `axe on ${name}`);
  }

  it('starts with the sign-in form', async () => {
    await page.getByTestId('sign-in-form').waitFor();
    for (const width of WIDTHS) {
      await page.setViewportSize({ width, height: width < 500 ? 780 : 900 });
      await check(`sign-in ${width}`);
      await s.fits(`sign-in ${width}`);
      await s.shot(`sign-in-light-${width}`);
    }
    await page.setViewportSize({ width: 1280, height: 900 });
    await s.signIn();
  });

  it('has something to show', async () => {
    const library = await command('catalogue_library', null);
    const units = library.courses.flatMap((course) => course.units);
    const first = units.find((unit) => unit.title === 'How rivers shape the land') ?? units[0];
    await command('downloads_start', { unit_id: first.id, lesson_id: null, quality: null });
    await until('the unit is ready', async () => {
      const view = await command('catalogue_unit', { unit_id: first.id });
      return view.unit.state.availability === 'ready_offline';
    }, 60_000);
    const other = units.find((unit) => unit.id !== first.id);
    const queued = await command('downloads_start', { unit_id: other.id, lesson_id: null, quality: null });
    await command('downloads_pause', { download_id: queued.id });
    screens.push(['library', '#/library'], ['device', '#/device'], ['unit', `#/unit/${other.id}`], ['unit-ready', `#/unit/${first.id}`]);
    const seen = new Set();
    for (const unit of units) {
      const { lessons } = await command('catalogue_unit', { unit_id: unit.id });
      for (const lesson of lessons) {
        if (seen.has(lesson.kind)) continue;
        seen.add(lesson.kind);
        screens.push([`lesson-${lesson.kind}`, `#/lesson/${lesson.id}`]);
        if (lesson.kind === 'quiz') await command('learning_start_quiz', { lesson_id: lesson.id, again: false });
        if (lesson.kind === 'audio') await command('learning_record_position', { lesson_id: lesson.id, position: 31_000, percent: 34 });
      }
    }
    screens.push(['downloads', '#/downloads'], ['sync', '#/sync'], ['settings', '#/settings']);
  });

  for (const { name, settings } of DRESSES) {
    it(`is sound in ${name}`, { timeout: 300_000 }, async () => {
      await dress(settings);
      const problems = [];
      for (const width of WIDTHS) {
        await page.setViewportSize({ width, height: width < 500 ? 780 : 900 });
        for (const [screen, route] of screens) {
          const at = `${screen}-${name}-${width}`;
          await s.go(route);
          await page.locator('main h1').first().waitFor();
          if (screen === 'lesson-document') await page.locator('[data-testid="pdf-page"][data-rendered="1"]').waitFor({ timeout: 30_000 });
          if (screen === 'lesson-page') await page.locator('[data-testid="lesson-page"][data-loaded="true"]').waitFor();
          if (screen === 'lesson-video') await until('the film is there', () => page.getByTestId('lesson-video').evaluate((video) => video.readyState >= 2));
          // A picture for every width; axe where the layout differs.
          await s.shot(at, { fullPage: screen !== 'lesson-page' });
          for (const look of [s.fits, ...(width === 768 ? [] : [check])]) {
            await look(at).catch((error) => problems.push(error.message));
          }
        }
      }
      assert.deepEqual(problems, []);
    });
  }

  it('fits 320 px with twice the text', { timeout: 120_000 }, async () => {
    await dress({ theme: 'light', language: 'en', text_percent: 200 });
    await page.setViewportSize({ width: 320, height: 700 });
    const problems = [];
    for (const [screen, route] of screens) {
      await s.go(route);
      await page.locator('main h1').first().waitFor();
      await s.shot(`${screen}-200-320`, { fullPage: true });
      await s.fits(screen).catch((error) => problems.push(error.message));
    }
    await dress({ theme: 'system', language: null, text_percent: 100 });
    assert.deepEqual(problems, []);
  });
});
