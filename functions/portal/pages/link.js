// The link page. Ring's app opens it with a nonce, which stands for a Ring account for ten minutes: whoever has it and is signed in
// could link that account. So it leaves the address bar at once, stays in this tab alone, and nothing is linked before the person
// has seen whose cameras they are about to get.

import { Problem, all, get, send } from './api.js';
import { announce, h, show } from './element.js';
import { SignInError, SignedOut, resume, signIn, signOut, user } from './session.js';
import { plural } from './words.js';

const LINK = 'ring.link';
/** Ring's limit for a nonce. */
const GOOD_FOR_MS = 600_000;
/** How long the token is waited for before the person is asked. */
const WAIT_MS = 15_000;
/** How often an account that Ring is still completing is looked at, and how long. */
const LOOK_MS = 2_000;
const SETTLE_MS = 30_000;

const page = document.querySelector('#page');

takeNonce();
begin();

/** Takes the nonce out of the address bar. What a browser was sent back with from signing in is left for that. */
function takeNonce() {
  const query = new URLSearchParams(location.search);
  const [nonce, time] = [query.get('nonce'), query.get('time')];
  if (!nonce || !time) return;
  history.replaceState(null, '', location.pathname);
  sessionStorage.setItem(LINK, JSON.stringify({ nonce, time, at: Date.now() }));
}

async function begin() {
  try {
    await resume();
  } catch (error) {
    if (!(error instanceof SignInError)) return failed(error, begin);
    return askToSignIn(error.message);
  }
  const link = asked();
  if (!link) return nothingAsked();
  if (Date.now() - link.at > GOOD_FOR_MS) return expired();
  if (!user()) return askToSignIn();
  return look(link);
}

function asked() {
  try {
    return JSON.parse(sessionStorage.getItem(LINK));
  } catch {
    return null;
  }
}

/** The link is over, one way or the other: its nonce is of no more use. */
function forgetLink() {
  sessionStorage.removeItem(LINK);
}

// --- What is shown ------------------------------------------------------------------------------------------------------

/** One step: a heading, what it means, what can be done. */
function step(mark, title, parts, { busy = false } = {}) {
  const heading = h('h1', { tabindex: '-1' }, title);
  show(page, h('section', { class: 'step', 'aria-busy': String(busy), 'data-step': mark },
    h('div', { class: `mark ${mark}`, 'aria-hidden': 'true' }), heading, parts));
  heading.focus({ preventScroll: true });
  announce(title);
}

const text = (...words) => h('p', {}, ...words);
const soft = (...words) => h('p', { class: 'soft' }, ...words);
const actions = (...buttons) => h('div', { class: 'actions' }, buttons);
const action = (name, onclick, kind = 'main') => h('button', { type: 'button', class: kind, onclick }, name);
const toConsole = (name = 'Go to your cameras', kind = 'main') => h('a', { class: `button ${kind}`, href: 'home' }, name);

function steps(...each) {
  return h('ol', { class: 'steps' }, each.map((words) => h('li', {}, words)));
}

const againInRing = () => steps(
  'Open the Ring app.',
  'Find this app in its AppStore, where you installed it.',
  'Confirm once more that you want to link. You come back here with a fresh request.',
);

function nothingAsked() {
  step('quiet', 'Start in the Ring app', [
    text('This page links a Ring account, and needs a request from the Ring app to do so.'), againInRing(),
    actions(toConsole('See cameras you have linked', 'plain')),
  ]);
}

function askToSignIn(wrong) {
  step('quiet', 'Link your Ring account', [
    wrong && h('p', { class: 'notice', role: 'alert' }, wrong, ' Nothing was linked.'),
    text('Sign in first. You will then see which Ring account this is, and nothing is linked before you say so.'),
    actions(action('Sign in', () => signIn())),
  ]);
}

function expired() {
  forgetLink();
  step('wrong', 'This request has expired', [
    text('For your safety, a request from the Ring app is good for ten minutes. Nothing was linked.'), againInRing(),
    actions(toConsole('See cameras you have linked', 'plain')),
  ]);
}

function notReady(link) {
  step('quiet', 'It takes longer than usual', [
    text('Ring has not told us about your account yet. Mostly that is a matter of seconds; if it goes on, start again in the Ring app.'),
    actions(action('Look again', () => look(link)), action('Cancel', cancel, 'plain')),
  ]);
}

function taken() {
  forgetLink();
  step('wrong', 'Somebody else has linked this account', [
    text('This Ring account belongs to another user here. It can belong to one at a time, and was not moved.'),
    steps(
      'If you have a second account with us, sign in with that one.',
      'If somebody in your home linked it, they can unlink it in their console, under their account.',
      'Then start again in the Ring app.',
    ),
    actions(action('Sign in as somebody else', () => signOut()), toConsole('Go to your cameras', 'plain')),
  ]);
}

function cancel() {
  forgetLink();
  step('quiet', 'Nothing was linked', [
    text('You can close this page. To link an account later, start again in the Ring app.'),
    actions(toConsole('See cameras you have linked', 'plain')),
  ]);
}

