// Gives many devices a policy at once: all of a link, or those that a filter finds.
//
//   API_URL=https://… ID_TOKEN=… node infra/examples/many-devices/policies.mjs policy.json --all
//   …  policies.mjs policy.json --online true --country DE --capability motion_detection

import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';

import { Client } from '../../../clients/typescript/client.js';

const { values: { all, ...filter }, positionals: [file] } = parseArgs({
  allowPositionals: true,
  options: { all: { type: 'boolean' }, online: { type: 'string' }, country: { type: 'string' }, capability: { type: 'string' } },
});
if (!file || (!all && Object.keys(filter).length === 0)) {
  console.error('policies.mjs POLICY.json, and --all or a filter: --online, --country, --capability');
  process.exit(2);
}
const policy = JSON.parse(await readFile(file, 'utf8'));
const client = new Client({ base: process.env.API_URL, token: () => process.env.ID_TOKEN });

if (all) {
  // Those that come to a link later get its policy, too.
  for (const link of await client.all('/v1/links')) {
    await client.send('put', '/v1/policies', { body: { link: link.id, policy } });
    console.log(`link ${link.id}: all its devices`);
  }
} else {
  const devices = await client.all('/v1/devices', { query: { ...filter, limit: 100 }, pages: 100 });
  // A hundred at a time is the most that one request takes.
  for (let first = 0; first < devices.length; first += 100) {
    const some = devices.slice(first, first + 100);
    await client.send('put', '/v1/policies', { body: { devices: some.map(({ id }) => id), policy } });
  }
  for (const device of devices) console.log(`device ${device.id}: ${device.name}`);
}
