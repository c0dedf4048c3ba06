import { type JsonWebKey, randomBytes } from 'node:crypto';
import {
  type ClientStore,
  type Component,
  type Credentials,
  type DeviceKeys,
  type Directory,
  type Logger,
  type LogShards,
  type LoraDirectory,
  type Metrics,
  type RetainedStore,
  type SessionStore,
  type ShareGroupStore,
  type Started,
  type TicketStore,
  uuidV7,
} from '@millrace/core';
import { createDeviceKeys } from './access/device-keys.ts';
import { createDirectory } from './access/directory.ts';
import { type Access, createAccess } from './access/index.ts';
import { type Applications, createApplications } from './applications/index.ts';
import { type Audit, createAudit } from './audit/trail.ts';
import { type RegistrySnapshot, takeRegistrySnapshot } from './backup/snapshot.ts';
import { createClientStore } from './bridge/clients.ts';
import { createRetainedStore } from './bridge/retained.ts';
import { createSessionStore } from './bridge/sessions.ts';
import { createShareGroupStore } from './bridge/share-groups.ts';
import { createTickets } from './bridge/tickets.ts';
import { Upkeep } from './bridge/upkeep.ts';
import { type Authority, createAuthority } from './certificates/index.ts';
import { ChangeFeed } from './changes.ts';
import { type CommandStore, createCommands } from './commands/index.ts';
import { RegistryConfig } from './config.ts';
import { type Database, openDatabase } from './database/database.ts';
import { LOCKS, migrate } from './database/migrate.ts';
import { createLetterStates, type LetterStates } from './deadletters/index.ts';
import { RegistryError } from './error.ts';
import { createExports, type Exports } from './exports/index.ts';
import { createImportTopic, type ImportTopic } from './imports/index.ts';
import { createInventory, type Inventory } from './inventory/index.ts';
import type { Things } from './inventory/things.ts';
import { createJobs, type Jobs } from './jobs/index.ts';
import { createLive, type Live } from './live/index.ts';
import { createLora, type Lora } from './lora/index.ts';
import { createLwm2m, type Lwm2m } from './lwm2m/index.ts';
import { createManifests, type Manifests } from './manifest/index.ts';
import type { Parts, Topic } from './parts.ts';
import { createPeople, type People } from './people/index.ts';
import { insertOrg, insertUser, normaliseEmail } from './people/users.ts';
import { createRetention, type Retention } from './retention/index.ts';
import { createLogShards } from './shards/log-shards.ts';
import { createSql, type Sql } from './sql/index.ts';
import { createWebhookTopic, type WebhookTopic } from './webhooks/index.ts';

