// What happened, newest first, with a picture where there is one.

import { Problem } from './api.js';
import { Keyed, button, h, icon, say, show } from './element.js';
import { askForClip, medium, open, picture } from './medium.js';
import { clock, day, eventName, since } from './words.js';

/** What a clip of an event shows: a little before it, and what came of it. */
const BEFORE_MS = 3_000;
const CLIP_MS = 15_000;
/** Events that have something to see. */
const SEEN = ['motion_detected', 'button_press'];
/** How many pictures are asked for at a time. */
const AT_A_TIME = 4;
/** A picture that is on its way is looked for again, a few times. */
const AGAIN_MS = 3_000;
const LOOKS = 20;

/** Opens the clip of an event: the one that there is, or one that is asked for now. */
export function openClipOf(event, device, changed) {
  const title = `${eventName(event)}, ${device.name ?? 'camera'}, ${clock(event.occurred_at)}`;
  open(title, async () => {
    const media = await Promise.all(event.media.map((id) => medium(id).catch(() => null)));
    const clip = media.find((found) => found && found.kind !== 'snapshot' && !['failed', 'no_media'].includes(found.state));
    return clip ?? askForClip(device, new Date(event.occurred_at).getTime() - BEFORE_MS, CLIP_MS);
  }, changed);
}

export class Timeline {
  #devices = new Map();
  #pictures = [];
  #looking = 0;

  constructor(changed) {
    this.changed = changed;
    this.list = h('ol', { class: 'events' });
    this.empty = h('p', { class: 'soft empty', hidden: true }, 'Nothing has happened yet. Motion and rings show up here within seconds.');
    this.element = h('section', { class: 'timeline', 'aria-labelledby': 'timeline' }, h('h2', { id: 'timeline' }, 'What happened'), this.empty, this.list);
    this.rows = new Keyed(this.list, ({ key }) => key, (item) => this.#make(item), (row, item) => row.update(item));
  }

  show(events, devices) {
    this.#devices = new Map(devices.map((device) => [device.id, device]));
    this.empty.hidden = events.length > 0;
    const items = [];
    let last = null;
    for (const event of events) {
      const of = day(event.occurred_at);
      if (of !== last) items.push({ key: `day ${of}`, day: of });
      last = of;
      items.push({ key: event.event_id, event });
    }
    this.rows.show(items);
  }

  #make({ day: named }) {
    if (named) {
      return { element: h('li', { class: 'day' }, h('h3', {}, named)), update: () => {} };
    }
    const thumb = h('span', { class: 'thumb' });
    const name = h('strong', {});
    const where = h('span', { class: 'where' });
    const when = h('span', { class: 'when' });
    const action = h('span', { class: 'event-action' });
    const element = h('li', { class: 'event' }, thumb, h('div', { class: 'event-words' }, name, where, when), action);
    const row = { element, picture: null, looks: 0 };
    row.update = ({ event }) => {
      const device = this.#devices.get(event.device_id);
      element.dataset.event = event.type;
      element.dataset.eventId = event.event_id;
      say(name, eventName(event));
      say(where, device?.name ?? 'A camera that is gone');
      if (when.dataset.at !== event.occurred_at) {
        when.dataset.at = event.occurred_at;
        show(when, since(event.occurred_at), ` · ${clock(event.occurred_at)}`);
      }
      if (!row.picture) {
        if (!thumb.firstChild) show(thumb, icon(event.type));
        this.#look(row, thumb, event);
      }
      const canPlay = device && SEEN.includes(event.type);
      if (canPlay !== Boolean(action.firstChild)) {
        const label = `Clip of ${eventName(event)} at ${device?.name ?? ''}, ${clock(event.occurred_at)}`;
        show(action, canPlay && button('clip', 'Clip', () => openClipOf(event, device, this.changed), { class: 'small', 'aria-label': label }));
      }
    };
    return row;
  }

  /** Looks for the picture of an event, if it has media. */
  #look(row, thumb, event) {
    if (!event.media.length || row.looking || row.looks >= LOOKS) return;
    row.looking = true;
    row.looks += 1;
    this.#pictures.push(async () => {
      let isComing = false;
      for (const id of event.media) {
        try {
          const found = await medium(id);
          const src = picture(found);
          isComing ||= !['stored', 'failed', 'no_media'].includes(found.state);
          if (!src) continue;
          row.picture = src;
          const image = h('img', { alt: '', loading: 'lazy' });
          // A URL that has run out by the time it is looked at is asked for anew.
          image.addEventListener('error', () => { row.picture = null; show(thumb, icon(event.type)); }, { once: true });
          image.src = src;
          show(thumb, image);
          break;
        } catch (error) {
          if (!(error instanceof Problem)) throw error;
        }
      }
      row.looking = false;
      if (!row.picture && isComing && row.element.isConnected) setTimeout(() => this.#look(row, thumb, event), AGAIN_MS);
    });
    this.#next();
  }

  #next() {
    while (this.#looking < AT_A_TIME && this.#pictures.length) {
      this.#looking += 1;
      // Without a picture the drawing stays.
      this.#pictures.shift()().catch(() => {}).finally(() => {
        this.#looking -= 1;
        this.#next();
      });
    }
  }
}
