import fc from 'fast-check';
import { expect, test } from 'vitest';
import { publishPacket } from './packets.ts';
import { dueOf, stampDue, textPayload } from './payload.ts';

test('a due time comes back from the packet it was stamped into, and the pack stays SenML of the same size', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 1e12 }),
      fc.integer({ min: 150, max: 2_000 }),
      fc.constantFrom(0, 1, 2),
      (us, size, qos) => {
        const packet = publishPacket('channels/one/messages', qos as 0 | 1 | 2, 7, textPayload(size));
        const whole = packet.length;
        stampDue(packet, size, us);
        expect(packet.length).toBe(whole);
        expect(dueOf(packet, whole - size)).toBe(us);
        const [, due] = JSON.parse(packet.subarray(whole - size).toString()) as { v: number }[];
        expect(due?.v).toBe(1e12 + us);
      },
    ),
  );
});