/** How the registry gets at secrets: it keeps the signing keys, policy knows what they are. */
export interface CredentialsFactory {
  /** @param signingKeys private JWKs, the newest first; empty: only to seal, open, digest and hash */
  create(signingKeys: readonly JsonWebKey[]): Credentials;
  generateSigningKey(): Promise<JsonWebKey>;
}
export interface RegistryOptions {
  /** Of PostgreSQL, embedded or not. */
  readonly url: string;
  readonly connectionsMax?: number;
  readonly credentials: CredentialsFactory;
  readonly metrics: Metrics;
  readonly logger: Logger;
  /** Made on the first run. Without a password one is generated and told once, in `firstRun`. */
  readonly admin: { readonly email: string; readonly password?: string | undefined };
  /** How often other nodes' changes are asked for. */
  readonly pollMs?: number;
  /** Sessions of one thing or user (100), and topics of one org with a retained message (100,000). */
  readonly sessionsPerOwnerMax?: number;
  readonly retainedPerOrgMax?: number;
  /** So long the sessions of a node are kept that has died (a week), as those of a client that is away. */
  readonly sessionsKeptMs?: number;
  /** The rest of its settings; their defaults if absent. */
  readonly config?: Readonly<RegistryConfig>;
  /** Where it may keep files. */
  readonly directory?: string;
  /** A node tells so often that it lives (2 s), and is dead after so long a silence (10 s). */
  readonly beatMs?: number;
  readonly leaseMs?: number;
  /** How often is removed what has expired. */
  readonly sweepMs?: number;
  /** Only what those who let messages in need: jobs, mails and the like are another process's of this node. */
  readonly ingressOnly?: boolean;
  readonly now?: () => number;
}
export interface Registry extends People, Inventory, Authority {
  readonly directory: Directory;
  readonly credentials: Credentials;
  readonly audit: Audit;
  readonly access: Access;
  readonly applications: Applications;
  readonly jobs: Jobs;
  readonly exports: Exports;
  readonly imports: ImportTopic;
  readonly manifests: Manifests;
  readonly live: Live;
  readonly retention: Retention;
  readonly lora: LoraDirectory;
  readonly networkServers: Pick<Lora, 'servers' | 'states' | 'provisioner'>;
  readonly codecs: Lora['codecs'];
  readonly commands: CommandStore;
  readonly sql: Sql;
  readonly webhooks: WebhookTopic;
  readonly lwm2m: Lwm2m;
  readonly deviceKeys: DeviceKeys;
  /** What was done about dead letters. */
  readonly letters: LetterStates;
  readonly sessions: SessionStore;
  readonly retained: RetainedStore;
  readonly clients: ClientStore;
  readonly shareGroups: ShareGroupStore;
  readonly tickets: TicketStore;
  readonly logShards: LogShards;
  /** Set when this start made the first administrator; `password` only if it was generated. */
  readonly firstRun: { readonly email: string; readonly password?: string } | null;
  /** The thing and channel that the first run made; null when one has been deleted. */
  gettingStarted(): Promise<{ thingId: string; key: string; channelId: string } | null>;
  /** Told by who opens the listener, unless MILLRACE_PUBLIC_URL says it. */
  listensAt(url: string): void;
  /** Applies what any node had committed before this was called.  @throws never */
  current(): Promise<void>;
  /** Everything that is in it, as it is now.  @throws RegistryError REGISTRY_UNREACHABLE, REGISTRY_FULL */
  snapshot(): Promise<RegistrySnapshot>;
  /** null when healthy, else what is wrong and what to do. */
  health(): Promise<string | null>;
}

const SESSIONS_KEPT_MS = 7 * 24 * 3_600_000;
const SWEEP_MS = 60_000;
const DEFAULTS = RegistryConfig.parse({});

/** Opens the registry: migrates, makes the first administrator, follows changes.
 *  @throws RegistryError REGISTRY_UNREACHABLE, REGISTRY_SCHEMA_NEWER, REGISTRY_SECRET_MISMATCH */
export function openRegistry(options: RegistryOptions): Component<Registry> {
  return { name: 'registry', start: () => startRegistry(options) };
}

