// What a privacy officer asks for: where devices are and what is done about their privacy zones, a copy of all that is kept of a
// user, and its end.
//
//   API_URL=https://… ID_TOKEN=… node infra/examples/compliance/compliance.mjs report
//   …  compliance.mjs export FILE.tar      all that there is of the user
//   …  compliance.mjs erase --yes          for good

import { writeFile } from 'node:fs/promises';

import { Client } from '../../../clients/typescript/client.js';

const PATIENCE_MS = 10 * 60_000;
const client = new Client({ base: process.env.API_URL, token: () => process.env.ID_TOKEN });

/** Each device by its country, with what its policy does about privacy zones. The location is shown here, and kept in no metric. */
async function report() {
  for (const device of await client.all('/v1/devices')) {
    const { privacy_zones: done } = await client.get('/v1/devices/{device}/policy', { path: { device: device.id } });
    const { country = null, state = null } = device.location ?? {};
    const place = [country, state].filter(Boolean).join('-') || 'unknown';
    console.log(`${place}\t${device.name}\t${device.privacy_zones} privacy zones\t${done}`);
  }
}

async function copy(file) {
  const until = Date.now() + PATIENCE_MS;
  for (;;) {
    const { state, url } = await client.get('/v1/account/export');
    if (url) {
      const archive = await fetch(url);
      if (!archive.ok) throw new Error(`the archive can't be read: ${archive.status}`);
      await writeFile(file, Buffer.from(await archive.arrayBuffer()));
      console.log(`written: ${file}`);
      return;
    }
    if (Date.now() > until) throw new Error(`the archive is not there yet: ${state}; ask again, it goes on by itself`);
    await new Promise((done) => { setTimeout(done, 2_000); });
  }
}

async function erase() {
  const { body } = await client.send('delete', '/v1/account');
  // It names nobody: keep it, to show when and that it was done.
  console.log(JSON.stringify(body));
}

const [what, argument] = process.argv.slice(2);
if (what === 'report') await report();
else if (what === 'export' && argument) await copy(argument);
else if (what === 'erase' && argument === '--yes') await erase();
else {
  console.error('compliance.mjs report | export FILE.tar | erase --yes');
  process.exitCode = 2;
}
