// Clips, snapshots and recordings: asked for, waited for, and shown with what is true of them.

import { Problem, get, once, send } from './api.js';
import { Sheet, announce, h, icon, show } from './element.js';
import { KINDS, clock, exact, mediumState, problem, seconds, size } from './words.js';

/** A presigned URL is good for five minutes: read anew before that. */
const FRESH_MS = 4 * 60_000;
const LOOK_MS = 1_500;

const known = new Map();

export const isOver = ({ state }) => ['stored', 'no_media', 'failed'].includes(state);

/** Its picture, if it has one. */
export function picture(medium) {
  if (medium.state !== 'stored') return null;
  return medium.kind === 'snapshot' ? medium.url : medium.thumbnail;
}

/** When it shows what it shows, as far as is known. */
export const momentOf = (medium) => (medium.actual ?? medium.requested).timestamp;

/** A medium, as it is now, or as it was while its URLs are good. */
export async function medium(id) {
  const kept = known.get(id);
  if (kept && isOver(kept.medium) && Date.now() - kept.at < FRESH_MS) return kept.medium;
  return keep(await get('/v1/media/{id}', { path: { id } }));
}

/** The newest media of a device. */
export async function mediaOf(device, limit = 24) {
  const { items } = await get('/v1/devices/{device}/media', { path: { device }, query: { limit } });
  return items.map(keep);
}

/** What is kept stays the same object while nothing but its URLs would change, so that no picture loads twice. */
function keep(found) {
  const kept = known.get(found.id);
  if (kept && kept.medium.state === found.state && isOver(found) && Date.now() - kept.at < FRESH_MS) return kept.medium;
  known.set(found.id, { medium: found, at: Date.now() });
  return found;
}

export async function askForSnapshot(device) {
  return (await send('post', '/v1/devices/{device}/snapshots', { path: { device: device.id }, body: {}, once: once() })).body;
}

export async function askForClip(device, timestamp, duration) {
  return (await send('post', '/v1/devices/{device}/clips', { path: { device: device.id }, body: { timestamp, duration } })).body;
}

export async function askForCapture(device, duration) {
  return (await send('post', '/v1/devices/{device}/captures', { path: { device: device.id }, body: { duration }, once: once() })).body;
}

/** Looks at a medium until it is over or nobody asks any more. Returns how to stop. */
export function watch(id, tell) {
  let stopped = false;
  (async () => {
    for (;;) {
      let found = null;
      try {
        found = await medium(id);
      } catch (error) {
        // What is out of reach for a moment is looked at again; what is gone is gone.
        if (!(error instanceof Problem) || error.status === 404) {
          if (!stopped) tell(null, error);
          return;
        }
      }
      if (stopped) return;
      if (found) tell(found);
      if (found && isOver(found)) return;
      await new Promise((done) => { setTimeout(done, LOOK_MS); });
    }
  })();
  return () => { stopped = true; };
}

/** @typedef {import('./client.js').Schemas['Medium']} Medium */

/**
 * Opens what was asked for, and shows it as soon as it is there.
 * @param {string} title
 * @param {() => Medium | Promise<Medium>} ask gives the medium
 * @param {(found: Medium | null) => void} [changed] is told what became of it
 */
