// Who is signed in: the authorization code flow with PKCE (RFC 7636) at the stack's issuer. Tokens are kept in this tab alone, and
// go with it.

const SESSION = 'ring.session';
const PENDING = 'ring.sign-in';
/** A token that ends this soon is renewed first. */
const EARLY_MS = 60_000;
/** How long somebody may take to sign in. */
const PENDING_MS = 60 * 60_000;

/** What the stack tells its pages: where to sign in, and whom to ask how this browser is reached (STUN), if anybody. */
export const settings = JSON.parse(document.querySelector('meta[name="settings"]').getAttribute('content'));

/** Signing in did not come about; the message is for the person. */
export class SignInError extends Error {}
/** Nobody is signed in (any more). */
export class SignedOut extends Error {}

let renewal = null;

/** The e-mail address of who is signed in, or what else they are known by; null if nobody is. */
export function user() {
  const claims = kept()?.claims;
  return claims ? claims.email ?? claims.sub : null;
}

/** Takes up where the issuer sends the browser back to. The code leaves the address bar before anything else. */
export async function resume() {
  const query = new URLSearchParams(location.search);
  const [code, state, error] = ['code', 'state', 'error'].map((name) => query.get(name));
  if (!state && !error) return;
  history.replaceState(null, '', location.pathname);
  const pending = read(PENDING);
  sessionStorage.removeItem(PENDING);
  if (error) {
    throw new SignInError(error === 'access_denied' ? 'Signing in was cancelled.' : 'Signing in did not work.');
  }
  // A code that this tab did not ask for signs nobody in: it may be somebody else's.
  if (!pending || pending.state !== state || Date.now() - pending.at > PENDING_MS) {
    throw new SignInError('This sign-in was not begun here, or is too old.');
  }
  await exchange({
    grant_type: 'authorization_code',
    code,
    redirect_uri: here(),
    code_verifier: pending.verifier,
  }, pending.nonce);
}

/** Leaves for the issuer's sign-in. */
export async function signIn() {
  const [state, verifier, nonce] = [random(), random(), random()];
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(verifier));
  sessionStorage.setItem(PENDING, JSON.stringify({ state, verifier, nonce, at: Date.now() }));
  const url = new URL(settings.sign_in_url);
  const asked = {
    response_type: 'code',
    client_id: settings.client_id,
    redirect_uri: here(),
    scope: 'openid email',
    state,
    nonce,
    code_challenge: base64url(new Uint8Array(digest)),
    code_challenge_method: 'S256',
  };
  for (const [name, value] of Object.entries(asked)) url.searchParams.set(name, value);
  location.assign(url);
}

/** Forgets who is signed in, here and, where it has a place for that, at the issuer; which leads back to this page. */
export function signOut() {
  sessionStorage.removeItem(SESSION);
  if (!settings.sign_out_url) {
    location.assign(here());
    return;
  }
  const url = new URL(settings.sign_out_url);
  // The standard's name for the way back, and the pool's.
  for (const name of ['post_logout_redirect_uri', 'logout_uri']) url.searchParams.set(name, here());
  url.searchParams.set('client_id', settings.client_id);
  location.assign(url);
}

/** Forgets who is signed in, in this tab. */
export function forget() {
  sessionStorage.removeItem(SESSION);
}

/** The ID token as it is, for a request that can't wait. */
export function tokenNow() {
  return kept()?.id_token ?? null;
}

/** The ID token, renewed where it is about to end. */
export async function token() {
  const session = kept();
  if (!session) throw new SignedOut();
  if (session.claims.exp * 1000 - Date.now() > EARLY_MS) return session.id_token;
  if (!session.refresh_token) {
    if (session.claims.exp * 1000 > Date.now()) return session.id_token;
    forget();
    throw new SignedOut();
  }
  renewal ??= exchange({ grant_type: 'refresh_token', refresh_token: session.refresh_token })
    .finally(() => { renewal = null; });
  try {
    await renewal;
  } catch (error) {
    if (error instanceof SignInError) {
      forget();
      throw new SignedOut();
    }
    throw error;
  }
  return kept().id_token;
}

async function exchange(form, nonce) {
  const body = new URLSearchParams({ ...form, client_id: settings.client_id });
  const answer = await fetch(settings.token_url, { method: 'POST', body, credentials: 'omit', cache: 'no-store' });
  if (answer.status >= 500) throw new TypeError('the issuer is out of reach');
  const given = await answer.json().catch(() => ({}));
  if (!answer.ok || !given.id_token) throw new SignInError('Signing in did not work.');
  const claims = claimsOf(given.id_token);
  const audience = [claims.aud].flat();
  // It came from the issuer itself over TLS, which stands for its signature here (OpenID Connect Core, 3.1.3.7); the API checks it.
  const holds = claims.iss === settings.issuer && audience.includes(settings.client_id) && claims.exp * 1000 > Date.now();
  if (!holds || (nonce && claims.nonce !== nonce)) throw new SignInError('Signing in did not work.');
  const refresh_token = given.refresh_token ?? read(SESSION)?.refresh_token;
  sessionStorage.setItem(SESSION, JSON.stringify({ id_token: given.id_token, refresh_token, claims }));
}

function kept() {
  return read(SESSION);
}

function read(key) {
  try {
    return JSON.parse(sessionStorage.getItem(key));
  } catch {
    return null;
  }
}

function claimsOf(token) {
  const payload = token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/');
  const bytes = Uint8Array.from(atob(payload), (letter) => letter.charCodeAt(0));
  return JSON.parse(new TextDecoder().decode(bytes));
}

/** This page without what was added to its address. */
function here() {
  return location.origin + location.pathname;
}

function random() {
  return base64url(crypto.getRandomValues(new Uint8Array(32)));
}

function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}
