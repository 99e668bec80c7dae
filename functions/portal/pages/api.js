// The API as the pages call it: as whoever is signed in. Who is so no longer is asked to sign in again.

import { Client, Problem } from './client.js';
import { SignedOut, forget, token, tokenNow } from './session.js';

export { Problem };

const client = new Client({ base: new URL('../', location.href), token });

/** @template T @param {Promise<T>} answer */
async function signedIn(answer) {
  try {
    return await answer;
  } catch (error) {
    if (!(error instanceof Problem && error.name === 'signed-out')) throw error;
    forget();
    throw new SignedOut();
  }
}

/** @type {Client['get']} */
export const get = (...request) => signedIn(client.get(...request));

/** @type {Client['all']} */
export const all = (...request) => signedIn(client.all(...request));

/** @type {Client['send']} */
export const send = (...request) => signedIn(client.send(...request));

/** A request's own name: its repeat is the same request. */
export const once = () => crypto.randomUUID();

/** Opens a live session with a player's offer; returns the answer, and the session's id. */
export async function openLive(device, offer) {
  const { body, location } = await send('post', '/v1/devices/{device}/live', { path: { device }, body: offer, type: 'application/sdp' });
  return { session: (location ?? '').split('/').pop(), answer: body };
}

/** Closes one, also while the page goes away. */
export function closeLive(session) {
  // Ring ends by itself what could not be closed.
  return client.send('delete', '/v1/live/{session}', { path: { session }, token: tokenNow(), keepalive: true }).catch(() => null);
}
