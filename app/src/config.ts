import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { ConfigError, MillraceError, port, readConfig } from '@millrace/core';
import {
  CoapIngestConfig,
  CoapsIngestConfig,
  DeliveryConfig,
  HttpIngestConfig,
  LoraConfig,
  Lwm2mConfig,
  MqttIngestConfig,
  WebhooksConfig,
  WsIngestConfig,
} from '@millrace/ingest';
import { LogConfig } from '@millrace/log';
import { PolicyConfig } from '@millrace/policy';
import { CodecsConfig, ProcessorsConfig, TopicsConfig } from '@millrace/processors';
import { RegistryConfig } from '@millrace/registry';
import { StorageConfig } from '@millrace/storage';
import { parse } from 'smol-toml';
import { z } from 'zod';
import { NO_PROFILE, PROFILE_NAMES, profileDefaults } from './profile.ts';

const WORKERS_MAX = 64;
export const ROLES = ['ingest', 'processors', 'registry'] as const;
export type Role = (typeof ROLES)[number];

/** What no room owns. */
export const NodeConfig = z.object({
  MILLRACE_PROFILE: z
    .enum(PROFILE_NAMES, { error: ({ input }) => `"${String(input)}" ${NO_PROFILE}` })
    .optional()
    .describe(
      'Other defaults as a whole (the column small), for a gateway or a small computer: docs/platforms.md. In millrace.toml it comes too late for the heap and the threads of Node: better set it in the environment.',
    ),
  MILLRACE_DATA_DIR: z.string().default('./data').describe('Everything embedded lives here.'),
  MILLRACE_HOST: z.string().default('127.0.0.1').describe('Address that all listeners bind. 0.0.0.0 or :: for all.'),
  MILLRACE_HTTP_PORT: port.default(8080).describe('HTTP port; 0 picks a free one, off leaves the listener out.'),
  MILLRACE_ROLES: z
    .string()
    .default(ROLES.join(','))
    .transform((text) => text.split(',').map((role) => role.trim()))
    .pipe(z.array(z.enum(ROLES)).min(1))
    .describe(
      'Comma-separated roles of this node: ingest, processors (also writes to ClickHouse), registry (also answers queries).',
    ),
  MILLRACE_WORKERS: z
    .literal('auto')
    .or(z.coerce.number().int().min(0).max(WORKERS_MAX))
    .default(0)
    .transform((count) => (count === 'auto' ? Math.min(WORKERS_MAX, Math.max(1, availableParallelism() - 1)) : count))
    .describe(
      'Processes that let messages in (HTTP, WebSocket, MQTT) behind the same ports, 0 to 64; auto: one less than there are cores. 0: the one process does all.',
    ),
  MILLRACE_SECRET: z
    .string()
    .regex(/^[0-9a-f]{64}$/i, 'must be 32 bytes in hex (openssl rand -hex 32)')
    .optional()
    .describe(
      '32 bytes in hex; encrypts and signs. Generated into the data directory; the same on all nodes of a cluster.',
    ),
  MILLRACE_LOG_LEVEL: z
    .enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'])
    .default('info')
    .describe('Logs are JSON lines on stderr when it is no terminal.'),
  MILLRACE_DRAIN_MS_MAX: z.coerce
    .number()
    .int()
    .min(0)
    .max(600_000)
    .default(10_000)
    .describe('After SIGTERM: how long work in hand may take before the process stops all the same.'),
});

/** Every room's configuration, in the order of the docs. */
export const SECTIONS = {
  node: NodeConfig,
  http: HttpIngestConfig,
  mqtt: MqttIngestConfig,
  coap: CoapIngestConfig,
  coaps: CoapsIngestConfig,
  lwm2m: Lwm2mConfig,
  ws: WsIngestConfig,
  lora: LoraConfig,
  delivery: DeliveryConfig,
  webhooks: WebhooksConfig,
  log: LogConfig,
  policy: PolicyConfig,
  processors: ProcessorsConfig,
  topics: TopicsConfig,
  codecs: CodecsConfig,
  storage: StorageConfig,
  registry: RegistryConfig,
} as const;

