import { type DeadLetter, type DeadLettersQuery, type IntakeMessage, LogError, uuidV7 } from '@millrace/core';
import { NO_STORE } from '../control/plane.ts';

/** Dead letters as a store keeps them, without one. */
export function letterStore() {
  const letters: DeadLetter[] = [];
  const fates = new Set<string>();
  return {
    letters,
    /** Messages that are stored already. */
    fates,
    add(more: Partial<DeadLetter> & Pick<DeadLetter, 'org' | 'channel' | 'publisher'>): DeadLetter {
      const payload = more.payload ?? Buffer.from(`{"number": ${letters.length}`);
      const letter: DeadLetter = {
        message: uuidV7(),
        subtopic: '',
        protocol: 'mqtt',
        contentType: 'application/json',
        receivedUs: String(1_790_000_000_000_000 + letters.length),
        index: null,
        reason: 'malformed_json',
        detail: '',
        partition: 0,
        offset: letters.length,
        cursor: String(letters.length),
        ...more,
        payload,
        size: payload.length,
      };
      // The newest first, as they are given.
      letters.unshift(letter);
      return letter;
    },
    store: {
      ...NO_STORE,
      async deadLetters(query: DeadLettersQuery) {
        const found = letters.filter(
          (letter) =>
            (query.org === null || letter.org === query.org) &&
            (query.channel === undefined || letter.channel === query.channel) &&
            (query.publisher === undefined || letter.publisher === query.publisher) &&
            (query.reason === undefined || letter.reason === query.reason) &&
            (query.message === undefined || letter.message === query.message) &&
            (query.messages === undefined || query.messages.includes(letter.message)) &&
            (query.fromUs === undefined || BigInt(letter.receivedUs) >= query.fromUs) &&
            (query.toUs === undefined || BigInt(letter.receivedUs) < query.toUs) &&
            (query.cursor === undefined || Number(letter.cursor) < Number(query.cursor)),
        );
        const page = found.slice(query.offset, query.offset + query.limit);
        const last = found.length > query.offset + query.limit ? page.at(-1) : undefined;
        const { offset, limit } = query;
        const bytesMax = query.payloadBytesMax ?? Number.POSITIVE_INFINITY;
        return {
          total: found.length,
          totalExact: true,
          offset,
          limit,
          deadLetters: page.map((letter) => ({ ...letter, payload: letter.payload.subarray(0, bytesMax) })),
          ...(last === undefined ? {} : { cursor: last.cursor }),
        };
      },
      fate: async (id: string) => (fates.has(id) ? ({ id } as never) : null),
    },
  };
}

/** What is put on the log; it can fail before or after it is there, as a real one. */
export function recordingIntake() {
  const appended: IntakeMessage[] = [];
  let failing: 'before' | 'after' | null = null;
  const away = new LogError('LOG_UNREACHABLE', 'later');
  return {
    appended,
    fail(how: typeof failing): void {
      failing = how;
    },
    async append(message: IntakeMessage) {
      if (failing === 'before') throw away;
      appended.push(message);
      if (failing === 'after') throw away;
      return { partition: 0, offset: appended.length, id: message.id ?? uuidV7() };
    },
  };
}
