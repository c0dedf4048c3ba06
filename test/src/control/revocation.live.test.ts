import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CertificateMaker, missingOpenssl } from '../bridge/clients/certificates.ts';
import { eventually, type Millrace, type Rest } from '../millrace.ts';
import { byKey, Feed, openAll, type Place, Stalls } from './revocation-sessions.ts';
import { newConnected, type Scene, WAYS, type Way } from './revocation-ways.ts';
import { ADMIN, logIn, TwoNodes } from './two-nodes.ts';

const ROUNDS = 5;
const REVOKED_MS_MAX = 1_000;
const PATIENCE_MS = 30_000;
/** So long it is looked at whether what was refused stays refused. */
const AFTERWARDS_MS = 300;

interface Taken {
  readonly way: string;
  /** From A's answer until B let nothing more through. */
  readonly ms: number;
  /** What the machine kept everybody waiting meanwhile. */
  readonly stalledMs: number;
}
const at = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN;
const figures = (all: readonly number[]): string => {
  const sorted = all.toSorted((one, other) => one - other);
  return [0.5, 0.99, 1].map((share) => at(sorted, share).toFixed(0).padStart(6)).join('');
};

describe.skipIf(missingOpenssl !== null)('what is taken from somebody at one node', () => {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-revocation-'));
  const taken: Taken[] = [];
  let nodes: TwoNodes;
  let admin: Rest;
  let atB: Rest;
  let secure: string;

  beforeAll(async () => {
    const pair = await new CertificateMaker(directory).authority('localhost');
    nodes = await new TwoNodes({
      MILLRACE_ROLES: 'ingest,registry',
      MILLRACE_MQTTS_PORT: '0',
      MILLRACE_MQTT_TLS_CERT: pair.certFile,
      MILLRACE_MQTT_TLS_KEY: pair.keyFile,
      MILLRACE_MQTT_TLS_CLIENT_CERTIFICATES: 'optional',
    }).start();
    admin = await logIn(nodes.a, ADMIN);
    atB = await logIn(nodes.b, ADMIN);
    secure = (JSON.parse(readFileSync(join(nodes.b.directory, 'run', 'ready.json'), 'utf8')) as { mqtts: string })
      .mqtts;
  }, 180_000);
  afterAll(async () => {
    if (taken.length > 0) console.log(table(taken));
    await nodes?.dispose();
    rmSync(directory, { recursive: true, force: true });
  }, 120_000);

  test.each(WAYS)(
    'is taken at the other within a second, from what is open too: $name',
    { timeout: 300_000 },
    async (way) => {
      const times: Taken[] = [];
      for (let round = 0; round < ROUNDS; round++) times.push(await once(way, nodes.a, nodes.b));
      taken.push(...times);
      for (const { ms, stalledMs } of times)
        expect(ms, `it took ${ms.toFixed(0)} ms, ${stalledMs.toFixed(0)} ms of them for everybody`).toBeLessThan(
          REVOKED_MS_MAX + stalledMs,
        );
    },
  );

  async function once(way: Way, a: Millrace, b: Millrace): Promise<Taken> {
    const org =
      way.alone === true ? (await admin.json<{ id: string }>('POST', '/orgs', { name: 'apart' })).id : await mine();
    const channel = (await admin.json<{ id: string }>('POST', `/channels?org=${org}`, { name: 'watched' })).id;
    const scene: Scene = { a, admin, org, channel };
    const place: Place = { node: b, mqtt: way.tls === true ? secure : b.mqtt, channel };
    const feed = await Feed.open({ ...place, mqtt: b.mqtt }, byKey(await newConnected(scene)));
    const { shown, revoke } = await way.prepare(scene);
    const watched = await openAll(place, shown, feed);
    const stalls = new Stalls(atB, `/channels/${channel}`);
    try {
      await eventually(`${way.name}: all goes on before`, PATIENCE_MS, async () =>
        watched.every(({ aliveMs, over }) => aliveMs > 0 && !over),
      );
      stalls.take();
      await revoke();
      const revokedMs = performance.now();
      const left = (): string =>
        watched
          .filter(({ over }) => !over)
          .map(({ name }) => name)
          .join(', ');
      const allOver = async (): Promise<boolean> => {
        if (left() !== '') return false;
        await new Promise((resolve) => setTimeout(resolve, AFTERWARDS_MS));
        return left() === '';
      };
      await eventually(`${way.name}: it ends`, PATIENCE_MS, allOver).catch((error: Error) => {
        throw new Error(`${error.message}; left: ${left()}`);
      });
      const ms = Math.max(0, ...watched.map(({ aliveMs }) => aliveMs - revokedMs));
      return { way: way.name, ms, stalledMs: stalls.take() };
    } finally {
      await Promise.allSettled([...watched.map((each) => each.close()), feed.close(), stalls.close()]);
    }
  }

  let own: string | undefined;
  async function mine(): Promise<string> {
    own ??= (await admin.json<{ orgs: { id: string }[] }>('GET', '/users/me')).orgs[0]?.id ?? '';
    return own;
  }
});

function table(taken: readonly Taken[]): string {
  const ways = [...new Set(taken.map(({ way }) => way))];
  const width = Math.max(...ways.map(({ length }) => length));
  const line = (name: string, all: readonly Taken[]): string =>
    `${name.padEnd(width)}${String(all.length).padStart(7)}${figures(all.map(({ ms }) => ms))}${figures(all.map(({ stalledMs }) => stalledMs))}`;
  return [
    `${'until node B refuses (ms)'.padEnd(width)} rounds   p50   p99   max | stalls of the machine`,
    ...ways.map((way) =>
      line(
        way,
        taken.filter((each) => each.way === way),
      ),
    ),
    line('all', taken),
  ].join('\n');
}
