// What a page is built of: elements, and lists of them that keep theirs while what they show changes. Text is only ever set as
// text, never as markup.

const SVG = 'http://www.w3.org/2000/svg';

/** An element. Attributes that begin with `on` are listeners; `true` sets one without a value, null and false leave it out. */
export function h(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** The same, of a drawing. */
export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Shows these children, and no others. */
export function show(element, ...children) {
  element.replaceChildren(...children.flat().filter(Boolean));
  return element;
}

/** Sets a text only where it differs, so that nothing is read out twice and no selection is lost. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Tells whoever listens rather than looks. */
export function announce(text) {
  say(document.querySelector('#said'), text);
}

/** A list whose elements stay with their keys: made once, updated when what they show changes, moved only when they must. */
export class Keyed {
  #known = new Map();

  constructor(container, key, make, update) {
    this.container = container;
    this.key = key;
    this.make = make;
    this.update = update;
  }

  show(items) {
    const keys = new Set(items.map(this.key));
    for (const [key, known] of this.#known) {
      if (keys.has(key)) continue;
      known.element.remove();
      this.#known.delete(key);
    }
    let before = null;
    for (const item of items) {
      const key = this.key(item);
      let known = this.#known.get(key);
      if (!known) {
        known = this.make(item);
        this.#known.set(key, known);
      }
      if (known.item !== item) {
        this.update(known, item);
        known.item = item;
      }
      const place = before ? before.nextSibling : this.container.firstChild;
      if (place !== known.element) this.container.insertBefore(known.element, place);
      before = known.element;
    }
  }

  *[Symbol.iterator]() {
    yield* this.#known.values();
  }
}

const ICONS = {
  live: ['M4 7.5A2.5 2.5 0 0 1 6.5 5h7A2.5 2.5 0 0 1 16 7.5v9a2.5 2.5 0 0 1-2.5 2.5h-7A2.5 2.5 0 0 1 4 16.5z', 'm16 10.5 4.2-2.6v8.2L16 13.5'],
  snapshot: ['M4 8.5A1.5 1.5 0 0 1 5.5 7H8l1.4-2h5.2L16 7h2.5A1.5 1.5 0 0 1 20 8.5v9a1.5 1.5 0 0 1-1.5 1.5h-13A1.5 1.5 0 0 1 4 17.5z', 'M12 9.5a3.2 3.2 0 1 1 0 6.4 3.2 3.2 0 0 1 0-6.4z'],
  clip: ['M4 6.5A1.5 1.5 0 0 1 5.5 5h13A1.5 1.5 0 0 1 20 6.5v11a1.5 1.5 0 0 1-1.5 1.5h-13A1.5 1.5 0 0 1 4 17.5z', 'm10 9 5 3-5 3z'],
  capture: ['M12 4a8 8 0 1 1 0 16 8 8 0 0 1 0-16z', 'M12 9a3 3 0 1 1 0 6 3 3 0 0 1 0-6z'],
  more: ['M5 7h9M18 7h1M5 12h2M11 12h8M5 17h7M16 17h3', 'M16 5v4M9 10v4M14 15v4'],
  motion_detected: ['M13.5 4.2a1.6 1.6 0 1 1 0 3.2 1.6 1.6 0 0 1 0-3.2z', 'm8 20 2.5-5.5L9 12l1-4 3.4 1 1.4 2.6 2.6.9', 'm10.5 14.5 3 2 .8 3.5'],
  button_press: ['M6.5 16.5V11a5.5 5.5 0 0 1 11 0v5.5l1.5 1.5H5z', 'M10.2 20.2a2 2 0 0 0 3.6 0'],
  device_online: ['M5 10.5a10 10 0 0 1 14 0M7.8 13.4a6 6 0 0 1 8.4 0', 'M12 17.2v.1'],
  device_offline: ['M5 10.5a10 10 0 0 1 14 0M7.8 13.4a6 6 0 0 1 8.4 0', 'M12 17.2v.1M5 4.5l14 15'],
  device_added: ['M12 5v14M5 12h14'],
  device_removed: ['M5 12h14'],
  other: ['M12 4a8 8 0 1 1 0 16 8 8 0 0 1 0-16z', 'M12 11v5M12 8v.1'],
  close: ['m6 6 12 12M18 6 6 18'],
  zones: ['M5 8l7-3 7 4-1 8-9 2z'],
};

/** A small drawing beside a text, which says the same. */
export function icon(name) {
  const paths = ICONS[name] ?? ICONS.other;
  return svg('svg', { class: 'icon', viewBox: '0 0 24 24', 'aria-hidden': 'true' }, paths.map((d) => svg('path', { d })));
}

/** A button that says what it does, with a drawing before it. */
export function button(name, text, onclick, attributes = {}) {
  return h('button', { type: 'button', onclick, ...attributes }, icon(name), h('span', {}, text));
}

/** A sheet over the page: a dialog that ends with Escape, with its button, or with a click beside it. */
export class Sheet {
  constructor(title, kind, onclose) {
    const id = `sheet-${crypto.randomUUID()}`;
    this.title = h('h2', { id }, title);
    this.body = h('div', { class: 'sheet-body' });
    const close = h('button', { type: 'button', class: 'quiet square', 'aria-label': 'Close', onclick: () => this.close() }, icon('close'));
    this.element = h('dialog', { class: `sheet ${kind}`, 'aria-labelledby': id },
      h('div', { class: 'sheet-head' }, this.title, close), this.body);
    this.element.addEventListener('close', () => {
      this.element.remove();
      onclose?.();
    });
    this.element.addEventListener('click', ({ target }) => {
      if (target === this.element) this.close();
    });
    document.body.append(this.element);
    this.element.showModal();
  }

  get isOpen() {
    return this.element.isConnected;
  }

  close() {
    this.element.close();
  }
}
