import { type Credential, createMetrics, type Identified, type Principal } from '@millrace/core';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createCredentials, type SigningCredentials } from './credentials.ts';
import { createGate, type StoppableGate } from './gate.ts';
import { createSealer } from './sealer.ts';
import { CERTIFICATE_ENDS_MS, certificateCredential, credentialOf } from './testing/certificates.ts';
import { MemoryDirectory } from './testing/directory.ts';

const secret = new Uint8Array(32).fill(7);
const UNKNOWN = { kind: 'refused', reason: 'unknown' };
const shown = certificateCredential(0);
const other = certificateCredential(1);
let nowMs: number;
let directory: MemoryDirectory;
let credentials: SigningCredentials;
let gate: StoppableGate;

const identify = async (credential: Credential): Promise<Identified> => gate.identify(credential);
const known = (identified: Identified): Principal => {
  if (identified.kind !== 'known') throw new Error(`refused: ${identified.reason}`);
  return identified.principal;
};
const give = (ticket: string, subject: string): Credential => {
  directory.tickets.set(credentials.digest(ticket), subject);
  return { kind: 'ticket', ticket };
};

beforeEach(() => {
  nowMs = Date.UTC(2027, 0, 5, 12);
  directory = new MemoryDirectory();
  credentials = createCredentials({ secret, now: () => nowMs });
  directory.thing('t1', 'o1', credentials.digest('key-1'));
  directory.certificates.set(shown.fingerprint, 't1');
  gate = createGate({ directory, credentials, sealer: createSealer(secret), now: () => nowMs });
});
afterEach(() => gate.stop());

describe('a certificate', () => {
  test('stands for its thing, at once and as the same object the second time', async () => {
    const first = await identify(shown);
    expect(known(first).subject.id).toBe('t1');
    expect(gate.identify(shown)).toBe(first);
    expect(directory.calls.thingByCertificate).toBe(1);
  });

  test('that is unknown is asked about once, and let in right after it was given to a thing', async () => {
    expect(await identify(other)).toEqual(UNKNOWN);
    expect(gate.identify(other), 'remembered').toEqual(UNKNOWN);
    expect(directory.calls.thingByCertificate).toBe(1);
    directory.certificates.set(other.fingerprint, 't1');
    directory.announce('certificate', 't1', 'o1', ['t1']);
    expect(known(await identify(other)).subject.id).toBe('t1');
  });

  test('that is taken away cuts off at once who came by it, and whoever has a key comes back', async () => {
    const byCertificate = known(await identify(shown));
    const byKey = known(await identify({ kind: 'key', key: 'key-1' }));
    directory.certificates.clear();
    directory.announce('certificate', 't1', 'o1', ['t1']);
    expect([byCertificate.revoked, byKey.revoked]).toEqual([true, true]);
    expect(await identify(shown)).toEqual(UNKNOWN);
    expect(known(await identify({ kind: 'key', key: 'key-1' })).revoked).toBe(false);
  });

  test('that is taken away while it is looked up is not let in', async () => {
    let changes = 1;
    directory.pause = async () => {
      if (changes-- <= 0) return;
      directory.certificates.clear();
      directory.announce('certificate', 't1', 'o1', ['t1']);
    };
    expect(await identify(shown)).toEqual(UNKNOWN);
  });

  test('of a thing that is disabled or gone does not let in', async () => {
    const principal = known(await identify(shown));
    directory.thing('t1', 'o1', credentials.digest('key-1'), { enabled: false });
    expect(principal.revoked).toBe(true);
    expect(await identify(shown)).toEqual({ kind: 'refused', reason: 'disabled' });
    directory.subjects.delete('t1');
    directory.announce('thing', 't1', 'o1');
    expect(await identify(shown)).toEqual(UNKNOWN);
  });

  test('ends with its time, and so does what it opened', async () => {
    nowMs = CERTIFICATE_ENDS_MS - 1;
    const principal = known(await identify(shown));
    expect(principal.revoked).toBe(false);
    nowMs += 1;
    expect(principal.revoked).toBe(true);
    expect(await identify(shown)).toEqual(UNKNOWN);
    expect(directory.calls.thingByCertificate, 'nobody is asked about what has ended').toBe(1);
  });

  test('is looked up again after a while, since the end of its authority is no change', async () => {
    const before = known(await identify(shown));
    nowMs += 300_000;
    expect(known(await identify(shown)).subject.id).toBe('t1');
    expect(directory.calls.thingByCertificate).toBe(2);
    expect(before.revoked, 'who is connected stays').toBe(false);
    directory.certificates.clear();
    nowMs += 300_000;
    expect(await identify(shown)).toEqual(UNKNOWN);
  });

  test('is no certificate when its bytes are none, or are not those of the fingerprint', async () => {
    await identify(shown);
    const garbage = Buffer.from('no certificate');
    for (const [fingerprint, certificate] of [
      [shown.fingerprint, other.certificate],
      [shown.fingerprint, Buffer.alloc(0)],
      [shown.fingerprint, Buffer.alloc(100_000)],
      ['d1f6fae1ee1b2ea8c3b0f4a3ce5b7d53', garbage],
    ] as const) {
      expect(await identify({ kind: 'certificate', fingerprint, certificate })).toEqual(UNKNOWN);
    }
    expect(await identify(credentialOf(garbage))).toEqual(UNKNOWN);
    expect(directory.calls.thingByCertificate).toBe(1);
  });

  test('a flood of unknown ones is remembered within bounds', async () => {
    gate.stop();
    const metrics = createMetrics();
    gate = createGate({ directory, credentials, sealer: createSealer(secret), metrics, limits: { unknownMax: 16 } });
    const der = [...other.certificate];
    for (let index = 0; index < 100; index++) {
      // Another signature each: nobody checks it before the directory does.
      expect(await identify(credentialOf(Buffer.from(der.with(-1, index))))).toEqual(UNKNOWN);
    }
    expect(directory.calls.thingByCertificate).toBe(100);
    const [, entries] = /memo_entries\{memo="unknown"\} (\d+)/.exec(await metrics.registry.metrics()) ?? [];
    expect(Number(entries)).toBeLessThanOrEqual(16);
    expect(Number(entries)).toBeGreaterThan(0);
    expect(known(await identify(shown)).subject.id).toBe('t1');
  });
});

