import { expect, test } from 'vitest';
import { SessionError } from './error.ts';
import { MemorySessionStore, StoreAway } from './testing/memory-stores.ts';
import { Stage, type TestClient, until } from './testing/stage.ts';

const A = 'channels/chan-a/messages';
const KEY = { owner: 'many-one', clientId: 'one' };

/** Another node over the same log and stores; or the same after it was killed. */
function node(stage: Stage, options: ConstructorParameters<typeof Stage>[0] = {}): Stage {
  const { log, store, retained, gate } = stage;
  return new Stage({ log, store, retained, gate, ...options });
}

async function gone(stage: Stage, client: TestClient): Promise<void> {
  client.leave();
  await stage.sessions.flush(10_000);
}

test('catches up what was missed, in order and once, with nothing kept in memory meanwhile', async () => {
  await using stage = new Stage();
  const client = await stage.connect('one');
  expect(client.present).toBe(false);
  await client.subscribe(A);
  await stage.publish('chan-a', '', 'm0');
  await until('it was acknowledged', () => client.acknowledged === 1);
  await gone(stage, client);
  expect(stage.sessions.count).toEqual({ connected: 0, offline: 0 });
  for (let index = 1; index <= 300; index++) await stage.publish('chan-a', '', `m${index}`);
  const again = await stage.connect('one');
  expect(again.present).toBe(true);
  await until('all came', () => again.publishes.length === 300);
  expect(again.texts).toEqual(Array.from({ length: 300 }, (_, index) => `m${index + 1}`));
  expect(again.publishes.every(({ dup }) => !dup)).toBe(true);
});

test('comes back on another node, and after a node was killed', async () => {
  await using first = new Stage();
  const client = await first.connect('one');
  await client.subscribeAll([
    { topic: A, qos: 1 },
    { topic: '#', qos: 0 },
  ]);
  await first.kill();
  await first.publish('chan-a', '', 'x');
  await first.publish('chan-b', '', 'y');
  await using second = node(first);
  const again = await second.connect('one');
  expect(again.present).toBe(true);
  await until('both came', () => again.publishes.length === 2);
  expect(new Set(again.texts)).toEqual(new Set(['x', 'y']));
});

test('sends what was not acknowledged again first, with DUP and the same ids, then what is new', async () => {
  await using stage = new Stage();
  const client = await stage.connect('one', { acks: false });
  await client.subscribe(A, 2);
  await stage.publish('chan-a', '', 'once', { qos: 1 });
  await stage.publish('chan-a', '', 'exactly', { qos: 2 });
  await stage.publish('chan-a', '', 'received', { qos: 2 });
  await until('all came', () => client.publishes.length === 3);
  const ids = client.publishes.map(({ messageId }) => messageId);
  client.session.onPubrec(ids[2] as number);
  await until('PUBREL came', () => client.got('pubrel').length === 1);
  await gone(stage, client);
  await stage.publish('chan-a', '', 'new');
  const again = await stage.connect('one', { acks: false });
  await until('all came', () => again.publishes.length === 3 && again.got('pubrel').length === 1);
  expect(again.publishes.map(({ payload, dup, qos }) => [payload.toString(), dup, qos])).toEqual([
    ['once', true, 1],
    ['exactly', true, 2],
    ['new', false, 1],
  ]);
  expect(again.publishes.slice(0, 2).map(({ messageId }) => messageId)).toEqual(ids.slice(0, 2));
  expect(again.got('pubrel')).toMatchObject([{ messageId: ids[2] }]);
  expect(ids).not.toContain(again.publishes[2]?.messageId);
});

test('does not repeat to a QoS 0 subscriber what it had when its node is killed', async () => {
  await using first = new Stage();
  const client = await first.connect('one');
  await client.subscribe(A, 0);
  let last = { partition: 0, offset: 0 };
  for (let index = 0; index < 50; index++) last = await first.publish('chan-a', '', `m${index}`);
  await until('all came', () => client.publishes.length === 50);
  const stands = (): number | undefined =>
    first.store.stateOf(KEY)?.positions.find(({ partition }) => partition === last.partition)?.offset;
  await until('its position is saved', () => stands() === last.offset + 1);
  await first.kill();
  await using second = node(first);
  const again = await second.connect('one');
  await second.publish('chan-a', '', 'new');
  await until('it goes on', () => again.publishes.length > 0);
  expect(again.texts).toEqual(['new']);
});

