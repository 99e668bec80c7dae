// A client of the API: lists that are not sent again while they have not changed, problem documents as errors, a bound on each
// wait. It has no dependencies, and runs in browsers, Node and Deno. `client.d.ts` has its types, which are the API's description.

/** What went wrong: `name` is the last word of the problem's type, `offline` where nothing answered. */
export class Problem extends Error {
  constructor(name, status = 0, body = {}, retryAfter = null) {
    super(body.detail ?? body.title ?? name);
    Object.assign(this, { name, status, errors: body.errors ?? [], detail: body.detail ?? null, retryAfter });
  }
}

export class Client {
  #base;
  #token;
  #fetch;
  #patience;
  /** What was read last, by URL: its tag, its text, and what it says. */
  #seen = new Map();

  constructor({ base, token, fetch = (...request) => globalThis.fetch(...request), patience = 35_000 }) {
    this.#base = base;
    this.#token = token;
    this.#fetch = fetch;
    this.#patience = patience;
  }

  /** Reads, conditionally where it was read before: the very same object while it has not changed. */
  async get(path, options = {}) {
    const url = this.#url(path, options);
    const before = this.#seen.get(url);
    const answer = await this.#ask('GET', url, { ...options, headers: before?.tag ? { 'If-None-Match': before.tag } : {} });
    if (answer.status === 304 && before) return before.body;
    const text = await answer.text();
    const body = before?.text === text ? before.body : parsed(text, answer);
    this.#seen.set(url, { tag: answer.headers.get('ETag'), text, body });
    return body;
  }

  /** All items of a list, page by page, of `pages` pages at the most. */
  async all(path, { pages = 10, query = {}, ...options } = {}) {
    const first = await this.get(path, { ...options, query });
    // While the first page is the same object, so is what there is of a list of one.
    if (!first.next) return first.items;
    const items = [...first.items];
    for (let { next } = first; next && pages > 1; pages -= 1) {
      const page = await this.get(path, { ...options, query: { ...query, cursor: next } });
      items.push(...page.items);
      next = page.next;
    }
    return items;
  }

  /** Asks for something to be done: what is answered, and where what was made is. */
  async send(method, path, options = {}) {
    const { body, type = 'application/json', once } = options;
    const headers = {
      ...(body === undefined ? {} : { 'Content-Type': type, Accept: `${type}, application/problem+json` }),
      ...(once === undefined ? {} : { 'Idempotency-Key': once }),
    };
    const written = body === undefined || type !== 'application/json' ? body : JSON.stringify(body);
    const answer = await this.#ask(method.toUpperCase(), this.#url(path, options), { ...options, headers, body: written });
    return { status: answer.status, body: parsed(await answer.text(), answer), location: answer.headers.get('Location') };
  }

  #url(path, { path: values = {}, query = {} }) {
    const filled = path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(values[name]));
    const url = new URL(filled.replace(/^\//, ''), this.#base);
    for (const [name, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(name, String(value));
    return url.href;
  }

  async #ask(method, url, { headers, body, token, keepalive }) {
    // With a token at hand the request is made before this returns: a page that goes away does not come back to it.
    const bearer = token ?? await reached(this.#token());
    const answer = await reached(this.#fetch(url, {
      method,
      body,
      headers: { ...headers, Authorization: `Bearer ${bearer}` },
      signal: AbortSignal.timeout(this.#patience),
      credentials: 'omit',
      cache: 'no-store',
      keepalive,
    }));
    if (answer.ok || answer.status === 304) return answer;
    const said = await answer.json().catch(() => ({}));
    const name = typeof said.type === 'string' ? said.type.split('/').pop() : answer.status === 401 ? 'signed-out' : `http-${answer.status}`;
    const retryAfter = Number.parseInt(answer.headers.get('Retry-After'), 10);
    throw new Problem(name, answer.status, said, Number.isFinite(retryAfter) ? retryAfter : null);
  }
}

function parsed(text, answer) {
  if (!text) return null;
  return answer.headers.get('Content-Type')?.startsWith('application/json') ? JSON.parse(text) : text;
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
