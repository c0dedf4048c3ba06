import { ConfigError, MillraceError } from '@millrace/core';

/** Flags over the environment: what the settings are read from. */
export function environmentWith(flags: Flags): Record<string, string | undefined> {
  const named: Record<string, string | undefined> = {
    MILLRACE_DATA_DIR: flags.dataDir,
    MILLRACE_HOST: flags.host,
    MILLRACE_HTTP_PORT: flags.httpPort,
    MILLRACE_MQTT_PORT: flags.mqttPort,
    MILLRACE_COAP_PORT: flags.coapPort,
    MILLRACE_ROLES: flags.roles,
    MILLRACE_WORKERS: flags.workers,
    MILLRACE_LOG_LEVEL: flags.logLevel,
  };
  return {
    ...process.env,
    ...Object.fromEntries(Object.entries(named).filter(([, value]) => value !== undefined)),
  };
}

export type Flags = Readonly<Record<string, string | undefined>>;

/** What went wrong, for the person at the terminal. */
export function explain(error: unknown): string {
  if (error instanceof ConfigError) {
    return `millrace: the configuration has ${error.problems.length} problem(s):\n${error.problems.map((problem) => `  ${problem}\n`).join('')}`;
  }
  if (error instanceof MillraceError) {
    const problem = error.facts.problem;
    const cause = error.cause instanceof Error && typeof problem !== 'string' ? `: ${explain(error.cause).trim()}` : '';
    return `${typeof problem === 'string' ? `millrace: ${problem}` : `millrace: ${error.message}`}${cause}\n`;
  }
  return `millrace: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`;
}
