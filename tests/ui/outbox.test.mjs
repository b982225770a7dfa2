/**
 * The list of what waits on Cache & sync: what was refused is kept with its reason until the learner decides, in every
 * size, theme and language; "Sync now" answers whatever the network.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import axe from '@axe-core/playwright';
import { LEARNER, OWN, stage, until } from './stage.mjs';

const WIDTHS = [360, 768, 1280];
const DRESSES = [
  { name: 'light', settings: { theme: 'light', language: 'en' } },
  { name: 'dark', settings: { theme: 'dark', language: 'en' } },
  { name: 'ar', settings: { theme: 'light', language: 'ar' } },
];

describe('what waits, and what was refused', { skip: !OWN && 'it has to stop the service' }, () => {
  let s;
  let page;

  before(async () => {
    s = await stage();
    page = s.page;
    await s.signIn();
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

  const waiting = async () => Number(await page.getByTestId('waiting-count').first().getAttribute('data-count'));
  const row = (seq) => page.locator(`[data-testid=waiting-row][data-seq="${seq}"]`);
  const seqs = async (state) =>
    await page
      .locator(`[data-testid=waiting-row][data-state=${state}]`)
      .evaluateAll((rows) => rows.map((row) => row.dataset.seq));

  async function dress(settings) {
    const before = await command('settings_get', null);
    await command('settings_set', { ...before, ...settings });
    await page.reload();
    await page.getByTestId('app-shell').waitFor();
    await s.go('#/sync');
    await page.getByTestId('waiting-row').first().waitFor();
  }

  async function pictures(name) {
    for (const { name: dressed, settings } of DRESSES) {
      await dress(settings);
      for (const width of WIDTHS) {
        await page.setViewportSize({ width, height: 900 });
        await s.fits(`${name} in ${dressed} at ${width}`);
        await s.shot(`${name}-${dressed}-${width}`, { fullPage: true });
      }
      const { violations } = await new axe({ page }).analyze();
      assert.deepEqual(
        violations.map((one) => `${one.id}: ${one.nodes[0]?.html.slice(0, 160)}`),
        [],
        `axe in ${dressed}`,
      );
    }
    await page.setViewportSize({ width: 1280, height: 900 });
    await dress(DRESSES[0].settings);
  }

  it('lists what waits, and says offline that it goes by itself', async () => {
    const library = await command('catalogue_library', null);
    await until('everything is sent', async () => (await waiting()) === 0);
    // The service is away, the enrolment has ended, and the learner knows nothing of either. It ended long ago: what is done
    // within two minutes of an end is still taken, since clocks differ.
    await s.service.down();
    s.service.call('enrol', LEARNER, 'rivers', '--until', '2026-01-01');
    s.service.call('unenrol', LEARNER, 'rivers');
    for (const unit of library.courses.find((course) => course.units.length > 2).units) {
      const view = await command('catalogue_unit', { unit_id: unit.id });
      for (const lesson of view.lessons.filter(({ kind }) => kind === 'page')) {
        await command('learning_record_position', { lesson_id: lesson.id, position: 400, percent: 40 });
        await command('learning_complete', { lesson_id: lesson.id });
      }
    }
    await s.go('#/sync');
    await until('the list', async () => (await seqs('waiting')).length >= 4);
    assert.equal((await seqs('refused')).length, 0);
    await page.getByTestId('network-badge').and(page.locator(':not([data-state=online])')).first().waitFor();
    await page.getByTestId('sync-now').click();
    await page.locator('[data-testid=sync-answer][data-outcome=will_send_when_online]').waitFor();
    await pictures('outbox-waiting');
  });

  it('keeps what was refused, with its reason, until it is given up or goes through', async () => {
    await s.service.up();
    await until('all are refused', async () => (await seqs('refused')).length >= 4 && (await waiting()) === 0, 60_000);
    const [first, second] = await seqs('refused');
    await pictures('outbox-refused');
    assert.match(await row(first).innerText(), /enrol/i, 'the reason is said');

    // Asked of the engine, once it has taken the choice: the row still says "refused" for a moment.
    const chosen = page.waitForResponse((response) => response.url().endsWith('/outbox_retry'));
    await row(first).getByTestId('outbox-retry').click();
    await chosen;
    await until('refused again', async () => {
      const { entries } = await command('outbox_list', null);
      return entries.some(({ seq, state }) => String(seq) === first && state === 'refused');
    });
    await until('and shown so', async () => (await row(first).getAttribute('data-state')) === 'refused');
    await row(second).getByTestId('outbox-discard').click();
    await s.shot('outbox-discard');
    await page.getByTestId('outbox-discard-confirm').click();
    await row(second).waitFor({ state: 'detached' });

    const [saved] = await Promise.all([page.waitForEvent('download'), page.getByTestId('outbox-export').click()]);
    assert.match(saved.suggestedFilename(), /^carrel-unsent-\d{4}-\d\d-\d\d\.json$/);

    s.service.call('enrol', LEARNER, 'rivers');
    await row(first).getByTestId('outbox-retry').click();
    await row(first).waitFor({ state: 'detached', timeout: 30_000 });
    await page.getByTestId('sync-now').click();
    await page.locator('[data-testid=sync-answer][data-outcome=started]').waitFor();
    const { entries } = await command('outbox_list', null);
    assert.ok(!entries.some(({ seq }) => [first, second].includes(String(seq))), 'one is sent, one given up');
  });
});
