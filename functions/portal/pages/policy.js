// A device's policy: what is done by itself when something happens.

import { get, send } from './api.js';
import { announce, h, say, show } from './element.js';
import { problem, seconds } from './words.js';

const POLICY = '/v1/devices/{device}/policy';
/** @type {[string, string][]} */
const ACTIONS = [['snapshot', 'Snapshot'], ['clip', 'Clip'], ['capture', 'Record']];
const DURATIONS = [10_000, 15_000, 30_000, 60_000, 120_000, 300_000];
const PRIVACY = [
  ['obscure', 'Blacken them in stills; no moving pictures'],
  ['block', 'Show nothing of this camera'],
  ['allow', 'Show all: the camera hides them itself'],
];

/** The form for a device's policy. */
export function policyForm(device) {
  const body = h('div', {}, h('p', { class: 'soft' }, 'Loading…'));
  get(POLICY, { path: { device: device.id } }).then((policy) => show(body, form(device, policy)))
    .catch((error) => show(body, h('p', { class: 'notice' }, problem(error))));
  return body;
}

function form(device, policy) {
  const motion = policy.on.motion_detected;
  /** @type {[row: string, named: string, chosen: string[]][]} */
  const rows = [
    ['human', 'A person', motion.human ?? motion.default ?? []],
    ['default', 'Other motion', motion.default ?? []],
    ['button_press', 'The button', policy.on.button_press],
  ];
  const box = (row, named, [action, name], chosen) => h('td', {},
    h('input', { type: 'checkbox', name: `${row}.${action}`, checked: chosen.includes(action), 'aria-label': `${named}: ${name}` }));
  const table = h('table', { class: 'policy' },
    h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, 'When'), ACTIONS.map(([, name]) => h('th', { scope: 'col' }, name)))),
    h('tbody', {}, rows.map(([row, named, chosen]) => h('tr', {}, h('th', { scope: 'row' }, named),
      ACTIONS.map((action) => box(row, named, action, chosen))))));
  const durations = [...new Set([...DURATIONS, policy.duration])].sort((one, other) => one - other);
  const duration = h('select', { name: 'duration' }, durations.map((ms) => h('option', { value: String(ms), selected: ms === policy.duration }, seconds(ms))));
  const zones = h('select', { name: 'privacy_zones' }, PRIVACY.map(([value, name]) => h('option', { value, selected: value === policy.privacy_zones }, name)));
  const notify = h('input', { type: 'checkbox', name: 'notify', checked: policy.notify });
  const said = h('span', { role: 'status', class: 'soft' });
  const save = h('button', { type: 'submit', class: 'main' }, 'Save');
  const element = h('form', { class: 'stack' }, table,
    h('label', { class: 'field' }, h('span', {}, 'Length of clips and recordings'), duration),
    h('label', { class: 'field' }, h('span', {}, 'Privacy zones'), zones),
    h('label', { class: 'check' }, notify, h('span', {}, 'Tell those who are to be notified')),
    h('div', { class: 'actions' }, save, said));
  element.addEventListener('change', () => say(said, ''));
  element.addEventListener('submit', async (event) => {
    event.preventDefault();
    const chosen = (row) => ACTIONS.map(([action]) => action).filter((action) => element.elements[`${row}.${action}`].checked);
    const wanted = {
      ...policy,
      on: { motion_detected: { ...motion, human: chosen('human'), default: chosen('default') }, button_press: chosen('button_press') },
      duration: Number(duration.value),
      notify: notify.checked,
      privacy_zones: zones.value,
    };
    save.disabled = true;
    try {
      await send('put', POLICY, { path: { device: device.id }, body: wanted });
      say(said, 'Saved.');
      announce(`Saved for ${device.name ?? 'this camera'}`);
    } catch (error) {
      say(said, problem(error));
    } finally {
      save.disabled = false;
    }
  });
  return element;
}
