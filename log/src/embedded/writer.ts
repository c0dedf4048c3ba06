/** Appends for ever and prints "<offset> <text>" for each acknowledged record: `writer <directory> <life>`. To be killed. */
import { createLogger, createMetrics } from '@millrace/core';
import { embeddedLog } from './engine.ts';

const [directory = '', life = '0'] = process.argv.slice(2);
const started = await embeddedLog({
  directory,
  durability: 'fsync',
  bytesMax: 2 ** 30,
  pendingBytesMax: 2 ** 26,
  recordBytesMax: 2 ** 22,
  metrics: createMetrics(),
  logger: createLogger({ level: 'silent' }),
}).start();
const log = await started.value.topic({
  topic: 'millrace.messages',
  partitionCount: 1,
  retentionMs: 3_600_000,
  retentionBytes: 2 ** 30,
});
for (let index = 0; ; ) {
  for (let burst = 0; burst < 20; burst++) {
    const text = `${life}-${index++}`;
    log.append(0, '', Buffer.from(text), {
      appended: (_, offset) => process.stdout.write(`${offset} ${text}\n`),
      refused: (error) => {
        throw error;
      },
    });
  }
  await new Promise((resolve) => setTimeout(resolve, 1));
}
