// A camera: its card on the page, and its sheet with everything about it.

import { Keyed, Sheet, announce, button, h, icon, say, show, svg } from './element.js';
import { Live } from './live.js';
import { askForCapture, askForClip, askForSnapshot, mediaOf, momentOf, open, picture, tile } from './medium.js';
import { policyForm } from './policy.js';
import { openClipOf } from './timeline.js';
import { abilities, place, plural, problem, seconds, since } from './words.js';

/** What a clip shows where nothing has happened lately. */
const LATELY_MS = 30_000;
const CAPTURE_MS = 30_000;
/** What counts as lately for the clip of the last event. */
const EVENT_LATELY_MS = 24 * 60 * 60_000;
/** Pictures of a device are looked at again this long after something happened there. */
const PICTURES_AFTER_MS = [1_500, 6_000, 15_000];

const name = (device) => device.name ?? 'Camera';

/** All cameras. */
export class Devices {
  #events = [];

  constructor() {
    this.grid = h('div', { class: 'cameras' });
    this.cards = new Keyed(this.grid, ({ id }) => id, (device) => this.#make(device), (card, device) => card.update(device));
    this.element = h('section', { 'aria-label': 'Cameras' }, this.grid);
  }

  show(devices, events) {
    const newest = new Map();
    for (const event of events) if (!newest.has(event.device_id)) newest.set(event.device_id, event.event_id);
    this.#events = events;
    this.cards.show(devices);
    for (const card of this.cards) card.happened(newest.get(card.shown.id) ?? null);
  }

  /** The last of a device's events that has something to see. */
  #lastSeen(device) {
    const lately = Date.now() - EVENT_LATELY_MS;
    return this.#events.find((event) => event.device_id === device.id && ['motion_detected', 'button_press'].includes(event.type)
      && new Date(event.occurred_at).getTime() > lately);
  }

  #make(first) {
    const card = new Card(first, () => this.#lastSeen(card.shown));
    return card;
  }
}

class Card {
  #last = null;
  /** The newest event that was seen; not known yet. */
  #event;

  constructor(device, lastSeen) {
    this.lastSeen = lastSeen;
    this.image = h('div', { class: 'view' }, h('span', { class: 'no-picture' }, icon('snapshot')));
    this.state = h('span', { class: 'state' });
    this.title = h('span', { class: 'camera-name' });
    this.where = h('span', { class: 'camera-place' });
    const open_ = h('button', { type: 'button', class: 'camera-open', onclick: () => this.open() }, this.title);
    this.buttons = ['live', 'snapshot', 'clip', 'capture'].map((what) => {
      const words = { live: 'Live', snapshot: 'Snapshot', clip: 'Clip', capture: 'Record' }[what];
      return button(what, words, () => this.act(what), { class: 'act', 'data-act': what });
    });
    this.element = h('article', { class: 'camera' },
      h('div', { class: 'camera-top' }, this.image, this.state, h('div', { class: 'camera-words' }, h('h3', {}, open_), this.where)),
      h('div', { class: 'acts' }, this.buttons, button('more', 'Details', () => this.open(), { class: 'act', 'data-act': 'details' })));
    this.shown = device;
  }

