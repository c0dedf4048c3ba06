import type { Started } from '@millrace/core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Registry } from '../registry.ts';
import { ADMIN, Client, startRegistry, temporaryPostgres } from '../testing/fixture.ts';

let postgres: Awaited<ReturnType<typeof temporaryPostgres>>;
let started: Started<Registry>;
let registry: Registry;
let anybody: Client;
let admin: Client;
let nowMs = Date.now();

beforeAll(async () => {
  postgres = await temporaryPostgres();
  started = await startRegistry(postgres.url, { now: () => nowMs });
  registry = started.value;
  anybody = Client.over(registry);
  admin = await anybody.asUser(ADMIN.email, ADMIN.password);
});
afterAll(async () => {
  await started?.stop();
  await postgres?.dispose();
});

const redeem = (ticket: string) => registry.directory.redeemTicket(registry.credentials.digest(ticket));

describe('a ticket', () => {
  test('is given to a user and to a thing, and stands for them once', async () => {
    const { body: thing } = await admin.call('POST', '/things', {});
    const ofUser = await admin.call('POST', '/tickets');
    expect(ofUser).toMatchObject({
      status: 201,
      body: { ticket: expect.stringMatching(/^[\w-]{43}$/), expires_in: 60 },
    });
    expect(ofUser.headers.get('cache-control')).toBe('no-store');
    const ofThing = await anybody.as(`Thing ${thing.key}`).call('POST', '/tickets');
    expect(await redeem(ofThing.body.ticket)).toMatchObject({ kind: 'thing', id: thing.id });
    expect(await redeem(ofUser.body.ticket)).toMatchObject({ kind: 'user', email: ADMIN.email });
    expect(await redeem(ofUser.body.ticket)).toBeNull();
    expect(await redeem('guessed')).toBeNull();
  });

  test('is for nobody who is not known', async () => {
    expect((await anybody.call('POST', '/tickets')).status).toBe(401);
    expect((await anybody.as('Thing unknown-key').call('POST', '/tickets')).status).toBe(401);
  });

  test('lets in one of many that show it at once, on any node', async () => {
    const other = await startRegistry(postgres.url);
    const { ticket } = (await admin.call('POST', '/tickets')).body;
    const digest = registry.credentials.digest(ticket);
    const tries = Array.from({ length: 20 }, (_, index) =>
      (index % 2 === 0 ? registry : other.value).directory.redeemTicket(digest),
    );
    expect((await Promise.all(tries)).filter((subject) => subject !== null)).toHaveLength(1);
    await other.stop();
  });

  test('is void after its time, and of a subject that is gone', async () => {
    const { body: thing } = await admin.call('POST', '/things', {});
    const late = await registry.tickets.issue(thing.id, nowMs + 1_000);
    const gone = await registry.tickets.issue(thing.id, nowMs + 10_000);
    nowMs += 1_000;
    expect(await redeem(late)).toBeNull();
    await admin.call('DELETE', `/things/${thing.id}`);
    expect(await redeem(gone)).toBeNull();
    await expect(registry.tickets.issue('no uuid', nowMs)).rejects.toMatchObject({ code: 'REGISTRY_VALUE_REFUSED' });
  });

  test('ends with the key, or the login, that it was got by', async () => {
    const { body: thing } = await admin.call('POST', '/things', {});
    const tickets = registry.tickets;
    const ofThing = await tickets.issue(thing.id, nowMs + 10_000);
    expect((await admin.call('PATCH', `/things/${thing.id}/key`, {})).status).toBe(200);
    expect(await redeem(ofThing)).toBeNull();
    expect(await redeem(await tickets.issue(thing.id, nowMs + 10_000))).toMatchObject({ id: thing.id });
    const user = await anybody.asUser(ADMIN.email, ADMIN.password);
    const { ticket } = (await user.call('POST', '/tickets')).body;
    expect((await user.call('POST', '/users/me/logout')).status).toBe(204);
    expect(await redeem(ticket)).toBeNull();
    admin = await anybody.asUser(ADMIN.email, ADMIN.password);
  });

  test('is one of a hundred in a row; then there is a wait, for that subject alone', async () => {
    const { body: thing } = await admin.call('POST', '/things', {});
    const greedy = anybody.as(`Thing ${thing.key}`);
    const answers = await Promise.all(Array.from({ length: 150 }, () => greedy.call('POST', '/tickets')));
    const refused = answers.filter(({ status }) => status !== 201);
    expect(answers.length - refused.length).toBeGreaterThanOrEqual(100);
    expect(refused[0]?.status).toBe(429);
    expect(Number(refused[0]?.headers.get('retry-after'))).toBeGreaterThan(0);
    expect((await admin.call('POST', '/tickets')).status).toBe(201);
  });
});
