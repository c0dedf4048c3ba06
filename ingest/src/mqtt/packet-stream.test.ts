import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PacketStream } from './packet-stream.ts';

const packet = (first: number, body: Uint8Array): Buffer => {
  const head = [first];
  for (let rest = body.length; ; ) {
    const low = rest & 0x7f;
    rest >>>= 7;
    head.push(rest > 0 ? low | 0x80 : low);
    if (rest === 0) break;
  }
  return Buffer.concat([Buffer.from(head), body]);
};

function taken(stream: PacketStream): Buffer[] {
  const packets: Buffer[] = [];
  while (stream.next() === 'packet') {
    packets.push(stream.bytes.subarray(stream.start, stream.end));
    stream.pass();
  }
  return packets;
}

describe('packets', () => {
  test('come whole and in order, however the bytes are cut, and stay as they were', () => {
    const bodies = fc.array(fc.uint8Array({ maxLength: 400 }), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(
        bodies,
        fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 40 }),
        (parts, cuts) => {
          const wanted = parts.map((body, index) => packet(index, body));
          const all = Buffer.concat(wanted);
          const stream = new PacketStream(1_024);
          const got: Buffer[] = [];
          for (let at = 0, turn = 0; at < all.length; turn++) {
            const size = cuts[turn % cuts.length] as number;
            stream.push(Buffer.from(all.subarray(at, at + size)));
            at += size;
            got.push(...taken(stream));
          }
          expect(got).toEqual(wanted);
          expect(stream.next()).toBe('partial');
        },
      ),
    );
  });

  test('that wait are found again', () => {
    const stream = new PacketStream(1_024);
    const [first, second] = [packet(1, Buffer.from('one')), packet(2, Buffer.from('two'))];
    stream.push(first);
    expect(stream.next()).toBe('packet');
    stream.push(second);
    expect(taken(stream)).toEqual([first, second]);
  });

  test('that come byte by byte are moved a few times, not at every byte', () => {
    const whole = packet(0x30, Buffer.alloc(100_000, 7));
    const stream = new PacketStream(2_000_000);
    const held = new Set<Buffer>();
    for (let at = 0; at < whole.length; at++) {
      stream.push(whole.subarray(at, at + 1));
      held.add(stream.bytes);
    }
    expect(taken(stream)).toEqual([whole]);
    expect(held.size).toBeLessThan(20);
  });

  test('too large are told before they come', () => {
    const stream = new PacketStream(1_000);
    stream.push(packet(0x30, Buffer.alloc(999)).subarray(0, 3));
    expect(stream.next()).toBe('too_large');
  });

  test('are malformed when their length has five bytes', () => {
    const stream = new PacketStream(1_000);
    stream.push(Buffer.from([0x30, 0x80, 0x80, 0x80]));
    expect(stream.next()).toBe('partial');
    stream.push(Buffer.from([0x80]));
    expect(stream.next()).toBe('malformed');
  });
});
