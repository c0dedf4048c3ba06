import { Session } from 'chdb';
import { childOptions } from '../floors/options.ts';

const { directory } = childOptions<{ directory: string }>();
const session = new Session(directory);
session.query('USE millrace');

process.on('message', ({ id, statement }: { id: number; statement: string }) => {
  try {
    const start = performance.now();
    const text = String(session.query(statement, 'JSONCompact'));
    const ms = performance.now() - start;
    const rows = text.trim() === '' ? [] : (JSON.parse(text) as { data: unknown[][] }).data;
    process.send?.({ id, ms, rows });
  } catch (error) {
    process.send?.({ id, error: error instanceof Error ? error.message : String(error) });
  }
});
process.once('SIGTERM', () => {
  session.close();
  process.exit(0);
});
