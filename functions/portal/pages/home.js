// The console: cameras, what happened, and what can be done about both. It stays true without a reload: while the page is seen,
// what may have changed is asked for every two seconds, conditionally.

import { Problem, all, get } from './api.js';
import { complete, openAccount } from './account.js';
import { Devices } from './device.js';
import { announce, h, say, show } from './element.js';
import { SignInError, SignedOut, resume, signIn, user } from './session.js';
import { Timeline } from './timeline.js';
import { clock, keepTime, plural, problem } from './words.js';

const LOOK_MS = 2_000;
/** What changes seldom is looked at each so many looks. */
const SELDOM = 5;
const EVENTS = 60;

const page = document.querySelector('#page');
const account = /** @type {HTMLElement} */ (document.querySelector('#account'));

/** @typedef {import('./client.js').Schemas} Schemas */

/**
 * What is known, and when it was last heard of.
 * @type {{ links: Schemas['Link'][], devices: Schemas['Device'][], events: Schemas['Event'][], summary: Schemas['Summary'],
 *   at: number, wrong: Problem }}
 */
const known = { links: null, devices: null, events: null, summary: null, at: null, wrong: null };
let looks = 0;
let timer = null;
let looking = false;
/** The devices as the API listed them. */
let listed = null;

const banners = h('div', { class: 'banners' });
const totals = h('dl', { class: 'totals', 'aria-label': 'Totals' });
const devices = new Devices();
const timeline = new Timeline(() => look(true));
const none = h('div', {});
const main = h('div', { class: 'board' }, h('div', { class: 'left' }, totals, none, devices.element), timeline.element);

begin();

async function begin() {
  let wrong = null;
  try {
    await resume();
  } catch (error) {
    wrong = error instanceof SignInError ? error.message : 'The sign-in can’t be reached. Check your connection, and try again.';
  }
  if (!user()) return signedOut(wrong);
  account.hidden = false;
  say(account, user());
  account.setAttribute('aria-label', `Your account, ${user()}`);
  account.addEventListener('click', () => openAccount(() => look(true)));
  loading();
  document.addEventListener('visibilitychange', () => look(true));
  addEventListener('online', () => look(true));
  addEventListener('offline', () => { known.wrong = new Problem('offline'); draw(); });
  setInterval(keepTime, 5_000);
  return look(true);
}

function signedOut(wrong) {
  clearTimeout(timer);
  account.hidden = true;
  for (const sheet of document.querySelectorAll('dialog')) sheet.close();
  show(page, h('section', { class: 'step' },
    h('div', { class: 'mark quiet', 'aria-hidden': 'true' }),
    h('h1', {}, 'Your cameras'),
    wrong && h('p', { class: 'notice', role: 'alert' }, wrong),
    h('p', {}, 'Sign in to see your Ring cameras, what happened, and live video.'),
    h('div', { class: 'actions' }, h('button', { type: 'button', class: 'main', onclick: () => signIn() }, 'Sign in'))));
}

function loading() {
  const shape = () => h('div', { class: 'camera shape' });
  show(page, h('h1', { class: 'unseen' }, 'Your cameras'), banners,
    h('div', { class: 'board', 'aria-busy': 'true' }, h('div', { class: 'left' }, h('div', { class: 'cameras' }, shape(), shape())), h('div', { class: 'timeline' })));
  announce('Loading your cameras');
}

/** Looks at what may have changed, and again after a while. `wholly`: at everything. */
async function look(wholly = false) {
  clearTimeout(timer);
  if (document.visibilityState === 'hidden') return;
  if (looking) {
    timer = setTimeout(look, 200, wholly);
    return;
  }
  looking = true;
  try {
    await read(wholly || looks % SELDOM === 0);
    looks += 1;
    known.at = Date.now();
    known.wrong = null;
    draw();
  } catch (error) {
    if (error instanceof SignedOut) {
      signedOut('You were signed out. Sign in again to go on.');
      return;
    }
    if (!(error instanceof Problem)) throw error;
    known.wrong = error;
    draw();
  } finally {
    looking = false;
  }
  const wait = Math.max(LOOK_MS, (known.wrong?.retryAfter ?? 0) * 1000);
  timer = setTimeout(look, wait);
}

