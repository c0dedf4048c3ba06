import fc from 'fast-check';
import { expect, test } from 'vitest';
import { eventsOf, type StreamEvent } from './event-stream.ts';

async function read(chunks: readonly string[]): Promise<StreamEvent[]> {
  async function* given() {
    yield* chunks;
  }
  const events: StreamEvent[] = [];
  for await (const event of eventsOf(given())) events.push(event);
  return events;
}

test('events are cut as the standard says', async () => {
  const text =
    'retry: 2000\nid: 2-0\n\n: comment\nid: 2-1\nevent: message\ndata: {"a":\ndata: 1}\n\ndata:x\r\n\r\ndata: half';
  expect(await read([text])).toEqual([
    { event: 'message', data: '{"a":\n1}', id: '2-1' },
    { event: 'message', data: 'x', id: '2-1' },
  ]);
});

test('however the stream is cut into chunks, the events are the same', async () => {
  const text = 'id: 1\r\ndata: one\r\n\r\nid: 2\ndata: two\n\nevent: gap\rdata: three\r\r: end';
  const whole = await read([text]);
  expect(whole.map(({ data }) => data)).toEqual(['one', 'two', 'three']);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 0, max: text.length })), async (cuts) => {
      const at = [0, ...cuts.sort((a, b) => a - b), text.length];
      expect(await read(at.slice(1).map((end, index) => text.slice(at[index], end)))).toEqual(whole);
    }),
    { numRuns: 300 },
  );
});
