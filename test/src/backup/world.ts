import { filterText } from '../bridge/clients/mqtt-topic.ts';
import { RawMqtt } from '../bridge/clients/raw-mqtt.ts';
import { newChannel, newThing } from '../bridge/rights.ts';
import { eventually, type Millrace, Rest } from '../millrace.ts';

export const PERSON = { email: 'ada@example.org', password: 'a password of ada' };
export const BLOB = Uint8Array.from({ length: 3_000 }, (_, index) => (index * 31) % 256);
export const SESSION = { clientId: 'away', clean: false };

/** What a test knows of what it made. */
export interface World {
  readonly channel: string;
  readonly device: { readonly thing: string; readonly key: string };
  /** Of a message that became readings, of a blob, and of a dead one. */
  readonly messages: { readonly readings: string; readonly blob: string; readonly dead: string };
  readonly serial: string;
}

const READINGS = [
  { bn: 'meter/', bt: 1_700_000_000, n: 'number', u: 'Cel', v: 21.5 },
  { n: 'text', vs: 'a\tb\nc\\d "é" \u{1F600}' },
  { n: 'bool', vb: false },
  { n: 'data', vd: 'AAEC_wkK' },
  { n: 'sum', s: 12.25, u: 'J' },
  { n: 'old', t: -1_800_000_000, v: -0.1 },
];

/** Something of every kind. */
export async function makeWorld(millrace: Millrace): Promise<World> {
  const admin = await Rest.asAdmin(millrace);
  const user = await admin.json<{ id: string }>('POST', '/users', PERSON);
  const channel = await newChannel(admin, 'Hall\t"é"');
  const device = await newThing(admin, 'thermometer', [channel]);
  const group = await admin.json<{ id: string }>('POST', '/groups', { name: 'building' });
  await admin.json('POST', '/groups', { name: 'floor', parent_id: group.id });
  await admin.json('POST', '/roles', { name: 'maintenance', actions: ['things.read'] });
  const policy = await admin.json<{ id: string }>('POST', '/policies', {
    name: 'readings',
    statements: [{ effect: 'allow', actions: ['publish'], resources: [`channels/${channel}/messages/*`] }],
  });
  await admin.json('PUT', `/policies/${policy.id}/attachments/thing/${device.thing}`);
  await admin.json('POST', '/keys', { name: 'screen', grants: [{ actions: ['things.read'], resources: ['things*'] }] });
  const { serial } = await admin.json<{ serial: string }>('POST', '/certs', { thing_id: device.thing });
  const script = 'function decodeUplink({ bytes }) {\n\treturn { data: { level: bytes[0] } };\n}';
  await admin.json('POST', '/codecs', { name: 'Level', kind: 'javascript', script });
  await admin.json('PATCH', `/users/${user.id}`, { metadata: { note: 'tab\there, newline\nhere, \\N' } });

  const publish = async (path: string, body: string | Uint8Array, type: string): Promise<string> => {
    const answer = await admin.as(`Thing ${device.key}`).raw('POST', path, body, { 'content-type': type });
    if (answer.status !== 202) throw new Error(`${answer.status} ${await answer.text()}`);
    return ((await answer.json()) as { id: string }).id;
  };
  const at = `/channels/${channel}/messages`;
  const readings = await publish(at, JSON.stringify(READINGS), 'application/senml+json');
  await publish(`${at}/json`, JSON.stringify({ level: 3, deep: { on: true } }), 'application/json');
  const blob = await publish(`${at}/blob`, BLOB, 'application/octet-stream');
  const dead = await publish(at, '[{"n":"a","v":1},{"n":"two","v":1,"vs":"values"}]', 'application/senml+json');

  const { client } = await RawMqtt.connect(millrace, device, SESSION);
  await client.subscribe([[filterText({ channel, subtopic: '#' }), 1]]);
  await client.publish(filterText({ channel, subtopic: 'state' }), 'kept', 1, true);
  await client.until('its own message', () => client.messages.length > 0);
  await client.disconnect();
  const reader = admin.as(`Thing ${device.key}`);
  for (const id of [readings, blob, dead])
    await eventually('it is stored', 60_000, async () => reader.json('GET', `/messages/${id}`).then(isStored));
  return { channel, device, messages: { readings, blob, dead }, serial };
}

const isStored = (fate: unknown): boolean => (fate as { status?: string }).status !== 'accepted';
