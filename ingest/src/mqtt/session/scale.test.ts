import { Protocol } from '@millrace/core';
import { expect, test } from 'vitest';
import type { Outlet, Session } from '../contract.ts';
import { Stage, thing, until } from './testing/stage.ts';

const SESSIONS = 10_000;
const CHANNELS = 50;
const MESSAGES = 1_000;

/** A client that only counts and acknowledges. */
class Counter implements Outlet {
  readonly principal;
  readonly context = { protocol: Protocol.mqtt, remoteAddress: '', tls: false, mutualTls: false, nowMs: Date.now() };
  readonly unsentBytes = 0;
  readonly received: number[] = [];
  session: Session | null = null;
  readonly #due: number[] = [];

  constructor(stage: Stage) {
    this.principal = thing(stage.gate, 'fleet');
  }

  write(head: Buffer): void {
    const topicBytes = head.readUInt16BE(2);
    const packetId = head.readUInt16BE(4 + topicBytes);
    this.received.push(Number(head.toString('latin1', 6 + topicBytes)));
    if (this.#due.push(packetId) > 1) return;
    setImmediate(() => {
      for (const each of this.#due.splice(0)) this.session?.onPuback(each);
    });
  }

  close(): void {}
}

test('10,000 sessions that are away cost nothing, and catch up together in few looks at the log', async () => {
  await using stage = new Stage({ config: { MILLRACE_MQTT_SAVE_MS: 200 } });
  const connect = async (index: number): Promise<Counter> => {
    const counter = new Counter(stage);
    const key = { owner: counter.principal.subject.id, clientId: `c${index}` };
    const { session, present } = await stage.sessions.open({ key, clean: false, outlet: counter });
    counter.session = session;
    session.begin();
    if (!present) {
      const filters = [{ topic: `channels/chan-${index % CHANNELS}/messages`, qos: 1 as const }];
      session.granted(filters, await session.subscribe(filters));
    }
    return counter;
  };
  const everyone = Array.from({ length: SESSIONS }, (_, index) => index);
  for (const { session } of await Promise.all(everyone.map(connect))) session?.leave();
  await stage.sessions.flush(30_000);
  expect(stage.sessions.count).toEqual({ connected: 0, offline: 0 });
  const kept = (): number => [...stage.store.rows.values()].reduce((sum, { state }) => sum + (state?.length ?? 0), 0);
  const before = kept();
  expect(before / SESSIONS).toBeLessThan(300);
  for (let index = 0; index < MESSAGES; index++) await stage.publish(`chan-${index % CHANNELS}`, '', `${index}`);
  expect(kept()).toBe(before);
  expect(await stage.metric('millrace_mqtt_sessions')).toBe(0);

  const { records } = { ...stage.log.peeked };
  const counters = await Promise.all(everyone.map(connect));
  const each = MESSAGES / CHANNELS;
  await until('all have caught up', () => counters.every(({ received }) => received.length >= each), 100_000);
  const wrong = counters.filter(
    ({ received }, index) =>
      received.length !== each || received.some((value, at) => value !== (index % CHANNELS) + at * CHANNELS),
  );
  expect(wrong).toHaveLength(0);
  // One by one they would have read 10,000 times what there is.
  expect(stage.log.peeked.records - records).toBeLessThan(MESSAGES * 100);
}, 120_000);
