import { createLogger, createMetrics } from '@millrace/core';
import { createCredentials, generateSigningKey } from '@millrace/policy';
import { openRegistry, RegistryConfig } from '@millrace/registry';
import { ADMIN } from './plane.ts';

/** A registry in a process of its own that begins a long job, says which, and works on it until it is killed. */
const [url = '', redis] = process.argv.slice(2);
const { value: registry } = await openRegistry({
  url,
  credentials: {
    create: (signingKeys) => createCredentials({ secret: Buffer.alloc(32, 7), signingKeys }),
    generateSigningKey,
  },
  metrics: createMetrics(),
  logger: createLogger({ level: 'silent' }),
  admin: ADMIN,
  ...(redis === undefined ? {} : { config: RegistryConfig.parse({ MILLRACE_REDIS_URL: redis }) }),
}).start();
const started = await registry.gettingStarted();
const thing = await registry.things.get(started?.thingId ?? '');
const items = Array.from({ length: 30_000 }, (_, index) => ({ name: `line ${index}`, tags: ['killed'] }));
const job = await registry.jobs.submitLines(thing?.org ?? '', 'channels.create', items);
process.stdout.write(`${JSON.stringify({ job: job.id })}\n`);
