import { describe, expect, test } from 'vitest';
import { rowsOf } from './lines.ts';

const answer = (chunks: readonly string[], end?: Error): Response => {
  const left = chunks.map((chunk) => new TextEncoder().encode(chunk));
  return new Response(
    new ReadableStream<Uint8Array>({
      pull(controller) {
        const chunk = left.shift();
        if (chunk !== undefined) controller.enqueue(chunk);
        else if (end === undefined) controller.close();
        else controller.error(end);
      },
    }),
  );
};
const all = async (response: Response): Promise<unknown[]> => {
  const rows: unknown[] = [];
  for await (const row of rowsOf(response)) rows.push(row);
  return rows;
};

describe('rows of an answer', () => {
  const text = '{"a":1}\n{"b":"zwölf €"}\n\n{"c":[null]}\n';
  const rows = [{ a: 1 }, { b: 'zwölf €' }, { c: [null] }];

  test('are the same, wherever it is cut', async () => {
    const bytes = new TextEncoder().encode(text);
    for (let at = 0; at <= bytes.length; at++) {
      const stream = new Response(
        new ReadableStream<Uint8Array>({
          start(controller) {
            controller.enqueue(bytes.subarray(0, at));
            controller.enqueue(bytes.subarray(at));
            controller.close();
          },
        }),
      );
      expect(await all(stream)).toEqual(rows);
    }
    expect(await all(answer([text.trimEnd()]))).toEqual(rows);
    expect(await all(answer([]))).toEqual([]);
  });

  test('that break off are no end', async () => {
    await expect(all(answer([text], new Error('reset')))).rejects.toMatchObject({
      name: 'MillraceConnectionError',
      code: 'CLOSED',
    });
    await expect(all(answer(['{"a":1}\n<html>\n']))).rejects.toMatchObject({ code: 'UNINTELLIGIBLE' });
  });

  test('that nobody wants any more are not read', async () => {
    let cancelled = false;
    const endless = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(new TextEncoder().encode('{}\n')),
      cancel() {
        cancelled = true;
      },
    });
    for await (const _ of rowsOf(new Response(endless))) break;
    expect(cancelled).toBe(true);
  });
});