async function startRegistry(options: RegistryOptions): Promise<Started<Registry>> {
  const { logger, metrics } = options;
  const database = openDatabase({ url: options.url, connectionsMax: options.connectionsMax ?? 8, logger, metrics });
  const now = options.now ?? Date.now;
  const node = uuidV7();
  const started: Topic[] = [];
  let feed: ChangeFeed | undefined;
  try {
    const applied = await migrate(database);
    if (applied > 0) logger.info({ applied }, 'migrated the registry');
    const credentials = await openCredentials(database, options.credentials);
    feed = new ChangeFeed({ database, logger, metrics, pollMs: options.pollMs ?? 400 });
    await feed.start();
    const firstRun = await makeFirst(database, feed, credentials, options.admin);
    const config = options.config ?? DEFAULTS;
    let listening = '';
    const audit = createAudit({
      session: database,
      logger,
      metrics,
      retentionDays: config.MILLRACE_AUDIT_RETENTION_DAYS,
      now,
    });
    const parts: Parts = {
      database,
      url: options.url,
      feed,
      credentials,
      audit,
      config,
      directory: options.directory ?? null,
      publicUrl: () => (config.MILLRACE_PUBLIC_URL ?? listening).replace(/\/+$/, ''),
      node,
      now,
      logger,
      metrics,
    };
    const people = createPeople(parts);
    const inventory = createInventory(parts);
    const authority = createAuthority(parts);
    const access = createAccess(parts);
    const applications = createApplications(parts);
    const jobs = createJobs(parts);
    const exports = createExports(parts);
    const manifests = createManifests(parts);
    const retention = createRetention(parts, jobs);
    const live = createLive(parts);
    const lora = createLora(parts, inventory);
    const commands = createCommands(parts);
    const lwm2m = createLwm2m(parts);
    const topics: readonly Topic[] = [
      audit,
      people,
      inventory,
      authority,
      access,
      applications,
      jobs,
      exports,
      manifests,
      retention,
      live,
      commands,
      lwm2m,
      lora,
    ];
    const upkeep = new Upkeep({
      database,
      node,
      sessionsKeptMs: options.sessionsKeptMs ?? SESSIONS_KEPT_MS,
      everyMs: options.sweepMs ?? SWEEP_MS,
      now,
      metrics,
      logger,
    });
    await upkeep.start();
    const tickets = createTickets(database, credentials, now);
    const perOwnerMax = options.sessionsPerOwnerMax ?? DEFAULTS.MILLRACE_MQTT_SESSIONS_PER_OWNER_MAX;
    const perOrgMax = options.retainedPerOrgMax ?? DEFAULTS.MILLRACE_RETAINED_MESSAGES_MAX;
    observe(metrics, database, feed);
    for (const topic of options.ingressOnly === true ? [audit, inventory, access] : topics) {
      await topic.start?.();
      started.push(topic);
    }
    const following = feed;
    const clients = createClientStore({
      database,
      feed,
      credentials,
      node,
      logger,
      ...(options.beatMs === undefined ? {} : { beatMs: options.beatMs }),
      ...(options.leaseMs === undefined ? {} : { leaseMs: options.leaseMs }),
    });
    return {
      value: {
        ...people,
        ...inventory,
        ...authority,
        directory: createDirectory({
          session: database,
          feed,
          tickets,
          certificates: authority.certificates,
          applicationToken: (digest) => applications.holder(digest),
          apiKeyUsed: (id) => access.keys.used(id, now()),
          retentionDays: config.MILLRACE_RETENTION_DAYS ?? null,
          now,
        }),
        credentials,
        audit,
        access,
        applications,
        jobs,
        exports,
        imports: createImportTopic(parts),
        manifests,
        retention,
        live,
        lora: lora.directory,
        networkServers: lora,
        codecs: lora.codecs,
        commands,
        sql: createSql(parts),
        webhooks: createWebhookTopic(parts, access, applications),
        lwm2m,
        deviceKeys: createDeviceKeys({ session: database, feed, credentials, now }),
        letters: createLetterStates(parts),
        sessions: createSessionStore({ session: database, feed, node, perOwnerMax, now }),
        retained: createRetainedStore({ session: database, perOrgMax, metrics }),
        clients,
        shareGroups: createShareGroupStore(database, node),
        tickets,
        logShards: createLogShards(database),
        firstRun,
        gettingStarted: () => gettingStarted(database, inventory.things),
        listensAt: (url) => {
          listening = url;
        },
        current: () => following.current(),
        snapshot: () => takeRegistrySnapshot(options.url, logger),
        health: () => database.health(),
      },
      drain: async () => undefined,
      async stop() {
        await clients.leave();
        await stopAll(started);
        await upkeep.stop();
        await following.stop();
        await database.close();
      },
    };
  } catch (error) {
    await stopAll(started).catch(() => undefined);
    await feed?.stop();
    await database.close().catch(() => undefined);
    throw error;
  }
}

async function stopAll(topics: readonly Topic[]): Promise<void> {
  for (const topic of [...topics].reverse()) await topic.stop?.();
}

/** Once all is open: a start that failed and is tried again must not leave its own figures. */
function observe(metrics: Metrics, database: Database, feed: ChangeFeed): void {
  metrics.gauge('millrace_registry_connections', 'Connections to PostgreSQL.', ['state'], (gauge) => {
    for (const [state, count] of Object.entries(database.connections())) gauge.set({ state }, count);
  });
  metrics.gauge('millrace_registry_version', 'Version of the last change that this node has applied.', [], (gauge) =>
    gauge.set(feed.version),
  );
  metrics.gauge('millrace_registry_poll_age_seconds', 'Time since this node last heard of changes.', [], (gauge) =>
    gauge.set(feed.silentMs / 1_000),
  );
}

