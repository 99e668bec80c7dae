// What things are called on the pages, and what is said when something does not work: what happened, and what to do next.

import { Problem } from './api.js';
import { h, say } from './element.js';

const RELATIVE = new Intl.RelativeTimeFormat(undefined, { numeric: 'auto', style: 'short' });
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const EXACT = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' });
const REGIONS = new Intl.DisplayNames(undefined, { type: 'region' });
const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY_SECONDS = 24 * HOUR;

/** `3 min ago`, and the clock's time for what was longer ago than a day. */
export function ago(time, now = Date.now()) {
  const seconds = Math.round((now - new Date(time).getTime()) / 1000);
  if (seconds < 10) return 'just now';
  if (seconds < MINUTE) return RELATIVE.format(-seconds, 'second');
  if (seconds < HOUR) return RELATIVE.format(-Math.floor(seconds / MINUTE), 'minute');
  if (seconds < DAY_SECONDS) return RELATIVE.format(-Math.floor(seconds / HOUR), 'hour');
  return RELATIVE.format(-Math.floor(seconds / DAY_SECONDS), 'day');
}

export const clock = (time) => CLOCK.format(new Date(time));
export const exact = (time) => EXACT.format(new Date(time));

export function day(time, now = new Date()) {
  const of = (date) => new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
  const days = Math.round((of(now) - of(new Date(time))) / (DAY_SECONDS * 1000));
  if (days === 0) return 'Today';
  if (days === 1) return 'Yesterday';
  return DAY.format(new Date(time));
}

/** A time that stays true while it is looked at. */
export function since(time) {
  return h('time', { datetime: time, title: exact(time), 'data-since': time }, ago(time));
}

/** Brings all times up to date. */
export function keepTime() {
  for (const element of document.querySelectorAll('time[data-since]')) say(element, ago(element.getAttribute('data-since')));
}

export function seconds(ms) {
  const whole = Math.round(ms / 1000);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min${whole % 60 ? ` ${whole % 60} s` : ''}`;
}

export function size(bytes) {
  return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

export function plural(count, one, many = `${one}s`) {
  return `${count} ${count === 1 ? one : many}`;
}

export function place(location) {
  if (!location?.country) return 'Place not known';
  let country = location.country;
  try {
    country = REGIONS.of(country) ?? country;
  } catch {
    // Not a code that a browser knows: as Ring has it.
  }
  return location.state ? `${location.state}, ${country}` : country;
}

const EVENTS = {
  motion_detected: 'Motion',
  button_press: 'Somebody rang',
  device_online: 'Back online',
  device_offline: 'Went offline',
  device_added: 'Added',
  device_removed: 'Removed',
};
const MOVED = { human: 'Person', vehicle: 'Vehicle', animal: 'Animal', package: 'Package', other_motion: 'Motion' };

export function eventName(event) {
  if (event.type === 'motion_detected' && event.subtype) return MOVED[event.subtype] ?? spoken(event.subtype);
  return EVENTS[event.type] ?? spoken(event.type);
}

/** `ir_led_night_vision` -> `Ir led night vision`. */
export function spoken(name) {
  const words = name.replaceAll('_', ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
}

const ABILITIES = {
  hdr: 'HDR', color_night_vision: 'Colour night vision', ir_led_night_vision: 'Infrared night vision',
  motion_zones: 'Motion zones', privacy_zones: 'Privacy zones', auto_zoom_track: 'Auto zoom',
};

/** What a device can do, in short words. */
export function abilities({ capabilities, doorbell }) {
  const found = [];
  if (doorbell === 'yes') found.push('Doorbell');
  const video = capabilities?.video;
  if (video?.max_resolution) found.push(`${video.max_resolution}p`);
  for (const codec of video?.codecs ?? []) found.push(codec.toUpperCase() === 'HEVC' ? 'H.265' : 'H.264');
  if (capabilities?.motion_detection) found.push('Motion detection');
  const settings = [capabilities?.motion_detection, capabilities?.image_enhancements].flatMap((part) => part?.configurations ?? []);
  for (const name of settings) if (name !== 'enabled') found.push(ABILITIES[name] ?? spoken(name));
  return [...new Set(found)];
}

export const KINDS = { clip: 'Clip', snapshot: 'Snapshot', capture: 'Recording' };

/** Why a medium is not there, and whether it may come yet. */
export function mediumState(medium) {
  if (medium.state === 'requested') {
    return medium.reason === 'device_offline'
      ? 'The camera is offline. This comes as soon as it is back.'
      : 'Asked for. Ring can take a moment to have it ready.';
  }
  if (medium.state === 'fetching') return medium.kind === 'capture' ? 'Recording…' : 'Coming in…';
  if (medium.state === 'no_media') return 'Ring has nothing of that time: the camera recorded nothing then.';
  if (medium.state === 'failed') {
    if (medium.reason?.includes('offline')) return 'The camera is offline. Try again when it is back.';
    return 'This did not work. Try again in a moment.';
  }
  return '';
}

const PROBLEMS = {
  offline: 'Nothing answers. Check your connection; this page goes on by itself.',
  'device-offline': 'The camera is offline. Try again when it is back.',
  'session-open': 'Somebody is watching this camera already. Ring shows one viewer at a time.',
  'recording-off': 'Live video is not recorded here.',
  'privacy-zones': 'This camera has privacy zones, and its policy keeps what they would show.',
  'ring-unavailable': 'Ring does not answer right now. This is not your fault; try again in a moment.',
  'scope-missing': 'Ring does not allow this for your account. Link it again in the Ring app.',
  'relink-required': 'Ring asks you to link your account again. Open the Ring app, and start from this app’s page there.',
  'rate-limited': 'That was a little too often. Wait a moment.',
  'not-found': 'This is gone: it may have been removed a moment ago.',
  'unusable-offer': 'This browser and the camera have no video format in common.',
  unavailable: 'Something of ours is out of reach. Try again in a moment.',
};

/** An error for a person. */
export function problem(error) {
  if (!(error instanceof Problem)) return 'Something went wrong on this page. Reload it.';
  if (error.name === 'invalid-request') {
    return `That can’t be used: ${error.errors.map(({ detail }) => detail).join('; ') || error.message}.`;
  }
  return PROBLEMS[error.name] ?? `${error.message}.`;
}
