import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { kafkaAvailable, startKafka } from '@millrace/log/testing';
import { startClickHouseShell } from '@millrace/storage/testing';
import { afterAll, describe, expect, test } from 'vitest';
import { ADMIN, logIn, OwnPostgres } from '../control/two-nodes.ts';
import { freePort, Millrace, newPublisher, type Publisher } from '../millrace.ts';
import { expectStoredOnce } from '../stored.ts';

const missing = kafkaAvailable();
/** A built checkout of the release before: the nodes begin with it, and go back to it once. Without it they are
 *  restarted only. */
const PREVIOUS = process.env.MILLRACE_TEST_PREVIOUS;
const CLIENTS = 4;

describe.skipIf(missing !== null)(
  `nodes that are upgraded one by one${missing === null ? '' : ` (${missing})`}`,
  () => {
    const ends: (() => Promise<void> | void)[] = [];
    afterAll(async () => {
      for (const end of ends.reverse()) await end();
    }, 120_000);

    test('take messages all the time, and what they acknowledged is stored once', { timeout: 900_000 }, async () => {
      const [kafka, postgres] = [await startKafka(), new OwnPostgres()];
      ends.push(() => kafka.stop());
      ends.push(() => postgres.dispose());
      const store = mkdtempSync(join(tmpdir(), 'millrace-upgrade-'));
      ends.push(() => rmSync(store, { recursive: true, force: true }));
      const shell = await startClickHouseShell(store);
      ends.push(() => shell.stop());
      const shared = {
        MILLRACE_KAFKA_BROKERS: kafka.brokers,
        MILLRACE_POSTGRES_URL: await postgres.start(),
        MILLRACE_CLICKHOUSE_URL: shell.url,
        MILLRACE_SECRET: '7e'.repeat(32),
        MILLRACE_ADMIN_EMAIL: ADMIN.email,
        MILLRACE_ADMIN_PASSWORD: ADMIN.password,
        MILLRACE_COAP_PORT: 'off',
      };
      const nodes: Millrace[] = [];
      for (let index = 0; index < 2; index++) {
        const node = new Millrace({ ...shared, MILLRACE_HTTP_PORT: String(await freePort()) });
        if (PREVIOUS !== undefined) node.main = join(PREVIOUS, 'app/bin/millrace.cjs');
        nodes.push(node);
        ends.push(() => node.dispose());
      }
      const [first, second] = nodes as [Millrace, Millrace];
      await Promise.all([first.start(), second.start()]);
      const current = new Millrace().main;
      const admin = await logIn(first, ADMIN);
      const publishers: Publisher[] = [];
      for (let client = 0; client < CLIENTS; client++) publishers.push(await newPublisher(admin, `client-${client}`));

      const load = publishers.map((publisher, client) => new Client(publisher, client, nodes));
      const running = load.map((client) => client.run());
      const replace = async (node: Millrace, main: string): Promise<void> => {
        await published(load, 20);
        expect(await node.end('SIGTERM')).toBe(0);
        await published(load, 20);
        node.main = main;
        await node.start();
        await published(load, 20);
      };
      const kill = async (node: Millrace, main: string): Promise<void> => {
        await published(load, 20);
        await node.end('SIGKILL');
        const reader = await logIn(node === first ? second : first, ADMIN);
        for (const { publisher, acknowledged } of load)
          await expectStoredOnce(reader, publisher.channel, [...acknowledged], 'by the node that is left', 120_000);
        await published(load, 20);
        node.main = main;
        await node.start();
        await published(load, 20);
      };
      /** Half of the way there and back. */
      const calledOff = async (node: Millrace, previous: string, main: string): Promise<void> => {
        expect(await node.end('SIGTERM')).toBe(0);
        node.main = previous;
        const refusal = await node.start().then(
          () => null,
          (error: Error) => error.message,
        );
        // A release that does not know yet that a newer one may only expand the tables.
        if (refusal !== null) expect(refusal).toContain('REGISTRY_SCHEMA_NEWER');
        else await published(load, 20);
        if (refusal === null) await replace(node, main);
        else {
          node.main = main;
          await node.start();
        }
      };
      await replace(first, current);
      // In the midst of a batch: the node that is left, of the release before, takes it over and redoes it.
      await kill(first, current);
      if (PREVIOUS !== undefined) await calledOff(first, join(PREVIOUS, 'app/bin/millrace.cjs'), current);
      // And the other way about.
      await kill(second, current);
      for (const client of load) client.stop();
      await Promise.all(running);

      const reader = await logIn(second, ADMIN);
      for (const client of load) {
        expect(client.refusals).toEqual([]);
        await expectStoredOnce(reader, client.publisher.channel, client.acknowledged, 'after the upgrade', 120_000);
      }
      const sum = load.reduce((total, { acknowledged }) => total + acknowledged.length, 0);
      const longest = Math.max(...load.map(({ longestMs }) => longestMs));
      console.log(`${sum} messages taken; the longest that one waited was ${Math.round(longest)} ms`);
    });
  },
);

/** Publishes one message after the other, at the other node when one does not take it: as a client behind a balancer. */
class Client {
  readonly acknowledged: string[] = [];
  readonly refusals: string[] = [];
  readonly publisher: Publisher;
  longestMs = 0;
  readonly #name: string;
  readonly #nodes: readonly Millrace[];
  #at: number;
  #stopped = false;

  constructor(publisher: Publisher, index: number, nodes: readonly Millrace[]) {
    this.publisher = publisher;
    this.#name = `c${index}`;
    this.#nodes = nodes;
    this.#at = index;
  }

  stop(): void {
    this.#stopped = true;
  }

  async run(): Promise<void> {
    for (let sequence = 0; !this.#stopped; sequence++) {
      const name = `${this.#name}-${sequence}`;
      const begun = performance.now();
      // Sent again under one key, a message is one, however often it arrives.
      while (!(await this.#publish(name))) {
        this.#at++;
        await sleep(20);
        if (performance.now() - begun > 60_000) {
          this.refusals.push(`${name} was taken by no node for 60 s`);
          return;
        }
      }
      this.longestMs = Math.max(this.longestMs, performance.now() - begun);
      this.acknowledged.push(name);
      await sleep(5);
    }
  }

  async #publish(name: string): Promise<boolean> {
    const node = this.#nodes[this.#at % this.#nodes.length] as Millrace;
    try {
      const response = await fetch(`${node.url}/channels/${this.publisher.channel}/messages`, {
        method: 'POST',
        headers: {
          authorization: `Thing ${this.publisher.key}`,
          'content-type': 'application/senml+json',
          'idempotency-key': name,
        },
        body: JSON.stringify([{ n: name, v: 1 }]),
        signal: AbortSignal.timeout(10_000),
      });
      await response.arrayBuffer();
      if (response.status !== 202 && response.status !== 503) this.refusals.push(`${name}: ${response.status}`);
      return response.status === 202;
    } catch {
      return false;
    }
  }
}

/** Waits until every client got so many more acknowledgements. */
async function published(load: readonly Client[], more: number): Promise<void> {
  const goals = load.map(({ acknowledged }) => acknowledged.length + more);
  const end = Date.now() + 60_000;
  while (load.some(({ acknowledged }, index) => acknowledged.length < (goals[index] as number))) {
    const stuck = load.flatMap(({ refusals }) => refusals);
    if (stuck.length > 0) throw new Error(stuck[0]);
    if (Date.now() > end) throw new Error('clients do not get on');
    await sleep(20);
  }
}