test('gives up what the log keeps no longer, and says that there is a gap', async () => {
  await using stage = new Stage();
  const client = await stage.connect('one', { acks: false });
  await client.subscribe(A);
  const { partition, offset } = await stage.publish('chan-a', '', 'lost');
  await until('it came', () => client.publishes.length === 1);
  await gone(stage, client);
  for (const text of ['also', 'kept']) await stage.publish('chan-a', '', text);
  stage.log.trim(partition, offset + 2);
  const again = await stage.connect('one');
  await until('the rest came', () => again.publishes.length === 1);
  expect(again.texts).toEqual(['kept']);
  expect(await stage.metric('millrace_mqtt_dropped_total', { reason: 'not_kept' })).toBe(1);
  expect(await stage.metric('millrace_mqtt_gaps_total')).toBe(1);
});

test('does not send again what may no longer be read', async () => {
  await using stage = new Stage();
  const client = await stage.connect('one', { acks: false });
  await client.subscribeAll([
    { topic: A, qos: 1 },
    { topic: 'channels/chan-b/messages', qos: 1 },
  ]);
  await stage.publish('chan-a', '', 'no');
  await until('it came', () => client.publishes.length === 1);
  await gone(stage, client);
  stage.gate.unreadable.add('many-one/chan-a');
  stage.gate.changed();
  await stage.publish('chan-a', '', 'no');
  await stage.publish('chan-b', '', 'yes');
  const again = await stage.connect('one');
  await until('the rest came', () => again.publishes.length === 1);
  expect(again.texts).toEqual(['yes']);
  expect(await stage.metric('millrace_mqtt_dropped_total', { reason: 'denied' })).toBe(1);
  await gone(stage, again);
  expect(stage.store.stateOf(KEY)?.subscriptions).toHaveLength(1);
});

test('never sends a QoS 2 message before its id is durable, nor PUBREL before the release is', async () => {
  await using stage = new Stage();
  const client = await stage.connect('one', { acks: false });
  await client.subscribe(A, 2);
  let open = (): void => {};
  stage.store.gate = new Promise((resolve) => {
    open = resolve;
  });
  await stage.publish('chan-a', '', 'exactly', { qos: 2 });
  await stage.publish('chan-a', '', 'behind it', { qos: 1 });
  await stage.publish('chan-a', '', 'and behind', { qos: 0 });
  const other = await stage.connect('other', { clean: true });
  await other.subscribe(A, 2);
  await stage.publish('chan-a', '', 'last', { qos: 2 });
  await until('who keeps nothing has it', () => other.publishes.length === 1);
  expect(client.publishes).toHaveLength(0);
  open();
  stage.store.gate = null;
  await until('all came', () => client.publishes.length === 4);
  expect(client.texts).toEqual(['exactly', 'behind it', 'and behind', 'last']);
  const { messageId } = client.publishes[0] as { messageId: number };
  expect(stage.store.stateOf(KEY)?.inFlight.some((each) => each.packetId === messageId)).toBe(true);
  stage.store.gate = new Promise((resolve) => {
    open = resolve;
  });
  client.session.onPubrec(messageId);
  client.session.onPubrec(messageId);
  await new Promise((resolve) => setTimeout(resolve, 30));
  expect(client.got('pubrel')).toHaveLength(0);
  open();
  stage.store.gate = null;
  await until('PUBREL came', () => client.got('pubrel').length > 0);
  expect(stage.store.stateOf(KEY)?.inFlight.find((each) => each.packetId === messageId)?.released).toBe(true);
});

