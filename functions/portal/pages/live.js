// Live video by WHEP (RFC 9725), through our own route: no token of Ring's comes here. A session drains a camera's battery, so it
// lasts only while somebody looks: it is closed when the page is hidden, left, or looked at for long without a touch.

import { Problem, closeLive, openLive } from './api.js';
import { h, say } from './element.js';
import { settings } from './session.js';
import { problem } from './words.js';

/** How long candidates are gathered: what there is by then is sent. */
const GATHERING_MS = 2_000;
/** How long the first frame may take, and how long none may come before the session is taken for over. */
const FIRST_FRAME_MS = 15_000;
const SILENCE_MS = 4_000;
/** After so long somebody is asked whether they are still there. */
const WATCHED_MS = 5 * 60_000;
const LOOK_MS = 500;
/** How often a session that gave no picture is opened again. */
const ATTEMPTS = 3;

/** One camera, watched. `element` shows it; `state` says where it is. */
export class Live {
  #device;
  #connection = null;
  #session = null;
  #opening = null;
  #timer = null;
  #lastFrame = 0;
  #since = 0;
  #fruitless = 0;
  #watched = false;

  constructor(device) {
    this.#device = device;
    this.video = h('video', { autoplay: true, playsinline: true, muted: true, 'aria-label': `Live video of ${device.name ?? 'the camera'}` });
    this.video.muted = true;
    this.said = h('p', { role: 'status' });
    this.again = h('button', { type: 'button', class: 'main', hidden: true, onclick: () => this.watch() }, 'Watch again');
    this.element = h('div', { class: 'live', 'data-live': 'over' }, this.video, h('div', { class: 'over' }, this.said, this.again));
    const frame = () => {
      this.video.requestVideoFrameCallback(frame);
      // One more may come of a session that is over.
      if (!this.#session || this.#connection?.connectionState !== 'connected') return;
      this.#lastFrame = performance.now();
      this.#fruitless = 0;
      if (this.state !== 'live') this.#show('live', '');
    };
    this.video.requestVideoFrameCallback(frame);
  }

  get state() {
    return this.element.dataset.live;
  }

  /** Begins to watch, or goes on. */
  watch() {
    if (!this.#watched) {
      document.addEventListener('visibilitychange', this.#visibility);
      addEventListener('pagehide', this.#leave);
    }
    this.#watched = true;
    this.#since = performance.now();
    this.#fruitless = 0;
    this.#open();
  }

  /** Ends it for good. */
  stop() {
    this.#watched = false;
    document.removeEventListener('visibilitychange', this.#visibility);
    removeEventListener('pagehide', this.#leave);
    this.#close();
    this.#show('over', '');
  }

  #visibility = () => {
    if (document.visibilityState === 'hidden') {
      this.#close();
      this.#show('paused', 'Paused while this page is hidden.');
    } else if (this.#watched && this.state === 'paused') {
      this.watch();
    }
  };

  #leave = () => this.#close();

  #show(state, words, again = false) {
    this.element.dataset.live = state;
    say(this.said, words);
    this.again.hidden = !again;
  }

  /** It is over by our own will or the person's, until they ask for it again. */
  #rest(words) {
    this.#close();
    this.#show('rest', words, true);
  }

  async #open() {
    this.#close();
    const opening = {};
    this.#opening = opening;
    const isCurrent = () => this.#opening === opening;
    this.#show('connecting', this.#fruitless || this.#lastFrame ? 'Connecting again…' : 'Connecting…');
    // Handlers come before the offer: what happens in between would be missed.
    const connection = new RTCPeerConnection({ iceServers: settings.stun_url ? [{ urls: settings.stun_url }] : [] });
    this.#connection = connection;
    connection.ontrack = ({ streams: [stream], track }) => {
      this.video.srcObject = stream ?? new MediaStream([track]);
      // A browser that does not begin by itself shows its own button.
      this.video.play().catch(() => {});
    };
    connection.onconnectionstatechange = () => {
      if (isCurrent() && ['failed', 'closed'].includes(connection.connectionState)) this.#ended();
    };
    connection.addTransceiver('video', { direction: 'recvonly' });
    try {
      await connection.setLocalDescription(await connection.createOffer());
      await gathered(connection);
      const opened = await openLive(this.#device.id, connection.localDescription.sdp);
      // Nobody looks any more. Only now is known what is to be closed.
      if (!isCurrent()) {
        closeLive(opened.session);
        return;
      }
      this.#session = opened.session;
      this.#lastFrame = performance.now() + FIRST_FRAME_MS - SILENCE_MS;
      this.#timer = setInterval(() => this.#look(), LOOK_MS);
      await connection.setRemoteDescription({ type: 'answer', sdp: opened.answer });
    } catch (error) {
      if (isCurrent()) this.#refused(error);
    }
  }

  #refused(error) {
    const wait = error instanceof Problem ? error.retryAfter : null;
    // After a session of our own Ring may take a moment to see that it is over.
    if (error.name === 'session-open' && wait !== null && wait <= 5 && this.#fruitless < ATTEMPTS) {
      this.#fruitless += 1;
      this.#close();
      this.#show('connecting', 'Connecting again…');
      this.#timer = setTimeout(() => this.#open(), wait * 1000);
      return;
    }
    this.#rest(error instanceof Problem ? problem(error) : 'This browser could not show the video.');
  }

  #look() {
    if (performance.now() - this.#lastFrame > SILENCE_MS) this.#ended();
    else if (performance.now() - this.#since > WATCHED_MS) this.#rest('Still there? Watching drains the camera’s battery.');
  }

  /** Ring ends each session after a while. Whoever still looks gets the next one. */
  #ended() {
    this.#fruitless += 1;
    if (this.#fruitless > ATTEMPTS) this.#rest('No picture comes from the camera. Try again in a moment.');
    else this.#open();
  }

  #close() {
    this.#opening = null;
    clearInterval(this.#timer);
    clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#session) closeLive(this.#session);
    this.#session = null;
    if (this.#connection) {
      this.#connection.ontrack = null;
      this.#connection.onconnectionstatechange = null;
      this.#connection.close();
    }
    this.#connection = null;
  }
}

function gathered(connection) {
  return new Promise((done) => {
    if (connection.iceGatheringState === 'complete') done();
    connection.addEventListener('icegatheringstatechange', () => {
      if (connection.iceGatheringState === 'complete') done();
    });
    setTimeout(done, GATHERING_MS);
  });
}
