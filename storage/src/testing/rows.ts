import { Session } from 'chdb';

/** Looks into an embedded engine that this process has open, beside the store. */
export function rowsOf(directory: string, database: string): <Row>(statement: string) => Promise<Row[]> {
  return async <Row>(statement: string): Promise<Row[]> => {
    const session = new Session(directory);
    try {
      await session.queryAsync(`USE ${database}`);
      const answer = await session.queryAsync(statement, { format: 'JSONEachRow' });
      const text = answer.text().trim();
      return text === '' ? [] : text.split('\n').map((line) => JSON.parse(line) as Row);
    } finally {
      session.close();
    }
  };
}