test('shows a QoS 2 subscriber each message once, however often the node is killed', async () => {
  let stage = new Stage();
  const { log, store, gate } = stage;
  const texts = Array.from({ length: 120 }, (_, index) => `m${index}`);
  /** As a real client: what it has received and not completed, by packet id. */
  const received = new Map<number, string>();
  const seen: string[] = [];
  let client = await stage.connect('one', { acks: false });
  let handled = 0;
  const handle = (answers: number): void => {
    for (; handled < client.packets.length; handled++) {
      const packet = client.packets[handled] as (typeof client.packets)[number];
      const id = packet.messageId as number;
      if (packet.cmd === 'publish' && !received.has(id)) {
        received.set(id, packet.payload.toString());
        seen.push(packet.payload.toString());
      }
      if (packet.cmd === 'pubrel') received.delete(id);
      if (answers-- > 0) client.acknowledge(packet);
    }
  };
  await client.subscribe(A, 2);
  for (const [index, text] of texts.entries()) {
    await stage.publish('chan-a', '', text, { qos: 2 });
    if (index % 20 !== 19) continue;
    // It handles some, answers fewer, and the node dies in the middle of that.
    const before = seen.length;
    await until('some came', () => {
      handle(3);
      return seen.length > before;
    });
    await stage.kill();
    client.close('fault');
    stage = new Stage({ log, store, gate });
    client = await stage.connect('one', { acks: false });
    expect(client.present).toBe(true);
    handled = 0;
  }
  await until('all were seen', () => {
    handle(1_000);
    return seen.length >= texts.length;
  });
  await until('all were completed', () => {
    handle(1_000);
    return received.size === 0;
  });
  expect(seen).toEqual(texts);
  await stage.kill();
});

test('hands a session over to the same client in memory, and sends the old connection away', async () => {
  await using stage = new Stage();
  const first = await stage.connect('one', { acks: false });
  await first.subscribe(A, 1);
  await stage.publish('chan-a', '', 'x');
  await until('it came', () => first.publishes.length === 1);
  const { opens } = stage.store;
  const second = await stage.connect('one');
  expect(first.closed).toBe('taken_over');
  expect(second.present).toBe(true);
  expect(stage.store.opens).toBe(opens);
  await stage.publish('chan-a', '', 'y');
  await until('both came', () => second.publishes.length === 2);
  expect(second.publishes.map(({ payload, dup }) => [payload.toString(), dup])).toEqual([
    ['x', true],
    ['y', false],
  ]);
  // Its late end changes nothing.
  first.leave();
  await stage.publish('chan-a', '', 'z');
  await until('it came', () => second.publishes.length === 3);
  expect(stage.sessions.count.connected).toBe(1);
});

test('loses no filter when it is taken over in the middle of being resumed', async () => {
  await using stage = new Stage();
  const client = await stage.connect('one');
  await client.subscribeAll([
    { topic: A, qos: 1 },
    { topic: '$share/g/channels/chan-b/messages', qos: 1 },
  ]);
  await gone(stage, client);
  let last = client;
  for (let index = 0; index < 5; index++) last = await stage.connect('one');
  await stage.publish('chan-a', '', 'x');
  await stage.publish('chan-b', '', 'y');
  await until('both came', () => last.acknowledged === 2);
  await gone(stage, last);
  expect(stage.store.stateOf(KEY)?.subscriptions).toHaveLength(2);
});

test('lets go of a session that another node has taken, without writing it', async () => {
  await using first = new Stage();
  await using second = node(first);
  const old = await first.connect('one', { acks: false });
  await old.subscribe(A, 1);
  await first.publish('chan-a', '', 'x');
  await until('it came', () => old.publishes.length === 1);
  await first.sessions.flush(10_000);
  const young = await second.connect('one', { acks: false });
  await until('the old is sent away', () => old.closed === 'session_lost');
  old.leave();
  await first.sessions.flush(10_000);
  expect(first.sessions.count).toEqual({ connected: 0, offline: 0 });
  await until('it is sent again', () => young.publishes.length === 1);
  expect(young.publishes[0]).toMatchObject({ dup: true });
  young.acknowledge(young.publishes[0] as (typeof young.publishes)[0]);
  await gone(second, young);
  expect(first.store.stateOf(KEY)?.inFlight).toEqual([]);
});

test('is fenced when it writes though another holds the session, if it never heard of that', async () => {
  const store = new MemorySessionStore();
  store.onTaken = () => () => {};
  await using first = new Stage({ store });
  await using second = node(first);
  const old = await first.connect('one');
  await old.subscribe(A, 1);
  const young = await second.connect('one');
  await expect(old.subscribe('channels/chan-b/messages', 1)).rejects.toThrow(SessionError);
  expect(old.closed).toBe('session_lost');
  await first.publish('chan-a', '', 'x');
  await until('the new holder goes on', () => young.publishes.length === 1);
});