  update(device) {
    this.shown = device;
    this.element.dataset.device = device.id;
    this.element.dataset.online = device.online;
    say(this.title, name(device));
    say(this.where, place(device.location));
    const degraded = device.ring === 'degraded';
    this.state.className = `state ${device.online ? 'on' : 'off'}`;
    if (degraded && device.as_of) show(this.state, device.online ? 'Online, ' : 'Offline, ', since(device.as_of));
    else say(this.state, device.online ? 'Online' : 'Offline');
    for (const each of this.buttons) {
      const what = each.dataset.act;
      each.disabled = (what === 'live' || what === 'capture') && !device.online;
      each.title = each.disabled ? 'The camera is offline' : '';
      each.setAttribute('aria-label', `${each.textContent}: ${name(device)}`);
    }
    this.element.querySelector('[data-act="details"]').setAttribute('aria-label', `Details: ${name(device)}`);
    if (!this.#last) this.look();
    this.sheet?.update(device);
  }

  /** Something happened there: there may be new pictures. */
  happened(event) {
    if (event === this.#event) return;
    const isFirst = this.#event === undefined;
    this.#event = event;
    if (!isFirst) for (const ms of PICTURES_AFTER_MS) setTimeout(() => this.look(), ms);
  }

  /** Shows the newest picture that there is. */
  async look() {
    this.#last ??= 'looking';
    let media = [];
    try {
      media = await mediaOf(this.shown.id);
    } catch {
      // The card stands without a picture; the page says what is out of reach.
      this.#last = null;
      return;
    }
    const pictured = media.filter(picture).sort((one, other) => momentOf(other) - momentOf(one));
    const newest = pictured[0];
    if (newest && this.#last !== newest.id) {
      const image = h('img', { alt: `${name(this.shown)}, last picture`, src: picture(newest) });
      image.addEventListener('load', () => show(this.image, image, h('span', { class: 'picture-of' }, since(new Date(momentOf(newest)).toISOString()))));
      this.#last = newest.id;
    }
    this.sheet?.pictures(media);
  }

  act(what) {
    const device = this.shown;
    const changed = () => this.look();
    if (what === 'live') this.open(true);
    if (what === 'snapshot') open(`Snapshot, ${name(device)}`, () => askForSnapshot(device), changed);
    if (what === 'capture') open(`Recording ${seconds(CAPTURE_MS)}, ${name(device)}`, () => askForCapture(device, CAPTURE_MS), changed);
    if (what === 'clip') {
      const event = this.lastSeen();
      if (event) openClipOf(event, device, changed);
      else open(`The last ${seconds(LATELY_MS)}, ${name(device)}`, () => askForClip(device, Date.now() - LATELY_MS, LATELY_MS), changed);
    }
  }

  open(live = false) {
    this.sheet = new DeviceSheet(this, live, () => { this.sheet = null; });
    this.look();
  }
}

/** Everything about one camera. */
class DeviceSheet {
  constructor(card, live, closed) {
    const device = card.shown;
    this.card = card;
    this.sheet = new Sheet(name(device), 'device', () => {
      this.live?.stop();
      closed();
    });
    this.stage = h('div', { class: 'stage' });
    this.zonesShown = h('input', { type: 'checkbox', checked: true, onchange: () => this.draw() });
    this.facts = h('dl', { class: 'facts' });
    this.gallery = h('div', { class: 'gallery' }, h('p', { class: 'soft' }, 'Loading…'));
    this.liveButton = button('live', 'Watch live', () => this.watch(), { class: 'main', 'data-act': 'watch' });
    this.stopButton = button('close', 'Stop watching', () => this.rest(), { class: 'plain', hidden: true, 'data-act': 'stop' });
    const act = (what, words) => button(what, words, () => card.act(what), { class: 'plain', 'data-act': what });
    this.recordButton = act('capture', 'Record');
    show(this.sheet.body, this.stage,
      h('div', { class: 'actions' }, this.liveButton, this.stopButton, act('snapshot', 'Snapshot'), act('clip', 'Clip'), this.recordButton),
      this.zonesLabel = h('label', { class: 'check' }, this.zonesShown, h('span', {}, 'Show zones')),
      this.facts,
      h('section', {}, h('h3', {}, 'Pictures and clips'), this.gallery),
      h('section', {}, h('h3', {}, 'When something happens'), policyForm(device)));
    this.update(device);
    this.rest();
    if (live) this.watch();
  }

  update(device) {
    this.device = device;
    this.liveButton.disabled = !device.online;
    this.recordButton.disabled = !device.online;
    const chips = abilities(device).map((ability) => h('li', {}, ability));
    const motion = device.configurations?.motion_detection?.enabled;
    const rows = [
      ['State', h('dd', {}, device.online ? 'Online' : 'Offline', device.as_of && h('span', { class: 'soft' }, ', known ', since(device.as_of)))],
      ['Place', h('dd', {}, place(device.location))],
      ['Motion detection', motion && h('dd', {}, motion === 'on' ? 'On' : 'Off')],
      ['Zones', h('dd', {}, this.#zonesSaid())],
      ['Can do', h('dd', {}, chips.length ? h('ul', { class: 'chips' }, chips) : 'Not known')],
    ];
    show(this.facts, rows.filter(([, said]) => said).map(([term, said]) => h('div', {}, h('dt', {}, term), said)));
    const zones = this.#zones();
    this.zonesLabel.hidden = zones.length === 0;
  }

  #zonesSaid() {
    const of = (kind) => this.#zones().filter((zone) => zone.kind === kind).length;
    const [motion, hidden] = [of('motion'), this.device.privacy_zones];
    return [motion && plural(motion, 'motion zone'), hidden && plural(hidden, 'privacy zone')].filter(Boolean).join(', ') || 'None';
  }

  /** Areas of the picture, by fractions of its sides. What has fewer than three corners is none. */
  #zones() {
    const { motion_detection: motion, image_enhancements: image } = this.device.configurations ?? {};
    const areas = (zones, kind) => (zones ?? []).filter(({ vertices }) => vertices?.length >= 3).map(({ vertices }) => ({ kind, vertices }));
    return [...areas(motion?.motion_zones, 'motion'), ...areas(image?.privacy_zones, 'privacy')];
  }

  pictures(media) {
    this.last = media.filter(picture).sort((one, other) => momentOf(other) - momentOf(one))[0] ?? null;
    if (!this.live) this.draw();
    const shown = media.filter(({ state }) => state !== 'no_media').slice(0, 12);
    const again = () => this.card.look();
    show(this.gallery, shown.length
      ? shown.map((medium) => tile(medium, () => open(`${name(this.device)}`, () => medium, again)))
      : h('p', { class: 'soft' }, 'None yet. A snapshot is one click away.'));
  }

  /** The last picture, with the zones over it. */
  draw() {
    const src = this.last && picture(this.last);
    const zones = this.zonesShown.checked ? this.#zones() : [];
    const points = ({ vertices }) => vertices.map(({ x, y }) => `${x},${y}`).join(' ');
    const drawn = svg('svg', { class: 'zones', viewBox: '0 0 1 1', preserveAspectRatio: 'none', role: 'img', 'aria-label': this.#zonesSaid() },
      zones.map((zone) => svg('polygon', { class: zone.kind, points: points(zone), 'vector-effect': 'non-scaling-stroke' })));
    const view = this.live ? this.live.element
      : src ? h('img', { src, alt: `${name(this.device)}, last picture` }) : h('span', { class: 'no-picture' }, icon('snapshot'), 'No picture yet');
    show(this.stage, view, zones.length > 0 && drawn);
  }

  watch() {
    this.live ??= new Live(this.device);
    this.liveButton.hidden = true;
    this.stopButton.hidden = false;
    this.draw();
    this.live.watch();
    announce(`Live video of ${name(this.device)}`);
  }

  rest() {
    this.live?.stop();
    this.live = null;
    this.liveButton.hidden = false;
    this.stopButton.hidden = true;
    this.draw();
  }
}
