import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Millrace } from '../millrace.ts';
import { filledIn, headerMismatch, type Kept, mismatch, parseWireExamples, type WireExample } from './wire-example.ts';

const FOLDER = new URL('../../dialects/', import.meta.url).pathname;
const UNTIL_MS_MAX = 30_000;
const dialects = readdirSync(FOLDER, { withFileTypes: true }).filter((each) => each.isDirectory());

describe.each(dialects.map(({ name }) => name))('the %s dialect', (dialect) => {
  let millrace: Millrace;
  /** What one example found, the next ones know: they are one conversation. */
  const kept: Kept = {};
  const files = readdirSync(join(FOLDER, dialect)).sort();
  const examples = files.flatMap((file) =>
    parseWireExamples(readFileSync(join(FOLDER, dialect, file), 'utf8')).map((example) => ({
      name: `${file}: ${example.title}`,
      example,
    })),
  );

  beforeAll(async () => {
    millrace = await new Millrace().start();
  }, 120_000);
  afterAll(async () => {
    await millrace?.dispose();
  });

  test.each(examples)('$name', async ({ example }) => {
    const end = Date.now() + UNTIL_MS_MAX;
    let wrong = await ask(example, millrace.url, kept);
    while (wrong !== null && example.until && Date.now() < end) {
      await sleep(100);
      wrong = await ask(example, millrace.url, kept);
    }
    expect(wrong).toBeNull();
  });
});

/** @returns what is wrong with the answer, or null */
async function ask(example: WireExample, url: string, kept: Kept): Promise<string | null> {
  const body = filledIn(example.body, kept);
  const response = await fetch(url + filledIn(example.path, kept), {
    method: example.method,
    headers: Object.fromEntries(Object.entries(example.headers).map(([name, value]) => [name, filledIn(value, kept)])),
    ...(body === '' ? {} : { body }),
    redirect: 'manual',
  });
  const text = await response.text();
  if (response.status !== example.status) return `status ${response.status}, not ${example.status}: ${text}`;
  for (const [name, expected] of Object.entries(example.answerHeaders)) {
    const wrong = headerMismatch(name, expected, response.headers.get(name), kept);
    if (wrong !== null) return wrong;
  }
  if (example.answer === '') return null;
  if (example.answer === '(empty)') return text === '' ? null : `a body: ${text}`;
  const expected: unknown = JSON.parse(example.answer);
  const wrong = mismatch(expected, JSON.parse(text), kept);
  return wrong === null ? null : `${wrong} in ${text}`;
}
