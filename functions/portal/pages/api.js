// The API as the pages call it: problem documents as errors, and lists that are the very same object while they have not changed.

import { SignedOut, forget, token, tokenNow } from './session.js';

const BASE = new URL('../v1/', location.href);
const PATIENCE_MS = 35_000;

/** What went wrong: `name` is the last word of the problem's type; `offline` where nothing answered. */
export class Problem extends Error {
  constructor(name, status = 0, body = {}, retryAfter = null) {
    super(body.detail ?? body.title ?? name);
    Object.assign(this, { name, status, errors: body.errors ?? [], detail: body.detail ?? null, retryAfter });
  }
}

/** What was read last, by path: its tag, its text, and what it says. */
const seen = new Map();

/** Reads a path, conditionally where it was read before. */
export async function get(path) {
  const before = seen.get(path);
  const headers = before?.tag ? { 'If-None-Match': before.tag } : {};
  const answer = await ask('GET', path, { headers });
  if (answer.status === 304 && before) return before.body;
  const text = await answer.text();
  const tag = answer.headers.get('ETag');
  const body = before?.text === text ? before.body : JSON.parse(text);
  seen.set(path, { tag, text, body });
  return body;
}

/** All pages of a list, up to a bound that no account comes near. */
export async function all(path, bound = 10) {
  const first = await get(path);
  if (!first.next) return first.items;
  const items = [...first.items];
  for (let { next } = first; next && bound > 1; bound -= 1) {
    const page = await get(`${path}${path.includes('?') ? '&' : '?'}cursor=${encodeURIComponent(next)}`);
    items.push(...page.items);
    next = page.next;
  }
  return items;
}

/** Sends JSON, and returns what is answered, if anything. */
export async function send(method, path, body, headers = {}) {
  const answer = await ask(method, path, {
    headers: { ...(body === undefined ? {} : { 'Content-Type': 'application/json' }), ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await answer.text();
  const said = text ? JSON.parse(text) : null;
  return { status: answer.status, body: said, location: answer.headers.get('Location') };
}

/** A request whose repeat is the same request. */
export const once = () => ({ 'Idempotency-Key': crypto.randomUUID() });

/** Opens a live session with a player's offer; returns the answer, and the session's id. */
export async function openLive(device, offer) {
  const answer = await ask('POST', `devices/${encodeURIComponent(device)}/live`, {
    headers: { 'Content-Type': 'application/sdp', Accept: 'application/sdp, application/problem+json' },
    body: offer,
  });
  const session = (answer.headers.get('Location') ?? '').split('/').pop();
  return { session, answer: await answer.text() };
}

/** Closes one, also while the page goes away. */
export function closeLive(session) {
  const headers = { Authorization: `Bearer ${tokenNow()}` };
  const url = new URL(`live/${encodeURIComponent(session)}`, BASE);
  // Ring ends by itself what could not be closed.
  return fetch(url, { method: 'DELETE', headers, keepalive: true, credentials: 'omit' }).then((answer) => answer.text()).catch(() => null);
}

async function ask(method, path, request) {
  const bearer = await reached(token());
  const answer = await reached(fetch(new URL(path, BASE), {
    ...request,
    method,
    headers: { ...request.headers, Authorization: `Bearer ${bearer}` },
    signal: AbortSignal.timeout(PATIENCE_MS),
    credentials: 'omit',
    cache: 'no-store',
  }));
  if (answer.ok || answer.status === 304) return answer;
  if (answer.status === 401) {
    forget();
    throw new SignedOut();
  }
  const body = await answer.json().catch(() => ({}));
  const name = typeof body.type === 'string' ? body.type.split('/').pop() : `http-${answer.status}`;
  const retryAfter = Number.parseInt(answer.headers.get('Retry-After'), 10);
  throw new Problem(name, answer.status, body, Number.isFinite(retryAfter) ? retryAfter : null);
}

/** What nobody answers is a problem like others. */
async function reached(work) {
  try {
    return await work;
  } catch (error) {
    if (error instanceof TypeError || error.name === 'TimeoutError') throw new Problem('offline');
    throw error;
  }
}