async function read(wholly) {
  const before = known.summary;
  // The summary changes with each event and each device that comes, goes, or goes on or off: it tells whether to look further.
  known.summary = await get('/v1/summary');
  if (!wholly && known.summary === before) return;
  let found;
  [found, known.links, known.events] = await Promise.all([
    all('/v1/devices', { query: { limit: 100 } }), all('/v1/links'), get('/v1/events', { query: { limit: EVENTS } }).then(({ items }) => items),
  ]);
  // In an order that stays, whichever goes offline.
  if (found !== listed) known.devices = [...found].sort((one, other) => (one.name ?? '').localeCompare(other.name ?? ''));
  listed = found;
}

function draw() {
  drawBanners();
  if (!known.devices) {
    if (known.wrong) say(banners, problem(known.wrong));
    return;
  }
  if (!main.isConnected) show(page, h('h1', { class: 'unseen' }, 'Your cameras'), banners, main);
  drawTotals();
  const instead = nothing();
  show(none, instead);
  none.hidden = !instead;
  devices.show(known.devices, known.events);
  timeline.show(known.events, known.devices);
}

function nothing() {
  if (known.links.length === 0) {
    return h('section', { class: 'step inset' }, h('div', { class: 'mark quiet', 'aria-hidden': 'true' }),
      h('h2', {}, 'No Ring account is linked yet'),
      h('p', {}, 'Linking begins in the Ring app, so that only you can do it.'),
      h('ol', { class: 'steps' }, h('li', {}, 'Open the Ring app.'), h('li', {}, 'Find this app in its AppStore, and install it.'),
        h('li', {}, 'Confirm. You come back here, and your cameras show up.')));
  }
  if (known.devices.length === 0) {
    return h('section', { class: 'step inset' }, h('div', { class: 'mark waiting', 'aria-hidden': 'true' }), h('h2', {}, 'No cameras yet'),
      h('p', {}, 'Your Ring account is linked. The cameras that you share in the Ring app show up here by themselves.'));
  }
  return null;
}

function drawTotals() {
  const { summary } = known;
  totals.hidden = !summary?.devices;
  if (totals.hidden) return;
  const motion = Object.values(summary.motion_24h ?? {}).reduce((sum, count) => sum + count, 0);
  const row = (name, value, total) => h('div', {}, h('dt', {}, name), h('dd', {}, String(value), total !== undefined && h('span', {}, ` of ${total}`)));
  const text = JSON.stringify([summary.online, summary.devices, motion, summary.motion_enabled]);
  if (totals.dataset.shows === text) return;
  totals.dataset.shows = text;
  show(totals, row('Online', summary.online, summary.devices), row('Motion in 24 h', motion), row('Motion detection on', summary.motion_enabled, summary.devices));
}

/** What a person should know before anything else. */
function drawBanners() {
  /** @type {[key: string, kind: string, words: string, act?: [string, () => void]][]} */
  const found = [];
  if (known.wrong) {
    const when = known.at ? ` What you see is of ${clock(known.at)}.` : '';
    found.push(['offline', 'wrong', problem(known.wrong) + when]);
  }
  const links = known.links ?? [];
  for (const link of links.filter(({ status }) => status === 'awaiting')) {
    found.push([`awaiting ${link.id}`, 'todo', 'One step is left to link your Ring account.', ['Complete the set-up', () => finish(link)]]);
  }
  if (links.some(({ status }) => status === 'confirming')) found.push(['confirming', 'todo', 'Ring is still finishing your link. Your cameras appear as soon as it has.']);
  if (links.some(({ status }) => status === 'relink_required')) {
    found.push(['relink', 'wrong', 'Ring asks you to link your account again. Open the Ring app, and start from this app’s page there. Until then you see what was known last.']);
  } else {
    const late = (known.devices ?? []).filter(({ ring }) => ring === 'degraded').length;
    if (late) found.push(['degraded', 'wrong', `Ring has not answered for a while. ${late === known.devices.length ? 'You see' : `Of ${plural(late, 'camera')} you see`} what was known last.`]);
  }
  const text = JSON.stringify(found.map(([key, , words]) => [key, words]));
  if (banners.dataset.shows === text) return;
  banners.dataset.shows = text;
  show(banners, found.map(([key, kind, words, act]) => h('div', { class: `banner ${kind}`, role: 'status', 'data-banner': key.split(' ')[0] },
    h('p', {}, words), act && h('button', { type: 'button', class: 'main', onclick: act[1] }, act[0]))));
}

async function finish(link) {
  try {
    await complete(link);
    announce('Set-up completed');
  } catch (error) {
    if (error instanceof SignedOut) return signedOut('You were signed out. Sign in again to go on.');
    known.wrong = error;
    return draw();
  }
  return look(true);
}
