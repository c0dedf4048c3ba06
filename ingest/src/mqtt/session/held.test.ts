import { describe, expect, test } from 'vitest';
import { Stage, type TestClient, until } from './testing/stage.ts';

const A = 'channels/chan-a/messages';
const B = 'channels/chan-b/messages';

function disable(stage: Stage, channel: string): void {
  stage.gate.disabled.add(channel);
  stage.gate.changed();
}
function enable(stage: Stage, channel: string): void {
  stage.gate.disabled.delete(channel);
  stage.gate.changed();
}
async function metricIs(stage: Stage, name: string, wanted: number): Promise<void> {
  const end = performance.now() + 20_000;
  for (let value = Number.NaN; value !== wanted; value = await stage.metric(name)) {
    if (performance.now() > end) throw new Error(`${name} is ${value}, not ${wanted}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
/** Only so many subscriptions are live. */
const isHeld = (stage: Stage, live = 0): Promise<void> => metricIs(stage, 'millrace_delivery_subscriptions', live);
const texts = (client: TestClient): string[] => client.texts;

describe('a subscription to a channel that is disabled', () => {
  test('waits, and goes on where it stood once the channel is enabled, on the same connection', async () => {
    await using stage = new Stage();
    const client = await stage.connect('one');
    await client.subscribeAll([
      { topic: A, qos: 1 },
      { topic: B, qos: 1 },
    ]);
    await stage.publish('chan-a', '', 'a1');
    await until('it came', () => client.texts.length === 1);
    disable(stage, 'chan-a');
    await isHeld(stage, 1);
    // What was on its way when the channel was disabled.
    await stage.publish('chan-a', '', 'a2');
    await stage.publish('chan-b', '', 'b1');
    await until('the other channel goes on', () => client.texts.length === 2);
    enable(stage, 'chan-a');
    await until('it goes on', () => client.texts.length === 3);
    await stage.publish('chan-a', '', 'a3');
    await until('what is new comes', () => client.texts.length === 4);
    expect(texts(client)).toEqual(['a1', 'b1', 'a2', 'a3']);
    expect(client.closed).toBeNull();
  });

  test('passes over nothing that it met before it heard of the change', async () => {
    await using stage = new Stage();
    const client = await stage.connect('one');
    await client.subscribe(A);
    disable(stage, 'chan-a');
    for (let index = 0; index < 50; index++) await stage.publish('chan-a', '', `m${index}`);
    await isHeld(stage);
    expect(client.texts).toEqual([]);
    enable(stage, 'chan-a');
    await until('all come', () => client.texts.length === 50);
    expect(texts(client)).toEqual(Array.from({ length: 50 }, (_, index) => `m${index}`));
  });

  test('waits in a session that comes back meanwhile, and on another node after a crash', async () => {
    await using stage = new Stage();
    const client = await stage.connect('one');
    await client.subscribeAll([
      { topic: A, qos: 1 },
      { topic: B, qos: 1 },
    ]);
    client.leave();
    await stage.sessions.flush(10_000);
    for (const text of ['a1', 'a2']) await stage.publish('chan-a', '', text);
    disable(stage, 'chan-a');
    await stage.publish('chan-b', '', 'b1');
    const second = await stage.connect('one');
    await until('the other channel goes on', () => second.texts.length === 1);
    // Its place is kept apart from the session's, which has gone on.
    await stage.publish('chan-b', '', 'b2');
    await until('and on', () => second.acknowledged === 2);
    await stage.sessions.flush(10_000);
    await stage.kill();
    const { log, store, retained, gate } = stage;
    await using other = new Stage({ log, store, retained, gate });
    const third = await other.connect('one');
    expect(third.present).toBe(true);
    enable(other, 'chan-a');
    await until('all come', () => third.texts.includes('a2'));
    expect(third.texts.filter((text) => text.startsWith('a'))).toEqual(['a1', 'a2']);
  });

  test('brings what was not acknowledged before, too', async () => {
    await using stage = new Stage();
    const client = await stage.connect('one', { acks: false });
    await client.subscribe(A);
    for (const text of ['a1', 'a2', 'a3']) await stage.publish('chan-a', '', text);
    await until('it was sent', () => client.texts.length === 3);
    client.acknowledge(client.publishes[0] as never);
    client.leave();
    disable(stage, 'chan-a');
    const second = await stage.connect('one');
    await metricIs(stage, 'millrace_mqtt_subscriptions', 1);
    expect(second.texts).toEqual([]);
    enable(stage, 'chan-a');
    await until('all come', () => second.texts.length === 2);
    expect(texts(second)).toEqual(['a2', 'a3']);
  });

  test('can be ended, and asked for again, while it waits', async () => {
    await using stage = new Stage();
    const client = await stage.connect('one');
    await client.subscribe(A);
    disable(stage, 'chan-a');
    await isHeld(stage);
    expect(await client.subscribe(A, 2)).toBe(2);
    client.session.unsubscribe([A]);
    expect(await client.subscribe(A)).toBe(128);
    await stage.publish('chan-a', '', 'never');
    enable(stage, 'chan-a');
    expect(await client.subscribe(A)).toBe(1);
    await stage.publish('chan-a', '', 'new');
    await until('it comes', () => client.texts.length > 0);
    expect(texts(client)).toEqual(['new']);
  });

  test('is over for good where the client may not read it any more', async () => {
    await using stage = new Stage();
    const client = await stage.connect('one');
    await client.subscribe(A);
    disable(stage, 'chan-a');
    await isHeld(stage);
    stage.gate.unreadable.add('many-one/chan-a');
    enable(stage, 'chan-a');
    await metricIs(stage, 'millrace_mqtt_subscriptions', 0);
    expect(client.closed).toBeNull();
  });
});