export type Config = { readonly [Name in keyof typeof SECTIONS]: Readonly<z.infer<(typeof SECTIONS)[Name]>> };

export type SetupErrorCode = 'SETUP_INVALID';
/** What the person who starts the program can mend. */
export class SetupError extends MillraceError<SetupErrorCode> {}

/** Names outside the schemas that are understood too: the latter are of the commands that ask a node. */
const OTHER_NAMES = ['MILLRACE_CONFIG', 'MILLRACE_URL', 'MILLRACE_TOKEN', 'MILLRACE_LOGIN_PROFILE', 'MILLRACE_ORG'];

/** Reads the configuration: the environment over `millrace.toml` over the profile over the defaults.
 *  @throws ConfigError with all problems at once; SetupError when the file cannot be read */
export function loadConfig(
  environment: Readonly<Record<string, string | undefined>>,
  directory = process.cwd(),
): Config {
  const file = environment.MILLRACE_CONFIG ?? resolve(directory, 'millrace.toml');
  const fromFile = existsSync(file) ? readToml(file) : {};
  if (environment.MILLRACE_CONFIG !== undefined && !existsSync(file)) {
    throw new SetupError('SETUP_INVALID', 'never', { problem: `MILLRACE_CONFIG names ${file}, which does not exist` });
  }
  const known = new Set(Object.values(SECTIONS).flatMap((schema) => Object.keys(schema.shape)));
  const problems = Object.keys(fromFile)
    .filter((name) => !known.has(name))
    .map((name) => `${file}: ${tomlName(name)} is not a setting${nearest(name, known)}`);
  for (const name of Object.keys(environment)) {
    // MILLRACE_TEST_* belongs to the test suite.
    if (!name.startsWith('MILLRACE_') || name.startsWith('MILLRACE_TEST_')) continue;
    if (!known.has(name) && !OTHER_NAMES.includes(name))
      problems.push(`${name} is not a setting${nearest(name, known)}`);
  }
  const told = { ...fromFile, ...withoutUnset(environment) };
  const merged = { ...profileDefaults(told.MILLRACE_PROFILE), ...told };
  const config: Record<string, unknown> = {};
  for (const [name, schema] of Object.entries(SECTIONS)) {
    try {
      config[name] = readConfig(schema as z.ZodObject, merged);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      problems.push(...error.problems);
    }
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return Object.freeze(config) as Config;
}

function withoutUnset(environment: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(environment).filter((entry): entry is [string, string] => entry[1] !== undefined && entry[1] !== ''),
  );
}

/** `[http] port = 8080` is MILLRACE_HTTP_PORT. */
function readToml(file: string): Record<string, string> {
  let document: Record<string, unknown>;
  try {
    document = parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw new SetupError('SETUP_INVALID', 'never', { problem: `${file}: ${(cause as Error).message}` }, { cause });
  }
  const flat: Record<string, string> = {};
  const walk = (prefix: string, value: unknown): void => {
    if (value !== null && typeof value === 'object' && !Array.isArray(value) && !(value instanceof Date)) {
      for (const [key, inner] of Object.entries(value))
        walk(`${prefix}_${key.toUpperCase().replaceAll('-', '_')}`, inner);
    } else {
      flat[prefix] = Array.isArray(value) ? value.join(',') : String(value);
    }
  };
  walk('MILLRACE', document);
  return flat;
}

const tomlName = (name: string): string => name.replace(/^MILLRACE_/, '').toLowerCase();

/** A hint for a misspelt name. */
function nearest(name: string, known: ReadonlySet<string>): string {
  let best = '';
  let least = 4;
  for (const candidate of known) {
    const distance = editDistance(name, candidate, least);
    if (distance < least) {
      least = distance;
      best = candidate;
    }
  }
  return best === '' ? '' : ` (did you mean ${best}?)`;
}

function editDistance(a: string, b: string, max: number): number {
  if (Math.abs(a.length - b.length) >= max) return max;
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(
        (row[j] as number) + 1,
        (next[j - 1] as number) + 1,
        (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1),
      );
    }
    row = next;
  }
  return row[b.length] as number;
}
