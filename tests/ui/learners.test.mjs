/** Coming and going: the learner's choices, signing out with work that is not sent, and the diagnostics page. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import axe from '@axe-core/playwright';
import { OWN, stage, until } from './stage.mjs';

describe('a learner', () => {
  let s;
  let page;

  before(async () => {
    s = await stage();
    page = s.page;
    await s.signIn();
  });
  after(async () => s?.close());

  it('reads in their language, from right to left, and in their theme, also after a restart', async () => {
    await s.go('#/settings');
    await page.getByTestId('setting-language').selectOption('ar');
    await until('the page runs from right to left', () => page.evaluate(() => document.documentElement.dir === 'rtl'));
    assert.match(await page.locator('h1').innerText(), /[\u0600-\u06ff]/);
    await page.getByTestId('setting-theme').selectOption('dark');
    await page.getByTestId('setting-text-size').selectOption('130');
    await until('the text is larger', () => page.evaluate(() => document.documentElement.style.fontSize === '130%'));
    await page.reload();
    await page.getByTestId('settings-screen').waitFor();
    const root = await page.evaluate(() => ({
      lang: document.documentElement.lang,
      theme: document.documentElement.dataset.theme,
      size: document.documentElement.style.fontSize,
      ground: getComputedStyle(document.body).backgroundColor,
    }));
    assert.deepEqual(root, { lang: 'ar', theme: 'dark', size: '130%', ground: 'rgb(22, 22, 20)' });
    await page.getByTestId('setting-language').selectOption('en');
    await page.getByTestId('setting-text-size').selectOption('100');
  });

  it('decides what becomes of unsent work before signing out', { skip: !OWN && 'the service belongs to somebody else' }, async () => {
    await s.service.down();
    await s.go('#/library');
    const unit = await page.getByTestId('unit-card').first().getAttribute('data-unit-id');
    await s.go(`#/unit/${unit}`);
    const quiz = await page.locator('[data-testid="lesson-row"][data-kind="quiz"]').getAttribute('data-lesson-id');
    await s.go(`#/lesson/${quiz}`);
    await page.getByTestId('quiz-start').click();
    await until('something waits', async () => Number(await page.getByTestId('waiting-count').getAttribute('data-count')) > 0);
    await s.go('#/settings');
    await page.getByTestId('sign-out').click();
    await page.getByTestId('sign-out-dialog').waitFor();
    assert.equal(await page.getByTestId('unsent-choice').count(), 3, 'send, keep or discard');
    const { violations } = await new axe({ page }).include('dialog').analyze();
    assert.deepEqual(violations.map((one) => one.id), []);
    await page.keyboard.press('Escape');
    await page.getByTestId('sign-out-dialog').waitFor({ state: 'detached' });
    assert.equal(await page.evaluate(() => document.activeElement?.dataset.testid), 'sign-out', 'the focus is back where it came from');
    await page.getByTestId('sign-out').click();
    await page.locator('[data-testid="unsent-choice"][value="keep"]').check();
    await page.getByTestId('sign-out-confirm').click();
    await page.getByTestId('sign-in-form').or(page.getByTestId('learner-picker')).first().waitFor();
    await s.shot('signed-out');
  });

  it('finds the versions and a sound database in the diagnostics, and no way into it from a browser', async () => {
    await page.goto(`${s.origin}/diagnostics.html`);
    await page.getByTestId('diagnostics-sqlite').waitFor();
    const [, minor, patch] = (await page.getByTestId('diagnostics-sqlite').innerText()).split('.').map(Number);
    assert.ok(minor > 51 || (minor === 51 && patch >= 3), 'SQLite is newer than the one with the WAL bug');
    assert.equal(await page.getByTestId('diagnostics-check').innerText(), 'ok');
    assert.equal(await page.getByTestId('diagnostics-query').count(), 0);
    const { violations } = await new axe({ page }).analyze();
    assert.deepEqual(violations.map((one) => `${one.id} ${one.nodes[0]?.html}`), []);
    await s.shot('diagnostics');
  });

  it('never broke the policy of the page', () => {
    assert.deepEqual(s.complaints.filter((text) => !/Failed to load resource/.test(text)), []);
  });
});
