import { createLogger, createMetrics, readConfig } from '@millrace/core';
import { StorageConfig } from '../config.ts';
import { openStore } from '../store.ts';
import { rangeBatch } from './ranges.ts';

/** Writes range after range into a directory until it is killed, telling each that is done.
 *  @shape argv: directory, first range */
const [directory = '', from = '0'] = process.argv.slice(2);
const logger = createLogger({ level: 'silent' });
const started = await openStore(readConfig(StorageConfig, {}), { directory, metrics: createMetrics(), logger }).start();
for (let range = Number(from); ; range++) {
  await started.value.write('messages', rangeBatch(range), { verify: range === Number(from) });
  process.stdout.write(`${range}\n`);
}
