import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Retransmission } from '../contract.ts';
import { Inbound, parseUse, type Use } from './inbound.ts';
import { Stage, type TestClient } from './testing/stage.ts';

/** Receives a publish as a connection does, and appends it if it is new. @returns whether it was appended */
async function publish(
  stage: Stage,
  client: TestClient,
  packetId: number,
  text: string,
  dup: boolean,
): Promise<boolean> {
  const partition = stage.partitionOf('chan-a');
  const again: Retransmission = { partition, channel: 'chan-a', subtopic: '', payload: Buffer.from(text) };
  let answer = client.session.receive(packetId, dup ? again : undefined);
  for (; answer instanceof Promise; answer = client.session.receive(packetId, again)) await answer;
  if (answer !== 'new') return false;
  const dedupKey = client.session.dedupKey(packetId);
  await stage.publish('chan-a', '', text, { qos: 2, dedupKey, publisher: client.principal.subject.id });
  return true;
}

/** The node is killed, and another begins with the same log and store. */
async function restart(stage: Stage): Promise<Stage> {
  await stage.kill();
  const { log, store, gate } = stage;
  return new Stage({ log, store, gate });
}

describe('a QoS 2 publish that comes again', () => {
  test('is not appended twice when its connection or its node ended, orderly', async () => {
    await using stage = new Stage();
    const client = await stage.connect('one');
    expect(await publish(stage, client, 5, 'a', false)).toBe(true);
    expect(await publish(stage, client, 5, 'a', true)).toBe(false);
    client.leave();
    await stage.sessions.flush(10_000);
    const again = await stage.connect('one');
    expect(await publish(stage, again, 5, 'a', true)).toBe(false);
    again.session.release(5);
    expect(await publish(stage, again, 5, 'a', false)).toBe(true);
  });

  test('is not appended twice when its node was killed before anything of it was kept', async () => {
    const stage = new Stage();
    const client = await stage.connect('one/with/slashes');
    await publish(stage, client, 5, 'a', false);
    await publish(stage, client, 6, 'b', false);
    const second = await restart(stage);
    const again = await second.connect('one/with/slashes');
    expect(await publish(second, again, 5, 'a', true)).toBe(false);
    expect(await publish(second, again, 6, 'b', true)).toBe(false);
    expect(await publish(second, again, 7, 'c', true)).toBe(true);
    const third = await restart(second);
    const last = await third.connect('one/with/slashes');
    expect(await publish(third, last, 7, 'c', true)).toBe(false);
    expect(third.log.count).toBe(3);
    await third.kill();
  });

  test('is appended when its packet id was used before for another message', async () => {
    const stage = new Stage();
    const client = await stage.connect('one');
    await publish(stage, client, 1, 'same', false);
    client.session.release(1);
    await stage.sessions.flush(10_000);
    const second = await restart(stage);
    const again = await second.connect('one');
    // The same content under the same id, but the first was released: the second never arrived.
    expect(await publish(second, again, 1, 'same', true)).toBe(true);
    await second.kill();
  });

  test('is told apart from that of another client and from another content', async () => {
    const stage = new Stage();
    const client = await stage.connect('one', { thing: 'mine' });
    await publish(stage, client, 1, 'a', false);
    const second = await restart(stage);
    const other = await second.connect('two', { thing: 'mine' });
    const stranger = await second.connect('one', { thing: 'yours' });
    const again = await second.connect('one', { thing: 'mine' });
    expect(await publish(second, other, 1, 'a', true)).toBe(true);
    expect(await publish(second, stranger, 1, 'a', true)).toBe(true);
    expect(await publish(second, again, 1, 'b', true)).toBe(true);
    await second.kill();
  });

  test('waits while the log can not be asked', async () => {
    await using stage = new Stage();
    const client = await stage.connect('one');
    stage.log.faults.extent = 'LOG_UNREACHABLE';
    await expect(publish(stage, client, 1, 'a', true)).rejects.toThrow('LOG_UNREACHABLE');
    delete stage.log.faults.extent;
    expect(await publish(stage, client, 1, 'a', true)).toBe(true);
  });

  test('bears no key in a session that ends with its connection', async () => {
    await using stage = new Stage();
    const client = await stage.connect('one', { clean: true });
    expect(client.session.receive(1)).toBe('new');
    expect(client.session.dedupKey(1)).toBeUndefined();
  });
});

type Step = { readonly what: 'publish' | 'release' | 'keep' | 'crash' | 'leave'; readonly id: number };

test('appends each QoS 2 message once, whenever the node is killed and whatever was kept', () => {
  const step: fc.Arbitrary<Step> = fc.record({
    what: fc.constantFrom('publish', 'publish', 'publish', 'release', 'release', 'keep', 'crash', 'leave'),
    id: fc.integer({ min: 1, max: 3 }),
  });
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 80 }),
      fc.array(fc.boolean(), { minLength: 80, maxLength: 80 }),
      (steps, luck) => {
        let generation = 1;
        let inbound = new Inbound(generation, null);
        let kept: ReturnType<Inbound['kept']> | null = null;
        const log: { id: number; text: string; use: Use }[] = [];
        /** What the client has not seen PUBREC of, and what it has. */
        const open = new Map<number, string>();
        const received = new Set<number>();
        let serial = 0;
        const arrive = (id: number, text: string, dup: boolean): void => {
          if (inbound.has(id)) return;
          if (dup && inbound.isDoubtful(id)) {
            const found = log.findLast((each) => each.id === id);
            inbound.settle(id, found === undefined ? null : { use: found.use, same: found.text === text });
            if (inbound.has(id)) return;
          }
          log.push({ id, text, use: parseUse(inbound.take(id)) as Use });
        };
        for (const [index, { what, id }] of steps.entries()) {
          if (what === 'publish' && !open.has(id)) {
            const text = `m${serial++}`;
            open.set(id, text);
            // The node may die before it arrives, or before PUBREC does.
            if (luck[index] === true) arrive(id, text, false);
          } else if (what === 'release' && received.has(id)) {
            inbound.release(id);
            received.delete(id);
            open.delete(id);
          } else if (what === 'release' && inbound.has(id) && open.has(id)) received.add(id);
          else if (what === 'keep') kept = inbound.kept(false);
          else if (what === 'crash' || what === 'leave') {
            if (what === 'leave') kept = inbound.kept(true);
            inbound = new Inbound(++generation, kept);
            for (const [each, text] of open) {
              if (received.has(each)) {
                inbound.release(each);
                received.delete(each);
                open.delete(each);
              } else arrive(each, text, true);
            }
          }
          expect(new Set(log.map(({ text }) => text)).size).toBe(log.length);
        }
        // What the client knows to be received is on the log.
        for (const id of received) expect(log.some(({ text }) => text === open.get(id))).toBe(true);
      },
    ),
    { numRuns: 500 },
  );
});