/** Something out of reach, which is tried again by itself while the request lasts. */
function failed(error, again) {
  if (error instanceof SignedOut) return askToSignIn('You were signed out.');
  const named = error instanceof Problem ? error.name : '';
  if (named === 'link-expired') return expired();
  if (named === 'link-taken') return taken();
  if (named === 'link-time-invalid' || named === 'invalid-request') {
    forgetLink();
    return step('wrong', 'This request can’t be used', [
      text('It is not as the Ring app makes them. Nothing was linked.'), againInRing(),
    ]);
  }
  if (named === 'scope-missing') {
    forgetLink();
    return step('wrong', 'Ring does not allow this', [
      text('Ring has not given this app what it needs to see your cameras. Nothing was linked.'), againInRing(),
    ]);
  }
  const [title, why] = {
    'ring-unavailable': ['Ring can’t be reached', 'Ring does not answer right now. Your request is kept, and tried again by itself.'],
    'rate-limited': ['One moment, please', 'That was tried a little too often. It goes on by itself.'],
    offline: ['You seem to be offline', 'Nothing answers. As soon as you are connected again, this goes on by itself.'],
  }[named] ?? ['Something is out of reach', 'This is our fault, not yours. Your request is kept, and tried again by itself.'];
  const wait = Math.min(Math.max(error.retryAfter ?? 5, 2), 60);
  const count = h('span', {}, String(wait));
  step('quiet', title, [
    text(why), soft('Trying again in ', count, ' s.'),
    actions(action('Try now', () => { clearInterval(timer); again(); }), action('Cancel', () => { clearInterval(timer); cancel(); }, 'plain')),
  ]);
  let left = wait;
  const timer = setInterval(() => {
    left -= 1;
    count.textContent = String(Math.max(left, 0));
    if (left <= 0) {
      clearInterval(timer);
      again();
    }
  }, 1000);
  return null;
}

// --- What is done -------------------------------------------------------------------------------------------------------

const wait = (ms) => new Promise((done) => { setTimeout(done, ms); });

/** Finds out which account it is; the token behind it may be on its way. */
async function look(link) {
  step('waiting', 'Looking for your Ring account', [soft('This takes a few seconds.')], { busy: true });
  const until = Date.now() + WAIT_MS;
  for (;;) {
    try {
      const { body } = await send('post', '/v1/links/preview', { body: { nonce: link.nonce, time: link.time } });
      const mine = await all('/v1/links');
      if (mine.some(({ account_id }) => account_id === body.account_id)) return confirmed(link, body, true);
      return ask(link, body);
    } catch (error) {
      if (!(error instanceof Problem && error.name === 'link-not-found')) return failed(error, () => look(link));
      if (Date.now() > until) return notReady(link);
      await wait((error.retryAfter ?? 2) * 1000);
    }
  }
}

function ask(link, found) {
  step('ask', 'Is this your Ring account?', [
    h('dl', { class: 'pair' },
      h('div', {}, h('dt', {}, 'Ring account'), h('dd', { 'data-ring-user': true }, found.ring_user)),
      h('div', {}, h('dt', {}, 'Your account here'), h('dd', {}, user()))),
    soft('Its cameras will be shown to you here. Link it only if you started this in the Ring app yourself.'),
    actions(action('Link this account', () => confirmed(link, found, false)), action('Not mine', cancel, 'plain')),
    h('p', { class: 'soft small' }, 'Not ', user(), '? ',
      h('button', { type: 'button', class: 'inline', onclick: () => signOut() }, 'Sign in as somebody else')),
  ]);
}

/** Links it. Asked for again by who has it already, it is completed where it was left half-way. */
async function confirmed(link, found, already) {
  step('waiting', already ? 'Looking at your link' : 'Linking your Ring account', [soft('Ring is being told.')], { busy: true });
  try {
    let { body } = await send('post', '/v1/links', { body: { nonce: link.nonce, time: link.time } });
    const until = Date.now() + SETTLE_MS;
    while (body.status === 'confirming' && Date.now() < until) {
      await wait(LOOK_MS);
      const { id } = body;
      body = (await get('/v1/links')).items.find((one) => one.id === id) ?? body;
    }
    forgetLink();
    return done(body, found, already);
  } catch (error) {
    // It may have come about although nobody said so: asking once more is safe, and tells.
    if (error instanceof Problem && error.name === 'link-not-found') return notReady(link);
    return failed(error, () => confirmed(link, found, already));
  }
}

async function done(link, found, already) {
  const title = already ? 'This account is linked to you already' : 'Your Ring account is linked';
  const devices = h('p', { class: 'soft' }, ' ');
  const still = {
    confirming: 'Ring is still finishing on its side. Nothing is left for you to do; your cameras appear as soon as it has.',
    awaiting: 'One step is left: complete the set-up on the next page.',
  }[link.status];
  step('done', title, [
    text(h('strong', {}, found.ring_user), ' is linked to ', h('strong', {}, user()), '.'),
    still ? text(still) : devices,
    actions(toConsole(link.status === 'awaiting' ? 'Complete the set-up' : undefined)),
    soft('You can close this page and go back to the Ring app.'),
  ]);
  if (still) return;
  try {
    const mine = (await all('/v1/devices', { query: { link: link.id } })).length;
    devices.textContent = mine ? `${plural(mine, 'camera')} found.` : 'Its cameras appear in a moment.';
  } catch {
    // The link stands, whatever the list says.
    devices.textContent = 'Its cameras appear in a moment.';
  }
}
