import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ATTACKS } from './attacks.ts';
import { CANARY, CANARY_NUMBER, openTwoOrgs, type TwoOrgs } from './two-orgs.ts';

let orgs: TwoOrgs;
beforeAll(async () => {
  orgs = await openTwoOrgs();
}, 60_000);
afterAll(() => orgs?.close());

const values = { t: 'rollups', c: 'org', s: 'x' };

describe('What would leave the tenant is refused, and said', () => {
  test.each(ATTACKS)('%s', { timeout: 30_000 }, async (query, named) => {
    const answer = await orgs.ask(query, values);
    expect(answer).toMatchObject({ kind: 'refused' });
    if (answer.kind !== 'refused') return;
    expect(['forbidden', 'syntax', 'invalid', ...(named === 'SQL' ? ['failed'] : [])]).toContain(answer.reason);
    if (named !== 'SQL') expect(answer.detail).toContain(named);
    expect(answer.detail).not.toContain(CANARY);
    expect(answer.detail).not.toContain(String(CANARY_NUMBER));
  });
});
