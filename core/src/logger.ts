import { type DestinationStream, type Logger, pino, stdTimeFunctions } from 'pino';

export type { Logger } from 'pino';

/** Keys that never reach a log, wherever one level of an object carries them. */
const SECRET_KEYS = [
  'authorization',
  'password',
  'secret',
  'key',
  'token',
  'refresh_token',
  'access_token',
  'cookie',
  'external_key',
];

/** A logger of JSON lines that censors secrets by the name of their field.
 *  @holds values are logged as they are: never put a secret or a URL's query into a message text */
export function createLogger(options: { level?: string; destination?: DestinationStream } = {}): Logger {
  const paths = SECRET_KEYS.flatMap((key) => [key, `*.${key}`, `*.*.${key}`]);
  return pino(
    {
      level: options.level ?? 'info',
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      redact: { paths, censor: '[secret]' },
    },
    options.destination ?? pino.destination({ dest: 2, sync: true }),
  );
}
