import { createLogger } from '@millrace/core';
import { embeddedPostgres } from '../postgres/server.ts';

// Starts a server in the directory of the first argument, tells its URL, and forgets to stop it.
const [, , directory = ''] = process.argv;
const { value } = await embeddedPostgres({ directory, logger: createLogger({ level: 'warn' }) }).start();
process.once('SIGTERM', () => process.exit(0));
process.stdout.write(`${value.url}\n`);
