import { createLogger as createCoreLogger, type Logger } from '@millrace/core';
import pretty from 'pino-pretty';

/** Logs go to stderr: JSON lines, or readable ones on a terminal. */
export function createLogger(level: string): Logger {
  if (!process.stderr.isTTY) return createCoreLogger({ level });
  return createCoreLogger({
    level,
    destination: pretty({ destination: 2, sync: true, translateTime: 'SYS:HH:MM:ss', ignore: 'pid,hostname' }),
  });
}
