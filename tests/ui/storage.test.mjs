/**
 * Storage in the window: the limit, pins, rules with preview and log, courses, and moving the store – by keyboard where a
 * mouse would do, and in every dress. With `CARREL_SHOTS=folder` pictures to look at.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import axe from '@axe-core/playwright';
import { stage, until } from './stage.mjs';

const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];

describe('storage', () => {
  let s;
  let page;
  let elsewhere;

  before(async () => {
    s = await stage();
    page = s.page;
    elsewhere = mkdtempSync(join(tmpdir(), 'carrel-elsewhere-'));
  });
  after(async () => {
    await s?.close();
    rmSync(elsewhere, { recursive: true, force: true });
  });

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

  it('shows what is here, by unit and by course', async () => {
    await s.signIn();
    const library = await command('catalogue_library', null);
    const units = library.courses.flatMap((course) => course.units).slice(0, 3);
    for (const unit of units) await command('downloads_start', { unit_id: unit.id, lesson_id: null, quality: null });
    await until('all are ready', async () => {
      const { downloads } = await command('downloads_list', null);
      return downloads.length === units.length && downloads.every((one) => one.state === 'completed');
    }, 60_000);
    await s.go('#/sync');
    await page.getByTestId('stored-unit').nth(units.length - 1).waitFor();
    const usage = await command('storage_usage', null);
    assert.equal(usage.by_kind.reduce((sum, kind) => sum + kind.bytes, 0), usage.used_bytes);
    await page.getByTestId('storage-courses').locator('summary').click();
    assert.ok((await page.getByTestId('delete-course').count()) > 0);
  });

  it('limits the store by keyboard', async () => {
    const slider = page.getByTestId('storage-quota');
    await slider.focus();
    await page.keyboard.press('Home');
    await until('the limit is kept', async () => (await command('storage_usage', null)).quota_bytes === 500_000_000);
    assert.match(await slider.getAttribute('aria-valuetext'), /500/);
    await page.keyboard.press('End');
    await until('no limit', async () => (await command('storage_usage', null)).quota_bytes === null);
  });

  it('pins a unit, previews the rules and keeps them', async () => {
    const pin = page.getByTestId('pin-unit').first();
    await pin.focus();
    await page.keyboard.press('Enter');
    await until('pinned', async () => (await pin.getAttribute('aria-pressed')) === 'true');
    await page.getByTestId('rule-finished').check();
    await page.getByTestId('rule-age').check();
    await page.getByTestId('rule-age-days').fill('14');
    await page.keyboard.press('Tab');
    await until('kept', async () => {
      const rules = await command('storage_clean_up_rules', null);
      return rules.finished && rules.by_age && rules.age_days === 14 && rules.expired;
    });
    await page.getByTestId('clean-up-preview').waitFor();
  });

  it('deletes with undo and says it in the log', async () => {
    await page.getByTestId('delete-unit').last().click();
    await page.getByTestId('clean-up-log').waitFor();
    await page.getByTestId('clean-up-log').locator('summary').click();
    assert.equal((await command('storage_clean_up_log', null)).entries.length, 1);
  });

  it('refuses a folder in words and moves the store to another', async () => {
    await page.getByTestId('move-store').click();
    await page.getByTestId('move-folder').fill('not/whole');
    await page.getByTestId('move-confirm').click();
    await page.getByTestId('move-refused').waitFor();
    await s.shot('storage-move-refused');
    const to = join(elsewhere, 'store');
    await page.getByTestId('move-folder').fill(to);
    await page.getByTestId('move-confirm').click();
    await until('it is there', async () => {
      const place = await command('storage_place', null);
      return place.folder === to && place.moving === null;
    });
    assert.ok(existsSync(join(to, 'blobs')));
    await until('the screen says so', async () => (await page.getByTestId('store-folder').textContent()) === to);
  });

  for (const [name, settings] of [
    ['light', { theme: 'light', language: 'en' }],
    ['dark', { theme: 'dark', language: 'en' }],
    ['ar', { theme: 'light', language: 'ar' }],
  ]) {
    it(`is for everybody to use: ${name}`, async () => {
      await command('settings_set', { ...(await command('settings_get', null)), ...settings });
      await page.reload();
      await page.getByTestId('clean-up').waitFor();
      await page.getByTestId('storage-place').waitFor();
      for (const width of [360, 768, 1280]) {
        await page.setViewportSize({ width, height: 900 });
        const { violations } = await new axe({ page }).withTags(RULES).analyze();
        assert.deepEqual(violations.map((one) => `${one.id}: ${one.nodes[0]?.html.slice(0, 160)}`), [], `${name} ${width}`);
        await s.fits(`${name} ${width}`);
        await s.shot(`storage-${name}-${width}`, { fullPage: true });
      }
    });
  }
});