test('wipes what was kept when the client comes back clean, before it can be kept anew', async () => {
  await using stage = new Stage();
  const client = await stage.connect('one');
  await client.subscribe(A);
  await gone(stage, client);
  const clean = await stage.connect('one', { clean: true });
  expect(clean.present).toBe(false);
  clean.leave();
  const again = await stage.connect('one');
  expect(again.present).toBe(false);
  await stage.publish('chan-a', '', 'x');
  await again.subscribe('channels/chan-b/messages');
  await stage.publish('chan-b', '', 'y');
  await until('it came', () => again.publishes.length === 1);
  expect(again.texts).toEqual(['y']);
});

test('ends a clean session with its connection', async () => {
  await using stage = new Stage();
  const client = await stage.connect('one', { clean: true });
  await client.subscribe(A);
  client.leave();
  await stage.sessions.flush(10_000);
  expect(stage.store.rows.size).toBe(0);
  expect((await stage.connect('one', { clean: true })).present).toBe(false);
});

test('tells a subscriber that comes back late nothing older than its filter', async () => {
  await using stage = new Stage();
  const client = await stage.connect('one', { acks: false });
  await client.subscribe(A);
  for (let index = 0; index < 150; index++) await stage.publish('chan-a', '', `a${index}`);
  // The window is full: it stands behind, and subscribes to another channel now.
  await until('the window is full', () => client.publishes.length === 100);
  for (let index = 0; index < 4; index++) await stage.publish(`chan-${index}`, '', 'older');
  await client.subscribeAll([0, 1, 2, 3].map((index) => ({ topic: `channels/chan-${index}/messages`, qos: 1 })));
  await gone(stage, client);
  for (let index = 0; index < 4; index++) await stage.publish(`chan-${index}`, '', 'newer');
  const again = await stage.connect('one');
  await until('all came', () => again.publishes.length >= 154);
  expect(again.texts.filter((text) => text === 'newer')).toHaveLength(4);
  expect(again.texts).not.toContain('older');
  expect(again.texts.filter((text) => text.startsWith('a'))).toEqual(
    Array.from({ length: 150 }, (_, index) => `a${index}`),
  );
});

test('goes on with QoS 0 and 1 while the registry is away, and with QoS 2 when it is back', async () => {
  await using stage = new Stage();
  const client = await stage.connect('one');
  await client.subscribeAll([
    { topic: A, qos: 1 },
    { topic: 'channels/chan-b/messages', qos: 2 },
  ]);
  stage.store.away = true;
  await stage.publish('chan-b', '', 'exactly', { qos: 2 });
  for (let index = 0; index < 20; index++) await stage.publish('chan-a', '', `m${index}`);
  await until('QoS 1 goes on', () => client.publishes.length === 20);
  expect(client.texts).not.toContain('exactly');
  await expect(stage.connect('two')).rejects.toThrow(StoreAway);
  expect((await stage.connect('three', { clean: true })).present).toBe(false);
  stage.store.away = false;
  await until('QoS 2 follows', () => client.texts.includes('exactly'));
});

test('keeps who left while the registry was away until it can be written', async () => {
  await using stage = new Stage({ config: { MILLRACE_MQTT_UNSAVED_SESSIONS_MAX: 2 } });
  const clients = [];
  for (const name of ['one', 'two', 'three']) {
    const client = await stage.connect(name);
    await client.subscribe(A);
    clients.push(client);
  }
  await stage.sessions.flush(10_000);
  stage.store.away = true;
  for (const client of clients) client.leave();
  expect(stage.sessions.count).toEqual({ connected: 0, offline: 2 });
  expect(await stage.metric('millrace_mqtt_dropped_total', { reason: 'session_unsaved' })).toBe(1);
  await stage.publish('chan-a', '', 'x');
  // Who comes back meanwhile goes on from memory.
  const again = await stage.connect('two');
  expect(again.present).toBe(true);
  await until('it came', () => again.publishes.length === 1);
  stage.store.away = false;
  await stage.sessions.flush(10_000);
  expect(stage.sessions.count).toEqual({ connected: 1, offline: 0 });
  // Who was forgotten is found as it was saved before.
  const forgotten = await stage.connect('one');
  expect(forgotten.present).toBe(true);
  await until('it came', () => forgotten.publishes.length === 1);
});
