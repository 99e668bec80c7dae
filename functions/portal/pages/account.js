// The account: which Ring accounts are linked, everything that is kept as one archive, and an end to all of it.

import { Problem, get, send } from './api.js';
import { Sheet, announce, h, say, show } from './element.js';
import { forget, signOut, user } from './session.js';
import { problem, since } from './words.js';

const LOOK_MS = 2_000;
const EXPORT_WITHIN_MS = 5 * 60_000;
/** What is typed by whoever wants everything gone. */
const WORD = 'erase';

const STATUS = {
  confirming: 'Ring is finishing',
  awaiting: 'Set-up to be completed',
  completed: 'Linked',
  relink_required: 'To be linked again in the Ring app',
};

const action = (name, onclick, kind = 'plain') => h('button', { type: 'button', class: kind, onclick }, name);

/** Completes the set-up of a link. */
export const complete = (link) => send('patch', '/v1/links/{link}', { path: { link: link.id }, body: { status: 'completed' } });

export function openAccount(changed) {
  const sheet = new Sheet('Your account', 'narrow-sheet');
  const links = h('ul', { class: 'links' });
  const load = async () => {
    try {
      const { items } = await get('/v1/links');
      show(links, items.length ? items.map((link) => linkRow(link, () => { load(); changed(); }))
        : h('li', { class: 'soft' }, 'No Ring account is linked.'));
    } catch (error) {
      show(links, h('li', { class: 'notice' }, problem(error)));
    }
  };
  show(sheet.body,
    h('section', {}, h('p', {}, 'Signed in as ', h('strong', {}, user())), h('div', { class: 'actions' }, action('Sign out', () => signOut()))),
    h('section', {}, h('h3', {}, 'Ring accounts'), links),
    exportSection(), eraseSection(sheet));
  load();
}

function linkRow(link, changed) {
  const said = h('p', { class: 'notice', role: 'alert', hidden: true });
  const actions = h('div', { class: 'actions' });
  const run = async (work, words) => {
    try {
      await work();
      announce(words);
      changed();
    } catch (error) {
      said.hidden = false;
      say(said, problem(error));
    }
  };
  const usual = () => show(actions,
    link.status === 'awaiting' && action('Complete the set-up', () => run(() => complete(link), 'Set-up completed'), 'main'),
    action('Unlink', sure));
  const sure = () => {
    const yes = action('Yes, unlink', () => run(() => send('delete', '/v1/links/{link}', { path: { link: link.id } }), 'Unlinked'), 'danger');
    show(actions, h('span', {}, 'Its cameras go from here.'), yes, action('No', usual));
    yes.focus();
  };
  usual();
  return h('li', {}, h('div', {}, h('strong', {}, STATUS[link.status] ?? link.status), h('span', { class: 'soft' }, ' since ', since(link.linked_at))), said, actions);
}

function exportSection() {
  const said = h('p', { class: 'soft', role: 'status' }, 'Devices, events, policies and media in one archive.');
  const actions = h('div', { class: 'actions' });
  const begin = async () => {
    start.disabled = true;
    say(said, 'Being put together. This can take a minute or two.');
    const until = Date.now() + EXPORT_WITHIN_MS;
    try {
      for (;;) {
        const body = await get('/v1/account/export');
        if (body.url) {
          say(said, 'Your archive is ready. Its address is good for five minutes.');
          show(actions, h('a', { class: 'button main', href: body.url, download: '', rel: 'noreferrer' }, 'Download the archive'));
          return;
        }
        if (Date.now() > until) throw new Problem('unavailable');
        await new Promise((done) => { setTimeout(done, LOOK_MS); });
      }
    } catch (error) {
      say(said, problem(error));
      start.disabled = false;
    }
  };
  const start = action('Get a copy of everything', begin);
  show(actions, start);
  return h('section', {}, h('h3', {}, 'Your data'), said, actions);
}

function eraseSection(sheet) {
  const said = h('p', { role: 'status' }, 'Ends all links, and deletes tokens, devices, events and media for good. It can’t be undone.');
  const word = h('input', { type: 'text', name: 'word', autocomplete: 'off', autocapitalize: 'off', spellcheck: 'false' });
  const go = h('button', { type: 'submit', class: 'danger', disabled: true }, 'Erase everything');
  word.addEventListener('input', () => { go.disabled = word.value.trim().toLowerCase() !== WORD; });
  const form = h('form', { class: 'stack' }, h('label', { class: 'field' }, h('span', {}, `Type “${WORD}” to confirm`), word), h('div', { class: 'actions' }, go));
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    go.disabled = true;
    say(said, 'Erasing…');
    try {
      const { body } = await send('delete', '/v1/account');
      forget();
      sheet.title.textContent = 'Everything is erased';
      show(sheet.body, h('section', { 'data-erased': true },
        h('p', {}, 'Your links are ended, and what was kept of you is being deleted.'),
        h('p', {}, 'Your receipt: ', h('code', {}, body.receipt)),
        h('div', { class: 'actions' }, action('Done', () => signOut(), 'main'))));
      sheet.element.addEventListener('close', () => signOut());
      announce('Everything is erased');
    } catch (error) {
      say(said, problem(error));
      go.disabled = false;
    }
  });
  return h('section', { class: 'erase' }, h('h3', {}, 'Erase everything'), said, form);
}
