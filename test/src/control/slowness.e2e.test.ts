import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { ADMIN, type Asker, type ControlPlane, type Node, startControlPlane } from './plane.ts';

vi.setConfig({ testTimeout: 120_000 });

const TRIES_MAX = 2_000;
const AT_ONCE = 50;
let plane: ControlPlane;
let node: Node;

beforeAll(async () => {
  plane = await startControlPlane();
  node = await plane.node();
}, 60_000);
afterAll(() => plane?.dispose());

/** Each try from another address of one /64; many at a time, since tries are forgiven with time.
 *  @returns the number of tries before the first that was refused as one too many */
async function triesOf(network: string, ask: (asker: Asker) => Promise<{ readonly status: number }>): Promise<number> {
  for (let count = 0; count < TRIES_MAX; count += AT_ONCE) {
    const addresses = Array.from({ length: AT_ONCE }, (_, index) => `${network}::${(count + index + 1).toString(16)}`);
    const answers = await Promise.all(addresses.map((address) => ask(node.stranger.from(address))));
    const refused = answers.findIndex(({ status }) => status === 429);
    if (refused >= 0) return count + refused;
  }
  return TRIES_MAX;
}

describe('who has a network of IPv6, and so 2^64 addresses, is slowed as one', () => {
  test('when they try invitations', async () => {
    const body = { email: 'eve@example.org', password: 'a good password', invitation: 'guessed' };
    const register = (asker: Asker) => asker.call('POST', '/users', body);
    const tries = await triesOf('2001:db8:0:1', register);
    expect(tries).toBeGreaterThanOrEqual(100);
    expect(tries).toBeLessThan(TRIES_MAX);
    expect((await register(node.stranger.from('2001:db8:0:2::1'))).status).toBe(422);
  });

  test('when they begin authorizations that nobody goes on with', async () => {
    const tries = await triesOf('2001:db8:0:1', (asker) => asker.raw('GET', '/oauth/authorize?client_id=unknown'));
    expect(tries).toBeGreaterThanOrEqual(300);
    expect(tries).toBeLessThan(TRIES_MAX);
  });

  test('when they show unknown keys, but an adapter with one bad device goes on', async () => {
    const admin = await node.stranger.asUser(ADMIN.email, ADMIN.password);
    const { key } = (await admin.call('POST', '/things', { name: 'pump' })).body;
    const identify = (asker: Asker, token: string) => asker.call('POST', '/identify', { token });
    const adapter = node.stranger.from('192.0.2.1');
    for (let count = 0; count < 50; count++) expect((await identify(adapter, `unknown ${count}`)).status).toBe(403);
    expect((await identify(adapter, key)).status).toBe(200);
    const tries = await triesOf('2001:db8:0:1', (asker) => identify(asker, 'unknown'));
    expect(tries).toBeGreaterThanOrEqual(500);
    expect(tries).toBeLessThan(TRIES_MAX);
  });
});
