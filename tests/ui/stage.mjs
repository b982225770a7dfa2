/**
 * What every screen test stands on: the built service with the sample courses, the built `carrel-host` with the built
 * UI, and Chromium. Nothing is replaced by a stand-in.
 *
 * With `CARREL_UI` (the one-time link a running host prints) that host is used instead; then `CARREL_NAME`,
 * `CARREL_PASSWORD` and, if the sign-in form doesn't know it yet, `CARREL_SERVICE` say who signs in, and tests that
 * have to stop the service are left out by name.
 */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const ROOT = join(import.meta.dirname, '..', '..');
const BIN = process.env.CARREL_BIN ?? join(ROOT, 'target', 'debug');
const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const SHOTS = process.env.CARREL_SHOTS ?? null;
const START_MS = 30_000;

export const LEARNER = process.env.CARREL_NAME ?? 'amina';
export const PASSWORD = process.env.CARREL_PASSWORD ?? 'rivers-and-stars';
/** Whether the test owns the service and may stop it. */
export const OWN = process.env.CARREL_UI === undefined;

/** Starts a program and waits for a line of its output. */
async function start(program, args, found) {
  if (!existsSync(program)) throw new Error(`${program} is missing: cargo build -p carrel-host -p carrel-service`);
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  // Also when a test dies before it can tidy up.
  process.once('exit', () => child.kill('SIGKILL'));
  let log = '';
  const line = await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${program} did not start:\n${log}`)), START_MS);
    const look = (chunk) => {
      log += chunk;
      const match = found.exec(log);
      if (!match) return;
      clearTimeout(timer);
      resolve(match[0]);
    };
    child.stdout.on('data', look);
    child.stderr.on('data', look);
    child.on('exit', (code) => reject(new Error(`${program} ended with ${code}:\n${log}`)));
  });
  return { child, line, log: () => log };
}

async function end(running, signal = 'SIGTERM') {
  if (!running || running.child.exitCode !== null) return;
  const gone = new Promise((resolve) => running.child.once('exit', resolve));
  running.child.kill(signal);
  await gone;
}

/** The service, with the sample courses and one learner. */
class Service {
  constructor(folder) {
    this.folder = folder;
    this.address = null;
    this.running = null;
  }

  call(...args) {
    const options = typeof args.at(-1) === 'object' ? args.pop() : {};
    return execFileSync(join(BIN, 'carrel-service'), ['--data', this.folder, ...args], { encoding: 'utf8', ...options });
  }

  fill() {
    const courses = join(ROOT, 'samples', 'courses');
    const keys = readdirSync(courses).filter((name) => existsSync(join(courses, name, 'course.toml')));
    for (const key of keys) this.call('publish', join(courses, key));
    this.call('account', 'add', LEARNER, '--display-name', 'Amina Yusuf', '--password-stdin', { input: `${PASSWORD}\n` });
    for (const key of keys) this.call('enrol', LEARNER, key);
  }

  async up() {
    const listen = this.address?.replace('http://', '') ?? '127.0.0.1:0';
    const args = ['--data', this.folder, 'serve', '--listen', listen];
    this.running = await start(join(BIN, 'carrel-service'), args, /http:\/\/127\.0\.0\.1:\d+/);
    this.address = this.running.line;
  }

  async down() {
    await end(this.running, 'SIGKILL');
    this.running = null;
  }
}

/** Everything, running. Call `close` at the end. */
export async function stage() {
  const folder = mkdtempSync(join(tmpdir(), 'carrel-ui-'));
  let service = null;
  let host = null;
  let link = process.env.CARREL_UI;
  if (OWN) {
    service = new Service(join(folder, 'service'));
    service.fill();
    await service.up();
    const args = ['--data', join(folder, 'device'), '--service', service.address, '--listen', '127.0.0.1:0', '--ui', join(ROOT, 'ui', 'dist')];
    host = await start(join(BIN, 'carrel-host'), args, /http:\/\/127\.0\.0\.1:\d+\/\S+/);
    link = host.line;
  }
  const browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--no-first-run',
      '--autoplay-policy=no-user-gesture-required',
    ],
  });
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, locale: 'en-GB', reducedMotion: 'reduce' });
  const page = await context.newPage();
  /** What the page complained about: a broken policy, an exception, a missing file. */
  const complaints = [];
  page.on('console', (message) => {
    if (message.type() === 'error') complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  await page.goto(link);
  const origin = new URL(link).origin;

  return {
    page,
    context,
    origin,
    service,
    complaints,
    /** What the host has logged. */
    hostLog: () => host?.log() ?? '',
    /** Goes to a route, as a person would by a link. */
    async go(route) {
      await page.evaluate((hash) => {
        location.hash = hash;
      }, route);
    },
    async signIn() {
      const form = page.getByTestId('sign-in-form');
      await form.or(page.getByTestId('app-shell')).first().waitFor({ timeout: START_MS });
      if (await form.isVisible()) {
        if (process.env.CARREL_SERVICE) await page.getByTestId('sign-in-service').fill(process.env.CARREL_SERVICE);
        await page.getByTestId('sign-in-name').fill(LEARNER);
        await page.getByTestId('sign-in-password').fill(PASSWORD);
        await page.getByTestId('sign-in-submit').click();
      }
      await page.getByTestId('unit-card').first().waitFor({ timeout: START_MS });
    },
    /** A picture, where `CARREL_SHOTS` names a folder for them. */
    async shot(name, options = {}) {
      if (!SHOTS) return;
      mkdirSync(SHOTS, { recursive: true });
      await page.evaluate(() => document.fonts.ready.then(() => undefined));
      await page.screenshot({ path: join(SHOTS, `${name}.png`), ...options });
    },
    /**
     * Nothing reaches beyond the sides. The page lays itself out anew some frames after its size, text or theme changed,
     * so what is measured is what it settles to.
     */
    async fits(name) {
      const limit = Date.now() + 3_000;
      for (;;) {
        const [over, culprits] = await page.evaluate(() => {
          const room = document.documentElement.clientWidth;
          const wide = [...document.querySelectorAll('main *')]
            .filter((element) => {
              const box = element.getBoundingClientRect();
              return box.width > 0 && (box.right > room + 1 || box.left < -1);
            })
            .map((element) => `${element.tagName}.${element.className} ${element.textContent?.trim().slice(0, 40)}`);
          return [document.documentElement.scrollWidth - room, wide.slice(0, 4)];
        });
        if (over <= 1) return;
        if (Date.now() > limit) throw new Error(`${name} is ${over} px too wide: ${culprits.join('; ')}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    },
    async close() {
      await browser.close();
      await end(host);
      await service?.down();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Waits until something is so, looking every 50 ms; says what it was waiting for when it never comes. */
export async function until(what, look, ms = 20_000) {
  const limit = Date.now() + ms;
  for (;;) {
    const answer = await look();
    if (answer) return answer;
    if (Date.now() > limit) throw new Error(`never came: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