describe('a ticket', () => {
  test('stands once for whose it is, as the same principal as by other credentials', async () => {
    const ticket = give('ticket-1', 't1');
    const answer = gate.identify(ticket);
    expect(answer).toBeInstanceOf(Promise);
    const principal = known(await answer);
    expect(known(await identify({ kind: 'key', key: 'key-1' }))).toBe(principal);
    expect(await identify(ticket)).toEqual(UNKNOWN);
    expect(await identify(give('ticket-2', 't1'))).toMatchObject({ principal });
  });

  test('lets in one of two who show it at the same time', async () => {
    const ticket = give('ticket-1', 't1');
    const both = await Promise.all([identify(ticket), identify(ticket)]);
    expect(both.map(({ kind }) => kind).toSorted()).toEqual(['known', 'refused']);
  });

  test('is not spent in vain when a change comes meanwhile', async () => {
    directory.user('u1');
    let changes = 1;
    directory.pause = async () => {
      if (changes-- > 0) directory.announce('user', 'u1', null);
    };
    expect(known(await identify(give('ticket-1', 'u1'))).subject.id).toBe('u1');
    expect(directory.calls.redeemTicket).toBe(1);
  });

  test('of a subject that is disabled meanwhile does not let in', async () => {
    directory.user('u1');
    directory.pause = async () => {
      directory.pause = async () => {};
      directory.user('u1', { enabled: false });
    };
    expect(await identify(give('ticket-1', 'u1'))).toEqual({ kind: 'refused', reason: 'disabled' });
  });

  test('what it opened ends as what a key opened does', async () => {
    const principal = known(await identify(give('ticket-1', 't1')));
    directory.announce('key', 'k1', 'o1', ['t1']);
    expect(principal.revoked).toBe(true);
  });

  test('that is empty or endless is unknown without asking', async () => {
    for (const ticket of ['', 'x'.repeat(5_000)]) {
      expect(await gate.identify({ kind: 'ticket', ticket })).toEqual(UNKNOWN);
    }
    expect(directory.calls.redeemTicket).toBe(0);
  });

  test('when the directory is away, the caller is told and may try the ticket again', async () => {
    const ticket = give('ticket-1', 't1');
    const { redeemTicket } = directory;
    directory.redeemTicket = async () => {
      throw new Error('database is down');
    };
    await expect(identify(ticket)).rejects.toThrow('database is down');
    directory.redeemTicket = redeemTicket;
    expect(await identify(ticket)).toMatchObject({ kind: 'known' });
  });
});

describe('a subject that the platform itself knows', () => {
  test('is identified by its id, at once the second time, as the same principal as by its key', async () => {
    const first = await identify({ kind: 'subject', id: 't1' });
    expect(gate.identify({ kind: 'subject', id: 't1' })).toBe(first);
    expect(known(await identify({ kind: 'key', key: 'key-1' }))).toBe(known(first));
    expect(directory.calls.subject).toBe(1);
  });

  test('is refused while it is disabled or gone, and known again after', async () => {
    const principal = known(await identify({ kind: 'subject', id: 't1' }));
    directory.thing('t1', 'o1', credentials.digest('key-1'), { enabled: false });
    expect(principal.revoked).toBe(true);
    expect(await identify({ kind: 'subject', id: 't1' })).toEqual({ kind: 'refused', reason: 'disabled' });
    directory.thing('t1', 'o1', credentials.digest('key-1'));
    expect(await identify({ kind: 'subject', id: 't1' })).toMatchObject({ kind: 'known' });
    expect(await identify({ kind: 'subject', id: 'nobody' })).toEqual(UNKNOWN);
  });

  test('is not disturbed by a session that changes hands', async () => {
    const principal = known(await identify({ kind: 'subject', id: 't1' }));
    directory.announce('session', 't1/client', null, ['7', 'node']);
    directory.announce('session', 't1', null, ['t1']);
    expect(principal.revoked).toBe(false);
    expect(gate.identify({ kind: 'subject', id: 't1' })).not.toBeInstanceOf(Promise);
  });
});
