import { kafkaAvailable, type RunningKafka, startKafka } from '@millrace/log/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LONG, publishThroughCrashes, SEED } from './crash.ts';
import { eventually, Millrace, newPublisher, Rest } from './millrace.ts';

const CRASHES = LONG ? 20 : 3;
const BROKER_CRASHES = LONG ? 5 : 1;
const missing = kafkaAvailable();

describe.skipIf(missing !== null)(
  `kill -9 with Apache Kafka as the log${missing === null ? '' : ` (${missing})`}`,
  () => {
    let kafka: RunningKafka | undefined;
    let millrace: Millrace | undefined;

    beforeAll(async () => {
      kafka = await startKafka();
      millrace = new Millrace({ MILLRACE_KAFKA_BROKERS: kafka.brokers });
      await millrace.start();
    }, 240_000);
    afterAll(async () => {
      await millrace?.dispose();
      await kafka?.stop();
    }, 120_000);

    test(`every acknowledged message is stored exactly once after ${CRASHES} kills of the node (seed ${SEED})`, {
      timeout: 900_000,
    }, async () => {
      const node = running(millrace);
      const { acknowledged, unanswered } = await publishThroughCrashes(node, {
        clients: 4,
        crashes: CRASHES,
        seed: SEED,
        async crash() {
          expect(await node.end('SIGKILL')).toBe('SIGKILL');
          await node.start();
        },
      });
      console.log(`${acknowledged} acknowledged messages stored once each; ${unanswered} requests found no answer`);
    });

    test(`and after ${BROKER_CRASHES} kill(s) of the broker, which the node lives through (seed ${SEED})`, {
      timeout: 900_000,
    }, async () => {
      const [node, broker] = [running(millrace), running(kafka)];
      const { pid } = node;
      const admin = await Rest.asAdmin(node);
      const probe = await newPublisher(admin, 'probe');
      const { acknowledged, unanswered } = await publishThroughCrashes(node, {
        clients: 4,
        crashes: BROKER_CRASHES,
        seed: SEED,
        async crash() {
          broker.kill();
          const ready = await eventually('the node to say that its log is away', 60_000, async () => {
            const response = await admin.raw('GET', '/health/ready');
            return response.status === 503 && ((await response.json()) as { checks: Record<string, string> });
          });
          expect(ready.checks.log).not.toBe('pass');
          expect((await admin.raw('GET', '/health/live')).status).toBe(200);
          await broker.restart();
          await eventually('a message to be taken again', 120_000, async () => {
            const response = await probe.rest.raw(
              'POST',
              `/channels/${probe.channel}/messages`,
              '[{"n":"again","v":1}]',
              {
                'content-type': 'application/senml+json',
              },
            );
            await response.arrayBuffer();
            return response.status === 202;
          });
        },
      });
      expect(node.pid).toBe(pid);
      await eventually('the node to be ready again', 60_000, async () => (await admin.raw('GET', '/health/ready')).ok);
      console.log(`${acknowledged} acknowledged messages stored once each; ${unanswered} requests found no answer`);
    });
  },
);

function running<T>(part: T | undefined): T {
  if (part === undefined) throw new Error('did not start');
  return part;
}
