import type { Credential, Identified } from '@millrace/core';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createCredentials, type SigningCredentials } from './credentials.ts';
import { createGate, type StoppableGate } from './gate.ts';
import { Guesses } from './guesses.ts';
import { createSealer } from './sealer.ts';
import { MemoryDirectory } from './testing/directory.ts';

const SECRET = Buffer.alloc(32, 9);
const HERE = '192.0.2.1';
const LIMITS = { guessesPerSecond: 10, unknownMsMax: 60_000 };

describe('who shows one unknown key after the other', () => {
  let nowMs: number;
  let directory: MemoryDirectory;
  let credentials: SigningCredentials;
  let gate: StoppableGate;

  beforeEach(() => {
    nowMs = 1_000_000;
    directory = new MemoryDirectory();
    credentials = createCredentials({ secret: SECRET, now: () => nowMs });
    for (const name of ['one', 'two']) directory.thing(name, 'o1', credentials.digest(`key of ${name}`));
    gate = createGate({ directory, credentials, sealer: createSealer(SECRET), limits: LIMITS, now: () => nowMs });
  });
  afterEach(() => gate.stop());

  const show = async (key: string, address?: string): Promise<Identified> =>
    gate.identify({ kind: 'key', key }, address);
  const guess = async (count: number, address: string): Promise<void> => {
    for (let index = 0; index < count; index++) await show(`guess ${address} ${nowMs} ${index}`, address);
  };
  const guessed = { code: 'POLICY_GUESSED', retry: 'later' };

  test('is told nothing more after ten seconds’ worth, right or wrong, until some time has gone by', async () => {
    await guess(100, HERE);
    const { thingByKey } = directory.calls;
    await expect(show('one more', HERE)).rejects.toMatchObject(guessed);
    await expect(show('key of one', HERE)).rejects.toMatchObject(guessed);
    // Nothing was asked, so that it is not told by a second try either.
    await expect(show('key of one', HERE)).rejects.toMatchObject(guessed);
    expect(directory.calls.thingByKey).toBe(thingByKey);
    nowMs += 1_000;
    expect((await show('key of one', HERE)).kind).toBe('known');
    await guess(10, HERE);
    await expect(show('key of two', HERE)).rejects.toMatchObject(guessed);
  });

  test('keeps out neither who is known from there, nor anybody from elsewhere', async () => {
    await show('key of one', HERE);
    await guess(100, HERE);
    expect((await show('key of one', HERE)).kind).toBe('known');
    expect((await show('key of two', '192.0.2.2')).kind).toBe('known');
    expect((await show('key of two')).kind).toBe('known');
  });

  test('gains nothing by other kinds of credentials, nor by the addresses of a /64', async () => {
    const shown: readonly Credential[] = [
      { kind: 'bearer', token: 'mrk_unknown' },
      { kind: 'bearer', token: 'eyJhbGciOiJFUzI1NiJ9.e30.c2ln' },
      { kind: 'ticket', ticket: 'unknown' },
    ];
    for (let index = 0; index < 100; index++) await show(`guess ${index}`, `2001:db8::${index.toString(16)}`);
    for (const credential of shown)
      await expect((async () => gate.identify(credential, '2001:db8::ffff'))()).rejects.toMatchObject(guessed);
    expect((await show('key of one', '2001:db8:0:1::1')).kind).toBe('known');
  });

  test('costs nothing by showing the same again: it is known to be unknown', async () => {
    for (let index = 0; index < 200; index++) expect((await show('always the same', HERE)).kind).toBe('refused');
    expect((await show('key of one', HERE)).kind).toBe('known');
  });
});

describe('guesses', () => {
  test('are counted for a bounded number of networks', () => {
    const guesses = new Guesses(1, () => 0);
    for (let index = 0; index < 10; index++) guesses.failed(HERE);
    expect(guesses.refuses(HERE)).toBe(true);
    for (let index = 0; index < 10_000; index++) guesses.failed(`network ${index}`);
    expect(guesses.refuses(HERE)).toBe(false);
  });

  test('are not counted at all when the limit is 0', () => {
    const guesses = new Guesses(0, () => 0);
    for (let index = 0; index < 1_000; index++) guesses.failed(HERE);
    expect(guesses.refuses(HERE)).toBe(false);
  });
});