/** Signing keys rest sealed; the first node makes the first. */
async function openCredentials(database: Database, factory: CredentialsFactory): Promise<Credentials> {
  const sealer = factory.create([]);
  const keys = await database.transaction(async (tx) => {
    await tx.query('SELECT pg_advisory_xact_lock($1)', [LOCKS.firstRun]);
    const rows = await tx.query<{ id: string; sealed: string }>(
      'SELECT id, sealed FROM registry.signing_keys ORDER BY created_at DESC',
    );
    if (rows.length > 0) return rows.map(({ id, sealed }) => openKey(sealer, id, sealed));
    const key = await factory.generateSigningKey();
    const id = uuidV7();
    await tx.query('INSERT INTO registry.signing_keys (id, sealed) VALUES ($1, $2)', [
      id,
      sealer.encrypt(JSON.stringify(key), id),
    ]);
    return [key];
  });
  return factory.create(keys);
}

function openKey(sealer: Credentials, id: string, sealed: string): JsonWebKey {
  try {
    return JSON.parse(sealer.decrypt(sealed, id)) as JsonWebKey;
  } catch {
    // No cause: it could tell of the plain text.
    const advice = 'this database was made with another MILLRACE_SECRET: start with that one';
    throw new RegistryError('REGISTRY_SECRET_MISMATCH', 'never', { signingKey: id, advice });
  }
}

/** The first administrator, an org, and something to try it with. One node does it, once. */
async function makeFirst(
  database: Database,
  feed: ChangeFeed,
  credentials: Credentials,
  admin: RegistryOptions['admin'],
): Promise<Registry['firstRun']> {
  const exists = async (): Promise<boolean> =>
    (await database.query('SELECT 1 FROM registry.users WHERE admin LIMIT 1')).length > 0;
  if (await exists()) return null;
  const email = normaliseEmail(admin.email);
  const password = admin.password ?? randomBytes(15).toString('base64url');
  const hash = await credentials.hashPassword(password);
  const made = await feed.transaction(async (tx) => {
    await tx.query('SELECT pg_advisory_xact_lock($1)', [LOCKS.firstRun]);
    const admins = await tx.query('SELECT 1 FROM registry.users WHERE admin LIMIT 1');
    if (admins.length > 0) return false;
    const user = await insertUser(tx, { email, hash, admin: true });
    const org = await insertOrg(tx, 'Default', user.id);
    const thing = uuidV7();
    const channel = uuidV7();
    const key = credentials.newKey();
    await tx.query(
      `INSERT INTO registry.things (id, org, name, type, key_digest, key_sealed) VALUES ($1, $2, 'Getting started', 'device', $3, $4)`,
      [thing, org, credentials.digest(key), credentials.encrypt(key, thing)],
    );
    await tx.query(`INSERT INTO registry.channels (id, org, name) VALUES ($1, $2, 'Getting started')`, [channel, org]);
    await tx.query(
      'INSERT INTO registry.connections (thing, channel, org, publish, subscribe) VALUES ($1, $2, $3, true, true)',
      [thing, channel, org],
    );
    await tx.query(`INSERT INTO registry.settings (name, value) VALUES ('getting-started', $1)`, [
      JSON.stringify({ thing, channel }),
    ]);
    tx.changed('thing', thing, org, [thing]);
    tx.changed('channel', channel, org, [channel]);
    tx.changed('connection', thing, org, [thing]);
    return true;
  });
  if (!made) return null;
  return admin.password === undefined ? { email, password } : { email };
}

async function gettingStarted(
  database: Database,
  things: Things,
): Promise<{ thingId: string; key: string; channelId: string } | null> {
  const [row] = await database.query<{ thing: string; channel: string }>(
    `SELECT things.id AS thing, channels.id AS channel FROM registry.settings
     JOIN registry.things ON things.id = (value ->> 'thing')::uuid
     JOIN registry.channels ON channels.id = (value ->> 'channel')::uuid
     WHERE settings.name = 'getting-started'`,
  );
  if (row === undefined) return null;
  const thing = await things.get(row.thing);
  return thing === null ? null : { thingId: thing.id, key: things.key(thing), channelId: row.channel };
}
