import { createInterface } from 'node:readline';
import { Session } from 'chdb';

/** ClickHouse's engine with a configuration of its own, one statement a line. @shape argv: directory, configuration;
 *  in: a statement as JSON; out: its rows or its error as JSON */
const [directory = '', config = ''] = process.argv.slice(2);
const session = new Session(directory, config === '' ? {} : { connectionArgs: [`--config-file=${config}`] });
for await (const line of createInterface({ input: process.stdin })) {
  try {
    const answer = await session.queryAsync(JSON.parse(line) as string, { format: 'JSONCompactEachRow' });
    const rows = answer
      .text()
      .split('\n')
      .filter((each) => each !== '');
    process.stdout.write(`${JSON.stringify({ rows: rows.map((each) => JSON.parse(each) as unknown) })}\n`);
  } catch (error) {
    process.stdout.write(`${JSON.stringify({ error: (error as Error).message })}\n`);
  }
}
process.exit(0);
