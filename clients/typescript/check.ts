// What the types let through and what they do not: read by `tsc` alone.

import { Client, Problem, type Answer, type ProblemName, type Schemas } from './client.js';

const client = new Client({ base: 'https://api.example/', token: async () => 'a.b.c' });

const devices: Schemas['Device'][] = await client.all('/v1/devices', { query: { online: true, limit: 100 } });
const device: Answer<'get', '/v1/devices/{device}'> = await client.get('/v1/devices/{device}', { path: { device: 'ava1.ring.device.K4' } });
const { body: medium, location } = await client.send('post', '/v1/devices/{device}/clips', {
  path: { device: device.id }, body: { timestamp: 1_770_989_995_231, duration: 30_000 }, once: 'clip-of-the-door',
});
const { body: answer } = await client.send('post', '/v1/devices/{device}/live', {
  path: { device: device.id }, body: 'v=0', type: 'application/sdp',
});
const { body: nothing } = await client.send('delete', '/v1/media/{id}', { path: { id: medium.id }, keepalive: true });
const texts: [string, string | null, string, null] = [devices[0]!.id, location, answer, nothing];
const names: ProblemName[] = ['offline', 'device-offline', 'session-open', 'http-502'];
export const all = [texts, names, new Problem('link-taken')];

// @ts-expect-error: no such path
await client.get('/v1/device');
// @ts-expect-error: the path's parameter is left out
await client.get('/v1/devices/{device}');
// @ts-expect-error: a query that the route does not have
await client.get('/v1/devices', { query: { colour: 'red' } });
// @ts-expect-error: a body of another shape
await client.send('post', '/v1/devices/{device}/clips', { path: { device: 'd' }, body: { duration: 'long' } });
// @ts-expect-error: this path has no such method
await client.send('put', '/v1/devices', {});
// @ts-expect-error: no list
await client.all('/v1/summary');
// @ts-expect-error: no such problem
export const wrong: ProblemName = 'out-of-cheese';