export function open(title, ask, changed) {
  let stop = () => {};
  const sheet = new Sheet(title, 'viewer', () => stop());
  const stage = h('div', { class: 'stage', 'data-medium': 'asked' }, waiting('Asking Ring…'));
  const facts = h('dl', { class: 'facts' });
  const actions = h('div', { class: 'actions' });
  show(sheet.body, stage, facts, actions);
  let state = null;
  const tell = (found, error) => {
    if (!sheet.isOpen) return;
    if (!found) {
      stage.dataset.medium = 'failed';
      show(stage, h('p', { class: 'notice', role: 'alert' }, problem(error)));
      return;
    }
    if (found.state === state) return;
    state = found.state;
    stage.dataset.medium = state;
    show(stage, staged(found));
    show(facts, factsOf(found));
    show(actions, found.url && h('a', { class: 'button plain', href: found.url, download: '', rel: 'noreferrer' }, 'Download'),
      isOver(found) && h('button', { type: 'button', class: 'plain danger', onclick: () => remove(found) }, 'Delete'));
    if (isOver(found)) {
      announce(state === 'stored' ? `${KINDS[found.kind]} is here` : mediumState(found));
      changed?.(found);
    }
  };
  const remove = async (found) => {
    try {
      await send('delete', '/v1/media/{id}', { path: { id: found.id } });
      known.delete(found.id);
      sheet.close();
      announce(`${KINDS[found.kind]} deleted`);
      changed?.(null);
    } catch (error) {
      show(actions, h('p', { class: 'notice', role: 'alert' }, problem(error)));
    }
  };
  Promise.resolve().then(ask).then((found) => {
    tell(found);
    if (!isOver(found) || !found.url) stop = watch(found.id, tell);
    if (!sheet.isOpen) stop();
  }).catch((error) => tell(null, error));
}

const waiting = (words) => h('div', { class: 'waiting-for' }, h('div', { class: 'mark waiting', 'aria-hidden': 'true' }), h('p', {}, words));

function staged(found) {
  if (found.state !== 'stored') return isOver(found) ? h('p', { class: 'notice' }, mediumState(found)) : waiting(mediumState(found));
  if (found.kind === 'snapshot') return h('img', { src: found.url, alt: `Snapshot of ${exact(momentOf(found))}` });
  const video = h('video', { src: found.url, controls: true, autoplay: true, playsinline: true, muted: true, poster: found.thumbnail });
  video.muted = true;
  video.addEventListener('error', () => {
    const why = found.codec === 'hevc' ? 'This browser can’t play H.265. Download it to see it.' : 'This browser could not play it.';
    video.replaceWith(h('p', { class: 'notice' }, why));
  });
  return video;
}

const ORIGINS = { recording: 'Recording of the camera', snapshot: 'Still of the camera', live: 'Live video' };
const PRIVACY = { none: null, obscured: 'Blackened here', as_recorded: 'As the camera recorded' };

/** What is true of it, the asked-for beside the true where they differ. */
function factsOf(found) {
  const span = ({ timestamp, duration }) => exact(timestamp) + (duration ? `, ${seconds(duration)}` : '');
  const { actual, requested, resolution } = found;
  const differs = actual && found.kind !== 'capture' && Math.abs(actual.timestamp - requested.timestamp) > 1_000;
  const rows = [
    ['Shows', actual ? span(actual) : null],
    ['Asked for', !actual || differs || found.partial ? span(requested) : null],
    ['Whole', found.partial ? 'No: Ring has a part of it' : null],
    ['Fresh', found.stale ? 'No: it is from well before the time asked for' : null],
    ['From', ORIGINS[found.origin] ?? found.origin],
    ['Format', [found.codec && (found.codec === 'hevc' ? 'H.265' : 'H.264'), resolution && `${resolution.width} × ${resolution.height}`,
      found.bytes && size(found.bytes)].filter(Boolean).join(', ') || null],
    ['Privacy zones', PRIVACY[found.privacy_zones] ?? null],
  ];
  return rows.filter(([, said]) => said).map(([name, said]) => h('div', {}, h('dt', {}, name), h('dd', {}, said)));
}

/** A medium in a gallery. */
export function tile(found, onclick) {
  const src = picture(found);
  const kind = KINDS[found.kind] ?? found.kind;
  const state = isOver(found) ? (found.state === 'stored' ? '' : ', not available') : ', on its way';
  return h('button', { type: 'button', class: `tile ${found.state}`, onclick, 'aria-label': `${kind}${state}, ${exact(momentOf(found))}` },
    src ? h('img', { src, alt: '', loading: 'lazy' }) : h('span', { class: 'no-picture' }, icon(found.kind)),
    h('span', { class: 'tile-words' }, icon(found.kind), clock(momentOf(found))));
}
