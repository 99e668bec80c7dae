// A dashboard in the terminal: totals and the last events, true within two seconds and drawn only when something has changed.
//
//   API_URL=https://… ID_TOKEN=… node infra/examples/dashboard/dashboard.mjs [--once]

import { Client, Problem } from '../../../clients/typescript/client.js';

const client = new Client({ base: process.env.API_URL, token: () => process.env.ID_TOKEN });

function draw(summary, devices) {
  const names = new Map(devices.map((device) => [device.id, device.name ?? device.id]));
  console.log(`${summary.online} of ${summary.devices} cameras online, motion detection on at ${summary.motion_enabled}`);
  for (const device of devices) {
    const age = device.ring === 'degraded' ? ` (as of ${device.as_of}: Ring is out of reach)` : '';
    console.log(`  ${device.online ? '●' : '○'} ${names.get(device.id)}: ${summary.motion_24h[device.id] ?? 0} motions in 24 h${age}`);
  }
  for (const event of summary.last) {
    console.log(`  ${event.occurred_at}  ${event.type}${event.subtype ? ` (${event.subtype})` : ''}  ${names.get(event.device_id) ?? ''}`);
  }
}

let shown = null;
for (;;) {
  let wait = 2;
  try {
    const summary = await client.get('/v1/summary');
    // The very same object while nothing has changed: the answer was a 304 without a body.
    if (summary !== shown) draw(summary, await client.all('/v1/devices'));
    shown = summary;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    console.error(`${error.name}: ${error.message}`);
    if (process.argv.includes('--once') || error.name === 'signed-out') process.exit(1);
    wait = Math.max(wait, error.retryAfter ?? 0);
  }
  if (process.argv.includes('--once')) break;
  await new Promise((done) => { setTimeout(done, wait * 1000); });
}
