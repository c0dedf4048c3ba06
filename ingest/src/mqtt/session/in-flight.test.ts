import fc from 'fast-check';
import { expect, test } from 'vitest';
import { InFlight, type InFlightEntry, PACKET_ID_MAX } from './in-flight.ts';

const add = (flight: InFlight, offset: number, qos: 1 | 2): InFlightEntry => flight.add(0, offset, qos, 't', null, 0);

test('gives ids in turn and never one that is in use', () => {
  const flight = new InFlight(3);
  expect([1, 2, 3].map((offset) => add(flight, offset, 1).packetId)).toEqual([1, 2, 3]);
  expect(flight.full).toBe(true);
  flight.acknowledge(2);
  flight.nextPacketId = PACKET_ID_MAX;
  expect(add(flight, 4, 1).packetId).toBe(PACKET_ID_MAX);
  flight.acknowledge(PACKET_ID_MAX);
  expect(add(flight, 5, 1).packetId).toBe(2);
});

test('frees QoS 1 by PUBACK and QoS 2 by PUBCOMP after PUBREC only', () => {
  const flight = new InFlight(10);
  const once = add(flight, 1, 1);
  const exactly = add(flight, 2, 2);
  expect(flight.acknowledge(exactly.packetId)).toBeNull();
  expect(flight.receive(once.packetId)).toBeNull();
  expect(flight.complete(exactly.packetId)).toBeNull();
  expect(flight.receive(exactly.packetId)).toBe(exactly);
  expect(flight.receive(exactly.packetId)).toBe(exactly);
  expect(flight.complete(exactly.packetId)).toBe(exactly);
  expect(flight.complete(exactly.packetId)).toBeNull();
  expect(flight.acknowledge(once.packetId)).toBe(once);
  expect(flight.size).toBe(0);
});

test('takes up again what was kept, also beyond a smaller window', () => {
  const before = new InFlight(10);
  for (let offset = 0; offset < 6; offset++) add(before, offset, offset % 2 === 0 ? 1 : 2);
  before.receive(4);
  const after = new InFlight(2);
  after.restore({ inFlight: before.kept(), nextPacketId: before.nextPacketId });
  expect(after.full).toBe(true);
  expect(after.kept()).toEqual(before.kept());
  expect(after.kept().map(({ packetId }) => packetId)).toEqual([4, 1, 2, 3, 5, 6]);
  expect(after.nextPacketId).toBe(7);
});

type Step = readonly ['add' | 'acknowledge' | 'receive' | 'complete' | 'restore', number];

test('behaves as a list of what was sent does, whatever the client answers', () => {
  const step: fc.Arbitrary<Step> = fc.tuple(
    fc.constantFrom('add', 'add', 'add', 'acknowledge', 'receive', 'complete', 'restore'),
    fc.nat(12),
  );
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 8 }), fc.array(step, { maxLength: 200 }), (windowMax, steps) => {
      let flight = new InFlight(windowMax);
      let offset = 0;
      let sent: { packetId: number; qos: 1 | 2; offset: number }[] = [];
      let released: { packetId: number; qos: 1 | 2; offset: number }[] = [];
      for (const [what, pick] of steps) {
        if (what === 'add') {
          expect(flight.full).toBe(sent.length + released.length >= windowMax);
          if (flight.full) continue;
          const qos = pick % 2 === 0 ? 1 : 2;
          const { packetId } = add(flight, offset, qos);
          expect(packetId).toBeGreaterThan(0);
          expect([...sent, ...released].some((each) => each.packetId === packetId)).toBe(false);
          sent.push({ packetId, qos, offset: offset++ });
        } else if (what === 'acknowledge') {
          const known = sent.find(({ packetId, qos }) => packetId === pick && qos === 1);
          expect(flight.acknowledge(pick)?.offset).toBe(known?.offset);
          sent = sent.filter((each) => each !== known);
        } else if (what === 'receive') {
          const known = sent.find(({ packetId, qos }) => packetId === pick && qos === 2);
          const again = released.find(({ packetId }) => packetId === pick);
          expect(flight.receive(pick)?.offset).toBe((known ?? again)?.offset);
          if (known !== undefined) {
            sent = sent.filter((each) => each !== known);
            released.push(known);
          }
        } else if (what === 'complete') {
          const known = released.find(({ packetId }) => packetId === pick);
          expect(flight.complete(pick)?.offset).toBe(known?.offset);
          released = released.filter((each) => each !== known);
        } else {
          const kept = { inFlight: flight.kept(), nextPacketId: flight.nextPacketId };
          flight = new InFlight(windowMax);
          flight.restore(kept);
        }
        expect(flight.entries().map((each) => each.offset)).toEqual([...released, ...sent].map((each) => each.offset));
        expect(flight.size).toBe(sent.length + released.length);
      }
    }),
    { numRuns: 200 },
  );
});
